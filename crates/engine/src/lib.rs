//! The engine: sessions that live, admission, dispatch, timers, and the driver that joins the
//! kernel's decisions to the journal and the world. It knows no concrete model, tool or door.

mod addresses;
mod admission;
mod bodies;
mod draft;
mod engine;
mod epochs;
mod error;
mod events;
mod fold;
mod home;
mod limits;
mod live;
mod rate;
mod read;
mod requests;
mod running;
mod session;
mod shared;
mod totals;
mod transfer;
mod waits;
mod world;

pub use admission::{Caller, Submission, Submitted};
/// What the journal knows of a session without folding it.
pub use backstay_store::Head as SessionRow;
/// The journal that an engine is started on.
pub use backstay_store::{Options as StoreOptions, Store, StoreError};
pub use engine::{Engine, Limits};
pub use epochs::Epoch;
pub use error::EngineError;
pub use events::Event;
pub use fold::{Folded, fold};
pub use home::{HomeHandle, NewToken, pins};
pub use live::{Accepted, Command, Key, Opening};
pub use read::{CallView, Placed, Reader, TurnState, TurnView};
pub use requests::join_wires;
pub use totals::{Latency, Totals};
pub use transfer::{Export, ImportError, Imported};
pub use waits::Short;
pub use world::{
    Bytes, Delta, Envelope, Fragment, ModelCall, ModelFailure, ModelReply, ModelResult, RawCall, Refused, ToolCall,
    ToolEnd, ToolRan, World,
};
