//! Which turn a request without a key has begun, by the bytes of the request: what a client that
//! says "retry" is matched with as long as the process lives.
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use backstay_kernel::id::{Digest, Place};

use crate::limits::RECENT_MAX;

#[derive(Default, Debug)]
pub struct Recent {
    inner: Mutex<Ring>,
}

#[derive(Default, Debug)]
struct Ring {
    order: VecDeque<Digest>,
    places: HashMap<Digest, Place>,
}

impl Recent {
    pub fn remember(&self, request: Digest, place: Place) {
        let mut ring = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.places.insert(request, place).is_some() {
            return;
        }
        ring.order.push_back(request);
        if ring.order.len() > RECENT_MAX {
            let oldest = ring.order.pop_front();
            oldest.map(|oldest| ring.places.remove(&oldest));
        }
    }

    #[must_use]
    pub fn find(&self, request: &Digest) -> Option<Place> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).places.get(request).copied()
    }

    /// Whether some request of this process began that turn.
    #[must_use]
    pub fn knows(&self, place: Place) -> bool {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).places.values().any(|known| *known == place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstay_kernel::id::{Seq, SessionId};

    #[test]
    fn the_latest_requests_are_remembered() {
        let recent = Recent::default();
        let request = |n: u64| Digest::of("test", &[&n.to_be_bytes()]);
        let place = |n: u64| Place { session: SessionId::HOME, seq: Seq(n) };
        let count = RECENT_MAX as u64 + 10;
        for n in 0..count {
            recent.remember(request(n), place(n));
        }
        assert_eq!(recent.find(&request(9)), None);
        assert_eq!(recent.find(&request(10)), Some(place(10)));
        assert!(recent.knows(place(count - 1)) && !recent.knows(place(0)));
    }
}
