//! Runs one command in a sandbox of its own, watches it, and says how it ended.
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::clip::Clip;
use crate::control::{self, Report};
use crate::exit::Exit;
use crate::guard::{Guard, Shield};
use crate::helper::Unmade;
use crate::limits::{AVAILABLE_BYTES_MIN, ENDS, FREE_FILES_MIN, LOOK, OUTPUT_BYTES_MAX, STOP};
use crate::merge::merge;
use crate::noted::Noted;
use crate::profile::{Ask, Base, Plan, Profile, Walls, Work};
use crate::spawner::{self, Ready};
use crate::stage::Stage;
use crate::told::NotKept;
use crate::usage;

/// What the operator sets; what has no number here is a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Of all processes of one command together.
    pub memory_bytes: u64,
    /// That must stay free on every disk that it may write to.
    pub free_bytes: u64,
    /// Whom a command becomes where the runtime is root.
    pub uid: Option<u32>,
}

/// Where the runtime has it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'s> {
    pub bounds: Bounds,
    pub tool_dirs: &'s [String],
    pub scratch: &'s Path,
}

/// Why a command was ended before it had ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    Time,
    Memory,
    Disk,
    /// Somebody has said so.
    Halt,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Exited(i32),
    Signalled(i32),
    Stopped(Stop),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    pub ended: Ended,
    pub stdout: Clip,
    pub stderr: Clip,
    /// Protected names that it made or changed, and that were taken out of use.
    pub quarantined: Vec<String>,
    /// Of what it wrote on copies, what is not in place.
    pub not_kept: Vec<NotKept>,
}

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Certainly nothing ran.
    #[error("{0}")]
    NotRun(String),
    /// The same, and nothing will: this machine gives no namespaces.
    #[error("{0}")]
    NoNamespaces(String),
    /// Something may have run.
    #[error("the sandbox was lost, or what was done in it cannot be looked through; the command may have run")]
    Lost,
}

impl From<Unmade> for Fault {
    fn from(unmade: Unmade) -> Self {
        let why = format!("the sandbox cannot be made: {unmade}");
        if unmade.is_refused { Self::NoNamespaces(why) } else { Self::NotRun(why) }
    }
}

/// Blocks until the command has ended, or was ended, and nothing of it is left. `halt` ends it from outside.
///
/// # Errors
/// The sandbox could not be made, or was lost.
pub fn run(
    ask: &Ask,
    Place { bounds, tool_dirs, scratch }: Place<'_>,
    timeout: Duration,
    hides: &dyn Fn(&str) -> bool,
    halt: &AtomicBool,
    exit: Option<&Exit<'_>>,
) -> Result<Ran, Fault> {
    let until = Instant::now() + timeout;
    for root in &ask.reach.write {
        if is_low(root, bounds.free_bytes) {
            return Err(Fault::NotRun(format!("the disk of {root} is nearly full; nothing was run")));
        }
    }
    let guard = Guard { reach: &ask.reach, hides, caches: ask.caches.as_deref() };
    let _alone = crate::turns::alone(&ask.reach.write, until, halt)
        .ok_or_else(|| Fault::NotRun("another command works in the same directories; nothing was run".to_owned()))?;
    let before = guard.look().map_err(|error| Fault::NotRun(error.to_string()))?;
    if halt.load(Ordering::Acquire) {
        return Err(Fault::NotRun("its session was stopped; nothing was run".to_owned()));
    }
    let _noted = Noted::new(scratch, &guard, &before.seen).map_err(unnoted)?;
    let work = Work::Commands(ask.commands.clone());
    let mut plan = Plan::of(ask, work, &before.shield, bounds, tool_dirs);
    if let Some(exit) = exit {
        plan = plan.with_exit(exit.certificates);
    }
    let ran = confined(&plan, &ask.reach.write, bounds, Ending { until, halt }, exit);
    if let Err(Fault::NotRun(_) | Fault::NoNamespaces(_)) = ran {
        return ran;
    }
    // Of a command that was lost too: the next one would take what it made for what was there. What cannot be looked
    // through any more is said, and not hidden by a good result.
    let quarantined = guard.quarantine(&before.seen).map_err(|_| Fault::Lost)?;
    Ok(Ran { quarantined, ..ran? })
}

pub fn unnoted(error: std::io::Error) -> Fault {
    Fault::NotRun(format!("what lies in its directories cannot be noted in the home: {error}; nothing was run"))
}

/// The same where the machine gives no namespaces: on copies, from which what it wrote is merged once nothing of it is
/// left.
///
/// # Errors
/// The sandbox could not be made, or was lost.
pub fn run_on_copies(
    ask: &Ask,
    bounds: Bounds,
    tool_dirs: &[String],
    timeout: Duration,
    hides: &dyn Fn(&str) -> bool,
    halt: &AtomicBool,
) -> Result<Ran, Fault> {
    let until = Instant::now() + timeout;
    let uid = bounds.uid.ok_or_else(|| Fault::NotRun("there is no `[sandbox] uid`; nothing was run".to_owned()))?;
    // What ends one command ends every process of its user.
    let _alone = crate::turns::alone(&[format!("user {uid}")], until, halt)
        .ok_or_else(|| Fault::NotRun(format!("another command runs as the user {uid}; nothing was run")))?;
    let mut stage = Stage::make(&ask.reach, &ask.cwd, uid, hides).map_err(|unmade| Fault::NotRun(unmade.why))?;
    let written = [stage.tmp()];
    if let Some(low) = ask.reach.write.iter().chain(&written).find(|root| is_low(root, bounds.free_bytes)) {
        return Err(Fault::NotRun(format!("the disk of {low} is nearly full; nothing was run")));
    }
    let ask = stage.ask(ask);
    let work = Work::Commands(ask.commands.clone());
    let plan = Plan::of(&ask, work, &Shield::default(), bounds, tool_dirs).on_copies(&stage);
    let ran = confined(&plan, &written, bounds, Ending { until, halt }, None);
    // A helper that was told to end everything tells nobody that it has, and one that was killed has ended nobody.
    let is_told = match &ran {
        Ok(ran) => !matches!(ran.ended, Ended::Stopped(_)),
        Err(Fault::NotRun(_) | Fault::NoNamespaces(_)) => true,
        Err(Fault::Lost) => false,
    };
    if !is_told || usage::has_processes(uid) {
        // Another one does, before and after it does nothing.
        let profile = Profile { work: Work::Commands(Vec::new()), ..plan.profile };
        let nothing = Plan { profile, ..plan };
        let ending = Ending { until: Instant::now() + ENDS, halt: &AtomicBool::new(false) };
        let has_ended = confined(&nothing, &written, bounds, ending, None).is_ok();
        // Who could still write there would write while it is read.
        if !has_ended || usage::has_processes(uid) {
            return Err(Fault::Lost);
        }
    }
    let ran = ran?;
    let merged = merge(&mut stage, bounds.free_bytes, hides, halt);
    Ok(Ran { quarantined: merged.quarantined, not_kept: merged.not_kept, ..ran })
}

/// `written` is where its disk is looked at.
pub(crate) fn confined(
    plan: &Plan,
    written: &[String],
    bounds: Bounds,
    ending: Ending<'_>,
    exit: Option<&Exit<'_>>,
) -> Result<Ran, Fault> {
    let Ending { until, halt } = ending;
    let base = &plan.base;
    let Ready { child, control } = spawner::start(base)?;
    let told = control::send_profile(&control, plan, None).map_err(|why| unsent(&control, why));
    let mut watched = Watched { child, base, control: Some(control), stopped: None, is_gone: false, until, halt };
    told?;
    if let (Some(exit), Some(control)) = (exit, &watched.control) {
        let listener = control::take_listener(control, until.saturating_duration_since(Instant::now()));
        let listener = listener.map_err(|why| why.map_or(Fault::Lost, Fault::from))?;
        (exit.serve)(listener).map_err(|_| Fault::Lost)?;
    }
    let (mut stdout, mut stderr) = (Clip::default(), Clip::default());
    let report = watched.follow(written, bounds, &mut stdout, &mut stderr).map_err(|_| Fault::Lost)?;
    let ended = match (watched.stopped, report) {
        (_, Some(Report::Failed(why))) => return Err(why.into()),
        (Some(stop), _) => Ended::Stopped(stop),
        (None, Some(Report::Exited(code))) => Ended::Exited(code),
        (None, Some(Report::Signalled(signal))) => Ended::Signalled(signal),
        (None, None | Some(Report::Obeyed | Report::Gone)) => return Err(Fault::Lost),
    };
    Ok(Ran { ended, stdout, stderr, quarantined: Vec::new(), not_kept: Vec::new() })
}

/// A helper that could not go as far as to take its profile says why.
pub(crate) fn unsent(control: &OwnedFd, why: Unmade) -> Fault {
    match control::take_report(control) {
        Some(Report::Failed(why)) => why.into(),
        Some(Report::Exited(_) | Report::Signalled(_) | Report::Obeyed | Report::Gone) | None => why.into(),
    }
}

/// What ends a command from outside.
#[derive(Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub until: Instant,
    pub halt: &'a AtomicBool,
}

struct Watched<'a> {
    child: Child,
    base: &'a Base,
    /// Let go of, it tells the helper to end everything.
    control: Option<OwnedFd>,
    stopped: Option<Stop>,
    /// Nothing of the command is left.
    is_gone: bool,
    until: Instant,
    halt: &'a AtomicBool,
}

impl Watched<'_> {
    fn follow(
        &mut self,
        written: &[String],
        bounds: Bounds,
        stdout: &mut Clip,
        stderr: &mut Clip,
    ) -> std::io::Result<Option<Report>> {
        let (mut out, mut err) = (self.child.stdout.take(), self.child.stderr.take());
        out.as_ref().map_or(Ok(()), without_waiting)?;
        err.as_ref().map_or(Ok(()), without_waiting)?;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| std::io::Error::other("the helper has no number"))?;
        let helper = pidfd_open(pid, PidfdFlags::empty())?;
        let mut next_look = Instant::now() + LOOK;
        let mut report = None;
        loop {
            let has_ended = {
                let (control, out, err) = (self.control.as_ref(), out.as_ref(), err.as_ref());
                wait(&helper, [control.map(AsFd::as_fd), out.map(AsFd::as_fd), err.map(AsFd::as_fd)])?
            };
            while let Some(said) = self.control.as_ref().and_then(control::take_report) {
                if said == Report::Gone {
                    // The next one of the same would fail as well: none is kept ahead.
                    self.is_gone = !matches!(report, Some(Report::Failed(_)));
                } else {
                    report = report.or(Some(said));
                }
            }
            // Nobody writes any more where one of the two holds.
            take(&mut out, stdout)?;
            take(&mut err, stderr)?;
            if has_ended || self.is_gone {
                return Ok(report);
            }
            let now = Instant::now();
            if now >= next_look {
                self.look(written, bounds);
                next_look = now + LOOK;
            }
            if self.stopped.is_some() && now >= self.until + self.patience() {
                self.child.kill()?;
            }
        }
    }

    /// With a helper that was told to end everything: the one ends with its namespaces in any case, the other has to be
    /// left to end what it has.
    fn patience(&self) -> Duration {
        match self.base.walls {
            Walls::Namespaces => STOP,
            Walls::User => STOP + ENDS,
        }
    }

    fn look(&mut self, written: &[String], bounds: Bounds) {
        if self.stopped.is_some() {
            return;
        }
        let halted = self.halt.load(Ordering::Acquire).then_some(Stop::Halt);
        let stop = halted.or_else(|| (Instant::now() >= self.until).then_some(Stop::Time));
        let Some(stop) = stop.or_else(|| takes_too_much(self.child.id(), written, bounds)) else { return };
        self.stopped = Some(stop);
        self.until = Instant::now();
        self.control = None;
    }
}

/// A caller that gives up takes the command with it.
impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.control = None;
        if self.is_gone {
            // What is left is the helper's own end, which takes the kernel a while.
            return spawner::bury(self.child.id(), self.base.clone());
        }
        let _ = self.child.wait();
    }
}

/// What a tree of processes has used up, if anything.
pub(crate) fn takes_too_much(pid: u32, written: &[String], bounds: Bounds) -> Option<Stop> {
    if usage::memory_bytes(pid).is_none_or(|bytes| bytes > bounds.memory_bytes)
        || usage::available_bytes().is_none_or(|bytes| bytes < AVAILABLE_BYTES_MIN)
    {
        return Some(Stop::Memory);
    }
    written.iter().any(|root| is_low(root, bounds.free_bytes)).then_some(Stop::Disk)
}

pub(crate) fn is_low(root: &str, free_bytes: u64) -> bool {
    usage::free(root)
        .is_none_or(|(bytes, files)| bytes < free_bytes || files.is_some_and(|files| files < FREE_FILES_MIN))
}

fn without_waiting(stream: &impl AsFd) -> std::io::Result<()> {
    let flags = fcntl_getfl(stream)?;
    Ok(fcntl_setfl(stream, flags | OFlags::NONBLOCK)?)
}

/// Until one of them has something to say, or it is time to look. True: the helper has ended.
fn wait(helper: &OwnedFd, others: [Option<BorrowedFd<'_>>; 3]) -> std::io::Result<bool> {
    let mut polled = vec![PollFd::new(helper, PollFlags::IN)];
    polled.extend(others.into_iter().flatten().map(|one| PollFd::from_borrowed_fd(one, PollFlags::IN)));
    let nanoseconds = i64::try_from(LOOK.as_nanos()).unwrap_or(0);
    match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: nanoseconds })) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(polled.first().is_some_and(|helper| !helper.revents().is_empty()))
}

/// Takes what is there, a pipe's full at most, so that nobody who writes without end holds this loop.
fn take(stream: &mut Option<impl Read>, clip: &mut Clip) -> std::io::Result<()> {
    const PIPE_BYTES: usize = 64 << 10;
    let Some(open) = stream else { return Ok(()) };
    let mut buffer = vec![0u8; PIPE_BYTES];
    for _ in 0..16 {
        match open.read(&mut buffer) {
            Ok(0) => {
                *stream = None;
                return Ok(());
            }
            Ok(length) => clip.push(buffer.get(..length).unwrap_or_default(), OUTPUT_BYTES_MAX),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
