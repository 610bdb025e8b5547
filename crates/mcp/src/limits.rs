//! Every limit of servers, with its unit and its reason.
use std::time::Duration;

/// One message of a server, bytes: far beyond what a model can read.
pub const LINE_BYTES_MAX: usize = 4 << 20;
/// From its start until a server has said what it offers: an interpreter on a loaded machine.
pub const START: Duration = Duration::from_secs(30);
/// From the end of a server's pipes until it is known how it ended.
pub const ENDING: Duration = Duration::from_millis(500);
/// Without a call for as long, a server is ended.
pub const IDLE: Duration = Duration::from_secs(300);
/// Between two looks at what a working server takes.
pub const LOOK: Duration = Duration::from_millis(100);
/// Servers at one time, of all agents and principals: each is a process, and some hundred megabytes.
pub const LIVE_MAX: usize = 32;
/// Pages of one list of it; no server that works needs as many.
pub const PAGES_MAX: usize = 64;
/// Requests for one call of a server behind a URL, the greeting included: a greeting and all lists are some two hundred.
pub const REQUESTS_MAX: usize = 256;
/// Tools, prompts and templates that one server may offer.
pub const OFFERS_MAX: usize = 512;
/// What a server last wrote to stderr, bytes, for the words of a fault.
pub const STDERR_BYTES_MAX: usize = 2 << 10;
/// What a pin covers of the files of a server: an installation with all that it needs.
pub const FILES_MAX: usize = 200_000;
pub const FILES_BYTES_MAX: u64 = 4 << 30;
/// Events of one answer of a server behind a URL, however often it was taken up: ten a second of the longest call.
pub const EVENTS_MAX: usize = 6_000;
/// Of an event's id, bytes: as of any header.
pub const EVENT_ID_BYTES_MAX: usize = 1 << 10;
/// From where an answer broke off until it is taken up again, where the server does not say: what the official clients wait.
pub const RETRY: Duration = Duration::from_secs(1);
/// The same at least, whatever the server says: it is not for it to make us hurry.
pub const RETRY_MIN: Duration = Duration::from_millis(100);
/// Requests in a row that take an answer up again and bring no event of it.
pub const FRUITLESS_MAX: usize = 5;
/// What a server may ask during one call and be told no, or that we are there: each is a request of its own.
pub const ASKED_MAX: usize = 16;
/// Of what is said about a login: metadata, a registration, a token, bytes. The largest of them have some thousand.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// For one of them: somebody waits, or a call does.
pub const DOCUMENT_TIME: Duration = Duration::from_secs(20);
/// Of one scope, bytes; and scopes of one login.
pub const SCOPE_BYTES_MAX: usize = 128;
pub const SCOPES_MAX: usize = 64;
/// Of a token, bytes: with another, and what stands beside them, it is one secret, which holds 8 KiB.
pub const TOKEN_BYTES_MAX: usize = 6 << 10;
/// So long before its end a token is renewed: a call and its answer. Of one that lives shortly, half of its life.
pub const EARLY_MS: u64 = 60_000;
