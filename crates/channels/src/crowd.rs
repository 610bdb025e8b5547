//! Bounds the connections that nobody has vouched for: how many one address may hold open before
//! it shows a valid token.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::STRANGERS_MAX;

#[derive(Clone, Default, Debug)]
pub struct Crowd {
    strangers: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Crowd {
    /// A place for a new connection, or none.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Option<Stranger> {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = strangers.entry(address).or_insert(0);
        if *count >= STRANGERS_MAX {
            return None;
        }
        *count += 1;
        let place = Place { crowd: self.clone(), address, left: AtomicBool::new(false) };
        Some(Stranger(Arc::new(place)))
    }

    fn leave(&self, address: IpAddr) {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = strangers.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                strangers.remove(&address);
            }
        }
    }
}

/// A connection without a valid token so far; its place is free when it has shown one or is gone.
#[derive(Clone, Debug)]
pub struct Stranger(Arc<Place>);

#[derive(Debug)]
struct Place {
    crowd: Crowd,
    address: IpAddr,
    left: AtomicBool,
}

impl Stranger {
    pub fn known(&self) {
        self.0.leave();
    }
}

impl Place {
    fn leave(&self) {
        if !self.left.swap(true, Ordering::Relaxed) {
            self.crowd.leave(self.address);
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
        drop((held, again));
        assert!(crowd.strangers.lock().unwrap().is_empty());
    }
}
