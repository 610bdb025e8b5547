//! Counts wrong credentials, by address and by the prefix of the token that was presented.
//!
//! A valid token is never counted and never refused here: tokens are 256 random bits, which no
//! number of tries finds, and a lock-out would let a stranger keep the owner out. What the count
//! bounds is the work and the noise that strangers cause.
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backstay_kernel::id::Millis;

use crate::limits::{FAILURE_DELAY_CAP_MS, FAILURE_DELAY_MS, FAILURES_KEPT_MS, FAILURES_MAX, FAILURES_TRACKED_MAX};

/// How a wrong credential is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    After(Duration),
    Blocked { retry_after_s: u64 },
}

#[derive(Default, Debug)]
pub struct Guard {
    addresses: Mutex<Tally<IpAddr>>,
    prefixes: Mutex<Tally<String>>,
}

impl Guard {
    /// Counts one failure; every one counts, whatever else the request carried.
    pub fn failed(&self, address: IpAddr, prefix: Option<String>, now: Millis) -> Failed {
        let count = |found: Count| (found.failures, found.since);
        let mut worst = count(locked(&self.addresses).count(network(address), now));
        if let Some(prefix) = prefix {
            worst = worst.max(count(locked(&self.prefixes).count(prefix, now)));
        }
        let (failures, since) = worst;
        if failures > FAILURES_MAX {
            let left_ms = since.saturating_add(FAILURES_KEPT_MS).saturating_sub(now);
            return Failed::Blocked { retry_after_s: left_ms.div_ceil(1000).max(1) };
        }
        let doublings = failures.saturating_sub(1);
        let delay_ms = FAILURE_DELAY_MS.saturating_mul(1u64.checked_shl(doublings).unwrap_or(u64::MAX));
        Failed::After(Duration::from_millis(delay_ms.min(FAILURE_DELAY_CAP_MS)))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One customer of a provider has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) & !u128::from(u64::MAX)).to_be_bytes()),
        IpAddr::V4(v4) => IpAddr::V4(v4),
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    since: Millis,
}

#[derive(Debug)]
struct Tally<K> {
    counts: HashMap<K, Count>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self { counts: HashMap::new() }
    }
}

impl<K: Hash + Eq + Clone> Tally<K> {
    fn count(&mut self, key: K, now: Millis) -> Count {
        if self.counts.len() >= FAILURES_TRACKED_MAX && !self.counts.contains_key(&key) {
            self.make_room(now);
        }
        let count = self.counts.entry(key).or_insert(Count { failures: 0, since: now });
        if now.saturating_sub(count.since) >= FAILURES_KEPT_MS {
            *count = Count { failures: 0, since: now };
        }
        count.failures = count.failures.saturating_add(1);
        *count
    }

    fn make_room(&mut self, now: Millis) {
        self.counts.retain(|_, count| now.saturating_sub(count.since) < FAILURES_KEPT_MS);
        if self.counts.len() >= FAILURES_TRACKED_MAX {
            let oldest = self.counts.iter().min_by_key(|(_, count)| count.since).map(|(key, _)| key.clone());
            oldest.map(|key| self.counts.remove(&key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    #[test]
    fn delays_grow_to_a_cap_and_then_nothing_is_heard() {
        let guard = Guard::default();
        let mut delays = Vec::new();
        for _ in 0..FAILURES_MAX {
            match guard.failed(address(1), None, 1000) {
                Failed::After(delay) => delays.push(delay.as_millis()),
                Failed::Blocked { .. } => panic!("blocked too early"),
            }
        }
        assert_eq!(delays[..6], [250, 500, 1000, 2000, 4000, 4000]);
        assert_eq!(guard.failed(address(1), None, 31_000), Failed::Blocked { retry_after_s: 30 });
        assert!(matches!(guard.failed(address(2), None, 31_000), Failed::After(_)), "others are heard");
        assert!(matches!(guard.failed(address(1), None, 61_000), Failed::After(_)), "it is forgotten");
    }

    #[test]
    fn one_prefix_from_many_addresses_is_counted_too() {
        let guard = Guard::default();
        let heard = |n: u8| matches!(guard.failed(address(n), Some("bks_12345678".into()), 5), Failed::After(_));
        assert!((0..20).all(heard));
        assert!(!heard(99));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let guard = Guard::default();
        let near = |n: u128| IpAddr::from((0x2001_0db8u128 << 96 | n).to_be_bytes());
        for n in 0..u128::from(FAILURES_MAX) {
            guard.failed(near(n), None, 5);
        }
        assert!(matches!(guard.failed(near(999), None, 5), Failed::Blocked { .. }));
    }

    #[test]
    fn memory_is_bounded() {
        let mut tally = Tally::default();
        for n in 0..FAILURES_TRACKED_MAX as u64 + 500 {
            tally.count(n, n / 1000);
        }
        assert_eq!(tally.counts.len(), FAILURES_TRACKED_MAX);
    }
}
