//! What has a name that nobody acts on until it is whole, and takes its own in one step.
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, RenameFlags, renameat, renameat_with, statat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::beneath::{is_absent, remove};
use crate::mark::Mark;

/// Begins the name that each has until it has its own; then the process and a number.
const UNDERWAY: &str = ".backstay-merge-";

/// What has no name of its own yet; it goes where it gets none.
pub struct Underway<'a> {
    within: &'a OwnedFd,
    pub name: String,
}

impl<'a> Underway<'a> {
    pub fn new(within: &'a OwnedFd) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self { within, name: format!("{UNDERWAY}{}-{number}", std::process::id()) }
    }

    pub fn publish(&self, name: &OsStr, was: Option<Mark>) -> Result<bool, Errno> {
        publish(self.within, OsStr::new(&self.name), name, was)
    }
}

/// False: what lies there is not what was there.
pub fn publish(within: &OwnedFd, from: &OsStr, to: &OsStr, was: Option<Mark>) -> Result<bool, Errno> {
    if let Some(was) = was {
        return match statat(within, to, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if Mark::of_stat(&found) == was => renameat(within, from, within, to).map(|()| true),
            Ok(_) | Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        };
    }
    match renameat_with(within, from, within, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // File systems that do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) if is_absent(within, to) => renameat(within, from, within, to).map(|()| true),
        Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        // Gone already where it has its name.
        remove(self.within.as_fd(), OsStr::new(&self.name));
    }
}

/// Takes away what a merge that was killed has left. True for whatever has such a name, also of one that is still at
/// work.
pub fn takes_away(within: BorrowedFd<'_>, name: &OsStr) -> bool {
    let Some(rest) = name.as_bytes().strip_prefix(UNDERWAY.as_bytes()) else { return false };
    let of = std::str::from_utf8(rest).ok().and_then(|rest| rest.split_once('-'));
    let Some((pid, _)) = of else { return false };
    let other = pid.parse().ok().filter(|pid| Ok(*pid) != i32::try_from(std::process::id())).and_then(Pid::from_raw);
    let is_at_work = other.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH));
    // Whosever it is: what was cut may have had its owner already.
    if !is_at_work {
        remove(within, name);
    }
    true
}
