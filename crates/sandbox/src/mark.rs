//! Tells two states of one file apart.
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{AtFlags, Stat, StatxFlags, statx};
use serde::{Deserialize, Serialize};

/// Device, inode, size and both times to the nanosecond. The change time is the kernel's own: no command sets it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Mark(u64, u64, u64, i64, i64, i64, i64);

impl Mark {
    pub fn of(stat: &Metadata) -> Self {
        Self(stat.dev(), stat.ino(), stat.size(), stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec())
    }

    pub fn of_stat(stat: &Stat) -> Self {
        let nanoseconds = |of: u64| i64::try_from(of).unwrap_or_default();
        Self(
            stat.st_dev,
            stat.st_ino,
            u64::try_from(stat.st_size).unwrap_or_default(),
            stat.st_mtime,
            nanoseconds(stat.st_mtime_nsec),
            stat.st_ctime,
            nanoseconds(stat.st_ctime_nsec),
        )
    }

    pub fn size(self) -> u64 {
        self.2
    }

    /// Whether it is the same thing, whatever is in it now.
    pub fn is_of(self, other: Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

/// What something keeps wherever it is moved: device, inode, and when it was made, since many file systems give the
/// inode of what was deleted to the next that is made. Where one does not say when, the first two alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Id(u64, u64, i64, u32);

impl Id {
    pub fn of(at: impl AsFd, name: &OsStr, stat: &Stat) -> Self {
        let found = statx(at, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME).ok();
        let made = found.filter(|found| StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME));
        let (seconds, nanoseconds) = made.map_or((0, 0), |made| (made.stx_btime.tv_sec, made.stx_btime.tv_nsec));
        Self(stat.st_dev, stat.st_ino, seconds, nanoseconds)
    }
}
