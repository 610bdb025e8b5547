//! What a verdict does to a call, and what a yes, a no and silence do to one that was asked about.
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{complete, lookups};
use crate::asks::Refused;
use crate::context::{Answer, Note};
use crate::effect::CallRef;
use crate::home::Speaks;
use crate::id::EffectId;
use crate::mode::WorkMode;
use crate::record::{Decision, Grounds, Judged, Reason, Verdict};
use crate::session::{Approved, Edit, JudgedFacts, Session, State, Step, Work};
use crate::tool::Answerer;

pub(super) fn judge(session: &mut Session, record: &Judged) {
    let Some(open) = session.effects.get_mut(&record.effect) else { return };
    let place = open.edit.as_mut().and_then(|edit| edit.asked_at.take());
    let Work::Tool { judged, .. } = &mut open.work else { return };
    *judged = record.facts.clone().map(|facts| {
        Box::new(JudgedFacts {
            facts,
            epoch: record.epoch,
            idempotency: record.idempotency,
            answerer: record.answerer,
            named: record.grounds.as_deref().map(Grounds::named).unwrap_or_default(),
            composed: record.grounds.as_ref().and_then(|grounds| grounds.composed.clone()),
            approved: None,
            standing: if let Verdict::Allow { by: Reason::Standing(id) } = &record.verdict {
                Some(id.clone())
            } else {
                None
            },
        })
    });
    let note = match &record.verdict {
        Verdict::Allow { .. } => {
            open.state = match record.answerer {
                Answerer::Tool => State::Ready,
                Answerer::Human => State::Question,
            };
            return;
        }
        Verdict::Ask { by, approvers, expires_at, digest, at } => {
            let (by, approvers, yes) = (by.clone(), approvers.clone(), Vec::new());
            let (expires_at, digest) = (*expires_at, *digest);
            // One that is asked anew was opened before.
            let before = if let State::Asked { at, .. } = open.state { Some(at) } else { place };
            let at = before.unwrap_or_else(|| {
                session.asks.open(*at);
                *at
            });
            open.state = State::Asked { by, approvers, expires_at, digest, yes, by_person: false, at };
            return;
        }
        Verdict::Parked { by, until } => {
            open.state = State::Parked { by: by.clone(), until: *until };
            return;
        }
        Verdict::Deny { by: Reason::Refused } => Note::RefusedBefore,
        Verdict::Deny { by: Reason::Rule(rule) } => Note::Denied(rule.clone()),
        Verdict::Deny { by: Reason::Limit(rule) } => Note::Limited(rule.clone()),
        Verdict::Deny { by: Reason::Mode { mode, would } } => Note::HeldBack { mode: *mode, would: *would },
        Verdict::Deny {
            by: Reason::ClassDefault | Reason::NoGrant | Reason::Standing(_) | Reason::Flow(_) | Reason::Both { .. },
        } => Note::NotGranted,
        Verdict::Invalid { why, detail } => Note::Invalid { why: *why, detail: *detail },
        Verdict::Blocked { .. } => Note::Repeated,
        Verdict::TooMany => Note::TooMany,
    };
    refuse(session, record.effect, note);
}

/// A refused call counts as a repeat with the result that it had before, so that a model that
/// insists is stopped too. Where an earlier attempt may have reached the world, "refused" would be
/// a lie.
fn refuse(session: &mut Session, effect: EffectId, note: Note) {
    let Some(open) = session.effects.remove(&effect) else { return };
    if lookups::told(session, &open, None) {
        return;
    }
    // A dry run goes on as if the call had been made.
    let goes_on = matches!(note, Note::HeldBack { mode: WorkMode::DryRun, .. });
    session.count_failing(open.work.turn(), goes_on);
    if let Work::Tool { call, .. } = &open.work {
        let same = session.repeats.iter().rev().find(|repeat| repeat.call == call.repeat);
        let result = same.and_then(|repeat| repeat.result);
        session.remember_repeat(call.repeat, result);
    }
    if open.unsure {
        complete(session, effect, |completion| &mut completion.unknown);
        session.answer(effect, Answer::Note(Note::Unknown));
    } else {
        complete(session, effect, |completion| &mut completion.refused);
        session.answer(effect, Answer::Note(note));
    }
}

/// The call in another's words: nothing that was found out about it, or said to it, is of this one.
pub(super) fn edited(session: &mut Session, effect: EffectId, (by, speaks): (&str, Speaks), call: &CallRef) {
    let Some(open) = session.effects.get_mut(&effect) else { return };
    let (Work::Tool { call: was, judged, .. }, State::Asked { at, .. }) = (&mut open.work, &open.state) else { return };
    let was = core::mem::replace(was, call.clone());
    let (before, times) = open.edit.take().map_or((was, 0), |edit| (edit.before, edit.times));
    open.edit = Some(Edit { by: by.to_owned(), speaks, before, times: times.saturating_add(1), asked_at: Some(*at) });
    *judged = None;
    open.found.clear();
    open.state = State::Planned;
    let Some(turn) = &mut session.turn else { return };
    // Some of what the turn does is its words from here on.
    turn.speaks = Speaks::of_both(turn.speaks, Some(speaks));
    if let Step::Calls { slots, .. } = &mut turn.step
        && let Some(slot) = slots.iter_mut().find(|slot| slot.effect == effect)
    {
        slot.edited = Some(call.calls);
    }
}

/// Each yes is somebody's own; the call is ready with the last one that it takes.
pub(super) fn decided(
    session: &mut Session,
    effect: EffectId,
    decision: Decision,
    (name, speaks): (Option<&str>, Option<Speaks>),
) {
    match decision {
        Decision::Approve => {
            let Some(open) = session.effects.get_mut(&effect) else { return };
            if let (
                Work::Tool { judged: Some(judged), .. },
                State::Asked { by, approvers, expires_at, digest, yes, by_person, at: _ },
            ) = (&mut open.work, &mut open.state)
            {
                *by_person |= speaks == Some(Speaks::Human);
                if !approvers.are_enough(yes, name.unwrap_or_default()) {
                    return;
                }
                let (by, approvers, until) = (by.clone(), approvers.clone(), *expires_at);
                let (digest, by_person) = (*digest, *by_person);
                judged.approved = Some(Approved { by, approvers, until, digest, by_person });
                open.state = State::Ready;
                session.asks.approved();
            }
        }
        Decision::Deny => {
            session.asks.denied();
            not_again(session, effect);
            refuse(session, effect, Note::Refused);
        }
        Decision::Expire => {
            session.asks.denied();
            refuse(session, effect, Note::Expired);
        }
    }
}

/// The task goes on without asking about it again.
fn not_again(session: &mut Session, effect: EffectId) {
    let Some(open) = session.effects.get(&effect) else { return };
    let Work::Tool { turn: of, call, judged: Some(judged) } = &open.work else { return };
    let refused = Refused::of(call, &judged.facts);
    if let Some(turn) = session.turn.as_mut().filter(|turn| turn.id == *of) {
        turn.refused.push(refused);
    }
}
