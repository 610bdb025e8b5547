//! Copies verify, and a restored home is not taken for the one that it was copied from.
use std::os::unix::fs::PermissionsExt as _;

use backstay_kernel::id::Seq;
use backstay_store::{Append, Store, StoreError, restore};

use crate::harness::{FOLD, OPTIONS, TestHome, session, tamper};

#[test]
fn a_backup_holds_its_moment_and_a_restore_starts_a_new_lineage() {
    let home = TestHome::new();
    home.session_of(1, 3);
    let body = home.store.seal(b"kept".to_vec()).unwrap();
    let reference = body.reference();
    home.commit(Append { bodies: vec![body], ..home.next(1, 6) }).unwrap();
    let (copy, back) = (home.beside("copy"), home.beside("back"));
    let (report, ()) = home.store.backup(&copy, || Ok(())).unwrap();
    assert!(report.is_sound());
    assert_eq!((report.sessions, report.entries, report.bodies), (1, 4, 1));
    home.commit(home.next(1, 8)).unwrap();
    let names: Vec<_> = std::fs::read_dir(&copy).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["state.db"]);
    let mode = std::fs::metadata(copy.join("state.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    assert_eq!(restore(&copy, &back).unwrap(), report);
    let restored = Store::open(&back, OPTIONS).unwrap();
    assert_eq!(restored.load(session(1), FOLD).unwrap().unwrap().durable.seq(), Seq(8));
    assert_eq!(restored.body(&reference).unwrap().unwrap(), b"kept");
    assert_eq!(restored.restored(), Some(home.store.lineage()));
    assert_ne!(restored.lineage(), home.store.lineage());
    assert!(restored.lineage() <= 1 << 53);
    restored.conclude_restore().unwrap();
    assert_eq!(restored.restored(), None);
    drop(restored);
    assert_eq!(Store::open(&back, OPTIONS).unwrap().restored(), None);
    assert_eq!(home.store.restored(), None);
}

#[test]
fn a_backup_under_load_is_consistent() {
    let home = TestHome::new();
    home.session_of(1, 1);
    let (home, stop) = (&home, &std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut at = 2;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                home.commit(home.next(1, at)).unwrap();
                at += 2;
            }
        });
        for n in 0..5 {
            assert!(home.store.backup(&home.beside(&format!("copy{n}")), || Ok(())).unwrap().0.is_sound());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_stopped_home_and_a_killed_one_can_be_restored_from_a_plain_copy() {
    let home = TestHome::new();
    home.session_of(1, 3);
    let killed = home.beside("killed");
    std::fs::create_dir(&killed).unwrap();
    for name in ["state.db", "state.db-wal", "state.lock"] {
        std::fs::copy(home.path().join(name), killed.join(name)).unwrap();
    }
    assert_eq!(restore(&killed, &home.beside("a")).unwrap().entries, 3);
    home.store.close().unwrap();
    assert_eq!(restore(&home.path(), &home.beside("b")).unwrap().entries, 3);
}

#[test]
fn a_damaged_backup_is_refused_and_leaves_nothing() {
    let home = TestHome::new();
    home.session_of(1, 3);
    let (copy, back) = (home.beside("copy"), home.beside("back"));
    home.store.backup(&copy, || Ok(())).unwrap();
    tamper(&copy, "UPDATE entries SET body = replace(body, 'ann', 'bob') WHERE id = 2");
    assert!(matches!(restore(&copy, &back), Err(StoreError::Corrupt(_))));
    let names: Vec<_> = std::fs::read_dir(&back).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["state.lock"]);
    std::fs::write(copy.join("state.db"), "no database".repeat(100)).unwrap();
    let refused = restore(&copy, &back);
    assert!(matches!(refused, Err(StoreError::Foreign { .. })), "{refused:?}");
}

#[test]
fn nothing_is_overwritten_and_nothing_open_is_copied_raw() {
    let home = TestHome::new();
    let copy = home.beside("copy");
    home.store.backup(&copy, || Ok(())).unwrap();
    assert!(matches!(home.store.backup(&copy, || Ok(())), Err(StoreError::Exists(_))));
    assert!(matches!(restore(&copy, &home.path()), Err(StoreError::Exists(_))));
    assert!(matches!(restore(&home.path(), &home.beside("back")), Err(StoreError::Busy(_))));
    assert!(matches!(restore(&home.beside("nowhere"), &home.beside("back")), Err(StoreError::Missing(_))));
}

#[test]
fn a_log_that_was_left_behind_is_not_taken_for_the_restored_files() {
    let home = TestHome::new();
    let (copy, to) = (home.beside("copy"), home.beside("back"));
    home.store.backup(&copy, || Ok(())).unwrap();
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(home.path().join("state.db-wal"), to.join("state.db-wal")).unwrap();
    assert!(matches!(restore(&copy, &to), Err(StoreError::Exists(path)) if path.ends_with("state.db-wal")));
    assert!(!to.join("state.db").exists());
    std::fs::remove_file(to.join("state.db-wal")).unwrap();
    assert!(restore(&copy, &to).unwrap().is_sound());
}

#[test]
fn bodies_have_numbers_that_no_other_lineage_gives() {
    let home = TestHome::new();
    let seal = |store: &Store| store.seal(b"text".to_vec()).unwrap();
    let (first, second) = (seal(&home.store), seal(&home.store));
    assert_eq!(second.reference().id, first.reference().id + 1);
    home.session_of(1, 1);
    home.commit(Append { bodies: vec![first, second.clone()], ..home.next(1, 2) }).unwrap();
    let copy = home.beside("copy");
    home.store.backup(&copy, || Ok(())).unwrap();
    let mut restored = Vec::new();
    for name in ["a", "b"] {
        restore(&copy, &home.beside(name)).unwrap();
        let store = Store::open(&home.beside(name), OPTIONS).unwrap();
        // After all that are in the file, where a row costs least.
        restored.push(seal(&store).reference().id);
        assert!(restored.iter().all(|id| *id > second.reference().id), "{restored:?}");
    }
    let other = TestHome::new();
    let all = [seal(&home.store).reference().id, restored[0], restored[1], seal(&other.store).reference().id];
    let upper: std::collections::BTreeSet<u64> = all.iter().map(|id| id >> 32).collect();
    assert_eq!(upper.len(), all.len(), "{all:?}");
}
