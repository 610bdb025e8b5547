//! Failures of the disk, planted through SQLite's own limits.
use std::sync::mpsc::sync_channel;

use backstay_kernel::id::{Seq, SessionId};

use super::*;
use crate::append::{HeadUpdate, NewSession};
use crate::home::Options;
use crate::store::Store;

fn open(ballast_bytes: u64) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(directory.path(), Options { ballast_bytes, free_bytes_min: 1 }).unwrap();
    (directory, store)
}

fn first(store: &Store, session: u8, size: usize) -> Append {
    let new = NewSession { agent: "main".into(), principal: "ann".into(), channel: "api".into(), title: None };
    Append {
        session: SessionId([session; 10]),
        expected: Seq(0),
        at: 1,
        lineage: store.lineage(),
        records: 1,
        entry: r#"{"v":1,"at":1,"records":[]}"#.into(),
        head: HeadUpdate::default(),
        create: Some(new),
        bodies: vec![store.seal(vec![7; size]).unwrap()],
        inbox: None,
        ledger: Vec::new(),
        snapshot: None,
        memory: None,
    }
}

fn commit(store: &Store, append: Append) -> Outcome {
    let (reply, answer) = sync_channel(1);
    store.append(append, Box::new(move |outcome| reply.send(outcome).unwrap()));
    answer.recv().unwrap()
}

/// The file may not grow any more, on this connection.
fn fill_disk(store: &Store) {
    store.write(|db| Ok(db.pragma_update(None, "max_page_count", 1)?)).unwrap();
}

#[test]
fn a_full_disk_fails_the_append_and_the_next_one_goes_on() {
    let (_directory, store) = open(0);
    fill_disk(&store);
    let failed = commit(&store, first(&store, 1, 1 << 20));
    assert!(matches!(failed, Err(AppendError::Store(StoreError::Full(_)))), "{failed:?}");
    assert!(matches!(store.writable(), Err(StoreError::Full(_))));
    assert!(store.load(SessionId([1; 10]), 1).unwrap().is_none());
    assert!(commit(&store, first(&store, 1, 1 << 20)).is_ok());
    assert_eq!(store.writable(), Ok(()));
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn on_a_full_disk_the_ballast_makes_room_for_what_is_under_way() {
    let (directory, store) = open(1 << 20);
    let ballast = directory.path().join("state.ballast");
    assert!(ballast.exists());
    fill_disk(&store);
    assert!(commit(&store, first(&store, 1, 1 << 20)).is_ok());
    assert!(!ballast.exists());
    assert_eq!(store.writable(), Ok(()));
    assert!(ballast.exists(), "it comes back with the room");
}

#[test]
fn after_an_io_error_the_file_is_opened_again_from_disk() {
    let (_directory, store) = open(0);
    assert!(commit(&store, first(&store, 1, 10)).is_ok());
    // The mark is lost with the connection that it was made on.
    store.write(|db| Ok(db.execute_batch("CREATE TEMP TABLE mark(x)")?)).unwrap();
    let failed: Result<(), StoreError> = store.write(|_| Err(StoreError::Io("planted".into())));
    assert!(failed.is_err());
    assert!(store.write(|db| Ok(db.execute_batch("SELECT * FROM temp.mark")?)).is_err());
    assert!(store.load(SessionId([1; 10]), 1).unwrap().is_some());
    assert!(commit(&store, first(&store, 2, 10)).is_ok());
}

#[test]
fn a_failing_writer_recovers_when_it_is_asked_whether_it_is_writable() {
    let (_directory, store) = open(0);
    let failed: Result<(), StoreError> = store.write(|_| Err(StoreError::Io("planted".into())));
    assert!(failed.is_err());
    while store.writable().is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn expired_inbox_rows_go_a_few_per_commit() {
    let (_directory, store) = open(0);
    for n in 0..40u8 {
        let mut append = first(&store, n + 1, 1);
        let expires_at = if n < 20 { 5 } else { 1_000 };
        let body = backstay_kernel::id::Digest::default();
        append.inbox = Some(crate::append::InboxRow { key: [n; 32], seq: Seq(1), body, expires_at });
        append.at = if n < 20 { 1 } else { 10 };
        commit(&store, append).unwrap();
    }
    let left = store.query("SELECT count(*) FROM inbox").unwrap();
    assert_eq!(left.rows, [[crate::query::Cell::Integer(20)]]);
}
