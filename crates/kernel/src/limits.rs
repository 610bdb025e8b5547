//! Every limit of the kernel, with its unit and its reason.

/// Decisions in one pass of the driver; a pass that needs more is a contradiction, not work.
pub const ADVANCES_MAX: usize = 64;
/// Calls that one model reply may hold; more are answered "too many" without being looked at.
pub const CALLS_PER_STEP_MAX: usize = 64;
/// Lists that are looked up for one call: one for each of some arguments, and no more than a person would.
pub const LOOKUPS_MAX: usize = 4;
/// Entries of one plan of a task's scope; a longer plan is none. People ask for few things at a time.
pub const SCOPE_ENTRIES_MAX: usize = 32;
/// Calls that one of them is worth at most; a plan that says more is taken for this many.
pub const SCOPE_CALLS_MAX: u32 = 32;
/// Tokens that a plan may take; one that is cut is none.
pub const SCOPE_OUTPUT_TOKENS_MAX: u64 = 4_096;
/// Things that a session remembers to have created; of older ones it asks.
pub const CREATED_MAX: usize = 64;
/// Entries of one list; a longer one is none.
pub const LISTED_MAX: usize = 10_000;
/// Messages waiting in one session while a turn runs; the next is refused with `queue_full`.
pub const QUEUE_MAX: usize = 32;
/// Starts of one tool call whose end nobody saw, before it is not started again: it may be what
/// ends its process.
pub const LAPSES_MAX: u32 = 10;
/// The same call with the same result: told the third time, blocked the fourth, ended the fifth.
pub const REPEAT_WARN: usize = 3;
pub const REPEAT_BLOCK: usize = 4;
pub const REPEAT_STOP: usize = 5;
/// Calls in a row that failed or were refused, whatever they were: said to the model, and the end of the turn. A model
/// that can mend what it tries has done so by the first, and a row of the second is small beside what a turn may call.
pub const FAILING_WARN: u32 = 10;
pub const FAILING_STOP: u32 = 20;
/// Calls since the last user input in which repeats are looked for.
pub const REPEAT_WINDOW: usize = 20;

/// Tries of one model call before its wait becomes a provider wait.
pub const ATTEMPTS_MAX: u32 = 10;
/// The same in time since the first try, milliseconds.
pub const ATTEMPTS_MS_MAX: u64 = 600_000;
/// Backoff without a Retry-After: full jitter over a base that doubles up to a cap, milliseconds.
pub const BACKOFF_BASE_MS: u64 = 500;
pub const BACKOFF_CAP_MS: u64 = 32_000;
/// A Retry-After is obeyed exactly, plus at most this many thousandths of it.
pub const RETRY_AFTER_JITTER_PERMILLE: u64 = 100;
/// The longest Retry-After that is obeyed; a longer one is nonsense or an attack, milliseconds.
pub const RETRY_AFTER_MS_MAX: u64 = 86_400_000;
/// The provider wait after the tries: doubling, milliseconds.
pub const PROVIDER_WAIT_BASE_MS: u64 = 60_000;
pub const PROVIDER_WAIT_CAP_MS: u64 = 600_000;
/// A turn whose provider stays away longer than this ends as `provider_unavailable`.
pub const PROVIDER_WAIT_MS_MAX: u64 = 86_400_000;
/// An approval that nobody answers is a no, milliseconds (a rule may say otherwise).
pub const ASK_EXPIRES_MS: u64 = 600_000;
/// A yes for longer than once ends after this long at the latest, milliseconds.
pub const STANDING_MS_MAX: u64 = 30 * DAY_MS;
/// Standing yeses of one home: more than a person can keep in view.
pub const STANDING_MAX: usize = 256;
/// Places that are kept for each agent as reached: some hundred bytes each, in memory. Of a later one a person is asked again.
pub const REACHED_MAX: usize = 4_096;
/// Times that the arguments of one call are edited: each is looked at, and asked about for as long as a new one.
pub const EDITS_MAX: u32 = 16;
/// In what time the asks of a session are counted, milliseconds.
pub const ASKS_MS: u64 = 3_600_000;
/// Noes, and asks that expire: in a row before the turn ends, and in all before a person must let the session go
/// on. More is an agent that wears people out.
pub const DENIALS_IN_A_ROW_MAX: u32 = 3;
pub const DENIALS_MAX: u32 = 20;

/// Bytes that one token covers when nothing was billed yet; low, so that windows err small.
pub const BYTES_PER_TOKEN: u64 = 3;
/// Bytes of the wire around one message or one answer: role, id, quotes.
pub const FRAME_BYTES: u64 = 64;
/// Of a model's context, what the estimate of a request may fill, in hundredths: the rest is for
/// its error.
pub const CONTEXT_FILL_PERCENT: u64 = 92;
/// Characters of a wrong name that a refusal repeats: enough to find a slip of the pen.
pub const ECHOED_CHARS_MAX: usize = 64;

/// A URL, bytes, as most servers and caches take it.
pub const URL_BYTES_MAX: usize = 8_192;

/// Bytes of URLs that untrusted words may compose, for each session, granted host and day (UTC): enough to
/// look things up, little to carry a file out.
pub const COMPOSED_BYTES_MAX: u64 = 4_096;
pub const DAY_MS: u64 = 86_400_000;

/// Characters of one part that a person types; what is longer was pasted, and pastes have no authority.
pub const OWN_PART_CHARS_MAX: usize = 2_000;
/// Quoted parts of one message that are told apart; from the last of them on all is quoted.
pub const QUOTES_MAX: usize = 32;
/// Messages of one task whose values a call may rest on: what it begins with, what steers it, its
/// answers. Later ones name nothing.
pub const TASK_MESSAGES_MAX: usize = 64;
/// Marks that begin and end a fence, as in Markdown.
pub const FENCE_CHARS_MIN: usize = 3;
/// Atoms of one message, and the bytes of one and of all: more than a person names at a time, and
/// little beside the message. What is beyond asks.
pub const ATOMS_MAX: usize = 64;
pub const ATOM_BYTES_MAX: usize = 512;
pub const ATOMS_BYTES_MAX: usize = 4_096;
