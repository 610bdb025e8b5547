//! What a command wrote on its copies, found: every change is a line of a plan before the first is made. What is read
//! here is what a hostile program has left: nothing is opened but beneath the copy of what was granted, over no link.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr, OsString};
use std::ops::Bound;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, openat2, statat};
use rustix::io::Errno;

use crate::apply::{Change, Seen, Work};
use crate::beneath::{COPIES, DIRECTORY, aside, is_absent, names, parent, permissions, size};
use crate::ends::Ends;
use crate::guard::{IN_GIT, MAKES_GIT, QUARANTINE, Within};
use crate::limits::{ASIDE_MAX, FREE_FILES_MIN, STAGE_BYTES_MAX, STAGE_DEPTH_MAX, STAGE_ENTRIES_MAX};
use crate::mark::{Id, Mark};
use crate::stage::{Stage, Was};
use crate::told::{NotKept, Told, Why, shown};
use crate::usage;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Merged {
    /// As [`crate::run::Ran`] has it.
    pub quarantined: Vec<String>,
    pub not_kept: Vec<NotKept>,
}

/// Called when no process of the command is left, and by nobody else.
pub fn merge(stage: &mut Stage, free_bytes: u64, hides: &dyn Fn(&str) -> bool, halt: &AtomicBool) -> Merged {
    let roots = stage.take_roots();
    // What may only be read was copied too, and counts against the limits of the next copy.
    let all = roots.iter().flat_map(|root| root.was.values());
    let (entries, bytes) = all.fold((0u64, 0u64), |(entries, bytes), was| {
        let size = if was.kind == FileType::RegularFile { was.copy.size() } else { 0 };
        (entries.saturating_add(1), bytes.saturating_add(size))
    });
    let (entries, bytes) = (stage.entries().saturating_sub(entries), stage.bytes().saturating_sub(bytes));
    let (work, told) = (Work::default(), Told::default());
    let (was, repositories) = (BTreeMap::new(), BTreeSet::new());
    let mut plan = Plan { stage, hides, entries, bytes, new_bytes: 0, was, repositories, work, told };
    let mut ends = Vec::new();
    let mut found = Ok(());
    for (index, root) in roots.into_iter().enumerate() {
        let opened = Ends::open(stage, &root.path, root.was.get(Path::new("")));
        found = found.and_then(|()| {
            let both = opened?;
            plan.root(index, &both, root.was)?;
            ends.push(both);
            Ok(())
        });
    }
    let Plan { work, mut told, new_bytes, .. } = plan;
    let files = u64::try_from(work.len()).unwrap_or(u64::MAX);
    let is_room = |root: &Ends| {
        usage::free(&root.path.to_string_lossy()).is_some_and(|(bytes, free_files)| {
            bytes >= free_bytes.saturating_add(new_bytes)
                && free_files.is_none_or(|free_files| free_files >= FREE_FILES_MIN.saturating_add(files))
        })
    };
    let found = found.and_then(|()| match ends.iter().find(|root| work.len() > 0 && !is_room(root)) {
        None => Ok(()),
        Some(root) => Err(format!("the disk of {} is nearly full", root.path.display())),
    });
    let mut not_kept = Vec::new();
    match found {
        Ok(()) => {
            if let Err(why) = work.in_order().apply(&ends, stage.uid(), hides, halt, &mut told) {
                not_kept.push(NotKept { why, paths: Vec::new() });
            }
        }
        Err(why) => {
            // Of what was planned nothing was done.
            told = Told::default();
            let why = format!("nothing of what this command wrote is kept: {why}");
            not_kept.push(NotKept { why, paths: Vec::new() });
        }
    }
    let more = told.paths.into_iter().map(|(why, paths)| NotKept { why: why.words().to_owned(), paths });
    not_kept.extend(more);
    Merged { quarantined: told.quarantined, not_kept }
}

struct Plan<'a> {
    stage: &'a Stage,
    hides: &'a dyn Fn(&str) -> bool,
    /// Of all that is there, and would be copied again.
    entries: u64,
    bytes: u64,
    new_bytes: u64,
    /// What was copied of the granted directory that is looked at, and was not seen yet.
    was: BTreeMap<PathBuf, Was>,
    /// Below it.
    repositories: BTreeSet<PathBuf>,
    work: Work,
    told: Told,
}

/// What becomes of what lies in a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Compared,
    Stays(Why),
    /// It goes nowhere, with a directory that is told.
    Dropped,
    /// With a directory that was not there. Late: where something else has to go first; aside: out of use already.
    New {
        is_late: bool,
        is_aside: bool,
    },
}

struct Here<'a> {
    root: usize,
    ends: &'a Ends,
    copy: &'a OwnedFd,
    /// Below the granted directory, in the copy and in the original.
    from: &'a Path,
    to: &'a Path,
    depth: u32,
    how: How,
}

impl Plan<'_> {
    fn root(&mut self, root: usize, ends: &Ends, was: BTreeMap<PathBuf, Was>) -> Result<(), String> {
        let nowhere = Path::new("");
        let stat = fstat(&ends.copy).map_err(|errno| unreadable(&ends.path, errno))?;
        self.entries = self.entries.saturating_add(1);
        self.was = was;
        if let Some(known) = self.was.remove(nowhere) {
            self.permissions(root, nowhere, &stat, known);
        }
        let (copy, how) = (&ends.copy, How::Compared);
        self.repositories.clear();
        let before = self.work.puts.len();
        self.walk(&Here { root, ends, copy, from: nowhere, to: nowhere, depth: 0, how })?;
        let of_repository = |change: &mut Change| change.lies_in(&self.repositories, &MAKES_GIT);
        self.work.repositories.extend(self.work.puts.extract_if(before.., of_repository));
        // What was not seen is gone; what lies in a directory goes before it.
        for (path, was) in std::mem::take(&mut self.was).into_iter().rev() {
            match was.stays {
                Some(why) => self.told.note(why, shown(&ends.real(&path))),
                None => {
                    let deletion = Change::deletion(root, path, was);
                    let is_in_use = deletion.lies_in(&self.repositories, &IN_GIT);
                    if is_in_use { &mut self.work.out_of_use } else { &mut self.work.deletes }.push(deletion);
                }
            }
        }
        Ok(())
    }

    fn walk(&mut self, here: &Here<'_>) -> Result<(), String> {
        let real = here.ends.real(here.from);
        let left = usize::try_from(STAGE_ENTRIES_MAX.saturating_sub(self.entries)).unwrap_or(usize::MAX);
        let mut names = names(here.copy, left.saturating_add(1)).map_err(|errno| unreadable(&real, errno))?;
        self.entries = self.entries.saturating_add(u64::try_from(names.len()).unwrap_or(u64::MAX));
        if self.entries > STAGE_ENTRIES_MAX || (here.depth >= STAGE_DEPTH_MAX && !names.is_empty()) {
            return Err(too_much());
        }
        names.sort();
        // As it is and as it was: a name is none the less protected because its neighbours are gone.
        let has = |name: &str| {
            names.iter().any(|other| other.to_bytes() == name.as_bytes())
                || self.was.contains_key(&here.from.join(name))
        };
        let within = Within::of(real.file_name().and_then(OsStr::to_str).unwrap_or_default(), has);
        if within.is_repository() {
            self.repositories.insert(here.to.to_owned());
        }
        names.iter().try_for_each(|name| self.look(here, within, name))
    }

    fn look(&mut self, here: &Here<'_>, within: Within, name: &CStr) -> Result<(), String> {
        let name = OsStr::from_bytes(name.to_bytes());
        let (from, to) = (here.from.join(name), here.to.join(name));
        let real = here.ends.real(&from);
        // It is merged by itself.
        if self.stage.is_written(&real) {
            return Ok(());
        }
        let is_hidden = (self.hides)(&shown(&real));
        let stat = statat(here.copy, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| unreadable(&real, errno))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut seen = Seen { from, to, stat, kind, id: Id::of(here.copy, name, &stat) };
        if here.how == How::Dropped {
            return self.dropped(here, &seen);
        }
        let is_one = matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink);
        // A link to somebody else's file is no file of the command's.
        if is_hidden || !is_one || stat.st_uid != self.stage.uid() {
            self.told.note(if is_hidden { Why::Hidden } else { Why::Kind }, shown(&real));
            self.forget(&seen.from);
            return self.dropped(here, &seen);
        }
        if kind == FileType::RegularFile {
            self.bytes = self.bytes.saturating_add(size(&stat));
            if self.bytes > STAGE_BYTES_MAX {
                return Err(too_much());
            }
        }
        let known = self.was.get(&seen.from).copied();
        let stays = match here.how {
            How::Stays(why) => Some(why),
            How::Compared | How::New { .. } | How::Dropped if self.stage.is_read(&real) => Some(Why::ReadOnly),
            How::Compared => known.and_then(|known| known.stays),
            How::New { .. } | How::Dropped => None,
        };
        if let Some(why) = stays {
            return self.stays(here, &seen, why);
        }
        let is_named = within.protects(name.to_str().unwrap_or_default(), kind == FileType::Directory);
        match here.how {
            How::Stays(_) | How::Dropped => Ok(()),
            How::Compared | How::New { is_aside: false, .. } if is_named => {
                seen.to = here.to.join(free_name(here, name)?);
                self.fresh(here, &seen, How::New { is_late: here.how.is_late(), is_aside: true })
            }
            How::New { .. } => self.fresh(here, &seen, here.how),
            How::Compared => match known {
                None => self.fresh(here, &seen, How::New { is_late: false, is_aside: false }),
                Some(known) if known.kind != kind => {
                    self.fresh(here, &seen, How::New { is_late: true, is_aside: false })
                }
                Some(known) => self.compared(here, &seen, known),
            },
        }
    }

    fn compared(&mut self, here: &Here<'_>, seen: &Seen, known: Was) -> Result<(), String> {
        self.was.remove(&seen.from);
        if seen.kind == FileType::Directory {
            self.permissions(here.root, &seen.from, &seen.stat, known);
            return self.below(here, seen, How::Compared);
        }
        if Mark::of_stat(&seen.stat) != known.copy {
            self.put(here, seen, Some(known), How::Compared);
        }
        Ok(())
    }

    fn fresh(&mut self, here: &Here<'_>, seen: &Seen, how: How) -> Result<(), String> {
        self.put(here, seen, None, how);
        if seen.kind == FileType::Directory { self.below(here, seen, how) } else { Ok(()) }
    }

    /// Only told.
    fn stays(&mut self, here: &Here<'_>, seen: &Seen, why: Why) -> Result<(), String> {
        let known = self.was.remove(&seen.from).filter(|known| known.kind == seen.kind);
        let is_directory = seen.kind == FileType::Directory;
        let is_same = known.is_some_and(|known| {
            known.copy_mode == permissions(&seen.stat) && (is_directory || known.copy == Mark::of_stat(&seen.stat))
        });
        if !is_same {
            self.told.note(why, shown(&here.ends.real(&seen.from)));
        }
        if known.is_some() && is_directory {
            self.work.lost.insert(seen.id);
            return self.below(here, seen, How::Stays(why));
        }
        self.dropped(here, seen)
    }

    /// What lay elsewhere before, and is here now, is not to be deleted there.
    fn dropped(&mut self, here: &Here<'_>, seen: &Seen) -> Result<(), String> {
        self.work.lost.insert(seen.id);
        if seen.kind == FileType::Directory { self.below(here, seen, How::Dropped) } else { Ok(()) }
    }

    fn below(&mut self, here: &Here<'_>, seen: &Seen, how: How) -> Result<(), String> {
        let name = seen.from.file_name().unwrap_or_default();
        let copy = openat2(here.copy, name, DIRECTORY, Mode::empty(), COPIES);
        let copy = copy.map_err(|errno| unreadable(&here.ends.real(&seen.from), errno))?;
        let depth = here.depth.saturating_add(1);
        self.walk(&Here { copy: &copy, from: &seen.from, to: &seen.to, depth, how, ..*here })
    }

    /// What lies there, and all below it, is neither changed nor deleted.
    fn forget(&mut self, from: &Path) {
        let below = self.was.range::<Path, _>((Bound::Included(from), Bound::Unbounded));
        let all: Vec<PathBuf> = below.map(|(path, _)| path.clone()).take_while(|path| path.starts_with(from)).collect();
        for path in all {
            self.was.remove(&path);
        }
    }

    fn permissions(&mut self, root: usize, path: &Path, stat: &Stat, known: Was) {
        let mode = permissions(stat);
        if mode != known.copy_mode {
            self.work.puts.push(Change::mode(root, path, mode, known));
        }
    }

    fn put(&mut self, here: &Here<'_>, seen: &Seen, was: Option<Was>, how: How) {
        if seen.kind == FileType::RegularFile {
            self.new_bytes = self.new_bytes.saturating_add(size(&seen.stat));
        }
        let mut change = Change::put(here.root, seen, was);
        // Of what is in a directory that waits, nothing waits by itself.
        change.waits = how.is_late() && !here.how.is_late();
        change.is_quarantined = seen.from.file_name() != seen.to.file_name();
        change.is_aside = matches!(how, How::New { is_aside: true, .. });
        if how.is_late() { &mut self.work.late } else { &mut self.work.puts }.push(change);
    }
}

impl How {
    fn is_late(self) -> bool {
        match self {
            Self::New { is_late, .. } => is_late,
            Self::Compared | Self::Stays(_) | Self::Dropped => false,
        }
    }
}

/// For what is not to have its own.
fn free_name(here: &Here<'_>, name: &OsStr) -> Result<OsString, String> {
    let beside = parent(&here.ends.original, &here.to.join(name));
    let mut all = (0..ASIDE_MAX).map(|number| aside(name, QUARANTINE, number));
    let free = all.find(|name| is_absent(here.copy, name) && beside.as_ref().map_or(true, |at| is_absent(at, name)));
    free.ok_or_else(|| format!("{}: too much is put aside there", here.ends.real(&here.from.join(name)).display()))
}

fn unreadable(path: &Path, errno: Errno) -> String {
    format!("the copy of {} cannot be read: {errno}", path.display())
}

fn too_much() -> String {
    format!(
        "there is more than can be taken from copies on this machine ({} MiB, {STAGE_ENTRIES_MAX} entries, \
         {STAGE_DEPTH_MAX} directories in each other): write less in one command, or grant a smaller directory",
        STAGE_BYTES_MAX >> 20
    )
}

#[cfg(test)]
mod tests;
