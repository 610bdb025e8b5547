//! The second tier, where the machine gives no namespaces: a command held as a user that nobody else is, on copies,
//! by Landlock and a narrower list of system calls.
//!
//! No namespace ends its processes with it. This helper stays root, becomes the parent of whatever loses its own, and
//! ends every process of that user before and after: no program can make another user's process, so none is left.
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, geteuid, getpid, pidfd_open, set_child_subreaper, wait};

use crate::control::{self, Report};
use crate::helper::{Step, let_go_of_streams, step};
use crate::init::{become_command, ended, has_ended, keep_only};
use crate::limits::{ENDS, LOOK, LOOK_AT_REST};
use crate::profile::{Base, Profile};
use crate::program::Programs;
use crate::seccomp::{Calls, Filter};
use crate::{confine, raw};

pub fn run(base: &Base, profile: &Profile, control: &OwnedFd) -> Step<()> {
    let uid = base.uid.filter(|uid| *uid > 0 && geteuid().is_root());
    let uid = uid.ok_or("without namespaces a command needs `[sandbox] uid`, and a runtime that is root")?;
    set_child_subreaper(Some(getpid())).map_err(step("being the parent of all"))?;
    // What is left of one whose helper was killed.
    end_all(uid)?;
    let programs = Programs::open(&profile.found)?;
    let helper = pidfd_open(getpid(), PidfdFlags::empty()).map_err(step("a handle of itself"))?;
    let Some(command) = raw::fork().map_err(step("starting the command"))? else {
        let code = match prepare(base, profile, uid, &programs, control, &helper) {
            Ok(()) => become_command(profile, &programs),
            Err(why) => {
                control::report(control, &Report::Failed(why));
                1
            }
        };
        std::process::exit(code)
    };
    drop((programs, helper));
    let report = watch(control, command);
    // From here on it may have run: what fails is no word at all, and no "it did not run".
    if let (Ok(report), Ok(())) = (report, end_all(uid)) {
        control::report(control, &report);
    }
    Ok(())
}

fn prepare(
    base: &Base,
    profile: &Profile,
    uid: u32,
    programs: &Programs,
    control: &OwnedFd,
    helper: &OwnedFd,
) -> Step<()> {
    if has_ended(helper) {
        return Err("the helper is gone".into());
    }
    // Of all processes the kernel is to end these first.
    std::fs::write("/proc/self/oom_score_adj", "1000").map_err(step("/proc/self/oom_score_adj"))?;
    confine::limits(profile)?;
    keep_only(control, programs)?;
    let walls = confine::walls_of_user(base, profile)?;
    confine::close_capabilities().map_err(step("no capabilities"))?;
    confine::become_user(uid)?;
    confine::no_capabilities().map_err(step("no capabilities"))?;
    no_file_of_it_is_outside(profile, uid)?;
    confine::enforce(walls)?;
    Filter::of(Calls::User)?.apply()
}

/// What is this user's and can be reached can be given other permissions and times: Landlock does not speak of these.
fn no_file_of_it_is_outside(profile: &Profile, uid: u32) -> Step<()> {
    let is_within_reach =
        |path: &&String| rustix::fs::statat(CWD, path.as_str(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok();
    match profile.originals.iter().find(is_within_reach) {
        None => Ok(()),
        Some(path) => Err(format!(
            "{path} belongs to the user {uid}, whom commands become, and can be reached by it: without namespaces \
             give it to another user, or close a directory above it to others"
        )
        .into()),
    }
}

/// Until the command has ended, or the runtime says so or is gone.
fn watch(control: &OwnedFd, command: Pid) -> Result<Report, Errno> {
    let handle = pidfd_open(command, PidfdFlags::empty())?;
    let_go_of_streams()?;
    let look = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
    loop {
        // Of the runtime only its end. What has lost its parent ends here, and is counted until it is buried.
        let mut both = [PollFd::new(control, PollFlags::empty()), PollFd::new(&handle, PollFlags::IN)];
        match poll(&mut both, Some(&look)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_over = both.first().is_some_and(|runtime| !runtime.revents().is_empty());
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == command {
                return Ok(ended(status));
            }
        }
        if is_over {
            return Ok(Report::Signalled(libc::SIGKILL));
        }
    }
}

/// Ends every process of this user, and returns when none of those that are this one's children is left. The kernel
/// sends the one signal to all of them while none can be made.
fn end_all(uid: u32) -> Step<()> {
    let until = Instant::now() + ENDS;
    loop {
        let Some(killer) = raw::fork().map_err(step("ending what is left"))? else {
            let became = confine::become_user(uid).is_ok();
            std::process::exit(i32::from(!(became && raw::signal_all(libc::SIGKILL).is_ok())));
        };
        let mut was_sent = false;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => was_sent |= pid == killer && status.exit_status() == Some(0),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_AT_REST),
                Ok(None) => return Err("what a command left running could not be ended".into()),
                Err(Errno::CHILD) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(format!("ending what is left: {errno}").into()),
            }
        }
        if was_sent {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err("nothing can be sent to what a command left running".into());
        }
    }
}
