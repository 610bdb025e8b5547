//! The one thread that starts helpers. A helper dies with the thread that started it, so this one
//! never ends before the process does.
//!
//! It keeps one helper ahead, which has made all that the next command is likely to have too, and waits for the rest: the
//! next command need not.
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::control;
use crate::helper::ARGUMENT;
use crate::limits::KEPT;
use crate::profile::Base;
use crate::run::{Fault, unsent};

/// A helper that waits for its profile.
pub struct Ready {
    pub child: Child,
    /// Let go of, it tells the helper to end.
    pub control: OwnedFd,
}

type Started = Result<Ready, Fault>;

/// A helper that was started ahead.
struct Ahead {
    base: Base,
    /// The machine's mounts, since before it took its own from them.
    mounts: File,
    ready: Ready,
}

static AHEAD: Mutex<Option<Ahead>> = Mutex::new(None);

enum Order {
    Start(Base, SyncSender<Started>),
    /// The next command is likely to want one of the same.
    Bury(u32, Base),
    End(Ready),
}

const MOUNTS: &str = "/proc/self/mountinfo";
/// This very binary, whatever has become of its path.
const SELF: &str = "/proc/self/exe";

/// A helper with its end of the control socket as stdin, and pipes for what the command says.
pub fn start(base: &Base) -> Started {
    let unfit = match taken(base) {
        Ok(ready) => return Ok(ready),
        Err(unfit) => unfit,
    };
    let gone = || not_run(std::io::Error::other("the thread that starts helpers is gone"));
    let (answer, started) = sync_channel(1);
    let spawner = spawner().ok_or_else(gone)?;
    spawner.send(Order::Start(base.clone(), answer)).map_err(|_| gone())?;
    if let Some(unfit) = unfit {
        let _ = spawner.send(Order::End(unfit));
    }
    started.recv().map_err(|_| gone())?
}

/// Waits for a helper that is about to end, so that nobody else has to, and keeps another one ahead: not before, for it
/// would take the command's processor.
pub fn bury(helper: u32, base: Base) {
    if let Some(spawner) = spawner() {
        let _ = spawner.send(Order::Bury(helper, base));
    }
}

fn ahead() -> MutexGuard<'static, Option<Ahead>> {
    AHEAD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawner() -> Option<&'static Sender<Order>> {
    static SPAWNER: OnceLock<Option<Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        let thread = std::thread::Builder::new().name("sandbox".to_owned());
        thread.spawn(move || serve(&taken)).ok().map(|_| orders)
    });
    spawner.as_ref()
}

fn serve(orders: &Receiver<Order>) {
    loop {
        let has_one = ahead().is_some();
        let order =
            if has_one { orders.recv_timeout(KEPT) } else { orders.recv().map_err(|_| RecvTimeoutError::Disconnected) };
        match order {
            Ok(Order::Start(base, answer)) => {
                let _ = answer.send(spawn(&base));
            }
            Ok(Order::End(ready)) => end(ready),
            Ok(Order::Bury(helper, base)) => {
                let helper = i32::try_from(helper).ok().and_then(Pid::from_raw);
                let _ = rustix::io::retry_on_intr(|| waitpid(helper, WaitOptions::empty()));
                keep_ahead(base);
            }
            // Nobody has needed it: it is not to be paid for.
            Err(RecvTimeoutError::Timeout) => {
                let unused = ahead().take();
                unused.into_iter().for_each(|unused| end(unused.ready));
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn keep_ahead(base: Base) {
    let mut ahead = ahead();
    // Who cannot tell whether they have changed keeps none.
    if let (None, Ok(mounts)) = (ahead.as_ref(), File::open(MOUNTS)) {
        *ahead = spawn(&base).ok().map(|ready| Ahead { base, mounts, ready });
    }
}

/// Or the one that does not do.
fn taken(base: &Base) -> Result<Ready, Option<Ready>> {
    let mut found = ahead().take().ok_or(None)?;
    let does = found.base == *base && is_as_it_was(&found.mounts) && matches!(found.ready.child.try_wait(), Ok(None));
    if does { Ok(found.ready) } else { Err(Some(found.ready)) }
}

/// The kernel tells whoever has it open of every mount that came, went or was changed.
fn is_as_it_was(mounts: &File) -> bool {
    let mut one = [PollFd::new(mounts, PollFlags::PRI)];
    matches!(poll(&mut one, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
}

fn end(Ready { mut child, control }: Ready) {
    drop(control);
    let _ = child.wait();
}

fn spawn(base: &Base) -> Started {
    let (control, theirs) = control::pair().map_err(not_run)?;
    let child = Command::new(SELF)
        .arg(ARGUMENT)
        .env_clear()
        .stdin(Stdio::from(File::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_run)?;
    let ready = Ready { child, control };
    if let Err(why) = control::send_base(&ready.control, base) {
        let fault = unsent(&ready.control, why);
        end(ready);
        return Err(fault);
    }
    Ok(ready)
}

fn not_run(error: std::io::Error) -> Fault {
    Fault::NotRun(format!("the sandbox cannot be made: {error}"))
}
