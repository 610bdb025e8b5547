//! Parts of the machine, cut loose: a mount that hangs nowhere yet, and that nothing can widen again.
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::helper::{Step, wall};
use crate::profile::{Access, Bind};
use crate::raw;

/// Taken while the machine's own root is still there.
pub fn cut(bind: &Bind) -> Step<OwnedFd> {
    cut_loose(bind).map_err(wall(&format!("granting {}", bind.from)))
}

fn cut_loose(bind: &Bind) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    // Other agents may write above it, and put a link in its way.
    let flag = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let real = openat2(CWD, &bind.from, flag, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let tree = open_tree(&real, "", flags)?;
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
    raw::restrict_tree(tree.as_fd(), set)?;
    Ok(tree)
}

pub fn is_directory(tree: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(tree)?.st_mode) == FileType::Directory)
}

pub fn hang(tree: &OwnedFd, at: &str) -> Result<(), Errno> {
    move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
