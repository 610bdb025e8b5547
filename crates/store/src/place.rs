//! Puts one append into the open transaction: the fence, the entry, and all that is to be true
//! with it. Runs inside a savepoint, so that a refused append leaves nothing behind.
use backstay_kernel::budget::{Amount, LedgerEntry};
use backstay_kernel::id::{Digest, Seq, SessionId};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::append::{Append, NewSession};
use crate::body::Body;
use crate::chain;
use crate::error::{AppendError, StoreError};
use crate::inbox;
use crate::limits::EXACT_MAX;

/// The rows that an append made or moved.
struct Placed {
    head: i64,
    entry: i64,
    seq: Seq,
    hash: Digest,
}

/// The last row of a session before the append.
struct Before {
    head: i64,
    entry: i64,
    hash: Digest,
    open: bool,
    people: bool,
    wake_at: Option<u64>,
}

/// Every statement of one append. Returns the seq of its last record.
pub fn place(db: &Connection, append: &Append) -> Result<Seq, AppendError> {
    let seq = Seq(append.expected.0.saturating_add(u64::from(append.records)));
    if append.records == 0 || seq.0 > EXACT_MAX || append.create.is_some() != (append.expected == Seq(0)) {
        let text = format!("{} records after {} of {}", append.records, append.expected.0, append.session);
        return Err(StoreError::Invalid(text).into());
    }
    let placed = match &append.create {
        Some(new) => open_session(db, append, new, seq)?,
        None => extend_session(db, append, seq)?,
    };
    for body in &append.bodies {
        put_body(db, body)?;
    }
    if let Some(row) = &append.inbox {
        inbox::put(db, append, row, placed.head)?;
    }
    for entry in &append.ledger {
        book(db, entry)?;
    }
    put_rest(db, append, &placed)?;
    Ok(seq)
}

fn open_session(db: &Connection, append: &Append, new: &NewSession, seq: Seq) -> Result<Placed, AppendError> {
    const SQL: &str = "INSERT INTO heads(session, seq, entry, hash, open, people, wake_at, wait,
        agent, principal, channel, title, opened_at, updated_at)
        VALUES(?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12) ON CONFLICT(session) DO NOTHING";
    let hash = chain::entry_hash(append.lineage, append.session, seq, &chain::FIRST, &append.entry);
    let title = new.title.map(|t| serde_json::to_string(&t)).transpose();
    let title = title.map_err(|e| StoreError::Invalid(e.to_string()))?;
    let head = &append.head;
    let made = db.prepare_cached(SQL).map_err(failed)?.execute(params![
        append.session.0,
        seq.0,
        hash.0,
        head.open,
        head.people,
        head.wake_at,
        head.wait,
        new.agent,
        new.principal,
        new.channel,
        title,
        append.at,
    ]);
    if made.map_err(failed)? == 0 {
        return Err(AppendError::Stale { at: at(db, append.session)? });
    }
    let head = db.last_insert_rowid();
    let entry = put_entry(db, append, head, seq, None, &hash)?;
    run(db, "UPDATE heads SET entry = ?2 WHERE id = ?1", params![head, entry])?;
    Ok(Placed { head, entry, seq, hash })
}

fn extend_session(db: &Connection, append: &Append, seq: Seq) -> Result<Placed, AppendError> {
    let Some(before) = before(db, append)? else {
        return Err(AppendError::Stale { at: at(db, append.session)? });
    };
    let hash = chain::entry_hash(append.lineage, append.session, seq, &before.hash, &append.entry);
    let entry = put_entry(db, append, before.head, seq, Some(before.entry), &hash)?;
    let head = &append.head;
    let moved = if (before.open, before.people, before.wake_at) == (head.open, head.people, head.wake_at) {
        // The short form leaves the pages of the partial indexes alone.
        const SQL: &str = "UPDATE heads SET seq = ?3, entry = ?4, hash = ?5, wait = ?6, updated_at = ?7
            WHERE id = ?1 AND seq = ?2";
        run(db, SQL, params![before.head, append.expected.0, seq.0, entry, hash.0, head.wait, append.at])?
    } else {
        const SQL: &str = "UPDATE heads SET seq = ?3, entry = ?4, hash = ?5, wait = ?6, updated_at = ?7,
            open = ?8, people = ?9, wake_at = ?10 WHERE id = ?1 AND seq = ?2";
        let values = params![
            before.head,
            append.expected.0,
            seq.0,
            entry,
            hash.0,
            head.wait,
            append.at,
            head.open,
            head.people,
            head.wake_at,
        ];
        run(db, SQL, values)?
    };
    if moved == 0 {
        return Err(AppendError::Stale { at: at(db, append.session)? });
    }
    Ok(Placed { head: before.head, entry, seq, hash })
}

fn before(db: &Connection, append: &Append) -> Result<Option<Before>, AppendError> {
    const SQL: &str = "SELECT id, entry, hash, open, people, wake_at FROM heads WHERE session = ?1 AND seq = ?2";
    let mut statement = db.prepare_cached(SQL).map_err(failed)?;
    let row = statement.query_row(params![append.session.0, append.expected.0], |row| {
        Ok(Before {
            head: row.get(0)?,
            entry: row.get(1)?,
            hash: Digest(row.get(2)?),
            open: row.get(3)?,
            people: row.get(4)?,
            wake_at: row.get(5)?,
        })
    });
    row.optional().map_err(failed)
}

fn at(db: &Connection, session: SessionId) -> Result<Seq, AppendError> {
    let mut statement = db.prepare_cached("SELECT seq FROM heads WHERE session = ?1").map_err(failed)?;
    let found = statement.query_row([session.0], |row| row.get(0)).optional().map_err(failed)?;
    Ok(Seq(found.unwrap_or(0)))
}

fn put_entry(
    db: &Connection,
    append: &Append,
    head: i64,
    seq: Seq,
    prev: Option<i64>,
    hash: &Digest,
) -> Result<i64, AppendError> {
    const SQL: &str = "INSERT INTO entries(session, seq, n, prev, lineage, hash, body)
        VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    run(db, SQL, params![head, seq.0, append.records, prev, append.lineage, hash.0, append.entry])?;
    Ok(db.last_insert_rowid())
}

fn put_body(db: &Connection, body: &Body) -> Result<(), AppendError> {
    const SQL: &str = "INSERT INTO bodies(id, digest, salt, dedupe, enc, bytes) VALUES(?1, ?2, ?3, ?4, 0, ?5)";
    // Two sessions may have sealed the same shared bytes at once: then the second copy stays, and
    // only the first is found again.
    let dedupe = match body.dedupe {
        Some(mark) if crate::body::find(db, &mark)?.is_some() => None,
        other => other,
    };
    let reference = body.reference();
    run(db, SQL, params![reference.id, reference.digest.0, body.salt, dedupe, body.bytes])?;
    Ok(())
}

/// Reserve is the fence between sessions that share a budget: a conditional update.
fn book(db: &Connection, entry: &LedgerEntry) -> Result<(), AppendError> {
    const RESERVE: &str = "INSERT INTO ledger VALUES(?1, 0, ?2, 0, ?3)
        ON CONFLICT(key) DO UPDATE SET tokens_reserved = tokens_reserved + ?2, usd_reserved = usd_reserved + ?3
        WHERE tokens_settled + tokens_reserved + ?2 <= ?4 AND usd_settled + usd_reserved + ?3 <= ?5";
    const SETTLE: &str = "INSERT INTO ledger VALUES(?1, ?4, 0, ?5, 0)
        ON CONFLICT(key) DO UPDATE SET
        tokens_settled = tokens_settled + ?4, usd_settled = usd_settled + ?5,
        tokens_reserved = max(0, tokens_reserved - ?2), usd_reserved = max(0, usd_reserved - ?3)";
    match entry {
        LedgerEntry::Reserve { key, amount, ceiling } => {
            let (tokens, usd) = exact(*amount);
            // The statement's condition does not see a first row.
            let fits = ceiling.holds(*amount);
            let most = [ceiling.tokens, ceiling.micro_usd].map(|most| most.map_or(i64::MAX, whole));
            if !fits || run(db, RESERVE, params![key, tokens, usd, most[0], most[1]])? == 0 {
                return Err(AppendError::Budget { key: key.clone() });
            }
        }
        LedgerEntry::Settle { key, reserved, spent } => {
            let ((tokens, usd), (tokens_spent, usd_spent)) = (exact(*reserved), exact(*spent));
            run(db, SETTLE, params![key, tokens, usd, tokens_spent, usd_spent])?;
        }
    }
    Ok(())
}

fn put_rest(db: &Connection, append: &Append, placed: &Placed) -> Result<(), AppendError> {
    const SNAPSHOT: &str = "INSERT OR REPLACE INTO snapshots(session, seq, entry, hash, fold_version, body)
        VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
    const MEMORY: &str = "INSERT INTO memories(principal, session, seq, at, text) VALUES(?1, ?2, ?3, ?4, ?5)";
    if let Some(snapshot) = &append.snapshot {
        let Placed { head, entry, seq, hash } = placed;
        run(db, SNAPSHOT, params![head, seq.0, entry, hash.0, snapshot.fold_version, snapshot.body])?;
    }
    for memory in &append.memories {
        run(db, MEMORY, params![memory.principal, placed.head, placed.seq.0, append.at, memory.text])?;
        let id = db.last_insert_rowid();
        let values = params![id, memory.principal, memory.text];
        run(db, "INSERT INTO memories_fts(rowid, principal, text) VALUES(?1, ?2, ?3)", values)?;
    }
    Ok(())
}

pub fn exact(amount: Amount) -> (i64, i64) {
    (whole(amount.tokens), whole(amount.micro_usd))
}

/// Beyond 2^53 nothing is money any more; sums of such amounts still fit SQLite's integers.
fn whole(value: u64) -> i64 {
    i64::try_from(value.min(EXACT_MAX)).unwrap_or(i64::MAX)
}

fn run(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<usize, AppendError> {
    db.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(failed)
}

fn failed(error: rusqlite::Error) -> AppendError {
    AppendError::Store(error.into())
}
