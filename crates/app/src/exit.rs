//! How a command ends: one table from what went wrong to an exit code. The codes are an API.
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use backstay_channels::Why;
use backstay_engine::EngineError;
use backstay_store::StoreError;
use http::StatusCode;
use serde_json::{Value, json};

use crate::cause::Cause;
use crate::holder::Holder;

/// Exit codes; scripts rely on the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Ok = 0,
    Fault = 1,
    /// The command line or `backstay.toml` is wrong.
    Usage = 2,
    /// By policy, budget or limit.
    Refused = 3,
    /// For a person or a provider; nothing is lost.
    Waiting = 4,
    NotFound = 5,
    /// Another process holds the home.
    Busy = 6,
}

impl Exit {
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::Fault, Self::Usage, Self::Refused, Self::Waiting, Self::NotFound, Self::Busy];

    /// For the reference.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done as asked; `chat` on a terminal: left",
            Self::Fault => {
                "something is broken: the disk, the journal, the running process, a finding of `doctor` or `audit verify`"
            }
            Self::Usage => {
                "the command line or backstay.toml is wrong, a key is missing, or the provider does not take it"
            }
            Self::Refused => "a no by rule, budget, limit or switch, or a turn that was ended before its reply",
            Self::Waiting => {
                "a person or a provider is waited for, or the home takes nothing in just now; nothing is lost"
            }
            Self::NotFound => "there is no such home, session, turn, approval, token or agent",
            Self::Busy => {
                "another process holds the home and answers on no socket, or serves it already; another import is reading stdin"
            }
        }
    }

    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Fault => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Waiting => 4,
            Self::NotFound => 5,
            Self::Busy => 6,
        }
    }

    /// What an answer of the API means for the command that asked.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Ok,
            400 | 413 | 422 => Self::Usage,
            401 | 403 | 409 | 410 | 429 => Self::Refused,
            404 => Self::NotFound,
            503 => Self::Waiting,
            _ => Self::Fault,
        }
    }
}

/// A command that did not do what it was asked, and the way on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub exit: Exit,
    /// Stable, for programs.
    pub code: String,
    pub message: String,
    /// A command or a line of config; may be empty.
    pub next: String,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    #[must_use]
    pub fn new(cause: impl Into<Cause>, message: impl Into<String>, next: impl Into<String>) -> Self {
        let cause = cause.into();
        Self { exit: cause.exit(), code: cause.word().to_owned(), message: message.into(), next: next.into() }
    }

    #[must_use]
    pub fn is(&self, cause: impl Into<Cause>) -> bool {
        self.code == cause.into().word()
    }

    #[must_use]
    pub fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Cause::Usage, message, next)
    }

    /// What the grammar says of a wrong command line: `error: WHAT`, more about it, `Usage: …`.
    #[must_use]
    pub fn of_usage(said: &str) -> Self {
        let (what, usage) = said.split_once("Usage: ").unwrap_or((said, "backstay"));
        let says_more = |line: &&str| !line.is_empty() && !line.starts_with("For more information");
        let lines = what.lines().map(str::trim).filter(says_more);
        let message = lines.collect::<Vec<_>>().join("; ").replace(":; ", ": ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let is_command = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
        let command: Vec<&str> = usage.split_whitespace().take_while(is_command).collect();
        Self::usage(message, format!("{} --help", command.join(" ")))
    }

    #[must_use]
    pub fn fault(message: impl Into<String>) -> Self {
        Self::new(Cause::Fault, message, "backstay doctor")
    }

    /// Reading or writing `path` failed.
    #[must_use]
    pub fn io(path: &Path, error: &std::io::Error) -> Self {
        let is = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
        let next = if is(&[ErrorKind::StorageFull, ErrorKind::QuotaExceeded]) {
            "make room on that disk"
        } else if is(&[ErrorKind::NotFound, ErrorKind::NotADirectory]) {
            "give a path whose directory is there"
        } else if is(&[ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem]) {
            "use a directory that this user may write, or change to the user whose it is"
        } else {
            "backstay doctor"
        };
        Self::new(Cause::Io, format!("{}: {error}", path.display()), next)
    }

    #[must_use]
    pub fn no_home(home: &Path) -> Self {
        let message = format!("there is no home at {}", home.display());
        Self::new(Cause::NoHome, message, "backstay init")
    }

    /// A new config would not say what the journal's agents may do.
    #[must_use]
    pub fn unconfigured(home: &Path) -> Self {
        let message = format!("{} has a journal and no backstay.toml", home.display());
        let next = "put backstay.toml back, from a backup for example; or: backstay restore BACKUP NEW_HOME";
        Self::new(Cause::NoConfig, message, next)
    }

    #[must_use]
    pub fn busy(home: &Path) -> Self {
        let message = format!("{} holds {} and does not answer there", Holder::words(home), home.display());
        Self::new(Cause::Busy, message, "wait for it to end, or stop it")
    }

    /// Another import from stdin has this file.
    pub fn arriving(path: &Path) -> Self {
        let message = format!("another import is writing {}", path.display());
        Self::new(Cause::Busy, message, "wait for it to end, or import from a file")
    }

    /// A process serves `home` already.
    #[must_use]
    pub fn served(home: &Path) -> Self {
        let message = format!("{} is already served by {}", home.display(), Holder::words(home));
        Self::new(Cause::Busy, message, "backstay status; commands go through that process")
    }

    /// An error of the API: `{"error":{"code","message","next"}}`.
    #[must_use]
    pub fn of_answer(status: StatusCode, body: &Value) -> Self {
        let text = |name: &str| body.pointer(&format!("/error/{name}")).and_then(Value::as_str).unwrap_or_default();
        let message = match text("message") {
            "" => format!("the home answered {status}"),
            message => message.to_owned(),
        };
        let code = if text("code").is_empty() { Cause::Fault.word() } else { text("code") };
        Self { exit: Exit::of_status(status), code: code.to_owned(), message, next: text("next").to_owned() }
    }

    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "error": { "code": self.code, "message": self.message, "next": self.next } })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if self.next.is_empty() { Ok(()) } else { write!(f, "\n  next: {}", self.next) }
    }
}

const LATER: &str = "try again in a moment; backstay status";
/// What helps where the journal itself is lost: the file is never mended in place.
const RESTORE: &str = "keep a copy of state.db and state.db-wal, then backstay restore BACKUP NEW_HOME";

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Busy(home) => Self::busy(&home),
            StoreError::Missing(_) => Self::new(Cause::NoHome, message, "backstay init"),
            StoreError::Exists(_) => Self::new(Cause::Exists, message, "choose another directory"),
            StoreError::Full(_) => Self::new(Why::Full, message, "make room on the disk of the home"),
            StoreError::UnsafeFs { .. } => Self::new(Cause::UnsafeFs, message, "put the home on a local disk"),
            StoreError::Newer { .. } => Self::new(Cause::Newer, message, "use the newer backstay"),
            StoreError::Query(_) | StoreError::QuerySlow(_) => Self::new(Why::Query, message, ""),
            StoreError::Foreign { .. } => Self::new(Cause::Foreign, message, RESTORE),
            StoreError::NotAFile(_) => {
                Self::new(Cause::NotAFile, message, "put the file itself there, or move it away")
            }
            StoreError::Altered(_) => Self::new(Cause::Altered, message, RESTORE),
            StoreError::Corrupt(what) => {
                Self::new(Cause::Damaged, format!("the state file is damaged: {what}"), RESTORE)
            }
            StoreError::Denied { next, .. } => Self::new(Cause::Io, message, next),
            StoreError::Io(_) => Self::new(Cause::Io, message, "backstay doctor"),
            StoreError::OldSqlite(_) | StoreError::Invalid(_) | StoreError::LogHeld | StoreError::Closed => {
                Self::new(Why::Store, message, "backstay doctor")
            }
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Refused(refusal) => Self::new(Why::Refused(refusal.code), refusal.message, refusal.next),
            EngineError::NoSession => Self::new(Why::NotFound, message, "backstay sessions list"),
            EngineError::TooMany { .. } => Self::new(Why::TooManyMessages, message, ""),
            EngineError::KeyReused => Self::new(Why::KeyReused, message, ""),
            EngineError::Full => Self::new(Why::Full, message, LATER),
            EngineError::Draining => Self::new(Why::Draining, message, LATER),
            EngineError::Halted(_) => Self::new(Why::Halted, message, LATER),
            EngineError::Unreadable(_) => {
                let next = "check the disk; where the file is damaged: backstay restore BACKUP NEW_HOME";
                // Where no process goes on that could do better later.
                Self { exit: Exit::Fault, ..Self::new(Why::Unreadable, message, next) }
            }
            EngineError::Internal(_) => Self::fault(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_the_contract_has_its_exit_code() {
        for (status, exit) in [
            (200, Exit::Ok),
            (202, Exit::Ok),
            (400, Exit::Usage),
            (401, Exit::Refused),
            (403, Exit::Refused),
            (404, Exit::NotFound),
            (409, Exit::Refused),
            (410, Exit::Refused),
            (413, Exit::Usage),
            (429, Exit::Refused),
            (500, Exit::Fault),
            (503, Exit::Waiting),
        ] {
            assert_eq!(Exit::of_status(StatusCode::from_u16(status).unwrap()), exit, "{status}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line_with_the_command_that_helps() {
        let said = "error: unexpected argument '--jsn' found\n\n  tip: a similar argument exists: '--json'\n\n\
                    Usage: backstay tokens create [OPTIONS] --principal <PRINCIPAL>\n\nFor more information, try '--help'.\n";
        let failure = Failure::of_usage(said);
        assert_eq!(failure.message, "unexpected argument '--jsn' found; tip: a similar argument exists: '--json'");
        assert_eq!(failure.next, "backstay tokens create --help");
    }

    #[test]
    fn an_answer_that_is_no_error_object_still_says_its_status() {
        let failure = Failure::of_answer(StatusCode::BAD_GATEWAY, &Value::Null);
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Fault, "fault"));
        assert!(failure.message.contains("502"));
    }
}
