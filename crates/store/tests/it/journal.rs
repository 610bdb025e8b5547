//! The fence, the chain, group commit, and what a crash leaves.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use backstay_kernel::id::Seq;
use backstay_store::{AppendError, Snapshot, Store, StoreError, entry_hash};

use crate::harness::{FOLD, OPTIONS, TestHome, session, tamper};

#[test]
fn what_was_appended_is_loaded_as_it_was() {
    let mut home = TestHome::new();
    let durable = home.commit(home.first(1)).unwrap();
    assert_eq!((durable.session(), durable.seq(), durable.epoch()), (session(1), Seq(2), 1));
    home.commit(home.next(1, 2)).unwrap();
    home.reopen();
    let loaded = home.store.load(session(1), FOLD).unwrap().unwrap();
    assert_eq!((loaded.durable.seq(), loaded.durable.epoch()), (Seq(4), 2));
    let texts: Vec<_> = loaded.entries.iter().map(|e| (e.seq, e.records, e.body.clone())).collect();
    assert_eq!(texts, [(Seq(2), 2, home.first(1).entry), (Seq(4), 2, home.next(1, 2).entry)]);
    let expected = entry_hash(home.store.lineage(), session(1), Seq(4), &loaded.entries[0].hash, &texts[1].2);
    assert_eq!(loaded.head.hash, expected);
    assert!(home.store.load(session(9), FOLD).unwrap().is_none());
}

#[test]
fn a_stale_append_fails_alone_and_leaves_nothing() {
    let home = TestHome::new();
    home.commit(home.first(1)).unwrap();
    let mut stale = home.next(1, 1);
    stale.bodies.push(home.store.seal(b"never stored".to_vec()).unwrap());
    let outcomes =
        home.commit_all(vec![home.first(2), stale, home.next(1, 2), home.first(1), home.next(7, 3), home.first(3)]);
    let words: Vec<_> = outcomes.iter().map(|o| o.as_ref().map(|d| d.seq()).map_err(Clone::clone)).collect();
    assert_eq!(
        words,
        [
            Ok(Seq(2)),
            Err(AppendError::Stale { at: Seq(2) }),
            Ok(Seq(4)),
            Err(AppendError::Stale { at: Seq(4) }),
            Err(AppendError::Stale { at: Seq(0) }),
            Ok(Seq(2)),
        ]
    );
    assert_eq!(home.count("SELECT count(*) FROM bodies"), 0);
    assert_eq!(home.count("SELECT count(*) FROM entries"), 4);
    assert!(home.store.verify().unwrap().is_sound());
}

#[test]
fn only_one_of_many_writers_extends_a_session() {
    let home = TestHome::new();
    home.commit(home.first(1)).unwrap();
    let outcomes = home.commit_all((0..20).map(|_| home.next(1, 2)).collect());
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
}

#[test]
fn an_append_that_breaks_a_rule_of_the_store_fails_alone() {
    let home = TestHome::new();
    let mut empty = home.first(1);
    empty.records = 0;
    let mut unborn = home.next(1, 0);
    unborn.create = None;
    let body = home.store.seal(b"twice".to_vec()).unwrap();
    let mut twice = home.first(3);
    twice.bodies = vec![body.clone(), body];
    for outcome in home.commit_all(vec![empty, unborn, twice]) {
        assert!(matches!(outcome, Err(AppendError::Store(StoreError::Invalid(_)))), "{outcome:?}");
    }
    assert!(home.commit(home.first(1)).is_ok());
    assert_eq!(home.store.writable(), Ok(()));
}

#[test]
fn waiting_appends_share_a_commit() {
    let home = TestHome::new();
    // While the first receipt is held, everything else queues up.
    let gate = Arc::new(Barrier::new(2));
    let held = Arc::clone(&gate);
    home.store.append(
        home.first(1),
        Box::new(move |_| {
            held.wait();
        }),
    );
    let done = Arc::new(AtomicU64::new(0));
    for n in 2..102 {
        let done = Arc::clone(&done);
        home.store.append(
            home.first(n),
            Box::new(move |outcome| {
                outcome.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            }),
        );
    }
    gate.wait();
    home.commit(home.first(200)).unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 100);
    let stats = home.store.stats().unwrap();
    assert_eq!(stats.appends, 102);
    assert!((2..=3).contains(&stats.commits), "{stats:?}");
    assert_eq!((stats.sessions, stats.entries), (102, 102));
}

#[test]
fn a_snapshot_cuts_the_load_and_another_fold_version_does_not_see_it() {
    let home = TestHome::new();
    home.session_of(1, 3);
    let mut append = home.next(1, 6);
    append.snapshot = Some(Snapshot { fold_version: FOLD, body: "folded".into() });
    home.commit(append).unwrap();
    home.commit(home.next(1, 8)).unwrap();
    let loaded = home.store.load(session(1), FOLD).unwrap().unwrap();
    let snapshot = loaded.snapshot.unwrap();
    assert_eq!((snapshot.seq, snapshot.body.as_str()), (Seq(8), "folded"));
    assert_eq!(loaded.entries.iter().map(|e| e.seq.0).collect::<Vec<_>>(), [10]);
    let refolded = home.store.load(session(1), FOLD + 1).unwrap().unwrap();
    assert!(refolded.snapshot.is_none());
    assert_eq!(refolded.entries.len(), 5);
}

#[test]
fn a_page_of_entries_holds_the_records_asked_for() {
    let home = TestHome::new();
    home.session_of(2, 400);
    home.session_of(1, 400);
    for (after, records, first, last) in
        [(2, 4, 4, 6), (3, 2, 4, 6), (0, 1, 2, 2), (254, 2, 256, 256), (254, 3, 256, 258), (0, usize::MAX, 2, 800)]
    {
        let page = home.store.entries_after(session(1), Seq(after), records).unwrap();
        assert_eq!((page[0].seq.0, page.last().unwrap().seq.0), (first, last), "{records} after {after}");
        assert_eq!(page.len() as u64, (last - first) / 2 + 1);
    }
    assert!(home.store.entries_after(session(1), Seq(800), 9).unwrap().is_empty());
    assert!(home.store.entries_after(session(3), Seq(0), 9).unwrap().is_empty());
}

#[test]
fn a_page_of_a_long_session_touches_nothing_far_from_it() {
    let mut home = TestHome::new();
    home.session_of(1, 1_500);
    home.store.close().unwrap();
    // Whoever walks across this entry fails.
    tamper(&home.path(), "DELETE FROM entries WHERE seq = 2000");
    home.store = Store::open(&home.path(), OPTIONS).unwrap();
    for after in [0, 1_000, 2_002, 2_800] {
        let page = home.store.entries_after(session(1), Seq(after), 100).unwrap();
        assert_eq!(page.len(), 50, "after {after}");
    }
    assert!(home.store.entries_after(session(1), Seq(1_950), 100).is_err());
}

#[test]
fn a_changed_byte_breaks_the_chain() {
    for (sql, finding) in [
        ("UPDATE entries SET body = replace(body, 'ann', 'bob') WHERE id = 2", "breaks at 4"),
        ("UPDATE entries SET hash = zeroblob(32) WHERE id = 2", "breaks at 4"),
        ("UPDATE entries SET lineage = 7 WHERE id = 1", "breaks at 2"),
        ("DELETE FROM entries WHERE id = 3", "does not reach its head"),
        ("UPDATE heads SET hash = zeroblob(32)", "does not reach its head"),
        ("UPDATE heads SET seq = 4", "does not reach its head"),
    ] {
        let mut home = TestHome::new();
        home.session_of(1, 3);
        home.store.close().unwrap();
        tamper(&home.path(), sql);
        home.reopen();
        let report = home.store.verify().unwrap();
        assert!(report.faults.iter().any(|f| f.contains(finding)), "{sql}: {report:?}");
        let loaded = home.store.load(session(1), FOLD);
        assert!(matches!(loaded, Err(StoreError::Corrupt(_))), "{sql}: {loaded:?}");
    }
}

#[test]
fn a_copy_taken_while_open_opens_with_every_acknowledged_append() {
    let home = TestHome::new();
    home.session_of(1, 50);
    let copy = home.beside("copy");
    std::fs::create_dir(&copy).unwrap();
    // What a killed process leaves: the file and a log that nobody moved into it.
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(home.path().join(name), copy.join(name)).unwrap();
    }
    let reopened = Store::open(&copy, OPTIONS).unwrap();
    assert_eq!(reopened.load(session(1), FOLD).unwrap().unwrap().durable.seq(), Seq(100));
    let report = reopened.verify().unwrap();
    assert!(report.is_sound());
    assert_eq!((report.sessions, report.entries, report.records), (1, 50, 100));
}

#[test]
fn a_clean_close_leaves_one_file_and_no_log() {
    let home = TestHome::new();
    home.session_of(1, 3);
    home.store.close().unwrap();
    let mut names: Vec<_> =
        std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["state.db", "state.lock"]);
    let outcome = home.commit(home.next(1, 6));
    assert_eq!(outcome, Err(AppendError::Store(StoreError::Closed)));
    assert_eq!(home.store.load(session(1), FOLD), Err(StoreError::Closed));
    assert_eq!(home.store.writable(), Err(StoreError::Closed));
    assert_eq!(home.store.close(), Ok(()));
}

#[test]
fn a_number_that_json_does_not_keep_exact_is_never_given() {
    let home = TestHome::new();
    let last = (1 << 53) - 1;
    for (expected, told) in [(last - 2, "stale"), (last, "invalid")] {
        let outcome = home.commit(home.next(1, expected));
        let is = if told == "invalid" {
            matches!(outcome, Err(AppendError::Store(StoreError::Invalid(_))))
        } else {
            matches!(outcome, Err(AppendError::Stale { .. }))
        };
        assert!(is, "{told}: {outcome:?}");
    }
}
