//! What a turn saw, decided and touched; and its requests as they were sent, byte for byte.
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backstay_engine::Placed;
use backstay_kernel::effect::CallRef;
use backstay_kernel::id::{EffectId, Place, Seq};
use backstay_kernel::label::Label;
use backstay_kernel::record::{End, Ended, Planned, Record};
use http::header::{CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::as_sent;
use crate::auth::Speaker;
use crate::door::Door;
use crate::error::Problem;
use crate::input::{Asked, At};
use crate::records;
use crate::turns::Now;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    as_sent: Option<usize>,
}

pub async fn one(
    speaker: Speaker,
    State(door): State<Door>,
    At(place): At,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Problem> {
    let row = door.session_of(&speaker, place.session).await?;
    if let Some(number) = wanted.as_sent {
        let sent = door.off_thread(move |door| as_sent::rebuild(door, place, number)).await?;
        let kind = (CONTENT_TYPE, "application/json".to_owned());
        let digest = (HeaderName::from_static("x-backstay-digest"), sent.digest.to_string());
        return Ok(([kind, digest], sent.wire).into_response());
    }
    let trace = door.off_thread(move |door| {
        let now = door.turn(place)?;
        let mut trace = Trace::new(door, place);
        for placed in &now.view.records {
            trace.add(&now, placed)?;
        }
        trace.see()?;
        Ok(json!({
            "turn": place.to_string(),
            "session": place.session,
            "agent": row.agent,
            "state": now.state(),
            "label": trace.label()?,
            "saw": { "messages": trace.saw, "requests": trace.requests },
            "decided": trace.decided,
            "touched": trace.touched.into_values().collect::<Vec<_>>(),
        }))
    });
    Ok(Json(trace.await?).into_response())
}

struct Trace<'a> {
    door: &'a Door,
    place: Place,
    /// Messages that the turn was begun with or that joined it.
    entered: BTreeSet<Seq>,
    saw: Vec<Value>,
    requests: Vec<Value>,
    decided: Vec<Value>,
    touched: BTreeMap<EffectId, Value>,
    /// Of the session, before the turn and after it.
    label: (Option<Label>, Option<Label>),
    /// Model calls of the turn, and their models.
    models: BTreeMap<EffectId, String>,
}

impl<'a> Trace<'a> {
    fn new(door: &'a Door, place: Place) -> Self {
        Self {
            door,
            place,
            entered: BTreeSet::new(),
            saw: Vec::new(),
            requests: Vec::new(),
            decided: Vec::new(),
            touched: BTreeMap::new(),
            label: (None, None),
            models: BTreeMap::new(),
        }
    }

    /// Looks up the messages; quoted ones stand before the one that names the turn.
    fn see(&mut self) -> Result<(), Problem> {
        let Some(first) = self.entered.first() else { return Ok(()) };
        let before = Seq(first.0.saturating_sub(1));
        let (entered, saw, door) = (&self.entered, &mut self.saw, self.door);
        let mut left = entered.len();
        door.reader.each(self.place.session, before, |placed| {
            let Record::Admitted(admitted) = &placed.record else { return Ok(ControlFlow::Continue(())) };
            if !entered.contains(&placed.seq) {
                return Ok(ControlFlow::Continue(()));
            }
            saw.push(json!({
                "seq": placed.seq,
                "at": placed.at,
                "principal": admitted.principal,
                "channel": admitted.channel,
                "mode": admitted.mode,
                "label": admitted.label,
                "bytes": admitted.body.bytes,
                "text": door.text(&admitted.body)?,
            }));
            left -= 1;
            Ok::<_, Problem>(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    fn touch(&mut self, now: &Now, effect: Seq, call: &CallRef) -> Result<(), Problem> {
        let text = self.door.call_text(call)?;
        let facts = now.view.calls.get(&effect).and_then(|view| view.facts.as_ref());
        let touched = json!({
            "id": self.name(effect), "tool": text.tool, "args": text.args,
            "class": facts.map(|facts| facts.class), "facts": facts, "starts": [], "end": null,
        });
        self.touched.insert(effect, touched);
        Ok(())
    }

    /// What was touched is the call that it became; the one before it stands with the edit.
    fn edit(&mut self, placed: &Placed) -> Result<(), Problem> {
        let Record::Edited { effect, by, speaks, call, .. } = &placed.record else { return Ok(()) };
        let args = self.door.call_text(call)?.args;
        if let Some(touched) = self.touched.get_mut(effect).and_then(Value::as_object_mut) {
            let before = touched.insert("args".to_owned(), args);
            let edit = json!({ "at": placed.at, "by": by, "speaks": speaks, "args_before": before });
            let edits = touched.entry("edits").or_insert_with(|| json!([]));
            edits.as_array_mut().into_iter().for_each(|edits| edits.push(edit.clone()));
        }
        self.decide(placed)
    }

    fn add(&mut self, now: &Now, placed: &Placed) -> Result<(), Problem> {
        let turn = self.place.seq;
        match &placed.record {
            Record::Planned(Planned::Model { turn: of, model, .. } | Planned::Scope { turn: of, model, .. })
                if *of == turn =>
            {
                self.models.insert(placed.seq, model.clone());
            }
            Record::Planned(Planned::Tool { turn: of, call } | Planned::Lookup { turn: of, call, .. })
                if *of == turn =>
            {
                self.touch(now, placed.seq, call)?;
            }
            Record::Started(started) => self.started(placed, started),
            Record::Ended(ended) => self.ended(placed, ended)?,
            Record::TurnEnded(ended) if ended.turn == turn => {
                self.label.1 = ended.label.or(self.label.0);
                self.decide(placed)?;
            }
            Record::Judged(judged) if self.touched.contains_key(&judged.effect) => self.decide(placed)?,
            Record::Edited { effect, .. } if self.touched.contains_key(effect) => self.edit(placed)?,
            Record::Decided { effect, .. }
            | Record::Answered { effect, .. }
            | Record::Resolved { effect, .. }
            | Record::Doubted { effect, .. }
            | Record::Connected { effect, .. }
            | Record::Created { effect, .. }
            | Record::Overdue { effect }
                if self.touched.contains_key(effect) =>
            {
                self.decide(placed)?;
            }
            Record::Scoped(scoped) if self.models.contains_key(&scoped.effect) => self.decide(placed)?,
            Record::Unfunded { effect, .. } if self.models.contains_key(effect) => self.decide(placed)?,
            Record::Retried(retried) if self.models.contains_key(&retried.effect) => self.decide(placed)?,
            Record::TurnStarted(started) if started.messages.contains(&turn) => {
                self.entered.extend(&started.messages);
                self.label.0 = started.label;
                self.decide(placed)?;
            }
            Record::Entered { messages } => {
                self.entered.extend(messages);
                self.decide(placed)?;
            }
            Record::Cancelled { turn: of, .. } if *of == turn => self.decide(placed)?,
            Record::Windowed { .. } => self.decide(placed)?,
            // Of another turn, or of the session as a whole.
            Record::Opened(_)
            | Record::Admitted(_)
            | Record::TurnStarted(_)
            | Record::Planned(_)
            | Record::Judged(_)
            | Record::Decided { .. }
            | Record::Edited { .. }
            | Record::Answered { .. }
            | Record::Unfunded { .. }
            | Record::Overdue { .. }
            | Record::Bounced { .. }
            | Record::Retried(_)
            | Record::Lapsed { .. }
            | Record::Doubted { .. }
            | Record::Connected { .. }
            | Record::Created { .. }
            | Record::Scoped(_)
            | Record::Resolved { .. }
            | Record::Cancelled { .. }
            | Record::TurnEnded(_)
            | Record::Stopped { .. }
            | Record::Resumed { .. }
            | Record::Lineage { .. } => {}
        }
        Ok(())
    }

    /// While the turn is open, `after` is what the session has come to.
    fn label(&self) -> Result<Value, Problem> {
        let (before, after) = self.label;
        let after = match (before, after) {
            (Some(_), None) => Some(self.door.fold(self.place.session)?.label),
            (_, after) => after,
        };
        Ok(json!({ "before": before, "after": after }))
    }

    fn name(&self, seq: Seq) -> String {
        Place { session: self.place.session, seq }.to_string()
    }

    fn decide(&mut self, placed: &Placed) -> Result<(), Problem> {
        self.decided.push(records::item(self.door, placed)?);
        Ok(())
    }

    fn started(&mut self, placed: &Placed, started: &backstay_kernel::record::Started) {
        if let (Some(model), Some(request)) = (self.models.get(&started.effect), started.request) {
            self.requests.push(json!({
                "number": self.requests.len() + 1, "effect": self.name(started.effect), "attempt": started.attempt,
                "at": placed.at, "model": model, "bytes": request.bytes, "bytes_unchanged": request.bytes_unchanged,
                "digest": request.digest,
            }));
        }
        let starts =
            self.touched.get_mut(&started.effect).and_then(|touched| touched.get_mut("starts")?.as_array_mut());
        if let Some(starts) = starts {
            starts.push(json!({ "at": placed.at, "attempt": started.attempt }));
        }
    }

    fn ended(&mut self, placed: &Placed, ended: &Ended) -> Result<(), Problem> {
        if self.models.contains_key(&ended.effect) {
            return self.decide(placed);
        }
        if !self.touched.contains_key(&ended.effect) {
            return Ok(());
        }
        let result = match &ended.end {
            End::Done { result, .. } | End::Failed { result, .. } => self.door.text(result)?,
            End::Replied { .. } | End::ModelFailed { .. } | End::Concluded { .. } | End::NotStarted | End::Unknown => {
                None
            }
        };
        let label = result.as_ref().and_then(|_| placed.record.label(Label::NOTHING));
        let outcome = outcome(&ended.end);
        if let Some(end) = self.touched.get_mut(&ended.effect).and_then(|touched| touched.get_mut("end")) {
            *end = json!({ "at": placed.at, "outcome": outcome, "result": result, "label": label });
        }
        Ok(())
    }
}

/// The word for an end.
fn outcome(end: &End) -> &'static str {
    match end {
        End::Replied { .. } => "replied",
        End::ModelFailed { .. } | End::Failed { .. } => "failed",
        End::Done { .. } | End::Concluded { done: true, .. } => "done",
        End::Concluded { done: false, .. } => "not_done",
        End::NotStarted => "not_started",
        End::Unknown => "unknown",
    }
}
