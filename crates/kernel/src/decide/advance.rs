//! "And now?": the one place where a session moves on by itself.
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::outcome;
use super::windup::{end_denied, end_turn};
use crate::approval::Asking;
use crate::asks;
use crate::budget::{Amount, Used, WindowState, next_window_at};
use crate::destination::Destination;
use crate::effect::{CallRef, Finish, Inspection};
use crate::facts::{Facts, Invalid};
use crate::flow::{Named, wants_scope};
use crate::frame::Frame;
use crate::id::EffectId;
use crate::judge::{Judgement, judge};
use crate::limit;
use crate::limits;
use crate::mode::WorkMode;
use crate::policy::Agent;
use crate::record::{
    Cap, Counted, Decision, End, Ended, Grounds, Judged, LoopRule, Mode, Planned, Record, Reservation, Started,
    StopReason, TurnStarted, Verdict,
};
use crate::request::Request;
use crate::rule::Rule;
use crate::session::{Approved, JudgedFacts, Open, Session, State, Step, Turn, Work};
use crate::subject::Subject;
use crate::tool::{Answerer, EffectClass, Idempotency, Manifest};
use crate::window;

/// The next records, or none where the session waits for something. First match wins.
pub fn advance(session: &Session, frame: &Frame<'_>) -> Vec<Record> {
    let steps: [fn(&Session, &Frame<'_>) -> Vec<Record>; 7] =
        [outcome::recover, expire_asks, outcome::settle_doubts, end_denied, end_cancelled, begin_turn, go_on];
    steps.iter().map(|step| step(session, frame)).find(|records| !records.is_empty()).unwrap_or_default()
}

/// Silence is a no.
fn expire_asks(session: &Session, frame: &Frame<'_>) -> Vec<Record> {
    let expired = session
        .effects
        .iter()
        .filter(|(_, open)| matches!(open.state, State::Asked { expires_at, .. } if expires_at <= frame.now));
    let decision = Decision::Expire;
    expired.map(|(id, _)| Record::Decided { effect: *id, decision, by: None, speaks: None, note: None }).collect()
}

fn end_cancelled(session: &Session, frame: &Frame<'_>) -> Vec<Record> {
    match &session.turn {
        Some(turn) if turn.cancelled => end_turn(session, turn, StopReason::StoppedByUser, frame),
        _ => Vec::new(),
    }
}

/// One message begins a turn, with whatever was quoted before it; an interrupting one goes first.
fn begin_turn(session: &Session, frame: &Frame<'_>) -> Vec<Record> {
    if session.turn.is_some() || session.holds_still(frame.switches) {
        return Vec::new();
    }
    let Some(own) = session.next_in_queue() else { return Vec::new() };
    let quoted = session.queue.iter().take(own).rev().take_while(|waiting| waiting.is_quoted()).count();
    let messages = session.queue.iter().take(own + 1).skip(own - quoted).map(|w| w.seq).collect();
    Vec::from([Record::TurnStarted(TurnStarted { messages, label: Some(session.label) })])
}

fn go_on(session: &Session, frame: &Frame<'_>) -> Vec<Record> {
    let Some(turn) = session.turn.as_ref().filter(|_| !session.holds_still(frame.switches)) else {
        return Vec::new();
    };
    let Some(agent) = frame.policy.agents.get(&session.agent) else {
        return end_turn(session, turn, StopReason::Policy, frame);
    };
    if turn.worked_ms(frame.now) >= agent.caps.wall_ms {
        return end_turn(session, turn, StopReason::Cap(Cap::Wall), frame);
    }
    match &turn.step {
        Step::Next => next_step(session, turn, agent, frame),
        Step::Model(_) => Vec::new(),
        Step::Calls { .. } => go_on_calling(session, turn, agent, frame),
        Step::Final { finish, .. } => {
            let steering = steer(session);
            if !steering.is_empty() {
                return steering;
            }
            let reason = match finish {
                Finish::Stop | Finish::Calls => StopReason::Claimed,
                Finish::Length => StopReason::OutputLimit,
                Finish::Refusal => StopReason::Refusal,
            };
            end_turn(session, turn, reason, frame)
        }
        Step::Broken(reason) => shrink_or_end(session, turn, *reason, frame),
    }
}

/// What steers enters the turn that its sender was told, also where the model has just said its last.
fn steer(session: &Session) -> Vec<Record> {
    let messages: Vec<_> = session.queue.iter().filter(|w| w.mode == Mode::Steer).map(|w| w.seq).collect();
    if messages.is_empty() { Vec::new() } else { Vec::from([Record::Entered { messages }]) }
}

fn next_step(session: &Session, turn: &Turn, agent: &Agent, frame: &Frame<'_>) -> Vec<Record> {
    let steering = steer(session);
    if !steering.is_empty() {
        return steering;
    }
    if turn.failing >= limits::FAILING_STOP {
        return end_turn(session, turn, StopReason::Loop(LoopRule::FailingCalls), frame);
    }
    if turn.steps >= agent.caps.steps {
        return end_turn(session, turn, StopReason::Cap(Cap::Steps), frame);
    }
    let Some(model) = frame.policy.models.get(&agent.model) else {
        return end_turn(session, turn, StopReason::Policy, frame);
    };
    if wants_scope(session, turn, agent) {
        let output_tokens_max = model.max_output_tokens.min(limits::SCOPE_OUTPUT_TOKENS_MAX);
        let (turn, model) = (turn.id, agent.model.clone());
        return Vec::from([Record::Planned(Planned::Scope { turn, model, output_tokens_max })]);
    }
    match window::first_that_fits(session, model, agent, frame.policy) {
        None => return end_turn(session, turn, StopReason::ContextBlocked, frame),
        Some(first) if first > session.first_item => return Vec::from([Record::Windowed { first }]),
        Some(_) => {}
    }
    Vec::from([Record::Planned(Planned::Model {
        turn: turn.id,
        model: agent.model.clone(),
        output_tokens_max: model.max_output_tokens,
    })])
}

/// A request that the provider found too large is cut down once; then the step is planned anew.
fn shrink_or_end(session: &Session, turn: &Turn, reason: StopReason, frame: &Frame<'_>) -> Vec<Record> {
    match (reason, window::half(session)) {
        (StopReason::ContextBlocked, Some(first)) if !turn.shrunk => Vec::from([Record::Windowed { first }]),
        _ => end_turn(session, turn, reason, frame),
    }
}

/// The request is ready: start the call if there is a slot and money for it.
pub fn start_model(session: &Session, effect: EffectId, request: Request, frame: &Frame<'_>) -> Vec<Record> {
    let (Some(turn), Some(open)) = (&session.turn, session.effects.get(&effect)) else {
        return Vec::new();
    };
    let Work::Model { model, output_tokens_max, .. } = &open.work else { return Vec::new() };
    if !open.state.is_due(frame.now) || turn.cancelled || session.holds_still(frame.switches) || frame.slots.model == 0
    {
        return Vec::new();
    }
    let Some(model) = frame.policy.models.get(model) else {
        return end_turn(session, turn, StopReason::Policy, frame);
    };
    if session.label.conf > model.clearance {
        return end_turn(session, turn, StopReason::Clearance, frame);
    }
    let most = model.price.most(input_tokens_max(session, &request), *output_tokens_max);
    match room(session, turn, most, frame) {
        Room::Enough => {}
        Room::UsedUp(cap) => return end_turn(session, turn, StopReason::Cap(cap), frame),
        Room::Reserved(_) if matches!(open.state, State::Unfunded { until } if until > frame.now) => {
            return Vec::new();
        }
        Room::Reserved(window) => {
            let until = next_window_at(frame.now);
            return Vec::from([Record::Unfunded { effect, window: window.to_owned(), until }]);
        }
    }
    let windows = frame.allowance.iter().map(|state| state.window.key.clone()).collect();
    Vec::from([Record::Started(Started {
        effect,
        at: frame.now,
        boot: frame.boot,
        epoch: frame.policy.epoch,
        attempt: open.attempt.saturating_add(1),
        request: Some(request),
        reservation: Some(Reservation { amount: most, windows }),
        counted: Vec::new(),
    })])
}

/// The turn of a model call that nothing can be sent for.
pub fn erased(session: &Session, effect: EffectId, frame: &Frame<'_>) -> Vec<Record> {
    match &session.turn {
        Some(turn) if turn.step == Step::Model(effect) => end_turn(session, turn, StopReason::Erased, frame),
        _ => Vec::new(),
    }
}

/// An upper bound: what was billed for the unchanged part, and a token for every byte since.
fn input_tokens_max(session: &Session, request: &Request) -> u64 {
    match session.billed {
        Some(billed) if request.bytes_unchanged > 0 => {
            let delta = request.bytes.saturating_sub(request.bytes_unchanged);
            billed.input_tokens.saturating_add(delta).min(request.bytes.max(billed.input_tokens))
        }
        _ => request.bytes,
    }
}

/// Whether a call that may cost `more` fits under every budget (I5).
enum Room<'a> {
    Enough,
    /// It does not fit under this ledger window, and would without the calls in flight.
    Reserved(&'a str),
    UsedUp(Cap),
}

fn room<'a>(session: &Session, turn: &Turn, more: Amount, frame: &'a Frame<'_>) -> Room<'a> {
    let policy = frame.policy;
    let own = policy.agents.get(&session.agent).map(|agent| agent.budget).unwrap_or_default();
    let budgets = [own, policy.home_budget, policy.per_principal, policy.per_channel];
    let of_turn = turn.spent.plus(turn.reserved).plus(more);
    let of_session = session.spent.plus(session.reserved).plus(more);
    if !budgets.iter().all(|budget| budget.turn.holds(of_turn)) {
        return Room::UsedUp(Cap::TurnBudget);
    }
    if !budgets.iter().all(|budget| budget.session.holds(of_session)) {
        return Room::UsedUp(Cap::SessionBudget);
    }
    let lacks = |used: fn(&Used) -> Amount| {
        frame.allowance.iter().find(move |state| !state.window.ceiling.holds(used(&state.used).plus(more)))
    };
    if lacks(|used| used.settled).is_some() {
        return Room::UsedUp(Cap::SharedBudget);
    }
    lacks(|used| used.sum()).map_or(Room::Enough, |state| Room::Reserved(&state.window.key))
}

/// What was found out about a call, and what the policy makes of it.
pub fn inspected(
    session: &Session,
    effect: EffectId,
    found: Inspection,
    named: &Named,
    frame: &Frame<'_>,
) -> Vec<Record> {
    let (Some(turn), Some(open)) = (&session.turn, session.effects.get(&effect)) else {
        return Vec::new();
    };
    let Work::Tool { call, judged: None, .. } = &open.work else { return Vec::new() };
    let manifest = call.tool.as_ref().and_then(|tool| frame.policy.tools.get(tool));
    let repeats = session.repeats_of(call.repeat, effect);
    let (facts, judgement) = match found {
        _ if repeats >= limits::REPEAT_STOP - 1 => {
            return end_turn(session, turn, StopReason::Loop(LoopRule::ExactRepeat), frame);
        }
        _ if repeats >= limits::REPEAT_BLOCK - 1 => (None, (blocked(repeats), None)),
        Inspection::Invalid { why, detail } => (None, (Verdict::Invalid { why, detail: Some(detail) }, None)),
        Inspection::Facts(facts) => {
            let Judgement { verdict, grounds } = judge(session, effect, call, &facts, named, frame);
            let verdict = asks::Room::of(session, frame).bound(effect, call, &facts, verdict);
            (Some(facts), (verdict, Some(grounds)))
        }
    };
    Vec::from([judged(effect, manifest, facts, judgement, frame)])
}

fn judged(
    effect: EffectId,
    manifest: Option<&Manifest>,
    facts: Option<crate::facts::Facts>,
    (verdict, grounds): (Verdict, Option<Grounds>),
    frame: &Frame<'_>,
) -> Record {
    let idempotency = idempotency(manifest, facts.as_ref());
    Record::Judged(Judged {
        effect,
        epoch: frame.policy.epoch,
        facts,
        idempotency,
        answerer: manifest.map_or(Answerer::Tool, |manifest| manifest.answerer),
        verdict,
        grounds: grounds.map(Box::new),
    })
}

/// As the tool declares it; a request that only asks may be made again, whatever else its tool can do.
fn idempotency(manifest: Option<&Manifest>, facts: Option<&Facts>) -> Idempotency {
    let declared = manifest.map_or(Idempotency::Unsafe, |manifest| manifest.idempotency);
    let only_asks = |to: &Destination| to.method.only_asks();
    let asks = facts
        .is_some_and(|facts| facts.class == EffectClass::Read && facts.destination.as_ref().is_some_and(only_asks));
    if asks { Idempotency::Idempotent } else { declared }
}

/// Starts every allowed call that has a slot, and judges again what another policy had judged.
fn go_on_calling(session: &Session, turn: &Turn, agent: &Agent, frame: &Frame<'_>) -> Vec<Record> {
    if turn.tool_calls > agent.caps.tool_calls {
        return end_turn(session, turn, StopReason::Cap(Cap::ToolCalls), frame);
    }
    let mut records = Vec::new();
    let mut slots = frame.slots.tool;
    let mut calls = 0usize;
    let changing = agent.rules.iter().any(Rule::may_change) || frame.switches.mode != WorkMode::Normal;
    // With what the calls of this pass take.
    let mut frame = frame.clone();
    let mut room = asks::Room::of(session, &frame);
    for (id, open) in session.effects.iter().filter(|(_, open)| open.work.turn() == turn.id) {
        let Work::Tool { call, judged: was, .. } = &open.work else { continue };
        calls += usize::from(open.looks_for.is_none());
        match (was, &open.state) {
            (None, State::Planned) if call.tool.is_none() || calls > limits::CALLS_PER_STEP_MAX => {
                let repeats = session.repeats_of(call.repeat, *id);
                if repeats >= limits::REPEAT_STOP - 1 {
                    return end_turn(session, turn, StopReason::Loop(LoopRule::ExactRepeat), &frame);
                }
                records.push(judged(*id, None, None, (not_a_call(calls, repeats), None), &frame));
            }
            (Some(was), State::Asked { .. } | State::Parked { .. } | State::Ready)
                if is_outdated(session, *id, call, was, &frame)
                    || matches!(open.state, State::Parked { until, .. } if room.calls(until))
                    || ((changing || was.standing.is_some())
                        && open.state == State::Ready
                        && !still_stands(session, *id, call, was, &frame)) =>
            {
                let Judgement { verdict, grounds } = judge(session, *id, call, &was.facts, &was.named, &frame);
                let verdict = room.bound(*id, call, &was.facts, verdict);
                records.push(judged_again(*id, was, Judgement { verdict, grounds }, &frame));
            }
            (Some(_), State::Ready) if outcome::is_worn_out(open) => {
                let (at, end) = (frame.now, End::Unknown);
                records.push(Record::Ended(Ended { effect: *id, at, started: None, end, spent: None }));
            }
            (Some(_), State::Ready) if slots > 0 || is_pure(open) => {
                if !is_pure(open) {
                    slots -= 1;
                }
                let counted = counted(session, open, agent, &frame);
                book(&counted, &mut frame.allowance);
                records.push(start_tool(*id, open, counted, &frame));
            }
            _ => {}
        }
    }
    records
}

fn not_a_call(place: usize, repeats: usize) -> Verdict {
    if place > limits::CALLS_PER_STEP_MAX {
        Verdict::TooMany
    } else if repeats >= limits::REPEAT_BLOCK - 1 {
        blocked(repeats)
    } else {
        Verdict::Invalid { why: Invalid::UnknownTool, detail: None }
    }
}

fn blocked(repeats: usize) -> Verdict {
    Verdict::Blocked { repeats: u32::try_from(repeats).unwrap_or(u32::MAX) }
}

/// Another policy judged it, or the yes that it had is too old, or was said to another action.
fn is_outdated(session: &Session, effect: EffectId, call: &CallRef, was: &JudgedFacts, frame: &Frame<'_>) -> bool {
    let (facts, named, policy) = (&was.facts, &was.named, frame.policy);
    let is_void = |Approved { by, approvers, until, digest, by_person: _ }: &Approved| {
        let asked = Asking { session, effect, call, facts, named, by, approvers, expires_at: *until, policy };
        *until <= frame.now || asked.digest() != *digest
    };
    was.epoch != frame.policy.epoch || was.approved.as_ref().is_some_and(is_void)
}

/// Whether the rules say the same now: hours may have passed since. A yes that a person gave stands
/// in for the ask that it answered, and for nothing else.
fn still_stands(session: &Session, effect: EffectId, call: &CallRef, was: &JudgedFacts, frame: &Frame<'_>) -> bool {
    match judge(session, effect, call, &was.facts, &was.named, frame).verdict {
        Verdict::Allow { .. } => true,
        Verdict::Ask { by, approvers, .. } => {
            was.approved.as_ref().is_some_and(|yes| (&yes.by, &yes.approvers) == (&by, &approvers))
        }
        Verdict::Parked { .. }
        | Verdict::Deny { .. }
        | Verdict::Invalid { .. }
        | Verdict::Blocked { .. }
        | Verdict::TooMany => false,
    }
}

fn judged_again(effect: EffectId, was: &JudgedFacts, judgement: Judgement, frame: &Frame<'_>) -> Record {
    Record::Judged(Judged {
        effect,
        epoch: frame.policy.epoch,
        facts: Some(was.facts.clone()),
        idempotency: was.idempotency,
        answerer: was.answerer,
        verdict: judgement.verdict,
        grounds: Some(Box::new(judgement.grounds)),
    })
}

fn is_pure(open: &Open) -> bool {
    matches!(&open.work, Work::Tool { judged: Some(judged), .. } if judged.idempotency == Idempotency::Pure)
}

/// What the call takes of the limits of rules.
fn counted(session: &Session, open: &Open, agent: &Agent, frame: &Frame<'_>) -> Vec<Counted> {
    let Work::Tool { call, judged: Some(judged), .. } = &open.work else { return Vec::new() };
    let subject =
        call.tool.as_deref().and_then(|tool| Subject::of(session, tool, (&judged.facts, &judged.named), frame));
    match subject.filter(|_| !open.is_counted) {
        Some(subject) => {
            let lifted = judged.approved.as_ref().is_some_and(|yes| yes.by.is_limit());
            limit::counted(&agent.rules, &subject, lifted)
        }
        None => Vec::new(),
    }
}

fn book(counted: &[Counted], allowance: &mut [WindowState]) {
    for Counted { window, units, .. } in counted {
        let state = allowance.iter_mut().find(|state| state.window.key == *window);
        if let Some(WindowState { used, .. }) = state {
            used.reserved = used.reserved.plus(limit::amount(*units));
        }
    }
}

fn start_tool(effect: EffectId, open: &Open, counted: Vec<Counted>, frame: &Frame<'_>) -> Record {
    Record::Started(Started {
        effect,
        at: frame.now,
        boot: frame.boot,
        epoch: frame.policy.epoch,
        attempt: open.attempt.saturating_add(1),
        request: None,
        reservation: None,
        counted,
    })
}
