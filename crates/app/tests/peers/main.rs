//! Peers that somebody else wrote, against the real binary: the official SDK as client, a mock of
//! model APIs with its faults and a real small model as providers, what the vendors' SDKs would send, and a receiver of webhooks. `cargo xtask setup` installs
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
#[path = "../it/scripted.rs"]
#[allow(dead_code, reason = "shared with the other tests of the binary, which use more of it")]
mod scripted;
mod served;
#[path = "../both/tokens.rs"]
mod tokens;
mod webhooks;
