//! The handle of an open home: hands appends to the writer, seals and erases bodies, and says
//! whether the disk lets work go on.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use backstay_kernel::id::{BodyRef, SessionId};
use rusqlite::Connection;

use crate::append::{Append, Done};
use crate::body::{self, Body, Known, Shared};
use crate::connect;
use crate::error::{AppendError, StoreError};
use crate::home::Home;
use crate::lineage;
use crate::writer::Command;

/// An open home. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.inner.common.home.directory()).finish()
    }
}

pub(crate) struct Inner {
    pub common: Arc<Common>,
    pub commands: SyncSender<Command>,
    pub writer: Mutex<Option<JoinHandle<()>>>,
    /// Opened at the first read.
    pub reader: Mutex<Option<Connection>>,
    /// For reads of single rows, which the engine does between its decisions: they wait for no walk
    /// through a journal.
    pub row_reader: Mutex<Option<Connection>>,
    pub closed: AtomicBool,
    pub body_id_next: AtomicU64,
    pub dedupe_key: [u8; 32],
    pub restored: Mutex<Option<u64>>,
}

/// What the handle and the writer's thread share.
pub(crate) struct Common {
    pub home: Home,
    pub epoch: u64,
    pub lineage: u64,
    pub commits: AtomicU64,
    pub appends: AtomicU64,
    failure: Mutex<Option<StoreError>>,
    known: Mutex<Known>,
}

/// A panic of another thread leaves nothing half-done in what our locks guard.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Common {
    pub fn new(home: Home, epoch: u64, lineage: u64) -> Self {
        let (commits, appends) = (AtomicU64::new(0), AtomicU64::new(0));
        let (failure, known) = (Mutex::new(None), Mutex::new(Known::default()));
        Self { home, epoch, lineage, commits, appends, failure, known }
    }

    pub fn failure(&self) -> Option<StoreError> {
        lock(&self.failure).clone()
    }

    pub fn set_failure(&self, failure: Option<StoreError>) {
        *lock(&self.failure) = failure;
    }

    /// Shared bodies may be referred to from now on.
    pub fn remember(&self, bodies: &[Body]) {
        for body in bodies {
            if let Some(mark) = body.dedupe {
                lock(&self.known).insert(mark, body.reference());
            }
        }
    }
}

impl Store {
    /// Hands an append to the writer and returns; `done` is called after the commit. Blocks only
    /// while more than a thousand others wait.
    pub fn append(&self, append: Append, done: Done) {
        let command = Command::Append(Box::new(append), done);
        if let Err(refused) = self.inner.commands.send(command)
            && let Command::Append(_, done) = refused.0
        {
            done(Err(AppendError::Store(StoreError::Closed)));
        }
    }

    /// Prepares a body of one session for an append.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where it is larger than a body may be.
    pub fn seal(&self, bytes: Vec<u8>) -> Result<Body, StoreError> {
        Body::seal(self.body_id()?, bytes, None)
    }

    /// The same for what the operator wrote (instructions, tool schemas, policies): stored once in
    /// the home. Never for what a person said.
    ///
    /// # Errors
    /// As [`Store::seal`], and those of a read.
    pub fn seal_shared(&self, bytes: Vec<u8>) -> Result<Shared, StoreError> {
        let mark = body::mark(&self.inner.dedupe_key, &bytes)?;
        if let Some(reference) = lock(&self.inner.common.known).get(&mark) {
            return Ok(Shared::Stored(reference));
        }
        if let Some(reference) = self.read_row(|db| body::find(db, &mark))? {
            lock(&self.inner.common.known).insert(mark, reference);
            return Ok(Shared::Stored(reference));
        }
        Body::seal(self.body_id()?, bytes, Some(mark)).map(Shared::New)
    }

    fn body_id(&self) -> Result<u64, StoreError> {
        let id = self.inner.body_id_next.fetch_add(1, Ordering::Relaxed);
        let is_ours = lineage::bodies(self.lineage()).contains(&id);
        is_ours.then_some(id).ok_or_else(|| StoreError::Invalid("more bodies than a lineage has numbers".to_owned()))
    }

    /// Erases a body: bytes, salt and dedupe key go, from the log too; the digest in the records
    /// stays, so the chain still verifies. True where there was something to erase.
    ///
    /// # Errors
    /// Those of a write.
    pub fn erase_body(&self, reference: &BodyRef) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE bodies SET salt = NULL, dedupe = NULL, enc = 0, bytes = NULL
            WHERE id = ?1 AND bytes IS NOT NULL";
        let id = reference.id;
        lock(&self.inner.common.known).forget(id);
        self.erase(move |db| Ok(db.execute(SQL, [id])?))
    }

    /// Runs an erasure and empties the log, which still holds what was erased.
    pub(crate) fn erase(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<usize, StoreError> + Send + 'static,
    ) -> Result<bool, StoreError> {
        self.write(move |db| {
            let erased = work(db)? > 0;
            if !connect::truncate_wal(db)? {
                return Err(StoreError::LogHeld);
            }
            Ok(erased)
        })
    }

    /// Runs `work` on the writer's thread, between two batches, and waits for it.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = sync_channel(1);
        let job = Command::Job(Box::new(move |db| {
            let result = db.and_then(work);
            let failure = result.as_ref().err().filter(|error| error.is_storage()).cloned();
            let _ = reply.send(result);
            failure
        }));
        self.inner.commands.send(job).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }

    /// Whether something new may be admitted: the writer works and the disk has room. What runs
    /// already may append in any case. After a failure each call makes the writer try again.
    ///
    /// # Errors
    /// The reason why not.
    pub fn writable(&self) -> Result<(), StoreError> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        if let Some(failure) = self.inner.common.failure() {
            // A full queue makes the writer try as well.
            let _ = self.inner.commands.try_send(Command::Job(Box::new(|_| None)));
            return Err(failure);
        }
        self.inner.common.home.check_room()
    }

    /// Counts the openings of this home; every receipt carries it.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inner.common.epoch
    }

    /// The number that tells this home's history from that of every copy of it.
    #[must_use]
    pub fn lineage(&self) -> u64 {
        self.inner.common.lineage
    }

    /// The key under which a session's calls are compared with one another, and with nothing else.
    ///
    /// # Errors
    /// None in practice: the key of the home has the right length.
    pub fn session_key(&self, session: SessionId) -> Result<[u8; 32], StoreError> {
        body::mark(&self.inner.dedupe_key, &[b"repeat key v1".as_slice(), &session.0].concat())
    }

    /// The lineage that the home had before it was restored from a backup, until
    /// [`Store::conclude_restore`].
    #[must_use]
    pub fn restored(&self) -> Option<u64> {
        *lock(&self.inner.restored)
    }

    /// The restore has been dealt with: sessions carry their new lineage, doubts are named.
    ///
    /// # Errors
    /// Those of a write.
    pub fn conclude_restore(&self) -> Result<(), StoreError> {
        self.write(|db| Ok(db.execute("DELETE FROM meta WHERE name = 'restored'", [])?))?;
        *lock(&self.inner.restored) = None;
        Ok(())
    }

    /// Commits what waits, empties the log and gives the lock back. Later calls on any clone are
    /// answered [`StoreError::Closed`].
    ///
    /// # Errors
    /// Those of the last write; the home is closed all the same.
    pub fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}

impl Inner {
    fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::Release);
        let Some(thread) = lock(&self.writer).take() else { return Ok(()) };
        // The writer must be the last to leave the file.
        drop((lock(&self.reader).take(), lock(&self.row_reader).take()));
        let (reply, answer) = sync_channel(1);
        let sent = self.commands.send(Command::Close(reply));
        // A receipt's callback may hold the last handle: its own thread cannot wait for itself.
        if thread.thread().id() == std::thread::current().id() {
            return Ok(());
        }
        let result =
            sent.map_err(|_| StoreError::Closed).and_then(|()| answer.recv().map_err(|_| StoreError::Closed)?);
        let _ = thread.join();
        self.common.home.release();
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.close();
    }
}
