//! Reads the whole file and says what in it is not as it was written: schema, pages, chains, snapshots,
//! bodies, and the rows beside the chain ([`crate::audit`]).
use std::collections::BTreeMap;
use std::path::Path;

use backstay_kernel::id::{Digest, Seq, SessionId};
use rusqlite::Connection;

use crate::audit::{Audit, Passing};
use crate::body;
use crate::chain;
use crate::connect;
use crate::error::StoreError;
use crate::limits::FAULTS_LISTED_MAX;
use crate::schema;
use crate::store::Store;

/// What a verification read and found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    pub sessions: u64,
    pub entries: u64,
    pub records: u64,
    pub bodies: u64,
    /// Bodies that were erased on purpose; that is no fault.
    pub erased: u64,
    /// Rows of the ledger, the inbox and the memories, compared with the records.
    pub windows: u64,
    pub keys: u64,
    pub memories: u64,
    /// All of them, also those that are not listed.
    pub fault_count: u64,
    /// In words, the first hundred.
    pub faults: Vec<String>,
}

impl Report {
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    pub(crate) fn fault(&mut self, text: String) {
        self.fault_count = self.fault_count.saturating_add(1);
        if self.faults.len() < FAULTS_LISTED_MAX {
            self.faults.push(text);
        }
    }
}

impl Store {
    /// Verifies every page, chain, snapshot and body, while the home goes on working.
    ///
    /// # Errors
    /// Those of a read; what is damaged is not an error but stands in the report.
    pub fn verify(&self) -> Result<Report, StoreError> {
        self.read(|_| Ok(()))?;
        verify(&connect::reader(&self.inner.common.home.state())?)
    }
}

/// The end of a session's chain so far.
struct Tip {
    session: SessionId,
    entry: Option<i64>,
    seq: Seq,
    hash: Digest,
    /// What the head says it should come to.
    head: (i64, Seq, Digest),
    /// (entry, seq, hash) of the snapshot, until its entry is met.
    snapshot: Option<(i64, Seq, Digest)>,
}

/// On two threads: pages and bodies are looked at beside the chains, on a connection of their own.
pub(crate) fn verify(db: &Connection) -> Result<Report, StoreError> {
    let path = db.path().map(Path::new).ok_or_else(|| StoreError::Invalid("a file without a name".to_owned()))?;
    let second = connect::reader(path)?;
    let (chains, rest) = std::thread::scope(|threads| {
        let rest = threads.spawn(move || all_of(&second, &[check_pages, check_bodies]));
        (all_of(db, &[check_schema, check_chains]), rest.join())
    });
    let (mut report, rest) = (chains?, rest.map_err(|_| StoreError::Io("a verification panicked".to_owned()))??);
    (report.bodies, report.erased) = (rest.bodies, rest.erased);
    report.fault_count = report.fault_count.saturating_add(rest.fault_count);
    report.faults.extend(rest.faults);
    report.faults.truncate(FAULTS_LISTED_MAX);
    Ok(report)
}

type Step = fn(&Connection, &mut Report) -> Result<(), StoreError>;

/// What the steps find in one moment of the file.
fn all_of(db: &Connection, steps: &[Step]) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let moment = db.unchecked_transaction()?;
    for step in steps {
        match step(&moment, &mut report) {
            // Damaged pages also make reads fail: that is a finding too.
            Err(StoreError::Corrupt(text)) => report.fault(text),
            other => other?,
        }
    }
    Ok(report)
}

fn check_schema(db: &Connection, report: &mut Report) -> Result<(), StoreError> {
    if let Some(what) = schema::difference(db)? {
        report.fault(format!("the schema was altered: {what}"));
    }
    Ok(())
}

fn check_pages(db: &Connection, report: &mut Report) -> Result<(), StoreError> {
    let mut statement = db.prepare("PRAGMA quick_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if text != "ok" {
            report.fault(text);
        }
    }
    Ok(())
}

/// Entries in the order of their ids, which is that of the file: each extends its session's tip.
fn check_chains(db: &Connection, report: &mut Report) -> Result<(), StoreError> {
    let mut tips = read_tips(db)?;
    let mut audit = Audit::read(db, report)?;
    let sessions = tips.values().filter(|tip| tip.session != SessionId::HOME).count();
    report.sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
    let mut statement = db.prepare("SELECT id, session, seq, n, prev, lineage, hash, body FROM entries ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let (seq, records) = (Seq(row.get(2)?), row.get::<_, u64>(3)?);
        report.entries += 1;
        report.records = report.records.saturating_add(records);
        let head = row.get(1)?;
        let Some(tip) = tips.get_mut(&head) else {
            report.fault(format!("entry {id} belongs to no session"));
            continue;
        };
        let text = row.get_ref(7)?.as_str().unwrap_or_default();
        let hash = chain::entry_hash(row.get(5)?, tip.session, seq, &tip.hash, text);
        let follows = row.get::<_, Option<i64>>(4)? == tip.entry && seq.0 == tip.seq.0.saturating_add(records);
        let stored = Digest(row.get(6)?);
        if !follows || hash != stored {
            report.fault(format!("the chain of {} breaks at {}", tip.session, seq.0));
        }
        audit.pass(&Passing { head, session: tip.session, seq, records, text }, report);
        if tip.snapshot == Some((id, seq, stored)) {
            tip.snapshot = None;
        }
        (tip.entry, tip.seq, tip.hash) = (Some(id), seq, stored);
    }
    audit.conclude(report);
    for tip in tips.into_values() {
        if (tip.entry.unwrap_or(0), tip.seq, tip.hash) != tip.head {
            report.fault(format!("the chain of {} does not reach its head", tip.session));
        }
        if tip.snapshot.is_some() {
            report.fault(format!("the snapshot of {} is not of its chain", tip.session));
        }
    }
    Ok(())
}

fn read_tips(db: &Connection) -> Result<BTreeMap<i64, Tip>, StoreError> {
    const SQL: &str = "SELECT h.id, h.session, h.entry, h.seq, h.hash, s.entry, s.seq, s.hash
        FROM heads h LEFT JOIN snapshots s ON s.session = h.id";
    let mut statement = db.prepare(SQL)?;
    let rows = statement.query_map([], |row| {
        let entry: Option<i64> = row.get(5)?;
        let snapshot = match entry {
            Some(entry) => Some((entry, Seq(row.get(6)?), Digest(row.get(7)?))),
            None => None,
        };
        let tip = Tip {
            session: SessionId(row.get(1)?),
            entry: None,
            seq: Seq(0),
            hash: chain::FIRST,
            head: (row.get(2)?, Seq(row.get(3)?), Digest(row.get(4)?)),
            snapshot,
        };
        Ok((row.get(0)?, tip))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn check_bodies(db: &Connection, report: &mut Report) -> Result<(), StoreError> {
    let mut statement = db.prepare("SELECT digest, salt, enc, bytes, id FROM bodies ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: u64 = row.get(4)?;
        report.bodies += 1;
        match body::Row::of(row)?.open() {
            Ok(Some(_)) => {}
            Ok(None) => report.erased += 1,
            Err(why) => report.fault(format!("body {id} {why}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_counted_and_the_first_are_told() {
        let mut report = Report::default();
        (0..FAULTS_LISTED_MAX + 5).for_each(|n| report.fault(n.to_string()));
        assert_eq!((report.faults.len(), report.fault_count), (FAULTS_LISTED_MAX, FAULTS_LISTED_MAX as u64 + 5));
    }
}
