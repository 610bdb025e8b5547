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
/// How long a command in its own process lets what it started come to an end. A tool or a model
/// call that takes longer is cut, and goes on with the next process.
pub const DRAIN: Duration = Duration::from_secs(20);
/// Lines that wait while the chat is busy; a paste is longer than this only by mistake.
pub const TYPED_LINES_MAX: usize = 1024;
/// Characters of a call's arguments in one line of progress.
pub const PROGRESS_CHARS_MAX: usize = 160;
/// Records that one page of an export asks for.
pub const PAGE: u64 = 500;
