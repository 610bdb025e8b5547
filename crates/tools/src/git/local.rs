//! A repository of the workspace, as files: its refs are read and written here, and its configuration never is. Its
//! facts name these files, so no link below `.git` is followed: whoever works in the workspace could lead it anywhere.
use backstay_kernel::facts::{Access, Invalid, PathFact};
use backstay_kernel::git::{is_id, reference};
use rustix::fs::OFlags;

use crate::open::{contents, regular};
use crate::place::Place;
use crate::prepare::{Existing, Refused, Write, digest};
use crate::roots::{Roots, is_itself};
use crate::text::{cut, plain};

#[derive(Debug)]
pub struct Local {
    /// Of its `.git`, real.
    pub dir: String,
    /// Where its objects are, real.
    pub objects: String,
}

impl Local {
    pub fn open(roots: &Roots, path: Option<&str>) -> Result<Self, Refused> {
        let path = path.unwrap_or(".").trim_end_matches('/');
        let said = plain(path);
        let none = |refused: Refused| {
            if !is_missing(&refused) {
                return refused;
            }
            let detail = if refused.why == Invalid::NotFound {
                format!("`{said}` has no directory `.git`: `git init` makes one")
            } else {
                format!(
                    "`.git` of `{said}` is no directory of a repository (a file in linked work trees and submodules): name the repository that it belongs to"
                )
            };
            Refused::new(refused.why, detail)
        };
        let (_, above) = roots.open_read(path, OFlags::DIRECTORY).map_err(none)?;
        let dir = format!("{}/.git", above.trim_end_matches('/'));
        let local = Self { objects: format!("{dir}/objects"), dir };
        for dir in [&local.dir, &local.objects] {
            roots.open_real(dir, OFlags::DIRECTORY).map_err(none)?;
        }
        for (name, what) in [("shallow", "is shallow"), ("reftable", "keeps its refs in a table")] {
            match roots.open_real(&local.at(name), OFlags::empty()) {
                Ok(_) => {
                    let detail = format!("the repository `{said}` {what}: that is not understood here");
                    return Err(Refused::new(Invalid::WrongKind, detail));
                }
                Err(refused) if refused.why == Invalid::NotFound => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(local)
    }

    /// Something of it, by its path.
    pub fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    /// Its objects may be added to.
    pub fn is_writable(&self, roots: &Roots) -> Result<(), Refused> {
        roots.check_under(Access::Write, &self.objects, &self.objects)
    }

    /// They are still where they were judged to be.
    pub fn stays(&self, roots: &Roots) -> Result<(), Refused> {
        roots.open_real(&self.objects, OFlags::DIRECTORY).map(drop)
    }

    /// Where a ref stands, if it is there; `read` is added to by what says so, there or not.
    pub fn id(&self, roots: &Roots, name: &str, read: &mut Vec<PathFact>) -> Result<Option<String>, Refused> {
        let id = |text: &str| Some(text.trim().to_owned()).filter(|text| is_id(text));
        let mut text = |name: &str| {
            let fact = PathFact::new(Access::Read, self.at(name));
            if !read.contains(&fact) {
                read.push(fact);
            }
            self.text(roots, name)
        };
        let (own, packed) = (text(name)?, text("packed-refs")?.unwrap_or_default());
        if let Some(text) = own {
            // Only what is checked out stands where another name does.
            let other = text.strip_prefix("ref: ").filter(|_| name == "HEAD").and_then(|other| reference(other.trim()));
            return other.map_or(Ok(id(&text)), |other| self.id(roots, &other, read));
        }
        let of_line = |line: &str| line.strip_suffix(name)?.strip_suffix(' ').and_then(id);
        Ok(packed.lines().find_map(of_line))
    }

    /// The file of a ref.
    pub fn place(&self, roots: &Roots, name: &str) -> Result<Place, Refused> {
        let path = self.at(name);
        let place = roots.place(&path)?;
        is_itself(&path, &place.real)?;
        Ok(place)
    }

    /// Where the new state of a ref would be written.
    pub fn moves(&self, roots: &Roots, name: &str, id: &str) -> Result<Write, Refused> {
        let (path, place) = (self.at(name), self.place(roots, name)?);
        let existing = Existing::at(roots, &place, &path)?;
        Ok(Write { path: name.to_owned(), place, existing, content: format!("{id}\n").into_bytes() })
    }

    fn text(&self, roots: &Roots, name: &str) -> Result<Option<String>, Refused> {
        let path = self.at(name);
        let read = roots.open_real(&path, OFlags::empty()).and_then(|fd| {
            let (mut file, _) = regular(fd, &path)?;
            contents(&mut file, &path)
        });
        match read {
            Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
            Err(refused) if is_missing(&refused) => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}

fn is_missing(refused: &Refused) -> bool {
    matches!(refused.why, Invalid::NotFound | Invalid::WrongKind)
}

/// Under which name a fetched ref is kept: that of its repository, and its own. The one ends at the first `+`, which no
/// other part of it can have, so that no ref of one repository is kept where one of another is.
pub fn kept(repo: &str, name: &str) -> Option<String> {
    const DIGEST_CHARS: usize = 8;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_./".contains(c) { c } else { '_' };
    let shown: String = repo.chars().map(plain).collect();
    let digest = digest(repo.as_bytes()).to_string();
    let (digest, name) = (cut(&digest, DIGEST_CHARS), name.strip_prefix("refs/").unwrap_or(name));
    reference(&format!("refs/backstay/{shown}+{digest}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn no_ref_is_kept_where_one_of_another_repository_is() {
        let at = |repo, name| kept(repo, name).unwrap();
        assert_eq!(at("git.test/acme/app", "refs/heads/main"), "refs/backstay/git.test/acme/app+ea3e2967/heads/main");
        for (one, other) in [
            (("h/a", "refs/b/heads/main"), ("h/a/b", "refs/heads/main")),
            (("h/a~b", "HEAD"), ("h/a_b", "HEAD")),
            (("h:8443/a", "HEAD"), ("h_8443/a", "HEAD")),
            (("h/a", "refs/heads/main"), ("h/A", "refs/heads/main")),
        ] {
            assert_ne!(at(one.0, one.1), at(other.0, other.1));
        }
    }
}
