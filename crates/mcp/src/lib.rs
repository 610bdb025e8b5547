//! Servers of the Model Context Protocol: programs of somebody else's that offer tools.
//!
//! A server runs in the sandbox, one for each session, and only while a call of it is under way, or is somebody
//! else's behind a URL; what
//! it says of itself is compared with what an operator pinned, and nothing of it is trusted. This crate speaks to
//! it; whether a call may be made is decided elsewhere, before.

mod events;
mod files;
mod limits;
mod lines;
mod live;
pub mod oauth;
mod pin;
mod remote;
mod servers;
mod shown;

pub use pin::{Pin, PinnedTool};
pub use remote::{At, CredentialOf, Way};
pub use servers::{Fault, Means, Server, Servers, Where, Who};
pub use shown::Answer;
