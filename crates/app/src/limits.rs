//! Limits of the command line, each with its unit and its reason.
use std::time::Duration;

/// Bytes of one answer: the largest is a page of records; more is a fault of the other side.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one event: as much as a reply may hold, and its JSON.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a command waits for a home that another command holds at the moment.
pub const BUSY_WAIT: Duration = Duration::from_secs(2);
/// Between two looks at a busy home.
pub const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Lines that wait while the chat is busy; a paste is longer than this only by mistake.
pub const TYPED_LINES_MAX: usize = 1024;
/// Bytes of one of them: the API takes no message that is longer.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Characters of a line that is named and not shown whole.
pub const UNREAD_CHARS_MAX: usize = 40;
/// Lines of a pipe that are counted when its chat has ended: a pipe may never be empty.
pub const UNREAD_LINES_MAX: usize = 1000;
/// Characters of a call's arguments in one line of progress.
pub const PROGRESS_CHARS_MAX: usize = 160;
/// Characters of another process's command line in a message.
pub const HOLDER_CHARS_MAX: usize = 60;
/// How long a provider may take to say which models it has; one that takes longer is of no use to
/// a person who waits.
pub const PROBE: Duration = Duration::from_secs(10);
/// Bytes of free disk below which `doctor` speaks of it: days of a busy home.
pub const ROOM_BYTES_SMALL: u64 = 1024 * 1024 * 1024;
/// 2026-01-01, milliseconds since the Unix epoch: no clock that is right shows less.
pub const CLOCK_MS_MIN: u64 = 1_767_225_600_000;
/// Records that one page of a trace asks for.
pub const PAGE: u64 = 500;
/// Bytes of a task on stdin; the API takes no more.
pub const TASK_BYTES_MAX: u64 = 1024 * 1024;
/// Characters of one line of a trace; `--json` has the whole.
pub const TRACE_CHARS_MAX: usize = 240;
/// Between two tries of a receiver of notices that does not take them; doubles.
pub const NOTIFY_RETRY_MIN: Duration = Duration::from_secs(1);
pub const NOTIFY_RETRY_MAX: Duration = Duration::from_secs(300);
/// Notices that were taken and have ended, and are remembered: what comes back for a moment is not told again.
pub const NOTICES_KEPT: usize = 256;
/// Sessions that must have left memory before it is given back, unless none is left: some megabytes.
pub const DEPARTURES_MIN: u64 = 64;
/// From the first of them to the giving back: many leave together, and it holds up every thread
/// that wants memory for some milliseconds.
pub const GIVE_BACK_PAUSE: Duration = Duration::from_secs(5);
/// Bytes of what a browser says to the port that a login waits at: a code, and the browser's own headers.
pub const REDIRECT_BYTES_MAX: usize = 64 * 1024;
/// For one such request: it comes from this machine.
pub const REDIRECT_TIME: Duration = Duration::from_secs(10);
