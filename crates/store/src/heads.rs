//! The heads: what start-up, schedules and lists know of a session without reading its entries.
use backstay_kernel::id::{BodyRef, Digest, Millis, Seq, SessionId};
use rusqlite::{OptionalExtension as _, Row, params};

use crate::error::StoreError;
use crate::store::Store;

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

pub(crate) const HEAD: &str = "session, seq, hash, open, people, wake_at, wait, agent, principal, channel, title,
    opened_at, updated_at";

pub(crate) fn head_from(row: &Row<'_>) -> rusqlite::Result<Head> {
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

impl Store {
    /// One session's row.
    ///
    /// # Errors
    /// Those of a read.
    pub fn head(&self, session: SessionId) -> Result<Option<Head>, StoreError> {
        let sql = format!("SELECT {HEAD} FROM heads WHERE session = ?1");
        self.read_row(|db| Ok(db.prepare_cached(&sql)?.query_row([session.0], head_from).optional()?))
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

    /// Sessions, the newest first, of one principal or of all, in this wait or in any; `after` is
    /// the last of the page before. The home's own stream is not among them.
    ///
    /// # Errors
    /// Those of a read.
    pub fn sessions(
        &self,
        principal: Option<&str>,
        wait: Option<&str>,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Head>, StoreError> {
        let rest = "WHERE session <> ?1 AND (?2 IS NULL OR id < (SELECT id FROM heads WHERE session = ?2))
            AND (?3 IS NULL OR wait = ?3)";
        let (home, after) = (SessionId::HOME.0, after.map(|session| session.0));
        match principal {
            Some(name) => {
                let rest = format!("{rest} AND principal = ?4 ORDER BY id DESC LIMIT ?5");
                self.heads(&rest, params![home, after, wait, name, limit])
            }
            None => self.heads(&format!("{rest} ORDER BY id DESC LIMIT ?4"), params![home, after, wait, limit]),
        }
    }

    /// Sessions that wait for a person, the one that waits longest first. In a restored home also those
    /// with anything on its way that have not noted the restore: that is in doubt once they do.
    ///
    /// # Errors
    /// Those of a read.
    pub fn needing_people(&self) -> Result<Vec<Head>, StoreError> {
        const WAITING: &str = "SELECT id FROM heads INDEXED BY heads_people WHERE people = 1";
        const UNTOLD: &str = "SELECT h.id FROM heads h JOIN entries e ON e.id = h.entry
            WHERE h.wait <> 'idle' AND e.lineage <> ?1";
        if self.was_restored()? {
            let rest = format!("WHERE id IN ({WAITING} UNION {UNTOLD}) ORDER BY updated_at");
            return self.heads(&rest, params![self.lineage()]);
        }
        self.heads("INDEXED BY heads_people WHERE people = 1 ORDER BY updated_at", [])
    }

    /// Sessions that wait for a provider after its tries, or for money.
    ///
    /// # Errors
    /// Those of a read.
    pub fn held_up(&self) -> Result<Vec<Head>, StoreError> {
        const REST: &str = "INDEXED BY heads_due
            WHERE (open = 1 OR wake_at IS NOT NULL) AND wait IN ('provider', 'budget') ORDER BY updated_at";
        self.heads(REST, [])
    }

    /// Sessions in which something goes on, or waits, oldest first.
    ///
    /// # Errors
    /// Those of a read.
    pub fn going_on(&self) -> Result<Vec<Head>, StoreError> {
        self.heads("WHERE session <> ?1 AND wait NOT IN ('idle', 'stopped') ORDER BY id", [SessionId::HOME.0])
    }

    /// The first entry of all is of another lineage than the home has now.
    fn was_restored(&self) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT lineage FROM entries ORDER BY id LIMIT 1";
        let first: Option<u64> =
            self.read(|db| Ok(db.prepare_cached(SQL)?.query_row([], |row| row.get(0)).optional()?))?;
        Ok(first.is_some_and(|first| first != self.lineage()))
    }

    fn heads(&self, rest: &str, values: impl rusqlite::Params) -> Result<Vec<Head>, StoreError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(&format!("SELECT {HEAD} FROM heads {rest}"))?;
            let rows = statement.query_map(values, head_from)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
