//! The ledger holds its ceilings whatever the order of the appends.
use backstay_kernel::budget::{Amount, Ceiling, LedgerEntry, Used};
use backstay_store::{Append, AppendError};

use crate::harness::TestHome;

const KEY: &str = "home/day/2026-11-21";

fn reserve(tokens: u64, most: u64) -> LedgerEntry {
    let ceiling = Ceiling { tokens: Some(most), micro_usd: None };
    LedgerEntry::Reserve { key: KEY.into(), amount: Amount { tokens, micro_usd: 5 }, ceiling }
}

fn with(append: Append, ledger: Vec<LedgerEntry>) -> Append {
    Append { ledger, ..append }
}

fn used(home: &TestHome) -> Amount {
    home.store.ledger(&["other".into(), KEY.into()]).unwrap()[1].sum()
}

#[test]
fn sessions_that_share_a_budget_never_pass_it_together() {
    let home = TestHome::new();
    let home = &home;
    let fitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4u8)
            .map(|thread| {
                scope.spawn(move || {
                    let appends = (0..25).map(|n| with(home.first(1 + thread * 25 + n), vec![reserve(10, 105)]));
                    home.commit_all(appends.collect()).iter().filter(|outcome| outcome.is_ok()).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(fitted, 10);
    assert_eq!(used(home), Amount { tokens: 100, micro_usd: 50 });
    assert_eq!(home.store.stats().unwrap().entries, 10);
}

#[test]
fn a_reservation_that_does_not_fit_takes_the_others_of_its_append_back() {
    let home = TestHome::new();
    home.commit(with(home.first(1), vec![reserve(60, 100)])).unwrap();
    let also = LedgerEntry::Reserve {
        key: "agent".into(),
        amount: Amount { tokens: 1, micro_usd: 0 },
        ceiling: Ceiling::default(),
    };
    let refused = home.commit(with(home.first(2), vec![also, reserve(41, 100)]));
    assert_eq!(refused, Err(AppendError::Budget { key: KEY.into() }));
    assert_eq!(home.store.ledger(&["agent".into()]).unwrap(), [Used::default()]);
    home.commit(with(home.first(2), vec![reserve(40, 100)])).unwrap();
    assert_eq!(used(&home).tokens, 100);
}

#[test]
fn a_first_reservation_meets_the_ceiling_too_and_money_is_fenced_like_tokens() {
    let home = TestHome::new();
    assert!(home.commit(with(home.first(1), vec![reserve(101, 100)])).is_err());
    let dollars = |micro_usd| LedgerEntry::Reserve {
        key: KEY.into(),
        amount: Amount { tokens: u64::MAX, micro_usd },
        ceiling: Ceiling { tokens: None, micro_usd: Some(10) },
    };
    home.commit(with(home.first(1), vec![dollars(7)])).unwrap();
    assert!(home.commit(with(home.first(2), vec![dollars(4)])).is_err());
    home.commit(with(home.first(2), vec![dollars(3)])).unwrap();
}

#[test]
fn a_bill_replaces_its_reservation_even_above_the_ceiling() {
    let home = TestHome::new();
    home.commit(with(home.first(1), vec![reserve(60, 100)])).unwrap();
    let settle = |spent| LedgerEntry::Settle {
        key: KEY.into(),
        reserved: Amount { tokens: 60, micro_usd: 5 },
        spent: Amount { tokens: spent, micro_usd: 1 },
    };
    home.commit(with(home.next(1, 2), vec![settle(20)])).unwrap();
    assert_eq!(used(&home), Amount { tokens: 20, micro_usd: 1 });
    home.commit(with(home.next(1, 4), vec![reserve(60, 100)])).unwrap();
    home.commit(with(home.next(1, 6), vec![settle(200)])).unwrap();
    assert_eq!(used(&home), Amount { tokens: 220, micro_usd: 2 });
    assert!(home.commit(with(home.next(1, 8), vec![reserve(1, 100)])).is_err());
}
