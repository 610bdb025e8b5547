//! Which process holds a home's lock, as the kernel lists locks. Only for words: nothing is
//! decided by it, and where the kernel does not say, nobody is named.
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::limits::HOLDER_CHARS_MAX;
use crate::print::short;

/// The file whose lock is the home's.
const LOCK: &str = "state.lock";
const LOCKS: &str = "/proc/locks";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    pub pid: u32,
    /// As it was started; empty where this user may not know.
    command: String,
}

impl Holder {
    #[must_use]
    pub fn of(home: &Path) -> Option<Self> {
        let inode = fs::metadata(home.join(LOCK)).ok()?.ino();
        let pid = pid_in(&fs::read_to_string(LOCKS).ok()?, inode)?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        Some(Self { pid, command: short(words.join(" ").trim(), HOLDER_CHARS_MAX) })
    }

    /// `process 7 (backstay serve)`, or `another process`.
    #[must_use]
    pub fn words(home: &Path) -> String {
        Self::of(home).map_or_else(|| "another process".to_owned(), |holder| holder.to_string())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if self.command.is_empty() { Ok(()) } else { write!(f, " ({})", self.command) }
    }
}

/// Of `3: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`: the one that holds, not one that waits
/// (`3: -> …`). A process of another container has no number here.
fn pid_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let [kind, _, access, pid, file] = std::array::from_fn(|_| words.next().unwrap_or_default());
        let is_it = kind == "FLOCK" && access == "WRITE" && file.rsplit(':').next()?.parse() == Ok(inode);
        if is_it { pid.parse().ok().filter(|pid| *pid > 0) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::pid_in;

    #[test]
    fn the_holder_is_the_one_that_does_not_wait() {
        let locks = "1: POSIX  ADVISORY  WRITE 9 fe:00:5678 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 8 fe:00:5678 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 7 fe:00:5678 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 fe:00:99 0 EOF\n";
        assert_eq!(pid_in(locks, 5678), Some(7));
        assert_eq!(pid_in(locks, 99), None);
        assert_eq!(pid_in(locks, 1), None);
    }
}
