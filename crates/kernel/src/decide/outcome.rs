//! How effects end: replies, results, failures and what follows from their class, dead processes,
//! probes, bounces.
use alloc::vec::Vec;

use crate::budget::{Amount, Usage};
use crate::effect::{CallRef, Failure, FailureClass, Outcome, Probed};
use crate::frame::Frame;
use crate::id::{EffectId, Millis, RepeatKey, Seq};
use crate::label::{Label, Source};
use crate::limits;
use crate::permit::{Bounce, is_of_this_boot, is_wanted};
use crate::policy::InDoubt;
use crate::record::{BounceReason, End, Ended, Planned, Record, Reservation, Resolution, Retried, Scoped};
use crate::session::{Open, Session, State, Work};
use crate::tool::Idempotency;

/// What is declared of all that a tool says, be it of a failure.
fn declared(call: &CallRef, frame: &Frame<'_>) -> Label {
    let manifest = call.tool.as_ref().and_then(|tool| frame.policy.tools.get(tool));
    manifest.map_or(Label::of(Source::Tool), |manifest| manifest.result)
}

/// A started effect reports its end; a report of anything but the start in force is stale.
pub fn ended(session: &Session, effect: EffectId, started: Seq, outcome: Outcome, frame: &Frame<'_>) -> Vec<Record> {
    let Some(open) = session.effects.get(&effect) else { return Vec::new() };
    let State::Started { seq, reservation, overdue, .. } = &open.state else { return Vec::new() };
    if *seq != started {
        return Vec::new();
    }
    let end =
        |end, spent| Vec::from([Record::Ended(Ended { effect, at: frame.now, started: Some(started), end, spent })]);
    match (&open.work, outcome) {
        (Work::Model { turn, model, plans: false, .. }, Outcome::Replied { text, calls, finish, usage }) => {
            let (spent, overrun) = bill(model, reservation.as_ref(), usage, frame);
            let body = calls.first().map(|call| call.calls);
            let count = u32::try_from(calls.len()).unwrap_or(u32::MAX);
            let mut records = end(End::Replied { text, calls: body, count, finish, usage, overrun }, spent);
            let plan = |call| Record::Planned(Planned::Tool { turn: *turn, call });
            records.extend(calls.into_iter().map(plan));
            records
        }
        (Work::Model { model, plans: true, .. }, Outcome::Scoped { said, entries, body, finish, usage }) => {
            let (spent, overrun) = bill(model, reservation.as_ref(), usage, frame);
            let scoped = Record::Scoped(Scoped { effect, entries, body, said });
            let replied = End::Replied { text: None, calls: None, count: 0, finish, usage, overrun };
            [Vec::from([scoped]), end(replied, spent)].concat()
        }
        (Work::Model { .. }, Outcome::ModelFailed(failure)) => match backoff(effect, open, &failure, frame.now) {
            Some(retried) => Vec::from([Record::Retried(retried)]),
            None => {
                let (class, detail) = (failure.class, failure.detail);
                end(End::ModelFailed { class, detail }, (!failure.billed).then_some(Amount::ZERO))
            }
        },
        // Ask again; what was reserved stays, as possibly billed.
        (Work::Model { .. }, Outcome::Unknown) => Vec::from([Record::Lapsed { effect, boot: frame.boot }]),
        (Work::Model { .. }, Outcome::NotStarted) => Vec::from([Record::Bounced { effect, why: BounceReason::Busy }]),
        (Work::Tool { call, .. }, Outcome::Done { result, spill, repeat, label, created }) => {
            let label = label.join(declared(call, frame));
            let warned = is_third(session, call.repeat, repeat);
            let created = created.map(|id| Record::Created { effect, id });
            created.into_iter().chain(end(End::Done { result, repeat, label, warned, spill }, None)).collect()
        }
        (Work::Tool { call, .. }, Outcome::Failed { result, repeat, label }) => end(
            End::Failed { result, repeat, label: label.join(declared(call, frame)).join(Label::of(Source::Tool)) },
            None,
        ),
        (Work::Tool { .. }, Outcome::Overdue) if *overdue => Vec::new(),
        (Work::Tool { .. }, Outcome::Overdue) => match class_of(open) {
            // It may go on by itself: it is never started again.
            Idempotency::Pure | Idempotency::Idempotent | Idempotency::Keyed => end(End::Unknown, None),
            // What may act at any moment can be neither probed nor doubted.
            Idempotency::Probed | Idempotency::Unsafe => Vec::from([Record::Overdue { effect }]),
        },
        (Work::Tool { .. }, Outcome::NotStarted) => end(not_started(open), None),
        (Work::Tool { .. }, Outcome::Unknown) => match class_of(open) {
            Idempotency::Pure | Idempotency::Idempotent | Idempotency::Keyed => end(End::Unknown, None),
            Idempotency::Probed => Vec::from([Record::Lapsed { effect, boot: frame.boot }]),
            Idempotency::Unsafe => Vec::from([Record::Doubted { effect, boot: frame.boot }]),
        },
        // Not the outcome of such an effect: no outcome at all.
        (Work::Model { .. }, Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::Overdue)
        | (Work::Model { plans: true, .. }, Outcome::Replied { .. })
        | (Work::Model { plans: false, .. }, Outcome::Scoped { .. })
        | (Work::Tool { .. }, Outcome::Replied { .. } | Outcome::Scoped { .. } | Outcome::ModelFailed(_)) => Vec::new(),
    }
}

/// What a reply cost, where that is known, and whether it is more than was reserved.
fn bill(
    model: &str,
    reserved: Option<&Reservation>,
    usage: Option<Usage>,
    frame: &Frame<'_>,
) -> (Option<Amount>, bool) {
    let price = frame.policy.models.get(model).map(|model| model.price);
    let spent = usage.zip(price).map(|(usage, price)| price.bill(&usage));
    let reserved = reserved.map(|reservation| reservation.amount);
    let is_more =
        |(spent, reserved): (Amount, Amount)| spent.tokens > reserved.tokens || spent.micro_usd > reserved.micro_usd;
    (spent, spent.zip(reserved).is_some_and(is_more))
}

/// The end of an effect that is not to be started any more.
pub fn not_started(open: &Open) -> End {
    if open.unsure { End::Unknown } else { End::NotStarted }
}

/// Too many of its starts ended unseen: it is not started once more.
pub fn is_worn_out(open: &Open) -> bool {
    open.failures >= limits::LAPSES_MAX
}

/// Whether this is the third time that this call gave this result.
fn is_third(session: &Session, call: RepeatKey, result: RepeatKey) -> bool {
    let before = session.repeats.iter().rev().filter(|repeat| repeat.call == call);
    let wanted = limits::REPEAT_WARN - 1;
    before.take(wanted).filter(|repeat| repeat.result == Some(result)).count() == wanted
}

/// The next try of a failed model call, or `None` where no further try can help.
fn backoff(effect: EffectId, open: &Open, failure: &Failure, now: Millis) -> Option<Retried> {
    match failure.class {
        FailureClass::RetrySame | FailureClass::Wait => {}
        FailureClass::Shrink
        | FailureClass::Auth
        | FailureClass::Quota
        | FailureClass::Policy
        | FailureClass::Invalid => return None,
    }
    let since = open.failing_since.unwrap_or(now);
    let spent =
        open.failures.saturating_add(1) >= limits::ATTEMPTS_MAX || now.saturating_sub(since) >= limits::ATTEMPTS_MS_MAX;
    let provider_wait = spent || open.provider_waits > 0;
    let delay = if provider_wait {
        if now.saturating_sub(since) >= limits::PROVIDER_WAIT_MS_MAX {
            return None;
        }
        doubled(limits::PROVIDER_WAIT_BASE_MS, limits::PROVIDER_WAIT_CAP_MS, open.provider_waits)
    } else {
        let most = doubled(limits::BACKOFF_BASE_MS, limits::BACKOFF_CAP_MS, open.failures);
        most.saturating_mul(failure.jitter_permille.min(1000)) / 1000
    };
    let own = now.saturating_add(delay);
    let told = failure.retry_at.map(|at| {
        // A vendor that says "in a thousand years" is asked again tomorrow.
        let delay = at.saturating_sub(now).min(limits::RETRY_AFTER_MS_MAX);
        let jitter = delay.saturating_mul(limits::RETRY_AFTER_JITTER_PERMILLE) / 1000;
        now.saturating_add(delay).saturating_add(jitter.saturating_mul(failure.jitter_permille.min(1000)) / 1000)
    });
    let not_before = match told {
        Some(told) if provider_wait => told.max(own),
        Some(told) => told,
        None => own,
    };
    Some(Retried {
        effect,
        at: now,
        class: failure.class,
        not_before,
        detail: failure.detail,
        provider_wait,
        possibly_billed: failure.billed,
    })
}

fn doubled(base: u64, cap: u64, times: u32) -> u64 {
    base.saturating_mul(1u64.checked_shl(times).unwrap_or(u64::MAX)).min(cap)
}

/// What becomes of every effect that a dead process had started.
pub fn recover(session: &Session, frame: &Frame<'_>) -> Vec<Record> {
    let mut records = Vec::new();
    for (id, open) in &session.effects {
        let State::Started { boot, .. } = open.state else { continue };
        if boot == frame.boot {
            continue;
        }
        records.push(match class_of(open) {
            Idempotency::Pure | Idempotency::Idempotent | Idempotency::Keyed | Idempotency::Probed => {
                Record::Lapsed { effect: *id, boot }
            }
            Idempotency::Unsafe => Record::Doubted { effect: *id, boot },
        });
    }
    records
}

/// The rule for doubts, where it is not to ask.
pub fn settle_doubts(session: &Session, frame: &Frame<'_>) -> Vec<Record> {
    let rule = frame.policy.agents.get(&session.agent).map_or(InDoubt::Ask, |agent| agent.in_doubt);
    let resolution = match rule {
        InDoubt::Ask => return Vec::new(),
        InDoubt::AssumeDone => Resolution::Done,
        InDoubt::AssumeNotDone => Resolution::NotDone,
    };
    let doubts = session.effects.iter().filter(|(_, open)| open.state == State::Doubt);
    doubts.map(|(id, _)| Record::Resolved { effect: *id, resolution, by: None, note: None }).collect()
}

pub fn class_of(open: &Open) -> Idempotency {
    match &open.work {
        Work::Model { .. } => Idempotency::Idempotent,
        Work::Tool { judged: Some(judged), .. } => judged.idempotency,
        // Started without facts cannot be: be careful.
        Work::Tool { judged: None, .. } => Idempotency::Unsafe,
    }
}

/// True where a copy of this session, going on elsewhere, may have had this effect.
pub fn may_have_happened(open: &Open) -> bool {
    match (&open.work, &open.state) {
        (Work::Model { .. }, _) | (_, State::Doubt | State::Question) => false,
        // It reads, and may be made again.
        (Work::Tool { .. }, _) if open.looks_for.is_some() => false,
        // No such tool: there was nothing to happen.
        (Work::Tool { call, .. }, _) if call.tool.is_none() => false,
        (Work::Tool { judged: Some(judged), .. }, _) => judged.idempotency != Idempotency::Pure,
        // Not looked at yet when the backup was taken: nobody knows what it was.
        (Work::Tool { judged: None, .. }, _) => true,
    }
}

/// What the world said of a call whose process died.
pub fn probed(session: &Session, effect: EffectId, found: Probed, frame: &Frame<'_>) -> Vec<Record> {
    let Some(open) = session.effects.get(&effect) else { return Vec::new() };
    if open.state != State::Probing {
        return Vec::new();
    }
    let in_turn = session.turn.as_ref().is_some_and(|turn| turn.id == open.work.turn());
    let again = in_turn && !is_worn_out(open);
    let conclude = |done| {
        let end = End::Concluded { done, probed: Some(found) };
        Record::Ended(Ended { effect, at: frame.now, started: None, end, spent: None })
    };
    Vec::from([match found {
        Probed::Done => conclude(true),
        // Its turn still wants it: run it, under a fresh look.
        Probed::NotDone if again => Record::Resolved { effect, resolution: Resolution::Retry, by: None, note: None },
        Probed::NotDone => conclude(false),
        Probed::Neither => Record::Doubted { effect, boot: frame.boot },
    }])
}

/// Turned back at the last look, so certainly not done: it waits again, or, where its turn is over,
/// that is its end.
pub fn bounced(session: &Session, bounce: Bounce, frame: &Frame<'_>) -> Vec<Record> {
    let Bounce { effect, reason } = bounce;
    let Some(open) = session.effects.get(&effect).filter(|open| is_of_this_boot(open, frame)) else {
        return Vec::new();
    };
    if is_wanted(session, open) {
        return Vec::from([Record::Bounced { effect, why: reason }]);
    }
    let (started, end) = (started_of(open), not_started(open));
    let spent = matches!(open.work, Work::Model { .. }).then_some(Amount::ZERO);
    Vec::from([Record::Ended(Ended { effect, at: frame.now, started, end, spent })])
}

/// Seq of the `started` record in force.
pub fn started_of(open: &Open) -> Option<Seq> {
    match &open.state {
        State::Started { seq, .. } => Some(*seq),
        State::Planned
        | State::Asked { .. }
        | State::Parked { .. }
        | State::Ready
        | State::Question
        | State::Unfunded { .. }
        | State::Backoff { .. }
        | State::Probing
        | State::Doubt => None,
    }
}
