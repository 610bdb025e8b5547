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
    waiting: BTreeMap<u64, (Option<IpAddr>, Arc<Notify>)>,
    by_address: HashMap<IpAddr, u32>,
    entered: u64,
}

impl Crowd {
    /// A place for a new connection. Where its address holds too many, the oldest of them is hung up
    /// on: the newest may be somebody with a valid token who shares the address.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Stranger {
        let mut strangers = self.lock();
        let count = strangers.by_address.entry(address).or_insert(0);
        *count += 1;
        if *count > STRANGERS_MAX {
            let of_it = |(number, (from, _)): (&u64, &(Option<IpAddr>, _))| (*from == Some(address)).then_some(*number);
            let oldest = strangers.waiting.iter().find_map(of_it);
            strangers.hang_up_on(oldest);
        }
        self.place(&mut strangers, Some(address))
    }

    /// A place for a proxy's connection: many people come from its one address.
    #[must_use]
    pub fn enter_by_proxy(&self) -> Stranger {
        self.place(&mut self.lock(), None)
    }

    /// Hangs up on the one who has shown nothing for longest; false where there is none.
    #[must_use]
    pub fn make_room(&self) -> bool {
        let mut strangers = self.lock();
        let oldest = strangers.waiting.first_key_value().map(|(number, _)| *number);
        strangers.hang_up_on(oldest)
    }

    fn place(&self, strangers: &mut Strangers, address: Option<IpAddr>) -> Stranger {
        strangers.entered += 1;
        let (number, hang_up) = (strangers.entered, Arc::new(Notify::new()));
        strangers.waiting.insert(number, (address, Arc::clone(&hang_up)));
        Stranger(Arc::new(Place { crowd: self.clone(), number, address: Mutex::new(address), hang_up }))
    }

    fn lock(&self) -> MutexGuard<'_, Strangers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Strangers {
    /// Its place is free when its connection is gone.
    fn hang_up_on(&mut self, number: Option<u64>) -> bool {
        let found = number.and_then(|number| self.waiting.remove(&number));
        found.map(|(_, hang_up)| hang_up.notify_one()).is_some()
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
    use std::task::{Context, Waker};

    use super::*;

    fn is_hung_up(stranger: &Stranger) -> bool {
        let waits = std::pin::pin!(stranger.hung_up());
        waits.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_strangers_of_an_address_give_way_to_its_newest() {
        let crowd = Crowd::default();
        let (address, other) = (IpAddr::from([203, 0, 113, 1]), IpAddr::from([203, 0, 113, 2]));
        let elsewhere = crowd.enter(other);
        let proxied: Vec<_> = (0..=STRANGERS_MAX).map(|_| crowd.enter_by_proxy()).collect();
        let held: Vec<_> = (0..STRANGERS_MAX).map(|_| crowd.enter(address)).collect();
        held[0].known();
        held[0].known();
        let fills_the_place = crowd.enter(address);
        assert!(!held.iter().any(is_hung_up), "one place was freed");
        let newest = [crowd.enter(address), crowd.enter(address)];
        let gone: Vec<_> = held.iter().map(is_hung_up).collect();
        assert_eq!(gone.iter().filter(|gone| **gone).count(), 2);
        assert!(gone[1] && gone[2], "the oldest that are not known, one for one");
        assert!(!is_hung_up(&elsewhere) && !proxied.iter().chain(&newest).any(is_hung_up));
        drop((held, fills_the_place, newest, proxied, elsewhere));
        let left = crowd.lock();
        assert!(left.by_address.is_empty() && left.waiting.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room_and_nobody_who_is_known() {
        let crowd = Crowd::default();
        let [known, first, second] = [1, 2, 3].map(|n| crowd.enter([203, 0, 113, n].into()));
        known.known();
        assert!(crowd.make_room());
        first.hung_up().await;
        assert!(crowd.make_room());
        second.hung_up().await;
        assert!(!crowd.make_room());
    }
}
