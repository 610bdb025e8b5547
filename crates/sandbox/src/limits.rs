//! Every limit of the sandbox, with its unit and its reason.
use std::time::Duration;

/// One command, milliseconds: a build takes minutes; what takes longer is asked for in parts.
pub const TIMEOUT_MS_MAX: u64 = 600_000;
/// Processes and threads of one command: a parallel build, and far from a fork bomb.
pub const PROCESSES_MAX: u64 = 512;
/// Files that one process may hold open: what most systems allow by default.
pub const FILES_MAX: u64 = 1024;
/// One file that a command writes, bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 30;
/// `/tmp` and `/dev/shm` of a command, bytes: they are memory, and no process's.
pub const TMP_BYTES: u64 = 256 << 20;
pub const SHM_BYTES: u64 = 64 << 20;
/// Files in each of them.
pub const TMP_FILES_MAX: u64 = 65_536;
/// Memory of the machine that must stay available, bytes: what a command takes and no process has
/// (buffers of its pipes, tables of its files) is seen by what is left.
pub const AVAILABLE_BYTES_MIN: u64 = 64 << 20;
/// Files that can still be made on a disk that a command may write to: the journal needs a few.
pub const FREE_FILES_MIN: u64 = 10_000;
/// How far behind the runtime a command stands when both want to compute.
pub const NICE: i32 = 10;
/// Kept of each of stdout and stderr, bytes; the rest is read and dropped, so that nothing blocks.
pub const OUTPUT_BYTES_MAX: usize = 512 << 10;
/// Of a path in a directory that a command may write, bytes: the new root's own path stands before it, and a name for
/// what is taken out of use behind it, and the kernel takes 4,096 of all.
pub const PATH_BYTES_MAX: usize = 3_900;
/// Between two looks at memory and disk: a process that takes memory as fast as it can gets some
/// hundred megabytes between them, and its own limit holds by itself.
pub const LOOK: Duration = Duration::from_millis(50);
/// From the order to stop until the helper's own process is killed: the kernel ends a tree at once,
/// unless a disk holds it.
pub const STOP: Duration = Duration::from_secs(5);
/// From the order to rest until a server that does not is ended: less than [`STOP`], and more than a system call takes
/// on a busy disk.
pub const REST: Duration = Duration::from_secs(3);
/// From the signal that ends all processes of a user until none is there any more: each must be given a moment to end
/// in, and stands back behind a machine that is busy.
pub const ENDS: Duration = Duration::from_secs(60);
/// Of a directory that is being removed, names that are looked at together.
pub const NAMES_AT_ONCE: usize = 1024;
/// Between two looks at whether it rests.
pub const LOOK_AT_REST: Duration = Duration::from_millis(1);
/// A profile, bytes: a command, and every bind of its root.
pub const PROFILE_BYTES_MAX: u64 = 16 << 20;
/// The first line of a program that names its interpreter, bytes: what the kernel reads of one.
pub const INTERPRETER_BYTES_MAX: u64 = 256;
/// From the last change of a file until its digest is kept, seconds: many ticks of the clock that dates changes.
pub const SETTLED_S: i64 = 2;
/// Programs whose digests are kept: more than most machines have.
pub const PROGRAMS_KNOWN_MAX: usize = 4096;
/// How long a helper waits for the next command: what lies between two of one task, and far less than idle.
pub const KEPT: Duration = Duration::from_secs(60);
/// A report of the helper, bytes.
pub const REPORT_BYTES_MAX: usize = 4096;
/// What one command's copies hold, bytes, entries and directories in each other: a project, made anew for each command.
pub const STAGE_BYTES_MAX: u64 = 1 << 30;
pub const STAGE_ENTRIES_MAX: u64 = 50_000;
pub const STAGE_DEPTH_MAX: u32 = 128;
/// Names that are tried for what is put beside another: more than anybody leaves lying.
pub const ASIDE_MAX: u32 = 1_000;
/// Entries of the writable directories that are looked through for protected names, before and after.
pub const ENTRIES_MAX: usize = 250_000;
