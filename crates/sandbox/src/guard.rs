//! Names that make other programs do things: hooks and settings of repositories, editors, shells,
//! continuous integration, agents. What is there is bound read-only; what is not there cannot be, so
//! the writable directories are looked through before and after, and what was added or changed is
//! taken out of its name.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{ReadDir, read_dir, rename};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, chmodat, fstat, openat2};

use crate::limits::{ENTRIES_MAX, PATH_BYTES_MAX};
use crate::mark::Mark;
use crate::profile::Reach;

/// Protected wherever they are.
const NAMES: [&str; 20] = [
    ".envrc",
    ".husky",
    ".vscode",
    ".idea",
    ".gitmodules",
    ".gitlab-ci.yml",
    ".circleci",
    ".travis.yml",
    ".buildkite",
    "Jenkinsfile",
    "AGENTS.md",
    "CLAUDE.md",
    "GEMINI.md",
    "SKILL.md",
    ".agents",
    ".claude",
    ".codex",
    ".cursor",
    ".gemini",
    ".mcp.json",
];
/// Protected in a directory that git reads as a repository's own.
pub const IN_GIT: [&str; 4] = ["hooks", "config", "config.worktree", "commondir"];
/// What makes one of a directory, beside these.
pub const MAKES_GIT: [&str; 3] = ["HEAD", "objects", "refs"];
/// Protected in `.github`.
const IN_GITHUB: [&str; 2] = ["workflows", "actions"];
/// Appended to a name that is taken out of use.
pub const QUARANTINE: &str = ".quarantine";

/// What the names in one directory mean to other programs.
#[derive(Clone, Copy)]
pub struct Within {
    is_git: bool,
    is_github: bool,
}

impl Within {
    /// `has` tells the names in it.
    pub fn of(own_name: &str, has: impl Fn(&str) -> bool) -> Self {
        Self { is_git: is(own_name, ".git") || is_repository(&has), is_github: is(own_name, ".github") }
    }

    pub fn is_repository(self) -> bool {
        self.is_git
    }

    pub fn is_by_place(self, name: &str) -> bool {
        (self.is_git && IN_GIT.contains(&name)) || (self.is_github && IN_GITHUB.contains(&name))
    }

    pub fn protects(self, name: &str, is_directory: bool) -> bool {
        NAMES.contains(&name) || self.is_by_place(name) || (name == ".git" && !is_directory)
    }

    /// Whether git acts on this name in a directory, or on another one there as soon as it has this one.
    pub fn comes_into_use(own_name: &str, name: &str, has: impl Fn(&str) -> bool) -> bool {
        let (before, after) = (Self::of(own_name, &has), Self::of(own_name, |other| other == name || has(other)));
        after.is_by_place(name) || (after.is_git && !before.is_git && IN_GIT.into_iter().any(has))
    }

    /// The name among those above that this one is in another case: where the file system knows no case, it is found by
    /// both.
    fn in_another_case(self, name: &str) -> Option<&'static str> {
        let in_git = self.is_git.then_some(IN_GIT).into_iter().flatten();
        let in_github = self.is_github.then_some(IN_GITHUB).into_iter().flatten();
        let mut all = NAMES.into_iter().chain(in_git).chain(in_github).chain([".git"]);
        all.find(|other| is(other, name) && *other != name)
    }
}

fn is(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}

fn among(names: &[&str], name: &str) -> bool {
    names.iter().any(|one| is(one, name))
}

/// Whether git reads a directory with these names as a repository's own, or as what one keeps for a work tree.
fn is_repository(has: &dyn Fn(&str) -> bool) -> bool {
    has("HEAD") && (has("commondir") || (has("objects") && has("refs")))
}

#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("{path} cannot be looked through for protected names: {why}")]
    Unreadable { path: String, why: String },
    #[error(
        "the writable directories hold more than {ENTRIES_MAX} entries: they cannot be looked through for protected names"
    )]
    TooMany,
    #[error("{0} cannot be kept from commands, since its path is no UTF-8, or too long: rename it")]
    NoPath(String),
    #[error("{0} is protected, and cannot be taken out of its name: remove it")]
    InUse(String),
}

/// Whether a name in this path is protected by itself: what is written there is undone, or never written. Some file
/// systems know no case.
#[must_use]
pub fn is_protected(path: &str) -> bool {
    let mut above = "";
    for name in path.split('/') {
        let by_place = (is(above, ".git") && among(&IN_GIT, name)) || (is(above, ".github") && among(&IN_GITHUB, name));
        if among(&NAMES, name) || by_place {
            return true;
        }
        above = name;
    }
    is(above, ".git")
}

/// Whether other programs act by what is written there, or would once it is: by a name in the path, by a repository that
/// it lies in, or by one that it makes of a directory. Nothing is undone of a write that no sandbox holds, so all of
/// `.git` counts.
#[must_use]
pub fn is_acted_by(path: &str) -> bool {
    is_protected(path)
        || path.split('/').any(|name| name.eq_ignore_ascii_case(".git"))
        || Path::new(path).ancestors().any(is_of_git)
}

/// With this name in it git reads the directory as a repository's own, and either finds its settings or hooks by it or
/// would not have read it so before.
fn is_of_git(path: &Path) -> bool {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return false };
    let is_there = |other: &str| above.join(other).symlink_metadata().is_ok();
    let is_this = |other: &str| name.eq_ignore_ascii_case(other);
    is_repository(&|other| is_this(other) || is_there(other))
        && (IN_GIT.iter().any(|own| is_this(own)) || !is_repository(&is_there))
}

/// What to protect beside the names above: paths that a rule keeps the agent from.
pub struct Guard<'a> {
    pub reach: &'a Reach,
    /// True for a path that must not even be seen.
    pub hides: &'a dyn Fn(&str) -> bool,
    /// A directory in which names mean nothing to other programs.
    pub caches: Option<&'a str>,
}

/// What was found at one moment.
#[derive(Debug, Default)]
pub struct Found {
    pub shield: Shield,
    pub seen: Seen,
    entries: usize,
}

/// By what the same is told from another later.
#[derive(Debug, Default)]
pub struct Seen {
    pub marks: BTreeMap<PathBuf, Mark>,
    /// Directories that this process may not look into.
    pub closed: BTreeSet<PathBuf>,
}

/// What the sandbox lays over the writable directories.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shield {
    /// Bound onto themselves, so that they cannot be renamed away; the outer before the inner.
    pub kept: BTreeSet<String>,
    /// Of these, the ones that are read-only.
    pub sealed: BTreeSet<String>,
    pub masked: Vec<String>,
}

/// On which side of a command it is looked.
#[derive(Clone, Copy)]
enum Side<'f> {
    Before,
    After(&'f Seen),
}

impl Guard<'_> {
    /// # Errors
    /// A directory cannot be read, there is too much, or something cannot be kept from a command.
    pub fn look(&self) -> Result<Found, GuardError> {
        let mut found = Found::default();
        self.roots().try_for_each(|root| self.walk(root, false, Side::Before, &mut found))?;
        Ok(found)
    }

    /// Takes what is new or other than `before` out of its name, and says what it was.
    ///
    /// # Errors
    /// As above, or a name could not be taken; whatever could be taken was.
    pub fn quarantine(&self, before: &Seen) -> Result<Vec<String>, GuardError> {
        let mut after = Found::default();
        // What one root hides is no reason to leave another as it is.
        let walked: Vec<_> = self.roots().map(|root| self.walk(root, false, Side::After(before), &mut after)).collect();
        let taken = after.seen.take_what_differs_from(before);
        walked.into_iter().collect::<Result<Vec<()>, _>>()?;
        taken
    }

    fn roots(&self) -> impl Iterator<Item = &Path> {
        self.reach.write.iter().chain(&self.reach.read).map(Path::new)
    }

    fn walk(
        &self,
        directory: &Path,
        inside_protected: bool,
        side: Side<'_>,
        found: &mut Found,
    ) -> Result<(), GuardError> {
        let unreadable = |why: io::Error| GuardError::Unreadable { path: told(directory), why: why.to_string() };
        let entries = match self.names(directory, side, found) {
            Ok(Some(entries)) => entries,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut names = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            names.insert(entry.file_name(), entry.file_type().map_err(unreadable)?);
            found.entries = found.entries.saturating_add(1);
            if found.entries > ENTRIES_MAX {
                return Err(GuardError::TooMany);
            }
        }
        let has = |name: &str| names.contains_key(OsStr::new(name));
        let within = Within::of(directory.file_name().and_then(OsStr::to_str).unwrap_or_default(), has);
        let is_in_caches = self.caches.is_some_and(|caches| directory.starts_with(caches));
        for (name, kind) in &names {
            let path = directory.join(name);
            if (self.hides)(&path.to_string_lossy()) {
                found.mark(&path);
                if !kind.is_symlink() && matches!(side, Side::Before) {
                    self.mask(&path, found)?;
                }
                continue;
            }
            // Nobody outside gets this far by a path; whatever is moved out of there is new where it arrives.
            if path.as_os_str().len() > PATH_BYTES_MAX {
                continue;
            }
            // A name that is not UTF-8 is none of those that are looked for; what lies below it may be.
            let name = name.to_str().unwrap_or_default();
            let is_found_as = |other: &str| {
                let mark = |path: &Path| path.symlink_metadata().ok().map(|stat| Mark::of(&stat));
                mark(&path).is_some() && mark(&path) == mark(&directory.join(other))
            };
            let name = within.in_another_case(name).filter(|other| is_found_as(other)).unwrap_or(name);
            let named = within.protects(name, kind.is_dir()) && !is_in_caches;
            let is_protected = inside_protected || named;
            if is_protected {
                found.mark(&path);
            }
            if named && !inside_protected && !kind.is_symlink() && matches!(side, Side::Before) {
                self.seal(&path, within.is_by_place(name), found)?;
            }
            if kind.is_dir() {
                self.walk(&path, is_protected, side, found)?;
            }
        }
        Ok(())
    }

    /// `None`: nobody who is this user sees what is in it.
    fn names(&self, directory: &Path, side: Side<'_>, found: &mut Found) -> io::Result<Option<ReadDir>> {
        // Without the right to search it the names are told, and what they stand for is not.
        let open = || directory.join(".").symlink_metadata().and_then(|_| read_dir(directory));
        match (open(), side) {
            (Err(error), _) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
            (Err(denied), Side::Before) => {
                // A command is the same user, and could open what is this user's own.
                self.mask(directory, found).map_err(|_| denied)?;
                found.seen.closed.insert(directory.to_owned());
                Ok(None)
            }
            (Err(_), Side::After(before)) if before.closed.contains(directory) => Ok(None),
            // It was open, so the command has closed it: the next one could open it again.
            (Err(_), Side::After(_)) => {
                opened(directory)?;
                open().map(Some)
            }
            (Ok(names), _) => Ok(Some(names)),
        }
    }

    fn mask(&self, path: &Path, found: &mut Found) -> Result<(), GuardError> {
        let is_root = self.roots().any(|root| root == path);
        let text = path.to_str().filter(|text| text.len() <= PATH_BYTES_MAX && !is_root);
        let text = text.ok_or_else(|| GuardError::NoPath(told(path)))?;
        found.shield.masked.push(text.to_owned());
        // A rule speaks of a path: nothing on the way to it may be renamed.
        let inside =
            |above: &&Path| self.reach.write.iter().any(|root| *above != Path::new(root) && above.starts_with(root));
        let above = path.ancestors().skip(1).take_while(inside).filter_map(Path::to_str);
        found.shield.kept.extend(above.map(str::to_owned));
        Ok(())
    }

    fn seal(&self, path: &Path, by_place: bool, found: &mut Found) -> Result<(), GuardError> {
        if !self.reach.write.iter().any(|root| path.starts_with(root)) {
            return Ok(());
        }
        let text = path.to_str().ok_or_else(|| GuardError::NoPath(told(path)))?;
        found.shield.sealed.insert(text.to_owned());
        found.shield.kept.insert(text.to_owned());
        let above = path.parent().and_then(Path::to_str).unwrap_or_default();
        if by_place && !self.reach.write.iter().any(|root| root == above) {
            found.shield.kept.insert(above.to_owned());
        }
        Ok(())
    }
}

impl Found {
    fn mark(&mut self, path: &Path) {
        if let Ok(stat) = path.symlink_metadata() {
            self.seen.marks.insert(path.to_owned(), Mark::of(&stat));
        }
    }
}

impl Seen {
    fn take_what_differs_from(&self, before: &Self) -> Result<Vec<String>, GuardError> {
        let known: BTreeSet<&Mark> = before.marks.values().collect();
        let (mut taken, mut kept): (Vec<&PathBuf>, Option<&PathBuf>) = (Vec::new(), None);
        for (path, mark) in &self.marks {
            let is_below_taken = taken.iter().any(|outer| path.starts_with(outer));
            // Moved with a directory above it, it is what it was: a name of its own would have changed it.
            if known.contains(mark) || is_below_taken {
                continue;
            }
            // A directory that was there is changed by what is new in it, which has a name of its own.
            if before.marks.contains_key(path) && path.symlink_metadata().is_ok_and(|stat| stat.is_dir()) {
                continue;
            }
            if set_aside(path).is_ok() {
                taken.push(path);
            } else {
                kept = kept.or(Some(path));
            }
        }
        match kept {
            Some(path) => Err(GuardError::InUse(told(path))),
            None => Ok(taken.into_iter().map(|path| told(path)).collect()),
        }
    }
}

fn told(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn set_aside(path: &Path) -> io::Result<()> {
    let mut number = 0u32;
    let aside = loop {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!("{QUARANTINE}-{number}"));
        if Path::new(&aside).symlink_metadata().is_err() {
            break aside;
        }
        number = number.saturating_add(1);
    };
    let above = path.parent().unwrap_or(Path::new("/"));
    match rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let was = opened(above)?;
            let renamed = rename(path, &aside);
            was.restore()?;
            renamed
        }
        renamed => renamed,
    }
}

/// The rights that a directory had.
struct Was {
    held: OwnedFd,
    mode: Mode,
}

impl Was {
    fn set(&self, mode: Mode) -> io::Result<()> {
        Ok(chmodat(CWD, format!("/proc/self/fd/{}", self.held.as_raw_fd()), mode, AtFlags::empty())?)
    }

    fn restore(&self) -> io::Result<()> {
        self.set(self.mode)
    }
}

/// Lets this user, whose it is, read, write and search it.
fn opened(directory: &Path) -> io::Result<Was> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = openat2(CWD, directory, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let mode = Mode::from_raw_mode(fstat(&held)?.st_mode);
    let was = Was { held, mode };
    was.set(mode | Mode::RWXU)?;
    Ok(was)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::{Guard, GuardError, is_protected};
    use crate::profile::Reach;

    /// As an ordinary user from here on, who is refused what others may do.
    fn without_override() {
        let mut own = capabilities(None).unwrap();
        own.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        set_capabilities(None, own).unwrap();
    }

    fn rights(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_that_was_closed_is_opened_and_one_that_cannot_be_written_is_no_refuge() {
        without_override();
        let top = tempfile::tempdir().unwrap();
        let at = |path: &str| top.path().join(path);
        let reach = Reach { write: vec![top.path().to_str().unwrap().to_owned()], ..Reach::default() };
        let guard = Guard { reach: &reach, hides: &|path| path.ends_with("/safe"), caches: None };
        fs::create_dir_all(at("d")).unwrap();
        fs::create_dir_all(at("person")).unwrap();
        for path in ["d/safe", "person/.envrc"] {
            fs::write(at(path), "x").unwrap();
        }
        rights(&at("person"), 0o311);
        let before = guard.look().unwrap();
        let text = |path: &str| at(path).to_str().unwrap().to_owned();
        assert_eq!(before.shield.masked, [text("d/safe"), text("person")]);
        // A command's work.
        fs::create_dir_all(at("r/.git")).unwrap();
        fs::create_dir_all(at("t")).unwrap();
        for path in ["r/.git/config", "r/.envrc", "d/.envrc", "t/.envrc"] {
            fs::write(at(path), "x").unwrap();
        }
        for (path, mode) in [("r/.git", 0o555), ("r", 0o555), ("d", 0o311), ("t", 0o444)] {
            rights(&at(path), mode);
        }
        let taken = guard.quarantine(&before.seen).unwrap();
        assert_eq!(taken, ["d/.envrc", "r/.envrc", "r/.git/config", "t/.envrc"].map(text));
        assert!(taken.iter().all(|path| !Path::new(path).exists()));
        assert_eq!(fs::metadata(at("r")).unwrap().permissions().mode() & 0o777, 0o555);
        // What it had closed is open to the next look, and what a rule hides is hidden again.
        assert_eq!(guard.look().unwrap().shield.masked, [text("d/safe"), text("person")]);
        // A granted directory itself cannot be masked.
        rights(top.path(), 0o311);
        assert!(matches!(guard.look(), Err(GuardError::Unreadable { .. })));
        rights(top.path(), 0o755);
    }

    /// A second name of one file stands for a file system that finds it by both.
    #[test]
    fn a_name_in_another_case_counts_where_it_is_found_by_both() {
        let top = tempfile::tempdir().unwrap();
        let at = |path: &str| top.path().join(path);
        fs::create_dir_all(at(".GIT")).unwrap();
        fs::create_dir_all(at("docs")).unwrap();
        for path in [".GIT/CONFIG", "docs/agents.md", "jenkinsfile"] {
            fs::write(at(path), "x").unwrap();
        }
        fs::hard_link(at(".GIT/CONFIG"), at(".GIT/config")).unwrap();
        fs::hard_link(at("jenkinsfile"), at("Jenkinsfile")).unwrap();
        let reach = Reach { write: vec![top.path().to_str().unwrap().to_owned()], ..Reach::default() };
        let found = Guard { reach: &reach, hides: &|_| false, caches: None }.look().unwrap();
        let sealed: Vec<&str> =
            found.shield.sealed.iter().map(|path| path.strip_prefix(top.path().to_str().unwrap()).unwrap()).collect();
        assert_eq!(sealed, ["/.GIT/CONFIG", "/.GIT/config", "/Jenkinsfile", "/jenkinsfile"]);
    }

    #[test]
    fn a_protected_name_is_one_in_every_case() {
        for path in [
            ".envrc",
            ".HUSKY/pre-push",
            "a/.GitLab-CI.yml",
            "jenkinsfile",
            "agents.md",
            ".GIT/Hooks/x",
            "a/.Git/CONFIG",
            ".GitHub/Workflows/ci.yml",
            "sub/.GIT",
        ] {
            assert!(is_protected(path), "{path}");
        }
        for path in ["envrc", ".git/objects/x", ".github/x", "hooks/x", "a.github/workflows/x"] {
            assert!(!is_protected(path), "{path}");
        }
    }
}
