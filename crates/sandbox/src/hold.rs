//! A command that stays: it works while somebody waits for what it does, and rests in between. Resting, none of
//! its processes computes, so that it does nothing that nobody asked for, takes nothing, and whatever changes in
//! its directories meanwhile is somebody else's.
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::control::{self, Order, Report};
use crate::guard::{Found, Guard, Shield};
use crate::limits::STOP;
use crate::noted::Noted;
use crate::profile::{Ask, Plan, Reach, Work};
use crate::run::{Bounds, Fault, Place, Stop, is_low, takes_too_much, unnoted, unsent};
use crate::spawner::{self, Ready};
use crate::turns::{Alone, alone};

/// What it says and is told, until its first rest.
#[derive(Debug)]
pub struct Started {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Ends with all of its processes when this is dropped.
#[derive(Debug)]
pub struct Held {
    child: Child,
    /// Let go of, it tells the helper to end everything.
    control: Option<OwnedFd>,
    reach: Reach,
    bounds: Bounds,
    scratch: PathBuf,
    /// As the sandbox was built.
    shield: Shield,
    /// Where it works.
    work: Option<At>,
    pipes: Option<Started>,
}

/// What was there when it began to work, in directories that are its alone until it rests.
#[derive(Debug)]
struct At {
    before: Found,
    _noted: Noted,
    _alone: Alone,
}

impl At {
    fn begin(
        reach: &Reach,
        (bounds, scratch): (Bounds, &Path),
        until: Instant,
        hides: &dyn Fn(&str) -> bool,
        halt: &AtomicBool,
    ) -> Result<Self, Fault> {
        if let Some(root) = reach.write.iter().find(|root| is_low(root, bounds.free_bytes)) {
            return Err(Fault::NotRun(format!("the disk of {root} is nearly full; nothing was run")));
        }
        let alone = alone(&reach.write, until, halt)
            .ok_or_else(|| Fault::NotRun("a command works in the same directories; nothing was run".to_owned()))?;
        let guard = Guard { reach, hides, caches: None };
        let before = guard.look().map_err(|error| Fault::NotRun(error.to_string()))?;
        let noted = Noted::new(scratch, &guard, &before.seen).map_err(unnoted)?;
        Ok(Self { before, _noted: noted, _alone: alone })
    }
}

impl Held {
    pub(crate) fn start(
        ask: &Ask,
        Place { bounds, tool_dirs, scratch }: Place<'_>,
        until: Instant,
        hides: &dyn Fn(&str) -> bool,
        halt: &AtomicBool,
    ) -> Result<Self, Fault> {
        let at = At::begin(&ask.reach, (bounds, scratch), until, hides, halt)?;
        let not_run = |error: std::io::Error| Fault::NotRun(format!("the sandbox cannot be made: {error}"));
        let argv = ask.commands.first().map(|simple| simple.argv.clone()).unwrap_or_default();
        let work = Work::Server { argv };
        let plan = Plan::of(ask, work, &at.before.shield, bounds, tool_dirs);
        let (read, stdin) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| not_run(errno.into()))?;
        let Ready { mut child, control } = spawner::start(&plan.base)?;
        if let Err(why) = control::send_profile(&control, &plan, Some(read.as_fd())) {
            let fault = unsent(&control, why);
            drop(control);
            let _ = child.wait();
            return Err(fault);
        }
        drop(read);
        let pipes = child.stdout.take().zip(child.stderr.take());
        let pipes = pipes.map(|(out, err)| Started { stdin, stdout: out.into(), stderr: err.into() });
        let shield = at.before.shield.clone();
        let reach = ask.reach.clone();
        Ok(Self {
            child,
            control: Some(control),
            reach,
            bounds,
            scratch: scratch.to_owned(),
            shield,
            work: Some(at),
            pipes,
        })
    }

    /// What it is spoken to by, once.
    pub fn pipes(&mut self) -> Option<Started> {
        self.pipes.take()
    }

    /// Lets it work, on what is there now. `None`: its sandbox is no longer the right one, for a name that it must
    /// not see or change has come or gone since it was built: it is to be started anew.
    ///
    /// # Errors
    /// It does not work: its directories are not free, or it is gone.
    pub fn work(
        &mut self,
        until: Instant,
        hides: &dyn Fn(&str) -> bool,
        halt: &AtomicBool,
    ) -> Result<Option<()>, Fault> {
        let at = At::begin(&self.reach, (self.bounds, &self.scratch), until, hides, halt)?;
        if at.before.shield != self.shield {
            return Ok(None);
        }
        self.order(Order::Work).map_err(|_| Fault::NotRun("it has ended".to_owned()))?;
        self.work = Some(at);
        Ok(Some(()))
    }

    /// Lets it rest, and takes protected names out of use that it made or changed; their paths.
    ///
    /// # Errors
    /// It is gone, or what it did cannot be looked through.
    pub fn rest(&mut self, hides: &dyn Fn(&str) -> bool) -> Result<Vec<String>, Fault> {
        let Some(at) = self.work.take() else { return Ok(Vec::new()) };
        let rests = self.order(Order::Rest);
        if rests.is_err() {
            self.end();
        }
        let guard = Guard { reach: &self.reach, hides, caches: None };
        let taken = guard.quarantine(&at.before.seen).map_err(|_| Fault::Lost)?;
        rests.map(|()| taken).map_err(|_| Fault::Lost)
    }

    /// What it has used up, if anything: then it should be dropped.
    #[must_use]
    pub fn takes_too_much(&self) -> Option<Stop> {
        takes_too_much(self.child.id(), &self.reach.write, self.bounds)
    }

    /// How it ended by itself, or why it could not be started, if that is so within this time.
    #[must_use]
    pub fn ended(&self, within: Duration) -> Option<String> {
        let control = self.control.as_ref()?;
        if !wait(control, within).ok()? {
            return None;
        }
        match control::take_report(control)? {
            Report::Failed(why) => Some(format!("the sandbox cannot be made: {why}")),
            Report::Exited(code) => Some(format!("it ended with code {code}")),
            Report::Signalled(signal) => Some(format!("it was ended by signal {signal}")),
            Report::Gone => Some("it has ended".to_owned()),
            Report::Obeyed => None,
        }
    }

    /// Ends all of its processes.
    pub fn end(&mut self) {
        self.control = None;
        let _ = self.child.wait();
    }

    fn order(&self, order: Order) -> std::io::Result<()> {
        let gone = || std::io::Error::other("it has ended");
        let control = self.control.as_ref().ok_or_else(gone)?;
        control::order(control, order)?;
        match wait(control, STOP)?.then(|| control::take_report(control)) {
            Some(Some(Report::Obeyed)) => Ok(()),
            Some(Some(Report::Exited(_) | Report::Signalled(_) | Report::Failed(_) | Report::Gone) | None) | None => {
                Err(gone())
            }
        }
    }
}

fn wait(control: &OwnedFd, left: Duration) -> std::io::Result<bool> {
    let mut one = [PollFd::new(control, PollFlags::IN)];
    let seconds = i64::try_from(left.as_secs()).unwrap_or(0);
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(left.subsec_nanos()) };
    match poll(&mut one, Some(&time)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// Whoever gives up takes its processes along; what it did until then is looked through by nobody else.
impl Drop for Held {
    fn drop(&mut self) {
        self.end();
        if let Some(at) = self.work.take() {
            let _ = Guard { reach: &self.reach, hides: &|_| false, caches: None }.quarantine(&at.before.seen);
        }
    }
}
