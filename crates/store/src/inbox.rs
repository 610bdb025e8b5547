//! The inbox: what a keyed command became, so that it happens once and is always answered alike.
use backstay_kernel::id::{Digest, Millis, Seq, SessionId, TurnId};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::append::Append;
use crate::error::{AppendError, StoreError};
use crate::limits::RETIRE_ROWS;
use crate::store::Store;

/// The row that a keyed command leaves, in the commit of what it became.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InboxRow {
    pub key: [u8; 32],
    /// Of the record that it became.
    pub seq: Seq,
    /// The turn that it begins or belongs to.
    pub turn: Option<TurnId>,
    /// Digest of what was sent, so that the same key with another content can be told apart.
    pub body: Digest,
    /// From then on the key may come again.
    pub expires_at: Millis,
}

/// A keyed command that was admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    pub session: SessionId,
    pub seq: Seq,
    pub turn: Option<TurnId>,
    pub body: Digest,
    pub expires_at: Millis,
}

impl Store {
    /// What a command with this key became, expired or not.
    ///
    /// # Errors
    /// Those of a read.
    pub fn find_inbox(&self, key: &[u8; 32]) -> Result<Option<Admission>, StoreError> {
        self.read_row(|db| Ok(find(db, key)?))
    }
}

fn find(db: &Connection, key: &[u8; 32]) -> rusqlite::Result<Option<Admission>> {
    const SQL: &str = "SELECT h.session, i.seq, i.turn, i.body, i.expires_at FROM inbox i
        JOIN heads h ON h.id = i.session WHERE i.key = ?1";
    let found = db.prepare_cached(SQL)?.query_row([key], |row| {
        Ok(Admission {
            session: SessionId(row.get(0)?),
            seq: Seq(row.get(1)?),
            turn: row.get::<_, Option<u64>>(2)?.map(Seq),
            body: Digest(row.get(3)?),
            expires_at: row.get(4)?,
        })
    });
    found.optional()
}

/// Admits the row of `append`, whose session has the row `head`.
pub fn put(db: &Connection, append: &Append, row: &InboxRow, head: i64) -> Result<(), AppendError> {
    const SQL: &str = "INSERT INTO inbox(key, session, seq, turn, body, expires_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT(key) DO UPDATE SET session = ?2, seq = ?3, turn = ?4, body = ?5, expires_at = ?6
        WHERE expires_at <= ?7";
    let turn = row.turn.map(|turn| turn.0);
    let values = params![row.key, head, row.seq.0, turn, row.body.0, row.expires_at, append.at];
    let put = db.prepare_cached(SQL).and_then(|mut statement| statement.execute(values)).map_err(StoreError::from)?;
    if put == 1 {
        return Ok(());
    }
    let first = find(db, &row.key).map_err(StoreError::from)?;
    let first = first.ok_or_else(|| StoreError::Corrupt("an inbox row belongs to no session".to_owned()))?;
    Err(AppendError::Duplicate(first))
}

/// Deletes what has expired among the next few inbox rows: no index to maintain, no long sweep.
pub fn retire(db: &Connection, now: u64, cursor: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    const SQL: &str = "SELECT key, expires_at FROM inbox WHERE key > ?1 ORDER BY key LIMIT ?2";
    let mut statement = db.prepare_cached(SQL)?;
    let rows = statement.query_map((&cursor, RETIRE_ROWS), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(Vec<u8>, u64)> = rows.collect::<Result<_, _>>()?;
    for (key, _) in rows.iter().filter(|(_, expires_at)| *expires_at <= now) {
        db.prepare_cached("DELETE FROM inbox WHERE key = ?1")?.execute([key])?;
    }
    // At the end it starts over.
    let is_end = u32::try_from(rows.len()).is_ok_and(|count| count < RETIRE_ROWS);
    Ok(rows.into_iter().last().filter(|_| !is_end).map(|(key, _)| key).unwrap_or_default())
}
