//! What all sessions of a home share: the journal, the world, what is in force, the queues, and the
//! numbers.
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backstay_kernel::budget::{Amount, Used, Window, WindowState};
use backstay_kernel::frame::Switches;
use backstay_kernel::id::{Boot, Millis, SessionId};
use backstay_kernel::policy::Policy;
use backstay_store::{Append, AppendError, Durable, Store, StoreError};
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::addresses::{Addresses, Mailbox};
use crate::events::Event;
use crate::fold::{Folded, fold};
use crate::home::HomeHandle;
use crate::limits;
use crate::totals::Totals;
use crate::waits::Waits;
use crate::world::World;

/// What all sessions of a home share.
pub(crate) struct Shared {
    pub store: Store,
    pub home: HomeHandle,
    pub world: Arc<dyn World>,
    pub boot: Boot,
    pub lineage: u64,
    pub model_slots: Arc<Semaphore>,
    pub tool_slots: Arc<Semaphore>,
    pub policy: Mutex<Arc<Policy>>,
    pub switches: Mutex<Switches>,
    pub addresses: Addresses,
    /// The earliest moment at which a session that is not in memory has something to do.
    pub next_wake: Mutex<Option<Millis>>,
    pub sooner: Notify,
    pub totals: Mutex<Totals>,
    /// Told whenever what was reserved in the ledger is settled.
    pub settled: watch::Sender<()>,
    pub waits: Waits,
    /// Records of sessions that were committed since the process began.
    pub journaled: watch::Sender<u64>,
    /// The next pause of each session whose task has panicked.
    pub falls: Mutex<HashMap<SessionId, Duration>>,
    /// Sessions with something that runs, or that has ended and is not in the journal yet.
    pub busy: Arc<AtomicUsize>,
}

/// A poisoned lock only says that a thread panicked elsewhere; these values are replaced whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
        match &outcome {
            Ok(_) => {
                locked(&self.totals).appends.note(since.elapsed());
                self.waits.journal(true);
            }
            Err(AppendError::Store(_)) => self.waits.journal(false),
            // The journal has answered: what was decided does not hold any more.
            Err(AppendError::Duplicate(_) | AppendError::Stale { .. } | AppendError::Budget { .. }) => {}
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

    pub fn count(&self, committed: &Event, answered: &[Duration]) {
        if let Event::Committed { records, .. } = committed {
            locked(&self.totals).count(records, answered);
            let new = u64::try_from(records.len()).unwrap_or(u64::MAX);
            self.journaled.send_modify(|all| *all = all.saturating_add(new));
        }
    }

    /// The earliest of what was noted and `found`, which is noted from now on.
    pub fn first_wake(&self, found: Option<Millis>) -> Option<Millis> {
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
    pub fn fell(&self, session: SessionId) -> Duration {
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
    if windows.is_empty() {
        return Vec::new();
    }
    let keys: Vec<String> = windows.iter().map(|window| window.key.clone()).collect();
    let settled = Amount { tokens: u64::MAX, micro_usd: u64::MAX };
    let used_up = Used { settled, reserved: Amount::ZERO };
    let used = store.ledger(&keys).unwrap_or_else(|_| vec![used_up; keys.len()]);
    windows.into_iter().zip(used).map(|(window, used)| WindowState { window, used }).collect()
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
