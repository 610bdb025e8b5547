//! Reads beside the sessions: bodies, the ledger, sizes. They have connections of their
//! own and go on while the writer commits.
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use backstay_kernel::budget::{Amount, Used};
use backstay_kernel::id::BodyRef;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::body;
use crate::connect;
use crate::error::StoreError;
use crate::limits::{COMPRESS_BYTES_MIN, COMPRESS_LEVEL};
use crate::lineage;
use crate::store::{Store, lock};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stats {
    pub db_bytes: u64,
    pub wal_bytes: u64,
    /// Free on the file system.
    pub free_bytes: u64,
    pub sessions: u64,
    pub entries: u64,
    /// Since the home was opened.
    pub commits: u64,
    pub appends: u64,
}

impl Store {
    /// Runs `work` on the reader's connection, which a failure of the disk closes.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.read_on(&self.inner.reader, work)
    }

    /// The same for a few rows that are found by their key.
    pub(crate) fn read_row<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.read_on(&self.inner.row_reader, work)
    }

    fn read_on<T>(
        &self,
        place: &Mutex<Option<Connection>>,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut place = lock(place);
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let db = match place.take() {
            Some(db) => db,
            None => connect::reader(&self.inner.common.home.state())?,
        };
        let result = work(&db);
        if !result.as_ref().err().is_some_and(StoreError::is_storage) {
            *place = Some(db);
        }
        result
    }

    /// What stands under each key, in the order asked.
    ///
    /// # Errors
    /// Those of a read.
    pub fn ledger(&self, keys: &[String]) -> Result<Vec<Used>, StoreError> {
        const SQL: &str =
            "SELECT tokens_settled, usd_settled, tokens_reserved, usd_reserved FROM ledger WHERE key = ?1";
        self.read_row(|db| {
            let moment = db.unchecked_transaction()?;
            let mut statement = moment.prepare_cached(SQL)?;
            let mut used = Vec::with_capacity(keys.len());
            for key in keys {
                let row = statement.query_row([key], |row| {
                    let settled = Amount { tokens: row.get(0)?, micro_usd: row.get(1)? };
                    let reserved = Amount { tokens: row.get(2)?, micro_usd: row.get(3)? };
                    Ok(Used { settled, reserved })
                });
                used.push(row.optional()?.unwrap_or_default());
            }
            Ok(used)
        })
    }

    /// The bytes of a body; `None` once erased.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is not what was sealed.
    pub fn body(&self, reference: &BodyRef) -> Result<Option<Vec<u8>>, StoreError> {
        match self.read_row(|db| body::read(db, reference.id))? {
            Some(found) if found.digest == reference.digest => Ok(found.bytes),
            Some(_) => Err(StoreError::Corrupt(format!("body {} is another one", reference.id))),
            None => Err(StoreError::Corrupt(format!("body {} is gone", reference.id))),
        }
    }

    /// Compresses up to `limit` stored bodies; for idle hours. Returns how many were looked at, 0
    /// when all are done.
    ///
    /// # Errors
    /// Those of a read or a write.
    pub fn compress_some(&self, limit: usize) -> Result<usize, StoreError> {
        const FIND: &str = "SELECT id, bytes FROM bodies
            WHERE id > coalesce((SELECT value FROM meta WHERE name = 'compressed_to'), 0)
            AND id <= ?3 AND enc = 0 AND length(bytes) >= ?1 ORDER BY id LIMIT ?2";
        // Numbers above come with sessions of other homes, once: the ones of this lineage stay below them.
        let last = *lineage::bodies(self.lineage()).end();
        let found: Vec<(u64, Vec<u8>)> = self.read(|db| {
            let mut statement = db.prepare_cached(FIND)?;
            let rows =
                statement.query_map(params![COMPRESS_BYTES_MIN, limit, last], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        let (count, last) = (found.len(), found.last().map(|(id, _)| *id));
        let Some(last) = last else { return Ok(0) };
        let mut smaller = Vec::new();
        for (id, plain) in found {
            let packed = zstd::bulk::compress(&plain, COMPRESS_LEVEL);
            let packed = packed.map_err(|error| StoreError::Invalid(format!("body {id}: {error}")))?;
            if packed.len() < plain.len() {
                smaller.push((id, plain.len(), packed));
            }
        }
        self.write(move |db| {
            let work = db.transaction()?;
            for (id, length, packed) in smaller {
                // One that was erased in the meantime stays erased.
                const SQL: &str = "UPDATE bodies SET enc = ?2, bytes = ?3 WHERE id = ?1 AND bytes IS NOT NULL";
                work.execute(SQL, params![id, length, packed])?;
            }
            work.execute("INSERT OR REPLACE INTO meta(name, value) VALUES('compressed_to', ?1)", [last])?;
            Ok(work.commit()?)
        })?;
        Ok(count)
    }

    /// How large the home is and what was written since it was opened.
    ///
    /// # Errors
    /// Those of a read.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        // Rows of these tables are never deleted: the last id is the count, or a little above it.
        const SQL: &str = "SELECT (SELECT coalesce(max(id), 0) FROM heads), (SELECT coalesce(max(id), 0) FROM entries)";
        let counts = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (sessions, entries) = self.read(|db| Ok(db.query_row(SQL, [], counts)?))?;
        let common = &self.inner.common;
        let state = common.home.state();
        let bytes_of = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |found| found.len());
        Ok(Stats {
            db_bytes: bytes_of(&state),
            wal_bytes: bytes_of(&state.with_extension("db-wal")),
            free_bytes: common.home.free_bytes()?,
            sessions,
            entries,
            commits: common.commits.load(Ordering::Relaxed),
            appends: common.appends.load(Ordering::Relaxed),
        })
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
