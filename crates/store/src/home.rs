//! The directory of a home: who may open it, on which file systems, and how much room it has.
//!
//! `state.db` itself is only ever opened by SQLite: closing any other descriptor of it would drop
//! SQLite's locks. That is why the home's lock is a file of its own.
use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock, statfs};
use rustix::io::Errno;

use crate::error::StoreError;
use crate::filesystem;
use crate::limits::{BALLAST_BYTES, FREE_BYTES_MIN};

pub const STATE: &str = "state.db";
/// SQLite's own names beside it.
const LOG: &str = "state.db-wal";
const SHARED: &str = "state.db-shm";
const LOCK: &str = "state.lock";
const BALLAST: &str = "state.ballast";
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// How much of the disk a home keeps for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Size of the file that is given up when the disk is full, bytes.
    pub ballast_bytes: u64,
    /// Free space below which [`crate::Store::writable`] says no, bytes.
    pub free_bytes_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { ballast_bytes: BALLAST_BYTES, free_bytes_min: FREE_BYTES_MIN }
    }
}

/// A home whose lock this process holds, until it is dropped.
#[derive(Debug)]
pub struct Home {
    directory: PathBuf,
    options: Options,
    ballast: AtomicBool,
    lock: File,
}

impl Home {
    /// Takes the lock of an existing directory, after a look at what it lies on.
    pub fn take(directory: &Path, options: Options) -> Result<Self, StoreError> {
        let directory = &real(directory)?;
        let lock_path = directory.join(LOCK);
        let state = directory.join(STATE);
        require_plain(directory)?;
        let lock = open_lock(&lock_path)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StoreError::Busy(directory.to_owned())),
            Err(error) => return Err(StoreError::io(&lock_path, error)),
        }
        filesystem::check(directory, &lock_path)?;
        tighten(directory, DIRECTORY_MODE)?;
        if state.exists() {
            tighten(&state, FILE_MODE)?;
        }
        let ballast = fs::metadata(directory.join(BALLAST)).is_ok_and(|found| found.len() >= options.ballast_bytes);
        Ok(Self { directory: directory.to_owned(), options, ballast: AtomicBool::new(ballast), lock })
    }

    /// Gives the lock back while handles are still held; nothing may be opened after it.
    pub fn release(&self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn state(&self) -> PathBuf {
        self.directory.join(STATE)
    }

    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        free_bytes(&self.directory)
    }

    /// Whether something new may be admitted. Puts the ballast back when there is room again.
    pub fn check_room(&self) -> Result<(), StoreError> {
        let free = self.free_bytes()?;
        let has_ballast = self.ballast.load(Ordering::Acquire);
        let wanted = if has_ballast { 0 } else { self.options.ballast_bytes };
        if free < self.options.free_bytes_min.saturating_add(wanted) {
            return Err(StoreError::Full(format!("{free} bytes are free in {}", self.directory.display())));
        }
        if has_ballast { Ok(()) } else { self.put_ballast() }
    }

    fn put_ballast(&self) -> Result<(), StoreError> {
        let path = self.directory.join(BALLAST);
        if self.options.ballast_bytes > 0 {
            let file =
                private().create(true).truncate(true).write(true).open(&path).map_err(|e| StoreError::io(&path, e))?;
            match fallocate(&file, FallocateFlags::empty(), 0, self.options.ballast_bytes) {
                Ok(()) => {}
                // No preallocation here: then this file system has no ballast, and that is all.
                Err(Errno::OPNOTSUPP) => {
                    file.set_len(self.options.ballast_bytes).map_err(|e| StoreError::io(&path, e))?
                }
                Err(error) => {
                    let _ = fs::remove_file(&path);
                    return Err(StoreError::io(&path, error));
                }
            }
        }
        self.ballast.store(true, Ordering::Release);
        Ok(())
    }

    /// Gives the ballast up, so that the outcomes of what runs can still be written. False where
    /// there is nothing left to give.
    pub fn drop_ballast(&self) -> bool {
        self.ballast.swap(false, Ordering::AcqRel) && fs::remove_file(self.directory.join(BALLAST)).is_ok()
    }
}

/// Makes the directory if it is not there, for its owner alone.
pub fn make_directory(directory: &Path) -> Result<(), StoreError> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(|e| StoreError::io(directory, e))
}

/// The directory itself, where links lead to it: SQLite opens our files without following any, in
/// the whole path, so that the state file cannot be one.
pub fn real(directory: &Path) -> Result<PathBuf, StoreError> {
    let is_missing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    fs::canonicalize(directory).map_err(|error| {
        if is_missing(&error) { StoreError::Missing(directory.join(STATE)) } else { StoreError::io(directory, error) }
    })
}

/// Refuses a pipe, a directory or a link under the name of one of our files: opening a pipe waits for
/// its other end, and a link leads out of the home.
pub fn require_plain(directory: &Path) -> Result<(), StoreError> {
    for name in [STATE, LOG, SHARED, LOCK, BALLAST] {
        let path = directory.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(StoreError::NotAFile(path));
        }
    }
    Ok(())
}

/// Makes the empty file that SQLite then fills: it would make one that others can read.
pub fn make_file(path: &Path) -> Result<(), StoreError> {
    match private().create_new(true).write(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(StoreError::Exists(path.to_owned())),
        Err(error) => Err(StoreError::io(path, error)),
    }
}

/// Makes a rename or a new name in `directory` survive a power loss.
pub fn flush_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| StoreError::io(directory, e))
}

/// Whether a home's lock is held by anybody; a backup has no lock file and is never held.
pub fn is_locked(directory: &Path) -> Result<bool, StoreError> {
    let path = directory.join(LOCK);
    match private().read(true).open(&path) {
        Ok(lock) => Ok(flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(&path, error)),
    }
}

fn free_bytes(directory: &Path) -> Result<u64, StoreError> {
    let found = statfs(directory).map_err(|e| StoreError::io(directory, e))?;
    let block = u64::try_from(found.f_bsize).unwrap_or(0);
    Ok(found.f_bavail.saturating_mul(block))
}

/// Without waiting, should a pipe have come in after the look at it.
fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    options.mode(FILE_MODE).custom_flags(flags);
    options
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    private().create(true).truncate(false).write(true).open(path).map_err(|e| {
        if e.kind() == std::io::ErrorKind::NotFound {
            return StoreError::Missing(path.with_file_name(STATE));
        }
        StoreError::io(path, e)
    })
}

/// Takes away what others may do; an owner's stricter mode stays.
fn tighten(path: &Path, mode: u32) -> Result<(), StoreError> {
    let found = fs::metadata(path).map_err(|e| StoreError::io(path, e))?.permissions().mode();
    if found & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(found & mode)).map_err(|e| StoreError::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_up_ballast_comes_back_when_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { ballast_bytes: 1 << 20, free_bytes_min: 1 };
        let home = Home::take(directory.path(), options).unwrap();
        home.check_room().unwrap();
        let ballast = directory.path().join(BALLAST);
        assert_eq!(fs::metadata(&ballast).unwrap().len(), 1 << 20);
        assert!(home.drop_ballast());
        assert!(!ballast.exists());
        assert!(!home.drop_ballast());
        home.check_room().unwrap();
        assert!(ballast.exists());
    }

    #[test]
    fn a_disk_with_too_little_room_admits_nothing_new() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::take(directory.path(), Options { ballast_bytes: 0, free_bytes_min: u64::MAX }).unwrap();
        assert!(matches!(home.check_room(), Err(StoreError::Full(_))));
    }
}
