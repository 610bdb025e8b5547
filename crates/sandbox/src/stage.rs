//! Copies of what one command may reach, for a machine on which nothing can be laid over the originals, and what they
//! were when they were made: what the command did to them is merged from them.
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, create_dir_all};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chownat, fchmod, fchown, flock,
    fstat, mkdirat, openat, openat2, readlinkat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::beneath::{COPIES, DIRECTORY, directory, names, permissions, set_changed};
use crate::guard::Within;
use crate::helper::{Step, step};
use crate::limits::{NAMES_AT_ONCE, STAGE_BYTES_MAX, STAGE_DEPTH_MAX, STAGE_ENTRIES_MAX};
use crate::list::Redirect;
use crate::mark::{Id, Mark};
use crate::profile::{Ask, Reach};
use crate::told::Why;
use crate::underway::takes_away;

/// Begins the name of each; what another process of this machine made is left alone.
const NAME: &str = "backstay-copies-";

/// Removed when it is dropped, which is when no process of the command is left.
#[derive(Debug)]
pub struct Stage {
    /// Of the runtime's user.
    top: PathBuf,
    held: OwnedFd,
    uid: u32,
    entries: u64,
    bytes: u64,
    /// Of the originals the outermost that are this user's.
    owned: Vec<String>,
    reach: Reach,
    roots: Vec<Root>,
}

/// A directory in which the command may write, and what was copied of it, by paths below it.
#[derive(Debug)]
pub struct Root {
    pub path: String,
    pub was: BTreeMap<PathBuf, Was>,
}

/// What something was when it was copied.
#[derive(Clone, Copy, Debug)]
pub struct Was {
    pub original: Mark,
    pub copy: Mark,
    pub copy_id: Id,
    pub kind: FileType,
    pub mode: Mode,
    pub copy_mode: Mode,
    /// Whatever the command did there: its name is one that other programs act on, or it was granted for reading alone;
    /// or one above it.
    pub stays: Option<Why>,
}

/// Where something lies below a directory in which the command may write.
#[derive(Clone)]
struct Spot {
    root: usize,
    below: PathBuf,
    stays: Option<Why>,
}

impl Stage {
    /// Everything that is granted, below one directory, each at its own path; without what must not be seen.
    pub fn make(reach: &Reach, cwd: &str, uid: u32, hides: &dyn Fn(&str) -> bool) -> Step<Self> {
        let (top, held) = fresh(uid)?;
        let reach = reach.clone();
        let mut stage = Self { top, held, uid, entries: 0, bytes: 0, owned: Vec::new(), reach, roots: Vec::new() };
        let tmp = stage.tmp();
        DirBuilder::new().mode(0o700).create(&tmp).map_err(step(&tmp))?;
        stage.give(&tmp)?;
        let mut roots: Vec<String> = stage.reach.read.iter().chain(&stage.reach.write).cloned().collect();
        roots.sort_by(|one, other| Path::new(one).cmp(Path::new(other)));
        let mut done: Option<String> = None;
        for root in roots {
            if done.as_ref().is_none_or(|outer| !Path::new(&root).starts_with(outer)) {
                stage.copy_root(&root, hides)?;
                done = Some(root);
            }
        }
        create_dir_all(stage.place(cwd)).map_err(step("a copy of the directory"))?;
        Ok(stage)
    }

    /// Where the copy of a path is.
    pub fn place(&self, real: &str) -> String {
        format!("{}/root{real}", self.top.display())
    }

    /// What the command has for what passes.
    pub fn tmp(&self) -> String {
        format!("{}/tmp", self.top.display())
    }

    pub fn top(&self) -> &Path {
        &self.top
    }

    pub fn owned(&self) -> &[String] {
        &self.owned
    }

    pub fn uid(&self) -> u32 {
        self.uid
    }

    pub fn entries(&self) -> u64 {
        self.entries
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// For whoever merges.
    pub fn take_roots(&mut self) -> Vec<Root> {
        std::mem::take(&mut self.roots)
    }

    /// Whether it was granted by itself, whatever it lies in.
    pub fn is_written(&self, path: &Path) -> bool {
        self.reach.write.iter().any(|root| Path::new(root) == path)
    }

    /// The same, for reading alone.
    pub fn is_read(&self, path: &Path) -> bool {
        !self.is_written(path) && self.reach.read.iter().any(|root| Path::new(root) == path)
    }

    /// The copy of a granted directory, if that is what still lies there.
    pub fn open(&self, root: &str) -> Result<OwnedFd, Errno> {
        openat2(&self.held, format!("root{root}"), DIRECTORY, Mode::empty(), COPIES)
    }

    /// The same command on the copies. Its own words stay what they are.
    pub fn ask(&self, ask: &Ask) -> Ask {
        let place = |paths: &[String]| paths.iter().map(|path| self.place(path)).collect();
        let mut ask = ask.clone();
        ask.cwd = self.place(&ask.cwd);
        ask.reach = Reach { read: place(&ask.reach.read), write: place(&ask.reach.write) };
        for redirect in ask.commands.iter_mut().flat_map(|simple| &mut simple.redirects) {
            match redirect {
                Redirect::Input(path) | Redirect::Output { path, .. } | Redirect::Errors { path, .. } => {
                    // What has no real path is opened from the directory that the command works in.
                    if path.starts_with('/') && path.as_str() != crate::list::NOWHERE {
                        *path = self.place(path);
                    }
                }
                Redirect::ErrorsToOutput => {}
            }
        }
        ask
    }

    fn copy_root(&mut self, root: &str, hides: &dyn Fn(&str) -> bool) -> Step<()> {
        let to = self.place(root);
        let parent = Path::new(&to).parent().unwrap_or(&self.top).to_owned();
        create_dir_all(&parent).map_err(step(root))?;
        let name = Path::new(root).file_name().unwrap_or_default();
        let parent = directory(CWD, parent.as_os_str()).map_err(step(root))?;
        let above = Path::new(root).parent().unwrap_or(Path::new("/"));
        // Other agents may write above it, and put a link in its way.
        let above = openat2(CWD, above, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(step(root))?;
        let within = Within::of("", |_| false);
        let (from, to) = (above.as_fd(), parent.as_fd());
        self.copy(&Pair { from, to, depth: 0, is_owned: false, within, spot: None }, name, root, hides)
    }

    /// Where this name lies, if the command may write there.
    fn spot(&mut self, at: &Pair<'_>, name: &OsStr, path: &str, is_directory: bool) -> Option<Spot> {
        let above = at.spot.and_then(|spot| spot.stays);
        let is_named = at.spot.is_some() && at.within.protects(name.to_str().unwrap_or_default(), is_directory);
        let named = is_named.then_some(Why::Protected);
        if self.is_written(Path::new(path)) {
            let stays = above.filter(|why| *why == Why::Protected).or(named);
            self.roots.push(Root { path: path.to_owned(), was: BTreeMap::new() });
            return Some(Spot { root: self.roots.len().saturating_sub(1), below: PathBuf::new(), stays });
        }
        let read = self.is_read(Path::new(path)).then_some(Why::ReadOnly);
        at.spot.map(|spot| Spot { root: spot.root, below: spot.below.join(name), stays: above.or(read).or(named) })
    }

    /// One name of a directory: no link is followed, and nothing but files, directories and links is copied.
    fn copy(&mut self, at: &Pair<'_>, name: &OsStr, path: &str, hides: &dyn Fn(&str) -> bool) -> Step<()> {
        // Nor what this one is made of, where it lies in what was granted.
        if hides(path) || Path::new(path) == self.top || (at.is_written() && takes_away(at.from, name)) {
            return Ok(());
        }
        self.entries = self.entries.saturating_add(1);
        if self.entries > STAGE_ENTRIES_MAX || at.depth > STAGE_DEPTH_MAX {
            return Err(format!("{path}: {}", too_much()).into());
        }
        let found = match statat(at.from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            // Gone since it was listed.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(format!("{path}: {errno}").into()),
        };
        let is_owned = found.st_uid == self.uid;
        if is_owned && !at.is_owned {
            self.owned.push(path.to_owned());
        }
        let kind = FileType::from_raw_mode(found.st_mode);
        let spot = self.spot(at, name, path, kind == FileType::Directory);
        let copied = match kind {
            FileType::Directory => {
                self.copy_directory(at, name, path, is_owned || at.is_owned, spot.as_ref(), hides).map(Some)?
            }
            FileType::RegularFile => self.copy_file(at, name, path)?,
            FileType::Symlink => {
                let says = readlinkat(at.from, name, Vec::new()).map_err(step(path))?;
                symlinkat(says.as_c_str(), at.to, name).map_err(step(path))?;
                let (user, group) = self.whose();
                chownat(at.to, name, user, group, AtFlags::SYMLINK_NOFOLLOW).map_err(step(path))?;
                Some((found, statat(at.to, name, AtFlags::SYMLINK_NOFOLLOW).map_err(step(path))?))
            }
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => None,
        };
        if let (Some(spot), Some((original, copy))) = (spot, copied)
            && let Some(root) = self.roots.get_mut(spot.root)
        {
            let was = Was {
                original: Mark::of_stat(&original),
                copy: Mark::of_stat(&copy),
                copy_id: Id::of(at.to, name, &copy),
                kind,
                mode: permissions(&original),
                copy_mode: permissions(&copy),
                stays: spot.stays,
            };
            root.was.insert(spot.below, was);
        }
        Ok(())
    }

    fn copy_directory(
        &mut self,
        at: &Pair<'_>,
        name: &OsStr,
        path: &str,
        is_owned: bool,
        spot: Option<&Spot>,
        hides: &dyn Fn(&str) -> bool,
    ) -> Step<(Stat, Stat)> {
        let from = directory(at.from, name).map_err(step(path))?;
        mkdirat(at.to, name, Mode::RWXU).map_err(step(path))?;
        let to = directory(at.to, name).map_err(step(path))?;
        // One more than there may be is told by whoever counts.
        let names = names(&from, usize::try_from(STAGE_ENTRIES_MAX).unwrap_or(usize::MAX).saturating_add(1));
        let names = names.map_err(step(path))?;
        let within = Within::of(name.to_str().unwrap_or_default(), |name| {
            names.iter().any(|other| other.to_bytes() == name.as_bytes())
        });
        let depth = at.depth.saturating_add(1);
        let below = Pair { from: from.as_fd(), to: to.as_fd(), depth, is_owned, within, spot };
        for name in &names {
            let name = OsStr::from_bytes(name.to_bytes());
            self.copy(&below, name, &format!("{path}/{}", name.to_string_lossy()), hides)?;
        }
        let original = fstat(&from).map_err(step(path))?;
        Ok((original, self.like(&to, &original, Mode::RWXU).map_err(step(path))?))
    }

    /// The states of both, of the original as it was before it was read.
    fn copy_file(&mut self, at: &Pair<'_>, name: &OsStr, path: &str) -> Step<Option<(Stat, Stat)>> {
        // A pipe that has come to stand there holds nobody.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = File::from(openat(at.from, name, flags, Mode::empty()).map_err(step(path))?);
        let stat = fstat(&from).map_err(step(path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let left = STAGE_BYTES_MAX.saturating_sub(self.bytes);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to = File::from(openat(at.to, name, flags, Mode::RUSR | Mode::WUSR).map_err(step(path))?);
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > left {
            return Err(format!("{path}: {}", too_much()).into());
        }
        let copied = std::io::copy(&mut std::io::Read::take(from, left), &mut to).map_err(step(path))?;
        self.bytes = self.bytes.saturating_add(copied);
        let copy = self.like(&to, &stat, Mode::RUSR).map_err(step(path))?;
        Ok(Some((stat, copy)))
    }

    /// Of the command's user, with the permissions and the time of the original.
    fn like(&self, copy: impl AsFd, original: &Stat, least: Mode) -> Result<Stat, Errno> {
        let (user, group) = self.whose();
        fchown(&copy, user, group)?;
        fchmod(&copy, permissions(original) | least)?;
        set_changed(&copy, original)?;
        fstat(&copy)
    }

    fn give(&self, path: &str) -> Step<()> {
        let (user, group) = self.whose();
        chownat(CWD, path, user, group, AtFlags::SYMLINK_NOFOLLOW).map_err(step(path))
    }

    fn whose(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.uid)))
    }
}

/// A directory and its copy.
struct Pair<'a> {
    from: std::os::fd::BorrowedFd<'a>,
    to: std::os::fd::BorrowedFd<'a>,
    depth: u32,
    /// Something above is the command's user's.
    is_owned: bool,
    within: Within,
    /// Where the command may write.
    spot: Option<&'a Spot>,
}

impl Pair<'_> {
    fn is_written(&self) -> bool {
        self.spot.is_some_and(|spot| spot.stays != Some(Why::ReadOnly))
    }
}

fn too_much() -> String {
    format!(
        "more is granted than can be copied for a command on this machine ({} MiB, {STAGE_ENTRIES_MAX} entries): \
         grant a smaller directory",
        STAGE_BYTES_MAX >> 20
    )
}

fn base() -> Step<PathBuf> {
    std::env::temp_dir().canonicalize().map_err(step("a place for copies"))
}

/// A directory of this process's own, through which the command's user passes and in which it lists nothing; it is
/// held as long as it is used.
fn fresh(uid: u32) -> Step<(PathBuf, OwnedFd)> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let base = base()?;
    loop {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let top = base.join(format!("{NAME}{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&top) {
            Ok(()) => {
                // No other user of the machine gets to the copies.
                let held = directory(CWD, top.as_os_str()).and_then(|held| {
                    flock(&held, FlockOperation::NonBlockingLockExclusive)?;
                    fchown(&held, None, Some(Gid::from_raw(uid)))?;
                    fchmod(&held, Mode::RWXU | Mode::XGRP)?;
                    Ok(held)
                });
                return Ok((top, held.map_err(step("a place for copies"))?));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("{}: {error}", top.display()).into()),
        }
    }
}

/// Removes what runtimes left behind that were killed.
pub fn clear() {
    let Ok(entries) = base().and_then(|base| std::fs::read_dir(base).map_err(step("a place for copies"))) else {
        return;
    };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME)) {
        let Ok(held) = directory(CWD, entry.path().as_os_str()) else { continue };
        let is_ours = fstat(&held).is_ok_and(|stat| stat.st_uid == geteuid().as_raw());
        if is_ours && flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&entry.path(), &held);
        }
    }
}

/// However deep it is: directories are moved to the top before they are emptied, so that neither this process's stack
/// nor its descriptors are a command's to use up.
fn remove(top: &Path, held: &OwnedFd) {
    let mut number = 0u64;
    while let Ok(true) = flatten(held, &mut number) {}
    let _ = std::fs::remove_dir(top);
}

/// Removes some of what is in this one, and moves what its directories hold into it. False: there was nothing left.
fn flatten(top: &OwnedFd, number: &mut u64) -> Result<bool, Errno> {
    let some = names(top, NAMES_AT_ONCE)?;
    for name in &some {
        if unlinkat(top, name.as_c_str(), AtFlags::empty()).is_ok() {
            continue;
        }
        let below = openat(top, name.as_c_str(), DIRECTORY, Mode::empty())?;
        loop {
            let some = names(&below, NAMES_AT_ONCE)?;
            for inner in &some {
                if unlinkat(&below, inner.as_c_str(), AtFlags::empty()).is_err() {
                    *number = number.saturating_add(1);
                    renameat(&below, inner.as_c_str(), top, format!("{NAME}moved-{number}"))?;
                }
            }
            if some.is_empty() {
                break;
            }
        }
        unlinkat(top, name.as_c_str(), AtFlags::REMOVEDIR)?;
    }
    Ok(!some.is_empty())
}

impl Drop for Stage {
    fn drop(&mut self) {
        remove(&self.top, &self.held);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, read, read_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn made(reach: &Path) -> Step<Stage> {
        let reach = Reach { read: vec![reach.to_str().unwrap().to_owned()], write: Vec::new() };
        Stage::make(&reach, "/", rustix::process::getuid().as_raw(), &|path| path.ends_with("hidden"))
    }

    #[test]
    fn copies_are_what_was_granted_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir(at("a")).unwrap();
        for name in ["a/file", "a/hidden", "run"] {
            write(at(name), name).unwrap();
        }
        set_permissions(at("run"), std::fs::Permissions::from_mode(0o6755)).unwrap();
        symlink("/etc/passwd", at("link")).unwrap();
        rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let stage = made(dir.path()).unwrap();
        let copy = PathBuf::from(stage.place(dir.path().to_str().unwrap()));
        assert_eq!(read(copy.join("a/file")).unwrap(), b"a/file");
        assert_eq!(stage.top.metadata().unwrap().permissions().mode() & 0o7777, 0o710, "nobody else gets there");
        assert_eq!(std::fs::read_link(copy.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert!(!copy.join("a/hidden").exists() && copy.join("pipe").symlink_metadata().is_err());
        let (run, original) = (copy.join("run").metadata().unwrap(), at("run").metadata().unwrap());
        assert_eq!(run.permissions().mode() & 0o7777, 0o755, "nothing takes its owner's rights along");
        assert_eq!(run.modified().unwrap(), original.modified().unwrap());
        // Deeper than most processes may hold files open, and than any path has a name for.
        let mut deep = directory(CWD, stage.top.as_os_str()).unwrap();
        for _ in 0..3_000 {
            mkdirat(&deep, "d", Mode::RWXU).unwrap();
            deep = directory(&deep, "d".as_ref()).unwrap();
        }
        let top = stage.top.clone();
        drop((stage, deep));
        assert!(!top.exists());
        assert_eq!(read_dir(dir.path()).unwrap().count(), 4, "the originals stay");
    }

    #[test]
    fn what_is_too_deep_or_too_much_is_not_copied_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let large = std::fs::File::create(dir.path().join("large")).unwrap();
        large.set_len(STAGE_BYTES_MAX + 1).unwrap();
        assert!(made(dir.path()).unwrap_err().why.contains("large: more is granted than can be copied"));
        large.set_len(STAGE_BYTES_MAX / 1_000_000).unwrap();
        drop(made(dir.path()).unwrap());
        let deep = dir.path().join("d/".repeat(usize::try_from(STAGE_DEPTH_MAX).unwrap() + 1));
        create_dir_all(&deep).unwrap();
        assert!(made(dir.path()).unwrap_err().why.contains("/d: more is granted"));
    }

    #[test]
    fn what_a_killed_runtime_left_is_removed_and_what_is_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let stage = made(dir.path()).unwrap();
        let left = base().unwrap().join(format!("{NAME}{}-left", std::process::id()));
        create_dir_all(left.join("a/b")).unwrap();
        clear();
        assert!(stage.top.exists() && !left.exists());
    }
}
