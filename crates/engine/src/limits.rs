//! Every limit of the engine, with its unit and its reason.
use std::time::Duration;

/// Letters waiting for one session; more wait in the senders' hands, which bounds them by the
/// open connections.
pub const MAILBOX_MAX: usize = 64;
/// Events that a slow reader may be behind before it must read the journal again.
pub const EVENTS_MAX: usize = 256;
/// A pass of the driver holds its append back this long for reading tools, so that a turn that
/// reads a file needs no commit of its own for it. Long enough for a file, too short to notice.
pub const PURE_HOLD: Duration = Duration::from_millis(20);
/// A session without work stays in memory this long: the next message of a conversation is near.
pub const LINGER: Duration = Duration::from_secs(10);
/// Pause between tries of a session whose journal cannot be written.
pub const DISK_RETRY: Duration = Duration::from_millis(500);
/// Longest pause between tries of a session whose journal cannot be read: the pause doubles up to it.
pub const READ_RETRY_MAX: Duration = Duration::from_secs(10);
/// Pause before a session whose task panicked is woken again. It doubles with each panic up to the longest:
/// what panics every time must not keep a core busy, and a person may have mended it in between.
pub const FALL_PAUSE_MIN: Duration = Duration::from_millis(500);
pub const FALL_PAUSE_MAX: Duration = Duration::from_secs(600);
/// Entries since the last snapshot before another one is written: bounds what a load must fold.
pub const SNAPSHOT_EVERY: u64 = 200;
/// Requests that may build on one another before one is stored whole: bounds what a rebuild reads.
pub const ROPE_DEPTH_MAX: u32 = 32;
/// Records that are read at once where a turn or a session is looked through: a long turn has some
/// hundreds, and who else reads the journal waits for one page.
pub const RECORDS_PAGE: usize = 256;
/// Upper ends of what appends are counted in: from below one flush of a good disk to where a person
/// asks what is wrong.
pub const APPEND_BUCKETS: [Duration; 12] = [
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
];
/// Upper ends of what answers to asks are counted in: from a yes that nobody can have read to a day.
pub const ANSWER_BUCKETS: [Duration; 9] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(4 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
];
/// Days that an idempotency key is kept, as milliseconds.
pub const KEY_KEPT_MS: u64 = 7 * 86_400_000;
/// Bytes of a config's difference that are kept; the whole texts are kept too.
pub const DIFF_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an export that are made at once; one entry with its texts may be more.
pub const EXPORT_CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of an error text that is kept.
pub const DETAIL_BYTES_MAX: usize = 2048;
/// Model calls and tool calls that run at the same time in one home.
pub const MODEL_SLOTS: usize = 256;
pub const TOOL_SLOTS: usize = 64;
/// Sessions in memory; a message for a further one is refused with `full`.
pub const LIVE_MAX: usize = 4096;
/// Sessions in memory from which on one without work does not linger: what comes next needs the room.
pub const CROWDED: usize = LIVE_MAX / 2;
/// Places in memory that only owners and operators take: whoever is to end a crowd gets in.
pub const LIVE_KEPT: usize = 64;
/// Principals whose rate is remembered; the longest unused is forgotten, which only ever gives
/// it a fresh burst.
pub const BUCKETS_MAX: usize = 10_000;
/// Pause between two looks at whether everything has ended, while the process goes away.
pub const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// Least pause before sessions that are due are woken again: one that is due and cannot go on
/// (a frozen home) must not keep a core busy.
pub const WAKE_PAUSE_MIN: Duration = Duration::from_secs(1);
