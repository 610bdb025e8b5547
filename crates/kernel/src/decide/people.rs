//! What people and programs say: messages, yes and no, answers, resolutions, stop.
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Decide, Message};
use crate::effect::CallRef;
use crate::frame::Frame;
use crate::home::Speaks;
use crate::id::{BodyRef, EffectId, TurnId};
use crate::label::{Label, Source};
use crate::limits::{DENIALS_MAX, EDITS_MAX, QUEUE_MAX};
use crate::permit::is_wanted;
use crate::record::{Admitted, Decision, Mode, Reason, Record, Resolution};
use crate::refusal::{Code, Refusal};
use crate::rule::AT_HOME;
use crate::session::{Open, Session, State, Work};
use crate::words::Typed;

pub fn message(session: &Session, message: Message, frame: &Frame<'_>) -> Result<Vec<Record>, Refusal> {
    if session.stopped {
        let next = format!("backstay resume {}", session.id);
        let message = if session.asks.stop_the_session() {
            format!("this session is stopped: {DENIALS_MAX} of its asks were denied or expired")
        } else {
            String::from("this session is stopped")
        };
        return Err(Refusal::new(Code::SessionStopped, message, next));
    }
    if frame.switches.frozen {
        return Err(Refusal::new(Code::HomeFrozen, "this home is frozen", "backstay unfreeze"));
    }
    if let (Mode::Queue, Some(effect)) = (message.mode, open_question(session)) {
        return answer(session, effect, message.body, message.principal, message.typed);
    }
    let own = session.queue.iter().filter(|waiting| !waiting.is_quoted());
    // An interrupt waits for nobody, so there is always room for one.
    let most = QUEUE_MAX + usize::from(message.mode == Mode::Interrupt);
    if own.count() >= most {
        return Err(Refusal::new(
            Code::QueueFull,
            format!("{QUEUE_MAX} messages wait in this session already"),
            "wait for the turn to end, or send with mode `interrupt`",
        ));
    }
    let mut records = Vec::new();
    let open = session.turn.as_ref().filter(|turn| !turn.cancelled);
    if let (Mode::Interrupt, Some(turn)) = (message.mode, open) {
        records.push(Record::Cancelled { turn: turn.id, by: message.principal.clone() });
    }
    let admit = |body, label, typed| {
        Record::Admitted(Admitted {
            principal: message.principal.clone(),
            channel: message.channel.clone(),
            mode: message.mode,
            body,
            label,
            typed,
        })
    };
    records.extend(message.quoted.iter().map(|body| admit(*body, Label::of(Source::Quoted), None)));
    records.push(admit(message.body, label_of(message.typed.as_ref()), message.typed.clone()));
    Ok(records)
}

/// What a program says may be anybody's.
fn label_of(typed: Option<&Typed>) -> Label {
    typed.map_or(Label::of(Source::Principal), Typed::label)
}

fn open_question(session: &Session) -> Option<EffectId> {
    session.effects.iter().find(|(_, open)| open.state == State::Question).map(|(id, _)| *id)
}

pub fn decide(session: &Session, decide: Decide, frame: &Frame<'_>) -> Result<Vec<Record>, Refusal> {
    let open = asked(session, &decide, frame)?;
    if decide.approve {
        may_say_yes(session, open, &decide, frame)?;
        says_it_once(open, &decide)?;
        is_anothers(open, &decide)?;
    }
    let decision = if decide.approve { Decision::Approve } else { Decision::Deny };
    let (effect, by, speaks) = (decide.effect, Some(decide.by), Some(decide.speaks));
    Ok(Vec::from([Record::Decided { effect, decision, by, speaks, note: decide.note }]))
}

/// Editing is no yes: the call is looked at and judged as any other. So only its arguments are new, and they are taken
/// from those alone whose yes would count.
pub fn edit(session: &Session, word: Decide, call: Option<CallRef>, frame: &Frame<'_>) -> Result<Vec<Record>, Refusal> {
    let open = asked(session, &word, frame)?;
    may_say_yes(session, open, &word, frame)?;
    let call = editable(open, call).map_err(|why| {
        let next = "answer it as it stands, or deny it and say in a message what is wanted";
        Refusal::new(Code::NotEditable, format!("this call cannot be edited: {why}"), next)
    })?;
    let Decide { effect, by, speaks, note, .. } = word;
    Ok(Vec::from([Record::Edited { effect, by, speaks, call, note }]))
}

fn editable(open: &Open, call: Option<CallRef>) -> Result<CallRef, String> {
    let Work::Tool { call: was, .. } = &open.work else { return Err(String::from("it calls no tool")) };
    if open.looks_for.is_some() {
        return Err(String::from("the runtime itself makes it, to judge another"));
    }
    // What it was then is what is in doubt, and what has taken its shares of limits.
    if open.unsure || open.is_counted {
        return Err(String::from("an earlier attempt of it may have happened"));
    }
    if open.edit.as_ref().is_some_and(|edit| edit.times >= EDITS_MAX) {
        return Err(format!("it was edited {EDITS_MAX} times"));
    }
    match call {
        Some(call) if call.tool != was.tool => Err(String::from("another tool is another call")),
        Some(call) if call.repeat == was.repeat => Err(String::from("these are the arguments that it has")),
        Some(call) => Ok(call),
        None => Err(String::from("its arguments are a JSON object, and what it was must not be erased")),
    }
}

/// The ask that is answered, by one of its approvers, in time, as it was shown.
fn asked<'a>(session: &'a Session, decide: &Decide, frame: &Frame<'_>) -> Result<&'a Open, Refusal> {
    const LIST: &str = "see `backstay approvals` for what is open";
    let Some(open) = session.effects.get(&decide.effect) else {
        return Err(Refusal::new(Code::AskClosed, "this approval is used, expired or withdrawn", LIST));
    };
    if let State::Parked { .. } = open.state {
        let message = "this call is parked: it will be asked about once there is room for its ask";
        return Err(Refusal::new(Code::NoSuchAsk, message, LIST));
    }
    let State::Asked { approvers, expires_at, digest, .. } = &open.state else {
        return Err(Refusal::new(Code::AskClosed, "this approval is used, expired or withdrawn", LIST));
    };
    if *digest != decide.digest {
        return Err(Refusal::new(
            Code::WrongDigest,
            "the digest is not that of the action that waits",
            "look at the action again and send the digest that it shows",
        ));
    }
    if !approvers.include(&decide.by, decide.role) {
        return Err(Refusal::new(
            Code::NotAnApprover,
            format!("`{}` may not answer this ask", decide.by),
            "ask one of the approvers that the item names",
        ));
    }
    if *expires_at <= frame.now {
        return Err(Refusal::new(Code::AskClosed, "this approval has expired", LIST));
    }
    Ok(open)
}

const SEE: &str = "`backstay approvals` names whose yes is wanted, and where";

/// A no is taken from every approver. A yes is taken from those alone whose yes the ask wants.
fn may_say_yes(session: &Session, open: &Open, decide: &Decide, frame: &Frame<'_>) -> Result<(), Refusal> {
    let (Work::Tool { judged: Some(judged), .. }, State::Asked { by, approvers, .. }) = (&open.work, &open.state)
    else {
        return Err(Refusal::new(Code::AskClosed, "this approval is used, expired or withdrawn", SEE));
    };
    if wanted_speaker(session, by, frame).is_some_and(|wanted| wanted != decide.speaks) {
        return Err(Refusal::new(
            Code::NotAnApprover,
            "the rule asks for a person's yes, and this is a program's",
            "answer at a terminal, or with a token made by `backstay tokens create --principal NAME --speaks human --scope approve`",
        ));
    }
    let at_home = judged.facts.stays_done();
    if !approvers.hear(&decide.channel) || (at_home && decide.channel != AT_HOME) {
        let message = format!("a yes to this does not count at the door `{}`", decide.channel);
        return Err(Refusal::new(Code::WrongDoor, message, SEE));
    }
    let requester = session.turn.as_ref().map(|turn| turn.principal.as_str());
    if approvers.but_requester && requester == Some(decide.by.as_str()) {
        let message = format!("`{}` asked for this, and the rule wants somebody else's yes", decide.by);
        return Err(Refusal::new(Code::NotAnApprover, message, SEE));
    }
    Ok(())
}

/// Where the rule wants somebody else than who asks for it, who wrote it is one of those.
fn is_anothers(open: &Open, decide: &Decide) -> Result<(), Refusal> {
    let State::Asked { approvers, .. } = &open.state else { return Ok(()) };
    if approvers.but_requester && open.edit.as_ref().is_some_and(|edit| edit.by == decide.by) {
        let message = format!("`{}` gave it its arguments, and the rule wants somebody else's yes", decide.by);
        return Err(Refusal::new(Code::NotAnApprover, message, SEE));
    }
    Ok(())
}

fn says_it_once(open: &Open, decide: &Decide) -> Result<(), Refusal> {
    if matches!(&open.state, State::Asked { yes, .. } if yes.contains(&decide.by)) {
        let message = format!("`{}` has said yes to this already; each person's yes counts once", decide.by);
        return Err(Refusal::new(Code::AlreadyApproved, message, SEE));
    }
    Ok(())
}

/// As the rule has it now; where it has changed since, the call is judged anew before it starts.
fn wanted_speaker(session: &Session, by: &Reason, frame: &Frame<'_>) -> Option<Speaks> {
    let name = by.rule()?;
    let agent = frame.policy.agents.get(&session.agent)?;
    agent.rules.iter().find(|rule| rule.name == name)?.speaks
}

pub fn answer(
    session: &Session,
    effect: EffectId,
    body: BodyRef,
    by: String,
    typed: Option<Typed>,
) -> Result<Vec<Record>, Refusal> {
    match session.effects.get(&effect).map(|open| &open.state) {
        Some(State::Question) => {
            Ok(Vec::from([Record::Answered { effect, body, by, label: label_of(typed.as_ref()), typed }]))
        }
        _ => Err(Refusal::new(
            Code::NoSuchQuestion,
            "no question of this id waits for an answer",
            "see `backstay status` for what waits",
        )),
    }
}

pub fn resolve(
    session: &Session,
    effect: EffectId,
    resolution: Resolution,
    by: String,
    note: BodyRef,
) -> Result<Vec<Record>, Refusal> {
    match session.effects.get(&effect) {
        // After its turn has ended nobody waits for a second try any more.
        Some(open) if open.state == State::Doubt && (resolution != Resolution::Retry || is_wanted(session, open)) => {
            Ok(Vec::from([Record::Resolved { effect, resolution, by: Some(by), note: Some(note) }]))
        }
        _ => Err(Refusal::new(
            Code::NoSuchDoubt,
            "no effect of this id is in doubt, or its turn is over and it cannot be retried",
            "see `backstay doubts`",
        )),
    }
}

pub fn cancel(session: &Session, turn: Option<TurnId>, by: String) -> Result<Vec<Record>, Refusal> {
    match &session.turn {
        Some(open) if !open.cancelled && turn.is_none_or(|turn| turn == open.id) => {
            Ok(Vec::from([Record::Cancelled { turn: open.id, by }]))
        }
        _ => Err(Refusal::new(Code::NothingToStop, "no such turn is open", "see `backstay status`")),
    }
}

pub fn stop(session: &Session, by: String) -> Vec<Record> {
    let mut records = Vec::new();
    if session.stopped {
        return records;
    }
    if let Some(turn) = session.turn.as_ref().filter(|turn| !turn.cancelled) {
        records.push(Record::Cancelled { turn: turn.id, by: by.clone() });
    }
    records.push(Record::Stopped { by });
    records
}

/// After too many noes a program is not enough: what asks may be what resumes.
pub fn resume(session: &Session, by: String, speaks: Speaks) -> Result<Vec<Record>, Refusal> {
    if !session.stopped {
        return Ok(Vec::new());
    }
    if session.asks.stop_the_session() && speaks != Speaks::Human {
        return Err(Refusal::new(
            Code::NotAnApprover,
            format!("people have said no {DENIALS_MAX} times in this session, and only a person lets it go on"),
            "do it at a terminal, or with a token made by `backstay tokens create --principal NAME --speaks human --scope operate`",
        ));
    }
    Ok(Vec::from([Record::Resumed { by }]))
}

/// After a restore: whatever was on its way in the backup may have happened since, so nothing of
/// it is started again without a resolution; pure effects and model calls are harmless.
pub fn lineage(session: &Session, old: u64, new: u64) -> Vec<Record> {
    if session.lineage == new {
        return Vec::new();
    }
    let mut records = Vec::from([Record::Lineage { old, new, from: session.seq.next() }]);
    for (id, open) in &session.effects {
        if super::outcome::may_have_happened(open) {
            records.push(Record::Doubted { effect: *id, boot: crate::id::Boot(0) });
        }
    }
    records
}
