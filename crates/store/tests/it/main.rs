//! The store as the engine uses it, through its public face and on real files.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

mod admission;
mod audit;
mod backup;
mod bodies;
mod journal;
mod money;
mod opening;
mod reads;
mod transfer;
mod views;
