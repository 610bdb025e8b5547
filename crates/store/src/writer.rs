//! The one thread that writes. It takes everything that waits, commits it as one transaction (all
//! share one flush), and only then tells the senders.
//!
//! When the disk fails, every waiting append is answered with the error and the connection is
//! dropped: what a handle believes after a failed flush is worth nothing. The next command opens
//! the file again from disk.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};

use rusqlite::Connection;

use crate::append::{Append, Done, Durable};
use crate::connect::{self, Kind};
use crate::error::{AppendError, StoreError};
use crate::inbox;
use crate::limits::{BATCH_MAX, FREE_BYTES_NONE};
use crate::place::place;
use crate::store::Common;

pub type Job = Box<dyn FnOnce(Result<&mut Connection, StoreError>) -> Option<StoreError> + Send>;

pub enum Command {
    Append(Box<Append>, Done),
    /// Any other write, between two batches. Answers the failure of the store, if there was one.
    Job(Job),
    Close(SyncSender<Result<(), StoreError>>),
}

type Outcome = Result<Durable, AppendError>;

pub struct Writer {
    common: Arc<Common>,
    /// Absent after a failure, until the next command.
    db: Option<Connection>,
    /// Where the search for expired inbox rows goes on.
    retire_after: Vec<u8>,
}

impl Writer {
    pub fn new(common: Arc<Common>, db: Connection) -> Self {
        Self { common, db: Some(db), retire_after: Vec::new() }
    }

    /// Ends with `Close`, or when the last handle of the store is gone.
    pub fn run(mut self, commands: &Receiver<Command>) {
        let mut batch = Vec::new();
        loop {
            let Ok(first) = commands.recv() else { break };
            let mut after = collect(first, &mut batch);
            while after.is_none() && batch.len() < BATCH_MAX {
                let Ok(next) = commands.try_recv() else { break };
                after = collect(next, &mut batch);
            }
            self.commit(std::mem::take(&mut batch));
            match after {
                None | Some(Command::Append(..)) => {}
                Some(Command::Job(job)) => self.job(job),
                Some(Command::Close(reply)) => {
                    let _ = reply.send(self.close());
                    return;
                }
            }
        }
        let _ = self.close();
    }

    fn commit(&mut self, batch: Vec<(Box<Append>, Done)>) {
        if batch.is_empty() {
            return;
        }
        let mut outcomes = self.attempt(&batch);
        // A full disk has written nothing of the batch, and now there is room for it.
        if matches!(outcomes, Err(StoreError::Full(_))) && self.common.home.drop_ballast() {
            outcomes = self.attempt(&batch);
        }
        match outcomes {
            Ok(outcomes) => {
                for ((append, done), outcome) in batch.into_iter().zip(outcomes) {
                    if outcome.is_ok() {
                        self.common.remember(&append.bodies);
                    }
                    done(outcome);
                }
            }
            Err(error) => {
                for (_, done) in batch {
                    done(Err(error.clone().into()));
                }
            }
        }
    }

    fn attempt(&mut self, batch: &[(Box<Append>, Done)]) -> Result<Vec<Outcome>, StoreError> {
        let epoch = self.common.epoch;
        let cursor = std::mem::take(&mut self.retire_after);
        let result = self.connection().and_then(|db| transact(db, batch, epoch, cursor));
        match result {
            Ok((outcomes, cursor)) => {
                self.retire_after = cursor;
                let placed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
                if placed > 0 {
                    self.common.commits.fetch_add(1, Ordering::Relaxed);
                    self.common.appends.fetch_add(u64::try_from(placed).unwrap_or(0), Ordering::Relaxed);
                }
                Ok(outcomes)
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn job(&mut self, job: Job) {
        if let Some(error) = job(self.connection()) {
            self.fail(error);
        }
    }

    /// The connection, opened again from disk if the last one failed.
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if self.db.is_none() {
            match reopen(&self.common) {
                Ok(db) => {
                    self.db = Some(db);
                    self.common.set_failure(None);
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
        self.db.as_mut().ok_or(StoreError::Closed)
    }

    /// Drops the connection; the failure stands until a re-opening succeeds.
    fn fail(&mut self, error: StoreError) -> StoreError {
        self.db = None;
        let no_room = || self.common.home.free_bytes().is_ok_and(|free| free < FREE_BYTES_NONE);
        let error = if let StoreError::Io(text) = &error
            && no_room()
        {
            StoreError::Full(text.clone())
        } else {
            error
        };
        self.common.set_failure(Some(error.clone()));
        error
    }

    /// Leaves one file without a log beside it, so that a plain copy is a whole backup.
    fn close(&mut self) -> Result<(), StoreError> {
        let Some(db) = self.db.take() else {
            return self.common.failure().map_or(Ok(()), Err);
        };
        connect::truncate_wal(&db)?;
        connect::leave_clean(&db)?;
        db.close().map_err(|(_, error)| error.into())
    }
}

/// Adds an append to the batch; gives back what must wait for the batch's end.
fn collect(command: Command, batch: &mut Vec<(Box<Append>, Done)>) -> Option<Command> {
    match command {
        Command::Append(append, done) => {
            batch.push((append, done));
            None
        }
        Command::Job(_) | Command::Close(_) => Some(command),
    }
}

/// Opens the file anew after a failure. What its log holds may be in the page cache only, since a
/// failed flush marks pages as clean: so all of it is written once more, to the file itself.
fn reopen(common: &Common) -> Result<Connection, StoreError> {
    let path = common.home.state();
    let db = connect::writer(&path)?;
    if connect::kind(&db, &path)? != Kind::Ours {
        return Err(StoreError::Corrupt("its header is gone".to_owned()));
    }
    connect::arm(&db)?;
    if !connect::truncate_wal(&db)? {
        return Err(StoreError::Io("a long read holds the log back".to_owned()));
    }
    db.execute("UPDATE meta SET value = ?1 WHERE name = 'epoch'", [common.epoch])?;
    Ok(db)
}

/// One transaction; one savepoint per append, so that a refused one takes nobody with it.
fn transact(
    db: &Connection,
    batch: &[(Box<Append>, Done)],
    epoch: u64,
    cursor: Vec<u8>,
) -> Result<(Vec<Outcome>, Vec<u8>), StoreError> {
    let run = |sql: &str| db.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(drop);
    run("BEGIN IMMEDIATE")?;
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut admitted_at = None;
    for (append, _) in batch {
        run("SAVEPOINT append")?;
        let outcome = match place(db, append) {
            Ok(seq) => {
                if append.inbox.is_some() {
                    admitted_at = admitted_at.max(Some(append.at));
                }
                Ok(Durable::new(append.session, seq, epoch))
            }
            Err(AppendError::Store(error)) if error.is_storage() => return Err(error),
            Err(refused) => {
                run("ROLLBACK TO append")?;
                Err(refused)
            }
        };
        run("RELEASE append")?;
        outcomes.push(outcome);
    }
    let cursor = match admitted_at {
        Some(now) => inbox::retire(db, now, cursor)?,
        None => cursor,
    };
    run("COMMIT")?;
    Ok((outcomes, cursor))
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
