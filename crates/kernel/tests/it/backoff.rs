//! The waits of a model call: jitter, Retry-After, the provider wait and its end.
use backstay_kernel::effect::FailureClass;
use backstay_kernel::limits;
use backstay_kernel::record::{Record, Retried, StopReason};
use backstay_kernel::{Input, Wait};
use proptest::prelude::*;

use crate::harness::{DAY_MS, TestSession};

fn retried(records: &[Record]) -> Option<&Retried> {
    records.iter().find_map(|record| if let Record::Retried(r) = record { Some(r) } else { None })
}

/// Fails once, and starts again as soon as it may.
fn fail(t: &mut TestSession, class: FailureClass, jitter: u64) -> Option<Retried> {
    let records = t.fails(class, None, jitter);
    let retried = retried(&records).cloned()?;
    t.now = t.now.max(retried.not_before);
    t.settle();
    Some(retried)
}

#[test]
pub fn a_retry_waits_and_nothing_is_sent_before_its_moment() {
    let mut t = TestSession::new();
    t.say(1);
    let at = t.now + 5_000;
    t.fails(FailureClass::Wait, Some(at), 0);
    assert_eq!((t.head().wait, t.head().wake_at), (Wait::Backoff, Some(at)));
    t.now = at - 1;
    assert!(t.open().is_empty());
    assert!(t.tell(Input::Prepared { effect: t.model(), request: t.request() }).is_empty());
    t.now = at;
    t.settle();
    assert!(t.start(t.model()).is_ok());
}

#[test]
pub fn after_ten_tries_the_provider_wait_doubles_up_to_ten_minutes_and_ends_after_a_day() {
    let mut t = TestSession::new();
    t.say(1);
    let begun = t.now;
    for _ in 1..limits::ATTEMPTS_MAX {
        assert!(!fail(&mut t, FailureClass::RetrySame, 0).unwrap().provider_wait);
    }
    let mut waits = Vec::new();
    while let Some(retried) = fail(&mut t, FailureClass::RetrySame, 0) {
        assert!(retried.provider_wait && waits.len() < 1_000);
        waits.push((retried.not_before - retried.at) / 1_000);
    }
    assert_eq!(&waits[..6], [60, 120, 240, 480, 600, 600]);
    t.assert_ended(StopReason::ProviderUnavailable);
    assert!((DAY_MS..DAY_MS + 600_000).contains(&(t.now - begun)));
}

#[test]
pub fn ten_minutes_of_failing_are_enough_for_a_provider_wait() {
    let mut t = TestSession::new();
    t.say(1);
    fail(&mut t, FailureClass::RetrySame, 0);
    t.now += limits::ATTEMPTS_MS_MAX;
    let records = t.fails(FailureClass::RetrySame, None, 0);
    assert!(retried(&records).unwrap().provider_wait);
    assert_eq!(t.head().wait, Wait::Provider);
}

#[test]
pub fn what_no_retry_can_help_ends_the_turn() {
    for (class, reason) in [
        (FailureClass::Auth, StopReason::Auth),
        (FailureClass::Quota, StopReason::Quota),
        (FailureClass::Policy, StopReason::Policy),
        (FailureClass::Invalid, StopReason::Invalid),
    ] {
        let mut t = TestSession::new();
        t.say(1);
        t.fails(class, None, 0);
        t.assert_ended(reason);
        assert_eq!(t.session.reserved.tokens, 0);
    }
}

#[test]
pub fn a_cancel_ends_a_wait() {
    for tries in [1, limits::ATTEMPTS_MAX] {
        let mut t = TestSession::new();
        t.say(1);
        for _ in 1..tries {
            fail(&mut t, FailureClass::RetrySame, 0);
        }
        t.fails(FailureClass::RetrySame, None, 500);
        t.cancel();
        t.assert_ended(StopReason::StoppedByUser);
        assert_eq!(t.session.effects.len(), 0);
    }
}

proptest! {
    #[test]
    fn jitter_is_full_and_below_the_doubled_base(jitter in 0u64..1000, tries in 1u32..9) {
        let mut t = TestSession::new();
        t.say(1);
        for _ in 1..tries {
            fail(&mut t, FailureClass::RetrySame, 0);
        }
        let retried = fail(&mut t, FailureClass::RetrySame, jitter).unwrap();
        let most = (limits::BACKOFF_BASE_MS << (tries - 1)).min(limits::BACKOFF_CAP_MS);
        prop_assert_eq!(retried.not_before - retried.at, most * jitter / 1000);
    }

    #[test]
    fn a_retry_after_is_obeyed_and_passed_by_a_tenth_at_most(delay in 0u64..3_600_000, jitter in 0u64..1000) {
        let mut t = TestSession::new();
        t.say(1);
        let records = t.fails(FailureClass::Wait, Some(t.now + delay), jitter);
        let waited = retried(&records).unwrap().not_before - t.now;
        prop_assert!(waited >= delay && waited <= delay + delay / 10);
    }
}

#[test]
fn a_retry_after_beyond_all_reason_is_cut_to_a_day() {
    for retry_at in [u64::MAX, i64::MAX.unsigned_abs(), 1 << 53] {
        let mut t = TestSession::new();
        t.say(1);
        let records = t.fails(FailureClass::Wait, Some(retry_at), 0);
        assert_eq!(retried(&records).unwrap().not_before, t.now + limits::RETRY_AFTER_MS_MAX);
    }
}
