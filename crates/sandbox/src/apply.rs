//! The changes of one command, made where it may write. This process may be root there, and others write there too:
//! each is made beneath the granted directory by a handle of the directory it is in, over no link, beside its name, and
//! takes the name in one step if what lies there is what was copied.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fstat, mkdirat, openat, openat2, readlinkat,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::beneath::{
    COPIES, DIRECTORY, above, aside, directory, give, is_absent, is_directory, names, parent, permissions, set_changed,
    size,
};
use crate::ends::Ends;
use crate::guard::{IN_GIT, QUARANTINE, Within};
use crate::limits::ASIDE_MAX;
use crate::mark::{Id, Mark};
use crate::stage::Was;
use crate::told::{Told, Why, shown};
use crate::underway::{Underway, publish};

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
    /// The copy.
    id: Id,
    /// What lies in its place has to be written elsewhere, or deleted, before it goes: until then this lies beside it.
    pub waits: bool,
    /// Its name is one that takes it out of use.
    pub is_quarantined: bool,
    /// Or one above it.
    pub is_aside: bool,
}

/// One name of a directory of the copy, and where it goes.
pub struct Seen {
    pub from: PathBuf,
    pub to: PathBuf,
    pub stat: Stat,
    pub kind: FileType,
    pub id: Id,
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
    pub fn put(root: usize, seen: &Seen, was: Option<Was>) -> Self {
        let Seen { from, to, stat, kind, id } = seen;
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
        Self {
            root,
            from: from.to_owned(),
            to: to.to_owned(),
            what,
            was,
            id: *id,
            waits: false,
            is_quarantined: false,
            is_aside: false,
        }
    }

    pub fn mode(root: usize, path: &Path, mode: Mode, was: Was) -> Self {
        Self::of(root, path.to_owned(), What::Mode(mode), was)
    }

    pub fn deletion(root: usize, path: PathBuf, was: Was) -> Self {
        Self::of(root, path, What::Gone, was)
    }

    fn of(root: usize, path: PathBuf, what: What, was: Was) -> Self {
        let (from, id) = (path.clone(), was.copy_id);
        Self { root, from, to: path, what, was: Some(was), id, waits: false, is_quarantined: false, is_aside: false }
    }

    /// Whether one of these names, in one of these directories, is on its path.
    pub fn lies_in(&self, directories: &BTreeSet<PathBuf>, names: &[&str]) -> bool {
        self.to.ancestors().any(|path| {
            let (above, name) = (path.parent(), path.file_name());
            name.is_some_and(|name| names.iter().any(|one| *one == name))
                && above.is_some_and(|above| directories.contains(above))
        })
    }

    fn is_put(&self) -> bool {
        match self.what {
            What::File { .. } | What::Directory { .. } | What::Link => true,
            What::Mode(_) | What::Gone => false,
        }
    }

    /// The copy of what lies in its place, where that is another one by now.
    fn replaced(&self) -> Option<Id> {
        self.was.map(|was| was.copy_id).filter(|id| self.is_put() && *id != self.id)
    }
}

/// In the order in which they are made: nothing is deleted or replaced before all is written that came of it.
#[derive(Default)]
pub struct Work {
    pub puts: Vec<Change>,
    /// Deletions of what git would act on once the next are made; the inner before the outer, as below.
    pub out_of_use: Vec<Change>,
    /// What repositories are made of.
    pub repositories: Vec<Change>,
    /// What takes the place of something that is of another kind.
    pub late: Vec<Change>,
    pub deletes: Vec<Change>,
    /// Copies that go nowhere. What they were made of stays.
    pub lost: BTreeSet<Id>,
}

impl Work {
    pub fn len(&self) -> usize {
        self.all().count()
    }

    fn all(&self) -> impl Iterator<Item = &Change> {
        let puts = self.puts.iter().chain(&self.out_of_use).chain(&self.repositories);
        puts.chain(&self.late).chain(&self.deletes)
    }

    /// What replaces something that was moved waits until that has its new place.
    pub fn in_order(mut self) -> Self {
        let put = ids(self.all());
        let waits = |change: &mut Change| change.replaced().is_some_and(|id| put.contains(&id));
        let late = self.puts.extract_if(.., waits).chain(self.repositories.extract_if(.., waits));
        self.late.extend(late.map(|change| Change { waits: true, ..change }));
        let put_later = ids(self.repositories.iter().chain(&self.late));
        if self.out_of_use.iter().any(|change| put_later.contains(&change.id)) {
            self.deletes.splice(..0, self.out_of_use.drain(..));
        }
        self
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
        let (lost, moved, waiting) = (self.lost.clone(), BTreeMap::new(), Vec::new());
        let mut applying = Applying { roots, uid, hides, told, done: 0, lost, moved, waiting };
        let made = self.all().try_for_each(|change| applying.one(change, halt));
        applying.settle(made.is_ok());
        made.map_err(|why| format!("{} of {} changes are kept, and no more: {why}", applying.done, self.len()))
    }
}

/// The copies that are put.
fn ids<'a>(changes: impl Iterator<Item = &'a Change>) -> BTreeSet<Id> {
    changes.filter(|change| change.is_put()).map(|change| change.id).collect()
}

enum Made {
    Yes,
    No(Why),
    /// Here.
    Beside(PathBuf),
    /// Here, since others would act on it, or by it on what lies beside it.
    OutOfUse(PathBuf),
    /// Here, until everything else is made.
    Waits(PathBuf),
}

struct Applying<'a> {
    roots: &'a [Ends],
    uid: u32,
    hides: &'a dyn Fn(&str) -> bool,
    told: &'a mut Told,
    done: u64,
    lost: BTreeSet<Id>,
    /// Of directories that lie beside their place, where.
    moved: BTreeMap<PathBuf, PathBuf>,
    waiting: Vec<Waiting<'a>>,
}

struct Waiting<'a> {
    change: &'a Change,
    ends: &'a Ends,
    to: PathBuf,
    beside: PathBuf,
}

impl<'a> Applying<'a> {
    fn one(&mut self, change: &'a Change, halt: &AtomicBool) -> Result<(), String> {
        let Some(ends) = self.roots.get(change.root) else { return Ok(()) };
        if halt.load(Ordering::Acquire) {
            return Err("a person stopped it".to_owned());
        }
        let to = self.place(ends, &change.to);
        let made = match self.at(ends).make(change, &to) {
            Err(Errno::NAMETOOLONG) => Made::No(Why::TooLong),
            made => made.map_err(|errno| format!("{}: {errno}", ends.real(&to).display()))?,
        };
        if let (What::Directory { .. }, Made::Beside(beside) | Made::OutOfUse(beside) | Made::Waits(beside)) =
            (&change.what, &made)
        {
            self.moved.insert(ends.real(&change.to), beside.clone());
        }
        match made {
            Made::Yes => {
                self.done = self.done.saturating_add(1);
                if change.is_quarantined {
                    self.told.quarantined.push(shown(&ends.real(&change.from)));
                }
            }
            Made::No(why) => {
                if change.is_put() {
                    self.lost.insert(change.id);
                }
                self.told.note(why, shown(&ends.real(&to)));
            }
            Made::Beside(beside) => self.told.note(Why::Beside, shown(&ends.real(&beside))),
            Made::OutOfUse(_) => self.told.quarantined.push(shown(&ends.real(&to))),
            Made::Waits(beside) => self.waiting.push(Waiting { change, ends, to, beside }),
        }
        Ok(())
    }

    fn at(&self, ends: &'a Ends) -> At<'_> {
        At { ends, uid: self.uid, hides: self.hides, lost: &self.lost }
    }

    /// Where it goes by now.
    fn place(&self, ends: &Ends, to: &Path) -> PathBuf {
        let above = to.ancestors().skip(1).find_map(|above| Some((above, self.moved.get(&ends.real(above))?)));
        let moved = above.and_then(|(above, moved)| Some(moved.join(to.strip_prefix(above).ok()?)));
        moved.unwrap_or_else(|| to.to_owned())
    }

    /// What waited gets its place, if everything else was made and the place is free or as it was.
    fn settle(&mut self, is_complete: bool) {
        for Waiting { change, ends, to, beside } in std::mem::take(&mut self.waiting) {
            let made = if is_complete { self.at(ends).settle(change, &to, &beside) } else { Ok(Made::No(Why::Beside)) };
            match made {
                Ok(Made::Yes) => self.done = self.done.saturating_add(1),
                Ok(Made::OutOfUse(_)) => self.told.quarantined.push(shown(&ends.real(&to))),
                Ok(Made::No(_) | Made::Beside(_) | Made::Waits(_)) | Err(_) => {
                    self.told.note(Why::Beside, shown(&ends.real(&beside)));
                }
            }
        }
    }
}

struct At<'a> {
    ends: &'a Ends,
    uid: u32,
    hides: &'a dyn Fn(&str) -> bool,
    lost: &'a BTreeSet<Id>,
}

impl At<'_> {
    fn make(&self, change: &Change, to: &Path) -> Result<Made, Errno> {
        let within = match parent(&self.ends.original, to) {
            Ok(within) => within,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(Made::No(Why::Gone)),
            Err(errno) => return Err(errno),
        };
        let name = to.file_name().unwrap_or(OsStr::new("."));
        if self.is_in_use(change, to) {
            return Ok(Made::No(Why::Protected));
        }
        match (&change.what, change.was) {
            (What::Gone, Some(was)) if self.lost.contains(&was.copy_id) => Ok(Made::No(Why::Carried)),
            (What::Gone, Some(was)) => deleted(&within, name, was),
            (What::Mode(mode), Some(was)) => permitted(&within, name, *mode, was),
            (What::Gone | What::Mode(_), None) => Ok(Made::Yes),
            // One that somebody else has made meanwhile is as good.
            (What::Directory { .. }, _)
                if !change.waits && is_directory(&within, name) && !self.comes_into_use(change, to, &within) =>
            {
                Ok(Made::Yes)
            }
            (What::Directory { .. } | What::File { .. } | What::Link, _) => self.put(change, to, &within, name),
        }
    }

    fn put(&self, change: &Change, to: &Path, within: &OwnedFd, name: &OsStr) -> Result<Made, Errno> {
        let original = statat(within, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let owner = match original.filter(|found| change.was.is_some_and(|was| was.original == Mark::of_stat(found))) {
            Some(original) => original,
            None => fstat(within)?,
        };
        let underway = match &change.what {
            What::File { bytes, mode } => self.write(change, within, &owner, *bytes, *mode)?,
            What::Link => self.link(change, within, &owner)?,
            What::Directory { mode } => made_directory(within, &owner, *mode)?,
            What::Mode(_) | What::Gone => return Ok(Made::Yes),
        };
        let has_to_stay = change.replaced().is_some_and(|id| self.lost.contains(&id));
        let is_live = self.comes_into_use(change, to, within);
        if !change.waits && !has_to_stay && !is_live && underway.publish(name, change.was.map(|was| was.original))? {
            return Ok(Made::Yes);
        }
        let suffix = if is_live && !change.waits { QUARANTINE } else { CONFLICT };
        Ok(match self.beside(within, OsStr::new(&underway.name), to, suffix)? {
            Some(beside) if change.waits => Made::Waits(beside),
            Some(beside) if is_live => Made::OutOfUse(beside),
            Some(beside) => Made::Beside(beside),
            None => Made::No(if is_live { Why::Protected } else { Why::Changed }),
        })
    }

    /// Gives it another name than it was to have.
    fn beside(&self, within: &OwnedFd, from: &OsStr, to: &Path, suffix: &str) -> Result<Option<PathBuf>, Errno> {
        for number in 0..ASIDE_MAX {
            let beside = to.with_file_name(aside(to.file_name().unwrap_or_default(), suffix, number));
            if (self.hides)(&shown(&self.ends.real(&beside))) {
                break;
            }
            if publish(within, from, beside.file_name().unwrap_or_default(), None)? {
                return Ok(Some(beside));
            }
        }
        Ok(None)
    }

    fn settle(&self, change: &Change, to: &Path, beside: &Path) -> Result<Made, Errno> {
        let within = parent(&self.ends.original, to)?;
        let (from, name) = (beside.file_name().unwrap_or_default(), to.file_name().unwrap_or_default());
        if change.replaced().is_some_and(|id| self.lost.contains(&id)) {
            return Ok(Made::No(Why::Beside));
        }
        if self.is_in_use(change, to) || self.comes_into_use(change, to, &within) {
            let quarantined = self.beside(&within, from, to, QUARANTINE)?;
            return Ok(quarantined.map_or(Made::No(Why::Beside), Made::OutOfUse));
        }
        Ok(if publish(&within, from, name, change.was.map(|was| was.original))? {
            Made::Yes
        } else {
            Made::No(Why::Beside)
        })
    }

    /// Whether others would act on it under this name, or by it on what lies beside it: what there is now counts.
    fn comes_into_use(&self, change: &Change, to: &Path, within: &OwnedFd) -> bool {
        let has = |other: &str| !is_absent(within, OsStr::new(other));
        let name = to.file_name().and_then(OsStr::to_str).unwrap_or_default();
        !change.is_aside && Within::comes_into_use(&self.own_name(above(to)), name, has)
    }

    /// Whether others act on it by a name above: what is to be deleted or changed counts itself.
    fn is_in_use(&self, change: &Change, to: &Path) -> bool {
        let mut paths = to.ancestors().skip(usize::from(change.is_put()));
        let is_one = |path: &Path| {
            let name = path.file_name().and_then(OsStr::to_str).filter(|name| IN_GIT.contains(name));
            let (Some(name), Ok(within)) = (name, parent(&self.ends.original, path)) else { return false };
            let has = |other: &str| !is_absent(&within, OsStr::new(other));
            Within::of(&self.own_name(above(path)), has).is_by_place(name)
        };
        !change.is_aside && paths.any(is_one)
    }

    fn own_name(&self, directory: &Path) -> String {
        let real = self.ends.real(directory);
        real.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned()
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

fn made_directory<'a>(within: &'a OwnedFd, owner: &Stat, mode: Mode) -> Result<Underway<'a>, Errno> {
    let underway = Underway::new(within);
    mkdirat(within, &underway.name, Mode::RWXU)?;
    let made = directory(within, OsStr::new(&underway.name))?;
    // Whoever may write here could have put another's directory in its place: only an empty one is given away.
    if fstat(&made)?.st_uid != geteuid().as_raw() || !names(&made, 1)?.is_empty() {
        return Err(Errno::STALE);
    }
    give(&made, owner)?;
    fchmod(&made, mode)?;
    Ok(underway)
}
