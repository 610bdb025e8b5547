//! What a session waits for, one item for every effect that only a person or a provider can move.
use backstay_kernel::Wait;
use backstay_kernel::effect::CallRef;
use backstay_kernel::id::{Digest, EffectId, Millis, Place, SessionId, TurnId};
use backstay_kernel::record::Reason;
use backstay_kernel::rule::Approvers;
use backstay_kernel::session::{Open, Session, State, Work};
use serde_json::{Value, json};

use crate::auth::Speaker;
use crate::door::Door;
use crate::error::Problem;
use crate::rows::Row;

#[derive(Clone, Debug)]
pub struct Waiting {
    pub session: SessionId,
    pub effect: EffectId,
    pub turn: TurnId,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Approval {
        by: Reason,
        approvers: Approvers,
        expires_at: Millis,
        digest: Digest,
        yes: Vec<String>,
    },
    Question,
    Doubt,
    /// Of an ask that nobody is shown yet.
    Parked {
        by: Reason,
        until: Option<Millis>,
    },
    /// Until the model is asked again.
    Provider {
        until: Millis,
    },
}

impl Waiting {
    #[must_use]
    pub fn wait(&self) -> Wait {
        match self.kind {
            Kind::Approval { .. } => Wait::Approval,
            Kind::Question => Wait::Question,
            Kind::Doubt => Wait::Doubt,
            Kind::Parked { .. } => Wait::Parked,
            Kind::Provider { .. } => Wait::Provider,
        }
    }

    /// A person can end it now.
    #[must_use]
    pub fn is_answerable(&self) -> bool {
        matches!(self.kind, Kind::Approval { .. } | Kind::Question | Kind::Doubt)
    }

    /// When time alone ends it.
    #[must_use]
    pub fn until(&self) -> Option<Millis> {
        match self.kind {
            Kind::Approval { expires_at: until, .. } | Kind::Provider { until } => Some(until),
            Kind::Parked { until, .. } => until,
            Kind::Question | Kind::Doubt => None,
        }
    }

    #[must_use]
    pub fn place(&self) -> Place {
        Place { session: self.session, seq: self.effect }
    }

    /// Where its turn is.
    #[must_use]
    pub fn turn_place(&self) -> Place {
        Place { session: self.session, seq: self.turn }
    }
}

/// Everything in this session that waits, in the order of the effects.
#[must_use]
pub fn of_session(state: &Session, now: Millis) -> Vec<Waiting> {
    let waits = state.effects.iter().filter_map(|(effect, open)| {
        let kind = match &open.state {
            // Whoever looks too late sees it no more, even where no record says so yet.
            State::Asked { expires_at, .. } if *expires_at <= now => return None,
            State::Asked { by, approvers, expires_at, digest, yes, by_person: _, at: _ } => Kind::Approval {
                by: by.clone(),
                approvers: approvers.clone(),
                expires_at: *expires_at,
                digest: *digest,
                yes: yes.clone(),
            },
            State::Parked { by, until } => Kind::Parked { by: by.clone(), until: *until },
            State::Question => Kind::Question,
            State::Doubt => Kind::Doubt,
            State::Backoff { provider_wait: true, not_before } => Kind::Provider { until: *not_before },
            State::Backoff { provider_wait: false, .. }
            | State::Unfunded { .. }
            | State::Planned
            | State::Ready
            | State::Started { .. }
            | State::Probing => return None,
        };
        Some(Waiting { session: state.id, effect: *effect, turn: open.work.turn(), kind })
    });
    waits.collect()
}

/// What the turn waits for, if all that is left of it waits.
#[must_use]
pub fn of_turn(state: &Session, turn: TurnId, now: Millis) -> Option<Waiting> {
    state.turn.as_ref().filter(|open| open.id == turn)?;
    let own = state.effects.values().filter(|open| open.work.turn() == turn).count();
    let mut waits: Vec<Waiting> = of_session(state, now).into_iter().filter(|wait| wait.turn == turn).collect();
    if own == 0 || waits.len() < own {
        return None;
    }
    waits.sort_by_key(Waiting::wait);
    waits.into_iter().next()
}

/// The same, and whether the turn is frozen instead: what goes on by itself does not while the
/// home is frozen, and what a person may answer still is theirs to answer.
#[must_use]
pub fn of_turn_here(door: &Door, state: &Session, turn: TurnId) -> (Option<Waiting>, bool) {
    let frozen = is_frozen(door, state, turn);
    let waiting = of_turn(state, turn, door.engine.now());
    let waiting = waiting.filter(|waiting| !frozen || waiting.is_answerable());
    let frozen = frozen && waiting.is_none();
    (waiting, frozen)
}

impl Door {
    /// Everything that waits for a person, with its session: what the caller may see, and of the rest
    /// what `may` lets them answer. One that cannot be read hides no other: it is in the answer, by the session that the
    /// caller may see.
    pub(crate) fn waiting(
        &self,
        speaker: &Speaker,
        may: Option<&dyn Fn(&Kind) -> bool>,
        mut take: impl FnMut(&Row, &Session, &Waiting) -> Result<(), Problem>,
    ) -> Result<Vec<SessionId>, Problem> {
        let mut unreadable = Vec::new();
        for row in self.sessions_with_waits()? {
            let theirs = speaker.sees_all() || row.principal == speaker.caller().principal;
            if !theirs && may.is_none() {
                continue;
            }
            let mut read = || {
                let state = self.fold(row.session)?;
                let waits = of_session(&state, self.engine.now()).into_iter();
                let shown = waits.filter(|waiting| theirs || may.is_some_and(|may| may(&waiting.kind)));
                shown.map(|waiting| take(&row, &state, &waiting)).fold(Ok(()), Result::and)
            };
            if let Err(problem) = read() {
                tracing::error!(session = %row.session, problem = problem.message, "its waits cannot be read");
                unreadable.extend(theirs.then_some(row.session));
            }
        }
        Ok(unreadable)
    }
}

/// The name of the wait for an operator who lets a frozen home go on.
pub const FROZEN: &str = "frozen";

/// Nothing of the turn runs, and nothing of it starts while the home is frozen.
#[must_use]
pub fn is_frozen(door: &Door, state: &Session, turn: TurnId) -> bool {
    let is_open = state.turn.as_ref().is_some_and(|open| open.id == turn);
    let is_queued = state.queue.iter().any(|waiting| waiting.seq == turn);
    let runs = |open: &Open| matches!(open.state, State::Started { boot, .. } if boot == door.engine.boot());
    let frozen = door.engine.home().switches().frozen;
    frozen && (is_queued || (is_open && !state.effects.values().any(runs)))
}

/// A call as its model wrote it.
#[derive(Clone, Debug, Default)]
pub struct CallText {
    pub tool: String,
    pub args: Value,
}

impl CallText {
    /// As JSON, or as what the model wrote instead of it.
    #[must_use]
    pub fn arguments(&self) -> String {
        self.args.as_str().map_or_else(|| self.args.to_string(), str::to_owned)
    }
}

impl Door {
    /// Name and arguments of a call; empty where its text is erased.
    pub(crate) fn call_text(&self, call: &CallRef) -> Result<CallText, Problem> {
        let Some(bytes) = self.bytes(&call.calls)? else {
            return Ok(CallText { tool: call.tool.clone().unwrap_or_default(), args: Value::Null });
        };
        let calls: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let index = usize::try_from(call.index).unwrap_or(usize::MAX);
        let function = calls.get(index).and_then(|call| call.get("function"));
        let text = |field: &str| function.and_then(|f| f.get(field)).and_then(Value::as_str).unwrap_or_default();
        let arguments = text("arguments");
        let args = serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments));
        Ok(CallText { tool: text("name").to_owned(), args })
    }

    /// The call that an effect of this session is, and its facts.
    pub(crate) fn call_of(&self, state: &Session, effect: EffectId) -> Result<(CallText, Value), Problem> {
        match state.effects.get(&effect).map(|open| &open.work) {
            Some(Work::Tool { call, judged, .. }) => {
                let facts = judged.as_ref().map_or(Value::Null, |judged| json!(judged.facts));
                Ok((self.call_text(call)?, facts))
            }
            Some(Work::Model { model, .. }) => Ok((CallText { tool: model.clone(), args: Value::Null }, Value::Null)),
            None => Ok(Default::default()),
        }
    }
}

/// What a question asks.
#[must_use]
pub fn question_of(call: &CallText) -> String {
    let field = |name: &str| call.args.get(name).and_then(Value::as_str).map(str::to_owned);
    field("question").or_else(|| field("text")).unwrap_or_else(|| call.arguments())
}
