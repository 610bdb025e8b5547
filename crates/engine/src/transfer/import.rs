//! The way in. Everything that a file says is checked before anything of it is stored: each body
//! against its digest, each entry against the chain, each record against the bodies that came before
//! it. Nothing in it is a permission: the session comes in stopped, its open turn ends, and what the
//! home that it came from may have done since is in doubt.
use std::collections::{BTreeMap, HashMap, HashSet};

use backstay_kernel::audit::{Change, Replay};
use backstay_kernel::budget::{Amount, LedgerEntry, Used};
use backstay_kernel::frame::{Frame, Slots};
use backstay_kernel::id::{BodyRef, Digest, Seq, SessionId};
use backstay_kernel::limits::ADVANCES_MAX;
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{Entry, Opened, Record, VERSION as RECORDS_VERSION};
use backstay_kernel::refusal::{Code, Refusal};
use backstay_kernel::session::State;
use backstay_kernel::{Input, Session, apply, decide, head};
use backstay_store::{AdoptError, Append, EXACT_MAX, HeadUpdate, NewSession, Sealed, StoreError, entry_hash, salt_of};

use super::{Header, Line, Stored, Text, VERSION, pieces};
use crate::draft::Draft;
use crate::engine::Engine;

/// What a session came to that was taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imported {
    pub session: SessionId,
    /// That it came with.
    pub records: u64,
    /// Effects that the other home may have had since.
    pub doubts: usize,
}

/// Why a file did not become a session; nothing of it is stored.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ImportError {
    #[error("this is not a session as a home has exported it: {0}")]
    NotAnExport(String),
    #[error("this home has the session {0}")]
    Exists(SessionId),
    /// The home lacks its agent or its principal.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the journal cannot be written: {0}")]
    Halted(String),
}

impl Engine {
    /// Takes in a session that another home has written out, in the name of a principal. It comes in
    /// stopped. Waits for the disk.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn import(&self, file: &str, by: &str) -> Result<Imported, ImportError> {
        self.store().writable().map_err(|error| ImportError::Halted(error.to_string()))?;
        let mut file = File::read(file)?;
        let policy = self.policy();
        file.is_at_home(&policy)?;
        let records = file.state.seq.0;
        let last = self.arrival(&mut file, &policy, by)?;
        let doubts = file.state.effects.values().filter(|open| open.state == State::Doubt).count();
        let session = file.state.id;
        file.appends.push(last);
        match self.store().adopt(file.appends, file.bodies.into_values().collect()) {
            Ok(()) => {
                self.waits_changed();
                Ok(Imported { session, records, doubts })
            }
            Err(AdoptError::Exists) => Err(ImportError::Exists(session)),
            Err(error @ AdoptError::Taken(_)) => Err(not_an_export(error.to_string())),
            Err(AdoptError::Store(StoreError::Invalid(why))) => Err(not_an_export(why)),
            Err(AdoptError::Store(error)) => Err(ImportError::Halted(error.to_string())),
        }
    }

    /// The entry by which the session arrives: its new lineage and what is in doubt since, the end of
    /// its turn, and that it is stopped.
    fn arrival(&self, file: &mut File, policy: &Policy, by: &str) -> Result<Append, ImportError> {
        let (session, now) = (&mut file.state, self.now());
        let (old, new) = (session.lineage, self.store().lineage());
        let mut draft = Draft::new(session.seq, now);
        let frame = Frame {
            now,
            boot: self.boot(),
            policy,
            switches: backstay_kernel::frame::Switches { frozen: true, draining: true, ..Default::default() },
            slots: Slots { model: 0, tool: 0 },
            allowance: Vec::new(),
            standing: Vec::new(),
            reached: std::sync::Arc::default(),
        };
        let mut say = |input: Input| -> Result<usize, Refusal> {
            let records = decide(session, input, &frame)?;
            records.iter().for_each(|record| apply(session, record));
            let count = records.len();
            draft.records.extend(records);
            Ok(count)
        };
        let by = || by.to_owned();
        say(Input::Lineage { old, new })?;
        // Where no turn is open there is none to end.
        let _ = say(Input::Cancel { turn: None, by: by() });
        say(Input::Stop { by: by() })?;
        for _ in 0..ADVANCES_MAX {
            if say(Input::Advance)? == 0 {
                break;
            }
        }
        if session.turn.is_some() || session.effects.values().any(|open| open.state != State::Doubt) {
            return Err(not_an_export("its open turn does not come to an end"));
        }
        let head = head(session);
        let (mut append, _) = draft.into_append(session, &head, Vec::new(), true);
        file.book(&append.entry).map_err(|error| not_an_export(error.to_string()))?;
        append.ledger = file.spent()?;
        Ok(append)
    }
}

/// A file as far as it was read, every byte of it checked.
struct File {
    header: Header,
    state: Session,
    /// Of the entry that was read last.
    hash: Digest,
    bodies: HashMap<u64, Sealed>,
    /// Requests whose parts are there: each is looked through once.
    ropes: HashSet<u64>,
    appends: Vec<Append>,
    /// What its records did to the ledger.
    replay: Replay,
    used: BTreeMap<String, Used>,
}

impl File {
    fn read(text: &str) -> Result<Self, ImportError> {
        let mut lines = text.lines().zip(1u64..);
        let first = lines.next().map(|(line, number)| parse(line, number)).transpose()?;
        let Some(Line::Session(header)) = first else {
            return Err(not_an_export("its first line does not name a session"));
        };
        if header.v != VERSION {
            let why = format!("it has version {}, and this program knows {VERSION}", header.v);
            return Err(not_an_export(why));
        }
        if header.session == SessionId::HOME {
            return Err(not_an_export("it is the stream of a home"));
        }
        let (bodies, ropes, appends) = (HashMap::new(), HashSet::new(), Vec::new());
        let (replay, used) = (Replay::default(), BTreeMap::new());
        let state = Session::new(header.session);
        let mut file = Self { header, state, hash: Digest::default(), bodies, ropes, appends, replay, used };
        for (line, number) in lines {
            let taken = match parse(line, number)? {
                Line::Session(_) => Err("a second session".to_owned()),
                Line::Body(text) => file.body(text),
                Line::Entry(stored) => file.entry(&stored),
            };
            taken.map_err(|why| not_an_export(format!("line {number}: {why}")))?;
        }
        if (file.state.seq, file.hash) != (header.seq, header.hash) {
            let (at, of) = (file.state.seq.0, header.seq.0);
            return Err(not_an_export(format!("it breaks off after {at} of {of} records")));
        }
        Ok(file)
    }

    fn body(&mut self, text: Text<'_>) -> Result<(), String> {
        let content = match (text.salt, text.text) {
            (Some(salt), Some(text)) => {
                let salt = salt_of(&salt).ok_or("a salt is not sixteen bytes in hexadecimal")?;
                Some((salt, text.into_owned().into_bytes()))
            }
            (None, None) => None,
            _ => return Err("a text has a salt, or both were erased".to_owned()),
        };
        let sealed = Sealed::new(text.of, content).ok_or("a text differs from its digest")?;
        match self.bodies.insert(text.of.id, sealed) {
            None => Ok(()),
            Some(_) => Err(format!("text {} comes twice", text.of.id)),
        }
    }

    fn entry(&mut self, line: &Stored<'_>) -> Result<(), String> {
        let text = line.stored.get();
        let entry: Entry<Record> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        // Or the ledger and the session would read different things in it.
        if serde_json::to_string(&entry).ok().as_deref() != Some(text) {
            return Err("its records are not written as a home writes them".to_owned());
        }
        if entry.v != RECORDS_VERSION {
            return Err(format!("its records have version {}, and this program knows {RECORDS_VERSION}", entry.v));
        }
        let expected = self.state.seq;
        let mut create = None;
        for record in &entry.records {
            let is_first = self.state.seq == Seq(0);
            if let Record::Opened(opened) = record {
                create = Some(new_session(opened)).filter(|_| is_first);
            }
            if is_first != matches!(record, Record::Opened(_)) {
                return Err("a session is opened by its first record, and once".to_owned());
            }
            self.has_bodies_of(record)?;
            apply(&mut self.state, record);
        }
        let hash = entry_hash(line.lineage, self.header.session, line.seq, &self.hash, text);
        if hash != line.hash || line.seq != self.state.seq || line.lineage != self.state.lineage || line.seq == expected
        {
            return Err(format!("the chain breaks at record {}", line.seq.0));
        }
        self.book(text).map_err(|error| error.to_string())?;
        self.hash = hash;
        self.appends.push(Append {
            session: self.header.session,
            expected,
            at: entry.at,
            lineage: line.lineage,
            records: u32::try_from(entry.records.len()).map_err(|error| error.to_string())?,
            entry: text.to_owned(),
            head: HeadUpdate::default(),
            create,
            bodies: Vec::new(),
            inbox: None,
            ledger: Vec::new(),
            snapshot: None,
            memories: Vec::new(),
        });
        Ok(())
    }

    /// A record refers to nothing but what the file has brought: never to a text of this home.
    fn has_bodies_of(&mut self, record: &Record) -> Result<(), String> {
        record.texts().iter().try_for_each(|text| self.body_of(text).map(drop))?;
        let Some(rope) = record.rope().filter(|rope| !self.ropes.contains(&rope.id)) else { return Ok(()) };
        let Some((_, bytes)) = self.body_of(&rope)?.content() else { return Ok(()) };
        let parts = pieces(bytes).map_err(|error| format!("a request is not one: {error}"))?;
        parts.iter().try_for_each(|part| self.body_of(part).map(drop))?;
        self.ropes.insert(rope.id);
        Ok(())
    }

    fn body_of(&self, reference: &BodyRef) -> Result<&Sealed, String> {
        let found = self.bodies.get(&reference.id).filter(|body| body.reference() == *reference);
        found.ok_or_else(|| format!("text {} is missing before it", reference.id))
    }

    fn book(&mut self, text: &str) -> Result<(), serde_json::Error> {
        let used = &mut self.used;
        self.replay.read(self.header.session, text, |key, change| {
            let used = used.entry(key.to_owned()).or_default();
            match change {
                Change::Reserve(amount) => used.reserved = used.reserved.plus(amount),
                Change::Settle { reserved, spent } => {
                    used.reserved = used.reserved.minus(reserved);
                    used.settled = used.settled.plus(spent);
                }
            }
        })
    }

    /// What it has cost counts here too, in the windows of then. Nothing of it is in flight any more.
    fn spent(&mut self) -> Result<Vec<LedgerEntry>, ImportError> {
        let settle = |(key, used): (String, Used)| {
            let spent = used.settled;
            if used.reserved != Amount::ZERO || spent.tokens.max(spent.micro_usd) > EXACT_MAX {
                return Err(not_an_export(format!("what it has cost under {key} does not add up")));
            }
            Ok(LedgerEntry::Settle { key, reserved: Amount::ZERO, spent })
        };
        std::mem::take(&mut self.used).into_iter().map(settle).collect()
    }

    /// The config has whose it is, and who answers in it.
    fn is_at_home(&self, policy: &Policy) -> Result<(), Refusal> {
        let (agent, principal) = (&self.state.agent, &self.state.principal);
        let lacks = |code, what: &str, name: &str| {
            let message = format!("the session is of {what} `{name}`, which this home does not have");
            Err(Refusal::new(code, message, format!("add [{what}s.{name}] to backstay.toml, and import it again")))
        };
        if !policy.agents.contains_key(agent) {
            return lacks(Code::UnknownAgent, "agent", agent);
        }
        if !policy.principals.contains_key(principal) {
            return lacks(Code::UnknownPrincipal, "principal", principal);
        }
        Ok(())
    }
}

fn parse(line: &str, number: u64) -> Result<Line<'_>, ImportError> {
    serde_json::from_str(line).map_err(|error| {
        let text = error.to_string();
        // It would call every line the first.
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        not_an_export(format!("line {number}, column {}: {what}", error.column()))
    })
}

fn new_session(opened: &Opened) -> NewSession {
    NewSession {
        agent: opened.agent.clone(),
        principal: opened.principal.clone(),
        channel: opened.channel.clone(),
        title: opened.title,
    }
}

fn not_an_export(why: impl Into<String>) -> ImportError {
    ImportError::NotAnExport(why.into())
}
