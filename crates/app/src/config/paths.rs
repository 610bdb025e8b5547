//! Real paths of grants and rules, and the ground that no grant may touch: the home's own files.
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use backstay_kernel::rule::is_under;

/// The one directory of a home that may be granted.
pub const WORKSPACE: &str = "workspace";

/// As many as Linux follows.
const LINKS_MAX: usize = 40;

/// Why a path cannot be used.
pub type Problem = &'static str;

/// A path without links, as the operating system names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Real {
    pub path: String,
    pub missing: bool,
}

#[derive(Debug)]
pub struct Ground {
    home: String,
    /// Real paths of the home's files (a link in the home may point anywhere), of the running
    /// binary and of the TLS key.
    own: Vec<String>,
    /// Real paths of directories in which some agent may write: who does, decides what lies below them.
    open: BTreeSet<String>,
}

impl Ground {
    /// Looks, and changes nothing. `home` must exist.
    pub fn survey(home: &Path, binary: Option<&Path>) -> std::io::Result<Self> {
        let home = home.canonicalize()?;
        let mut own: Vec<String> =
            binary.and_then(|path| path.canonicalize().ok()).iter().map(|path| lossless(path)).collect();
        for entry in std::fs::read_dir(&home)? {
            let entry = entry?;
            if entry.file_name() != WORKSPACE
                && let Ok(real) = entry.path().canonicalize()
            {
                own.push(lossless(&real));
            }
        }
        Ok(Self { home: lossless(&home), own, open: BTreeSet::new() })
    }

    /// Adds a file that no agent may read or write, such as a TLS key.
    pub fn protect(&mut self, real: &Real) {
        self.own.push(real.path.clone());
    }

    /// Adds directories in which agents may write, as the config names them: from now on no link below one is followed.
    pub fn open_up<'w>(&mut self, written: impl Iterator<Item = &'w str>) {
        let written: Vec<&str> = written.collect();
        // Until it stays the same: a link that leads into one of them is followed only so far.
        for _ in 0..=written.len() {
            let real = written.iter().filter_map(|written| self.real(written).ok()).map(|real| real.path);
            let open: BTreeSet<String> = real.filter(|path| self.reaches(path).is_none()).collect();
            if open == self.open {
                break;
            }
            self.open = open;
        }
    }

    /// Whether an agent may write where it lies, and so put a link or a file in its place.
    #[must_use]
    pub fn is_below_open(&self, path: &str) -> bool {
        self.open.iter().any(|open| path != open.as_str() && is_under(path, open))
    }

    /// Whether a path is in the home or is it.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        is_under(path, &self.home)
    }

    /// The own file or directory that a grant on `path` would reach.
    #[must_use]
    pub fn reaches(&self, path: &str) -> Option<&str> {
        let workspace = format!("{}/{WORKSPACE}", self.home.trim_end_matches('/'));
        if is_under(&self.home, path) || (is_under(path, &self.home) && !is_under(path, &workspace)) {
            return Some(&self.home);
        }
        self.own.iter().find(|own| is_under(own, path) || is_under(path, own)).map(String::as_str)
    }

    /// Resolves every link of the part that exists; what does not exist yet is kept as written, and so is all that lies
    /// below a directory in which agents write: a link there would be theirs, and no word of the operator's.
    pub fn real(&self, written: &str) -> Result<Real, Problem> {
        if written.is_empty() || written.contains('\0') {
            return Err("is no path");
        }
        let joined = Path::new(&self.home).join(written);
        let mut rest: VecDeque<OsString> =
            joined.components().skip(1).map(|part| part.as_os_str().to_owned()).collect();
        // How many of them a link has put there, and how many links there were.
        let (mut of_link, mut links) = (0usize, 0);
        let mut real = PathBuf::from("/");
        while let Some(part) = rest.pop_front() {
            let from_link = of_link > 0;
            of_link = of_link.saturating_sub(1);
            let is_open = real.to_str().is_some_and(|real| self.open.iter().any(|open| is_under(real, open)));
            if part == ".." && !is_open {
                real.pop();
                continue;
            }
            let next = real.join(&part);
            let found = if is_open { Err(ErrorKind::NotFound) } else { next.symlink_metadata().map_err(|e| e.kind()) };
            match found {
                Ok(found) if found.is_symlink() => {
                    links += 1;
                    let target = next.read_link().ok().filter(|_| links <= LINKS_MAX).ok_or("cannot be resolved")?;
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    let parts =
                        target.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
                    let parts: Vec<OsString> = parts.map(|part| part.as_os_str().to_owned()).collect();
                    of_link += parts.len();
                    parts.into_iter().rev().for_each(|part| rest.push_front(part));
                }
                Ok(found) if !found.is_dir() && !rest.is_empty() => return Err("leads through a file"),
                Ok(_) => real = next,
                Err(ErrorKind::NotFound) if from_link && !is_open => return Err("is a link that leads nowhere"),
                Err(ErrorKind::NotFound) => {
                    rest.push_front(part);
                    let whole = rest.iter().fold(real, |path, part| path.join(part));
                    if rest.iter().any(|part| part == "..") {
                        return Err(
                            "goes up (`..`) from a directory that does not exist, or in which an agent may write",
                        );
                    }
                    let missing = whole.symlink_metadata().is_err();
                    return utf8(whole, missing);
                }
                Err(_) => return Err("cannot be resolved"),
            }
        }
        utf8(real, false)
    }

    /// A glob with the directories before its first wildcard made real.
    pub fn real_glob(&self, written: &str) -> Result<String, Problem> {
        let parts: Vec<&str> = written.split('/').collect();
        let at = parts.iter().position(|part| part.contains(['*', '?'])).unwrap_or(parts.len());
        let (before, after) = parts.split_at_checked(at).unwrap_or((&parts, &[]));
        if after.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err("can never match: real paths hold no empty part, no `.` and no `..`");
        }
        let base = match before {
            [] => self.home.clone(),
            [""] => String::from("/"),
            some => self.real(&some.join("/"))?.path,
        };
        if base.contains(['*', '?']) {
            return Err("lies below a directory whose name holds `*` or `?`; use `under`");
        }
        let tail: String = after.iter().flat_map(|part| ["/", *part]).collect();
        Ok(format!("{}{tail}", base.trim_end_matches('/')))
    }
}

fn utf8(path: PathBuf, missing: bool) -> Result<Real, Problem> {
    let path = path.into_os_string().into_string().map_err(|_| "resolves to a name that is not UTF-8")?;
    Ok(Real { path, missing })
}

/// Names that are not UTF-8 can never be granted, so their exact bytes do not matter.
fn lossless(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
