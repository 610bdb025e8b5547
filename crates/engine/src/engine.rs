//! The engine of one home: which sessions live, and who wakes them.
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_kernel::frame::{Frame, Slots, Switches};
use backstay_kernel::id::{Boot, Millis, SessionId};
use backstay_kernel::mode::{Scope, WorkMode};
use backstay_kernel::policy::{Policy, Role};
use backstay_kernel::{Session, apply, decide};
use backstay_store::{Store, StoreError};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::addresses::{Address, Addresses};
use crate::error::EngineError;
use crate::events::Event;
use crate::fold::{fold, restore_of};
use crate::home::{HomeHandle, whole};
use crate::limits;
use crate::live::{Accepted, Asked, Command, Key, Letter};
use crate::rate::Rate;
use crate::read::Reader;
use crate::session::SessionTask;
use crate::shared::{Shared, locked};
use crate::totals::Totals;
use crate::waits::{Short, Waits};
use crate::world::World;

/// `[limits]` of the config.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub messages_per_minute: u32,
}

/// A cheap handle on a running home.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    rate: Arc<Rate>,
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
            totals: Mutex::new(Totals::new()),
            settled: watch::Sender::new(()),
            waits: Waits::new(),
            journaled: watch::Sender::new(0),
            falls: Mutex::default(),
            busy: Arc::default(),
            store,
            home,
            world,
        });
        let rate = Arc::new(Rate::new(limits.messages_per_minute));
        let engine = Self { shared, rate };
        tokio::spawn(wake_sessions(engine.clone()));
        Ok(engine)
    }

    #[must_use]
    pub fn home(&self) -> &HomeHandle {
        &self.shared.home
    }

    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.store.clone())
    }

    /// A session as whoever speaks to it will meet it. One that was not woken since a restore has not
    /// noted it yet; what it will note is shown already, and written when it is woken.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn look(&self, session: SessionId) -> Result<Session, EngineError> {
        let mut state = fold(self.store(), session).map_err(EngineError::Unreadable)?.state;
        let Some(input) = restore_of(&state, self.store().lineage()) else { return Ok(state) };
        let (policy, slots) = (self.policy(), Slots { model: 0, tool: 0 });
        let switches = self.home().switches();
        let (now, boot, allowance, standing) = (self.now(), self.boot(), Vec::new(), Vec::new());
        let frame = Frame { now, boot, policy: &policy, switches, slots, allowance, standing, reached: Arc::default() };
        let records = decide(&state, input, &frame).map_err(|refusal| EngineError::Internal(refusal.to_string()))?;
        records.iter().for_each(|record| apply(&mut state, record));
        Ok(state)
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

    pub(crate) fn rate(&self) -> &Rate {
        &self.rate
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
        let epoch = self.home().configure(config_text, by, key).await?;
        policy.epoch = epoch;
        *locked(&self.shared.policy) = Arc::new(policy);
        self.rate.set(limits.messages_per_minute);
        self.shared.addresses.look();
        self.home().announce();
        Ok(epoch)
    }

    /// Takes the tools of a server away, at once and for good: it is other than it was pinned.
    ///
    /// # Errors
    /// The journal cannot be written; the tools are gone from this process all the same.
    pub async fn unpin(&self, server: &str, why: String) -> Result<(), EngineError> {
        let (engine, server) = (self.clone(), server.to_owned());
        whole(async move {
            let done = engine.home().unpin(&server, why, "drift").await;
            let mut policy = Policy::clone(&engine.policy());
            let prefix = format!("{server}__");
            policy.tools.retain(|name, _| !name.starts_with(&prefix));
            let epoch = engine.home().state().epoch;
            *locked(&engine.shared.policy) = Arc::new(Policy { epoch, ..policy.sealed() });
            engine.shared.addresses.look();
            engine.home().announce();
            done.map(drop)
        })
        .await
    }

    /// # Errors
    /// The journal cannot be written.
    pub async fn freeze(&self, frozen: bool, by: &str, key: Option<Key>) -> Result<(), EngineError> {
        let (engine, by) = (self.clone(), by.to_owned());
        whole(async move {
            let done = engine.home().freeze(frozen, &by, key).await;
            // Also after an error: what the journal has is in force.
            {
                let mut switches = locked(&engine.shared.switches);
                *switches = Switches { draining: switches.draining, ..engine.home().switches() };
            }
            engine.shared.addresses.look();
            engine.home().announce();
            done
        })
        .await
    }

    /// # Errors
    /// The journal cannot be written.
    pub async fn set_mode(&self, scope: Scope, mode: WorkMode, by: &str, key: Option<Key>) -> Result<(), EngineError> {
        let (engine, by) = (self.clone(), by.to_owned());
        whole(async move {
            let done = engine.home().set_mode(scope, mode, &by, key).await;
            // Whatever waits is looked at under it.
            engine.shared.addresses.look();
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
        let command = command.cleaned(&|text| self.shared.world.clean(text));
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

    /// As the world counts them.
    #[must_use]
    pub fn redactions(&self) -> BTreeMap<String, u64> {
        self.shared.world.redactions()
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

    /// Whether a session is in memory: what it has read and written lately is at hand.
    #[must_use]
    pub fn is_live(&self, session: SessionId) -> bool {
        self.shared.addresses.has(session)
    }

    /// Sessions in memory.
    #[must_use]
    pub fn live_sessions(&self) -> usize {
        self.shared.addresses.count()
    }

    /// Tells how many records of sessions were committed since the process began.
    #[must_use]
    pub fn journaled(&self) -> watch::Receiver<u64> {
        self.shared.journaled.subscribe()
    }

    /// Changes where somebody outside may have begun or ceased to be waited for: a person, a provider,
    /// money, the disk.
    #[must_use]
    pub fn waits(&self) -> watch::Receiver<()> {
        self.shared.waits.subscribe()
    }

    pub(crate) fn waits_changed(&self) {
        self.shared.waits.changed();
    }

    /// Agents whose turns end for want of budget in this hour.
    #[must_use]
    pub fn short(&self) -> Vec<Short> {
        self.shared.waits.short(self.now())
    }

    /// Whether the journal takes something new.
    ///
    /// # Errors
    /// Why it does not; those who tell of it are told.
    pub(crate) fn writable(&self) -> Result<(), EngineError> {
        self.store().writable().map_err(|error| {
            self.shared.waits.journal(false);
            EngineError::Halted(error.to_string())
        })
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
