//! The rows that lie outside the chain, compared with the entries that they were committed with: the
//! ledger, the inbox, the memories, and whose a session is. What entries say is the kernel's to read.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use backstay_kernel::audit::{Change, Kind, Replay, kinds, opened};
use backstay_kernel::id::{Seq, SessionId};
use rusqlite::Connection;

use crate::error::StoreError;
use crate::place::exact;
use crate::verify::Report;

/// An entry on its way past, in the order of the commits.
pub struct Passing<'a> {
    /// The row of its session.
    pub head: i64,
    pub session: SessionId,
    /// Of its last record.
    pub seq: Seq,
    pub records: u64,
    pub text: &'a str,
}

/// A row of the ledger, as the table has it and as the entries book it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Row {
    /// Tokens, micro-USD.
    settled: (i64, i64),
    reserved: (i64, i64),
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settled: (tokens, usd), reserved: (tokens_held, usd_held) } = self;
        write!(f, "{tokens} tokens and {usd} micro-USD settled, {tokens_held} and {usd_held} reserved")
    }
}

/// Who a session's row says that it is of.
#[derive(PartialEq, Eq)]
struct Owner {
    agent: String,
    principal: String,
    channel: String,
    title: Option<String>,
}

/// What is still to be met in the entries, and what they have booked so far.
#[derive(Default)]
pub struct Audit {
    owners: BTreeMap<i64, Owner>,
    /// (session's row, last record of the entry), and the memories that it left.
    memories: BTreeMap<(i64, i64), Vec<i64>>,
    /// Messages that keys say have begun a turn.
    turns: BTreeSet<(i64, i64)>,
    ledger: BTreeMap<String, Row>,
    booked: BTreeMap<String, Row>,
    replay: Replay,
}

impl Audit {
    pub fn read(db: &Connection, report: &mut Report) -> Result<Self, StoreError> {
        let mut audit = Self::default();
        each(db, "SELECT id, agent, principal, channel, title FROM heads", |row| {
            let owner = Owner { agent: row.get(1)?, principal: row.get(2)?, channel: row.get(3)?, title: row.get(4)? };
            audit.owners.insert(row.get(0)?, owner);
            Ok(())
        })?;
        each(db, "SELECT session, seq, id FROM memories", |row| {
            report.memories += 1;
            audit.memories.entry((row.get(0)?, row.get(1)?)).or_default().push(row.get(2)?);
            Ok(())
        })?;
        const KEYS: &str = "SELECT i.session, i.turn, h.seq IS NULL OR i.seq NOT BETWEEN 0 AND h.seq, lower(hex(i.key))
            FROM inbox i LEFT JOIN heads h ON h.id = i.session";
        each(db, KEYS, |row| {
            report.keys += 1;
            if row.get(2)? {
                report.fault(format!("the inbox row {} names a record that is not there", row.get::<_, String>(3)?));
            }
            if let Some(turn) = row.get(1)? {
                audit.turns.insert((row.get(0)?, turn));
            }
            Ok(())
        })?;
        each(db, "SELECT key, tokens_settled, usd_settled, tokens_reserved, usd_reserved FROM ledger", |row| {
            report.windows += 1;
            let found = Row { settled: (row.get(1)?, row.get(2)?), reserved: (row.get(3)?, row.get(4)?) };
            audit.ledger.insert(row.get(0)?, found);
            Ok(())
        })?;
        Ok(audit)
    }

    pub fn pass(&mut self, entry: &Passing<'_>, report: &mut Report) {
        let Passing { head, session, seq, records, text } = *entry;
        let last = whole(seq.0);
        let first = whole(seq.0.saturating_sub(records)).saturating_add(1);
        if first == 1 {
            self.compare_owner(entry, report);
        }
        let booked = &mut self.booked;
        if let Err(why) = self.replay.read(session, text, |key, change| book(booked, key, change)) {
            report.fault(format!("the entry at {} of {session} is not readable: {why}", seq.0));
        }
        let memories = self.memories.remove(&(head, last)).unwrap_or_default();
        let turns: Vec<(i64, i64)> = self.turns.range((head, first)..=(head, last)).copied().collect();
        if memories.is_empty() && turns.is_empty() {
            return;
        }
        let kinds = kinds(text).unwrap_or_default();
        let done = kinds.iter().filter(|kind| **kind == Kind::CallDone).count();
        for id in memories.iter().skip(done) {
            report.fault(format!("the memory {id} is of no call that ended done at {} of {session}", seq.0));
        }
        for turn in turns {
            let place = usize::try_from(turn.1.saturating_sub(first)).unwrap_or(usize::MAX);
            if kinds.get(place) == Some(&Kind::Admitted) {
                self.turns.remove(&turn);
            }
        }
    }

    /// The home's own stream has an owner that no record names, and so have entries of no session's.
    fn compare_owner(&mut self, entry: &Passing<'_>, report: &mut Report) {
        let (Some(owner), Some(said)) = (self.owners.remove(&entry.head), opened(entry.text)) else { return };
        let title = said.title.and_then(|title| serde_json::to_string(&title).ok());
        if owner != (Owner { agent: said.agent, principal: said.principal, channel: said.channel, title }) {
            report.fault(format!("the row of {} says another agent, principal, channel or title", entry.session));
        }
    }

    /// Names whatever the entries have not confirmed by now.
    pub fn conclude(mut self, report: &mut Report) {
        for (key, found) in &self.ledger {
            match self.booked.remove(key) {
                Some(booked) if booked == *found => {}
                Some(booked) => report.fault(format!("the ledger row {key} says {found}, the records book {booked}")),
                None => report.fault(format!("the ledger row {key} says {found}, no record books anything there")),
            }
        }
        for (key, booked) in self.booked {
            report.fault(format!("the ledger has no row {key}, where the records book {booked}"));
        }
        for id in self.memories.into_values().flatten() {
            report.fault(format!("the memory {id} names a record that is not there"));
        }
        for (_, turn) in self.turns {
            report.fault(format!("an inbox row names {turn} as a turn, and no message stands there"));
        }
    }
}

/// As the writer books it.
fn book(booked: &mut BTreeMap<String, Row>, key: &str, change: Change) {
    if !booked.contains_key(key) {
        booked.insert(key.to_owned(), Row::default());
    }
    let Some(row) = booked.get_mut(key) else { return };
    match change {
        Change::Reserve(amount) => row.reserved = both(row.reserved, exact(amount), i64::saturating_add),
        Change::Settle { reserved, spent } => {
            row.settled = both(row.settled, exact(spent), i64::saturating_add);
            row.reserved = both(row.reserved, exact(reserved), |held, back| held.saturating_sub(back).max(0));
        }
    }
}

fn both(row: (i64, i64), amount: (i64, i64), combine: fn(i64, i64) -> i64) -> (i64, i64) {
    (combine(row.0, amount.0), combine(row.1, amount.1))
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn each(
    db: &Connection,
    sql: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}
