//! Every limit of the tools, with its unit and its reason.
use std::time::Duration;

/// A path as the operating system takes it, bytes: PATH_MAX without the closing NUL.
pub const PATH_BYTES_MAX: usize = 4095;
/// Components of a path: no sane tree is deeper, and every one may cost a system call.
pub const PATH_COMPONENTS_MAX: usize = 64;
/// A file that is read, edited or replaced, bytes: it is held in memory, and hashed, as a whole.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// An explanation for the model, bytes: what it quotes is the model's own and may be any length.
pub const DETAIL_BYTES_MAX: usize = 600;
/// Text of one result, bytes: some 10,000 tokens, a third of a small model's window.
pub const TEXT_BYTES_MAX: usize = 32 << 10;
/// The full text of a result of which a part is shown, bytes: what a body may hold.
pub const SPILL_BYTES_MAX: usize = 1 << 20;
/// A text to remember, or a question to a person, bytes: a page.
pub const NOTE_BYTES_MAX: usize = 8 << 10;
/// What to look for in memory, bytes: a sentence or two.
pub const QUERY_BYTES_MAX: usize = 1 << 10;

/// A command, bytes: what an argument of a program may hold is 128 KiB, and no command is as long.
pub const COMMAND_BYTES_MAX: usize = 16 << 10;
/// Time of a command that names none, seconds: a build of a small project.
pub const COMMAND_S: u64 = 120;
/// Shown of stdout and of stderr, bytes; all that was kept lies in the full output.
pub const STDOUT_BYTES_MAX: usize = 20 << 10;
pub const STDERR_BYTES_MAX: usize = 10 << 10;
/// Paths that are told of one reason why they were not kept.
pub const PATHS_TOLD_MAX: usize = 20;
/// Beyond the longest command: its sandbox, and looking through what it wrote.
pub const COMMAND_EXTRA_MS: u64 = 30_000;

/// Arguments of a call of a tool that is not built in, bytes: its payload, and room around it.
pub const ARGUMENTS_BYTES_MAX: usize = 1 << 20;
/// A schema of such a tool, bytes: far beyond what a model should be told of one tool.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Body of a request, bytes: what one call can hold that a model wrote.
pub const REQUEST_BYTES_MAX: usize = 256 << 10;
/// Beyond the longest request: connecting, and telling of it.
pub const REQUEST_EXTRA_MS: u64 = 30_000;

/// Refs that one call fetches.
pub const GIT_REFS_MAX: usize = 16;
/// What a repository sends or is sent at once, bytes: it is held in memory.
pub const GIT_PACK_BYTES_MAX: usize = 64 << 20;
/// What a repository says of its refs, bytes.
pub const GIT_REFS_BYTES_MAX: usize = 8 << 20;
/// Lists of the objects that a push sends, bytes: some 600,000 of them.
pub const GIT_LISTED_BYTES_MAX: usize = 32 << 20;
/// Paths that a push changes, of which facts and rules are told: more than a person reads.
pub const GIT_CHANGED_MAX: usize = 1_000;
/// One request of a repository, milliseconds: a pack over a slow line.
pub const GIT_REQUEST_MS: u64 = 120_000;
/// What git does with a pack in its sandbox, seconds.
pub const GIT_WORK_S: u64 = 120;
/// Words of a server's or of git's that are shown, bytes.
pub const GIT_SAID_BYTES_MAX: usize = 400;

/// Entries of one directory that are looked at; the rest is counted as "more".
pub const ENTRIES_MAX: usize = 10_000;
/// Entries of one directory that are shown.
pub const ENTRIES_SHOWN_MAX: usize = 500;

/// A regular expression, bytes of its text, and bytes of its compiled program and of its cache.
pub const PATTERN_BYTES_MAX: usize = 1 << 10;
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 1 << 20;
/// One search: files, bytes and time, whichever is first; below the timeout in the manifest.
pub const SEARCH_FILES_MAX: usize = 20_000;
pub const SEARCH_BYTES_MAX: usize = 64 << 20;
pub const SEARCH_TIME_MAX: Duration = Duration::from_secs(5);
/// Directories inside directories: each holds a descriptor open.
pub const SEARCH_DEPTH_MAX: usize = 32;
/// Lines that a search finds before it stops.
pub const HITS_MAX: usize = 10_000;
/// Lines that a search shows.
pub const HITS_SHOWN_MAX: usize = 100;
/// One found line, bytes: enough to see why it was found.
pub const HIT_BYTES_MAX: usize = 300;
/// Bytes at the start of a file in which a NUL says that it is no text.
pub const BINARY_LOOK_BYTES: usize = 8 << 10;

/// Tries of one open: the kernel gives up a walk when something is renamed during it, and a
/// process that renames without pause must not hold a call for ever.
pub const OPEN_TRIES_MAX: usize = 16;

/// Time of one call, milliseconds, as its manifest declares it: a local disk under load.
pub const READ_MS_MAX: u64 = 10_000;
pub const WRITE_MS_MAX: u64 = 30_000;
/// Hosts that one command may reach.
pub const NETWORK_HOSTS_MAX: usize = 16;
