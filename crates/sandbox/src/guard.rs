//! Names that make other programs do things: hooks and settings of repositories, editors, shells,
//! continuous integration, agents. What is there is bound read-only; what is not there cannot be, so
//! the writable directories are looked through before and after, and what was added or changed is
//! taken out of its name.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::limits::ENTRIES_MAX;
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
const IN_GIT: [&str; 4] = ["hooks", "config", "config.worktree", "commondir"];
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
        Self {
            is_git: own_name == ".git" || (has("HEAD") && has("objects") && has("refs")),
            is_github: own_name == ".github",
        }
    }

    fn is_by_place(self, name: &str) -> bool {
        (self.is_git && IN_GIT.contains(&name)) || (self.is_github && IN_GITHUB.contains(&name))
    }

    pub fn protects(self, name: &str, is_directory: bool) -> bool {
        NAMES.contains(&name) || self.is_by_place(name) || (name == ".git" && !is_directory)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("{path} cannot be looked through for protected names: {why}")]
    Unreadable { path: String, why: String },
    #[error(
        "the writable directories hold more than {ENTRIES_MAX} entries: they cannot be looked through for protected names"
    )]
    TooMany,
}

/// Whether a name in this path is protected by itself: what is written there is undone, or never written. Some file
/// systems know no case.
#[must_use]
pub fn is_protected(path: &str) -> bool {
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    let among = |names: &[&str], name: &str| names.iter().any(|one| is(one, name));
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
    let is_git = |has: &dyn Fn(&str) -> bool| has("HEAD") && (has("commondir") || has("objects") && has("refs"));
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    is_git(&|other| is(other) || is_there(other)) && (IN_GIT.iter().any(|own| is(own)) || !is_git(&is_there))
}

/// What to protect beside the names above: paths that a rule keeps the agent from.
pub struct Guard<'a> {
    pub reach: &'a Reach,
    /// True for a path that must not even be seen.
    pub hides: &'a dyn Fn(&str) -> bool,
}

/// What was found at one moment.
#[derive(Debug, Default)]
pub struct Found {
    pub shield: Shield,
    marks: BTreeMap<String, Mark>,
    entries: usize,
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

impl Guard<'_> {
    /// # Errors
    /// A directory cannot be read, or there is too much.
    pub fn look(&self) -> Result<Found, GuardError> {
        let mut found = Found::default();
        for root in self.reach.write.iter().chain(&self.reach.read) {
            self.walk(Path::new(root), false, &mut found)?;
        }
        Ok(found)
    }

    fn walk(&self, directory: &Path, inside_protected: bool, found: &mut Found) -> Result<(), GuardError> {
        let unreadable = |why: String| GuardError::Unreadable { path: directory.display().to_string(), why };
        let Some(here) = directory.to_str() else { return Ok(()) };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            // Gone, or closed to this process and so to the command, which is the same user.
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied) =>
            {
                return Ok(());
            }
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let mut names = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(error.to_string()))?;
            let kind = entry.file_type().map_err(|error| unreadable(error.to_string()))?;
            // A name that is not UTF-8 is none of the names that are looked for; what lies below it may be.
            names.insert(entry.file_name(), kind);
            found.entries = found.entries.saturating_add(1);
            if found.entries > ENTRIES_MAX {
                return Err(GuardError::TooMany);
            }
        }
        let has = |name: &str| names.contains_key(std::ffi::OsStr::new(name));
        let own_name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let within = Within::of(own_name, has);
        for (name, kind) in &names {
            let path = directory.join(name);
            let Some(text) = path.to_str() else {
                if kind.is_dir() {
                    self.walk(&path, inside_protected, found)?;
                }
                continue;
            };
            let name = name.to_str().unwrap_or_default();
            if (self.hides)(text) {
                found.mark(text);
                if !kind.is_symlink() {
                    found.shield.masked.push(text.to_owned());
                    self.keep_above(&path, found);
                }
                continue;
            }
            let named = within.protects(name, kind.is_dir());
            let is_protected = inside_protected || named;
            if is_protected {
                found.mark(text);
            }
            if named && !inside_protected && !kind.is_symlink() && self.is_writable(text) {
                found.shield.sealed.insert(text.to_owned());
                found.shield.kept.insert(text.to_owned());
                if within.is_by_place(name) && !self.reach.write.iter().any(|root| root == here) {
                    found.shield.kept.insert(here.to_owned());
                }
            }
            if kind.is_dir() {
                self.walk(&path, is_protected, found)?;
            }
        }
        Ok(())
    }

    /// A rule speaks of a path: nothing on the way to it may be renamed.
    fn keep_above(&self, path: &Path, found: &mut Found) {
        let inside =
            |above: &&Path| self.reach.write.iter().any(|root| *above != Path::new(root) && above.starts_with(root));
        let above = path.ancestors().skip(1).take_while(inside).filter_map(Path::to_str);
        found.shield.kept.extend(above.map(str::to_owned));
    }

    fn is_writable(&self, path: &str) -> bool {
        self.reach.write.iter().any(|root| Path::new(path).starts_with(root))
    }
}

impl Found {
    fn mark(&mut self, path: &str) {
        if let Ok(stat) = std::fs::symlink_metadata(path) {
            self.marks.insert(path.to_owned(), Mark::of(&stat));
        }
    }

    /// Takes what is new or other than `before` out of its name, and says what it was.
    pub fn quarantine(&self, before: &Self) -> Vec<String> {
        let known: BTreeSet<&Mark> = before.marks.values().collect();
        let mut taken: Vec<String> = Vec::new();
        for (path, mark) in &self.marks {
            let is_below_taken = taken.iter().any(|outer| Path::new(path).starts_with(outer));
            // Moved with a directory above it, it is what it was: a name of its own would have changed it.
            if known.contains(mark) || is_below_taken {
                continue;
            }
            // A directory that was there is changed by what is new in it, which has a name of its own.
            if before.marks.contains_key(path) && Path::new(path).is_dir() {
                continue;
            }
            if set_aside(path).is_ok() {
                taken.push(path.clone());
            }
        }
        taken
    }
}

fn set_aside(path: &str) -> std::io::Result<()> {
    let mut number = 0u32;
    loop {
        let aside = format!("{path}{QUARANTINE}-{number}");
        if std::fs::symlink_metadata(&aside).is_err() {
            return std::fs::rename(path, aside);
        }
        number = number.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::is_protected;

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
