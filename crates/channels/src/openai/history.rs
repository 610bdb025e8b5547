//! Finds the session that a list of earlier messages is the history of.
//!
//! Every message is remembered as a number, and a reply as several: this door may have shown it
//! whole, step by step, or as the words for a wait that a client has kept. Only what ended is
//! remembered; the open turn is read again.
use std::collections::HashMap;
use std::ops::ControlFlow;

use backstay_engine::Placed;
use backstay_kernel::effect::CallRef;
use backstay_kernel::id::{EffectId, Place, Seq, SessionId};
use backstay_kernel::label::Source;
use backstay_kernel::record::{End, Judged, Planned, Record, Verdict};
use backstay_kernel::tool::Answerer;

use super::pasts::Looks;
use super::request::{Chat, Role};
use super::{CHANNEL, fingerprint, fingerprints, quote, words};
use crate::door::Door;
use crate::error::Problem;
use crate::limits::{HISTORY_MESSAGES_MAX, HISTORY_SESSIONS_MAX};
use crate::rows::Row;
use crate::waits::question_of;

/// A session's messages now.
struct Now {
    messages: Vec<Looks>,
    /// What the open turn would be shown as, where it waits.
    pending: Looks,
    /// What it may have been shown as while the home was frozen or the session stopped.
    still: Looks,
    /// The latest message of the user.
    last: Option<Seq>,
}

/// The one session of this principal, opened at this door, whose whole history is `chat.earlier`.
///
/// # Errors
/// The journal cannot be read.
pub fn find(door: &Door, principal: &str, chat: &Chat) -> Result<Option<SessionId>, Problem> {
    let wanted = fingerprints(&chat.earlier);
    let mut found = None;
    for row in candidates(door, principal, chat)? {
        let mut now = read(door, &row)?;
        if wanted.len() > now.messages.len() {
            now.pending.extend(now.still);
        }
        if !now.pending.is_empty() {
            now.messages.push(now.pending);
        }
        if are_same(&now.messages, &wanted) && found.replace(row.session).is_some() {
            return Ok(None);
        }
    }
    Ok(found)
}

/// The turn that a request like this has begun, by the journal: for a retry that comes after a
/// restart. One that this process knows by its bytes was not begun by these.
///
/// # Errors
/// The journal cannot be read.
pub fn find_open(door: &Door, principal: &str, session: Option<&Row>, chat: &Chat) -> Result<Option<Place>, Problem> {
    let last = fingerprint(Role::User, &chat.text);
    let mut wanted = fingerprints(&chat.earlier);
    wanted.push(last);
    let rows = match session {
        Some(row) => vec![row.clone()],
        None => candidates(door, principal, chat)?,
    };
    for row in rows.into_iter().filter(|row| row.wait != "idle") {
        let now = read(door, &row)?;
        let same = match session {
            Some(_) => now.messages.last().is_some_and(|looks| looks.contains(&last)),
            None => are_same(&now.messages, &wanted),
        };
        let place = now.last.map(|seq| Place { session: row.session, seq });
        if let Some(place) = place.filter(|place| same && !door.recent.knows(*place)) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

fn candidates(door: &Door, principal: &str, chat: &Chat) -> Result<Vec<Row>, Problem> {
    let mut rows = door.sessions(Some(principal), None, None, HISTORY_SESSIONS_MAX)?;
    rows.retain(|row| row.channel == CHANNEL && row.agent == chat.agent);
    Ok(rows)
}

fn are_same(messages: &[Looks], wanted: &[u64]) -> bool {
    messages.len() == wanted.len() && messages.iter().zip(wanted).all(|(looks, wanted)| looks.contains(wanted))
}

fn read(door: &Door, row: &Row) -> Result<Now, Problem> {
    let past = door.pasts.get(row.session);
    if past.seq >= row.seq || past.messages.len() > HISTORY_MESSAGES_MAX {
        return Ok(Now { messages: past.messages, pending: Looks::new(), still: Looks::new(), last: None });
    }
    let mut reading = Reading::new(door, row.session, past.messages);
    let mut last = past.seq;
    door.reader.each(row.session, past.seq, |placed| {
        last = placed.seq;
        reading.take(&placed).map(ControlFlow::Continue)
    })?;
    if !reading.in_turn {
        door.pasts.put(row.session, last, &reading.messages);
    }
    Ok(Now { messages: reading.messages, pending: reading.looks, still: reading.still, last: reading.last })
}

struct Reading<'a> {
    door: &'a Door,
    session: SessionId,
    messages: Vec<Looks>,
    /// Of the turn that is being read: what its replies said, and what they may look like.
    texts: Vec<String>,
    looks: Looks,
    still: Looks,
    calls: HashMap<EffectId, CallRef>,
    /// Something was said that has no reply yet.
    in_turn: bool,
    last: Option<Seq>,
}

impl<'a> Reading<'a> {
    fn new(door: &'a Door, session: SessionId, messages: Vec<Looks>) -> Self {
        let (texts, looks, still) = (Vec::new(), Looks::new(), Looks::new());
        Self { door, session, messages, texts, looks, still, calls: HashMap::new(), in_turn: false, last: None }
    }

    fn take(&mut self, placed: &Placed) -> Result<(), Problem> {
        match &placed.record {
            Record::Admitted(admitted) => {
                let text = self.door.text(&admitted.body)?.unwrap_or_default();
                let quoted = quote::read(&text).filter(|_| admitted.label.is_only(Source::Quoted));
                match quoted {
                    Some((role, text)) => self.messages.push(vec![fingerprint(role, text)]),
                    None => self.heard(placed.seq, &text),
                }
            }
            Record::Answered { body, .. } => {
                let text = self.door.text(body)?.unwrap_or_default();
                self.heard(placed.seq, &text);
            }
            Record::Planned(Planned::Tool { call, .. }) => {
                self.calls.insert(placed.seq, call.clone());
            }
            Record::Ended(ended) => {
                if let End::Replied { text: Some(text), .. } = &ended.end {
                    self.texts.push(self.door.text(text)?.unwrap_or_default());
                    self.stood_still();
                }
            }
            Record::Judged(judged) => self.judged(judged)?,
            Record::Doubted { effect, .. } => {
                let tool = self.call(*effect)?.tool;
                self.showed(&words::doubt(&tool, self.place(*effect)));
            }
            Record::Retried(retried) if retried.provider_wait => self.showed(&words::provider()),
            Record::TurnEnded(ended) => {
                match &ended.reply {
                    Some(reply) => {
                        let text = self.door.text(reply)?.unwrap_or_default();
                        self.looks.push(fingerprint(Role::Assistant, &text));
                        let steps = words::joined(self.texts.iter().map(String::as_str));
                        self.looks.push(fingerprint(Role::Assistant, &steps));
                    }
                    None => self.showed(&words::ended(ended.reason)),
                }
                self.replied();
                self.in_turn = false;
            }
            Record::Opened(_)
            | Record::TurnStarted(_)
            | Record::Entered { .. }
            | Record::Windowed { .. }
            | Record::Planned(Planned::Model { .. } | Planned::Scope { .. } | Planned::Lookup { .. })
            | Record::Decided { .. }
            | Record::Edited { .. }
            | Record::Started(_)
            | Record::Unfunded { .. }
            | Record::Overdue { .. }
            | Record::Bounced { .. }
            | Record::Connected { .. }
            | Record::Created { .. }
            | Record::Scoped(_)
            | Record::Retried(_)
            | Record::Lapsed { .. }
            | Record::Resolved { .. }
            | Record::Cancelled { .. }
            | Record::Stopped { .. }
            | Record::Resumed { .. }
            | Record::Lineage { .. } => {}
        }
        Ok(())
    }

    /// A call that waits for a person is shown as words.
    fn judged(&mut self, judged: &Judged) -> Result<(), Problem> {
        let words = match (&judged.verdict, judged.answerer) {
            (Verdict::Ask { .. }, _) => {
                let tool = self.call(judged.effect)?.tool;
                words::approval(&tool, self.place(judged.effect))
            }
            (Verdict::Parked { .. }, _) => words::parked(&self.call(judged.effect)?.tool),
            (Verdict::Allow { .. }, Answerer::Human) => question_of(&self.call(judged.effect)?),
            (Verdict::Allow { .. }, Answerer::Tool)
            | (Verdict::Deny { .. } | Verdict::Invalid { .. } | Verdict::Blocked { .. } | Verdict::TooMany, _) => {
                return Ok(());
            }
        };
        self.showed(&words);
        Ok(())
    }

    /// The user said something; whatever was shown of the turn stands before it.
    fn heard(&mut self, seq: Seq, text: &str) {
        self.replied();
        self.messages.push(vec![fingerprint(Role::User, text)]);
        self.in_turn = true;
        self.last = Some(seq);
        self.stood_still();
    }

    /// No record of the session says whether anybody was shown it in this state.
    fn stood_still(&mut self) {
        for words in [words::frozen(), words::stopped(self.session)] {
            let all = words::joined(self.texts.iter().map(String::as_str).chain([words.as_str()]));
            self.still.push(fingerprint(Role::Assistant, &words));
            self.still.push(fingerprint(Role::Assistant, &all));
        }
    }

    /// Words in the turn's place: alone, or after what its steps had said.
    fn showed(&mut self, words: &str) {
        self.looks.push(fingerprint(Role::Assistant, words));
        let all = words::joined(self.texts.iter().map(String::as_str).chain([words]));
        self.looks.push(fingerprint(Role::Assistant, &all));
    }

    fn replied(&mut self) {
        let still = std::mem::take(&mut self.still);
        if !self.looks.is_empty() {
            self.looks.extend(still);
            self.messages.push(std::mem::take(&mut self.looks));
        }
        self.texts.clear();
    }

    fn call(&self, effect: EffectId) -> Result<crate::waits::CallText, Problem> {
        let call = self.calls.get(&effect).map(|call| self.door.call_text(call)).transpose()?;
        Ok(call.unwrap_or_default())
    }

    fn place(&self, effect: EffectId) -> Place {
        Place { session: self.session, seq: effect }
    }
}
