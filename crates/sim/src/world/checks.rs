//! What must be true at the end of every run, however it was cut: the journal against the outside log.
use std::collections::{BTreeMap, BTreeSet};

use backstay_engine::{Placed, Reader, SessionRow, Store, join_wires};
use backstay_kernel::budget::Amount;
use backstay_kernel::id::{BodyRef, EffectId, Seq, SessionId};
use backstay_kernel::record::{Completion, Counted, End, Planned, Record, Reservation, Resolution, Started};
use backstay_kernel::request::{Piece, Request, Rope, digest, escape, fragment_digest};
use backstay_kernel::tool::Idempotency;
use backstay_store::Cell;

use super::house;
use super::outside::{Log, Start};
use super::play::Play;
use super::script;

/// How a run ended, as far as two runs can be compared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ending {
    pub turns: Vec<Turn>,
    /// What was done outside, each once.
    pub acts: BTreeSet<String>,
    pub waits: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Turn {
    pub messages: Vec<String>,
    pub reason: String,
    pub reply: Option<String>,
    /// (how it ended, calls)
    pub calls: Vec<(&'static str, Vec<String>)>,
}

/// The journal as it is at the end.
struct Books<'a> {
    store: &'a Store,
    sessions: Vec<(SessionRow, Vec<Placed>)>,
}

/// Holds the end of a run to the invariants.
///
/// # Errors
/// The first that is broken.
pub fn check(play: &Play) -> Result<Ending, String> {
    let store = play.store.as_ref().ok_or("the journal is closed")?;
    let report = store.verify().map_err(|error| error.to_string())?;
    if !report.is_sound() {
        return Err(format!("the journal does not verify: {:?}", report.faults));
    }
    let log = play.outside.log();
    if let Some(wrong) = log.wrongs.first() {
        return Err(wrong.clone());
    }
    let books = Books::read(store, play)?;
    books.rest()?;
    books.acknowledged(play)?;
    books.once(&log)?;
    books.truth(&log)?;
    books.requests(&log)?;
    books.money(&log)?;
    books.ending(&log)
}

impl<'a> Books<'a> {
    fn read(store: &'a Store, play: &Play) -> Result<Self, String> {
        let reader = Reader::new(store.clone());
        let rows = store.sessions(None, None, None, house::SESSIONS_MAX).map_err(|error| error.to_string())?;
        let mut sessions = Vec::new();
        for row in rows {
            let records = reader.records(row.session, Seq(0), usize::MAX).map_err(|error| error.to_string())?;
            sessions.push((row, records));
        }
        sessions.sort_by_key(|(row, _)| play.who.iter().position(|who| *who == Some(row.session)));
        Ok(Self { store, sessions })
    }

    fn records(&self, session: SessionId) -> &[Placed] {
        let found = self.sessions.iter().find(|(row, _)| row.session == session);
        found.map_or(&[], |(_, records)| records)
    }

    fn text(&self, body: &BodyRef) -> Result<String, String> {
        let bytes = self.store.body(body).map_err(|error| error.to_string())?;
        String::from_utf8(bytes.ok_or("a body is gone")?).map_err(|error| error.to_string())
    }

    /// I10: every session is idle or waits for something that has a name.
    fn rest(&self) -> Result<(), String> {
        for (row, _) in &self.sessions {
            let named = matches!(row.wait.as_deref(), Some("idle" | "question" | "stopped"));
            if row.open || row.wake_at.is_some() || !named {
                return Err(format!(
                    "{} is left {:?}, open {}, due {:?}",
                    row.session, row.wait, row.open, row.wake_at
                ));
            }
        }
        Ok(())
    }

    /// I11: what was acknowledged is there, what was said is there once, and nothing is left waiting.
    fn acknowledged(&self, play: &Play) -> Result<(), String> {
        let mut said = BTreeMap::new();
        for (row, records) in &self.sessions {
            for placed in records {
                let body = match &placed.record {
                    Record::Admitted(admitted) => &admitted.body,
                    Record::Answered { body, .. } => body,
                    _ => continue,
                };
                let before = said.insert(self.text(body)?, (row.session, placed.seq));
                if let Some(before) = before {
                    return Err(format!(
                        "a message was admitted twice: {before:?} and {}.{}",
                        row.session, placed.seq.0
                    ));
                }
            }
            let taken = |placed: &&Placed, seq: Seq| match &placed.record {
                Record::TurnStarted(started) => started.messages.contains(&seq),
                Record::Entered { messages } => messages.contains(&seq),
                _ => false,
            };
            // What came while a turn waits for a person's answer waits with it.
            let waits = row.wait.as_deref() == Some("question");
            for placed in records.iter().filter(|placed| matches!(placed.record, Record::Admitted(_))) {
                if !waits && !records.iter().any(|other| taken(&other, placed.seq)) {
                    return Err(format!("the message {}.{} was never taken up", row.session, placed.seq.0));
                }
            }
        }
        for ack in &play.acks {
            let place = (ack.session, ack.seq);
            let found = ack.text.as_ref().map_or(Some(&place), |text| said.get(text));
            if found != Some(&place) || self.records(ack.session).last().is_none_or(|last| last.seq < ack.seq) {
                return Err(format!("acknowledged and lost: {ack:?}, found {found:?}"));
            }
        }
        Ok(())
    }

    fn started(&self, start: &Start) -> Option<&Started> {
        let placed = self.records(start.session).iter().find(|placed| placed.seq == start.started)?;
        match &placed.record {
            Record::Started(started) if started.effect == start.effect => Some(started),
            _ => None,
        }
    }

    /// I1 and I3: nothing left without its intent, no start acted twice, no unsafe or probed effect
    /// twice, nothing completed again, one key for all attempts.
    fn once(&self, log: &Log) -> Result<(), String> {
        for start in log.handed_out.iter().filter(|start| start.era == log.era) {
            if self.started(start).is_none() {
                return Err(format!("{start:?} was let out, and its intent is not in the journal"));
            }
        }
        let (mut starts, mut effects, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        for act in log.acts.iter().filter(|act| class_of(&act.tool) != Idempotency::Pure) {
            let effect = (act.start.session, act.start.effect, act.tool.as_str(), act.arguments.as_str());
            if !starts.insert(act.start) {
                return Err(format!("one start acted twice: {act:?}"));
            }
            let again = !effects.insert(effect);
            let class = class_of(&act.tool);
            if again && matches!(class, Idempotency::Unsafe | Idempotency::Probed) {
                return Err(format!("{class:?} effect twice: {act:?}"));
            }
            if act.start.era == log.era
                && *keys.entry((act.start.session, act.start.effect)).or_insert(act.key) != act.key
            {
                return Err(format!("another key for the same effect: {act:?}"));
            }
            let ended = self
                .records(act.start.session)
                .iter()
                .find(|placed| matches!(&placed.record, Record::Ended(ended) if ended.effect == act.start.effect));
            if act.start.era == log.era && ended.is_some_and(|ended| ended.seq < act.start.started) {
                return Err(format!("a completed effect was started again: {act:?}"));
            }
        }
        Ok(())
    }

    /// I3: what the journal says of an effect is true, or is called unknown.
    fn truth(&self, log: &Log) -> Result<(), String> {
        for (row, records) in &self.sessions {
            for placed in records {
                let Record::Planned(Planned::Tool { call, .. }) = &placed.record else { continue };
                let pure = call.tool.as_deref().is_none_or(|tool| class_of(tool) == Idempotency::Pure);
                let Some(says_done) = last_word(records, placed.seq).filter(|_| !pure) else { continue };
                let acted = log.has_acted(row.session, placed.seq);
                if acted != says_done {
                    let place = format!("{}.{}", row.session, placed.seq.0);
                    return Err(format!("the journal says of {place} done = {says_done}, and the truth is {acted}"));
                }
            }
        }
        Ok(())
    }

    /// I4 and I13: every request can be made again from the journal, byte for byte.
    fn requests(&self, log: &Log) -> Result<(), String> {
        for (row, records) in &self.sessions {
            let mut made: BTreeMap<EffectId, Vec<String>> = BTreeMap::new();
            for placed in records {
                let Record::Started(Started { effect, request: Some(request), .. }) = &placed.record else { continue };
                let fragments = self.fragments(request, &made)?;
                let digests: Vec<_> = fragments.iter().map(|wire| fragment_digest(wire.as_bytes())).collect();
                let place = format!("{}.{}", row.session, placed.seq.0);
                if digest(digests.iter()) != request.digest {
                    return Err(format!("the request of {place} is not what its digest says"));
                }
                let wire = join_wires(&fragments.iter().map(String::as_str).collect::<Vec<_>>());
                script::messages(&wire).map_err(|wrong| format!("the request of {place}: {wrong}"))?;
                let is = |start: &Start| start.session == row.session && start.started == placed.seq;
                let sent = log.sends.iter().filter(|sent| sent.start.era == log.era && is(&sent.start));
                if sent.map(|sent| &sent.wire).any(|sent| *sent != wire) {
                    return Err(format!("the request of {place} is not what was sent"));
                }
                made.insert(*effect, fragments);
            }
        }
        Ok(())
    }

    fn fragments(&self, request: &Request, made: &BTreeMap<EffectId, Vec<String>>) -> Result<Vec<String>, String> {
        let rope: Rope = serde_json::from_str(&self.text(&request.rope)?).map_err(|error| error.to_string())?;
        let base = rope.base.map_or(Some(&[] as &[String]), |base| made.get(&base).map(Vec::as_slice));
        let base = base.ok_or("a request grew from one that is not in the journal")?;
        let mut fragments = Vec::new();
        for (from, to) in &rope.kept {
            let kept = base.get(*from as usize..*to as usize).ok_or("a request keeps what its base lacks")?;
            fragments.extend_from_slice(kept);
        }
        for pieces in &rope.added {
            let mut wire = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => wire.push_str(text),
                    Piece::Raw(body) => wire.push_str(&self.text(body)?),
                    Piece::Escaped(body) => escape(&self.text(body)?, &mut wire),
                }
            }
            fragments.push(wire);
        }
        Ok(fragments)
    }

    /// I5: the ledger is what the records say: nothing stays reserved, every bill is booked, and what
    /// was possibly billed is kept.
    fn money(&self, log: &Log) -> Result<(), String> {
        let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
        for (row, records) in &self.sessions {
            for placed in records {
                let Record::Started(started) = &placed.record else { continue };
                for Counted { window, units, .. } in taken(records, placed.seq, started) {
                    *wanted.entry(window.clone()).or_default() += units;
                }
                let Some(reservation) = &started.reservation else { continue };
                let place = format!("{}.{}", row.session, placed.seq.0);
                let booked = booked(records, placed.seq, started, reservation);
                let booked = booked.ok_or_else(|| format!("the model call of {place} is never closed"))?;
                let is = |start: &Start| start.session == row.session && start.started == placed.seq;
                let asked = log.sends.iter().any(|s| s.start.era == log.era && s.billed && is(&s.start));
                if asked && booked == Amount::ZERO {
                    return Err(format!("{place} was billed, and its reservation given back"));
                }
                reservation.windows.iter().for_each(|key| *wanted.entry(key.clone()).or_default() += booked.tokens);
            }
        }
        let sql = "SELECT key, tokens_settled, tokens_reserved FROM ledger";
        let answer = self.store.query(sql).map_err(|error| error.to_string())?;
        for row in &answer.rows {
            let [Cell::Text(key), Cell::Integer(settled), Cell::Integer(reserved)] = row.as_slice() else {
                return Err(format!("the ledger holds {row:?}"));
            };
            let expected = wanted.remove(key).unwrap_or_default();
            if (settled.unsigned_abs(), *reserved) != (expected, 0) {
                return Err(format!(
                    "{key}: {settled} settled and {reserved} reserved, the records say {expected} and 0"
                ));
            }
        }
        wanted.retain(|_, tokens| *tokens > 0);
        if wanted.is_empty() { Ok(()) } else { Err(format!("not in the ledger: {wanted:?}")) }
    }

    fn ending(&self, log: &Log) -> Result<Ending, String> {
        let mut ending = Ending::default();
        for (row, records) in &self.sessions {
            ending.waits.push(row.wait.clone().unwrap_or_default());
            let mut messages = Vec::new();
            for placed in records {
                match &placed.record {
                    Record::TurnStarted(started) => messages = self.messages(records, &started.messages)?,
                    Record::Entered { messages: more } => messages.extend(self.messages(records, more)?),
                    Record::TurnEnded(ended) => ending.turns.push(Turn {
                        messages: std::mem::take(&mut messages),
                        reason: format!("{:?}", ended.reason),
                        reply: ended.reply.as_ref().map(|reply| self.text(reply)).transpose()?,
                        calls: self.calls(records, &ended.completion)?,
                    }),
                    _ => {}
                }
            }
        }
        let acts = log.acts.iter().filter(|act| class_of(&act.tool) != Idempotency::Pure);
        ending.acts = acts.map(|act| format!("{} {}", act.tool, act.arguments)).collect();
        Ok(ending)
    }

    fn messages(&self, records: &[Placed], seqs: &[Seq]) -> Result<Vec<String>, String> {
        let admitted = records.iter().filter(|placed| seqs.contains(&placed.seq));
        let bodies = admitted.filter_map(|placed| match &placed.record {
            Record::Admitted(admitted) => Some(&admitted.body),
            _ => None,
        });
        bodies.map(|body| self.text(body)).collect()
    }

    fn calls(&self, records: &[Placed], completion: &Completion) -> Result<Vec<(&'static str, Vec<String>)>, String> {
        let lists = [
            ("done", &completion.done),
            ("failed", &completion.failed),
            ("refused", &completion.refused),
            ("not started", &completion.not_started),
            ("unknown", &completion.unknown),
        ];
        let mut out = Vec::new();
        for (word, effects) in lists.into_iter().filter(|(_, effects)| !effects.is_empty()) {
            let mut calls = Vec::new();
            for placed in records.iter().filter(|placed| effects.contains(&placed.seq)) {
                let Record::Planned(Planned::Tool { call, .. }) = &placed.record else { continue };
                let stored: serde_json::Value =
                    serde_json::from_str(&self.text(&call.calls)?).map_err(|error| error.to_string())?;
                let function = &stored[call.index as usize]["function"];
                calls.push(format!("{} {}", function["name"], function["arguments"]));
            }
            out.push((word, calls));
        }
        Ok(out)
    }
}

fn class_of(tool: &str) -> Idempotency {
    house::idempotency(tool).unwrap_or(Idempotency::Unsafe)
}

/// Whether the latest word of the journal on this call is "done"; `None` where it says neither.
fn last_word(records: &[Placed], effect: EffectId) -> Option<bool> {
    let words = records.iter().filter_map(|placed| match &placed.record {
        Record::Ended(ended) if ended.effect == effect => Some(match &ended.end {
            End::Done { .. } => Some(true),
            End::Concluded { done, .. } => Some(*done),
            End::Failed { .. } | End::NotStarted => Some(false),
            End::Unknown | End::Replied { .. } | End::ModelFailed { .. } => None,
        }),
        // What a rule assumes is named as assumed: nobody looked.
        Record::Resolved { effect: of, resolution, by: Some(_), .. } if *of == effect => match resolution {
            Resolution::Done => Some(Some(true)),
            Resolution::NotDone => Some(Some(false)),
            Resolution::Retry => None,
        },
        _ => None,
    });
    words.into_iter().next_back().flatten()
}

/// What the start at `seq` is booked with once it is closed: its bill, or, where none is known, all
/// that was reserved, as possibly billed.
fn booked(records: &[Placed], seq: Seq, started: &Started, reservation: &Reservation) -> Option<Amount> {
    let later = records.iter().filter(|placed| placed.seq > seq);
    let mut closing = later.filter_map(|placed| match &placed.record {
        Record::Bounced { effect, .. } if *effect == started.effect => Some(Some(Amount::ZERO)),
        Record::Retried(retried) if retried.effect == started.effect => {
            Some((!retried.possibly_billed).then_some(Amount::ZERO))
        }
        Record::Lapsed { effect, .. } if *effect == started.effect => Some(None),
        Record::Ended(ended) if ended.effect == started.effect => Some(ended.spent),
        _ => None,
    });
    closing.next().map(|spent| spent.unwrap_or(reservation.amount))
}

/// What the start at `seq` has taken of limits once it is closed: its shares, unless it did nothing.
fn taken<'a>(records: &[Placed], seq: Seq, started: &'a Started) -> &'a [Counted] {
    let mut later = records.iter().filter(|placed| placed.seq > seq);
    let did_nothing = later.find_map(|placed| match &placed.record {
        Record::Bounced { effect, .. } if *effect == started.effect => Some(true),
        Record::Lapsed { effect, .. } | Record::Doubted { effect, .. } if *effect == started.effect => Some(false),
        Record::Ended(ended) if ended.effect == started.effect => {
            Some(matches!(ended.end, End::Failed { .. } | End::NotStarted))
        }
        _ => None,
    });
    if did_nothing == Some(true) { &[] } else { &started.counted }
}
