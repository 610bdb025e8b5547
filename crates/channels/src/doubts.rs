//! Effects whose outcome nobody knows, and what an operator says of them.
use axum::Json;
use axum::extract::State;
use backstay_engine::Command;
use backstay_kernel::id::{Place, Seq};
use backstay_kernel::record::{Planned, Record, Resolution};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Operator, Speaker};
use crate::door::Door;
use crate::error::Problem;
use crate::input::{At, Input, Keyed};
use crate::waits::Kind;

pub async fn list(speaker: Speaker, State(door): State<Door>) -> Result<Json<Value>, Problem> {
    let found = door.off_thread(move |door| {
        let mut items = Vec::new();
        let unreadable = door.waiting(&speaker, None, |row, state, waiting| {
            if let Kind::Doubt = waiting.kind {
                let (call, facts) = door.call_of(state, waiting.effect)?;
                items.push(json!({
                    "id": waiting.place().to_string(),
                    "session": row.session,
                    "turn": waiting.turn_place().to_string(),
                    "tool": call.tool,
                    "args": call.args,
                    "facts": facts,
                }));
            }
            Ok(())
        })?;
        Ok(json!({ "doubts": items, "unreadable": unreadable }))
    });
    Ok(Json(found.await?))
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Done,
    NotDone,
    Retry,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotDone => "not-done",
            Self::Retry => "retry",
        }
    }

    fn resolution(self) -> Resolution {
        match self {
            Self::Done => Resolution::Done,
            Self::NotDone => Resolution::NotDone,
            Self::Retry => Resolution::Retry,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    outcome: Outcome,
    note: String,
}

pub async fn resolve(
    operator: Operator,
    State(door): State<Door>,
    At(place): At,
    key: Keyed,
    Input(wanted): Input<Resolve>,
) -> Result<Json<Value>, Problem> {
    door.off_thread(move |door| door.session(place.session)).await?;
    let word = wanted.outcome.word();
    let key = key.for_call("resolve", &[place.to_string().as_bytes(), word.as_bytes(), wanted.note.as_bytes()]);
    let command = Command::Resolve {
        effect: place.seq,
        resolution: wanted.outcome.resolution(),
        by: operator.name().to_owned(),
        note: wanted.note,
    };
    let accepted = door.engine.command(operator.caller(), place.session, command, key).await?;
    let turn = door.off_thread(move |door| turn_of_effect(door, place)).await?;
    Ok(Json(json!({
        "id": place.to_string(),
        "outcome": word,
        "session": place.session,
        "turn": turn.map(|seq| Place { session: place.session, seq }.to_string()),
        "seq": accepted.seq,
    })))
}

fn turn_of_effect(door: &Door, place: Place) -> Result<Option<Seq>, Problem> {
    let planned = door.reader.records(place.session, Seq(place.seq.0.saturating_sub(1)), 1)?.into_iter().next();
    Ok(planned.and_then(|placed| {
        let Record::Planned(Planned::Tool { turn, .. } | Planned::Model { turn, .. } | Planned::Scope { turn, .. }) =
            placed.record
        else {
            return None;
        };
        Some(turn)
    }))
}
