//! What no grant covers, by whatever name it is reached: the files of the home itself, and those by
//! which the system shows its processes. A path does not tell them: a hard link is a second name, and
//! a bind mount makes any. Device and inode do.
use std::os::fd::{AsFd, OwnedFd};

use backstay_kernel::facts::Invalid;
use rustix::fs::{AtFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, stat, statat};
use rustix::io::Errno;

use crate::list::entries;
use crate::open;
use crate::prepare::Refused;
use crate::text::plain;

/// Devices and inodes of a home and of what lies in it beside the workspace, as they are now.
#[derive(Debug, Default)]
pub struct Own(Vec<(u64, u64)>);

impl Own {
    pub fn of(home: &OwnedFd, workspace: &str) -> Result<Self, Errno> {
        let workspace = identity(&stat(workspace)?);
        let mut own = vec![identity(&fstat(home)?)];
        for name in entries(home)?.names {
            // A link's target is meant. What is gone, or leads nowhere, can be opened by no name.
            if let Ok(stat) = statat(home, name, AtFlags::empty())
                && identity(&stat) != workspace
            {
                own.push(identity(&stat));
            }
        }
        Ok(Self(own))
    }

    /// # Errors
    /// What was opened is the home's, or in procfs, where the environment holds the providers' keys.
    pub fn refuse(&self, fd: impl AsFd, path: &str) -> Result<(), Refused> {
        let stat = open::stat(fd.as_fd(), path)?;
        let system = fstatfs(fd.as_fd()).map_err(|errno| open::refused(errno, path))?;
        let what = if self.0.contains(&identity(&stat)) {
            "the home's own"
        } else if system.f_type == PROC_SUPER_MAGIC {
            "in procfs"
        } else {
            return Ok(());
        };
        let detail = format!("`{}` is {what}, which no grant covers", plain(path));
        Err(Refused::new(Invalid::OutsideGrants, detail))
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
