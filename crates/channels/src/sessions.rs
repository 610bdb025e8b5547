//! Sessions: opened, listed, spoken to, stopped.
use std::ops::ControlFlow;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backstay_engine::{Command, Submission};
use backstay_kernel::id::{Place, Seq, SessionId};
use backstay_kernel::label::Source;
use backstay_kernel::record::{Mode, Record};
use backstay_kernel::{Wait, head};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Speaker;
use crate::door::Door;
use crate::error::{Problem, Why};
use crate::input::{Asked, Input, Keyed, Nothing, OfSession};
use crate::limits::{
    RECORDS_BYTES_MAX, RECORDS_DEFAULT, RECORDS_MAX, SESSIONS_DEFAULT, SESSIONS_MAX, TITLE_CHARS_MAX, TITLE_RECORDS_MAX,
};
use crate::rows::{Row, outranks};
use crate::{records, waits};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    agent: String,
    title: Option<String>,
}

pub async fn open(
    speaker: Speaker,
    State(door): State<Door>,
    key: Keyed,
    Input(wanted): Input<Open>,
) -> Result<Response, Problem> {
    if let Some(title) = &wanted.title
        && (title.chars().count() > TITLE_CHARS_MAX || title.chars().any(char::is_control))
    {
        let why = format!("`title` has at most {TITLE_CHARS_MAX} characters, and no control characters");
        return Err(Problem::malformed(why));
    }
    let title = wanted.title.as_deref().unwrap_or_default();
    let key = key.for_call("open", &[wanted.agent.as_bytes(), title.as_bytes()]);
    let session = door.engine.open_session(speaker.caller(), &wanted.agent, wanted.title, key).await?;
    Ok((StatusCode::CREATED, Json(json!({ "session": session }))).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    after: Option<SessionId>,
    limit: Option<usize>,
    /// As the session's own records say it; no record says `frozen`.
    wait: Option<Wait>,
}

pub async fn list(
    speaker: Speaker,
    State(door): State<Door>,
    Asked(page): Asked<Page>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit.unwrap_or(SESSIONS_DEFAULT).clamp(1, SESSIONS_MAX);
    let of = (!speaker.sees_all()).then(|| speaker.caller().principal.clone());
    let found = door.off_thread(move |door| {
        let rows = door.sessions(of.as_deref(), page.wait.map(Wait::word), page.after, limit)?;
        let next = (rows.len() == limit).then(|| rows.last().map(|row| row.session)).flatten();
        let items = rows.iter().map(|row| item(door, row)).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "sessions": items, "next": next }))
    });
    Ok(Json(found.await?))
}

pub async fn one(speaker: Speaker, State(door): State<Door>, OfSession(id): OfSession) -> Result<Json<Value>, Problem> {
    let row = door.session_of(&speaker, id).await?;
    Ok(Json(door.off_thread(move |door| item(door, &row)).await?))
}

fn item(door: &Door, row: &Row) -> Result<Value, Problem> {
    let state = door.fold(row.session)?;
    let title = match &row.title {
        Some(title) => door.text(title)?,
        None => beginning(door, row.session)?,
    };
    let turn = state.turn.as_ref();
    let next = turn.map(|turn| turn.id).or_else(|| state.queue.iter().map(|waiting| waiting.seq).next());
    let head = head(&state);
    let wait = match head.wait.word() {
        // No record says so: switches are the home's.
        "running" | "budget" | "backoff" | "provider"
            if next.is_some_and(|turn| waits::is_frozen(door, &state, turn)) =>
        {
            waits::FROZEN
        }
        word => word,
    };
    let named = if matches!(wait, "idle" | "running" | "stopped") { wait } else { "waiting" };
    Ok(json!({
        "session": row.session,
        "agent": row.agent,
        "principal": row.principal,
        "channel": row.channel,
        "title": title,
        "state": named,
        "wait": (named == "waiting").then_some(wait),
        "until": head.wake_at.filter(|_| named == "waiting" && wait != waits::FROZEN),
        "turn": turn.map(|turn| Place { session: row.session, seq: turn.id }.to_string()),
        "seq": row.seq,
        "opened_at": row.opened_at,
        "updated_at": row.updated_at,
        "counters": {
            "records": row.seq,
            "queued": state.queue.len(),
            "steps": turn.map_or(0, |turn| turn.steps),
            "tool_calls": turn.map_or(0, |turn| turn.tool_calls),
        },
        "label": state.label,
        "spend": state.spent,
        "reserved": state.reserved,
    }))
}

/// Of the first thing that was said, so that a list without titles tells one from another.
fn beginning(door: &Door, session: SessionId) -> Result<Option<String>, Problem> {
    let first = door.reader.records(session, Seq(0), TITLE_RECORDS_MAX)?;
    let said = first.into_iter().find_map(|placed| {
        let Record::Admitted(said) = placed.record else { return None };
        (!said.label.is_only(Source::Quoted)).then_some(said.body)
    });
    let text = said.map(|body| door.text(&body)).transpose()?.flatten();
    Ok(text
        .map(|text| text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(TITLE_CHARS_MAX).collect()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Say {
    text: String,
    #[serde(default)]
    mode: Mode,
}

pub async fn say(
    speaker: Speaker,
    State(door): State<Door>,
    OfSession(id): OfSession,
    key: Keyed,
    Input(message): Input<Say>,
) -> Result<Response, Problem> {
    let row = door.session_of(&speaker, id).await?;
    if message.text.trim().is_empty() {
        return Err(Problem::malformed("`text` is empty"));
    }
    let mode = format!("{:?}", message.mode);
    let key = key.for_call("message", &[&id.0, mode.as_bytes(), message.text.as_bytes()]);
    let submission = Submission {
        session: Some(id),
        agent: row.agent,
        mode: message.mode,
        quoted: Vec::new(),
        text: message.text,
        key,
    };
    let submitted = door.engine.submit(speaker.caller(), submission).await?;
    let answer = json!({
        "session": submitted.session,
        "turn": Place { session: submitted.session, seq: submitted.turn }.to_string(),
        "seq": submitted.seq,
    });
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    after: Option<Seq>,
    limit: Option<usize>,
}

pub async fn records(
    speaker: Speaker,
    State(door): State<Door>,
    OfSession(id): OfSession,
    Asked(page): Asked<After>,
) -> Result<Json<Value>, Problem> {
    let row = door.session_of(&speaker, id).await?;
    let limit = page.limit.unwrap_or(RECORDS_DEFAULT).clamp(1, RECORDS_MAX);
    let found = door.off_thread(move |door| {
        let mut found = door.reader.records(id, page.after.unwrap_or_default(), limit)?;
        found.truncate(limit);
        let items = records::page(door, &found, RECORDS_BYTES_MAX)?;
        let shown = found.get(..items.len()).unwrap_or_default();
        let next = shown.last().map(|placed| placed.seq).filter(|last| *last < row.seq);
        Ok(json!({ "records": items, "next": next }))
    });
    Ok(Json(found.await?))
}

pub async fn stop(
    speaker: Speaker,
    State(door): State<Door>,
    OfSession(id): OfSession,
    key: Keyed,
    Input(Nothing {}): Input<Nothing>,
) -> Result<Json<Value>, Problem> {
    door.session_of(&speaker, id).await?;
    let by = speaker.caller().principal.clone();
    door.engine.command(speaker.caller(), id, Command::Stop { by }, key.for_call("stop", &[&id.0])).await?;
    Ok(Json(json!({ "session": id, "stopped": true })))
}

pub async fn resume(
    speaker: Speaker,
    State(door): State<Door>,
    OfSession(id): OfSession,
    key: Keyed,
    Input(Nothing {}): Input<Nothing>,
) -> Result<Json<Value>, Problem> {
    door.session_of(&speaker, id).await?;
    let stopped_by = door.off_thread(move |door| stopped_by(door, id)).await?;
    if stopped_by.is_some_and(|by| !outranks(speaker.caller(), &by)) {
        let message = "another principal has stopped this session";
        return Err(Problem::new(Why::Forbidden, message, "ask an operator to resume it"));
    }
    let command = Command::Resume { by: speaker.caller().principal.clone(), speaks: speaker.speaks() };
    door.engine.command(speaker.caller(), id, command, key.for_call("resume", &[&id.0])).await?;
    Ok(Json(json!({ "session": id, "stopped": false })))
}

/// Who stopped the session last, if it is stopped.
fn stopped_by(door: &Door, id: SessionId) -> Result<Option<String>, Problem> {
    if !door.fold(id)?.stopped {
        return Ok(None);
    }
    let mut stopped_by = None;
    door.reader.each(id, Seq(0), |placed| {
        if let Record::Stopped { by } = placed.record {
            stopped_by = Some(by);
        }
        Ok::<_, Problem>(ControlFlow::Continue(()))
    })?;
    Ok(stopped_by)
}
