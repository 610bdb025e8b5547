//! What a running command takes of the machine, seen from outside of its sandbox.
use std::fs;

/// Resident memory of a process and of all below it, bytes. `None`: it cannot be seen, and whoever
/// cannot see must not go on.
pub fn memory_bytes(pid: u32) -> Option<u64> {
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let (mut sum, mut left, mut seen) = (0u64, vec![pid], 0u64);
    while let Some(pid) = left.pop() {
        seen = seen.saturating_add(1);
        // A process may have ended since it was listed.
        let Ok(sizes) = fs::read_to_string(format!("/proc/{pid}/statm")) else { continue };
        let pages = sizes.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
        sum = sum.saturating_add(pages.saturating_mul(page));
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            match fs::read_to_string(thread.path().join("children")) {
                Ok(children) => left.extend(children.split(' ').filter_map(|child| child.parse::<u32>().ok())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && thread.path().exists() => return None,
                Err(_) => {}
            }
        }
        if seen > 100_000 {
            return None;
        }
    }
    Some(sum)
}

/// Whether any process is this user's. Who cannot look says so.
pub fn has_processes(uid: u32) -> bool {
    let Ok(all) = fs::read_dir("/proc") else { return true };
    let uid = uid.to_string();
    // Who ends while it is looked at is none.
    let status = |entry: std::io::Result<fs::DirEntry>| fs::read_to_string(entry.ok()?.path().join("status")).ok();
    all.filter_map(status).any(|status| {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let has_ended = field("State:").is_some_and(|state| state.trim_start().starts_with(['Z', 'X']));
        !has_ended && field("Uid:").is_some_and(|ids| ids.split_whitespace().any(|id| id == uid))
    })
}

/// Memory that the machine could still give, bytes.
pub fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Free bytes for ordinary users on the disk of `path`, and files that can still be made there, where
/// the disk counts them.
pub fn free(path: &str) -> Option<(u64, Option<u64>)> {
    let disk = rustix::fs::statvfs(path).ok()?;
    let files = (disk.f_files > 0).then_some(disk.f_favail);
    Some((disk.f_bavail.saturating_mul(disk.f_frsize), files))
}
