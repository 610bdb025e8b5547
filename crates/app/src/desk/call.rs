//! One call as an auditor asks for it: who, what, by which rule, with whose yes, and what came of it, joined from
//! the records of its session. There is no second log.
use std::ops::ControlFlow;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use backstay_channels::{Problem, Why};
use backstay_engine::{Engine, EngineError, Placed};
use backstay_kernel::effect::CallRef;
use backstay_kernel::id::{Digest, EffectId, Place, SessionId};
use backstay_kernel::record::{Decision, Ended, Judged, Planned, Record};
use backstay_kernel::{Session, apply};
use serde_json::{Map, Value, json};

pub const CALL: &str = "/api/audit/calls";

pub fn router(engine: Engine) -> Router {
    Router::new().route(&format!("{CALL}/{{id}}"), get(call)).with_state(engine)
}

async fn call(State(engine): State<Engine>, Path(id): Path<String>) -> Response {
    let Some(place) = Place::parse(&id) else { return nothing() };
    let read = tokio::task::spawn_blocking(move || row(&engine, place)).await;
    match read.unwrap_or_else(|error| Err(EngineError::Internal(error.to_string()))) {
        Ok(Some(row)) => Json(row).into_response(),
        Ok(None) => nothing(),
        Err(error) => Problem::from(error).into_response(),
    }
}

fn nothing() -> Response {
    Problem::new(Why::NotFound, "there is no such call", "backstay trace shows the calls of a turn").into_response()
}

fn row(engine: &Engine, place: Place) -> Result<Option<Map<String, Value>>, EngineError> {
    // The home's own stream has no calls.
    if place.session == SessionId::HOME {
        return Ok(None);
    }
    let (mut state, mut row) = (Session::new(place.session), Row::new(place.seq));
    engine.reader().each(place.session, backstay_kernel::id::Seq(0), |placed| {
        row.before(&placed, &state);
        apply(&mut state, &placed.record);
        row.after(&placed, &state);
        Ok::<_, EngineError>(ControlFlow::Continue(()))
    })?;
    let Some(mut row) = row.found else { return Ok(None) };
    row.insert("session".to_owned(), Value::from(place.session.to_string()));
    row.insert("agent".to_owned(), Value::from(state.agent.clone()));
    say(engine, &mut row)?;
    Ok(Some(row))
}

/// The call's own words, and their digest; null once they were erased.
fn say(engine: &Engine, row: &mut Map<String, Value>) -> Result<(), EngineError> {
    for edit in row.get_mut("edits").and_then(Value::as_array_mut).into_iter().flatten() {
        let words = edit.get_mut("call_before").map(Value::take).map(|call| words(engine, call)).transpose()?;
        if let (Some(edit), Some((_, args))) = (edit.as_object_mut(), words) {
            edit.remove("call_before");
            edit.insert("args_before".to_owned(), args);
        }
    }
    let Some(call) = row.remove("call") else { return Ok(()) };
    let (tool, args) = words(engine, call)?;
    let digest = args.as_str().map(|text| Digest::of("backstay audit args v1", &[text.as_bytes()]).to_string());
    row.extend([("tool".to_owned(), tool), ("args".to_owned(), args), ("args_digest".to_owned(), json!(digest))]);
    Ok(())
}

/// Tool and arguments of a call.
fn words(engine: &Engine, call: Value) -> Result<(Value, Value), EngineError> {
    let Ok(call) = serde_json::from_value::<CallRef>(call) else { return Ok((Value::Null, Value::Null)) };
    let body = engine.store().body(&call.calls).map_err(|error| EngineError::Unreadable(error.to_string()))?;
    let calls: Value = body.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
    let of = |name: &str| calls.pointer(&format!("/{}/function/{name}", call.index)).cloned().unwrap_or_default();
    Ok((of("name"), of("arguments")))
}

struct Row {
    id: EffectId,
    /// That was asked last: a call is one of its reply's.
    model: Option<String>,
    found: Option<Map<String, Value>>,
}

impl Row {
    fn new(id: EffectId) -> Self {
        Self { id, model: None, found: None }
    }

    fn before(&mut self, placed: &Placed, state: &Session) {
        if let Record::Planned(Planned::Model { model, .. }) = &placed.record {
            self.model = Some(model.clone());
        }
        if let Record::Planned(planned) = &placed.record
            && let Some((turn, call)) = planned.call()
            && placed.seq == self.id
        {
            let principal = state.turn.as_ref().map(|turn| turn.principal.clone());
            let planned = json!({
                "seq": placed.seq, "at": placed.at, "turn": turn, "principal": principal, "model": self.model, "call": call,
                "label_before": state.label, "started": [], "decisions": [],
            });
            self.found = planned.as_object().cloned();
        }
    }

    fn after(&mut self, placed: &Placed, state: &Session) {
        let (id, at) = (self.id, placed.at);
        let Some(row) = &mut self.found else { return };
        let record = &placed.record;
        if let Record::Judged(judged) = record
            && judged.effect == id
        {
            judge(row, judged);
        } else if let Record::Decided { effect, decision, by, speaks, note } = record
            && *effect == id
        {
            let approved = matches!(decision, Decision::Approve);
            let decided = json!({ "at": at, "approved": approved, "decision": decision, "by": by, "speaks": speaks, "note": note });
            push(row, "decisions", decided);
        } else if let Record::Edited { effect, by, speaks, call, note } = record
            && *effect == id
        {
            let before = row.insert("call".to_owned(), json!(call));
            let edit = json!({ "at": at, "by": by, "speaks": speaks, "note": note, "call_before": before });
            let edits = row.entry("edits").or_insert_with(|| json!([]));
            edits.as_array_mut().into_iter().for_each(|edits| edits.push(edit.clone()));
        } else if let Record::Started(started) = record
            && started.effect == id
        {
            let (attempt, boot, epoch) = (started.attempt, started.boot, started.epoch);
            push(row, "started", json!({ "at": at, "attempt": attempt, "boot": boot, "epoch": epoch }));
        } else if let Record::Ended(Ended { effect, end, .. }) = record
            && *effect == id
        {
            row.insert("ended".to_owned(), json!({ "at": at, "end": end }));
            row.insert("label_after".to_owned(), json!(state.label));
        } else if let Record::Connected { effect, connections } = record
            && *effect == id
        {
            row.insert("connected".to_owned(), json!(connections));
        } else if let Record::Doubted { effect, .. } = record
            && *effect == id
        {
            row.insert("doubted_at".to_owned(), Value::from(at));
        } else if let Record::Resolved { effect, resolution, by, .. } = record
            && *effect == id
        {
            row.insert("resolved".to_owned(), json!({ "at": at, "resolution": resolution, "by": by }));
        }
    }
}

fn judge(row: &mut Map<String, Value>, judged: &Judged) {
    row.insert("verdict".to_owned(), json!(judged.verdict));
    row.insert("policy_epoch".to_owned(), Value::from(judged.epoch));
    row.insert("grounds".to_owned(), json!(judged.grounds));
    row.insert("facts".to_owned(), json!(judged.facts));
}

fn push(row: &mut Map<String, Value>, list: &str, item: Value) {
    if let Some(list) = row.get_mut(list).and_then(Value::as_array_mut) {
        list.push(item);
    }
}
