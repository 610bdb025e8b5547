//! The one thread that starts helpers. A helper dies with the thread that started it, so this one
//! never ends before the process does.
//!
//! It keeps one helper ahead, which has done what takes longest and needs no profile, and waits for one: the next
//! command need not.
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::control;
use crate::helper::ARGUMENT;
use crate::limits::AHEAD;
use crate::profile::Walls;

/// A helper that waits for its profile.
pub struct Ready {
    pub child: Child,
    /// Let go of, it tells the helper to end.
    pub control: OwnedFd,
}

type Started = std::io::Result<Ready>;

enum Order {
    Start(Walls, SyncSender<Started>),
    Bury(u32),
}

/// This very binary, whatever has become of its path.
const SELF: &str = "/proc/self/exe";

/// A helper with its end of the control socket as stdin, and pipes for what the command says.
pub fn start(walls: Walls) -> Started {
    let gone = || std::io::Error::other("the thread that starts helpers is gone");
    let (answer, started) = sync_channel(1);
    spawner().ok_or_else(gone)?.send(Order::Start(walls, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

/// Waits for a helper that is about to end, so that nobody else has to.
pub fn bury(helper: u32) {
    if let Some(spawner) = spawner() {
        let _ = spawner.send(Order::Bury(helper));
    }
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
    let mut ahead: Option<(Walls, Ready)> = None;
    loop {
        let order = match &ahead {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => orders.recv_timeout(AHEAD),
        };
        match order {
            Ok(Order::Start(walls, answer)) => {
                let _ = answer.send(taken(ahead.take(), walls).map_or_else(|| spawn(walls), Ok));
                ahead = spawn(walls).ok().map(|ready| (walls, ready));
            }
            Ok(Order::Bury(helper)) => {
                let helper = i32::try_from(helper).ok().and_then(Pid::from_raw);
                let _ = rustix::io::retry_on_intr(|| waitpid(helper, WaitOptions::empty()));
            }
            // Nobody has needed it: it is not to be paid for.
            Err(RecvTimeoutError::Timeout) => ahead.take().into_iter().for_each(|(_, ready)| end(ready)),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn taken(ahead: Option<(Walls, Ready)>, walls: Walls) -> Option<Ready> {
    let (kind, mut ready) = ahead?;
    if kind == walls && matches!(ready.child.try_wait(), Ok(None)) {
        return Some(ready);
    }
    end(ready);
    None
}

fn end(Ready { mut child, control }: Ready) {
    drop(control);
    let _ = child.wait();
}

fn spawn(walls: Walls) -> Started {
    let (control, theirs) = control::pair()?;
    let child = Command::new(SELF)
        .arg(ARGUMENT)
        .arg(walls.word())
        .env_clear()
        .stdin(Stdio::from(File::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(Ready { child, control })
}
