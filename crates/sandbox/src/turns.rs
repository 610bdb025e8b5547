//! One command at a time in a writable directory: what is new in it afterwards is that command's.
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits::LOOK;

static TAKEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static FREED: Condvar = Condvar::new();

/// Directories that are this one's until it is dropped.
#[derive(Debug)]
pub struct Alone(Vec<String>);

/// `None`: they did not become free in time, or before it was called off.
pub fn alone(roots: &[String], until: Instant, halt: &AtomicBool) -> Option<Alone> {
    let mut taken = lock();
    loop {
        if !roots.iter().any(|root| taken.iter().any(|other| overlap(root, other))) {
            taken.extend_from_slice(roots);
            return Some(Alone(roots.to_vec()));
        }
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        if halt.load(Ordering::Acquire) {
            return None;
        }
        taken = FREED.wait_timeout(taken, left.min(LOOK)).unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let mut taken = lock();
        for root in &self.0 {
            if let Some(at) = taken.iter().position(|other| other == root) {
                taken.swap_remove(at);
            }
        }
        FREED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, Vec<String>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn overlap(one: &str, other: &str) -> bool {
    Path::new(one).starts_with(other) || Path::new(other).starts_with(one)
}
