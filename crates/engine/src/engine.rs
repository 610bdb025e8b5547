//! The engine of one home: which sessions live, what they share, who wakes them.
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backstay_kernel::budget::{Amount, Used, Window, WindowState};
use backstay_kernel::frame::Switches;
use backstay_kernel::id::{Boot, Millis, SessionId};
use backstay_kernel::policy::{Policy, Role};
use backstay_store::{Append, AppendError, Durable, Store, StoreError};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::addresses::{Address, Addresses, Mailbox};
use crate::admission::Admission;
use crate::error::EngineError;
use crate::events::Event;
use crate::fold::{Folded, fold};
use crate::home::{HomeHandle, whole};
use crate::limits;
use crate::live::{Accepted, Asked, Command, Key, Letter};
use crate::read::Reader;
use crate::session::SessionTask;
use crate::totals::Totals;
use crate::world::World;

/// `[limits]` of the config.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub messages_per_minute: u32,
}

/// What all sessions of a home share.
pub(crate) struct Shared {
    pub store: Store,
    pub world: Arc<dyn World>,
    pub boot: Boot,
    pub lineage: u64,
    pub model_slots: Arc<Semaphore>,
    pub tool_slots: Arc<Semaphore>,
    policy: Mutex<Arc<Policy>>,
    switches: Mutex<Switches>,
    addresses: Addresses,
    /// The earliest moment at which a session that is not in memory has something to do.
    next_wake: Mutex<Option<Millis>>,
    sooner: Notify,
    totals: Mutex<Totals>,
    /// Told whenever what was reserved in the ledger is settled.
    pub settled: watch::Sender<()>,
    /// The next pause of each session whose task has panicked.
    falls: Mutex<HashMap<SessionId, Duration>>,
    /// Sessions with something that runs, or that has ended and is not in the journal yet.
    busy: Arc<AtomicUsize>,
}

/// A poisoned lock only says that a thread panicked elsewhere; these values are replaced whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&locked(&self.policy))
    }

    pub fn switches(&self) -> Switches {
        *locked(&self.switches)
    }

    pub async fn append(&self, append: Append) -> Result<Durable, AppendError> {
        let (done, result) = oneshot::channel();
        let since = Instant::now();
        self.store.append(append, Box::new(move |outcome| drop(done.send(outcome))));
        let outcome = result.await.unwrap_or(Err(AppendError::Store(StoreError::Closed)));
        if outcome.is_ok() {
            locked(&self.totals).appends.note(since.elapsed());
        }
        outcome
    }

    /// What the ledger windows hold now. One that cannot be read counts as used up: errors deny (I8).
    pub fn used(&self, windows: Vec<Window>) -> Vec<WindowState> {
        used(&self.store, windows)
    }

    pub async fn load(&self, id: SessionId) -> Result<Folded, String> {
        let store = self.store.clone();
        let folded = tokio::task::spawn_blocking(move || fold(&store, id)).await;
        folded.map_err(|error| error.to_string())?
    }

    pub fn wake_at(&self, at: Option<Millis>) {
        let mut next = locked(&self.next_wake);
        if at.is_some_and(|at| next.is_none_or(|next| at < next)) {
            *next = at;
            self.sooner.notify_one();
        }
    }

    pub fn count(&self, committed: &Event) {
        if let Event::Committed { records, .. } = committed {
            locked(&self.totals).count(records);
        }
    }

    /// The earliest of what was noted and `found`, which is noted from now on.
    fn first_wake(&self, found: Option<Millis>) -> Option<Millis> {
        let mut next = locked(&self.next_wake);
        *next = next.into_iter().chain(found).min();
        *next
    }

    /// A session without work goes out of memory until `wake_at`, unless somebody writes to it.
    pub fn leave(&self, id: SessionId, wake_at: Option<Millis>, mailbox: &Mailbox) -> bool {
        let leaves = self.addresses.leave(id, mailbox);
        if leaves {
            self.wake_at(wake_at);
        }
        leaves
    }

    /// So many sessions are in memory that one without work is in the way.
    pub fn is_crowded(&self) -> bool {
        self.addresses.count() >= limits::CROWDED
    }

    /// Counts a panic of a session's task; the pause that it must make now.
    fn fell(&self, session: SessionId) -> Duration {
        let mut falls = locked(&self.falls);
        let pause = falls.entry(session).or_insert(limits::FALL_PAUSE_MIN);
        let now = *pause;
        *pause = pause.saturating_mul(2).min(limits::FALL_PAUSE_MAX);
        now
    }

    pub fn draw_boot(&self) -> Boot {
        Boot(self.world.random() & ((1 << 53) - 1))
    }
}

/// Whether one session counts among those that a drain waits for.
pub(crate) struct Busy {
    all: Arc<AtomicUsize>,
    counts: bool,
}

impl Busy {
    pub fn new(shared: &Shared) -> Self {
        Self { all: Arc::clone(&shared.busy), counts: false }
    }

    pub fn set(&mut self, busy: bool) {
        match (self.counts, busy) {
            (false, true) => drop(self.all.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.all.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        self.counts = busy;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.set(false);
    }
}

fn used(store: &Store, windows: Vec<Window>) -> Vec<WindowState> {
    let keys: Vec<String> = windows.iter().map(|window| window.key.clone()).collect();
    let settled = Amount { tokens: u64::MAX, micro_usd: u64::MAX };
    let used_up = Used { settled, reserved: Amount::ZERO };
    let used = store.ledger(&keys).unwrap_or_else(|_| vec![used_up; keys.len()]);
    windows.into_iter().zip(used).map(|(window, used)| WindowState { window, used }).collect()
}

/// A cheap handle on a running home.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    home: HomeHandle,
    admission: Arc<Admission>,
}

impl Engine {
    /// Opens the home's stream, puts the policy in force and wakes what is due.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    pub async fn start(
        store: Store,
        world: Arc<dyn World>,
        mut policy: Policy,
        config_text: &str,
        limits: Limits,
    ) -> Result<Self, EngineError> {
        let home = HomeHandle::open(store.clone(), Arc::clone(&world)).await?;
        policy.epoch = home.configure(config_text, "start", None).await?;
        let shared = Arc::new(Shared {
            boot: Boot(world.random() & ((1 << 53) - 1)),
            lineage: store.lineage(),
            model_slots: Arc::new(Semaphore::new(limits::MODEL_SLOTS)),
            tool_slots: Arc::new(Semaphore::new(limits::TOOL_SLOTS)),
            policy: Mutex::new(Arc::new(policy)),
            switches: Mutex::new(home.switches()),
            addresses: Addresses::default(),
            next_wake: Mutex::new(None),
            sooner: Notify::new(),
            totals: Mutex::new(Totals::default()),
            settled: watch::Sender::new(()),
            falls: Mutex::default(),
            busy: Arc::default(),
            store,
            world,
        });
        let admission = Arc::new(Admission::new(limits.messages_per_minute));
        let engine = Self { shared, home, admission };
        tokio::spawn(wake_sessions(engine.clone()));
        Ok(engine)
    }

    #[must_use]
    pub fn home(&self) -> &HomeHandle {
        &self.home
    }

    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.store.clone())
    }

    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.shared.policy()
    }

    #[must_use]
    pub fn now(&self) -> Millis {
        self.shared.world.now()
    }

    #[must_use]
    pub fn world(&self) -> &dyn World {
        &*self.shared.world
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// A fresh name for a session.
    #[must_use]
    pub fn new_session_id(&self) -> SessionId {
        let mut id = [0u8; 10];
        let random = u128::from(self.shared.world.random()) << 64 | u128::from(self.shared.world.random());
        id.iter_mut().zip(random.to_le_bytes()).for_each(|(to, from)| *to = from);
        SessionId(id)
    }

    /// Puts another checked config in force: a home record with its difference, then every live
    /// session looks at its work again.
    ///
    /// # Errors
    /// The journal cannot be written; the old config stays.
    pub async fn reload(
        &self,
        mut policy: Policy,
        config_text: &str,
        by: &str,
        key: Option<Key>,
        limits: Limits,
    ) -> Result<u64, EngineError> {
        let epoch = self.home.configure(config_text, by, key).await?;
        policy.epoch = epoch;
        *locked(&self.shared.policy) = Arc::new(policy);
        self.admission.set_rate(limits.messages_per_minute);
        self.shared.addresses.look();
        self.home.announce();
        Ok(epoch)
    }

    /// # Errors
    /// The journal cannot be written.
    pub async fn freeze(&self, frozen: bool, by: &str, key: Option<Key>) -> Result<(), EngineError> {
        let (engine, by) = (self.clone(), by.to_owned());
        whole(async move {
            let done = engine.home.freeze(frozen, &by, key).await;
            // Also after an error: what the journal has is in force.
            {
                let mut switches = locked(&engine.shared.switches);
                *switches = Switches { draining: switches.draining, ..engine.home.switches() };
            }
            engine.shared.addresses.look();
            engine.home.announce();
            done
        })
        .await
    }

    pub(crate) async fn send(
        &self,
        role: Role,
        session: SessionId,
        command: Command,
        key: Option<Key>,
    ) -> Result<Accepted, EngineError> {
        if self.is_draining() {
            return Err(EngineError::Draining);
        }
        let (reply, answer) = oneshot::channel();
        self.ask(role, session, Letter::Command(Box::new(Asked { command, key, reply })), answer).await
    }

    /// Posts a letter to a session, which is woken for it, and waits for what it answers.
    async fn ask<T>(
        &self,
        role: Role,
        session: SessionId,
        mut letter: Letter,
        answer: oneshot::Receiver<Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        // One that left memory in this very moment is woken again.
        while let Err(mpsc::error::SendError(back)) = self.wake(session, Some(role))?.send(letter).await {
            letter = back;
        }
        answer.await.unwrap_or_else(|_| {
            let fell = || EngineError::Internal("the session's task ended before it could answer".to_owned());
            Err(if self.is_draining() { EngineError::Draining } else { fell() })
        })
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.switches().draining
    }

    #[must_use]
    pub fn boot(&self) -> Boot {
        self.shared.boot
    }

    /// What was done since the process began.
    #[must_use]
    pub fn totals(&self) -> Totals {
        locked(&self.shared.totals).clone()
    }

    /// Listens to a session.
    ///
    /// # Errors
    /// The session could not be woken, or its journal cannot be read.
    pub async fn subscribe(&self, role: Role, session: SessionId) -> Result<broadcast::Receiver<Event>, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.ask(role, session, Letter::Subscribe(reply), answer).await
    }

    /// The address of a session's task, started if need be; `role` is that of whoever needs it.
    fn wake(&self, session: SessionId, role: Option<Role>) -> Result<Address, EngineError> {
        let is_kept_for = matches!(role, Some(Role::Owner | Role::Operator));
        let most = limits::LIVE_MAX - if is_kept_for { 0 } else { limits::LIVE_KEPT };
        self.shared.addresses.of(session, most, |address, mailbox| {
            let task = SessionTask::new(Arc::clone(&self.shared), session, mailbox, address.downgrade());
            let task = task.map_err(|error| EngineError::Unreadable(error.to_string()))?;
            tokio::spawn(watch_over(self.clone(), session, tokio::spawn(task.run())));
            Ok(())
        })
    }

    /// Stops admitting and starting; waits until what runs has ended, at most `deadline`.
    pub async fn drain(&self, deadline: Duration) {
        locked(&self.shared.switches).draining = true;
        self.shared.addresses.look();
        let until = tokio::time::Instant::now() + deadline;
        while self.shared.busy.load(Ordering::Relaxed) > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(limits::DRAIN_LOOK).await;
        }
    }

    /// Sessions in memory.
    #[must_use]
    pub fn live_sessions(&self) -> usize {
        self.shared.addresses.count()
    }

    /// How many sessions have left memory since the process began.
    #[must_use]
    pub fn departures(&self) -> watch::Receiver<u64> {
        self.shared.addresses.departures()
    }
}

/// Wakes sessions that are not in memory and have something to do: at start all that were cut,
/// later whatever a timer of theirs is due for.
async fn wake_sessions(engine: Engine) {
    loop {
        // Forgotten before the journal is read, so that a time noted meanwhile is never lost.
        *locked(&engine.shared.next_wake) = None;
        let store = engine.shared.store.clone();
        let now = engine.shared.world.now();
        let found = tokio::task::spawn_blocking(move || (store.due(now), store.next_wake())).await;
        let (due, mut next) = match found {
            Ok((Ok(due), Ok(next))) => (due, next),
            Ok((Err(StoreError::Closed), _) | (_, Err(StoreError::Closed))) => return,
            Ok((Err(error), _) | (_, Err(error))) => {
                tracing::error!(%error, "sessions that are due cannot be looked for; it is tried again");
                (Vec::new(), Some(now))
            }
            Err(error) => {
                tracing::error!(%error, "the search for sessions that are due failed; it is tried again");
                (Vec::new(), Some(now))
            }
        };
        for session in due {
            match engine.wake(session, None) {
                Ok(address) => drop(address.try_send(Letter::Look)),
                Err(error) => {
                    tracing::warn!(%session, %error, "a due session waits");
                    next = Some(now);
                }
            }
        }
        let Some(at) = engine.shared.first_wake(next) else {
            engine.shared.sooner.notified().await;
            continue;
        };
        let ahead = Duration::from_millis(at.saturating_sub(engine.shared.world.now()));
        let pause = if at <= now { limits::WAKE_PAUSE_MIN } else { ahead };
        let _ = tokio::time::timeout(pause, engine.shared.sooner.notified()).await;
    }
}

/// A panic ends the task of its session and no other. The session goes on from the journal, after a
/// pause that grows from panic to panic.
async fn watch_over(engine: Engine, session: SessionId, task: JoinHandle<()>) {
    let Err(error) = task.await else {
        locked(&engine.shared.falls).remove(&session);
        return;
    };
    if !error.is_panic() {
        return;
    }
    let pause = engine.shared.fell(session);
    tracing::error!(%session, ?pause, "the task of a session panicked; it is woken again after a pause");
    tokio::time::sleep(pause).await;
    match engine.wake(session, None) {
        Ok(address) => drop(address.try_send(Letter::Look)),
        Err(error) => tracing::error!(%session, %error, "a session whose task panicked waits for its next letter"),
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("boot", &self.shared.boot).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use backstay_kernel::budget::Ceiling;
    use backstay_store::Options;

    use super::*;

    #[test]
    fn a_ledger_that_cannot_be_read_counts_as_used_up() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::create(home.path(), Options { ballast_bytes: 0, free_bytes_min: 1 }).unwrap();
        let ceiling = Ceiling { tokens: Some(u64::MAX - 1), micro_usd: Some(u64::MAX - 1) };
        let windows = vec![Window { key: "agent:main/day".into(), ceiling }];
        let holds = |states: Vec<WindowState>| states[0].window.ceiling.holds(states[0].used.sum());
        assert!(holds(used(&store, windows.clone())));
        store.close().unwrap();
        assert!(!holds(used(&store, windows)));
    }
}
