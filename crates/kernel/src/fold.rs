//! What each record does to a session.
//!
//! [`apply`] is total and reads no body and no clock: a record that does not fit is skipped, since
//! records were checked when they were decided and recovery never decides again.
mod changes;
mod lookups;
mod verdict;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::budget::Amount;
use crate::context::{Answer, Item, Note, Notice};
use crate::effect::CallRef;
use crate::flow::is_irreversible;
use crate::home::Speaks;
use crate::id::{EffectId, Millis, Seq};
use crate::label::{Label, Source};
use crate::record::{Admitted, BounceReason, Completion, End, Ended, Planned, Record, Resolution, Retried, Started};
use crate::session::{Billed, Open, Scope, Session, Slot, State, Step, Turn, Waiting, Work};
use crate::tool::{EffectClass, Idempotency};

/// Folds one record into the state.
pub fn apply(session: &mut Session, record: &Record) {
    session.seq = session.seq.next();
    if let Record::Judged(_) | Record::Edited { .. } = record {
        session.take_in(record.label(session.label));
    }
    match record {
        Record::Opened(opened) => {
            session.agent.clone_from(&opened.agent);
            session.principal.clone_from(&opened.principal);
            session.channel.clone_from(&opened.channel);
            session.lineage = opened.lineage;
            session.take_in(Some(Label::of(Source::Config)));
        }
        Record::Admitted(admitted) => admit(session, admitted),
        Record::TurnStarted(started) => start_turn(session, &started.messages),
        Record::Entered { messages } => enter(session, messages),
        Record::Windowed { first } => window(session, *first),
        Record::Planned(planned) => plan(session, planned),
        Record::Judged(judged) => verdict::judge(session, judged),
        Record::Decided { effect, decision, by, speaks, .. } => {
            verdict::decided(session, *effect, *decision, (by.as_deref(), *speaks));
        }
        Record::Edited { effect, by, speaks, call, .. } => verdict::edited(session, *effect, (by, *speaks), call),
        Record::Answered { effect, body, by, label, typed } => {
            session.effects.remove(effect);
            let seq = session.seq;
            session.hear(seq, by, *body, typed.as_ref());
            if let (None, Some(turn)) = (typed, &mut session.turn) {
                turn.speaks = Some(Speaks::Program);
            }
            session.take_in(Some(*label));
            let answer = Answer::Body { body: *body, warned: false };
            finish_call(session, *effect, answer, |c| &mut c.done, true);
        }
        Record::Started(started) => start(session, started),
        Record::Unfunded { effect, until, .. } => unfunded(session, *effect, *until),
        Record::Overdue { effect } => overdue(session, *effect),
        Record::Bounced { effect, why } => bounce(session, *effect, *why),
        Record::Retried(retried) => retry(session, retried),
        Record::Lapsed { effect, .. } => lapse(session, *effect),
        Record::Connected { .. } => {}
        Record::Created { effect, id } => session.create(*effect, *id),
        Record::Scoped(scoped) => session.widen(scoped),
        Record::Doubted { effect, .. } => {
            count(session, *effect);
            leave_started(session, *effect, State::Doubt, None, false);
        }
        Record::Resolved { effect, resolution, .. } => resolve(session, *effect, *resolution),
        Record::Ended(ended) => {
            session.take_in(record.label(session.label).filter(|_| enters(&ended.end)));
            end(session, ended);
        }
        Record::Cancelled { turn, .. } => {
            if let Some(open) = session.turn.as_mut().filter(|open| open.id == *turn) {
                open.cancelled = true;
            }
        }
        Record::TurnEnded(_) => end_turn(session),
        Record::Stopped { .. } => session.stopped = true,
        Record::Resumed { .. } => {
            session.stopped = false;
            session.asks.resumed();
        }
        Record::Lineage { new, .. } => {
            session.lineage = *new;
            unjudge(session);
            distrust(session);
            session.tell(Notice::Restored);
        }
    }
}

/// A verdict and a yes hold under one lineage, as the digest of an approval does: another home counts
/// its policies for itself.
fn unjudge(session: &mut Session) {
    for open in session.effects.values_mut() {
        if let Work::Tool { judged: Some(judged), .. } = &mut open.work {
            (judged.epoch, judged.approved) = (0, None);
        }
    }
}

/// Who wrote the journal until here is not known to this home: nothing of it gives reasons for an act.
fn distrust(session: &mut Session) {
    let elsewhere = Label::of(Source::Elsewhere);
    session.take_in(Some(elsewhere));
    for waiting in session.queue.iter_mut().filter(|waiting| !waiting.is_quoted()) {
        waiting.label = waiting.label.join(elsewhere);
        waiting.typed = None;
    }
    session.created.clear();
    if let Some(turn) = &mut session.turn {
        turn.speaks = None;
        turn.said.clear();
        turn.scope = Scope::default();
    }
}

fn admit(session: &mut Session, admitted: &Admitted) {
    session.queue.push_back(Waiting {
        seq: session.seq,
        principal: admitted.principal.clone(),
        channel: admitted.channel.clone(),
        mode: admitted.mode,
        body: admitted.body,
        label: admitted.label,
        typed: admitted.typed.clone(),
    });
}

fn start_turn(session: &mut Session, messages: &[Seq]) {
    let mut entering = session.queue.iter().filter(|waiting| messages.contains(&waiting.seq));
    let speaks = entering.clone().find(|waiting| !waiting.is_quoted()).and_then(Waiting::speaks);
    let first = entering.next();
    let (principal, channel) = first.map(|w| (w.principal.clone(), w.channel.clone())).unwrap_or_default();
    session.turn = Some(Turn {
        id: messages.last().copied().unwrap_or(session.seq),
        principal,
        channel,
        speaks,
        label_before: session.label,
        said: Vec::new(),
        spent_warrants: Vec::new(),
        refused: Vec::new(),
        scope: Scope::default(),
        step: Step::Next,
        steps: 0,
        tool_calls: 0,
        failing: 0,
        spent: Amount::ZERO,
        reserved: Amount::ZERO,
        worked_ms: 0,
        running: 0,
        running_since: 0,
        cancelled: false,
        shrunk: false,
        pinned: None,
        completion: Completion::default(),
    });
    enter(session, messages);
}

fn enter(session: &mut Session, messages: &[Seq]) {
    let (entering, staying) = session.queue.drain(..).partition::<VecDeque<_>, _>(|w| messages.contains(&w.seq));
    session.queue = staying;
    for waiting in entering {
        session.take_in(Some(waiting.label));
        session.hear(waiting.seq, &waiting.principal, waiting.body, waiting.typed.as_ref());
        if let (false, Some(turn)) = (waiting.is_quoted(), &mut session.turn) {
            turn.speaks = Speaks::of_both(turn.speaks, waiting.speaks());
        }
        session.items.push_back(Item::User { body: waiting.body, label: waiting.label });
    }
    session.repeats.clear();
    if let Some(turn) = &mut session.turn {
        turn.failing = 0;
    }
    // The model's last word came before theirs.
    if let Some(turn) = session.turn.as_mut().filter(|turn| matches!(turn.step, Step::Final { .. })) {
        turn.step = Step::Next;
    }
}

fn window(session: &mut Session, first: u64) {
    while session.first_item < first {
        let Some(item) = session.items.pop_front() else { return };
        session.first_item += 1;
        // Once the window has passed every turn but the open one, its message stays in view.
        let in_turn = !session.items.iter().any(|i| matches!(i, Item::User { .. }));
        if let (true, Item::User { .. }, Some(turn)) = (in_turn, &item, &mut session.turn) {
            turn.pinned.get_or_insert(item);
        }
    }
    // Cut because the provider found the request too large: try once more with what is left.
    if let Some(turn) = session.turn.as_mut().filter(|turn| matches!(turn.step, Step::Broken(_))) {
        turn.shrunk = true;
        turn.step = Step::Next;
    }
}

fn plan(session: &mut Session, planned: &Planned) {
    let id = session.seq;
    let Some(turn) = &mut session.turn else { return };
    let mut looks_for = None;
    let work = match planned {
        Planned::Model { turn: of, model, output_tokens_max }
        | Planned::Scope { turn: of, model, output_tokens_max } => {
            let plans = matches!(planned, Planned::Scope { .. });
            if plans {
                (turn.scope.earlier, turn.scope.planned) = (turn.scope.planned, turn.said.len());
            }
            turn.steps = turn.steps.saturating_add(1);
            turn.step = Step::Model(id);
            Work::Model { turn: *of, model: model.clone(), output_tokens_max: *output_tokens_max, plans }
        }
        Planned::Tool { turn: of, call } => {
            turn.tool_calls = turn.tool_calls.saturating_add(1);
            if let Step::Calls { slots, .. } = &mut turn.step {
                slots.push(Slot { effect: id, edited: None, answer: None });
            }
            Work::Tool { turn: *of, call: call.clone(), judged: None }
        }
        Planned::Lookup { turn: in_turn, of, call } => {
            turn.tool_calls = turn.tool_calls.saturating_add(1);
            looks_for = Some(*of);
            Work::Tool { turn: *in_turn, call: call.clone(), judged: None }
        }
    };
    let open = Open {
        work,
        state: State::Planned,
        attempt: 0,
        failures: 0,
        failing_since: None,
        provider_waits: 0,
        request_bytes: 0,
        unsure: false,
        is_counted: false,
        looks_for,
        found: Vec::new(),
        edit: None,
    };
    session.effects.insert(id, open);
}

fn complete(session: &mut Session, effect: EffectId, list: fn(&mut Completion) -> &mut Vec<EffectId>) {
    if let Some(turn) = &mut session.turn {
        list(&mut turn.completion).push(effect);
    }
}

fn start(session: &mut Session, started: &Started) {
    let seq = session.seq;
    let Some(open) = session.effects.get_mut(&started.effect) else { return };
    open.attempt = started.attempt;
    open.request_bytes = started.request.map_or(0, |request| request.bytes);
    let Started { boot, epoch, reservation, counted, .. } = started.clone();
    open.state = State::Started { seq, boot, epoch, reservation, counted, overdue: false };
    if let Work::Tool { judged: Some(judged), .. } = &open.work {
        if let Some(composed) = &judged.composed {
            session.composed.entry(composed.host.clone()).or_default().add(composed.bytes, started.at);
        }
        let warrant = judged.named.warrant.clone().filter(|_| is_irreversible(&judged.facts));
        if let (Some(warrant), Some(turn)) = (warrant, &mut session.turn) {
            turn.spent_warrants.push(warrant);
        }
        session.take_of_scope(started.effect);
    }
    if let Some(reservation) = &started.reservation {
        session.reserved = session.reserved.plus(reservation.amount);
        if let Some(turn) = &mut session.turn {
            turn.reserved = turn.reserved.plus(reservation.amount);
        }
    }
    session.begin_running(started.at);
}

fn unfunded(session: &mut Session, effect: EffectId, until: Millis) {
    if let Some(open) = session.effects.get_mut(&effect) {
        open.state = State::Unfunded { until };
    }
}

fn overdue(session: &mut Session, effect: EffectId) {
    if let Some(State::Started { overdue, .. }) = session.effects.get_mut(&effect).map(|open| &mut open.state) {
        *overdue = true;
    }
}

/// Takes a started effect back to `state`; `release` gives its reservation back, otherwise it
/// stays as possibly billed.
fn leave_started(session: &mut Session, effect: EffectId, state: State, at: Option<Millis>, release: bool) {
    let Some(open) = session.effects.get_mut(&effect) else { return };
    let turn = open.work.turn();
    let before = core::mem::replace(&mut open.state, state);
    let State::Started { reservation, .. } = before else { return };
    session.end_running(turn, at);
    if release {
        session.settle(turn, reservation.as_ref(), Amount::ZERO);
    }
}

/// Nothing was done: back to where the effect waited to be started.
fn bounce(session: &mut Session, effect: EffectId, why: BounceReason) {
    let Some(open) = session.effects.get_mut(&effect) else { return };
    let state = match (&mut open.work, why) {
        (Work::Model { .. }, _) => State::Planned,
        (Work::Tool { judged, .. }, BounceReason::FactsChanged) => {
            *judged = None;
            open.found.clear();
            State::Planned
        }
        (Work::Tool { .. }, _) => State::Ready,
    };
    leave_started(session, effect, state, None, true);
}

fn retry(session: &mut Session, retried: &Retried) {
    let state = State::Backoff { not_before: retried.not_before, provider_wait: retried.provider_wait };
    leave_started(session, retried.effect, state, Some(retried.at), !retried.possibly_billed);
    let Some(open) = session.effects.get_mut(&retried.effect) else { return };
    open.failures = open.failures.saturating_add(1);
    open.failing_since.get_or_insert(retried.at);
    if retried.provider_wait {
        open.provider_waits = open.provider_waits.saturating_add(1);
    }
}

/// What may have happened has taken its shares.
fn count(session: &mut Session, effect: EffectId) {
    if let Some(open) = session.effects.get_mut(&effect) {
        open.is_counted |= matches!(open.state, State::Started { .. });
    }
}

fn lapse(session: &mut Session, effect: EffectId) {
    count(session, effect);
    let Some(open) = session.effects.get_mut(&effect) else { return };
    if matches!(open.work, Work::Tool { .. }) {
        open.failures = open.failures.saturating_add(1);
    }
    let state = match &open.work {
        Work::Model { .. } => State::Planned,
        Work::Tool { judged: Some(judged), .. } if judged.idempotency == Idempotency::Probed => State::Probing,
        Work::Tool { judged, .. } => {
            let pure = judged.as_ref().is_some_and(|j| j.idempotency == Idempotency::Pure);
            open.unsure = !pure;
            State::Ready
        }
    };
    leave_started(session, effect, state, None, false);
}

fn resolve(session: &mut Session, effect: EffectId, resolution: Resolution) {
    match resolution {
        Resolution::Retry => {
            if let Some(open) = session.effects.get_mut(&effect) {
                // A probe is sure that nothing happened; a person only wants it done.
                open.unsure = open.state == State::Doubt;
                // What a restore put in doubt may never have been looked at, or by another policy only.
                let Work::Tool { judged, .. } = &mut open.work else { return };
                *judged = judged.take().filter(|judged| judged.epoch > 0);
                open.state = if judged.is_some() { State::Ready } else { State::Planned };
            }
        }
        Resolution::Done => conclude(session, effect, true),
        Resolution::NotDone => conclude(session, effect, false),
    }
}

fn conclude(session: &mut Session, effect: EffectId, done: bool) {
    if let Some(open) = session.effects.remove(&effect) {
        if lookups::told(session, &open, None) {
            return;
        }
        session.count_failing(open.work.turn(), done);
    }
    let (note, list): (_, fn(&mut Completion) -> &mut Vec<EffectId>) =
        if done { (Note::ConcludedDone, |c| &mut c.done) } else { (Note::ConcludedNotDone, |c| &mut c.failed) };
    finish_call(session, effect, Answer::Note(note), list, done);
}

/// Answers the call, or, where its turn is over, says in the context what has become of it.
fn finish_call(
    session: &mut Session,
    effect: EffectId,
    answer: Answer,
    list: fn(&mut Completion) -> &mut Vec<EffectId>,
    done: bool,
) {
    if session.answer(effect, answer) {
        complete(session, effect, list);
    } else {
        session.tell(Notice::LaterTruth { done });
    }
}

/// Whether the model is shown the text of it.
fn enters(end: &End) -> bool {
    match end {
        End::Replied { .. } | End::Done { .. } | End::Failed { .. } => true,
        End::ModelFailed { .. } | End::Concluded { .. } | End::NotStarted | End::Unknown => false,
    }
}

fn end(session: &mut Session, ended: &Ended) {
    let Some(open) = session.effects.remove(&ended.effect) else { return };
    let turn = open.work.turn();
    if let State::Started { reservation, .. } = &open.state {
        session.end_running(turn, Some(ended.at));
        // Without a bill the reservation stays, as possibly billed.
        if let Some(spent) = ended.spent {
            session.settle(turn, reservation.as_ref(), spent);
        }
    }
    if lookups::told(session, &open, lookups::list(ended)) {
        return;
    }
    match open.work {
        Work::Model { plans: true, .. } => end_plan(session, ended),
        Work::Model { plans: false, .. } => end_model(session, open.request_bytes, ended),
        Work::Tool { call, judged, .. } => {
            if let Some(done) = is_done(&ended.end) {
                session.count_failing(turn, done);
            }
            let only_reads = judged.is_some_and(|judged| judged.facts.class == EffectClass::Read);
            end_tool(session, &call, open.unsure && !only_reads, ended);
        }
    }
}

/// Whether a call that ended so was done; `None`: it was not made.
fn is_done(end: &End) -> Option<bool> {
    match end {
        End::Done { .. } => Some(true),
        End::Failed { .. } | End::Unknown => Some(false),
        End::Concluded { done, .. } => Some(*done),
        End::Replied { .. } | End::ModelFailed { .. } | End::NotStarted => None,
    }
}

/// The model that acts is told nothing of it; without a plan the person wants nothing.
fn end_plan(session: &mut Session, ended: &Ended) {
    let over = matches!(ended.end, End::Replied { .. } | End::ModelFailed { .. });
    if let Some(turn) = session.turn.as_mut().filter(|turn| over && turn.step == Step::Model(ended.effect)) {
        turn.step = Step::Next;
    }
}

fn end_model(session: &mut Session, request_bytes: u64, ended: &Ended) {
    let Some(turn) = session.turn.as_mut().filter(|turn| turn.step == Step::Model(ended.effect)) else {
        return;
    };
    if let End::ModelFailed { class, .. } = &ended.end {
        turn.step = Step::Broken((*class).into());
        return;
    }
    let End::Replied { text, calls, count, finish, usage, .. } = &ended.end else { return };
    if let Some(usage) = usage {
        session.billed = Some(Billed { bytes: request_bytes, input_tokens: usage.input() });
    }
    turn.step = match calls {
        Some(calls) => Step::Calls { calls: *calls, count: *count, slots: Vec::new() },
        None => Step::Final { text: *text, finish: *finish },
    };
    if text.is_some() || calls.is_some() {
        session.items.push_back(Item::Assistant { text: *text, calls: *calls });
    }
}

/// `unsure`: an earlier attempt may have done it, whatever became of this one.
fn end_tool(session: &mut Session, call: &CallRef, unsure: bool, ended: &Ended) {
    match &ended.end {
        End::Done { result, repeat, warned, .. } => {
            session.remember_repeat(call.repeat, Some(*repeat));
            let answer = Answer::Body { body: *result, warned: *warned };
            finish_call(session, ended.effect, answer, |c| &mut c.done, true);
        }
        End::Failed { result, repeat, .. } => {
            session.remember_repeat(call.repeat, Some(*repeat));
            let answer = Answer::Body { body: *result, warned: false };
            let list: fn(&mut Completion) -> &mut Vec<EffectId> =
                if unsure { |c| &mut c.unknown } else { |c| &mut c.failed };
            finish_call(session, ended.effect, answer, list, false);
        }
        End::Concluded { done, .. } => {
            session.remember_repeat(call.repeat, None);
            conclude(session, ended.effect, *done);
        }
        End::NotStarted => {
            let answer = Answer::Note(Note::NotStarted);
            finish_call(session, ended.effect, answer, |c| &mut c.not_started, false);
        }
        // Past the turn's end there is nothing to add: the call was answered "unknown" then.
        End::Unknown => {
            session.remember_repeat(call.repeat, None);
            if session.answer(ended.effect, Answer::Note(Note::Unknown)) {
                complete(session, ended.effect, |c| &mut c.unknown);
            }
        }
        End::Replied { .. } | End::ModelFailed { .. } => {}
    }
}

/// Calls that are still open past their turn are answered "unknown": every call has its answer
/// (I4), and the later truth is a new item.
fn end_turn(session: &mut Session) {
    let Some(turn) = session.turn.take() else { return };
    session.asks.turn_ended();
    let Step::Calls { calls, slots, .. } = turn.step else { return };
    let answers = slots.into_iter().map(|mut slot| {
        let open = session.effects.contains_key(&slot.effect);
        let note = if open { Note::Unknown } else { Note::NotStarted };
        slot.answer.take().unwrap_or_else(|| slot.told(Answer::Note(note)))
    });
    let answers = answers.collect();
    session.items.push_back(Item::Results { calls, answers });
}
