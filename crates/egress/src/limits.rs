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
