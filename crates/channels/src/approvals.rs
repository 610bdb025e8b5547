//! What waits for a person's yes or for a person's words.
use std::ops::ControlFlow;

use axum::Json;
use axum::extract::State;
use backstay_engine::{Command, Refused};
use backstay_kernel::flow::Flow;
use backstay_kernel::id::{Digest, Place, Seq, TurnId};
use backstay_kernel::record::{Judged, Planned, Reason, Record, Verdict};
use backstay_kernel::refusal::{Code, Refusal};
use backstay_kernel::rule::{Approvers, Who};
use backstay_kernel::session::{self, Edit, Open, Session, Work};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::auth::Speaker;
use crate::card::{Action, tool_call};
use crate::door::Door;
use crate::error::Problem;
use crate::input::{At, Input, Keyed};
use crate::rows::Row;
use crate::waits::{self, Kind, Waiting, question_of};

pub async fn list(speaker: Speaker, State(door): State<Door>) -> Result<Json<Value>, Problem> {
    let found = door.off_thread(move |door| {
        let (mut items, mut parked) = (Vec::new(), Vec::new());
        let may = |kind: &Kind| may_answer(&speaker, kind);
        let unreadable = door.waiting(&speaker, Some(&may), |row, state, waiting| {
            if let Kind::Parked { by, until } = &waiting.kind {
                let (call, facts) = door.call_of(state, waiting.effect)?;
                parked.push(json!({
                    "id": waiting.place().to_string(),
                    "session": row.session,
                    "turn": waiting.turn_place().to_string(),
                    "agent": state.agent,
                    "principal": row.principal,
                    "tool": call.tool,
                    "args": call.args,
                    "facts": facts,
                    "rule": rule_name(by),
                    "until": until,
                }));
            }
            items.extend(item(door, row, state, waiting)?);
            Ok(())
        })?;
        Ok(json!({ "approvals": items, "parked": parked, "unreadable": unreadable }))
    });
    Ok(Json(found.await?))
}

/// One of them alone, for whom the list would show it to.
pub async fn one(speaker: Speaker, State(door): State<Door>, At(place): At) -> Result<Json<Value>, Problem> {
    let found = door.off_thread(move |door| {
        let row = door.session(place.session).map_err(|_| no_such_approval())?;
        let state = door.fold(row.session)?;
        let theirs = speaker.sees_all() || row.principal == speaker.caller().principal;
        let mut waits = waits::of_session(&state, door.engine.now()).into_iter();
        let waiting = waits.find(|waiting| waiting.effect == place.seq);
        let waiting = waiting.filter(|waiting| theirs || may_answer(&speaker, &waiting.kind));
        let item = waiting.map(|waiting| item(door, &row, &state, &waiting)).transpose()?;
        item.flatten().ok_or_else(no_such_approval)
    });
    Ok(Json(found.await?))
}

fn may_answer(speaker: &Speaker, kind: &Kind) -> bool {
    let caller = speaker.caller();
    matches!(kind, Kind::Approval { approvers, .. } if approvers.include(&caller.principal, caller.role))
}

/// What a person sees of an action that waits for their yes; nothing of what waits for something else.
fn item(door: &Door, row: &Row, state: &Session, waiting: &Waiting) -> Result<Option<Value>, Problem> {
    let Kind::Approval { by, approvers, expires_at, digest, yes } = &waiting.kind else { return Ok(None) };
    let Some(Open { work: Work::Tool { call, judged: Some(judged), .. }, edit, .. }) =
        state.effects.get(&waiting.effect)
    else {
        return Ok(None);
    };
    let edited = edit.as_ref().map(|edit| {
        let Edit { by, speaks, before, times, .. } = edit;
        let before = door.call_text(before)?.args;
        Ok::<_, Problem>(json!({ "by": by, "speaks": speaks, "times": times, "args_before": before }))
    });
    let text = door.call_text(call)?;
    let policy = door.engine.policy();
    let rules = policy.agents.get(&state.agent).map(|agent| agent.rules.as_slice()).unwrap_or_default();
    let rule = by.rule().and_then(|named| rules.iter().find(|rule| rule.name == named));
    let mut item = json!({
        "id": waiting.place().to_string(),
        "digest": digest,
        "session": row.session,
        "turn": waiting.turn_place().to_string(),
        "agent": state.agent,
        "principal": row.principal,
        "tool": text.tool,
        "args": text.args,
        "facts": judged.facts,
        "rule": rule_name(by),
        "flow": flow_of(by),
        "line": rule.map(|rule| rule.line),
        "reason": rule.and_then(|rule| rule.reason.as_deref()),
        "approvers": approvers_shown(approvers),
        "yes": yes,
        "expires_at": expires_at,
        "edited": edited.transpose()?,
    });
    if let Some(item) = item.as_object_mut() {
        item.extend(door.card(&Action { state, effect: waiting.effect, judged, text: &text }));
    }
    Ok(Some(item))
}

fn rule_name(by: &Reason) -> String {
    match by {
        Reason::Rule(name) => name.clone(),
        Reason::Limit(name) => format!("limit of {name}"),
        Reason::ClassDefault => "class default".to_owned(),
        Reason::NoGrant => "no grant".to_owned(),
        Reason::Refused => "refused before".to_owned(),
        Reason::Standing(_) => "standing yes".to_owned(),
        Reason::Flow(_) => "information flow".to_owned(),
        Reason::Both { by, .. } => format!("{} and information flow", rule_name(by)),
        Reason::Mode { mode, .. } => format!("mode {}", mode.word()),
    }
}

/// Why information flow asks, where it does.
fn flow_of(by: &Reason) -> Option<Flow> {
    match by {
        Reason::Flow(flow) | Reason::Both { flow, .. } => Some(*flow),
        Reason::Rule(_)
        | Reason::Limit(_)
        | Reason::ClassDefault
        | Reason::NoGrant
        | Reason::Refused
        | Reason::Standing(_)
        | Reason::Mode { .. } => None,
    }
}

fn approvers_shown(approvers: &Approvers) -> Value {
    let (key, who) = match &approvers.who {
        Who::Roles(roles) => ("role", json!(roles)),
        Who::Principals(names) => ("principal", json!(names)),
    };
    // As the rule has it: what it does not say is not said here.
    let terms = [
        (key, Some(who)),
        ("quorum", (approvers.quorum > 1).then(|| json!(approvers.quorum))),
        ("distinct_from", approvers.but_requester.then(|| json!(["requester"]))),
        ("channels", (!approvers.channels.is_empty()).then(|| json!(approvers.channels))),
    ];
    terms.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Approve,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    decision: Word,
    digest: Digest,
    note: Option<String>,
    /// A yes for longer than once: to this very call, for so long.
    always_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edited {
    digest: Digest,
    arguments: Map<String, Value>,
    note: Option<String>,
}

/// Other arguments for the call that is asked about. What it is then, and whether that is allowed, asked about or denied,
/// is found out as of any call; this is no yes to it.
pub async fn edit(
    speaker: Speaker,
    State(door): State<Door>,
    At(place): At,
    key: Keyed,
    Input(edited): Input<Edited>,
) -> Result<Json<Value>, Problem> {
    let turn = asked_of(&speaker, &door, place).await?;
    let arguments = Value::Object(edited.arguments).to_string();
    let (tried, shown) = (arguments.clone(), edited.digest);
    door.off_thread(move |door| fits(door, place, shown, tried)).await?;
    let (caller, note) = (speaker.caller(), edited.note.as_deref().unwrap_or_default());
    let named = place.to_string();
    let key = key.for_call("edit", &[named.as_bytes(), &edited.digest.0[..], arguments.as_bytes(), note.as_bytes()]);
    let command = Command::Edit {
        effect: place.seq,
        digest: edited.digest,
        arguments,
        by: caller.principal.clone(),
        role: caller.role,
        channel: caller.channel.clone(),
        speaks: speaker.speaks(),
        note: edited.note,
    };
    let accepted = door.engine.command(caller, place.session, command, key).await?;
    Ok(Json(json!({
        "id": named,
        "edited": true,
        "session": place.session,
        "turn": Place { session: place.session, seq: turn }.to_string(),
        "seq": accepted.seq,
    })))
}

/// Arguments that make no call of the tool change nothing. One that does not wait any more, or was not shown, is the
/// session's to refuse.
fn fits(door: &Door, place: Place, shown: Digest, arguments: String) -> Result<(), Problem> {
    let state = door.fold(place.session)?;
    let call = match state.effects.get(&place.seq) {
        Some(Open { work: Work::Tool { call, .. }, state: session::State::Asked { digest, .. }, .. })
            if *digest == shown =>
        {
            call
        }
        Some(_) | None => return Ok(()),
    };
    let tool = door.call_text(call)?.tool;
    let refused = |Refused { detail, .. }| {
        let next = "send a JSON object that fits the tool's schema; nothing was changed";
        Problem::from(Refusal::new(Code::BadArguments, format!("no call is made of these arguments: {detail}"), next))
    };
    door.engine.world().inspect(&tool_call(&state, tool, arguments)).map(drop).map_err(refused)
}

/// The turn of an ask that this speaker may answer.
async fn asked_of(speaker: &Speaker, door: &Door, place: Place) -> Result<TurnId, Problem> {
    let (turn, approvers) = door.off_thread(move |door| asked(door, place)).await?;
    let caller = speaker.caller();
    if approvers.include(&caller.principal, caller.role) {
        return Ok(turn);
    }
    door.session_of(speaker, place.session).await.map_err(|_| no_such_approval())?;
    let message = format!("`{}` may not answer this ask", caller.principal);
    Err(Refusal::new(Code::NotAnApprover, message, "ask one of the approvers that the item names").into())
}

/// Whether it still waits, for this digest and this approver, is the session's to say; here only
/// who may know of it at all.
pub async fn decide(
    speaker: Speaker,
    State(door): State<Door>,
    At(place): At,
    key: Keyed,
    Input(decision): Input<Decision>,
) -> Result<Json<Value>, Problem> {
    let turn = asked_of(&speaker, &door, place).await?;
    let caller = speaker.caller();
    let approve = decision.decision == Word::Approve;
    let always_ms = decision.always_ms.map(|ms| ms.to_be_bytes());
    let stands = match decision.always_ms {
        Some(_) if !approve => return Err(Problem::malformed("only a yes is for longer than once")),
        Some(ms) => {
            let (speaker, digest) = (speaker.clone(), decision.digest);
            door.off_thread(move |door| door.stands_for(&speaker, place, digest, ms)).await?
        }
        None => None,
    };
    let word = if approve { "approve" } else { "deny" };
    let note = decision.note.as_deref().unwrap_or_default();
    let named = place.to_string();
    let mut parts = vec![named.as_bytes(), word.as_bytes(), &decision.digest.0[..], note.as_bytes()];
    parts.extend(always_ms.as_ref().map(<[u8; 8]>::as_slice));
    let key = key.for_call("decide", &parts);
    let command = Command::Decide {
        effect: place.seq,
        digest: decision.digest,
        approve,
        by: caller.principal.clone(),
        role: caller.role,
        channel: caller.channel.clone(),
        speaks: speaker.speaks(),
        note: decision.note,
    };
    let accepted = door.engine.command(caller, place.session, command, key).await?;
    // After the yes itself: of a fault in between there is a yes for once.
    if let Some(standing) = stands {
        door.engine.home().grant_standing(standing).await?;
    }
    let until = door.engine.home().state().standing.get(&named).map(|standing| standing.until);
    Ok(Json(json!({
        "id": place.to_string(),
        "decision": word,
        "until": until,
        "session": place.session,
        "turn": Place { session: place.session, seq: turn }.to_string(),
        "seq": accepted.seq,
    })))
}

fn no_such_approval() -> Problem {
    Refusal::new(Code::NoSuchAsk, "there is no such approval", "see `backstay approvals` for what is open").into()
}

/// The turn of an effect that was asked about, open or not, and who might answer.
fn asked(door: &Door, place: Place) -> Result<(TurnId, Approvers), Problem> {
    door.session(place.session).map_err(|_| no_such_approval())?;
    let mut turn = None;
    let mut approvers = None;
    door.reader.each(place.session, Seq(place.seq.0.saturating_sub(1)), |placed| {
        if let Record::Planned(Planned::Tool { turn: of, .. }) = &placed.record {
            turn = turn.or((placed.seq == place.seq).then_some(*of));
        }
        if let Record::Judged(Judged { effect, verdict: Verdict::Ask { approvers: may, .. }, .. }) = placed.record
            && effect == place.seq
        {
            approvers = Some(may);
        }
        Ok::<_, Problem>(ControlFlow::Continue(()))
    })?;
    turn.zip(approvers).ok_or_else(no_such_approval)
}

pub async fn questions(speaker: Speaker, State(door): State<Door>) -> Result<Json<Value>, Problem> {
    let found = door.off_thread(move |door| {
        let mut items = Vec::new();
        let unreadable = door.waiting(&speaker, None, |row, state, waiting| {
            if let Kind::Question = waiting.kind {
                items.push(json!({
                    "id": waiting.place().to_string(),
                    "session": row.session,
                    "turn": waiting.turn_place().to_string(),
                    "text": question_of(&door.call_of(state, waiting.effect)?.0),
                }));
            }
            Ok(())
        })?;
        Ok(json!({ "questions": items, "unreadable": unreadable }))
    });
    Ok(Json(found.await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    text: String,
}

pub async fn answer(
    speaker: Speaker,
    State(door): State<Door>,
    At(place): At,
    key: Keyed,
    Input(answer): Input<Answer>,
) -> Result<Json<Value>, Problem> {
    door.session_of(&speaker, place.session).await?;
    let key = key.for_call("answer", &[place.to_string().as_bytes(), answer.text.as_bytes()]);
    let (effect, text, by) = (place.seq, answer.text, speaker.caller().principal.clone());
    let command = Command::Answer { effect, text, by, speaks: speaker.speaks() };
    let accepted = door.engine.command(speaker.caller(), place.session, command, key).await?;
    Ok(Json(json!({
        "id": place.to_string(),
        "session": place.session,
        "turn": accepted.turn.map(|seq| Place { session: place.session, seq }.to_string()),
        "seq": accepted.seq,
    })))
}
