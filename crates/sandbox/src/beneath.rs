//! Files and directories by handles, beneath what was granted and over no link.
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, fchown, futimens, openat,
    openat2, statat, unlinkat,
};
use rustix::io::Errno;

/// How an original is walked to: what is mounted in it was granted with it.
pub const ORIGINALS: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// How a copy is walked.
pub const COPIES: ResolveFlags = ORIGINALS.union(ResolveFlags::NO_XDEV);

pub const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub fn directory(at: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(at, name, DIRECTORY, Mode::empty())
}

pub fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The directory that a path lies in.
pub fn parent(original: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    openat2(original, above(path), DIRECTORY, Mode::empty(), ORIGINALS)
}

/// Some of what is in it, so that no directory is as large as this process's memory.
pub fn names(directory: &OwnedFd, most: usize) -> Result<Vec<CString>, Errno> {
    let names = Dir::read_from(directory)?.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    let is_entry =
        |name: &Result<CString, Errno>| !matches!(name, Ok(name) if [c".", c".."].contains(&name.as_c_str()));
    names.filter(is_entry).take(most).collect()
}

pub fn is_absent(within: &OwnedFd, name: &OsStr) -> bool {
    statat(within, name, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|errno| errno == Errno::NOENT)
}

pub fn is_directory(within: &OwnedFd, name: &OsStr) -> bool {
    statat(within, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

/// Nothing that lends anybody's rights.
pub fn permissions(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode).intersection(Mode::RWXU | Mode::RWXG | Mode::RWXO)
}

/// Gives a file the time of another.
pub fn set_changed(file: impl AsFd, as_of: &Stat) -> Result<(), Errno> {
    let nanoseconds = i64::try_from(as_of.st_mtime_nsec).unwrap_or_default();
    let changed = Timespec { tv_sec: as_of.st_mtime, tv_nsec: nanoseconds };
    futimens(file, &Timestamps { last_access: changed, last_modification: changed })
}

pub fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(u64::MAX)
}

pub fn give(to: impl AsFd, owner: &Stat) -> Result<(), Errno> {
    fchown(to.as_fd(), Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))
}

pub fn aside(name: &OsStr, suffix: &str, number: u32) -> OsString {
    let mut aside = name.to_owned();
    aside.push(format!("{suffix}-{number}"));
    aside
}

pub fn remove(within: BorrowedFd<'_>, name: &OsStr) {
    if unlinkat(within, name, AtFlags::empty()).is_err() {
        let _ = unlinkat(within, name, AtFlags::REMOVEDIR);
    }
}
