//! The built-in tools: what they declare, what a call is, and how a permitted call acts.
//!
//! A call goes through three doors. [`inspect`] says what it is, without acting; the kernel judges
//! those facts; [`run`] takes the kernel's permit by value, derives the facts again from the handle
//! that it will use, and acts only if they are the facts that were judged. [`probe`] tells after a
//! crash whether a write happened. Every file is reached beneath a granted directory's descriptor,
//! so that no name, link or race leads out of it.

mod arguments;
mod argv;
mod card;
mod command;
mod declared;
mod fetch;
mod git;
mod known;
mod limits;
mod list;
mod manifest;
mod network;
mod open;
mod output;
mod own;
mod place;
mod prepare;
mod read;
mod roots;
mod run;
mod schema;
mod search;
mod serve;
mod text;
mod write;

#[cfg(test)]
mod tests;

pub use arguments::ReadOutput;
pub use argv::Argv;
pub use backstay_egress::Network;
pub use backstay_shell::stands_alone;
pub use card::command_line;
pub use command::Commands;
pub use declared::{Declared, Role, Terms};
pub use fetch::Hosts;
pub use manifest::{manifests, runs_nothing, stays};
pub use output::range;
pub use prepare::{Refused, inspect, probe};
pub use roots::{Roots, RootsError};
pub use run::{Acted, Asked, Ran, run};
pub use schema::{Property, Schema};
pub use serve::Serving;
