//! Every limit of the way out, with its unit and its reason.

/// Looking a name up, connecting and the TLS handshake, milliseconds together: a host that is slower is down.
pub const CONNECT_MS: u64 = 10_000;
/// From the request to the head of its answer, milliseconds: an API that computes.
pub const HEAD_MS: u64 = 30_000;
/// One request with its answer, milliseconds: below the tools' timeout, so that the end is told.
pub const WHOLE_MS: u64 = 60_000;
/// Addresses of one name that are tried; all are checked.
pub const ADDRESSES_MAX: usize = 4;
/// Head of an answer: bytes, and fields. Larger ones are mistakes or attacks.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
pub const HEAD_FIELDS_MAX: usize = 100;
/// Body of an answer that is read, bytes; what a full output of a tool may hold.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// One header that a call chose, and all of them together, bytes.
pub const HEADER_BYTES_MAX: usize = 1 << 10;
pub const HEADERS_BYTES_MAX: usize = 4 << 10;
/// Head of a request that a command makes, bytes, and its fields: programs send a few hundred bytes.
pub const ASKED_BYTES_MAX: usize = 16 << 10;
pub const ASKED_FIELDS_MAX: usize = 64;
/// From a request's first byte to the end of its head, and for the handshake before it, milliseconds.
pub const ASKED_MS: u64 = 10_000;
/// A connection of a command's on which nothing is asked for, milliseconds.
pub const IDLE_MS: u64 = 60_000;
/// Connections that a command makes, at one time to the proxy and in all to hosts: package managers open some
/// fifteen and keep them.
pub const CONNECTIONS_MAX: usize = 64;
/// Body of a request that a command makes, bytes.
pub const PUT_BYTES_MAX: usize = 1 << 20;
/// Of the URLs and header fields of one command, bytes: fetching what a large project needs is some hundred requests.
pub const COMPOSED_BYTES_MAX: u64 = 256 << 10;
/// Of all connections of one command, both ways together, bytes: what one file of a command may hold.
pub const MOVED_BYTES_MAX: u64 = 1 << 30;
/// Refusals that are told to whoever ran the command, and characters of each.
pub const REFUSALS_KEPT_MAX: usize = 8;
pub const REFUSAL_CHARS_MAX: usize = 200;
