//! How a turn ends: what never started is said so, what runs is let go or waited for by its class,
//! and one record says why.
use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use super::outcome::{not_started, started_of};
use crate::asks::BY_DENIALS;
use crate::frame::Frame;
use crate::id::EffectId;
use crate::record::{Completion, End, Ended, Record, StopReason, TurnEnded};
use crate::session::{Open, Session, State, Step, Turn, Work};
use crate::tool::Idempotency;

/// Whoever is told no again and again does nothing more by itself.
pub fn end_denied(session: &Session, frame: &Frame<'_>) -> Vec<Record> {
    let mut records = match &session.turn {
        Some(turn) if session.asks.end_the_turn() => end_turn(session, turn, StopReason::Denials, frame),
        _ => Vec::new(),
    };
    if session.asks.stop_the_session() && !session.stopped {
        records.push(Record::Stopped { by: BY_DENIALS.to_owned() });
    }
    records
}

/// Ends the turn for `reason`.
pub fn end_turn(session: &Session, turn: &Turn, reason: StopReason, frame: &Frame<'_>) -> Vec<Record> {
    let mut completion = turn.completion.clone();
    let mut records = Vec::new();
    for (id, open) in session.effects.iter().filter(|(_, open)| open.work.turn() == turn.id) {
        match let_go(open) {
            Some(end) => {
                note(&mut completion, *id, open, &end);
                let started = started_of(open);
                let ended = Ended { effect: *id, at: frame.now, started, end, spent: None };
                records.push(Record::Ended(ended));
            }
            None => completion.unknown.push(*id),
        }
    }
    let reply = match &turn.step {
        Step::Final { text, .. } => *text,
        Step::Next | Step::Model(_) | Step::Calls { .. } | Step::Broken(_) => None,
    };
    // A model call let go of may still be billed: its reservation stays.
    let spent = turn.spent.plus(turn.reserved);
    let label = (session.label != turn.label_before).then_some(session.label);
    records.push(Record::TurnEnded(TurnEnded { turn: turn.id, reason, reply, completion, spent, label }));
    records
}

/// How an effect is let go of; `None`: it stays open past the turn, until its truth is known.
fn let_go(open: &Open) -> Option<End> {
    match &open.state {
        State::Planned
        | State::Asked { .. }
        | State::Parked { .. }
        | State::Ready
        | State::Question
        | State::Unfunded { .. }
        | State::Backoff { .. } => Some(not_started(open)),
        State::Probing | State::Doubt => None,
        State::Started { .. } => match &open.work {
            Work::Model { .. } => Some(End::Unknown),
            Work::Tool { judged: Some(judged), .. } => match judged.idempotency {
                Idempotency::Pure | Idempotency::Idempotent | Idempotency::Keyed => Some(End::Unknown),
                Idempotency::Probed | Idempotency::Unsafe => None,
            },
            Work::Tool { judged: None, .. } => Some(End::NotStarted),
        },
    }
}

fn note(completion: &mut Completion, id: EffectId, open: &Open, end: &End) {
    if matches!(open.work, Work::Tool { .. }) && open.looks_for.is_none() {
        let unknown = matches!(end, End::Unknown);
        let list = if unknown { &mut completion.unknown } else { &mut completion.not_started };
        list.push(id);
    }
}
