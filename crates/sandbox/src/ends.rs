//! A directory in which a command might write, and the copy in which it did.
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, ResolveFlags, fstat, openat2};

use crate::beneath::DIRECTORY;
use crate::mark::Mark;
use crate::stage::{Stage, Was};

/// A granted directory from both sides.
pub struct Ends {
    pub path: PathBuf,
    pub copy: OwnedFd,
    pub original: OwnedFd,
}

impl Ends {
    pub fn open(stage: &Stage, path: &str, was: Option<&Was>) -> Result<Self, String> {
        let gone = || format!("another directory lies at {path} by now");
        let original = openat2(CWD, path, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(|_| gone())?;
        let stat = fstat(&original).map_err(|_| gone())?;
        if !was.is_some_and(|was| was.original.is_of(Mark::of_stat(&stat))) {
            return Err(gone());
        }
        let copy = stage.open(path).map_err(|errno| format!("the copy of {path} cannot be read: {errno}"))?;
        Ok(Self { path: path.into(), copy, original })
    }

    pub fn real(&self, below: &Path) -> PathBuf {
        if below.as_os_str().is_empty() { self.path.clone() } else { self.path.join(below) }
    }
}
