//! Tells two states of one file apart.
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

/// Device, inode, size and both times to the nanosecond. The change time is the kernel's own: no command sets it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Mark(u64, u64, u64, i64, i64, i64, i64);

/// What tells two things apart that are there.
pub type Id = (u64, u64);

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
        self.id() == other.id()
    }

    /// The device and the inode.
    pub fn id(self) -> Id {
        (self.0, self.1)
    }
}
