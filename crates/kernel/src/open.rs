//! What should be going on now, and what start-up must know of a session without folding it.
use alloc::boxed::Box;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::effect::Effect;
use crate::frame::Frame;
use crate::id::{Millis, Seq};
use crate::session::{Session, State, Work};
use crate::tool::Idempotency;

/// Every effect that should be running; the engine starts what is missing and aborts the rest.
#[must_use]
pub fn open_effects(session: &Session, frame: &Frame<'_>) -> Vec<Effect> {
    let still = session.holds_still(frame.switches);
    let mut out = Vec::new();
    for (id, open) in &session.effects {
        let id = *id;
        match (&open.work, &open.state) {
            (_, State::Started { boot, .. }) if *boot != frame.boot => {}
            (Work::Model { model, .. }, State::Started { seq, .. }) => {
                out.push(Effect::Model { id, started: *seq, model: model.clone() });
            }
            (Work::Tool { call, judged: Some(judged), .. }, State::Started { seq, .. }) => {
                let pure = judged.idempotency == Idempotency::Pure;
                out.push(Effect::Tool { id, started: *seq, call: call.clone(), pure });
            }
            _ if still => {}
            (Work::Model { model, output_tokens_max, plans, .. }, state) if state.is_due(frame.now) => {
                let (output_tokens_max, plans) = (*output_tokens_max, *plans);
                out.push(Effect::Prepare { id, model: model.clone(), output_tokens_max, plans });
            }
            (Work::Tool { call, judged: None, .. }, State::Planned)
                if call.tool.is_some() && !session.looks_for(id) =>
            {
                out.push(Effect::Inspect { id, call: call.clone() });
            }
            (Work::Tool { call, judged: Some(judged), .. }, State::Probing) => {
                out.push(Effect::Probe { id, call: call.clone(), facts: Box::new(judged.facts.clone()) });
            }
            (Work::Model { .. } | Work::Tool { .. }, _) => {}
        }
    }
    out
}

/// What a session waits for; every session has ended its turn or has one (I10).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    Approval,
    Question,
    Doubt,
    /// A call is to be asked about once there is room for its ask.
    Parked,
    /// A call has outlived its limit and still runs.
    Overdue,
    /// The long wait for a provider, after the tries.
    Provider,
    /// For what other sessions have reserved.
    Budget,
    Backoff,
    /// Something runs.
    Running,
    Stopped,
    /// Nothing to do.
    Idle,
}

impl Wait {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Question => "question",
            Self::Doubt => "doubt",
            Self::Parked => "parked",
            Self::Overdue => "overdue",
            Self::Budget => "budget",
            Self::Provider => "provider",
            Self::Backoff => "backoff",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Idle => "idle",
        }
    }

    /// Only a person can end it, now or once it is asked.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        match self {
            Self::Approval | Self::Question | Self::Doubt | Self::Parked => true,
            Self::Overdue
            | Self::Provider
            | Self::Budget
            | Self::Backoff
            | Self::Running
            | Self::Stopped
            | Self::Idle => false,
        }
    }
}

/// Written with every append; start-up reads these and folds only what is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    pub seq: Seq,
    /// Something should be running, or a message waits.
    pub open: bool,
    pub wake_at: Option<Millis>,
    /// Some effect waits for a person.
    pub people: bool,
    pub wait: Wait,
}

#[must_use]
pub fn head(session: &Session) -> Head {
    let waits = session.effects.values().map(|open| wait_of(&open.state));
    let people = waits.clone().any(Wait::needs_a_person);
    // What was started has an end to record, even where nothing may start any more.
    let started = session.effects.values().any(|open| matches!(open.state, State::Started { .. }));
    let runs = session.effects.values().any(|open| matches!(open.state, State::Started { overdue: false, .. }));
    let goes_on = !session.stopped && can_go_on(session);
    // Settlements are heard of in memory only.
    let open = started || goes_on || waits.clone().any(|wait| wait == Wait::Budget);
    let wait = if runs || goes_on {
        Wait::Running
    } else if session.stopped {
        Wait::Stopped
    } else {
        waits.min().unwrap_or(Wait::Idle)
    };
    Head { seq: session.seq, open, wake_at: wake_at(session), people, wait }
}

/// Something runs, can run, or can be planned: the session is busy, not waiting.
fn can_go_on(session: &Session) -> bool {
    let busy = session.effects.values().any(|open| wait_of(&open.state) == Wait::Running);
    let idle = match &session.turn {
        Some(turn) => session.effects.values().all(|open| open.work.turn() != turn.id),
        None => !session.queue.is_empty(),
    };
    busy || idle
}

fn wait_of(state: &State) -> Wait {
    match state {
        State::Planned | State::Ready | State::Started { overdue: false, .. } | State::Probing => Wait::Running,
        State::Started { overdue: true, .. } => Wait::Overdue,
        State::Unfunded { .. } => Wait::Budget,
        State::Asked { .. } => Wait::Approval,
        State::Parked { .. } => Wait::Parked,
        State::Question => Wait::Question,
        State::Backoff { provider_wait: true, .. } => Wait::Provider,
        State::Backoff { provider_wait: false, .. } => Wait::Backoff,
        State::Doubt => Wait::Doubt,
    }
}

/// The earliest moment at which time alone changes something.
fn wake_at(session: &Session) -> Option<Millis> {
    let effects = session.effects.values().filter_map(|open| match &open.state {
        State::Asked { expires_at, .. } => Some(*expires_at),
        State::Parked { until, .. } => *until,
        State::Backoff { not_before: at, .. } | State::Unfunded { until: at } => Some(*at),
        State::Planned | State::Ready | State::Question | State::Started { .. } | State::Probing | State::Doubt => None,
    });
    effects.min()
}

/// When the working time of the open turn is used up, if it goes on running.
#[must_use]
pub fn wall_at(session: &Session, wall_ms: u64, now: Millis) -> Option<Millis> {
    let turn = session.turn.as_ref().filter(|turn| turn.running > 0)?;
    Some(now.saturating_add(wall_ms.saturating_sub(turn.worked_ms(now))))
}
