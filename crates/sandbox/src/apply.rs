//! The changes of one command, made where it may write. This process may be root there, and others write there too:
//! each is made beneath the granted directory by a handle of the directory it is in, over no link, beside its name, and
//! takes the name in one step if what lies there is what was copied.
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Uid, chownat, fchmod, fchown, fstat,
    mkdirat, openat, openat2, readlinkat, renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Pid, geteuid, test_kill_process};

use crate::limits::ASIDE_MAX;
use crate::mark::Mark;
use crate::merge::{COPIES, Ends, Told, Why, aside, shown, size};
use crate::stage::{DIRECTORY, Was, directory, names, permissions, set_changed};

/// How an original is walked to: what is mounted in it was granted with it.
pub const ORIGINALS: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// Begins the name that each has until it has its own; then the process and a number.
const UNDERWAY: &str = ".backstay-merge-";
/// Appended to what another's stands in the way of.
const CONFLICT: &str = ".conflict";

#[derive(Debug)]
pub struct Change {
    root: usize,
    from: PathBuf,
    to: PathBuf,
    what: What,
    /// `None`: nothing was there.
    was: Option<Was>,
}

#[derive(Debug)]
enum What {
    File { bytes: u64, mode: Mode },
    Directory { mode: Mode },
    Link,
    Mode(Mode),
    Gone,
}

impl Change {
    pub fn put(root: usize, from: &Path, to: &Path, kind: FileType, stat: &Stat, was: Option<Was>) -> Self {
        let mode = permissions(stat);
        let what = match kind {
            FileType::RegularFile => {
                // A copy can be read in any case, its original as it could be.
                let mode = was.filter(|was| was.copy_mode == mode).map_or(mode, |was| was.mode);
                What::File { bytes: size(stat), mode }
            }
            FileType::Directory => What::Directory { mode },
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => What::Link,
        };
        Self { root, from: from.to_owned(), to: to.to_owned(), what, was }
    }

    pub fn mode(root: usize, path: &Path, mode: Mode, was: Was) -> Self {
        Self { root, from: path.to_owned(), to: path.to_owned(), what: What::Mode(mode), was: Some(was) }
    }

    pub fn deletion(root: usize, path: PathBuf, was: Was) -> Self {
        Self { root, from: path.clone(), to: path, what: What::Gone, was: Some(was) }
    }
}

/// In the order in which they are made: where the disk is full nothing is deleted for what could not be written.
#[derive(Default)]
pub struct Work {
    pub puts: Vec<Change>,
    /// The inner before the outer.
    pub deletes: Vec<Change>,
    /// What takes the place of something that is of another kind.
    pub late: Vec<Change>,
}

impl Work {
    pub fn len(&self) -> usize {
        self.puts.len().saturating_add(self.deletes.len()).saturating_add(self.late.len())
    }

    /// `Err` says how far it came.
    pub fn apply(
        &self,
        roots: &[Ends],
        uid: u32,
        hides: &dyn Fn(&str) -> bool,
        halt: &AtomicBool,
        told: &mut Told,
    ) -> Result<(), String> {
        let all = self.puts.iter().chain(&self.deletes).chain(&self.late);
        let mut done = 0u64;
        for change in all {
            let Some(ends) = roots.get(change.root) else { continue };
            let path = shown(&ends.real(&change.to));
            let stopped = |why: &str| format!("{done} of {} changes are kept, and no more: {why}", self.len());
            if halt.load(Ordering::Acquire) {
                return Err(stopped("a person stopped it"));
            }
            let at = At { ends, uid, hides };
            match at.make(change) {
                Ok(Made::Yes) => done = done.saturating_add(1),
                Ok(Made::No(why)) => told.note(why, path),
                Ok(Made::Beside(name)) => told.note(Why::Beside, shown(&ends.real(&change.to.with_file_name(name)))),
                Err(errno) => return Err(stopped(&format!("{path}: {errno}"))),
            }
        }
        Ok(())
    }
}

enum Made {
    Yes,
    No(Why),
    /// Under this name.
    Beside(OsString),
}

struct At<'a> {
    ends: &'a Ends,
    uid: u32,
    hides: &'a dyn Fn(&str) -> bool,
}

impl At<'_> {
    fn make(&self, change: &Change) -> Result<Made, Errno> {
        let within = match parent(&self.ends.original, &change.to) {
            Ok(within) => within,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG) => {
                return Ok(Made::No(Why::Gone));
            }
            Err(errno) => return Err(errno),
        };
        let name = change.to.file_name().unwrap_or(OsStr::new("."));
        match (&change.what, change.was) {
            (What::Gone, Some(was)) => deleted(&within, name, was),
            (What::Mode(mode), Some(was)) => permitted(&within, name, *mode, was),
            (What::Gone | What::Mode(_), None) => Ok(Made::Yes),
            (What::Directory { mode }, _) => made_directory(&within, name, *mode),
            (What::File { .. } | What::Link, was) => self.put(change, &within, name, was),
        }
    }

    fn put(&self, change: &Change, within: &OwnedFd, name: &OsStr, was: Option<Was>) -> Result<Made, Errno> {
        let original = statat(within, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let owner = match original.filter(|found| was.is_some_and(|was| was.original == Mark::of_stat(found))) {
            Some(original) => original,
            None => fstat(within)?,
        };
        let underway = match &change.what {
            What::File { bytes, mode } => self.write(change, within, &owner, *bytes, *mode)?,
            What::Link => self.link(change, within, &owner)?,
            What::Directory { .. } | What::Mode(_) | What::Gone => return Ok(Made::Yes),
        };
        if underway.publish(name, was)? {
            return Ok(Made::Yes);
        }
        for number in 0..ASIDE_MAX {
            let beside = aside(name, CONFLICT, number);
            if (self.hides)(&shown(&self.ends.real(&change.to.with_file_name(&beside)))) {
                break;
            }
            match underway.publish(&beside, None) {
                Ok(true) => return Ok(Made::Beside(beside)),
                Ok(false) => {}
                Err(Errno::NAMETOOLONG) => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(Made::No(Why::Changed))
    }

    fn write<'a>(
        &self,
        change: &Change,
        within: &'a OwnedFd,
        owner: &Stat,
        bytes: u64,
        mode: Mode,
    ) -> Result<Underway<'a>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let from = File::from(openat2(&self.ends.copy, &change.from, flags, Mode::empty(), COPIES)?);
        let stat = fstat(&from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || stat.st_uid != self.uid
            || size(&stat) != bytes
        {
            return Err(Errno::STALE);
        }
        let underway = Underway::new(within);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to = File::from(openat(within, &underway.name, flags, Mode::RUSR | Mode::WUSR)?);
        std::io::copy(&mut from.take(bytes), &mut to)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        give(&to, owner)?;
        fchmod(&to, mode)?;
        set_changed(&to, &stat)?;
        Ok(underway)
    }

    fn link<'a>(&self, change: &Change, within: &'a OwnedFd, owner: &Stat) -> Result<Underway<'a>, Errno> {
        let name = change.from.file_name().unwrap_or_default();
        let from = openat2(&self.ends.copy, above(&change.from), DIRECTORY, Mode::empty(), COPIES)?;
        let says = readlinkat(&from, name, Vec::new())?;
        let underway = Underway::new(within);
        symlinkat(says.as_c_str(), within, &underway.name)?;
        // Whoever may write here could have put another's file in its place: only a link is given away.
        let made = openat(within, &underway.name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&made)?.st_mode) != FileType::Symlink {
            return Err(Errno::STALE);
        }
        let (user, group) = (Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)));
        chownat(&made, "", user, group, AtFlags::EMPTY_PATH)?;
        Ok(underway)
    }
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The directory that a path lies in.
pub fn parent(original: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    openat2(original, above(path), DIRECTORY, Mode::empty(), ORIGINALS)
}

fn deleted(within: &OwnedFd, name: &OsStr, was: Was) -> Result<Made, Errno> {
    let found = match statat(within, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(Made::Yes),
        Err(errno) => return Err(errno),
    };
    let (mark, kind) = (Mark::of_stat(&found), FileType::from_raw_mode(found.st_mode));
    // A directory is changed by what was deleted in it.
    let is_directory = was.kind == FileType::Directory;
    if kind != was.kind || (mark != was.original && !(is_directory && mark.is_of(was.original))) {
        return Ok(Made::No(Why::NotDeleted));
    }
    let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match unlinkat(within, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(Made::Yes),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Ok(Made::No(Why::NotEmpty)),
        Err(errno) => Err(errno),
    }
}

/// A directory's; those of a file come with what is in it.
fn permitted(within: &OwnedFd, name: &OsStr, mode: Mode, was: Was) -> Result<Made, Errno> {
    let found = match directory(within, name) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Made::No(Why::Changed)),
        Err(errno) => return Err(errno),
    };
    let stat = fstat(&found)?;
    if !Mark::of_stat(&stat).is_of(was.original) {
        return Ok(Made::No(Why::Changed));
    }
    let kept = Mode::from_raw_mode(stat.st_mode).intersection(Mode::SUID | Mode::SGID | Mode::SVTX);
    fchmod(&found, mode | kept)?;
    Ok(Made::Yes)
}

/// One that somebody else has made meanwhile is as good.
fn made_directory(within: &OwnedFd, name: &OsStr, mode: Mode) -> Result<Made, Errno> {
    match statat(within, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => return Ok(Made::Yes),
        Ok(_) => return Ok(Made::No(Why::Changed)),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let underway = Underway::new(within);
    mkdirat(within, &underway.name, Mode::RWXU)?;
    let made = directory(within, OsStr::new(&underway.name))?;
    // Whoever may write here could have put another's directory in its place: only an empty one is given away.
    if fstat(&made)?.st_uid != geteuid().as_raw() || !names(&made, 1)?.is_empty() {
        return Err(Errno::STALE);
    }
    give(&made, &fstat(within)?)?;
    fchmod(&made, mode)?;
    Ok(if underway.publish(name, None)? { Made::Yes } else { Made::No(Why::Changed) })
}

fn give(to: impl AsFd, owner: &Stat) -> Result<(), Errno> {
    fchown(to.as_fd(), Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))
}

/// What has no name of its own yet; it goes where it gets none.
struct Underway<'a> {
    within: &'a OwnedFd,
    name: String,
}

impl<'a> Underway<'a> {
    fn new(within: &'a OwnedFd) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self { within, name: format!("{UNDERWAY}{}-{number}", std::process::id()) }
    }

    /// False: what lies there is not what was there.
    fn publish(&self, name: &OsStr, was: Option<Was>) -> Result<bool, Errno> {
        if let Some(was) = was {
            return match statat(self.within, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if Mark::of_stat(&found) == was.original => {
                    renameat(self.within, &self.name, self.within, name).map(|()| true)
                }
                Ok(_) | Err(Errno::NOENT) => Ok(false),
                Err(errno) => Err(errno),
            };
        }
        match renameat_with(self.within, &self.name, self.within, name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // File systems that do not know the flag.
            Err(Errno::INVAL | Errno::NOSYS) if is_absent(self.within, name) => {
                renameat(self.within, &self.name, self.within, name).map(|()| true)
            }
            Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        // Gone already where it has its name.
        remove(self.within.as_fd(), OsStr::new(&self.name));
    }
}

pub fn is_absent(within: &OwnedFd, name: &OsStr) -> bool {
    statat(within, name, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|errno| errno == Errno::NOENT)
}

fn remove(within: BorrowedFd<'_>, name: &OsStr) {
    if unlinkat(within, name, AtFlags::empty()).is_err() {
        let _ = unlinkat(within, name, AtFlags::REMOVEDIR);
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
