//! Attempts to get out, made from inside of a finished sandbox by this binary itself: what holds is
//! what was tried, not what the kernel claims to offer.
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Resource, getrlimit, getuid, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::limits::{FILES_MAX, PROCESSES_MAX, TMP_BYTES};
use crate::raw;

/// Things outside that the attempts are aimed at; each is real, and would be hit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Targets {
    /// A file outside of what is granted.
    pub outside: String,
    /// A file with a protected name, inside.
    pub sealed: String,
    /// A writable directory, inside.
    pub written: String,
    pub address: SocketAddr,
    pub socket: String,
    pub process: i32,
}

/// The last line of a probe that came to its end.
pub const COMPLETE: &str = "complete";

/// Tells on stdout what could be done, one escape a line, and at the end that all were tried.
pub fn attempt(targets: &Targets) -> i32 {
    for escape in files(targets).into_iter().chain(system(targets)).chain(numbers()) {
        println!("{escape}");
    }
    println!("{COMPLETE}");
    0
}

fn files(targets: &Targets) -> Vec<String> {
    let outside = Path::new(&targets.outside);
    let sealed = Path::new(&targets.sealed);
    let beside = outside.with_extension("new");
    let away = sealed.with_extension("away");
    let directory = sealed.parent().unwrap_or(sealed);
    let through = format!("/proc/1/root{}", targets.outside);
    let mut escapes = Vec::new();
    let mut tried = |what: &str, done: bool| {
        if done {
            escapes.push(what.to_owned());
        }
    };
    tried("reads outside", fs::read(outside).is_ok());
    tried("reads outside through /proc", fs::read(through).is_ok());
    // These may succeed in a `/tmp` of the command's own: whoever stands outside looks.
    let _ = fs::write(beside, b"x").and(fs::write(outside, b"x"));
    tried("writes to the root", fs::write("/new", b"x").is_ok());
    tried("writes to the system", fs::write("/usr/new", b"x").is_ok() || fs::write("/dev/new", b"x").is_ok());
    tried("changes a protected file", fs::write(sealed, b"x").is_ok());
    tried("renames a protected file", fs::rename(sealed, &away).is_ok());
    tried("replaces a protected directory", fs::rename(directory, directory.with_extension("away")).is_ok());
    tried("does not write where it may", fs::write(Path::new(&targets.written).join("new"), b"x").is_err());
    escapes
}

fn system(targets: &Targets) -> Vec<String> {
    let mut escapes = Vec::new();
    if TcpStream::connect(targets.address).is_ok() {
        escapes.push("connects to the network".to_owned());
    }
    if UnixStream::connect(&targets.socket).is_ok() {
        escapes.push("connects to a socket outside".to_owned());
    }
    if socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).is_ok() {
        escapes.push("has a socket that sends elsewhere".to_owned());
    }
    if Pid::from_raw(targets.process).is_some_and(|pid| test_kill_process(pid).is_ok()) {
        escapes.push("signals a process outside".to_owned());
    }
    for (name, number) in raw::REFUSED {
        if raw::bare_call(*number) != Some(Errno::PERM) {
            escapes.push(format!("may call {name}"));
        }
    }
    escapes
}

fn numbers() -> Vec<String> {
    let mut escapes = Vec::new();
    if getuid().is_root() {
        escapes.push("is root".to_owned());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        if field(name).is_none_or(|set| set.chars().any(|digit| digit != '0')) {
            escapes.push(format!("has capabilities ({name})"));
        }
    }
    if field("NoNewPrivs") != Some("1") || field("Seccomp") != Some("2") {
        escapes.push("has no filter".to_owned());
    }
    for (resource, most) in [(Resource::Nproc, PROCESSES_MAX), (Resource::Nofile, FILES_MAX), (Resource::Core, 1)] {
        if getrlimit(resource).maximum.is_none_or(|limit| limit > most) {
            escapes.push(format!("has no limit ({resource:?})"));
        }
    }
    if rustix::fs::statvfs("/tmp").map_or(u64::MAX, |tmp| tmp.f_blocks.saturating_mul(tmp.f_frsize)) > TMP_BYTES {
        escapes.push("has a /tmp without end".to_owned());
    }
    // Standard streams, and the directory that is being read.
    if fs::read_dir("/proc/self/fd").map_or(usize::MAX, Iterator::count) > 4 {
        escapes.push("was left descriptors".to_owned());
    }
    escapes
}
