//! What start-up, the console and the CLI read.
use backstay_kernel::id::SessionId;
use backstay_store::{Append, Cell, HeadUpdate, NewSession, StoreError};

use crate::harness::{FOLD, TestHome, session};

fn with(append: Append, open: bool, people: bool, wake_at: Option<u64>) -> Append {
    Append { head: HeadUpdate { open, people, wake_at, wait: people.then(|| "approval".into()) }, ..append }
}

#[test]
fn start_up_reads_what_is_open_or_has_come_due() {
    let home = TestHome::new();
    home.commit(with(home.first(1), true, false, None)).unwrap();
    home.commit(with(home.first(2), false, false, Some(500))).unwrap();
    home.commit(with(home.first(3), false, false, Some(900))).unwrap();
    home.commit(with(home.first(4), true, false, Some(900))).unwrap();
    home.session_of(5, 2);
    let due = |now| {
        let mut sessions = home.store.due(now).unwrap();
        sessions.sort();
        sessions
    };
    assert_eq!(due(499), [session(1), session(4)]);
    assert_eq!(due(500), [session(1), session(2), session(4)]);
    assert_eq!(home.store.next_wake().unwrap(), Some(500));
    home.commit(with(home.next(1, 2), false, false, None)).unwrap();
    home.commit(with(home.next(2, 2), false, false, None)).unwrap();
    assert_eq!(due(1_000), [session(3), session(4)]);
    assert_eq!(home.store.next_wake().unwrap(), Some(900));
}

#[test]
fn the_people_list_has_who_waits_longest_first() {
    let home = TestHome::new();
    home.session_of(1, 1);
    for (n, at) in [(2, 50), (3, 10)] {
        home.commit(Append { at, ..with(home.first(n), true, true, None) }).unwrap();
    }
    let waiting = home.store.needing_people().unwrap();
    assert_eq!(waiting.iter().map(|h| h.session).collect::<Vec<_>>(), [session(3), session(2)]);
    assert_eq!(waiting[0].wait.as_deref(), Some("approval"));
    home.commit(with(home.next(3, 2), false, false, None)).unwrap();
    assert_eq!(home.store.needing_people().unwrap().len(), 1);
}

#[test]
fn sessions_are_listed_in_pages_the_newest_first() {
    let home = TestHome::new();
    let title = home.store.seal(b"About invoices".to_vec()).unwrap();
    for n in 1..=5 {
        let principal = if n % 2 == 1 { "ann" } else { "bob" };
        let title = (n == 5).then(|| title.reference());
        let new = NewSession { agent: "main".into(), principal: principal.into(), channel: "api".into(), title };
        home.commit(Append { create: Some(new), ..home.first(n) }).unwrap();
    }
    let mut stream = home.first(1);
    stream.session = SessionId::HOME;
    home.commit(stream).unwrap();
    let names = |principal, after, limit| -> Vec<_> {
        home.store.sessions(principal, None, after, limit).unwrap().into_iter().map(|h| h.session).collect()
    };
    assert_eq!(names(None, None, 2), [session(5), session(4)]);
    assert_eq!(names(None, Some(session(4)), 9), [session(3), session(2), session(1)]);
    assert_eq!(names(Some("ann"), None, 9), [session(5), session(3), session(1)]);
    assert_eq!(names(Some("ann"), Some(session(3)), 9), [session(1)]);
    home.commit(with(home.next(2, 2), true, true, None)).unwrap();
    let waiting = |principal, wait| home.store.sessions(principal, Some(wait), None, 9).unwrap().len();
    assert_eq!(
        [waiting(None, "approval"), waiting(Some("bob"), "approval"), waiting(Some("ann"), "approval")],
        [1, 1, 0]
    );
    assert_eq!(waiting(None, "provider"), 0);
    assert_eq!(home.store.head(session(5)).unwrap().unwrap().title, Some(title.reference()));
    assert!(home.store.load(SessionId::HOME, FOLD).unwrap().is_some());
}

#[test]
fn a_query_reads_tables_bodies_and_names() {
    let home = TestHome::new();
    let body = home.store.seal(b"a title".to_vec()).unwrap();
    let id = body.reference().id;
    home.commit(Append { bodies: vec![body], ..home.first(7) }).unwrap();
    let answer = home
        .store
        .query(&format!("SELECT session_name(session) AS name, session_name(hex(session)), body({id}) FROM heads"))
        .unwrap();
    let name = Cell::Text(session(7).to_string());
    assert_eq!(answer.columns[0], "name");
    assert_eq!(answer.rows, [[name.clone(), name, Cell::Text("a title".into())]]);
    let many = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000) SELECT x FROM n";
    let answer = home.store.query(many).unwrap();
    assert_eq!((answer.rows.len(), answer.cut), (10_000, true));
    assert_eq!(home.store.query("SELECT rowid FROM memories_fts WHERE memories_fts MATCH 'x'").unwrap().rows.len(), 0);
}

#[test]
fn a_query_can_only_read() {
    let home = TestHome::new();
    home.session_of(1, 1);
    for sql in [
        "DELETE FROM heads",
        "UPDATE entries SET body = ''",
        "INSERT INTO meta VALUES('a', 1)",
        "CREATE TABLE x(y)",
        "CREATE TEMP TABLE x(y)",
        "DROP TABLE heads",
        "ATTACH 'file' AS other",
        "PRAGMA query_only = 0",
        "PRAGMA journal_mode = DELETE",
        "VACUUM INTO 'copy.db'",
        "BEGIN EXCLUSIVE",
        "SELECT 1; DELETE FROM heads",
        "not even SQL",
        "",
    ] {
        let outcome = home.store.query(sql);
        assert!(matches!(outcome, Err(StoreError::Query(_))), "{sql}: {outcome:?}");
    }
    assert_eq!(home.count("SELECT count(*) FROM heads"), 1);
}

#[test]
fn reads_go_on_while_the_writer_works() {
    let home = TestHome::new();
    home.session_of(1, 1);
    let home = &home;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for n in 1..200 {
                home.commit(home.next(1, n * 2)).unwrap();
            }
        });
        let mut last = 0;
        while !writer.is_finished() {
            let loaded = home.store.load(session(1), FOLD).unwrap().unwrap();
            assert!(loaded.durable.seq().0 >= last);
            last = loaded.durable.seq().0;
        }
    });
}
