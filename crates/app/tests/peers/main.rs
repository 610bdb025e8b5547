//! Peers that somebody else wrote, against the real binary: the official SDK as client, a mock of
//! model APIs with its faults, and a real small model as providers. `cargo xtask setup` installs
//! them; without them these tests fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod clients;
mod providers;
mod served;
