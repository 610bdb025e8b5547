//! Real paths of grants and rules, and the ground that no grant may touch: the home's own files.
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use backstay_kernel::rule::is_under;

/// The one directory of a home that may be granted.
pub const WORKSPACE: &str = "workspace";

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
        Ok(Self { home: lossless(&home), own })
    }

    /// Adds a file that no agent may read or write, such as a TLS key.
    pub fn protect(&mut self, real: &Real) {
        self.own.push(real.path.clone());
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

    /// Resolves every link of the part that exists; what does not exist yet is kept as written.
    pub fn real(&self, written: &str) -> Result<Real, Problem> {
        if written.is_empty() || written.contains('\0') {
            return Err("is no path");
        }
        let joined = Path::new(&self.home).join(written);
        for ancestor in joined.ancestors() {
            match ancestor.canonicalize() {
                Ok(real) => {
                    let rest = joined.strip_prefix(ancestor).unwrap_or(Path::new(""));
                    return extend(real, rest);
                }
                // Not there yet: the directory above it may be.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::NotADirectory => return Err("leads through a file"),
                Err(_) => return Err("cannot be resolved"),
            }
        }
        Err("cannot be resolved")
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

fn extend(real: PathBuf, rest: &Path) -> Result<Real, Problem> {
    let Some(first) = rest.components().next() else {
        return utf8(real, false);
    };
    if rest.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err("goes up (`..`) from a directory that does not exist");
    }
    if real.join(first).symlink_metadata().is_ok() {
        return Err("is a link that leads nowhere");
    }
    utf8(real.join(rest), true)
}

fn utf8(path: PathBuf, missing: bool) -> Result<Real, Problem> {
    let path = path.into_os_string().into_string().map_err(|_| "resolves to a name that is not UTF-8")?;
    Ok(Real { path, missing })
}

/// Names that are not UTF-8 can never be granted, so their exact bytes do not matter.
fn lossless(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
