//! Wire clients for model APIs: what a request looks like, and one attempt at sending it.
//!
//! Rendering ([`envelope`], [`item`]) is pure. [`Client::call`] makes exactly one attempt and says
//! what kind of failure it met; whether, when and how often to try again is the kernel's decision.

mod anthropic;
mod calls;
mod classify;
mod client;
mod delay;
mod draft;
mod endpoint;
mod envelope;
mod item;
mod lenient;
pub mod limits;
mod openai;
pub mod rehearsal;
mod reply;
mod sse;

pub use calls::{Call, calls_from_json, calls_json};
pub use client::{Client, NoTls};
pub use endpoint::{BadEndpoint, Endpoint, Kind, Secret, Timeouts, is_collector};
pub use envelope::{Envelope, envelope};
pub use item::{Fragment, Missing, item};
pub use reply::{Delta, Failed, Reply};
