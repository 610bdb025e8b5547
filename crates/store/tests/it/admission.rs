//! A message is admitted once.
use backstay_kernel::id::{Digest, Seq};
use backstay_store::{Admission, Append, AppendError, InboxRow};

use crate::harness::{TestHome, session};

fn row(key: u8, body: u8, expires_at: u64) -> InboxRow {
    InboxRow { key: [key; 32], seq: Seq(1), turn: Some(Seq(7)), body: Digest([body; 32]), expires_at }
}

fn with(append: Append, row: InboxRow) -> Append {
    Append { inbox: Some(row), ..append }
}

#[test]
fn the_same_key_is_a_duplicate_that_fails_alone() {
    let home = TestHome::new();
    let outcomes = home.commit_all(vec![
        with(home.first(1), row(1, 5, 9_000)),
        with(home.first(2), row(1, 6, 9_000)),
        with(home.first(3), row(2, 7, 9_000)),
    ]);
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    let (body, expires_at) = (Digest([5; 32]), 9_000);
    let first = Admission { session: session(1), seq: Seq(1), turn: Some(Seq(7)), body, expires_at };
    assert_eq!(outcomes[1], Err(AppendError::Duplicate(first)));
    assert!(home.store.head(session(2)).unwrap().is_none());
    assert_eq!(home.store.find_inbox(&[1; 32]).unwrap(), Some(first));
    assert!(home.store.find_inbox(&[3; 32]).unwrap().is_none());
}

#[test]
fn an_expired_key_may_come_again() {
    let home = TestHome::new();
    home.commit(with(home.first(1), row(1, 5, 1_001))).unwrap();
    let early = with(home.first(2), row(1, 6, 9_000));
    assert!(matches!(home.commit(early), Err(AppendError::Duplicate(_))));
    let mut late = with(home.first(2), row(1, 6, 9_000));
    late.at = 1_001;
    home.commit(late).unwrap();
    assert_eq!(home.store.find_inbox(&[1; 32]).unwrap().unwrap().session, session(2));
}
