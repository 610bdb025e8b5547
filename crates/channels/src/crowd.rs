//! Bounds the connections that nobody has vouched for: how many one address may hold open before
//! it shows a valid token, and who goes first when the listener is full.
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limits::STRANGERS_MAX;

#[derive(Clone, Default, Debug)]
pub struct Crowd(Arc<Mutex<Strangers>>);

#[derive(Default, Debug)]
struct Strangers {
    /// In the order in which they came.
    waiting: BTreeMap<u64, Arc<Notify>>,
    by_address: HashMap<IpAddr, u32>,
    entered: u64,
}

impl Crowd {
    /// A place for a new connection, or none.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Option<Stranger> {
        let mut strangers = self.lock();
        let count = strangers.by_address.entry(address).or_insert(0);
        if *count >= STRANGERS_MAX {
            return None;
        }
        *count += 1;
        Some(self.place(&mut strangers, Some(address)))
    }

    /// A place for a proxy's connection: many people come from its one address.
    #[must_use]
    pub fn enter_by_proxy(&self) -> Stranger {
        self.place(&mut self.lock(), None)
    }

    /// Hangs up on the one who has shown nothing for longest; false where there is none.
    #[must_use]
    pub fn make_room(&self) -> bool {
        let oldest = self.lock().waiting.pop_first();
        oldest.map(|(_, hang_up)| hang_up.notify_one()).is_some()
    }

    fn place(&self, strangers: &mut Strangers, address: Option<IpAddr>) -> Stranger {
        strangers.entered += 1;
        let (number, hang_up) = (strangers.entered, Arc::new(Notify::new()));
        strangers.waiting.insert(number, Arc::clone(&hang_up));
        Stranger(Arc::new(Place { crowd: self.clone(), number, address: Mutex::new(address), hang_up }))
    }

    fn lock(&self) -> MutexGuard<'_, Strangers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection without a valid token so far; its place is free when it has shown one or is gone.
#[derive(Clone, Debug)]
pub struct Stranger(Arc<Place>);

#[derive(Debug)]
struct Place {
    crowd: Crowd,
    number: u64,
    /// Whose count it is in, until it leaves.
    address: Mutex<Option<IpAddr>>,
    hang_up: Arc<Notify>,
}

impl Stranger {
    pub fn known(&self) {
        self.0.leave();
    }

    /// Ends when the connection must make room for another; never once it is known.
    pub async fn hung_up(&self) {
        self.0.hang_up.notified().await;
    }
}

impl Place {
    fn leave(&self) {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut strangers = self.crowd.lock();
        strangers.waiting.remove(&self.number);
        if let Some(address) = address
            && let Some(count) = strangers.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                strangers.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_of_one_address_are_bounded_and_friends_are_not() {
        let crowd = Crowd::default();
        let address = IpAddr::from([203, 0, 113, 1]);
        let held: Vec<_> = (0..STRANGERS_MAX).map(|_| crowd.enter(address).unwrap()).collect();
        assert!(crowd.enter(address).is_none());
        assert!(crowd.enter([203, 0, 113, 2].into()).is_some());
        held[0].known();
        held[0].known();
        let again = crowd.enter(address);
        assert!(again.is_some());
        assert!(crowd.enter(address).is_none(), "one place was freed once");
        let proxied: Vec<_> = (0..=STRANGERS_MAX).map(|_| crowd.enter_by_proxy()).collect();
        drop((held, again, proxied));
        let left = crowd.lock();
        assert!(left.by_address.is_empty() && left.waiting.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room_and_nobody_who_is_known() {
        let crowd = Crowd::default();
        let [known, first, second] = [1, 2, 3].map(|n| crowd.enter([203, 0, 113, n].into()).unwrap());
        known.known();
        assert!(crowd.make_room());
        first.hung_up().await;
        assert!(crowd.make_room());
        second.hung_up().await;
        assert!(!crowd.make_room());
    }
}
