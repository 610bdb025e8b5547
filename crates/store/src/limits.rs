//! Every limit of the store, with its unit and its reason.

/// Oldest SQLite that may open a home, as `sqlite3_libversion_number`: 3.7.0 to 3.51.2 could
/// corrupt a WAL when a checkpoint met a reset.
pub const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// Page size, bytes: a whole turn writes fewer device bytes on 4 KiB pages than on 8 KiB ones.
pub const PAGE_BYTES: u32 = 4096;
/// Pages in the WAL before the writer checkpoints: 2 MiB, which recovers in about a millisecond.
pub const CHECKPOINT_PAGES: u32 = 512;
/// Bytes that the WAL file is cut back to after a long reader let it grow: twice the usual size.
pub const WAL_BYTES_MAX: u32 = 4 * 1024 * 1024;
/// Page cache of the writer, KiB: a batch's dirty pages; more only makes an idle home larger.
pub const WRITER_CACHE_KIB: u32 = 512;
/// Page cache of a reader, KiB.
pub const READER_CACHE_KIB: u32 = 256;
/// Wait for another tool's lock on the file, milliseconds: an operator's `sqlite3` looks briefly.
pub const BUSY_MS: u64 = 2_000;
/// Prepared statements kept by the writer: it has about thirty.
pub const STATEMENTS: usize = 48;

/// Appends waiting for the writer; a sender beyond it blocks. Four full batches.
pub const QUEUE_MAX: usize = 1024;
/// Appends in one commit: past this the shared flush is no longer what an append costs.
pub const BATCH_MAX: usize = 256;
/// Inbox rows looked at for retirement in a commit that adds one: more than one, so that the
/// table shrinks to what is live.
pub const RETIRE_ROWS: u32 = 8;

/// Preallocated file that is given up when the disk is full, bytes: outcomes of what runs fit.
pub const BALLAST_BYTES: u64 = 16 * 1024 * 1024;
/// Free space below which nothing new should be admitted, bytes.
pub const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// One day, milliseconds.
pub const DAY_MS: u64 = 86_400_000;
/// Days over which growth is measured: a whole week, since work has weekends.
pub const GROWTH_DAYS: u64 = 7;
/// An I/O error with less free space than this is a full disk: SQLite reports it so when it
/// cannot grow its shared memory.
pub const FREE_BYTES_NONE: u64 = 1024 * 1024;

/// Largest integer that every JSON reader keeps exact: 2^53.
pub const EXACT_MAX: u64 = 1 << 53;
/// Largest body, bytes: far above any tool's cut, far below SQLite's limit of 10^9.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Shortest body worth compressing, bytes: one page, below it no page is saved.
pub const COMPRESS_BYTES_MIN: u32 = 4096;
/// zstd level: 1 is 8 µs for 2 KiB, and higher ones save little on text.
pub const COMPRESS_LEVEL: i32 = 1;
/// Shared bodies remembered without asking the file: instructions and tool schemas of some agents.
pub const SHARED_BODIES_MAX: usize = 64;

/// Rows that one ad-hoc query returns.
pub const QUERY_ROWS_MAX: usize = 10_000;
/// Time of one ad-hoc query, milliseconds: a reader that stays holds the WAL back.
pub const QUERY_MS_MAX: u64 = 10_000;
/// Virtual machine steps between two looks at the clock: about a millisecond.
pub const QUERY_STEPS: i32 = 100_000;
/// Words of a recall that are looked for.
pub const RECALL_WORDS_MAX: usize = 16;
/// Faults that a verification spells out; it counts all of them.
pub const FAULTS_LISTED_MAX: usize = 100;

/// Entries of a session, from its end, in which a full output is looked for: more than a model's window holds.
pub const OUTPUT_ENTRIES_MAX: usize = 4096;
