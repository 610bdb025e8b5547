//! The engine on a real journal, with a world that the test directs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod crowd;
mod damage;
mod files;
mod home;
mod keys;
mod laundering;
mod modes;
mod moments;
mod money;
mod naming;
mod overdue;
mod panics;
mod restarts;
mod scope;
mod slots;
mod stage;
mod transfer;
mod turns;
mod waits;
mod words;
