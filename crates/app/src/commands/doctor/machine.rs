//! What a home needs of the machine below it: rights, room, the kernel's help, a port, a clock.
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use backstay_store::Options;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{Finding, bad, good, notice};
use crate::config;
use crate::home;
use crate::limits::{CLOCK_MS_MIN, ROOM_BYTES_SMALL};
use crate::time;

/// Bytes in a mebibyte.
const MIB: u64 = 1024 * 1024;

pub fn modes(home: &Path) -> Finding {
    let open: Vec<String> = [".", config::FILE, home::STATE]
        .into_iter()
        .filter(|name| std::fs::metadata(home.join(name)).is_ok_and(|found| found.permissions().mode() & 0o077 != 0))
        .map(str::to_owned)
        .collect();
    if open.is_empty() {
        return good("modes", "only the owner can read the home");
    }
    let next = format!("chmod -R go= {}", home::quoted(home));
    bad("modes", format!("others can reach: {}", open.join(", ")), next)
}

pub fn room(home: &Path) -> Finding {
    let free = match rustix::fs::statvfs(home) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return bad("room", format!("the disk cannot be asked: {error}"), "check the disk"),
    };
    let (detail, next) =
        (format!("{} MiB free", free / MIB), format!("make room on the disk of {}", home::quoted(home)));
    if free < Options::default().free_bytes_min {
        return bad("room", format!("{detail}: new sessions and messages are refused"), next);
    }
    if free < ROOM_BYTES_SMALL { notice("room", detail, next) } else { good("room", detail) }
}

/// The file tools walk by `openat2` alone: without it no path is safe, and none is opened.
pub fn system(home: &Path) -> Finding {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = format!("Linux {}", release.trim());
    let walked = rustix::fs::open(home, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).and_then(|home| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat2(&home, ".", flags, Mode::empty(), ResolveFlags::BENEATH)
    });
    match walked {
        Ok(_) => good("system", format!("{release}, openat2 works")),
        Err(error) => {
            let next = "use Linux 5.6 or later, in a container whose seccomp profile lets openat2 pass";
            bad("system", format!("{release}: openat2 fails ({error}), and no file tool works without it"), next)
        }
    }
}

/// Whether `serve` could listen.
pub fn port(listen: SocketAddr) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => good("port", format!("{listen} can be listened on")),
        Err(error) => {
            let next = "stop what listens there, or change [server] listen in backstay.toml (port 0 takes a free one)";
            bad("port", format!("{listen}: {error}"), next)
        }
    }
}

/// Budgets, expiries and backoffs are points in time: a clock that was set back makes them wait.
pub fn clock(latest_ms: u64, now_ms: u64) -> Finding {
    let now = time::stamp(now_ms);
    if now_ms < CLOCK_MS_MIN {
        return bad("clock", format!("it says {now}"), "set the clock of this machine");
    }
    if now_ms < latest_ms {
        let detail = format!("it says {now}, and the journal was written at {}", time::stamp(latest_ms));
        return bad("clock", detail, "set the clock of this machine, or wait until it has caught up");
    }
    good("clock", now)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_found() {
        let now = CLOCK_MS_MIN + 10;
        assert_eq!(clock(now, now).verdict, Verdict::Good);
        assert_eq!(clock(now + 1, now).verdict, Verdict::Bad);
        assert_eq!(clock(0, 1).verdict, Verdict::Bad);
    }
}
