//! A session from its stored bytes: back along the links to the newest snapshot, the chain checked
//! on the way.
use backstay_kernel::id::{BodyRef, Digest, Seq, SessionId};
use backstay_kernel::label::Label;
use backstay_kernel::record::{self, End, Ended, Record};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::append::Durable;
use crate::chain;
use crate::error::StoreError;
use crate::heads::{HEAD, Head, head_from};
use crate::limits::{EXACT_MAX, OUTPUT_ENTRIES_MAX};
use crate::store::Store;

/// One stored append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Of its last record.
    pub seq: Seq,
    /// Records in it.
    pub records: u32,
    pub lineage: u64,
    pub hash: Digest,
    /// The bytes as they were appended.
    pub body: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedSnapshot {
    pub seq: Seq,
    pub body: String,
}

/// A session as it is on disk, its chain verified from the snapshot on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    pub durable: Durable,
    pub head: Head,
    pub snapshot: Option<LoadedSnapshot>,
    /// After the snapshot, oldest first.
    pub entries: Vec<Entry>,
}

impl Store {
    /// A session as it is on disk; `None` where there is none. A snapshot of another fold version
    /// counts as none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the chain does not hold. While the writer fails, its failure:
    /// what is read then may not be on disk.
    pub fn load(&self, session: SessionId, fold_version: u32) -> Result<Option<Loaded>, StoreError> {
        if self.inner.common.failure().is_some() {
            // Waits until the writer has opened the file again, or says why not.
            self.write(|_| Ok(()))?;
        }
        let epoch = self.epoch();
        self.read(|db| {
            let moment = db.unchecked_transaction()?;
            let sql = format!("SELECT {HEAD}, id, entry FROM heads WHERE session = ?1");
            let found = moment.prepare_cached(&sql)?.query_row([session.0], |row| {
                Ok((head_from(row)?, row.get::<_, i64>("id")?, row.get::<_, i64>("entry")?))
            });
            let Some((head, id, last)) = found.optional()? else { return Ok(None) };
            const SNAPSHOT: &str =
                "SELECT seq, entry, hash, body FROM snapshots WHERE session = ?1 AND fold_version = ?2";
            let stored = moment.prepare_cached(SNAPSHOT)?.query_row(params![id, fold_version], |row| {
                let snapshot = LoadedSnapshot { seq: Seq(row.get(0)?), body: row.get(3)? };
                Ok((snapshot, row.get::<_, i64>(1)?, Digest(row.get(2)?)))
            });
            let (snapshot, entries) = match stored.optional()? {
                Some((snapshot, stop, hash)) => {
                    let (entries, reached) = walk(&moment, last, |link| link.id == stop)?;
                    if reached != Some(hash) {
                        return Err(StoreError::Corrupt(format!("the snapshot of {session} is not of its chain")));
                    }
                    check_chain(&head, hash, snapshot.seq, &entries)?;
                    (Some(snapshot), entries)
                }
                None => {
                    let (entries, _) = walk(&moment, last, |_| false)?;
                    check_chain(&head, chain::FIRST, Seq(0), &entries)?;
                    (None, entries)
                }
            };
            let durable = Durable::new(session, head.seq, epoch);
            Ok(Some(Loaded { durable, head, snapshot, entries }))
        })
    }

    /// The entries that hold the first `records` records after `seq`, oldest first. Costs about as
    /// much as they are, however long the session is.
    ///
    /// # Errors
    /// Those of a read.
    pub fn entries_after(&self, session: SessionId, seq: Seq, records: usize) -> Result<Vec<Entry>, StoreError> {
        const MARK: &str = "SELECT id FROM entries INDEXED BY entries_marks
            WHERE session = ?1 AND seq >= ?2 AND seq / 256 <> (seq - n) / 256 ORDER BY seq LIMIT 1";
        let end = seq.0.saturating_add(records as u64).min(EXACT_MAX);
        self.read(|db| {
            let mut statement = db.prepare_cached("SELECT id, entry FROM heads WHERE session = ?1")?;
            let head = statement.query_row([session.0], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
            let Some((head, last)) = head.optional()? else { return Ok(Vec::new()) };
            let mark = db.prepare_cached(MARK)?.query_row(params![head, end], |row| row.get(0)).optional()?;
            let (mut entries, _) = walk(db, mark.unwrap_or(last), |link| link.entry.seq <= seq)?;
            entries.retain(|entry| entry.seq.0.saturating_sub(u64::from(entry.records)) < end);
            Ok(entries)
        })
    }

    /// The full output that a call of this session left under this number, and the label of what it told; `None` where the newest entries name
    /// none, or it was erased. Another session's is never found.
    ///
    /// # Errors
    /// Those of a read.
    pub fn output(&self, session: SessionId, id: u64) -> Result<Option<(Vec<u8>, Label)>, StoreError> {
        let named = self.read(|db| {
            let last = db.prepare_cached("SELECT entry FROM heads WHERE session = ?1")?;
            let Some(last) = { last }.query_row([session.0], |row| row.get(0)).optional()? else { return Ok(None) };
            let (mut named, mut looked) = (None, 0usize);
            walk(db, last, |link| {
                looked = looked.saturating_add(1);
                named = output_in(&link.entry.body, id);
                named.is_some() || looked > OUTPUT_ENTRIES_MAX
            })?;
            Ok(named)
        })?;
        let Some((reference, label)) = named else { return Ok(None) };
        Ok(self.body(&reference)?.map(|whole| (whole, label)))
    }
}

/// What a tool call that ended in this entry left under this number.
fn output_in(entry: &str, id: u64) -> Option<(BodyRef, Label)> {
    if !entry.contains("\"spill\"") {
        return None;
    }
    let entry: record::Entry<Record> = serde_json::from_str(entry).ok()?;
    entry.records.into_iter().find_map(|record| {
        let Record::Ended(Ended { end: End::Done { spill, label, .. }, .. }) = record else { return None };
        Some((spill.filter(|spill| spill.id == id)?, label))
    })
}

/// A link of the chain, walked from the head backwards.
struct Link {
    id: i64,
    prev: Option<i64>,
    entry: Entry,
}

/// Entries of a session from its last one back to, and without, the first that `stop` names.
fn walk(
    db: &Connection,
    last: i64,
    mut stop: impl FnMut(&Link) -> bool,
) -> Result<(Vec<Entry>, Option<Digest>), StoreError> {
    let mut statement = db.prepare_cached("SELECT id, prev, seq, n, lineage, hash, body FROM entries WHERE id = ?1")?;
    let (mut entries, mut next) = (Vec::new(), Some(last));
    while let Some(id) = next {
        let link = statement
            .query_row([id], |row| {
                let entry = Entry {
                    seq: Seq(row.get(2)?),
                    records: row.get(3)?,
                    lineage: row.get(4)?,
                    hash: Digest(row.get(5)?),
                    body: row.get(6)?,
                };
                Ok(Link { id: row.get(0)?, prev: row.get(1)?, entry })
            })
            .optional()?
            .ok_or_else(|| StoreError::Corrupt(format!("entry {id} is gone")))?;
        if stop(&link) {
            entries.reverse();
            return Ok((entries, Some(link.entry.hash)));
        }
        // Links only lead back: damage cannot make a circle.
        next = link.prev.filter(|prev| *prev < link.id);
        entries.push(link.entry);
    }
    entries.reverse();
    Ok((entries, None))
}

/// Every entry follows from the one before, up to the head.
fn check_chain(head: &Head, mut hash: Digest, mut seq: Seq, entries: &[Entry]) -> Result<(), StoreError> {
    for entry in entries {
        seq = Seq(seq.0.saturating_add(u64::from(entry.records)));
        hash = chain::entry_hash(entry.lineage, head.session, entry.seq, &hash, &entry.body);
        if entry.seq != seq || entry.hash != hash {
            return Err(StoreError::Corrupt(format!("the chain of {} breaks at {}", head.session, entry.seq.0)));
        }
    }
    if (seq, hash) == (head.seq, head.hash) {
        Ok(())
    } else {
        Err(StoreError::Corrupt(format!("the chain of {} does not reach its head", head.session)))
    }
}
