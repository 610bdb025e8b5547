//! The one integration-test binary of the kernel. Everything is driven through `harness`.
mod arrows;
mod backoff;
mod golden;
mod harness;
mod laws;
mod limits;
mod people;
mod recovery;
