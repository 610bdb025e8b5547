//! Attempts to get out, made from inside of a finished sandbox by this binary itself: what holds is
//! what was tried, not what the kernel claims to offer.
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Resource, getrlimit, getuid, prlimit, setsid, test_kill_process};
use rustix::thread::{
    CapabilitySet, CapabilitySets, SecureComputingMode, capabilities, capability_is_in_ambient_set,
    capability_is_in_bounding_set, no_new_privs, secure_computing_mode,
};
use serde::{Deserialize, Serialize};

use crate::limits::{FILES_MAX, PROCESSES_MAX, TMP_BYTES};
use crate::raw;
use crate::test::Tier;

/// Things outside that the attempts are aimed at; each is real, and would be hit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Targets {
    pub tier: Tier,
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

/// Longer than anybody waits for a test.
const STAYS: Duration = Duration::from_secs(600);
/// The last line of a probe that came to its end.
pub const COMPLETE: &str = "complete";

/// Tells on stdout what could be done, one escape a line, and at the end that all were tried.
pub fn attempt(targets: &Targets) -> i32 {
    for escape in files(targets).into_iter().chain(system(targets)).chain(numbers(targets.tier)) {
        println!("{escape}");
    }
    if targets.tier == Tier::Copy {
        others(targets).iter().for_each(|escape| println!("{escape}"));
        leave_somebody_behind();
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

/// What only namespaces would hide.
fn others(targets: &Targets) -> Vec<String> {
    let mut escapes = Vec::new();
    for file in ["cmdline", "environ", "status"] {
        if fs::read(format!("/proc/{}/{file}", targets.process)).is_ok() {
            escapes.push(format!("reads {file} of a process outside"));
        }
    }
    let outside = Pid::from_raw(targets.process);
    if prlimit(outside, Resource::Nofile, getrlimit(Resource::Nofile)).is_ok() {
        escapes.push("limits a process outside".to_owned());
    }
    if fs::set_permissions(&targets.outside, fs::Permissions::from_mode(0o600)).is_ok() {
        escapes.push("gives a file outside other permissions".to_owned());
    }
    if fs::read_dir("/").is_ok() || fs::read_dir("/etc").is_ok() {
        escapes.push("lists directories outside".to_owned());
    }
    for (name, number) in raw::REFUSED_TO_A_USER {
        if raw::bare_call(*number) != Some(Errno::PERM) {
            escapes.push(format!("may call {name}"));
        }
    }
    escapes
}

/// A process whose parents are gone, in a session of its own: whoever stands outside looks whether it is still there.
fn leave_somebody_behind() {
    if let Ok(None) = raw::fork() {
        let _ = setsid();
        if let Ok(None) = raw::fork() {
            std::thread::sleep(STAYS);
        }
        std::process::exit(0);
    }
}

fn numbers(tier: Tier) -> Vec<String> {
    let mut escapes = Vec::new();
    if getuid().is_root() {
        escapes.push("is root".to_owned());
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    let may_have = |bit| {
        let one = CapabilitySet::from_bits_retain(1u64 << bit);
        capability_is_in_bounding_set(one) == Ok(true) || capability_is_in_ambient_set(one) == Ok(true)
    };
    if capabilities(None) != Ok(sets) || (0..64).any(may_have) {
        escapes.push("has capabilities".to_owned());
    }
    if no_new_privs() != Ok(true) || secure_computing_mode() != Ok(SecureComputingMode::Filter) {
        escapes.push("has no filter".to_owned());
    }
    for (resource, most) in [(Resource::Nproc, PROCESSES_MAX), (Resource::Nofile, FILES_MAX), (Resource::Core, 1)] {
        if getrlimit(resource).maximum.is_none_or(|limit| limit > most) {
            escapes.push(format!("has no limit ({resource:?})"));
        }
    }
    if tier == Tier::Full
        && rustix::fs::statvfs("/tmp").map_or(u64::MAX, |tmp| tmp.f_blocks.saturating_mul(tmp.f_frsize)) > TMP_BYTES
    {
        escapes.push("has a /tmp without end".to_owned());
    }
    if (3..i32::try_from(FILES_MAX).unwrap_or(i32::MAX)).any(raw::is_open) {
        escapes.push("was left descriptors".to_owned());
    }
    escapes
}
