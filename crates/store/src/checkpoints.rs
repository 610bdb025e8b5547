//! What a checkpoint says of the journal: how far each session had come, and by which hash. Whoever holds the
//! file can cut it short or write it anew so that its chains hold; what was said outside before stays said.
use std::collections::BTreeMap;

use backstay_kernel::id::{Digest, Seq, SessionId};
use rusqlite::OptionalExtension as _;

use crate::chain;
use crate::error::StoreError;
use crate::limits::EXACT_MAX;
use crate::store::Store;

/// The end of a session's chain at some moment.
pub type End = (SessionId, Seq);

/// How far the journal had come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reached {
    /// Of the last entry that is covered; every one before it is, too.
    pub entry: u64,
    /// Records that are new in it.
    pub records: u64,
    /// The last entry of each session that is new in it.
    pub ends: BTreeMap<SessionId, (Seq, Digest)>,
}

/// What the journal does not say as it was signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Differs {
    /// It has no entry that ends there.
    Missing,
    /// It has another.
    Other,
}

impl Store {
    /// What up to `limit` entries after the entry `after` have brought.
    ///
    /// # Errors
    /// Those of a read.
    pub fn reached(&self, after: u64, limit: usize) -> Result<Reached, StoreError> {
        const SQL: &str = "SELECT e.id, h.session, e.seq, e.n, e.hash FROM entries e JOIN heads h ON h.id = e.session
            WHERE e.id > ?1 ORDER BY e.id LIMIT ?2";
        self.read(|db| {
            let mut reached = Reached { entry: after, ..Reached::default() };
            let mut statement = db.prepare_cached(SQL)?;
            let mut rows = statement.query((after, limit))?;
            while let Some(row) = rows.next()? {
                reached.entry = row.get(0)?;
                reached.records = reached.records.saturating_add(row.get(3)?);
                reached.ends.insert(SessionId(row.get(1)?), (Seq(row.get(2)?), Digest(row.get(4)?)));
            }
            Ok(reached)
        })
    }

    /// Records after the entry `after`.
    ///
    /// # Errors
    /// Those of a read.
    pub fn records_after(&self, after: u64) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT coalesce(sum(n), 0) FROM entries WHERE id > ?1";
        self.read(|db| Ok(db.prepare_cached(SQL)?.query_row([after], |row| row.get(0))?))
    }

    /// Of the ends that were signed, those that the journal does not have as they were, in order.
    ///
    /// # Errors
    /// Those of a read.
    pub fn compare(&self, mut signed: BTreeMap<End, Digest>) -> Result<BTreeMap<End, Differs>, StoreError> {
        const SQL: &str = "SELECT h.session, e.seq, e.hash FROM entries e JOIN heads h ON h.id = e.session";
        let mut differ = BTreeMap::new();
        self.read(|db| {
            let mut statement = db.prepare_cached(SQL)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let end = (SessionId(row.get(0)?), Seq(row.get(1)?));
                if let Some(hash) = signed.remove(&end)
                    && hash != Digest(row.get(2)?)
                {
                    differ.insert(end, Differs::Other);
                }
            }
            Ok(())
        })?;
        differ.extend(signed.into_keys().map(|end| (end, Differs::Missing)));
        Ok(differ)
    }
}

/// One entry, with all that its hash covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub id: u64,
    pub session: SessionId,
    pub seq: Seq,
    pub lineage: u64,
    /// Of the entry before it in its session.
    pub previous: Digest,
    pub hash: Digest,
    pub body: String,
}

/// Entries of all sessions, from one to another, in the order in which they were written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl Store {
    /// From the first entry that was written at `from` or later to before the first thereafter that was written
    /// at `to` or later: spans that follow each other leave nothing out, whatever the clock did.
    ///
    /// # Errors
    /// Those of a read.
    pub fn span(&self, from: u64, to: Option<u64>) -> Result<Option<Span>, StoreError> {
        const FIRST: &str = "SELECT id FROM entries WHERE body ->> '$.at' >= ?1 ORDER BY id LIMIT 1";
        const END: &str = "SELECT id FROM entries WHERE id >= ?1 AND body ->> '$.at' >= ?2 ORDER BY id LIMIT 1";
        const LAST: &str = "SELECT id FROM entries WHERE id < ?1 ORDER BY id DESC LIMIT 1";
        self.read(|db| {
            let id = |row: &rusqlite::Row<'_>| row.get::<_, u64>(0);
            let Some(first) = db.query_row(FIRST, [from], id).optional()? else { return Ok(None) };
            let end = to.map(|to| db.query_row(END, (first, to), id).optional()).transpose()?.flatten();
            let last = db.query_row(LAST, [end.unwrap_or(EXACT_MAX)], id).optional()?;
            Ok(last.filter(|last| *last >= first).map(|last| Span { first, last }))
        })
    }

    /// Entries of a span, at most `limit` of them.
    ///
    /// # Errors
    /// Those of a read.
    pub fn entries_of(&self, span: Span, limit: usize) -> Result<Vec<Stored>, StoreError> {
        const SQL: &str = "SELECT e.id, h.session, e.seq, e.lineage, p.hash, e.hash, e.body FROM entries e
            JOIN heads h ON h.id = e.session LEFT JOIN entries p ON p.id = e.prev
            WHERE e.id BETWEEN ?1 AND ?2 ORDER BY e.id LIMIT ?3";
        self.read(|db| {
            let mut statement = db.prepare_cached(SQL)?;
            let rows = statement.query_map((span.first, span.last, limit), |row| {
                Ok(Stored {
                    id: row.get(0)?,
                    session: SessionId(row.get(1)?),
                    seq: Seq(row.get(2)?),
                    lineage: row.get(3)?,
                    previous: row.get::<_, Option<_>>(4)?.map_or(chain::FIRST, Digest),
                    hash: Digest(row.get(5)?),
                    body: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
