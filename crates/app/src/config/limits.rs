//! Every limit of the configuration, with its unit and its reason.

/// Bytes of `backstay.toml`; a larger file is a mistaken file, and reading it is not bounded work.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Characters of the operator's own text that a message repeats.
pub const QUOTED_CHARS_MAX: usize = 60;
/// Characters of a misspelt name for which a better one is looked for.
pub const SUGGEST_CHARS_MAX: usize = 64;
/// Characters of a table's name; names stand in records, metrics and URLs.
pub const NAME_CHARS_MAX: usize = 64;
/// The greatest integer that every JSON reader keeps exactly.
pub const INTEGER_MAX: u64 = 9_007_199_254_740_992;
/// Messages per minute of one principal; above it the limit is none.
pub const MESSAGES_PER_MINUTE_MAX: u64 = 1_000_000;
/// Connections of one principal; the door has no more for all that are no operators.
pub const CONNECTIONS_PER_PRINCIPAL_MAX: u64 = 768;
/// Tokens of a model's window or output; no model comes near it.
pub const MODEL_TOKENS_MAX: u64 = 100_000_000;
/// Steps and tool calls of one turn; a turn that needs more is a loop.
pub const TURN_COUNT_MAX: u64 = 1_000_000;
/// Asks of one session in an hour: nobody reads more, and a replay that answers by itself needs no more.
pub const ASKS_PER_HOUR_MAX: u64 = 1_000;
/// Milliseconds that a duration may last (a year): a longer one is a mistake in the unit.
pub const DURATION_MS_MAX: u64 = 366 * 86_400_000;
/// A user's number: the last but one of 32 bits; the last means nobody.
pub const UID_MAX: u64 = 4_294_967_294;
/// The greatest port of TCP.
pub const PORT_MAX: u64 = 65_535;
/// MiB of memory or disk (a pebibyte): a larger number is a mistake in the unit.
pub const MEBIBYTES_MAX: u64 = 1 << 30;
/// Micro-USD of a budget or of a price per million tokens (a billion USD).
pub const MICRO_USD_MAX: u64 = 1_000_000_000_000_000;

/// People whose yes one action may want; more than sit around any table.
pub const QUORUM_MAX: u64 = 16;
