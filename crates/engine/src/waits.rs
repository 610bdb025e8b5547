//! Where somebody outside may have begun or ceased to be waited for: told to those who look then, and to
//! nobody at any other time, so that a home in which nothing waits costs them nothing.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use backstay_kernel::budget::next_window_at;
use backstay_kernel::id::{Millis, SessionId};
use backstay_kernel::record::{Cap, Record, StopReason};
use backstay_kernel::{Head, Wait};
use tokio::sync::watch;

use crate::shared::locked;

/// An agent whose turns end since a budget has no room for their next call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Short {
    pub agent: String,
    /// Whose turn was the first of its hour.
    pub session: SessionId,
    pub since: Millis,
    /// Windows of budgets end with an hour: what ends turns after it is told of anew.
    pub until: Millis,
}

pub(crate) struct Waits {
    changed: watch::Sender<()>,
    /// By agent.
    short: Mutex<BTreeMap<String, Short>>,
    is_halted: AtomicBool,
}

impl Waits {
    pub fn new() -> Self {
        Self { changed: watch::Sender::new(()), short: Mutex::default(), is_halted: AtomicBool::new(false) }
    }

    /// Something in a session with this head waits for a person, a provider or money.
    pub fn has(head: &Head) -> bool {
        head.people || matches!(head.wait, Wait::Provider | Wait::Budget)
    }

    pub fn changed(&self) {
        self.changed.send_replace(());
    }

    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Notes a turn of `agent` that ended for want of budget.
    pub fn ended(&self, session: SessionId, agent: &str, at: Millis, records: &[Record]) {
        let budgets = [Cap::TurnBudget, Cap::SessionBudget, Cap::SharedBudget];
        let is_short = |record: &Record| matches!(record, Record::TurnEnded(end) if matches!(end.reason, StopReason::Cap(cap) if budgets.contains(&cap)));
        if records.iter().any(is_short) {
            let (agent, until) = (agent.to_owned(), next_window_at(at));
            let mut short = locked(&self.short);
            if short.get(&agent).is_none_or(|known| known.until != until) {
                short.insert(agent.clone(), Short { agent, session, since: at, until });
                self.changed();
            }
        }
    }

    pub fn short(&self, now: Millis) -> Vec<Short> {
        let mut short = locked(&self.short);
        short.retain(|_, known| known.until > now);
        short.values().cloned().collect()
    }

    /// What an append or an admission has met: whether the journal takes it.
    pub fn journal(&self, works: bool) {
        if self.is_halted.swap(!works, Ordering::Relaxed) == works {
            self.changed();
        }
    }
}
