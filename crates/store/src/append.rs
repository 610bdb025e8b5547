//! What one append says, and the receipt for it.
use backstay_kernel::budget::LedgerEntry;
use backstay_kernel::id::{BodyRef, Millis, Seq, SessionId};

use crate::body::Body;
use crate::error::AppendError;
use crate::inbox::InboxRow;

/// One entry of one session, with all that is to be true in the same commit.
#[derive(Clone, Debug)]
pub struct Append {
    pub session: SessionId,
    /// Where the session must be, 0 for a new one.
    pub expected: Seq,
    pub at: Millis,
    /// The lineage in force at this entry.
    pub lineage: u64,
    /// Records in `entry`.
    pub records: u32,
    /// The bytes that are stored and hashed; the store never reads them.
    pub entry: String,
    pub head: HeadUpdate,
    /// Present exactly in the first append of a session.
    pub create: Option<NewSession>,
    pub bodies: Vec<Body>,
    pub inbox: Option<InboxRow>,
    pub ledger: Vec<LedgerEntry>,
    /// The folded session as it is after this entry.
    pub snapshot: Option<Snapshot>,
    pub memories: Vec<NewMemory>,
}

/// What start-up has to know of a session without folding it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeadUpdate {
    /// Effects are open: start-up must load it.
    pub open: bool,
    /// It waits for a person.
    pub people: bool,
    pub wake_at: Option<Millis>,
    /// The name of what it waits for.
    pub wait: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSession {
    pub agent: String,
    pub principal: String,
    pub channel: String,
    pub title: Option<BodyRef>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// A reader with another fold version never sees it.
    pub fold_version: u32,
    pub body: String,
}

/// Something to remember for a principal, found again by `recall`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMemory {
    pub principal: String,
    pub text: String,
}

/// Proof that a session is on disk up to `seq`. Only the store makes one: on commit, or on load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Durable {
    session: SessionId,
    seq: Seq,
    epoch: u64,
}

impl Durable {
    pub(crate) fn new(session: SessionId, seq: Seq, epoch: u64) -> Self {
        Self { session, seq, epoch }
    }

    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The last record that is on disk.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Counts the openings of the home.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// True where the record at `seq` of `session` is on disk.
    #[must_use]
    pub fn covers(&self, session: SessionId, seq: Seq) -> bool {
        self.session == session && seq <= self.seq
    }
}

/// Called on the writer's thread after the commit: it must be short and must not wait for the
/// store.
pub type Done = Box<dyn FnOnce(Result<Durable, AppendError>) + Send>;
