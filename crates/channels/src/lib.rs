//! The doors in: the native HTTP API, the OpenAI-compatible one, health and metrics. A door finds
//! out who calls and hands on what they say; it decides nothing.

mod admin;
mod answers;
mod approvals;
mod as_sent;
mod auth;
mod card;
mod crowd;
mod door;
mod doubts;
mod error;
mod events;
mod frames;
mod guard;
mod health;
mod idempotency;
mod input;
mod limits;
mod metrics;
mod notices;
mod openai;
mod origin;
mod patient;
mod pieces;
mod places;
mod records;
mod roots;
mod routes;
mod rows;
mod serve;
mod sessions;
mod standing;
mod tokens;
mod trace;
mod transfer;
mod turns;
mod waits;
mod watch;
pub mod workspace;

pub use auth::{Auth, Peer, SPEAKS};
pub use door::{Door, Reload, Reloaded, Reloading};
pub use error::{Problem, Why};
pub use limits::IMPORT_BYTES_MAX;
pub use notices::{Follower, Notice, NoticeKind, Telling};
pub use routes::{Needs, ROUTES, Route, router};
pub use serve::{Listening, serve_local, serve_tcp, tls};
/// What [`tls`] reads.
pub use tokio_rustls::rustls::ServerConfig;
