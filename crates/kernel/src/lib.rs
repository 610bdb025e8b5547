//! The decision core: what a session is, what may happen next, and what a record means.
//!
//! Nothing here reads a clock, draws a random number, waits or touches the world; the compiler
//! enforces it (`no_std`). The five verbs are [`decide`](fn@decide), [`apply`], [`open_effects`], [`start`]
//! and [`head`]; everything else is the vocabulary that they speak.
#![no_std]
extern crate alloc;

pub mod approval;
pub mod asks;
pub mod audit;
pub mod budget;
pub mod clock;
pub mod context;
pub mod destination;
pub mod effect;
pub mod facts;
pub mod flow;
mod fold;
pub mod frame;
pub mod git;
pub mod home;
pub mod id;
pub mod judge;
pub mod label;
pub mod ledger;
pub mod limit;
pub mod limits;
pub mod mode;
pub mod money;
pub mod policy;
pub mod reached;
pub mod record;
pub mod refusal;
pub mod request;
pub mod roots;
pub mod rule;
pub mod rules;
pub mod session;
pub mod standing;
pub mod subject;
mod texts;
pub mod tool;
pub mod url;
pub mod window;
pub mod words;

pub mod decide;
pub mod open;
pub mod permit;

pub use decide::{Input, decide};
pub use fold::apply;
pub use open::{Head, Wait, head, open_effects};
pub use permit::{Bounce, Permit, start};
pub use session::Session;
