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
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::{chown, symlink};
    use std::sync::atomic::Ordering;

    use rustix::fs::{CWD, mknodat};

    use super::*;
    use crate::beneath::directory;
    use crate::profile::Reach;

    /// Somebody else where that can be.
    fn uid() -> u32 {
        let own = rustix::process::getuid();
        if own.is_root() { 20_931 } else { own.as_raw() }
    }

    fn is_secret(path: &str) -> bool {
        path.ends_with("secret/config")
    }

    struct Merging {
        directory: tempfile::TempDir,
        granted: PathBuf,
        stage: Stage,
    }

    impl Merging {
        fn new() -> Self {
            Self::of(&["f"], &[])
        }

        /// Each file says what its name is.
        fn of(files: &[&str], read: &[&str]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let granted = directory.path().canonicalize().unwrap().join("above/granted");
            for file in files {
                let path = granted.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, file).unwrap();
            }
            let read = read.iter().map(|path| shown(&granted.join(path))).collect();
            let reach = Reach { read, write: vec![shown(&granted)] };
            let stage = Stage::make(&reach, "/", uid(), &is_secret).unwrap();
            Self { directory, granted, stage }
        }

        fn make(&self, name: &str) {
            fs::create_dir(self.copy(name)).unwrap();
            chown(self.copy(name), Some(uid()), None).unwrap();
        }

        fn moves(&self, moves: &[(&str, &str)]) {
            for (from, to) in moves {
                fs::rename(self.copy(from), self.copy(to)).unwrap();
            }
        }

        fn told(&self, why: Why, paths: &[&str]) -> NotKept {
            let paths = paths.iter().map(|path| shown(&self.granted.join(path))).collect();
            NotKept { why: why.words().to_owned(), paths }
        }

        /// What is in every file, sorted.
        fn texts(&self) -> Vec<(String, String)> {
            let (mut found, mut left) = (Vec::new(), vec![self.granted.clone()]);
            while let Some(directory) = left.pop() {
                for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                    if path.is_dir() {
                        left.push(path);
                    } else {
                        let below = shown(path.strip_prefix(&self.granted).unwrap());
                        found.push((below, fs::read_to_string(path).unwrap()));
                    }
                }
            }
            found.sort();
            found
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.granted.join(name)).unwrap_or_else(|error| error.to_string())
        }

        fn copy(&self, name: &str) -> PathBuf {
            Path::new(&self.stage.place(&shown(&self.granted))).join(name)
        }

        fn write(&self, name: &str) {
            fs::write(self.copy(name), "new").unwrap();
            chown(self.copy(name), Some(uid()), None).unwrap();
        }

        fn merge(&mut self, halt: bool) -> Merged {
            merge(&mut self.stage, 0, &|_| false, &AtomicBool::new(halt))
        }

        fn names(&self) -> Vec<OsString> {
            let mut names: Vec<_> =
                fs::read_dir(&self.granted).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn what_is_not_the_commands_own_is_not_taken() {
        let mut merging = Merging::new();
        merging.write("new");
        if rustix::process::getuid().is_root() {
            let secret = merging.directory.path().join("secret");
            fs::write(&secret, "canary").unwrap();
            fs::hard_link(&secret, merging.copy("linked")).unwrap();
            fs::remove_file(merging.copy("f")).unwrap();
            fs::hard_link(&secret, merging.copy("f")).unwrap();
            mknodat(CWD, merging.copy("null"), FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 3))
                .unwrap();
            chown(merging.copy("null"), Some(uid()), None).unwrap();
            fs::create_dir(merging.copy("of-root")).unwrap();
            let merged = merging.merge(false);
            let named = ["f", "linked", "null", "of-root"].map(|name| shown(&merging.granted.join(name)));
            assert_eq!(merged.not_kept, [NotKept { why: Why::Kind.words().to_owned(), paths: named.to_vec() }]);
        } else {
            assert_eq!(merging.merge(false), Merged::default());
        }
        assert_eq!(merging.names(), ["f", "new"]);
        assert_eq!(fs::read_to_string(merging.granted.join("f")).unwrap(), "f");
    }

    #[test]
    fn a_directory_that_is_another_now_takes_nothing() {
        let refused = |merging: &mut Merging, kept: &Path| {
            merging.write("new");
            let merged = merging.merge(false);
            assert!(merged.not_kept[0].why.starts_with("nothing of what this command wrote is kept"), "{merged:?}");
            assert_eq!(fs::read_dir(kept).unwrap().count(), 1);
        };
        let mut replaced = Merging::new();
        let moved = replaced.granted.with_file_name("moved");
        fs::rename(&replaced.granted, &moved).unwrap();
        fs::create_dir(&replaced.granted).unwrap();
        refused(&mut replaced, &moved);
        assert!(replaced.names().is_empty());
        let mut linked = Merging::new();
        let above = linked.granted.parent().unwrap().to_owned();
        fs::rename(&above, above.with_file_name("moved")).unwrap();
        symlink("moved", &above).unwrap();
        let granted = linked.granted.clone();
        refused(&mut linked, &granted);
        // The copy, by a command that may write above it.
        let mut led_away = Merging::new();
        let (above, elsewhere) = (led_away.copy("").join(".."), led_away.directory.path().join("elsewhere"));
        let above = above.canonicalize().unwrap();
        fs::create_dir_all(elsewhere.join("granted")).unwrap();
        chown(elsewhere.join("granted"), Some(uid()), None).unwrap();
        fs::rename(&above, above.with_file_name("away")).unwrap();
        symlink(&elsewhere, &above).unwrap();
        let granted = led_away.granted.clone();
        refused(&mut led_away, &granted);
    }

    #[test]
    fn what_was_moved_to_where_nothing_is_kept_stays_where_it_was() {
        let files = ["p1", "p2", "p3", "p4", "d/in/x", "kept", "over", "both", ".git/config", ".git/hooks/x", "ro/f"];
        let mut merging = Merging::of(&files, &["ro"]);
        merging.make("hid");
        merging.make("n");
        merging.moves(&[("p1", ".git/config"), ("p2", "hid/p2"), ("p3", "ro/p3"), ("p4", ".git/hooks/p4")]);
        merging.moves(&[("d", ".git/hooks/d"), ("kept", "n/kept"), ("n", "hid/n"), ("over", "hid/over")]);
        merging.write("over");
        fs::remove_file(merging.copy("both")).unwrap();
        let hides = |path: &str| path.contains("/hid");
        let merged = merge(&mut merging.stage, 0, &hides, &AtomicBool::new(false));
        let told = [
            merging.told(Why::Protected, &[".git/config", ".git/hooks/d", ".git/hooks/p4"]),
            merging.told(Why::ReadOnly, &["ro/p3"]),
            merging.told(Why::Hidden, &["hid"]),
            merging.told(Why::Beside, &["over.conflict-0"]),
            merging.told(Why::Carried, &["p4", "p3", "p2", "p1", "kept", "d/in/x", "d/in", "d"]),
        ];
        assert_eq!(merged, Merged { quarantined: Vec::new(), not_kept: told.to_vec() });
        for file in files.into_iter().filter(|file| *file != "both") {
            assert_eq!(merging.text(file), file);
        }
        assert_eq!((merging.text("over.conflict-0"), merging.granted.join("both").exists()), ("new".to_owned(), false));
    }

    /// As a file system does that gives the numbers of what was deleted to what is made next.
    #[test]
    fn what_was_deleted_is_not_taken_for_moved_by_its_number() {
        let files: Vec<String> = (0..50).map(|number| format!("f{number}")).collect();
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        let mut merging = Merging::of(&names, &[]);
        merging.make("hid");
        let tick = merging.directory.path().join("tick");
        // Not every file system says when, and the clock that does has to go on, as it does while a helper starts.
        let made = |name: &&str| fs::metadata(merging.copy(name)).unwrap().created().ok();
        let Some(last) = names.iter().filter_map(made).max() else { return };
        while !fs::metadata(&tick).is_ok_and(|stat| stat.created().unwrap() > last) {
            let _ = fs::remove_file(&tick);
            fs::write(&tick, "").unwrap();
        }
        for name in names {
            fs::remove_file(merging.copy(name)).unwrap();
            merging.write(&format!("hid/{name}"));
        }
        let merged = merge(&mut merging.stage, 0, &|path: &str| path.contains("/hid"), &AtomicBool::new(false));
        assert_eq!(merged.not_kept, [merging.told(Why::Hidden, &["hid"])]);
        assert!(merging.names().is_empty());
    }

    #[test]
    fn what_others_took_away_while_it_was_moved_there_stays_where_it_was() {
        let mut merging = Merging::of(&["p", "w", "z/x"], &[]);
        merging.moves(&[("p", "z/p"), ("w", "z/w")]);
        merging.write("w");
        fs::rename(merging.granted.join("z"), merging.granted.join("theirs")).unwrap();
        let told = [
            merging.told(Why::Beside, &["w.conflict-0"]),
            merging.told(Why::Carried, &["p"]),
            merging.told(Why::Gone, &["z/p", "z/w"]),
        ];
        assert_eq!(merging.merge(false).not_kept, told);
        assert_eq!(["p", "w", "w.conflict-0"].map(|name| merging.text(name)), ["p", "w", "new"]);
    }

    /// Two files for each other, a file for a directory that holds it, a directory for the file in it, a new file for
    /// one that has another name now.
    #[test]
    fn nothing_is_deleted_or_replaced_before_what_came_of_it_is_written() {
        let files = ["a", "b", "t", "e/only", "g", "later/x"];
        let began = || {
            let merging = Merging::of(&files, &[]);
            merging.moves(&[("a", "x"), ("b", "a"), ("x", "b"), ("t", "x")]);
            merging.make("t");
            merging.moves(&[("x", "t/in"), ("e/only", "x")]);
            fs::remove_dir(merging.copy("e")).unwrap();
            merging.moves(&[("x", "e"), ("g", "g~")]);
            merging.write("g");
            merging
        };
        let mut merging = began();
        assert_eq!(merging.merge(false), Merged::default());
        let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let all =
            [("a", "b"), ("b", "a"), ("e", "e/only"), ("g", "new"), ("g~", "g"), ("later/x", "later/x"), ("t/in", "t")];
        assert_eq!(merging.texts(), all.map(|(name, is)| text(name, is)));
        for stops in 1..=5 {
            let (mut merging, halt, asked) = (began(), AtomicBool::new(false), Cell::new(0));
            let hides = |path: &str| {
                asked.set(asked.get() + u32::from(path.contains(".conflict")));
                halt.store(asked.get() == stops, Ordering::Release);
                false
            };
            let merged = merge(&mut merging.stage, 0, &hides, &halt);
            assert!(merged.not_kept[0].why.contains("a person stopped it"), "{merged:?}");
            let texts = merging.texts();
            for file in files {
                assert!(texts.iter().any(|(_, text)| text == file), "{stops} {file}: {texts:?}");
            }
            let beside = merged.not_kept.iter().find(|told| told.why == Why::Beside.words()).unwrap();
            assert_eq!(beside.paths.len(), usize::try_from(stops).unwrap(), "{beside:?}");
        }
    }

    /// Stopped where somebody else's file is met: before, within and behind a directory that becomes a repository.
    #[test]
    fn a_merge_that_ends_early_makes_no_repository_of_what_was_none() {
        for stops in [None, Some("a"), Some("x/i"), Some("x/refs/i"), Some("z")] {
            let files = ["a", "z", "x/HEAD", "x/config", "x/hooks/h", "x/i"];
            let mut merging = Merging::of(&files, &[]);
            merging.make("x/objects");
            merging.make("x/refs");
            if let Some(name) = stops {
                merging.write(name);
                let theirs = merging.granted.join(name);
                fs::create_dir_all(theirs.parent().unwrap()).unwrap();
                fs::write(theirs, "theirs").unwrap();
            }
            let halt = AtomicBool::new(false);
            let hides = |path: &str| {
                halt.fetch_or(path.contains(".conflict"), Ordering::AcqRel);
                false
            };
            let merged = merge(&mut merging.stage, 0, &hides, &halt);
            let is_there = |name: &str| merging.granted.join(name).exists();
            let is_repository = is_there("x/HEAD") && is_there("x/objects") && is_there("x/refs");
            assert!(!is_repository || !(is_there("x/config") || is_there("x/hooks")), "{stops:?} {merged:?}");
            for path in &merged.quarantined {
                assert!(Path::new(&format!("{path}.quarantine-0")).exists(), "{stops:?} {merged:?}");
            }
            let is_whole = is_repository && merged.not_kept.is_empty() && merged.quarantined.len() == 2;
            assert_eq!(is_whole, stops.is_none(), "{merged:?}");
        }
    }

    /// What they and the command write makes a repository only together.
    #[test]
    fn what_others_wrote_meanwhile_counts_for_what_is_acted_on() {
        let files = ["late/HEAD", "late/refs", "linked/f", "mine/HEAD", "old/HEAD", "old/hooks/x", "secret/HEAD"];
        let mut merging = Merging::of(&[&files[..], &["secret/config", "theirs/f", "late/objects"]].concat(), &[]);
        fs::remove_file(merging.copy("late/objects")).unwrap();
        fs::remove_file(merging.copy("late/refs")).unwrap();
        for made in ["late", "mine", "secret"] {
            merging.make(&format!("{made}/objects"));
            merging.make(&format!("{made}/refs"));
            merging.write(&format!("{made}/refs/r"));
        }
        for made in [".claude", ".claude/hooks", ".claude/objects", ".claude/refs", "theirs/hooks"] {
            merging.make(made);
        }
        for made in [".claude/HEAD", ".claude/hooks/h", "theirs/hooks/h", "theirs/config", "linked/commondir"] {
            merging.write(made);
        }
        merging.write("old/hooks/new");
        fs::remove_file(merging.copy("old/hooks/x")).unwrap();
        let theirs = |directories: &[&str], files: &[&str]| {
            directories.iter().for_each(|name| fs::create_dir(merging.granted.join(name)).unwrap());
            files.iter().for_each(|name| fs::write(merging.granted.join(name), "theirs").unwrap());
        };
        theirs(&["theirs/objects", "theirs/refs", "theirs/hooks"], &["theirs/HEAD", "theirs/hooks/t"]);
        theirs(&["old/objects", "old/refs"], &["late/config", "mine/config", "linked/HEAD"]);
        let merged = merge(&mut merging.stage, 0, &is_secret, &AtomicBool::new(false));
        let mut quarantined = merged.quarantined.clone();
        quarantined.sort();
        let named =
            [".claude", "late/refs", "linked/commondir", "mine/refs", "secret/refs", "theirs/config", "theirs/hooks"];
        assert_eq!(quarantined, named.map(|name| shown(&merging.granted.join(name))), "{merged:?}");
        let stayed = merging.told(Why::Protected, &["old/hooks/new", "old/hooks/x"]);
        assert_eq!(merged.not_kept, [stayed]);
        let new = |name: &str| (name.to_owned(), "new".to_owned());
        let texts = merging.texts();
        for name in [
            ".claude.quarantine-0/HEAD",
            ".claude.quarantine-0/hooks/h",
            "late/refs.quarantine-0/r",
            "linked/commondir.quarantine-0",
            "mine/refs.quarantine-0/r",
            "secret/refs.quarantine-0/r",
            "theirs/config.quarantine-0",
            "theirs/hooks.quarantine-0/h",
        ] {
            assert!(texts.contains(&new(name)), "{name}: {texts:?}");
        }
        assert_eq!(texts.iter().filter(|(_, text)| text == "new").count(), 8, "{texts:?}");
        assert!(merging.granted.join("mine/objects").exists() && !merging.granted.join("mine/refs").exists());
        assert_eq!(merging.text("old/hooks/x"), "old/hooks/x");
    }

    #[test]
    fn a_path_that_is_too_long_ends_no_merge() {
        let mut merging = Merging::of(&["d/f", "x/HEAD", "x/config"], &[]);
        let long = "n".repeat(250);
        let mut deep = directory(CWD, merging.copy("d").as_os_str()).unwrap();
        let mut path = PathBuf::from("d");
        let own = Some(rustix::fs::Uid::from_raw(uid()));
        for _ in 0..16 {
            rustix::fs::mkdirat(&deep, &long, Mode::RWXU).unwrap();
            deep = directory(&deep, long.as_ref()).unwrap();
            rustix::fs::fchown(&deep, own, None).unwrap();
            path.push(&long);
        }
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE;
        let file = rustix::fs::openat(&deep, &long, flags, Mode::RWXU).unwrap();
        rustix::fs::fchown(&file, own, None).unwrap();
        merging.make("x/objects");
        merging.make("x/refs");
        let told = [merging.told(Why::TooLong, &[&shown(&path.join(&long))])];
        assert!(path.as_os_str().len() < 4_096 && told[0].paths[0].len() > 4_096);
        assert_eq!(
            merging.merge(false),
            Merged { quarantined: vec![shown(&merging.granted.join("x/config"))], not_kept: told.to_vec() }
        );
        assert!(merging.granted.join("x/refs").exists() && !merging.granted.join("x/config").exists());
    }

    #[test]
    fn a_stop_ends_a_merge() {
        let mut merging = Merging::new();
        merging.write("new");
        let merged = merging.merge(true);
        assert!(merged.not_kept[0].why.contains("0 of 1 changes are kept, and no more: a person"), "{merged:?}");
        assert_eq!(merging.names(), ["f"]);
        let mut merging = Merging::new();
        assert_eq!(merging.merge(true), Merged::default(), "there was nothing to do");
    }
}
