//! The helper: this binary, started again with one hidden argument. It goes down a fixed list of
//! steps, none of which may fail, and ends with its command.
//!
//! The order is the point; each step answers an escape or a failure that was seen without it.
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, getegid, geteuid, getpid, getppid, pidfd_open,
    pidfd_send_signal, set_dumpable_behavior, set_parent_process_death_signal, setsid, waitpid,
};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::control::{self, Given, Report};
use crate::init;
use crate::profile::{Base, Profile, Walls};
use crate::seccomp::{Calls, Filter};
use crate::{confine, raw, user};

/// The argument by which the binary knows that it is the helper; no person types it.
pub const ARGUMENT: &str = "__sandbox";

pub const NO_USER: &str = "the runtime runs as root: set `[sandbox] uid` to a user that owns nothing else";

/// Whom the command is inside: nobody of the machine, and not its root.
const INNER_ID: u32 = 1000;

pub type Step<T> = Result<T, Unmade>;

/// A step that failed: nothing was run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{why}")]
pub struct Unmade {
    pub why: String,
    /// The machine gives namespaces to nobody like this process, now and later.
    pub is_refused: bool,
}

impl From<String> for Unmade {
    fn from(why: String) -> Self {
        Self { why, is_refused: false }
    }
}

impl From<&str> for Unmade {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

pub fn step<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Unmade {
    move |error| format!("{what}: {error}").into()
}

/// The same of what only namespaces give.
pub fn wall(what: &str) -> impl FnOnce(Errno) -> Unmade {
    move |errno| Unmade {
        why: format!("{what}: {errno}"),
        is_refused: matches!(errno, Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::INVAL),
    }
}

/// Runs the helper; its caller has started nothing before: no thread, no runtime.
#[must_use]
pub fn main() -> ExitCode {
    // Whatever the runtime's own parent forgot to close; the control socket is to be the lowest.
    if raw::close_but(3, &[]).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(control) = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3) else { return ExitCode::FAILURE };
    match begin(&control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            control::report(&control, &Report::Failed(why));
            ExitCode::FAILURE
        }
    }
}

fn begin(control: &OwnedFd) -> Step<()> {
    raw::reset_signals();
    setsid().map_err(step("a session of its own"))?;
    let Given { said: base, stdin: _, trees } =
        control::receive_base(control).map_err(step("reading what it is for"))?;
    match base.walls {
        Walls::Namespaces => in_namespaces(control, &base, trees),
        // It ends with the runtime as well, but not before it has ended the command.
        Walls::User => {
            let Given { said: profile, stdin, trees: _ } =
                control::receive_profile(control).map_err(step("reading the profile"))?;
            parent_is_there(&profile)?;
            take_stdin(stdin).map_err(step("a stdin"))?;
            user::run(&base, &profile, control)
        }
    }
}

/// All but what one command is granted is made before there is a profile.
fn in_namespaces(control: &OwnedFd, base: &Base, trees: Option<Vec<OwnedFd>>) -> Step<()> {
    if geteuid().is_root() {
        become_nobody(base.uid)?;
    }
    own_user_namespace()?;
    let rest = UnshareFlags::NEWNET
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    raw::unshare(rest).map_err(wall("namespaces"))?;
    // Of a runtime that was gone before there is no signal: its end of the control socket says it.
    die_with_parent()?;
    let filter = Filter::of(Calls::Command)?;
    let helper = pidfd_open(getpid(), PidfdFlags::empty()).map_err(step("a handle of itself"))?;
    match raw::fork().map_err(step("the first process of the sandbox"))? {
        None => init::run(base, trees, filter, control, &helper),
        Some(init) => {
            drop((helper, filter, trees));
            watch(control.as_fd(), init).map_err(step("watching the sandbox"))?;
            control::report(control, &Report::Gone);
            Ok(())
        }
    }
}

/// The signal follows the thread that started this process: a parent that is gone already sends none.
fn die_with_parent() -> Step<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("dying with the runtime"))
}

fn parent_is_there(profile: &Profile) -> Step<()> {
    let parent = getppid().map_or(0, Pid::as_raw_pid);
    if parent != profile.parent {
        return Err("the runtime is gone".into());
    }
    Ok(())
}

/// What the runtime gave, or nothing.
pub fn take_stdin(given: Option<OwnedFd>) -> Result<(), Errno> {
    let null = || open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    rustix::stdio::dup2_stdin(&given.map_or_else(null, Ok)?)
}

/// Root outside would own everything that is not mapped inside.
fn become_nobody(uid: Option<u32>) -> Step<()> {
    let uid = uid.filter(|uid| *uid > 0).ok_or(NO_USER)?;
    confine::become_user(uid)?;
    // A change of user takes a process its own files in /proc, where the next step writes.
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(step("its own files in /proc"))
}

fn own_user_namespace() -> Step<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    raw::unshare(UnshareFlags::NEWUSER).map_err(wall("a user namespace"))?;
    let write =
        |path: &str, text: String| std::fs::write(path, text).map_err(step(&format!("a user namespace: {path}")));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/gid_map", format!("{INNER_ID} {group} 1"))?;
    write("/proc/self/uid_map", format!("{INNER_ID} {user} 1"))?;
    // Of all processes the kernel is to end this tree first.
    write("/proc/self/oom_score_adj", "1000".to_owned())
}

/// Waits for the first process of the sandbox, and ends it when the runtime says so or is gone. When
/// this returns, no process of the sandbox is left: the kernel ends a namespace with its first.
fn watch(control: BorrowedFd<'_>, init: Pid) -> Result<(), Errno> {
    let handle = pidfd_open(init, PidfdFlags::empty())?;
    let_go_of_streams()?;
    loop {
        // Of the runtime only its end: what it says is for the first process.
        let mut both = [PollFd::new(&control, PollFlags::empty()), PollFd::new(&handle, PollFlags::IN)];
        match poll(&mut both, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let [runtime, ended] = both.map(|one| !one.revents().is_empty());
        if runtime && !ended {
            let _ = pidfd_send_signal(&handle, Signal::KILL);
        }
        if runtime || ended {
            waitpid(Some(init), WaitOptions::empty())?;
            return Ok(());
        }
    }
}

/// The command's pipes are held by the command alone.
pub fn let_go_of_streams() -> Result<(), Errno> {
    let null = File::open("/dev/null").map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}
