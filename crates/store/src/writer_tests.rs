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
        memories: Vec::new(),
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
        append.inbox = Some(crate::inbox::InboxRow { key: [n; 32], seq: Seq(1), turn: None, body, expires_at });
        append.at = if n < 20 { 1 } else { 10 };
        commit(&store, append).unwrap();
    }
    let left = store.query("SELECT count(*) FROM inbox").unwrap();
    assert_eq!(left.rows, [[crate::query::Cell::Integer(20)]]);
}

#[test]
fn the_writer_has_the_settings_that_make_it_safe() {
    let (_directory, store) = open(0);
    // After a failure too, when the connection is another one.
    for _ in 0..2 {
        let read = |name: &'static str| {
            store.write(move |db| Ok(db.pragma_query_value(None, name, |row| row.get::<_, i64>(0))?)).unwrap()
        };
        assert_eq!(read("page_size"), 4096);
        assert_eq!(read("synchronous"), 2, "full");
        assert_eq!(read("wal_autocheckpoint"), 512);
        assert_eq!(read("journal_size_limit"), 4 << 20);
        assert_eq!(read("secure_delete"), 1);
        assert_eq!(read("cache_size"), -512);
        assert_eq!(read("trusted_schema"), 0);
        let failed: Result<(), StoreError> = store.write(|_| Err(StoreError::Io("planted".into())));
        assert!(failed.is_err());
    }
}

#[test]
fn a_commit_takes_so_many_appends_and_the_rest_wait_for_the_next() {
    let (_directory, store) = open(0);
    let (held, holds) = sync_channel(0);
    let (go, told) = sync_channel::<()>(0);
    let hold = move |_| {
        held.send(()).unwrap();
        let _ = told.recv();
    };
    store.append(first(&store, 0, 1), Box::new(hold));
    holds.recv().unwrap();
    let before = store.stats().unwrap().commits;
    let (done, answers) = sync_channel(BATCH_MAX + 1);
    for n in 1..=BATCH_MAX + 1 {
        let mut append = first(&store, 0, 1);
        append.session.0[..8].copy_from_slice(&n.to_be_bytes());
        let done = done.clone();
        store.append(append, Box::new(move |told| done.send(told).unwrap()));
    }
    drop(go);
    assert!(answers.iter().take(BATCH_MAX + 1).all(|told| told.is_ok()));
    assert_eq!(store.stats().unwrap().commits - before, 2);
}

#[test]
fn the_log_stays_small_while_much_is_written() {
    let (_directory, store) = open(0);
    for session in 1..200u8 {
        commit(&store, first(&store, session, 64 * 1024)).unwrap();
    }
    let stats = store.stats().unwrap();
    assert!(stats.db_bytes > 12 << 20, "{stats:?}");
    assert!(stats.wal_bytes < 3 << 20, "{stats:?}");
}

#[test]
fn an_erasure_that_a_reader_holds_back_says_so() {
    let (directory, store) = open(0);
    let append = first(&store, 1, 10);
    let reference = append.bodies[0].reference();
    commit(&store, append).unwrap();
    let reader = connect::reader(&directory.path().join("state.db")).unwrap();
    let moment = reader.unchecked_transaction().unwrap();
    moment.query_row("SELECT count(*) FROM heads", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(store.erase_body(&reference), Err(StoreError::LogHeld));
    drop(moment);
    assert_eq!(store.erase_body(&reference), Ok(false));
    assert_eq!(store.body(&reference), Ok(None));
}
