//! A home in a temporary directory, and appends with only their interesting part spelled out.
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use backstay_kernel::id::{Seq, SessionId};
use backstay_store::{Append, AppendError, Durable, HeadUpdate, NewSession, Options, Store};

pub const OPTIONS: Options = Options { ballast_bytes: 0, free_bytes_min: 1 };
/// Fold version of the tests' snapshots.
pub const FOLD: u32 = 1;

pub struct TestHome {
    directory: tempfile::TempDir,
    pub store: Store,
}

pub fn session(n: u8) -> SessionId {
    SessionId([n; 10])
}

impl TestHome {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&directory.path().join("home"), OPTIONS).unwrap();
        Self { directory, store }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Closes and opens again.
    pub fn reopen(&mut self) {
        self.store.close().unwrap();
        self.store = Store::open(&self.path(), OPTIONS).unwrap();
    }

    /// The first append of a session.
    pub fn first(&self, n: u8) -> Append {
        let new = NewSession { agent: "main".into(), principal: "ann".into(), channel: "api".into(), title: None };
        Append { create: Some(new), ..self.next(n, 0) }
    }

    /// An append of two records to a session that is at `expected`.
    pub fn next(&self, n: u8, expected: u64) -> Append {
        Append {
            session: session(n),
            expected: Seq(expected),
            at: 1_000 + expected,
            lineage: self.store.lineage(),
            records: 2,
            entry: format!(
                r#"{{"v":1,"at":{},"records":[{{"stopped":{{"by":"ann"}}}},{{"resumed":{{"by":"ann"}}}}]}}"#,
                1_000 + expected
            ),
            head: HeadUpdate::default(),
            create: None,
            bodies: Vec::new(),
            inbox: None,
            ledger: Vec::new(),
            snapshot: None,
            memories: Vec::new(),
        }
    }

    pub fn commit(&self, append: Append) -> Result<Durable, AppendError> {
        self.commit_all(vec![append]).remove(0)
    }

    /// Sends all of them before it waits for the first.
    pub fn commit_all(&self, appends: Vec<Append>) -> Vec<Result<Durable, AppendError>> {
        let (reply, answers) = sync_channel(appends.len());
        let count = appends.len();
        for (place, append) in appends.into_iter().enumerate() {
            let reply = reply.clone();
            self.store.append(append, Box::new(move |outcome| reply.send((place, outcome)).unwrap()));
        }
        let mut outcomes: Vec<_> = (0..count).map(|_| answers.recv().unwrap()).collect();
        outcomes.sort_by_key(|(place, _)| *place);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// A session with `entries` entries of two records each.
    pub fn session_of(&self, n: u8, entries: u64) {
        let first = std::iter::once(self.first(n));
        let appends = first.chain((1..entries).map(|entry| self.next(n, entry * 2))).collect();
        assert!(self.commit_all(appends).iter().all(Result::is_ok));
    }

    pub fn count(&self, sql: &str) -> i64 {
        match self.store.query(sql).unwrap().rows.as_slice() {
            [row] => match row.as_slice() {
                [backstay_store::Cell::Integer(count)] => *count,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// Changes a closed home's file behind the store's back.
pub fn tamper(home: &Path, sql: &str) {
    let db = rusqlite::Connection::open(home.join("state.db")).unwrap();
    assert!(db.execute(sql, []).unwrap() > 0, "nothing tampered with");
}

/// Changes a file's schema behind the store's back.
pub fn alter(home: &Path, sql: &str) {
    let db = rusqlite::Connection::open(home.join("state.db")).unwrap();
    db.execute_batch(sql).unwrap();
}
