//! What one pass of the driver is about to append.
use std::sync::Arc;
use std::time::Duration;

use backstay_kernel::budget::{LedgerEntry, WindowState};
use backstay_kernel::frame::Frame;
use backstay_kernel::home::HomeInput;
use backstay_kernel::id::{Millis, Seq};
use backstay_kernel::reached;
use backstay_kernel::record::{Entry, Record, VERSION};
use backstay_kernel::roots::{self, Raise};
use backstay_kernel::session::{FOLD_VERSION, State};
use backstay_kernel::{Head, Session, ledger};
use backstay_store::{Append, Body, HeadUpdate, InboxRow, NewMemory, NewSession, Snapshot};

use crate::events::Event;
use crate::live::Letter;

pub struct Draft {
    /// Seq of the session before it.
    expected: Seq,
    at: Millis,
    pub records: Vec<Record>,
    ledger: Vec<LedgerEntry>,
    pub inbox: Option<InboxRow>,
    pub memories: Vec<NewMemory>,
    pub raises: Vec<Raise>,
    pub reaches: Vec<HomeInput>,
    /// How long asks were open that a person, or a program in its own name, has answered.
    pub answered: Vec<Duration>,
}

impl Draft {
    pub fn new(expected: Seq, at: Millis) -> Self {
        let (records, ledger) = (Vec::new(), Vec::new());
        Self {
            expected,
            at,
            records,
            ledger,
            inbox: None,
            memories: Vec::new(),
            raises: Vec::new(),
            reaches: Vec::new(),
            answered: Vec::new(),
        }
    }

    /// The next letter that may still join: one commit makes one message unique.
    pub fn next_letter(&self, letters: &mut Vec<Letter>) -> Option<Letter> {
        let keyed = matches!(letters.first()?, Letter::Command(asked) if asked.key.is_some());
        if keyed && self.inbox.is_some() { None } else { Some(letters.remove(0)) }
    }

    /// Notes what `record`, not yet applied to `session`, does beside the journal.
    pub fn note(&mut self, session: &Session, record: &Record, frame: &Frame<'_>) {
        self.ledger.extend(ledger::entries(session, record, &frame.allowance));
        self.raises.extend(roots::raise(session, record, frame.policy));
        self.reaches.extend(reached::reach(session, record));
        self.answered.extend(answered(session, record, frame.now));
    }

    /// Books what it does to the ledger: a call that starts in the commit in which another is billed
    /// must fit beside that bill, or the append is refused, again and again.
    pub fn book(&self, allowance: &mut [WindowState]) {
        for entry in &self.ledger {
            let (LedgerEntry::Reserve { key, .. } | LedgerEntry::Settle { key, .. }) = entry;
            let Some(window) = allowance.iter_mut().find(|state| state.window.key == *key) else { continue };
            let used = &mut window.used;
            match entry {
                LedgerEntry::Reserve { amount, .. } => used.reserved = used.reserved.plus(*amount),
                LedgerEntry::Settle { reserved, spent, .. } => {
                    used.reserved = used.reserved.minus(*reserved);
                    used.settled = used.settled.plus(*spent);
                }
            }
        }
    }

    /// Whether it gives back what others may wait for.
    pub fn settles(&self) -> bool {
        self.ledger.iter().any(|entry| matches!(entry, LedgerEntry::Settle { .. }))
    }

    /// `session` and `head` are as after these records.
    pub fn into_append(self, session: &Session, head: &Head, bodies: Vec<Body>, snapshot: bool) -> (Append, Event) {
        let first = self.expected.next();
        let entry = Entry { v: VERSION, at: self.at, records: self.records };
        let text = serde_json::to_string(&entry).unwrap_or_default();
        let title = match entry.records.first() {
            Some(Record::Opened(opened)) => opened.title,
            _ => None,
        };
        let create = (self.expected == Seq(0)).then(|| NewSession {
            agent: session.agent.clone(),
            principal: session.principal.clone(),
            channel: session.channel.clone(),
            title,
        });
        let append = Append {
            session: session.id,
            expected: self.expected,
            at: self.at,
            lineage: session.lineage,
            records: u32::try_from(entry.records.len()).unwrap_or(u32::MAX),
            entry: text,
            head: HeadUpdate {
                open: head.open,
                people: head.people,
                wake_at: head.wake_at,
                wait: Some(head.wait.word().to_owned()),
            },
            create,
            bodies,
            inbox: self.inbox,
            ledger: self.ledger,
            snapshot: snapshot.then(|| Snapshot {
                fold_version: FOLD_VERSION,
                body: serde_json::to_string(session).unwrap_or_default(),
            }),
            memories: self.memories,
        };
        let records = Arc::new(entry.records);
        (append, Event::Committed { at: self.at, first, records, head: *head })
    }
}

/// What ran out was answered by nobody, and of the first asks nobody knows when they were opened.
fn answered(session: &Session, record: &Record, now: Millis) -> Option<Duration> {
    let Record::Decided { effect, by: Some(_), .. } = record else { return None };
    let open = session.effects.get(effect)?;
    let State::Asked { at, .. } = open.state else { return None };
    (at > 0).then(|| Duration::from_millis(now.saturating_sub(at)))
}
