//! Tells two states of one file apart.
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// Device, inode, size and both times to the nanosecond. The change time is the kernel's own: no command sets it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Mark(u64, u64, u64, i64, i64, i64, i64);

impl Mark {
    pub fn of(stat: &Metadata) -> Self {
        Self(stat.dev(), stat.ino(), stat.size(), stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec())
    }
}
