//! The answers to calls with a key: whoever repeats one gets the same, also while the first is on
//! its way.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use backstay_kernel::id::{Digest, Millis};
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::watch;

use crate::limits::{KEY_KEPT_MS, KEYS_MAX};

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// The answer, once there is one; without its sender there will be none.
type Outcome = watch::Receiver<Option<Answer>>;

#[derive(Debug)]
struct Slot {
    request: Digest,
    outcome: Outcome,
    expires_at: Millis,
}

/// Keys by (principal, key).
#[derive(Default, Debug)]
pub struct Answers {
    slots: Mutex<HashMap<(String, String), Slot>>,
}

pub enum Turn {
    First(watch::Sender<Option<Answer>>),
    Later(Outcome),
    Another,
}

impl Answers {
    /// Whose turn it is to make the call.
    pub fn take(&self, name: &(String, String), request: Digest, now: Millis) -> Turn {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(name).filter(|slot| slot.expires_at > now) {
            let failed = slot.outcome.has_changed().is_err() && slot.outcome.borrow().is_none();
            if slot.request != request {
                return Turn::Another;
            }
            if !failed {
                return Turn::Later(slot.outcome.clone());
            }
        }
        if slots.len() >= KEYS_MAX {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.expires_at).map(|(name, _)| name.clone());
            oldest.map(|name| slots.remove(&name));
        }
        let (sender, outcome) = watch::channel(None);
        slots.insert(name.clone(), Slot { request, outcome, expires_at: now.saturating_add(KEY_KEPT_MS) });
        Turn::First(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(answers: &Answers, key: &str, now: Millis) -> Turn {
        answers.take(&("ann".to_owned(), key.to_owned()), Digest::default(), now)
    }

    #[test]
    fn an_answer_is_kept_for_a_week() {
        let answers = Answers::default();
        let Turn::First(_sender) = take(&answers, "k", 5) else { panic!() };
        assert!(matches!(take(&answers, "k", 4 + KEY_KEPT_MS), Turn::Later(_)));
        assert!(matches!(take(&answers, "k", 5 + KEY_KEPT_MS), Turn::First(_)));
    }

    #[test]
    fn so_many_answers_are_kept_and_the_oldest_is_forgotten() {
        let answers = Answers::default();
        let senders: Vec<Turn> = (0..=KEYS_MAX).map(|n| take(&answers, &n.to_string(), n as u64)).collect();
        assert!(senders.iter().all(|turn| matches!(turn, Turn::First(_))));
        assert_eq!(answers.slots.lock().unwrap().len(), KEYS_MAX);
        assert!(matches!(take(&answers, "1", 0), Turn::Later(_)));
        assert!(matches!(take(&answers, "0", 0), Turn::First(_)));
    }
}
