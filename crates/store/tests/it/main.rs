//! The store as the engine uses it, through its public face and on real files.
mod harness;

mod admission;
mod backup;
mod bodies;
mod journal;
mod money;
mod opening;
mod reads;
mod views;
