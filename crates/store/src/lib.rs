//! The journal: one SQLite file per home, one writer, and receipts for what is on disk.
//!
//! [`Store::append`] extends one session under a fence and answers with a [`Durable`] after the
//! commit; everything else is derived from the entries. Nothing outside this crate knows SQLite.
mod append;
mod audit;
mod backup;
mod body;
mod chain;
mod checkpoints;
mod connect;
mod error;
mod filesystem;
mod growth;
mod heads;
mod home;
mod inbox;
mod limits;
mod lineage;
mod load;
mod memory;
mod opening;
mod place;
mod query;
mod read;
mod schema;
mod store;
mod transfer;
mod verify;
mod views;
mod writer;

pub use append::{Append, Done, Durable, HeadUpdate, NewMemory, NewSession, Snapshot};
pub use backup::restore;
pub use body::{Body, Shared};
pub use chain::entry_hash;
pub use checkpoints::{Differs, End, Reached, Span, Stored};
pub use error::{AppendError, StoreError};
pub use growth::Growth;
pub use heads::Head;
pub use home::Options;
pub use inbox::{Admission, InboxRow};
pub use limits::EXACT_MAX;
pub use load::{Entry, Loaded, LoadedSnapshot};
pub use memory::Memory;
pub use query::{Answer, Cell};
pub use read::Stats;
pub use store::Store;
pub use transfer::{AdoptError, Salt, Sealed, salt_of, salt_text};
pub use verify::Report;
