//! Every limit of the doors, with its unit and its reason.
use std::time::Duration;

/// Bytes of a request body: the longest message that a model of today reads, with room.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// A body that takes longer is an attack or a broken line.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request's head: its first line and its fields.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a connection's buffer. Since the HTTP library reads at most as much again before it
/// looks, 64 KiB is all that a stranger can make us hold.
pub const BUFFER_BYTES_MAX: usize = 32 * 1024;
/// From the first byte of a connection to the end of its head, and between two requests.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// What is sent and not taken for this long has no reader any more. An event stream goes on where it
/// was when its reader comes back.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// Connections of one listener. A further one takes the place of the stranger who has shown nothing
/// for longest, or is closed at once.
pub const CONNECTIONS_MAX: usize = 1024;
/// Connections of all principals but operators and scrapers together: a quarter of the listener is
/// left for those who must get in when it is full.
pub const ORDINARY_MAX: u32 = 768;
/// Connections of one address that have not shown a valid token yet; a further one takes the place of
/// the oldest of them. Above the concurrency of an
/// honest client that opens them all at once, far below what hurts.
pub const STRANGERS_MAX: u32 = 256;
/// Pause after an `accept` that failed: the process is out of descriptors and must get one back.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What open connections have to end in when the listener closes.
pub const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);

/// Wrong credentials from one address, or for one token's prefix, before they are refused unheard.
pub const FAILURES_MAX: u32 = 20;
/// Milliseconds after which they are forgotten.
pub const FAILURES_KEPT_MS: u64 = 60_000;
/// The answer to a wrong credential is held back: this long at first, doubling to the cap.
pub const FAILURE_DELAY_MS: u64 = 250;
pub const FAILURE_DELAY_CAP_MS: u64 = 4_000;
/// Addresses and prefixes whose failures are counted; forgetting the oldest only ever gives it a
/// fresh count.
pub const FAILURES_TRACKED_MAX: usize = 10_000;
/// Characters of a presented token; ours have 68.
pub const TOKEN_CHARS_MAX: usize = 256;
/// Characters of a token that are counted and shown: its name.
pub const TOKEN_PREFIX_CHARS: usize = 12;

/// Characters of an idempotency key.
pub const KEY_CHARS_MAX: usize = 255;
/// Keys whose answers are kept; the oldest is forgotten first.
pub const KEYS_MAX: usize = 4096;
/// How long, milliseconds: 7 days.
pub const KEY_KEPT_MS: u64 = 7 * 86_400_000;
/// Bytes of an answer that is kept for its key; the answers of commands are small.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Hexadecimal digits of a notice's id: 128 bits.
pub const NOTICE_ID_CHARS: usize = 32;
/// Between two looks at a disk that takes nothing: nobody tells when it has room again.
pub const NOTICES_LOOK: Duration = Duration::from_secs(10);

/// Items of a list where none or too many are asked for.
pub const SESSIONS_DEFAULT: usize = 20;
pub const SESSIONS_MAX: usize = 100;
pub const RECORDS_DEFAULT: usize = 100;
pub const RECORDS_MAX: usize = 1000;
/// Epochs of the config on one page; the text of a difference is bounded where it is made.
pub const EPOCHS_DEFAULT: usize = 20;
pub const EPOCHS_MAX: usize = 100;
/// Bytes of texts on one page of records; a page ends early before it has more, but never without a
/// record. Every connection can hold a page that its caller does not read, so it is one message's size.
pub const RECORDS_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a request to a model that is rebuilt: the largest context of today, all of it escaped, is a
/// quarter of it.
pub const SENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that a part of it takes beside its own: its place, and what the heap adds.
pub const FRAGMENT_BYTES: usize = 64;

/// Bytes of a file that becomes a session: all of it is in memory while it is checked.
pub const IMPORT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Silence on a stream of events before a comment says that the line is up.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Frames that wait for a slow reader, and their bytes; what comes meanwhile is read from the journal
/// when the reader is back.
pub const FRAMES_MAX: usize = 64;
pub const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// Records that are read at once to replay a session, and bytes of their texts.
pub const REPLAY_PAGE: usize = 500;
pub const REPLAY_BYTES_MAX: usize = 256 * 1024;

/// Seconds after which a refused client may try again, where nothing better is known.
pub const RETRY_AFTER_S: u64 = 2;

/// Sessions of one principal among which a list of earlier messages is looked for, newest first.
pub const HISTORY_SESSIONS_MAX: usize = 200;
/// Sessions whose history is remembered as digests; the one unused longest is forgotten.
pub const HISTORIES_MAX: usize = 1024;
/// Messages of a history that can be matched; a longer one begins a new session.
pub const HISTORY_MESSAGES_MAX: usize = 2000;
/// Requests without a key that a retry can be matched with.
pub const RECENT_MAX: usize = 4096;
/// Characters of a session's title: a line in a list.
pub const TITLE_CHARS_MAX: usize = 200;
/// Records in which the first message is looked for where there is no title: it is the second, unless older
/// messages were quoted before it.
pub const TITLE_RECORDS_MAX: usize = 8;
/// Bytes of a message's line that names a value, which an approval shows; of a longer line a part.
pub const SAID_BYTES_MAX: usize = 240;
/// Values that an approval shows: more than these nobody reads, and how many there are it says.
pub const CHOICES_MAX: usize = 32;
/// Newest records of a session among which an approval looks for the last call that was allowed: some hundred calls.
pub const LAST_RECORDS_MAX: u64 = 2000;
