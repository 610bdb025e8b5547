//! Gives memory back to the system after a busy hour. What a session held is freed when it leaves
//! memory, but glibc keeps the pages for whoever asks next: most of what the busiest moment took.
use backstay_engine::Engine;

use crate::limits::{DEPARTURES_MIN, GIVE_BACK_PAUSE};

/// Goes on for as long as the engine does; wakes only when sessions leave memory.
pub async fn watch(engine: Engine) {
    let mut departures = engine.departures();
    let mut seen = 0;
    while departures.changed().await.is_ok() {
        tokio::time::sleep(GIVE_BACK_PAUSE).await;
        let departed = *departures.borrow_and_update();
        if is_worth_it(departed - seen, engine.live_sessions()) {
            seen = departed;
            let _ = tokio::task::spawn_blocking(give_back).await;
        }
    }
}

fn is_worth_it(departed: u64, live: usize) -> bool {
    departed >= DEPARTURES_MIN || (departed > 0 && live == 0)
}

/// Returns every free page of the heap to the system.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "malloc_trim takes no pointer, keeps every allocation and may be called by any thread")]
fn give_back() {
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators do it by themselves.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn pages_between_what_is_still_used_are_given_back() {
        const PIECES: usize = 32 * 1024;
        let mut pieces: Vec<Vec<u8>> = (0..PIECES).map(|_| vec![1; 2048]).collect();
        // What is at the end of the heap keeps it from shrinking by itself.
        let last = pieces.pop();
        let full = resident_kib();
        drop(pieces);
        give_back();
        assert!(resident_kib() + 48 * 1024 < full, "of 64 MiB at least 48 are given back");
        drop(last);
    }

    #[test]
    fn a_few_departures_are_waited_out_while_others_live() {
        assert!(!is_worth_it(DEPARTURES_MIN - 1, 1));
        assert!(is_worth_it(DEPARTURES_MIN, 1));
        assert!(is_worth_it(1, 0));
        assert!(!is_worth_it(0, 0));
    }
}
