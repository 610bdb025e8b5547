//! Where a file would be written: the directory that is open, and a name in it that is never
//! followed.
use std::os::fd::OwnedFd;

use backstay_kernel::facts::{Access, Invalid};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fsync, mkdirat, statat};
use rustix::io::Errno;

use crate::open::{Links, beneath, real_path, refused};
use crate::prepare::Refused;
use crate::roots::{Root, Roots, joined};
use crate::text::plain;

/// The directory that a file is, or will be, in.
#[derive(Debug)]
pub struct Place {
    /// The innermost directory that is there.
    pub dir: OwnedFd,
    /// Directories below `dir` that a write makes first.
    pub missing: Vec<String>,
    pub name: String,
    /// The file's real path.
    pub real: String,
}

impl Roots {
    /// Finds where `path` would be written. The last component is never followed.
    pub fn place(&self, path: &str) -> Result<Place, Refused> {
        let mut last = None;
        for candidate in self.candidates(Access::Write, path)? {
            let Some((name, parents)) = candidate.below.split_last() else {
                let detail = format!("`{}` is a directory", plain(path));
                return Err(Refused::new(Invalid::WrongKind, detail));
            };
            match innermost(candidate.root, parents, path)? {
                None => last = Some(refused(Errno::XDEV, path)),
                Some((dir, missing)) => {
                    self.own()?.refuse(&dir, path)?;
                    let mut real = real_path(&dir)?.trim_end_matches('/').to_owned();
                    for part in missing.iter().chain([name]) {
                        real.push('/');
                        real.push_str(part);
                    }
                    self.check_under(Access::Write, path, &real)?;
                    return Ok(Place { dir, missing, name: name.clone(), real });
                }
            }
        }
        Err(last.unwrap_or_else(|| self.outside(Access::Write, path)))
    }
}

/// Opens the innermost of `parents` that is there, and names those that are not; `None` where the
/// way leads out of this root.
fn innermost(root: &Root, parents: &[String], path: &str) -> Result<Option<(OwnedFd, Vec<String>)>, Refused> {
    for there in (0..=parents.len()).rev() {
        let (found, missing) = parents.split_at_checked(there).unwrap_or_default();
        match beneath(&root.dir, &joined(found), OFlags::DIRECTORY, Links::Follow) {
            Err(Errno::NOENT) => {}
            Err(Errno::XDEV) => return Ok(None),
            Err(errno) => return Err(refused(errno, path)),
            Ok(dir) => return nothing_in_the_way(dir, missing, path).map(Some),
        }
    }
    Err(refused(Errno::NOENT, path))
}

/// A link to nowhere is "not there" to a walk, and in the way of a new directory. A directory that
/// another call has made since the walk is not in the way: it is walked into.
fn nothing_in_the_way(dir: OwnedFd, missing: &[String], path: &str) -> Result<(OwnedFd, Vec<String>), Refused> {
    let mut dir = dir;
    for (walked, name) in missing.iter().enumerate() {
        let Ok(stat) = statat(&dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok((dir, missing.iter().skip(walked).cloned().collect()));
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let detail = format!("`{}` goes over a broken symbolic link", plain(path));
            return Err(Refused::new(Invalid::WrongKind, detail));
        }
        dir = child(&dir, name, OFlags::DIRECTORY).map_err(|errno| refused(errno, path))?;
    }
    Ok((dir, Vec::new()))
}

/// Opens a child of `dir` itself, never what a link points at.
pub fn child(dir: &OwnedFd, name: &str, kind: OFlags) -> Result<OwnedFd, Errno> {
    beneath(dir, name, kind, Links::Refuse)
}

/// A directory inside `dir`, made if it is not there.
pub fn child_directory(dir: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(dir, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let made = child(dir, name, OFlags::DIRECTORY)?;
    fsync(dir)?;
    Ok(made)
}
