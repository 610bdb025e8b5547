//! Who may open a home, and which files are refused.
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use backstay_store::{Store, StoreError, restore};

use crate::harness::{OPTIONS, TestHome, alter, tamper};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_second_opening_is_busy_until_the_first_is_closed() {
    let home = TestHome::new();
    assert!(matches!(Store::open(&home.path(), OPTIONS), Err(StoreError::Busy(_))));
    assert!(matches!(Store::create(&home.path(), OPTIONS), Err(StoreError::Busy(_))));
    home.store.close().unwrap();
    let second = Store::open(&home.path(), OPTIONS).unwrap();
    let clone = second.clone();
    drop(second);
    assert!(matches!(Store::open(&home.path(), OPTIONS), Err(StoreError::Busy(_))));
    drop(clone);
    assert!(Store::open(&home.path(), OPTIONS).is_ok());
}

#[test]
fn another_process_is_kept_out_by_the_lock_file() {
    let home = TestHome::new();
    let lock = home.path().join("state.lock");
    let taken = std::process::Command::new("flock").args(["-n"]).arg(&lock).arg("true").status().unwrap();
    assert!(!taken.success());
    home.store.close().unwrap();
    let taken = std::process::Command::new("flock").args(["-n"]).arg(&lock).arg("true").status().unwrap();
    assert!(taken.success());
}

#[test]
fn only_the_owner_can_read_a_home() {
    let home = TestHome::new();
    home.session_of(1, 2);
    assert_eq!(mode(&home.path()), 0o700);
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.lock"] {
        assert_eq!(mode(&home.path().join(name)), 0o600, "{name}");
    }
    home.store.close().unwrap();
    for path in [home.path(), home.path().join("state.db")] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let _again = Store::open(&home.path(), OPTIONS).unwrap();
    assert_eq!((mode(&home.path()), mode(&home.path().join("state.db"))), (0o700, 0o600));
}

#[test]
fn a_missing_or_unfinished_file_is_missing_and_can_be_created() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(directory.path(), OPTIONS), Err(StoreError::Missing(_))));
    assert!(matches!(Store::open(&directory.path().join("nowhere"), OPTIONS), Err(StoreError::Missing(_))));
    std::fs::write(directory.path().join("state.db"), "").unwrap();
    assert!(matches!(Store::open(directory.path(), OPTIONS), Err(StoreError::Missing(_))));
    Store::create(directory.path(), OPTIONS).unwrap();
    assert!(matches!(Store::create(directory.path(), OPTIONS), Err(StoreError::Exists(_))));
    assert!(Store::open(directory.path(), OPTIONS).is_ok());
}

#[test]
fn foreign_files_are_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    std::fs::write(&path, "this is no database, but long enough to have a header of a hundred bytes: ".repeat(20))
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(Store::open(directory.path(), OPTIONS), Err(StoreError::Foreign { .. })));
    assert!(matches!(Store::create(directory.path(), OPTIONS), Err(StoreError::Foreign { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs(x)").unwrap();
    assert!(matches!(Store::create(directory.path(), OPTIONS), Err(StoreError::Foreign { .. })));
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA application_id = 7").unwrap();
    assert!(matches!(Store::open(directory.path(), OPTIONS), Err(StoreError::Foreign { .. })));
}

#[test]
fn a_newer_file_is_refused() {
    let home = TestHome::new();
    home.store.close().unwrap();
    let db = rusqlite::Connection::open(home.path().join("state.db")).unwrap();
    db.execute_batch("PRAGMA user_version = 3").unwrap();
    drop(db);
    assert_eq!(Store::open(&home.path(), OPTIONS).unwrap_err(), StoreError::Newer { found: 3, known: 2 });
}

#[test]
fn a_damaged_file_is_refused_or_reported() {
    let home = TestHome::new();
    home.session_of(1, 5);
    home.store.close().unwrap();
    let path = home.path().join("state.db");
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[..16].fill(0);
    std::fs::write(&path, &damaged).unwrap();
    let refused = Store::open(&home.path(), OPTIONS);
    assert!(matches!(refused, Err(StoreError::Foreign { .. })), "{refused:?}");
    std::fs::write(&path, &whole).unwrap();
    tamper(&home.path(), "UPDATE meta SET value = 'x' WHERE name = 'lineage'");
    assert!(matches!(Store::open(&home.path(), OPTIONS), Err(StoreError::Corrupt(_))));
    // A file that was cut off.
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut = Store::open(&home.path(), OPTIONS);
    assert!(cut.is_err() || !cut.unwrap().verify().unwrap().is_sound());
}

#[test]
fn a_linked_state_file_is_refused() {
    let home = TestHome::new();
    home.store.close().unwrap();
    let linked = home.beside("linked");
    std::fs::create_dir(&linked).unwrap();
    symlink(home.path().join("state.db"), linked.join("state.db")).unwrap();
    assert!(matches!(Store::open(&linked, OPTIONS), Err(StoreError::NotAFile(_))));
}

/// What would destroy the journal, free the money, or lie to whoever looks.
const ALTERATIONS: [&str; 5] = [
    "CREATE TRIGGER evil AFTER INSERT ON entries BEGIN DELETE FROM entries WHERE rowid < 2; END",
    "CREATE TRIGGER evil AFTER UPDATE ON ledger BEGIN UPDATE ledger SET usd_settled = 0; END",
    "DROP VIEW v_spend; CREATE VIEW v_spend AS SELECT 0 AS micro_usd",
    "DROP INDEX heads_due",
    "CREATE TABLE theirs(x)",
];

#[test]
fn an_altered_schema_is_not_opened_and_not_restored() {
    for sql in ALTERATIONS {
        let home = TestHome::new();
        home.session_of(1, 2);
        let copy = home.beside("copy");
        home.store.backup(&copy, || Ok(())).unwrap();
        home.store.close().unwrap();
        alter(&copy, sql);
        let (before, refused) = (std::fs::read(copy.join("state.db")).unwrap(), Store::open(&copy, OPTIONS));
        assert!(matches!(refused, Err(StoreError::Altered(_))), "{sql}: {refused:?}");
        let refused = restore(&copy, &home.beside("back"));
        assert!(matches!(refused, Err(StoreError::Altered(_))), "{sql}: {refused:?}");
        assert!(!home.beside("back/state.db").exists());
        assert_eq!(std::fs::read(copy.join("state.db")).unwrap(), before);
    }
}

#[test]
fn a_schema_that_is_altered_below_an_open_home_does_nothing_and_is_found() {
    for sql in ALTERATIONS {
        let home = TestHome::new();
        home.session_of(1, 2);
        alter(&home.path(), sql);
        home.commit(home.next(1, 4)).unwrap();
        let report = home.store.verify().unwrap();
        assert_eq!((report.entries, report.fault_count), (3, 1), "{sql}: {:?}", report.faults);
    }
}

#[test]
fn statistics_of_an_operators_analyze_are_no_alteration() {
    let home = TestHome::new();
    home.session_of(1, 2);
    home.store.close().unwrap();
    alter(&home.path(), "ANALYZE");
    assert!(Store::open(&home.path(), OPTIONS).unwrap().verify().unwrap().is_sound());
}

#[test]
fn a_pipe_or_a_directory_in_place_of_a_file_is_refused_at_once() {
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.lock", "state.ballast"] {
        for make in ["mkfifo", "mkdir"] {
            let home = TestHome::new();
            home.store.close().unwrap();
            let path = home.path().join(name);
            let _ = std::fs::remove_file(&path);
            assert!(std::process::Command::new(make).arg(&path).status().unwrap().success());
            for refused in [Store::open(&home.path(), OPTIONS), Store::create(&home.path(), OPTIONS)] {
                assert!(matches!(&refused, Err(StoreError::NotAFile(found)) if *found == path), "{name}: {refused:?}");
            }
            let refused = restore(&home.path(), &home.beside("back"));
            assert!(matches!(&refused, Err(StoreError::NotAFile(found)) if *found == path), "{name}: {refused:?}");
        }
    }
}

#[test]
fn a_home_and_a_backup_may_be_reached_through_links() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir(at("real")).unwrap();
    symlink("real", at("link")).unwrap();
    let store = Store::create(&at("link/home"), OPTIONS).unwrap();
    store.backup(&at("link/copy"), || Ok(())).unwrap();
    assert!(matches!(Store::open(&at("real/home"), OPTIONS), Err(StoreError::Busy(_))));
    store.close().unwrap();
    assert!(restore(&at("link/copy"), &at("link/back")).unwrap().is_sound());
    symlink("real/back", at("home")).unwrap();
    for linked in [at("home"), at("link/home")] {
        assert!(Store::open(&linked, OPTIONS).unwrap().verify().unwrap().is_sound());
    }
}

#[test]
fn the_file_has_the_settings_that_make_it_safe() {
    let home = TestHome::new();
    home.commit(home.first(1)).unwrap();
    home.store.close().unwrap();
    let db = rusqlite::Connection::open(home.path().join("state.db")).unwrap();
    let read = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
    assert_eq!(read("page_size"), 4096.into());
    assert_eq!(read("journal_mode"), "wal".to_owned().into());
    assert_eq!(read("integrity_check"), "ok".to_owned().into());
    assert!(rusqlite::version_number() >= 3_051_003);
}
