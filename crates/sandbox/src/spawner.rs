//! The one thread that starts helpers. A helper dies with the thread that started it, so this one
//! never ends before the process does.
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel, sync_channel};

use crate::helper::ARGUMENT;

type Started = std::io::Result<Child>;
type Order = (OwnedFd, std::sync::mpsc::SyncSender<Started>);

/// This very binary, whatever has become of its path.
const SELF: &str = "/proc/self/exe";

/// Starts a helper with its end of the control socket as stdin, and pipes for what the command says.
pub fn start(control: OwnedFd) -> Started {
    static SPAWNER: OnceLock<Option<Sender<Order>>> = OnceLock::new();
    let gone = || std::io::Error::other("the thread that starts helpers is gone");
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        let work = move || {
            for (control, answer) in taken {
                let _ = answer.send(spawn(control));
            }
        };
        std::thread::Builder::new().name("sandbox".to_owned()).spawn(work).ok().map(|_| orders)
    });
    let (answer, started) = sync_channel(1);
    spawner.as_ref().ok_or_else(gone)?.send((control, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

fn spawn(control: OwnedFd) -> Started {
    Command::new(SELF)
        .arg(ARGUMENT)
        .env_clear()
        .stdin(Stdio::from(File::from(control)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}
