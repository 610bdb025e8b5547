//! The simulated world: the real engine, kernel and journal between a model, tools, people, a clock
//! and a disk that do what a run tells them, and an outside log of what really happened.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "development only: a harness that is wrong stops; a check is about a few records"
)]
pub mod checks;
mod choosing;
mod double;
mod gate;
mod house;
pub mod outside;
pub mod play;
pub mod points;
mod rest;
pub mod scenario;
pub mod scenarios;
mod script;
mod seeds;
mod steps;
