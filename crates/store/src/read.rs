//! What the runtime reads: sessions to go on with, heads to list, bodies, and the ledger. Reads
//! have a connection of their own and go on while the writer commits.
use std::sync::atomic::Ordering;

use backstay_kernel::budget::Amount;
use backstay_kernel::id::{BodyRef, Digest, Millis, Seq, SessionId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::append::Durable;
use crate::body;
use crate::chain;
use crate::connect;
use crate::error::StoreError;
use crate::limits::{COMPRESS_BYTES_MIN, COMPRESS_LEVEL};
use crate::store::{Store, lock};

/// The row of a session: what is known of it without its entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub session: SessionId,
    pub seq: Seq,
    /// Of the last entry: it covers every entry before.
    pub hash: Digest,
    pub open: bool,
    pub people: bool,
    pub wake_at: Option<Millis>,
    pub wait: Option<String>,
    pub agent: String,
    pub principal: String,
    pub channel: String,
    pub title: Option<BodyRef>,
    pub opened_at: Millis,
    pub updated_at: Millis,
}

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

/// An admitted message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    pub session: SessionId,
    pub seq: Seq,
    pub body: Digest,
    pub expires_at: Millis,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stats {
    pub db_bytes: u64,
    pub wal_bytes: u64,
    /// Free on the file system.
    pub free_bytes: u64,
    pub sessions: u64,
    pub entries: u64,
    pub bodies: u64,
    /// Since the home was opened.
    pub commits: u64,
    pub appends: u64,
}

const HEAD: &str = "session, seq, hash, open, people, wake_at, wait, agent, principal, channel, title,
    opened_at, updated_at";

fn head_from(row: &Row<'_>) -> rusqlite::Result<Head> {
    let title: Option<String> = row.get("title")?;
    Ok(Head {
        session: SessionId(row.get("session")?),
        seq: Seq(row.get("seq")?),
        hash: Digest(row.get("hash")?),
        open: row.get("open")?,
        people: row.get("people")?,
        wake_at: row.get("wake_at")?,
        wait: row.get("wait")?,
        agent: row.get("agent")?,
        principal: row.get("principal")?,
        channel: row.get("channel")?,
        title: title.and_then(|text| serde_json::from_str(&text).ok()),
        opened_at: row.get("opened_at")?,
        updated_at: row.get("updated_at")?,
    })
}

/// A link of the chain, walked from the head backwards.
struct Link {
    id: i64,
    prev: Option<i64>,
    entry: Entry,
}

/// Entries of a session from its last one back to, and without, the first that `stop` names.
fn walk(db: &Connection, last: i64, stop: impl Fn(&Link) -> bool) -> Result<(Vec<Entry>, Option<Digest>), StoreError> {
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

impl Store {
    /// Runs `work` on the reader's connection, which a failure of the disk closes.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut place = lock(&self.inner.reader);
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
            const SNAPSHOT: &str = "SELECT seq, entry, hash, body FROM snapshots WHERE session = ?1 AND fold_version = ?2";
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

    /// The first `limit` entries that end after `seq`, oldest first.
    ///
    /// # Errors
    /// Those of a read.
    pub fn entries_after(&self, session: SessionId, seq: Seq, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read(|db| {
            let mut statement = db.prepare_cached("SELECT entry FROM heads WHERE session = ?1")?;
            let Some(last) = statement.query_row([session.0], |row| row.get(0)).optional()? else {
                return Ok(Vec::new());
            };
            let (mut entries, _) = walk(db, last, |link| link.entry.seq <= seq)?;
            entries.truncate(limit);
            Ok(entries)
        })
    }

    /// One session's row.
    ///
    /// # Errors
    /// Those of a read.
    pub fn head(&self, session: SessionId) -> Result<Option<Head>, StoreError> {
        let heads = self.heads("WHERE session = ?1", params![session.0])?;
        Ok(heads.into_iter().next())
    }

    /// Sessions that start-up has to go on with: effects are open, or their time has come.
    ///
    /// # Errors
    /// Those of a read.
    pub fn due(&self, now: Millis) -> Result<Vec<SessionId>, StoreError> {
        const SQL: &str = "SELECT session FROM heads INDEXED BY heads_due
            WHERE (open = 1 OR wake_at IS NOT NULL) AND (open = 1 OR wake_at <= ?1)";
        self.read(|db| {
            let mut statement = db.prepare_cached(SQL)?;
            let rows = statement.query_map([now], |row| Ok(SessionId(row.get(0)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The earliest time at which a session wants to be woken.
    ///
    /// # Errors
    /// Those of a read.
    pub fn next_wake(&self) -> Result<Option<Millis>, StoreError> {
        const SQL: &str = "SELECT min(wake_at) FROM heads INDEXED BY heads_due WHERE wake_at IS NOT NULL";
        self.read(|db| Ok(db.prepare_cached(SQL)?.query_row([], |row| row.get(0))?))
    }

    /// Sessions, the newest first, of one principal or of all; `after` is the last of the page
    /// before. The home's own stream is not among them.
    ///
    /// # Errors
    /// Those of a read.
    pub fn sessions(
        &self,
        principal: Option<&str>,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Head>, StoreError> {
        let rest = "WHERE session <> ?1 AND (?2 IS NULL OR id < (SELECT id FROM heads WHERE session = ?2))";
        let (home, after) = (SessionId::HOME.0, after.map(|session| session.0));
        match principal {
            Some(name) => {
                let rest = format!("{rest} AND principal = ?3 ORDER BY id DESC LIMIT ?4");
                self.heads(&rest, params![home, after, name, limit])
            }
            None => self.heads(&format!("{rest} ORDER BY id DESC LIMIT ?3"), params![home, after, limit]),
        }
    }

    /// Sessions that wait for a person, the one that waits longest first.
    ///
    /// # Errors
    /// Those of a read.
    pub fn needing_people(&self) -> Result<Vec<Head>, StoreError> {
        self.heads("WHERE people = 1 ORDER BY updated_at", [])
    }

    fn heads(&self, rest: &str, values: impl rusqlite::Params) -> Result<Vec<Head>, StoreError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(&format!("SELECT {HEAD} FROM heads {rest}"))?;
            let rows = statement.query_map(values, head_from)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Where a message with this key was admitted, expired or not.
    ///
    /// # Errors
    /// Those of a read.
    pub fn find_inbox(&self, key: &[u8; 32]) -> Result<Option<Admission>, StoreError> {
        const SQL: &str = "SELECT h.session, i.seq, i.body, i.expires_at FROM inbox i
            JOIN heads h ON h.id = i.session WHERE i.key = ?1";
        self.read(|db| {
            let found = db.prepare_cached(SQL)?.query_row([key], |row| {
                Ok(Admission {
                    session: SessionId(row.get(0)?),
                    seq: Seq(row.get(1)?),
                    body: Digest(row.get(2)?),
                    expires_at: row.get(3)?,
                })
            });
            Ok(found.optional()?)
        })
    }

    /// Settled + reserved of each key, in the order asked.
    ///
    /// # Errors
    /// Those of a read.
    pub fn ledger(&self, keys: &[String]) -> Result<Vec<Amount>, StoreError> {
        const SQL: &str = "SELECT tokens_settled + tokens_reserved, usd_settled + usd_reserved FROM ledger WHERE key = ?1";
        self.read(|db| {
            let moment = db.unchecked_transaction()?;
            let mut statement = moment.prepare_cached(SQL)?;
            let mut used = Vec::with_capacity(keys.len());
            for key in keys {
                let row = statement.query_row([key], |row| Ok(Amount { tokens: row.get(0)?, micro_usd: row.get(1)? }));
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
        match self.read(|db| body::read(db, reference.id))? {
            Some((digest, bytes)) if digest == reference.digest => Ok(bytes),
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
            AND enc = 0 AND length(bytes) >= ?1 ORDER BY id LIMIT ?2";
        let found: Vec<(u64, Vec<u8>)> = self.read(|db| {
            let mut statement = db.prepare_cached(FIND)?;
            let rows = statement.query_map(params![COMPRESS_BYTES_MIN, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
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
        const SQL: &str = "SELECT (SELECT coalesce(max(id), 0) FROM heads),
            (SELECT coalesce(max(id), 0) FROM entries), (SELECT coalesce(max(id), 0) FROM bodies)";
        let counts = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (sessions, entries, bodies) = self.read(|db| Ok(db.query_row(SQL, [], counts)?))?;
        let common = &self.inner.common;
        let state = common.home.state();
        let bytes_of = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |found| found.len());
        Ok(Stats {
            db_bytes: bytes_of(&state),
            wal_bytes: bytes_of(&state.with_extension("db-wal")),
            free_bytes: common.home.free_bytes()?,
            sessions,
            entries,
            bodies,
            commits: common.commits.load(Ordering::Relaxed),
            appends: common.appends.load(Ordering::Relaxed),
        })
    }
}
