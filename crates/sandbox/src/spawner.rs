//! The one thread that starts helpers. A helper dies with the thread that started it, so this one
//! never ends before the process does.
//!
//! It keeps one helper ahead, which has done what takes longest and needs no profile, and waits for one: the next
//! command need not.
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::control;
use crate::helper::ARGUMENT;
use crate::limits::KEPT;
use crate::profile::{Profile, Walls};

/// A helper that waits for its profile.
pub struct Ready {
    pub child: Child,
    /// Let go of, it tells the helper to end.
    pub control: OwnedFd,
}

/// What a helper has to know before its profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    walls: Walls,
    uid: Option<u32>,
}

impl Kind {
    pub fn of(profile: &Profile) -> Self {
        Self { walls: profile.walls, uid: profile.uid }
    }

    pub fn walls(self) -> Walls {
        self.walls
    }
}

type Started = std::io::Result<Ready>;

/// A helper that was started ahead.
static AHEAD: Mutex<Option<(Kind, Ready)>> = Mutex::new(None);

enum Order {
    Start(Kind, SyncSender<Started>),
    /// The next command is likely to want one of the same kind.
    Bury(u32, Kind),
}

/// This very binary, whatever has become of its path.
const SELF: &str = "/proc/self/exe";

/// A helper with its end of the control socket as stdin, and pipes for what the command says.
pub fn start(kind: Kind) -> Started {
    if let Some(ready) = taken(kind) {
        return Ok(ready);
    }
    let gone = || std::io::Error::other("the thread that starts helpers is gone");
    let (answer, started) = sync_channel(1);
    spawner().ok_or_else(gone)?.send(Order::Start(kind, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

/// Waits for a helper that is about to end, so that nobody else has to, and keeps another one ahead: not before, for it
/// would take the command's processor.
pub fn bury(helper: u32, kind: Kind) {
    if let Some(spawner) = spawner() {
        let _ = spawner.send(Order::Bury(helper, kind));
    }
}

fn ahead() -> MutexGuard<'static, Option<(Kind, Ready)>> {
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
            Ok(Order::Start(kind, answer)) => {
                let _ = answer.send(spawn(kind));
            }
            Ok(Order::Bury(helper, kind)) => {
                let helper = i32::try_from(helper).ok().and_then(Pid::from_raw);
                let _ = rustix::io::retry_on_intr(|| waitpid(helper, WaitOptions::empty()));
                keep_ahead(kind);
            }
            // Nobody has needed it: it is not to be paid for.
            Err(RecvTimeoutError::Timeout) => {
                let unused = ahead().take();
                unused.into_iter().for_each(|(_, ready)| end(ready));
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn keep_ahead(kind: Kind) {
    let mut ahead = ahead();
    if ahead.is_none() {
        *ahead = spawn(kind).ok().map(|ready| (kind, ready));
    }
}

fn taken(kind: Kind) -> Option<Ready> {
    let (is, mut ready) = ahead().take()?;
    if is == kind && matches!(ready.child.try_wait(), Ok(None)) {
        return Some(ready);
    }
    end(ready);
    None
}

fn end(Ready { mut child, control }: Ready) {
    drop(control);
    let _ = child.wait();
}

fn spawn(kind: Kind) -> Started {
    let (control, theirs) = control::pair()?;
    let child = Command::new(SELF)
        .arg(ARGUMENT)
        .arg(kind.walls.word())
        .args(kind.uid.map(|uid| uid.to_string()))
        .env_clear()
        .stdin(Stdio::from(File::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(Ready { child, control })
}
