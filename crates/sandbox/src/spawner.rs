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
type Order = (Walls, SyncSender<Started>);

/// This very binary, whatever has become of its path.
const SELF: &str = "/proc/self/exe";

/// A helper with its end of the control socket as stdin, and pipes for what the command says.
pub fn start(walls: Walls) -> Started {
    static SPAWNER: OnceLock<Option<Sender<Order>>> = OnceLock::new();
    let gone = || std::io::Error::other("the thread that starts helpers is gone");
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        let thread = std::thread::Builder::new().name("sandbox".to_owned());
        thread.spawn(move || serve(&taken)).ok().map(|_| orders)
    });
    let (answer, started) = sync_channel(1);
    spawner.as_ref().ok_or_else(gone)?.send((walls, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

fn serve(orders: &Receiver<Order>) {
    let mut ahead: Option<(Walls, Ready)> = None;
    loop {
        let order = match &ahead {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => orders.recv_timeout(AHEAD),
        };
        let ready = ahead.take();
        let (walls, answer) = match order {
            Ok(order) => order,
            // Nobody has needed it: it is not to be paid for.
            Err(RecvTimeoutError::Timeout) => {
                ready.into_iter().for_each(|(_, ready)| end(ready));
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let _ = answer.send(taken(ready, walls).map_or_else(|| spawn(walls), Ok));
        ahead = spawn(walls).ok().map(|ready| (walls, ready));
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
