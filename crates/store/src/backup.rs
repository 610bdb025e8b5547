//! Copies of a home that were read again before anybody relies on them, and the way back.
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::connect::{self, Kind};
use crate::error::StoreError;
use crate::home::{self, Home, Options, STATE};
use crate::limits::BUSY_MS;
use crate::lineage;
use crate::store::Store;
use crate::verify::{Report, verify};

/// The copy's name until it is verified and flushed, so that half a copy never looks like one.
const PARTIAL: &str = "state.partial";

impl Store {
    /// Writes a consistent copy of this moment into `directory` and verifies it. `beside` brings what
    /// belongs to it; only then the copy gets its name, so that a directory with a journal in it is a
    /// whole backup. The home goes on working.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where a copy is there already, [`StoreError::Corrupt`] where the
    /// copy does not verify, that of `beside`; then no journal is left behind.
    pub fn backup<T>(
        &self,
        directory: &Path,
        beside: impl FnOnce() -> std::io::Result<T>,
    ) -> Result<(Report, T), StoreError> {
        self.read(|_| Ok(()))?;
        let target = directory.join(STATE);
        refuse_existing(&target)?;
        home::make_directory(directory)?;
        let directory = &home::real(directory)?;
        let source = connect::reader(&self.inner.common.home.state())?;
        let partial = Partial::make(directory)?;
        let mut db = connect::writer(&partial.path)?;
        copy(&source, &mut db)?;
        drop(source);
        let report = sound(&db)?;
        leave(db)?;
        let brought = beside().map_err(|error| StoreError::io(directory, error))?;
        partial.publish(&target)?;
        Ok((report, brought))
    }
}

/// Puts the backup in `from` into the home directory `to`, under a new lineage: keys of effects
/// and hashes differ from then on, and [`Store::restored`] says so until it is dealt with.
///
/// # Errors
/// [`StoreError::Exists`] where `to` has a state file or the log of one, [`StoreError::Busy`] where either is in
/// use, [`StoreError::Corrupt`] where the backup does not verify; then nothing is left behind.
pub fn restore(from: &Path, to: &Path) -> Result<Report, StoreError> {
    let (source, target) = (from.join(STATE), to.join(STATE));
    if !source.exists() {
        return Err(StoreError::Missing(source));
    }
    home::require_plain(from)?;
    refuse_existing(&target)?;
    // A log without its file is another file's: it would be taken for the restored one's.
    refuse_existing(&log_of(&target))?;
    if home::is_locked(from)? {
        return Err(StoreError::Busy(from.to_owned()));
    }
    home::make_directory(to)?;
    let home = Home::take(to, Options::default())?;
    let partial = Partial::make(home.directory())?;
    partial.fill(&source)?;
    let db = connect::writer(&partial.path)?;
    if connect::kind(&db, &source)? == Kind::Blank {
        return Err(StoreError::Missing(source));
    }
    connect::arm(&db)?;
    let report = sound(&db)?;
    let body_last = db.query_row("SELECT coalesce(max(id), 0) FROM bodies", [], |row| row.get(0))?;
    let lineage = lineage::draw(body_last)?;
    db.execute_batch("BEGIN IMMEDIATE")?;
    db.execute("INSERT OR REPLACE INTO meta SELECT 'restored', value FROM meta WHERE name = 'lineage'", [])?;
    db.execute("UPDATE meta SET value = ?1 WHERE name = 'lineage'", [lineage])?;
    db.execute_batch("COMMIT")?;
    leave(db)?;
    partial.publish(&target)?;
    Ok(report)
}

fn refuse_existing(target: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(target).is_ok() { Err(StoreError::Exists(target.to_owned())) } else { Ok(()) }
}

/// All pages in one step: a read transaction keeps the writer's later commits out of the copy.
fn copy(source: &Connection, target: &mut Connection) -> Result<(), StoreError> {
    let backup = Backup::new(source, target)?;
    if backup.step(-1)? == StepResult::Done {
        return Ok(());
    }
    Err(StoreError::Io(format!("the copy was locked out for {BUSY_MS} ms")))
}

fn sound(db: &Connection) -> Result<Report, StoreError> {
    let report = verify(db)?;
    if report.is_sound() {
        return Ok(report);
    }
    let first = report.faults.first().map(String::as_str).unwrap_or_default();
    Err(StoreError::Corrupt(format!("faults in the copy: {}, first: {first}", report.fault_count)))
}

/// Closes so that one file is left, with everything in it.
fn leave(db: Connection) -> Result<(), StoreError> {
    connect::arm(&db)?;
    connect::truncate_wal(&db)?;
    connect::leave_clean(&db)?;
    db.close().map_err(|(_, error)| error.into())
}

/// A copy in the making; gone when dropped.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn make(directory: &Path) -> Result<Self, StoreError> {
        let partial = Self { path: directory.join(PARTIAL) };
        // Left by a copy that was cut off.
        partial.remove();
        home::make_file(&partial.path)?;
        Ok(partial)
    }

    /// Takes over the bytes of a file that nobody has open, with the log of a home that was not
    /// stopped cleanly.
    fn fill(&self, source: &Path) -> Result<(), StoreError> {
        for (from, to) in [(source.to_owned(), self.path.clone()), (log_of(source), log_of(&self.path))] {
            if from.exists() {
                if !to.exists() {
                    home::make_file(&to)?;
                }
                fs::copy(&from, &to).map_err(|error| StoreError::io(&from, error))?;
            }
        }
        Ok(())
    }

    fn publish(self, target: &Path) -> Result<(), StoreError> {
        let failed = |error| StoreError::io(target, error);
        fs::File::open(&self.path).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&self.path, target).map_err(failed)?;
        target.parent().map_or(Ok(()), home::flush_directory)
    }

    fn remove(&self) {
        for path in [self.path.clone(), log_of(&self.path), with_suffix(&self.path, "-shm")] {
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.remove();
    }
}

fn log_of(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
