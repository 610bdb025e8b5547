//! Turns: where one stands, what it said, what it did; and how one is ended.
use axum::Json;
use axum::extract::State;
use backstay_engine::{CallView, Command, EngineError, TurnState, TurnView};
use backstay_kernel::id::{EffectId, Place, SessionId};
use backstay_kernel::record::{Completion, Record};
use serde_json::{Value, json};

use crate::auth::Speaker;
use crate::door::Door;
use crate::error::Problem;
use crate::input::{At, Input, Keyed, Nothing};
use crate::waits::{self, Waiting};

/// A turn as the journal has it now.
pub struct Now {
    pub place: Place,
    pub view: TurnView,
    /// What all that is left of it waits for.
    pub waiting: Option<Waiting>,
    /// Of a queued turn: what the one before it waits for.
    ahead: Option<Waiting>,
    is_frozen: bool,
    /// Of the open turn, which has no end that would say it.
    open: Option<(Completion, backstay_kernel::budget::Amount)>,
}

impl Now {
    #[must_use]
    pub fn state(&self) -> &'static str {
        match &self.view.state {
            TurnState::Queued => "queued",
            TurnState::Open if self.wait().is_some() => "waiting",
            TurnState::Open => "running",
            TurnState::Ended(_) => "ended",
        }
    }

    /// The name of what it waits for.
    fn wait(&self) -> Option<&'static str> {
        self.waiting.as_ref().map(|waiting| waiting.wait().word()).or(self.is_frozen.then_some(waits::FROZEN))
    }
}

impl Door {
    /// # Errors
    /// There is no such turn, or the journal cannot be read.
    pub(crate) fn turn(&self, place: Place) -> Result<Now, Problem> {
        let view = self.reader.turn(place.session, place.seq);
        let view = view
            .map_err(|error| if error == EngineError::NoSession { Problem::not_found("turn") } else { error.into() })?;
        if matches!(view.state, TurnState::Ended(_)) {
            return Ok(Now { place, view, waiting: None, ahead: None, is_frozen: false, open: None });
        }
        let state = self.fold(place.session)?;
        let (waiting, is_frozen) = waits::of_turn_here(self, &state, place.seq);
        let before = state.turn.as_ref().filter(|_| matches!(view.state, TurnState::Queued));
        let ahead = before.and_then(|turn| waits::of_turn(&state, turn.id, self.engine.now()));
        let open = state.turn.filter(|turn| turn.id == place.seq);
        let open = open.map(|turn| (turn.completion, turn.spent));
        Ok(Now { place, view, waiting, ahead, is_frozen, open })
    }
}

pub async fn one(speaker: Speaker, State(door): State<Door>, At(place): At) -> Result<Json<Value>, Problem> {
    door.session_of(&speaker, place.session).await?;
    let shown = door.off_thread(move |door| {
        let now = door.turn(place)?;
        show(door, &now)
    });
    Ok(Json(shown.await?))
}

fn show(door: &Door, now: &Now) -> Result<Value, Problem> {
    let (view, place) = (&now.view, now.place);
    let at =
        |is: &dyn Fn(&Record) -> bool| view.records.iter().find(|placed| is(&placed.record)).map(|placed| placed.at);
    let reply = view.reply.as_ref().map(|reply| door.text(reply)).transpose()?.flatten();
    let (completion, spent) = now.open.as_ref().map_or((&view.completion, view.spent), |(done, spent)| (done, *spent));
    let reason = match view.state {
        TurnState::Ended(reason) => Some(reason),
        TurnState::Queued | TurnState::Open => None,
    };
    let mut shown = json!({
        "turn": place.to_string(),
        "session": place.session,
        "state": now.state(),
        "reason": reason,
        "wait": now.wait().or(now.ahead.as_ref().map(|waiting| waiting.wait().word())),
        "until": now.waiting.as_ref().or(now.ahead.as_ref()).and_then(Waiting::until),
        "id": now.waiting.as_ref().or(now.ahead.as_ref()).map(|waiting| waiting.place().to_string()),
        "reply": reply,
        "spend": spent,
        "started_at": at(&|record| matches!(record, Record::TurnStarted(started) if started.messages.contains(&place.seq))),
        "ended_at": at(&|record| matches!(record, Record::TurnEnded(ended) if ended.turn == place.seq)),
    });
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("completion".into(), completion_of(door, now, completion)?);
    }
    Ok(shown)
}

fn completion_of(door: &Door, now: &Now, completion: &Completion) -> Result<Value, Problem> {
    let list = |effects: &[EffectId]| {
        let item = |effect: &EffectId| call_item(door, now.place.session, *effect, now.view.calls.get(effect));
        effects.iter().map(item).collect::<Result<Vec<Value>, Problem>>()
    };
    Ok(json!({
        "done": list(&completion.done)?,
        "failed": list(&completion.failed)?,
        "refused": list(&completion.refused)?,
        "not_started": list(&completion.not_started)?,
        "in_doubt": list(&completion.unknown)?,
    }))
}

fn call_item(door: &Door, session: SessionId, effect: EffectId, view: Option<&CallView>) -> Result<Value, Problem> {
    let tool = view.map(|view| door.call_text(&view.call)).transpose()?.map(|call| call.tool);
    let paths: Vec<&str> = view
        .and_then(|view| view.facts.as_ref())
        .map_or(Vec::new(), |facts| facts.paths.iter().map(|path| path.real.as_str()).collect());
    Ok(json!({ "id": Place { session, seq: effect }.to_string(), "tool": tool, "paths": paths }))
}

pub async fn cancel(
    speaker: Speaker,
    State(door): State<Door>,
    At(place): At,
    key: Keyed,
    Input(Nothing {}): Input<Nothing>,
) -> Result<Json<Value>, Problem> {
    door.session_of(&speaker, place.session).await?;
    let key = key.for_call("cancel", &[place.to_string().as_bytes()]);
    let command = Command::Cancel { turn: Some(place.seq), by: speaker.caller().principal.clone() };
    let accepted = door.engine.command(speaker.caller(), place.session, command, key).await?;
    Ok(Json(json!({ "turn": place.to_string(), "seq": accepted.seq })))
}
