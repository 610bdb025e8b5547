//! Making and opening a home: lock, file, settings, and the thread that writes.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::body;
use crate::connect::{self, Kind};
use crate::error::StoreError;
use crate::home::{self, Home, Options};
use crate::limits::QUEUE_MAX;
use crate::lineage;
use crate::schema;
use crate::store::{Common, Inner, Store};
use crate::writer::Writer;

impl Store {
    /// Makes a new home in `directory`, which may exist, and opens it.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where a state file is there; otherwise as [`Store::open`].
    pub fn create(directory: &Path, options: Options) -> Result<Self, StoreError> {
        home::make_directory(directory)?;
        let home = Home::take(directory, options)?;
        let path = home.state();
        match home::make_file(&path) {
            // One that was cut off before its first table is finished here.
            Ok(()) | Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
        let mut db = connect::writer(&path)?;
        if connect::kind(&db, &path)? == Kind::Ours {
            return Err(StoreError::Exists(path));
        }
        connect::arm(&db)?;
        let mut dedupe_key = [0; 32];
        body::draw(&mut dedupe_key)?;
        let lineage = lineage::draw(0)?;
        schema::create(&mut db, &[("dedupe_key", &dedupe_key), ("epoch", &0), ("lineage", &lineage)])?;
        home::flush_directory(directory)?;
        Self::start(home, db)
    }

    /// Opens the home in `directory`, alone: a second opening, by any process, is
    /// [`StoreError::Busy`] until this one is closed.
    ///
    /// # Errors
    /// Says of the file, its version or its file system why it is not opened.
    pub fn open(directory: &Path, options: Options) -> Result<Self, StoreError> {
        let missing = directory.join(home::STATE);
        if std::fs::symlink_metadata(&missing).is_err() {
            return Err(StoreError::Missing(missing));
        }
        let home = Home::take(directory, options)?;
        let path = home.state();
        let db = connect::writer(&path)?;
        if connect::kind(&db, &path)? == Kind::Blank {
            return Err(StoreError::Missing(path));
        }
        connect::arm(&db)?;
        Self::start(home, db)
    }

    fn start(home: Home, db: Connection) -> Result<Self, StoreError> {
        let epoch = match next_epoch(&db) {
            Err(StoreError::Full(_)) if home.drop_ballast() => next_epoch(&db)?,
            other => other?,
        };
        let meta = read_meta(&db)?;
        let bodies = lineage::bodies(meta.lineage);
        let body_id_last: Option<u64> = db.query_row(
            "SELECT max(id) FROM bodies WHERE id BETWEEN ?1 AND ?2",
            (bodies.start(), bodies.end()),
            |row| row.get(0),
        )?;
        // A full disk is no reason to stay away: outcomes may still have to be written.
        let _ = home.check_room();
        let common = Arc::new(Common::new(home, epoch, meta.lineage));
        let (commands, receiver) = sync_channel(QUEUE_MAX);
        let writer = Writer::new(Arc::clone(&common), db);
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run(&receiver));
        let thread = thread.map_err(|error| StoreError::Io(format!("starting the writer: {error}")))?;
        let inner = Inner {
            common,
            commands,
            writer: Mutex::new(Some(thread)),
            reader: Mutex::new(None),
            row_reader: Mutex::new(None),
            closed: AtomicBool::new(false),
            body_id_next: AtomicU64::new(body_id_last.map_or(*bodies.start(), |last| last.saturating_add(1))),
            dedupe_key: meta.dedupe_key,
            restored: Mutex::new(meta.restored),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// This commit flushes the log, and with it whatever a killed process had written there without a
/// flush: from here on, what is read is durable.
fn next_epoch(db: &Connection) -> Result<u64, StoreError> {
    const SQL: &str = "UPDATE meta SET value = value + 1 WHERE name = 'epoch' RETURNING value";
    Ok(db.query_row(SQL, [], |row| row.get(0))?)
}

struct Meta {
    lineage: u64,
    restored: Option<u64>,
    dedupe_key: [u8; 32],
}

fn read_meta(db: &Connection) -> Result<Meta, StoreError> {
    use rusqlite::types::{FromSql as _, Value};
    let mut statement = db.prepare("SELECT name, value FROM meta")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: BTreeMap<String, Value> = rows.collect::<Result<_, _>>()?;
    let damaged = |name: &str| StoreError::Corrupt(format!("`{name}` in table meta"));
    let number = |name: &str| rows.get(name).and_then(|v| u64::column_result(v.into()).ok());
    let key = rows.get("dedupe_key").and_then(|v| <[u8; 32]>::column_result(v.into()).ok());
    Ok(Meta {
        lineage: number("lineage").ok_or_else(|| damaged("lineage"))?,
        restored: number("restored"),
        dedupe_key: key.ok_or_else(|| damaged("dedupe_key"))?,
    })
}
