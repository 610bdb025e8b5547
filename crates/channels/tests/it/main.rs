//! The doors over a real engine and a real journal, with a model that the test directs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod access;
mod home;
mod house;
mod listeners;
mod mistakes;
mod openai;
mod people;
mod sessions;
mod streams;
mod waits;
