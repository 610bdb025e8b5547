//! Every limit of the wire clients, with its unit and its reason.

/// A host that does not complete a connection in this time is down, milliseconds.
pub const CONNECT_MS: u64 = 10_000;
/// From sending to the first byte of the body; a long prompt on a slow server takes its time,
/// milliseconds.
pub const FIRST_BYTE_MS: u64 = 120_000;
/// Between two chunks; servers that think for long send comments meanwhile, milliseconds.
pub const IDLE_MS: u64 = 60_000;
/// The whole call; a reply that takes longer is not worth its reservation, milliseconds.
pub const WHOLE_MS: u64 = 600_000;

/// Bytes of one successful response; the largest real replies are below a tenth of it.
pub const RESPONSE_BYTES_MAX: usize = 32 << 20;
/// Bytes of one server-sent event: servers that do not stream tool calls send a whole file in one.
pub const EVENT_BYTES_MAX: usize = 8 << 20;
/// Bytes of an error response that are read; vendors' errors are below a tenth of it.
pub const ERROR_BYTES_MAX: usize = 64 << 10;
/// Bytes of [`crate::Failed::detail`]: a vendor's message, not its error page.
pub const DETAIL_BYTES_MAX: usize = 1_000;
/// Calls of one reply that are taken in; the kernel answers those beyond its own limit.
pub const CALLS_MAX: usize = 1_024;
/// Tokens of one class that a bill may name: ten times the widest window that a config can.
pub const USAGE_TOKENS_MAX: u64 = 1_000_000_000;
/// Bytes of a call's id and name that vendors take back in the next request.
pub const CALL_ID_BYTES_MAX: usize = 64;
pub const CALL_NAME_BYTES_MAX: usize = 64;
/// Waited for the end of a body whose last event has come, so that the connection can be used
/// again; in the background, milliseconds.
pub const DRAIN_MS: u64 = 1_000;
/// Idle connections kept for each host: as many calls as a small home has going on at once.
pub const IDLE_CONNECTIONS_MAX: usize = 32;

/// A body of this many bytes is referred to by the stored request; below it the reference would
/// be as long as the text.
pub const REFERRED_BYTES_MIN: usize = 200;
/// Bytes that the rehearsal model says at most for one `/big`.
pub const REHEARSAL_BIG_BYTES_MAX: usize = 4 << 20;
/// Whoever takes a line does so at once or has a fault, milliseconds.
pub const DELIVERY_MS: u64 = 15_000;
