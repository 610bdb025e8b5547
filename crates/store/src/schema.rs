//! The tables of a home. They are plain, so that `sqlite3` reads them; what a reader wants beyond
//! them is a view over the entries ([`crate::views`]).
use std::collections::BTreeSet;

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::views;

/// "BSTY": tells our files from others.
pub const APPLICATION_ID: i32 = 0x4253_5459;
/// A newer file is refused; an older one would be brought forward here. Another word in [`TABLES`]
/// or in the views is another version: a file of this one has exactly these.
pub const VERSION: u32 = 2;

/// One row per append, linked by `prev`: the fence is the one row in `heads`. `n` records end at
/// `seq`. The only index over this hottest table holds one entry in 256 records of a session, from
/// which a page of a long session is reached: measured, 60 of the 8,800 bytes that an append writes.
///
/// The index over due sessions holds only the few that are open or sleep; the one over people
/// only those that wait for somebody.
const TABLES: &str = "
CREATE TABLE meta(
  name TEXT PRIMARY KEY,
  value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE heads(
  id INTEGER PRIMARY KEY,
  session BLOB NOT NULL UNIQUE,
  seq INTEGER NOT NULL,
  entry INTEGER NOT NULL,
  hash BLOB NOT NULL,
  open INTEGER NOT NULL,
  people INTEGER NOT NULL,
  wake_at INTEGER,
  wait TEXT,
  agent TEXT NOT NULL,
  principal TEXT NOT NULL,
  channel TEXT NOT NULL,
  title TEXT,
  opened_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX heads_due ON heads(wake_at) WHERE open = 1 OR wake_at IS NOT NULL;
CREATE INDEX heads_people ON heads(id) WHERE people = 1;
CREATE INDEX heads_principal ON heads(principal);

CREATE TABLE entries(
  id INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  n INTEGER NOT NULL,
  prev INTEGER,
  lineage INTEGER NOT NULL,
  hash BLOB NOT NULL,
  body TEXT NOT NULL
) STRICT;

CREATE INDEX entries_marks ON entries(session, seq) WHERE seq / 256 <> (seq - n) / 256;

-- enc: 0 = bytes as they are, else zstd of that many bytes. Erased: salt, dedupe, bytes are null.
CREATE TABLE bodies(
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL,
  salt BLOB,
  dedupe BLOB,
  enc INTEGER NOT NULL,
  bytes BLOB
) STRICT;
CREATE UNIQUE INDEX bodies_dedupe ON bodies(dedupe) WHERE dedupe IS NOT NULL;

CREATE TABLE inbox(
  key BLOB PRIMARY KEY,
  session INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  turn INTEGER,
  body BLOB NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger(
  key TEXT PRIMARY KEY,
  tokens_settled INTEGER NOT NULL,
  tokens_reserved INTEGER NOT NULL,
  usd_settled INTEGER NOT NULL,
  usd_reserved INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots(
  session INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  entry INTEGER NOT NULL,
  hash BLOB NOT NULL,
  fold_version INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;

CREATE TABLE memories(
  id INTEGER PRIMARY KEY,
  principal TEXT NOT NULL,
  session INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE VIRTUAL TABLE memories_fts USING fts5(
  principal, text, content = 'memories', content_rowid = 'id',
  tokenize = 'unicode61 remove_diacritics 2'
);
-- A deleted memory leaves no words behind in the index.
INSERT INTO memories_fts(memories_fts, rank) VALUES('secure-delete', 1);
";

/// Everything or nothing: a crash in between leaves a blank file.
pub fn create(db: &mut Connection, first: &[(&str, &dyn rusqlite::ToSql)]) -> rusqlite::Result<()> {
    let work = db.transaction()?;
    work.pragma_update(None, "application_id", APPLICATION_ID)?;
    work.pragma_update(None, "user_version", VERSION)?;
    work.execute_batch(TABLES)?;
    work.execute_batch(views::VIEWS)?;
    for (name, value) in first {
        work.execute("INSERT INTO meta(name, value) VALUES(?1, ?2)", (name, value))?;
    }
    work.commit()
}

/// SHA-256 over every object of this version: two thirds of a start would go into making them all in
/// memory, only to compare.
const DIGEST: &str = "ad33cc73aa31597b22438a77f5d8201b4d6537bc40c2352e08648115458af04c";

/// The first object that a file of this version does not have, or has otherwise: a trigger or a
/// changed view would do or say what nobody here wrote.
pub fn difference(db: &Connection) -> rusqlite::Result<Option<String>> {
    let found = objects(db)?;
    if digest(&found) == DIGEST {
        return Ok(None);
    }
    let known = objects(&in_memory()?)?;
    let first = found.symmetric_difference(&known).next();
    Ok(first.map(|object| format!("{} {:?}", object.kind, object.name)))
}

fn in_memory() -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(TABLES)?;
    db.execute_batch(views::VIEWS)?;
    Ok(db)
}

fn digest(objects: &BTreeSet<Object>) -> String {
    let mut hash = Sha256::new();
    for Object { kind, name, table, sql } in objects {
        for text in [kind.as_str(), name, table, sql.as_deref().unwrap_or_default()] {
            hash.update(text);
            hash.update([0]);
        }
    }
    backstay_kernel::id::Digest(hash.finalize().into()).to_string()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    kind: String,
    name: String,
    table: String,
    sql: Option<String>,
}

/// Without the statistics that an operator's `ANALYZE` leaves.
fn objects(db: &Connection) -> rusqlite::Result<BTreeSet<Object>> {
    const SQL: &str = "SELECT type, name, tbl_name, sql FROM sqlite_schema
        WHERE NOT (type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat4'))";
    let mut statement = db.prepare(SQL)?;
    let rows = statement.query_map([], |row| {
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_tables_and_views_of_this_version() {
        let now = digest(&objects(&in_memory().unwrap()).unwrap());
        assert_eq!(now, DIGEST, "the schema is another: put its digest");
    }
}
