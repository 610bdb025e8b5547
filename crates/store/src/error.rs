//! What can go wrong, in classes that tell the caller what to do next.
//!
//! A failed append is either the append's own (stale, duplicate, budget) or the store's. After a
//! failure of the store nobody knows whether the append is on disk: drop the session, load it
//! again, and decide from what is there.
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use backstay_kernel::id::Seq;
use rusqlite::ErrorCode;
use rustix::io::Errno;

use crate::inbox::Admission;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no state file at `{}`: create the home first, or restore a backup into it", .0.display())]
    Missing(PathBuf),
    #[error("`{}` is there already: choose another directory, or move it away first", .0.display())]
    Exists(PathBuf),
    #[error("`{}` is locked by another process: send the command to it, or stop it first", .0.display())]
    Busy(PathBuf),
    #[error("`{}` is not a Backstay state file ({why}): nothing was changed; check the path", path.display())]
    Foreign { path: PathBuf, why: String },
    #[error("the state file has schema version {found} and this program knows {known}: use the newer program")]
    Newer { found: u32, known: u32 },
    #[error("the state file's schema was altered ({0}): nothing was changed; restore a backup that is as it was made")]
    Altered(String),
    #[error("SQLite {0} can corrupt a write-ahead log: build with 3.51.3 or newer")]
    OldSqlite(&'static str),
    #[error("`{}` lies on {name}, where {why}: move the home to a local disk", path.display())]
    UnsafeFs { path: PathBuf, name: &'static str, why: &'static str },
    #[error("`{}` is not a regular file but a link, a directory or a pipe: put the file itself there, or move it away", .0.display())]
    NotAFile(PathBuf),
    #[error("the disk is full ({0}): free some space; work goes on by itself")]
    Full(String),
    #[error(
        "reading or writing the state file failed ({0}): check the disk; a served home goes on by itself once it answers"
    )]
    Io(String),
    /// Waiting does not help.
    #[error("the home cannot be opened or written ({what}): {next}")]
    Denied { what: String, next: &'static str },
    #[error("the state file is damaged ({0}): run `backstay audit verify`, then restore a backup")]
    Corrupt(String),
    /// The caller broke a rule of the store; nothing was stored.
    #[error("the store does not take this ({0}): this is a fault of the program, please report it")]
    Invalid(String),
    #[error("erased, but a long read still holds the old log, which has it: repeat it when the read is over")]
    LogHeld,
    #[error("the query was not run: {0}")]
    Query(String),
    #[error("the query was stopped at its limit of {0} ms: narrow it, or ask a backup of the home with sqlite3")]
    QuerySlow(u64),
    #[error("the store is closed: open it again")]
    Closed,
}

impl StoreError {
    /// True where the connection must be dropped and the file read again from disk.
    pub(crate) fn is_storage(&self) -> bool {
        match self {
            Self::Full(_) | Self::Io(_) | Self::Denied { .. } | Self::Corrupt(_) => true,
            Self::Missing(_)
            | Self::Exists(_)
            | Self::Busy(_)
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Altered(_)
            | Self::OldSqlite(_)
            | Self::UnsafeFs { .. }
            | Self::NotAFile(_)
            | Self::Invalid(_)
            | Self::LogHeld
            | Self::Query(_)
            | Self::QuerySlow(_)
            | Self::Closed => false,
        }
    }

    pub(crate) fn io(path: &Path, error: impl Into<std::io::Error>) -> Self {
        let error = error.into();
        let text = format!("{}: {error}", path.display());
        let is = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
        let descriptors = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
        if is(&[ErrorKind::StorageFull, ErrorKind::QuotaExceeded]) {
            Self::Full(text)
        } else if is(&[ErrorKind::ReadOnlyFilesystem]) {
            Self::Denied { what: text, next: WRITABLE }
        } else if is(&[ErrorKind::PermissionDenied]) {
            Self::Denied { what: text, next: OWNER }
        } else if descriptors.contains(&error.raw_os_error()) {
            Self::Denied { what: text, next: DESCRIPTORS }
        } else {
            Self::Io(text)
        }
    }
}

const WRITABLE: &str = "mount its file system writable";
const OWNER: &str = "change to the user whose home it is, or give that user its files";
const DESCRIPTORS: &str = "raise the limit of open files (`ulimit -n`)";

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        // A number that SQLite has no room for was never on its way to the file.
        if let rusqlite::Error::ToSqlConversionFailure(_) = error {
            return Self::Invalid(text);
        }
        // An answer of a wrong shape comes from the file, not from the disk.
        let Some(code) = error.sqlite_error_code() else { return Self::Corrupt(text) };
        let is = |codes: &[ErrorCode]| codes.contains(&code);
        if is(&[ErrorCode::DiskFull]) {
            Self::Full(text)
        } else if is(&[ErrorCode::ReadOnly]) {
            Self::Denied { what: text, next: WRITABLE }
        } else if is(&[ErrorCode::PermissionDenied]) {
            Self::Denied { what: text, next: OWNER }
        } else if is(&[ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase]) {
            Self::Corrupt(text)
        } else if is(&[
            ErrorCode::ConstraintViolation,
            ErrorCode::TooBig,
            ErrorCode::TypeMismatch,
            ErrorCode::ParameterOutOfRange,
        ]) {
            Self::Invalid(text)
        } else {
            Self::Io(text)
        }
    }
}

/// Why one append is not in the journal; the others of its batch are not touched by it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody extended the session in between: load it again and decide again.
    #[error("the session is at {at:?} and the append expected another place: load it again")]
    Stale { at: Seq },
    /// The command was admitted before.
    #[error("a command with this key was admitted as {}.{}", .0.session, .0.seq.0)]
    Duplicate(Admission),
    #[error("the reservation does not fit under `{key}`: decide again")]
    Budget { key: String },
    /// Whether the append is on disk is unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waiting_does_not_mend_names_what_does() {
        for (errno, word) in [(Errno::ROFS, "writable"), (Errno::ACCESS, "user"), (Errno::MFILE, "ulimit -n")] {
            let error = StoreError::io(Path::new("home"), errno);
            assert!(matches!(&error, StoreError::Denied { next, .. } if next.contains(word)), "{error}");
        }
        assert!(matches!(StoreError::io(Path::new("home"), Errno::IO), StoreError::Io(_)));
    }
}
