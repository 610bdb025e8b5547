//! Parts of the machine, cut loose: a mount that hangs nowhere yet, and that nothing can widen again.
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::profile::{Access, Bind};
use crate::raw;

pub struct Tree {
    pub bind: Bind,
    mount: OwnedFd,
    pub is_directory: bool,
}

impl Tree {
    /// Taken while the machine's own root is still there.
    pub fn cut(bind: &Bind) -> Result<Self, Errno> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        // Other agents may write above it, and put a link in its way.
        let flag = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let real = openat2(CWD, &bind.from, flag, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
        let mount = open_tree(&real, "", flags)?;
        let stat = rustix::fs::fstat(&mount)?;
        let is_directory = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory;
        let mut set = libc::MOUNT_ATTR_NOSUID;
        if bind.access != Access::Device {
            set |= libc::MOUNT_ATTR_NODEV;
        }
        if bind.access != Access::ReadWrite {
            set |= libc::MOUNT_ATTR_RDONLY;
        }
        if !bind.execute {
            set |= libc::MOUNT_ATTR_NOEXEC;
        }
        // Whatever is mounted below is restricted with it.
        raw::restrict_mount(mount.as_fd(), set, true)?;
        Ok(Self { bind: bind.clone(), mount, is_directory })
    }

    pub fn hang(&self, at: &str) -> Result<(), Errno> {
        move_mount(&self.mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    }
}
