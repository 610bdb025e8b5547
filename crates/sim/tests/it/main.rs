//! The one integration-test binary of the simulated world.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets what it does not expect stops there"
)]
mod explorer;
mod words;
mod world;
