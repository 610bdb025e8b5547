//! What the messages of sessions may have looked like to their clients, as far as it was read
//! before: a history that grows is read once.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use backstay_kernel::id::{Seq, SessionId};

use crate::limits::HISTORIES_MAX;

/// All that one message may have looked like to the client.
pub type Looks = Vec<u64>;

#[derive(Default, Debug)]
pub struct Pasts {
    known: Mutex<Known>,
}

#[derive(Default, Debug)]
struct Known {
    sessions: HashMap<SessionId, Past>,
    uses: u64,
}

/// A session's messages up to a record after which no turn was open.
#[derive(Clone, Default, Debug)]
pub struct Past {
    pub seq: Seq,
    pub messages: Vec<Looks>,
    used: u64,
}

impl Pasts {
    pub fn get(&self, session: SessionId) -> Past {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.uses += 1;
        let uses = known.uses;
        let past = known.sessions.get_mut(&session).map(|past| {
            past.used = uses;
            past.clone()
        });
        past.unwrap_or_default()
    }

    pub fn put(&self, session: SessionId, seq: Seq, messages: &[Looks]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.sessions.len() >= HISTORIES_MAX && !known.sessions.contains_key(&session) {
            let oldest = known.sessions.iter().min_by_key(|(_, past)| past.used).map(|(id, _)| *id);
            oldest.map(|oldest| known.sessions.remove(&oldest));
        }
        let used = known.uses;
        known.sessions.insert(session, Past { seq, messages: messages.to_vec(), used });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_pasts_are_remembered_and_the_one_unused_longest_is_forgotten() {
        let pasts = Pasts::default();
        let id = |n: usize| {
            let mut id = [0; 10];
            id[..8].copy_from_slice(&n.to_le_bytes());
            SessionId(id)
        };
        for n in 0..=HISTORIES_MAX {
            pasts.get(id(0));
            pasts.put(id(n), Seq(7), &[]);
        }
        assert_eq!(pasts.known.lock().unwrap().sessions.len(), HISTORIES_MAX);
        assert_eq!((pasts.get(id(0)).seq, pasts.get(id(1)).seq), (Seq(7), Seq(0)));
    }
}
