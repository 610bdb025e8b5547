//! How often a principal may speak: a token bucket for each, a minute's worth of messages, refilled
//! evenly.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use backstay_kernel::id::Millis;

use crate::error::EngineError;
use crate::limits::BUCKETS_MAX;

/// One message, so that a millisecond at one message a minute is a whole number.
const MESSAGE: u64 = 60_000;

pub struct Rate {
    per_minute: AtomicU32,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// In [`MESSAGE`]ths of a message.
    level: u64,
    at: Millis,
}

impl Rate {
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute: AtomicU32::new(per_minute), buckets: Mutex::new(HashMap::new()) }
    }

    pub fn set(&self, per_minute: u32) {
        self.per_minute.store(per_minute, Ordering::Relaxed);
    }

    pub fn admit(&self, principal: &str, now: Millis) -> Result<(), EngineError> {
        let per_minute = u64::from(self.per_minute.load(Ordering::Relaxed).max(1));
        let full = per_minute * MESSAGE;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(principal) {
            let oldest = buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(name, _)| name.clone());
            oldest.map(|name| buckets.remove(&name));
        }
        let bucket = buckets.entry(principal.to_owned()).or_insert(Bucket { level: full, at: now });
        let refill = now.saturating_sub(bucket.at).saturating_mul(per_minute);
        bucket.level = bucket.level.saturating_add(refill).min(full);
        bucket.at = now.max(bucket.at);
        if bucket.level < MESSAGE {
            let missing_ms = (MESSAGE - bucket.level).div_ceil(per_minute);
            return Err(EngineError::TooMany { retry_after_s: missing_ms.div_ceil(1000).max(1) });
        }
        bucket.level -= MESSAGE;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_a_minutes_worth_and_refills_evenly() {
        let rate = Rate::new(2);
        assert!(rate.admit("a", 0).is_ok());
        assert!(rate.admit("a", 0).is_ok());
        assert_eq!(rate.admit("a", 0), Err(EngineError::TooMany { retry_after_s: 30 }));
        assert!(rate.admit("b", 0).is_ok(), "another principal has its own bucket");
        assert!(rate.admit("a", 29_000).is_err());
        assert!(rate.admit("a", 30_000).is_ok());
    }

    #[test]
    fn the_principal_who_spoke_least_lately_is_forgotten_for_another() {
        let rate = Rate::new(1);
        for n in 0..=BUCKETS_MAX {
            assert!(rate.admit(&n.to_string(), n as u64).is_ok());
        }
        let buckets = rate.buckets.lock().unwrap();
        assert!(buckets.len() == BUCKETS_MAX && !buckets.contains_key("0"));
    }

    #[test]
    fn a_clock_that_jumps_back_gives_nothing_away() {
        let rate = Rate::new(1);
        assert!(rate.admit("a", 60_000).is_ok());
        assert!(rate.admit("a", 0).is_err());
        assert!(rate.admit("a", 60_000).is_err());
    }
}
