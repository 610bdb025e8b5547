//! File systems on which SQLite's locks, shared memory or flushes do not hold.
use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock, statfs};

use crate::error::StoreError;

const NO_SHARED_MEMORY: &str = "locks and shared memory do not hold between machines";
const NO_FLUSH: &str = "neither locks nor flushes are known to reach the disk";

/// Magic numbers of statfs(2), from linux/magic.h.
const UNSAFE: [(u32, &str, &str); 11] = [
    (0x6969, "nfs", NO_SHARED_MEMORY),
    (0x517B, "smb", NO_SHARED_MEMORY),
    (0xFE53_4D42, "smb2", NO_SHARED_MEMORY),
    (0xFF53_4D42, "cifs", NO_SHARED_MEMORY),
    (0x7375_7245, "coda", NO_SHARED_MEMORY),
    (0x5346_414F, "afs", NO_SHARED_MEMORY),
    (0x00C3_6400, "ceph", NO_SHARED_MEMORY),
    (0x0BD0_0BD0, "lustre", NO_SHARED_MEMORY),
    (0x6573_5546, "fuse", NO_FLUSH),
    (0x0102_1997, "9p", NO_FLUSH),
    (0x786F_4256, "vboxsf", NO_FLUSH),
];
const OVERLAY: u32 = 0x794C_7630;

/// Refuses what `directory` lies on, if need be; `locked` is a file that this process has locked.
pub fn check(directory: &Path, locked: &Path) -> Result<(), StoreError> {
    let found = statfs(directory).map_err(|e| StoreError::io(directory, e))?;
    let magic = u32::try_from(i128::from(found.f_type) & 0xFFFF_FFFF).unwrap_or(0);
    let refuse = |name, why| Err(StoreError::UnsafeFs { path: directory.to_owned(), name, why });
    if let Some((_, name, why)) = unsafe_kind(magic) {
        return refuse(name, why);
    }
    // A container's overlay is as good as the disk below it, if its locks are real.
    if magic == OVERLAY {
        let second = File::open(locked).map_err(|e| StoreError::io(locked, e))?;
        if flock(&second, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return refuse("overlay", "locks do not hold here");
        }
    }
    Ok(())
}

fn unsafe_kind(magic: u32) -> Option<(u32, &'static str, &'static str)> {
    UNSAFE.into_iter().find(|(known, _, _)| *known == magic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_user_space_file_systems_are_refused_and_local_ones_are_not() {
        for magic in [0x6969, 0xFF53_4D42, 0x6573_5546, 0x0102_1997] {
            assert!(unsafe_kind(magic).is_some(), "{magic:x}");
        }
        // ext4, xfs, btrfs, tmpfs, zfs
        for magic in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x2FC1_2FC1] {
            assert!(unsafe_kind(magic).is_none(), "{magic:x}");
        }
    }
}
