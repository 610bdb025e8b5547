//! The first process of the sandbox: makes the root, gives everything up, starts the one command and
//! buries what it leaves behind.
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open, set_dumpable_behavior,
    set_parent_process_death_signal, setsid, wait,
};

use crate::control::{self, Given, Order, Report};
use crate::helper::{Step, let_go_of_streams, step, take_stdin};
use crate::limits::{LOOK_AT_REST, REST};
use crate::profile::{Base, Profile, Work};
use crate::program::Programs;
use crate::root::Root;
use crate::seccomp::{Calls, Filter};
use crate::{confine, exit, list, probe, raw};

/// What shells say of a command that cannot be started, and of one that is not there.
pub const NOT_STARTED: i32 = 126;
pub const NOT_FOUND: i32 = 127;

pub fn run(base: &Base, trees: Option<Vec<OwnedFd>>, filter: Filter, control: &OwnedFd, helper: &OwnedFd) -> ! {
    let report =
        begin(base, trees, helper).and_then(|root| prepare(root, filter, control)).and_then(|(profile, programs)| {
            match &profile.work {
                Work::Commands(_) | Work::Probe(_) => command(&profile, &programs),
                Work::Server { .. } => server(&profile, &programs, control),
            }
        });
    control::report(control, &report.unwrap_or_else(Report::Failed));
    if end_all().is_ok() {
        control::report(control, &Report::Gone);
    }
    std::process::exit(0)
}

/// The kernel ends with this process whatever the command has left behind, but takes its time until it says so: it takes
/// the sandbox down first.
fn end_all() -> Result<(), Errno> {
    raw::signal_all(libc::SIGKILL)?;
    loop {
        match wait(WaitOptions::empty()) {
            Err(Errno::CHILD) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// What every command has.
fn begin(base: &Base, trees: Option<Vec<OwnedFd>>, helper: &OwnedFd) -> Step<Root> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("dying with the helper"))?;
    if has_ended(helper) {
        return Err("the helper is gone".into());
    }
    let root = Root::begin(base, trees)?;
    confine::close_capabilities().map_err(step("no capabilities"))?;
    Ok(root)
}

/// Waits for a profile, and makes what it says.
fn prepare(root: Root, filter: Filter, control: &OwnedFd) -> Step<(Profile, Programs)> {
    let Given { said: profile, stdin, trees } =
        control::receive_profile(control).map_err(step("reading the profile"))?;
    take_stdin(stdin).map_err(step("a stdin"))?;
    if profile.certificates.is_some() {
        exit::open(control)?;
    }
    root.finish(&profile, trees)?;
    let programs = Programs::open(&profile.found)?;
    confine::limits(&profile)?;
    confine::no_capabilities().map_err(step("no capabilities"))?;
    keep_only(control, &programs)?;
    confine::landlock(&profile)?;
    let calls = match &profile.work {
        Work::Server { .. } => Calls::Server,
        Work::Commands(_) | Work::Probe(_) if profile.certificates.is_some() => Calls::CommandWithExit,
        Work::Commands(_) | Work::Probe(_) => Calls::Command,
    };
    filter.or(calls)?.apply()?;
    // The command is the same user in the same namespace: it may not look into this process.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("a closed process"))?;
    Ok((profile, programs))
}

/// Its number means nothing in here; its handle does.
pub fn has_ended(helper: &OwnedFd) -> bool {
    let mut one = [PollFd::new(helper, PollFlags::IN)];
    !matches!(poll(&mut one, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
}

/// Closes every descriptor but stdin, stdout, stderr, the programs, and the control socket, which is the lowest of
/// the others since it was made first.
pub fn keep_only(control: &OwnedFd, programs: &Programs) -> Step<()> {
    let number = u32::try_from(control.as_raw_fd()).map_err(step("the control socket"))?;
    if number != 3 {
        return Err(format!("the control socket is descriptor {number}, not 3").into());
    }
    programs.keep_only(number.saturating_add(1))
}

fn command(profile: &Profile, programs: &Programs) -> Step<Report> {
    let Some(child) = raw::fork().map_err(step("starting the command"))? else {
        std::process::exit(become_command(profile, programs));
    };
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return Ok(ended(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("waiting for the command: {error}").into()),
        }
    }
}

/// The same for a command that stays and is told when to work. When it has ended, so has all that it left behind.
fn server(profile: &Profile, programs: &Programs, control: &OwnedFd) -> Step<Report> {
    let Some(child) = raw::fork().map_err(step("starting the server"))? else {
        std::process::exit(become_command(profile, programs));
    };
    // Its pipes are its own: where it closes them, the runtime sees their end.
    let_go_of_streams().map_err(step("letting go of the pipes"))?;
    let handle = pidfd_open(child, PidfdFlags::empty()).map_err(step("a handle of the server"))?;
    loop {
        let mut both = [PollFd::new(control, PollFlags::IN), PollFd::new(&handle, PollFlags::IN)];
        match poll(&mut both, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("waiting for the server: {error}").into()),
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == child {
                return Ok(ended(status));
            }
        }
        if let Some(order) = control::take_order(control) {
            match order {
                Order::Rest => stop_all()?,
                Order::Work => raw::signal_all(libc::SIGCONT).map_err(step("waking the server"))?,
            }
            control::report(control, &Report::Obeyed);
        }
    }
}

/// Returns when none of the others computes any more. One that is at a system call stops behind it; and one that is
/// about to end may, by ending, wake those of its group, so that all are stopped again until none is left to do so.
fn stop_all() -> Step<()> {
    let until = Instant::now() + REST;
    loop {
        // To all but this one, also to those that are being made.
        raw::signal_all(libc::SIGSTOP).map_err(step("stopping the server"))?;
        if all_rest().map_err(step("looking whether the server rests"))? {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err("it did not come to rest".into());
        }
        std::thread::sleep(LOOK_AT_REST);
    }
}

/// Every thread of every other process is stopped or has ended. What cannot be looked at is neither.
fn all_rest() -> std::io::Result<bool> {
    let own = std::process::id().to_string();
    for process in std::fs::read_dir("/proc")? {
        let process = process?;
        let name = process.file_name();
        if name.to_str().is_none_or(|name| name == own || !name.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        let Some(threads) = unless_ended(std::fs::read_dir(process.path().join("task")))? else { continue };
        for thread in threads {
            let Some(thread) = unless_ended(thread)? else { continue };
            let Some(stat) = unless_ended(std::fs::read_to_string(thread.path().join("stat")))? else { continue };
            let state = stat.rsplit(')').next().unwrap_or_default().trim_start().bytes().next();
            if !matches!(state, Some(b'T' | b'Z' | b'X')) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Who ends while it is looked at rests.
fn unless_ended<T>(found: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::SRCH)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn ended(status: WaitStatus) -> Report {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Report::Exited(code),
        (None, Some(signal)) => Report::Signalled(signal),
        (None, None) => Report::Failed("the command neither ended nor was ended".into()),
    }
}

pub fn become_command(profile: &Profile, programs: &Programs) -> i32 {
    // The descriptors of the other process are not this one's.
    let free = set_parent_process_death_signal(None).and(setsid().map(|_: Pid| ()));
    if let Err(error) = free.map_err(step("a session of its own")).and_then(|()| programs.keep_only(3)) {
        eprintln!("the command was not started: {error}");
        return NOT_STARTED;
    }
    if let Err(error) = std::env::set_current_dir(&profile.cwd) {
        eprintln!("{}: {error}", profile.cwd);
        return NOT_STARTED;
    }
    let argv = match &profile.work {
        Work::Probe(targets) => return probe::attempt(targets),
        Work::Commands(commands) => match commands.as_slice() {
            [alone] if alone.redirects.is_empty() && alone.variables.is_empty() => &alone.argv,
            joined => return list::run(joined, programs, &profile.environment),
        },
        Work::Server { argv } => argv,
    };
    programs.become_one(argv, &profile.environment)
}
