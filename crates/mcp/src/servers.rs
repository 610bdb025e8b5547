//! The servers of a home: each started by the first call that needs it, for one session alone, and
//! ended when nobody has called it for a while.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backstay_kernel::destination::Connection;
use backstay_kernel::url::Url;
use backstay_sandbox::{Ask, Program, Programs, Reach, Sandbox, Simple};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::task::AbortHandle;

use crate::files;
use crate::limits::{IDLE, LIVE_MAX, START};
use crate::live::{Live, Unanswered, in_time};
use crate::oauth::{Logins, Pass};
use crate::pin::Pin;
use crate::remote::{At, Way};
use crate::shown::Answer;

/// A server as the operator wrote it, and as it was pinned.
#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub means: Means,
    pub pin: Option<Pin>,
}

/// What a server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Means {
    Program {
        /// By its name, and its words.
        command: Vec<String>,
        environment: BTreeMap<String, String>,
    },
    Url(At),
}

impl Means {
    /// Its program and words; none, where it runs elsewhere.
    #[must_use]
    pub fn command(&self) -> &[String] {
        if let Self::Program { command, .. } = self { command } else { &[] }
    }

    /// What it finds in its environment.
    pub fn environment(&self) -> impl Iterator<Item = (&String, &String)> {
        let environment = if let Self::Program { environment, .. } = self { Some(environment) } else { None };
        environment.into_iter().flatten()
    }

    #[must_use]
    pub fn url(&self) -> Option<&Url> {
        if let Self::Url(at) = self { Some(&at.url) } else { None }
    }
}

impl Server {
    /// When it must have said what it is, for a call that ends then. To start a program has a time of its own; with a
    /// server elsewhere all is one conversation.
    fn greeted(&self, until: Instant) -> Instant {
        let own = Instant::now() + START;
        match self.means {
            Means::Program { .. } => own,
            Means::Url(_) => own.min(until),
        }
    }

    pub(crate) fn ask(
        &self,
        command: &[String],
        environment: &BTreeMap<String, String>,
        place: &Where<'_>,
        found: Vec<Program>,
    ) -> Ask {
        Ask {
            commands: vec![Simple::alone(command.to_vec())],
            found,
            cwd: place.cwd.clone(),
            environment: environment.clone(),
            programs: Programs::Only(command.first().cloned().into_iter().collect()),
            reach: place.reach.clone(),
            caches: None,
        }
    }
}

/// For whom a server runs: what it has been told in one session, it tells in no other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Who {
    pub agent: String,
    pub principal: String,
    pub session: String,
}

/// What a server may see and touch.
pub struct Where<'a> {
    pub reach: Reach,
    pub cwd: String,
    /// Real paths that it must not see.
    pub hides: &'a dyn Fn(&str) -> bool,
    /// Once true, whatever is under way ends.
    pub halt: &'a Arc<AtomicBool>,
    /// How one is reached that runs elsewhere; absent for whoever has no way out.
    pub way: Option<Way>,
}

/// Why a call has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Certainly nothing was asked of the server.
    #[error("{0}")]
    NotCalled(String),
    /// It was asked; whether it did anything nobody knows.
    #[error("{0}")]
    Broken(String),
}

type Slot = Arc<Turn<Option<Live>>>;
/// Told which server is other than it was pinned, and how.
type OnDrift = Box<dyn Fn(&str, &str) + Send + Sync>;

pub struct Servers {
    runtime: Handle,
    sandbox: Arc<Sandbox>,
    servers: BTreeMap<String, Server>,
    /// By server, agent, principal and session.
    live: Arc<Mutex<BTreeMap<(String, Who), Slot>>>,
    logins: Logins,
    on_drift: OnDrift,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Servers {
    #[must_use]
    pub fn new(
        runtime: Handle,
        sandbox: Arc<Sandbox>,
        servers: Vec<Server>,
        logins: Logins,
        on_drift: OnDrift,
    ) -> Self {
        let servers = servers.into_iter().map(|server| (server.name.clone(), server)).collect();
        Self { runtime, sandbox, servers, live: Arc::default(), logins, on_drift }
    }

    #[must_use]
    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// What goes along with requests to a server that runs elsewhere.
    #[must_use]
    pub fn pass(&self, name: &str) -> Option<Pass> {
        let Means::Url(at) = &self.servers.get(name)?.means else { return None };
        Some(self.logins.pass(name, at))
    }

    /// Calls a tool, and blocks until it is answered; from a thread that may. With the connections that were made for it.
    ///
    /// # Errors
    /// The server is not pinned, is other than it was pinned, could not be started, or gave no answer.
    pub fn call(
        &self,
        who: &Who,
        name: &str,
        tool: &str,
        arguments: Map<String, Value>,
        place: &Where<'_>,
        timeout: Duration,
    ) -> (Result<Answer, Fault>, Vec<Connection>) {
        let mut made = Vec::new();
        let called = self.called(who, (name, tool), arguments, place, timeout, &mut made);
        (called, made)
    }

    fn called(
        &self,
        who: &Who,
        (name, tool): (&str, &str),
        arguments: Map<String, Value>,
        place: &Where<'_>,
        timeout: Duration,
        made: &mut Vec<Connection>,
    ) -> Result<Answer, Fault> {
        let server = self.servers.get(name).ok_or_else(|| unknown(name))?;
        let until = Instant::now() + timeout;
        let slot = self.slot(name, who)?;
        let mut live = self.turn(name, &slot, until, place.halt)?;
        let mut running = self.working(server, live.take(), place, until, made)?;
        let answered = running.call(&self.runtime, tool, arguments, until, place.halt);
        let is_other = answered.is_ok() && running.has_changed();
        let drifted = if is_other { self.drift(server, &running, until, place.halt) } else { None };
        made.extend(running.connections());
        let rested = running.rest(place);
        match (answered, rested) {
            (Ok(mut answer), Ok(quarantined)) => {
                answer.quarantined = quarantined;
                // What it said was said before it changed, or was stopped; it says no more.
                if drifted.is_none() && !place.halt.load(Ordering::Acquire) {
                    running.ends(self.end_later(&slot));
                    *live = Some(running);
                }
                Ok(answer)
            }
            (Err(Unanswered { why, is_undone: true }), _) => {
                Err(Fault::NotCalled(format!("the server `{name}` was not called: {why}")))
            }
            (Err(Unanswered { why, is_undone: false }), _) => {
                Err(Fault::Broken(format!("the server `{name}` gave no answer: {why}")))
            }
            (Ok(_), Err(_)) => Err(Fault::Broken(format!("what the server `{name}` did cannot be looked through"))),
        }
    }

    /// Starts a server, looks at what it offers, and ends it. It can write nowhere: nobody has let it in yet.
    ///
    /// # Errors
    /// There is no such server, or it could not be started.
    pub fn describe(&self, name: &str, mut place: Where<'_>) -> Result<Pin, Fault> {
        let server = self.servers.get(name).ok_or_else(|| unknown(name))?;
        place.reach.write.clear();
        let until = Instant::now() + START;
        let mut running = Live::start(&self.runtime, &self.sandbox, server, &place, until, &mut Vec::new())?;
        let pin = running.describe(&self.runtime, &self.sandbox, server, Instant::now() + START, place.halt);
        let _ = running.rest(&place);
        pin.map_err(|why| Fault::NotCalled(unseen(name, &why)))
    }

    #[must_use]
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.get(name)
    }

    pub fn all(&self) -> impl Iterator<Item = &Server> {
        self.servers.values()
    }

    /// Ends every server that nobody waits for.
    pub fn end_idle(&self) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, slot| slot.try_lock().is_err());
    }

    /// One that runs and is what it was when it was pinned; it works.
    fn working(
        &self,
        server: &Server,
        live: Option<Live>,
        place: &Where<'_>,
        until: Instant,
        made: &mut Vec<Connection>,
    ) -> Result<Live, Fault> {
        if let Some(mut running) = live
            && !running.has_changed()
            && let Ok(Some(())) = running.work(until, place)
        {
            return Ok(running);
        }
        // What is not what was pinned is not even started.
        if let Some(why) = self.drift_of_files(server) {
            return Err(Fault::NotCalled(why));
        }
        let mut running = Live::start(&self.runtime, &self.sandbox, server, place, server.greeted(until), made)?;
        match self.drift(server, &running, until, place.halt) {
            None => Ok(running),
            Some(why) => {
                made.extend(running.connections());
                let _ = running.rest(place);
                Err(Fault::NotCalled(why))
            }
        }
    }

    /// How it differs from what was pinned, if it does; then it is told, too.
    fn drift(&self, server: &Server, running: &Live, until: Instant, halt: &Arc<AtomicBool>) -> Option<String> {
        let Some(pin) = &server.pin else { return Some(unpinned(&server.name)) };
        match running.describe(&self.runtime, &self.sandbox, server, server.greeted(until), halt) {
            Ok(now) => Some(self.drifted(server, &pin.drift(&now)?)),
            Err(why) => Some(unseen(&server.name, &why)),
        }
    }

    fn drift_of_files(&self, server: &Server) -> Option<String> {
        let Some(pin) = &server.pin else { return Some(unpinned(&server.name)) };
        match files::of(&self.sandbox, &server.means) {
            Ok(files) => Some(self.drifted(server, &pin.drift_of_files(&files)?)),
            Err(why) => Some(unseen(&server.name, &why)),
        }
    }

    fn drifted(&self, server: &Server, why: &str) -> String {
        let name = &server.name;
        (self.on_drift)(name, why);
        format!("the server `{name}` is not what was pinned: {why}; `backstay mcp test {name}` shows it")
    }

    fn slot(&self, name: &str, who: &Who) -> Result<Slot, Fault> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), who.clone());
        if !live.contains_key(&key) && live.len() >= LIVE_MAX {
            let idle = live.iter().find(|(_, slot)| slot.try_lock().is_ok()).map(|(key, _)| key.clone());
            let Some(idle) = idle else {
                return Err(Fault::NotCalled(format!("{LIVE_MAX} servers are at work; nothing was called")));
            };
            live.remove(&idle);
        }
        Ok(Arc::clone(live.entry(key).or_default()))
    }

    /// One call of a server at a time.
    fn turn(
        &self,
        name: &str,
        slot: &Slot,
        until: Instant,
        halt: &AtomicBool,
    ) -> Result<OwnedMutexGuard<Option<Live>>, Fault> {
        let turn = in_time(until, halt, || None, Arc::clone(slot).lock_owned());
        let busy = |why| {
            Fault::NotCalled(format!("the server `{name}` is busy with another call; {why}, and nothing was called"))
        };
        self.runtime.block_on(turn).map_err(busy)
    }

    /// Ends it after a while, unless it is called again before.
    fn end_later(&self, slot: &Slot) -> AbortHandle {
        let (slot, runtime) = (Arc::downgrade(slot), self.runtime.clone());
        let end = async move {
            tokio::time::sleep(IDLE).await;
            let Some(slot) = slot.upgrade() else { return };
            runtime.spawn_blocking(move || slot.try_lock().ok().and_then(|mut live| live.take()).map(drop));
        };
        self.runtime.spawn(end).abort_handle()
    }
}

fn unpinned(name: &str) -> String {
    format!("the server `{name}` is not pinned; `backstay mcp pin {name}`")
}

fn unseen(name: &str, why: &str) -> String {
    format!("the server `{name}` cannot be looked at: {why}")
}

fn unknown(name: &str) -> Fault {
    Fault::NotCalled(format!("there is no server `{name}`"))
}

#[cfg(test)]
mod tests {
    use backstay_egress::Network;
    use backstay_sandbox::Bounds;

    use super::*;
    use crate::oauth::{Keeper, Login};

    struct Nobody;

    impl Keeper for Nobody {
        fn login(&self, _server: &str) -> Option<Login> {
            None
        }

        fn renew(&self, _server: &str, _login: &Login) -> Result<(), String> {
            Err("nobody".to_owned())
        }

        fn secret(&self, _name: &str) -> Option<String> {
            None
        }

        fn took(&self, _name: &str, _forms: u64) {}

        fn now(&self) -> u64 {
            0
        }
    }

    fn who(number: usize) -> Who {
        Who { agent: "main".to_owned(), principal: number.to_string(), session: String::new() }
    }

    #[tokio::test]
    async fn so_many_servers_run_and_one_that_nobody_waits_for_makes_room() {
        let bounds = Bounds { memory_bytes: 0, free_bytes: 0, uid: None };
        let sandbox = Arc::new(Sandbox::new("/nowhere".into(), bounds));
        let logins = Logins::new(Arc::new(Nobody), Network::default());
        let servers = Servers::new(Handle::current(), sandbox, Vec::new(), logins, Box::new(|_, _| {}));
        let slots: Vec<Slot> = (0..LIVE_MAX).map(|number| servers.slot("s", &who(number)).unwrap()).collect();
        let mut busy: Vec<_> = slots.iter().map(|slot| Arc::clone(slot).try_lock_owned().unwrap()).collect();
        let refused = servers.slot("s", &who(LIVE_MAX)).err().unwrap();
        assert_eq!(refused, Fault::NotCalled("32 servers are at work; nothing was called".to_owned()));
        assert!(Arc::ptr_eq(&servers.slot("s", &who(3)).unwrap(), &slots[3]), "the same for the same principal");
        busy.pop();
        servers.slot("s", &who(LIVE_MAX)).unwrap();
        busy.clear();
        let other = Who { session: "other".to_owned(), ..who(3) };
        assert!(!Arc::ptr_eq(&servers.slot("s", &other).unwrap(), &slots[3]), "and no other session");
        assert!(!Arc::ptr_eq(&servers.slot("s", &who(LIVE_MAX)).unwrap(), &slots[LIVE_MAX - 1]));
    }
}
