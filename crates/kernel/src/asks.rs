//! How often a session may put a question to people.
//!
//! Whoever is asked too often says yes to anything. So a session has one open ask at a time and few in an
//! hour, a call that a person has refused is not asked about again in its task, and an agent that hears one
//! no after another stops doing anything by itself.
use alloc::collections::VecDeque;
use serde::{Deserialize, Serialize};

use crate::effect::CallRef;
use crate::facts::Facts;
use crate::frame::Frame;
use crate::id::{Digest, EffectId, Millis, RepeatKey};
use crate::limits::{ASKS_MS, DENIALS_IN_A_ROW_MAX, DENIALS_MAX};
use crate::record::{Reason, Verdict};
use crate::session::{Open, Session, State};

/// Who stopped a session, where nobody did.
pub const BY_DENIALS: &str = "denials";

/// What a session remembers of its asks.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Asks {
    /// When the asks of an hour were opened, as of the latest; oldest first.
    opened: VecDeque<Millis>,
    /// Noes of people, and asks that nobody answered in time: since the latest yes, and since a person let the
    /// session go on.
    row: u32,
    total: u32,
}

impl Asks {
    pub(crate) fn open(&mut self, at: Millis) {
        self.opened.retain(|opened| is_recent(*opened, at));
        self.opened.push_back(at);
    }

    pub(crate) fn denied(&mut self) {
        self.row = self.row.saturating_add(1);
        self.total = self.total.saturating_add(1);
    }

    pub(crate) fn approved(&mut self) {
        self.row = 0;
    }

    /// A row that has ended its turn is over with it.
    pub(crate) fn turn_ended(&mut self) {
        if self.row >= DENIALS_IN_A_ROW_MAX {
            self.row = 0;
        }
    }

    /// A stop of any other kind, which a program may end, takes nothing back of what people said.
    pub(crate) fn resumed(&mut self) {
        if self.stop_the_session() {
            (self.row, self.total) = (0, 0);
        }
    }

    /// The turn is to end.
    #[must_use]
    pub fn end_the_turn(&self) -> bool {
        self.row >= DENIALS_IN_A_ROW_MAX || self.stop_the_session()
    }

    /// Nothing more is to be done before a person lets the session go on.
    #[must_use]
    pub fn stop_the_session(&self) -> bool {
        self.total >= DENIALS_MAX
    }

    /// When the hour has room for one more, where it has none now.
    fn full_until(&self, most: u32, now: Millis) -> Option<Millis> {
        let recent = || self.opened.iter().filter(|opened| is_recent(**opened, now));
        let too_many = recent().count().checked_sub(usize::try_from(most).unwrap_or(usize::MAX))?;
        recent().nth(too_many).map(|opened| opened.saturating_add(ASKS_MS))
    }
}

fn is_edited(open: &Open) -> bool {
    open.edit.as_ref().is_some_and(|edit| edit.asked_at.is_some())
}

fn is_recent(opened: Millis, now: Millis) -> bool {
    opened.saturating_add(ASKS_MS) > now
}

/// A call that a person said no to: which, and what it was then.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Refused {
    call: RepeatKey,
    facts: Digest,
}

impl Refused {
    pub(crate) fn of(call: &CallRef, facts: &Facts) -> Self {
        Self { call: call.repeat, facts: facts.lasting() }
    }
}

/// The room that asks have in one pass: one that it opens takes it from those behind.
pub struct Room<'a> {
    session: &'a Session,
    /// No ask is open.
    is_free: bool,
    asks: Asks,
    most: u32,
    now: Millis,
}

impl<'a> Room<'a> {
    #[must_use]
    pub fn of(session: &'a Session, frame: &Frame<'_>) -> Self {
        let most = frame.policy.agents.get(&session.agent).map_or(0, |agent| agent.caps.asks_per_hour);
        // One that was edited keeps its place until it is judged; only what is looked up for it may ask before.
        let keeps_place = |(id, open): (&EffectId, &Open)| is_edited(open) && !session.looks_for(*id);
        let is_free = !session.asks() && !session.effects.iter().any(keeps_place);
        Self { session, is_free, asks: session.asks.clone(), most, now: frame.now }
    }

    /// Whether a parked call is to be looked at again: there is room for it, or it waits for something else by now.
    #[must_use]
    pub fn calls(&self, parked_until: Option<Millis>) -> bool {
        self.wait() != Some(parked_until)
    }

    /// What becomes of a verdict: an ask is opened, or waits for room, or was answered before.
    #[must_use]
    pub fn bound(&mut self, effect: EffectId, call: &CallRef, facts: &Facts, verdict: Verdict) -> Verdict {
        let Verdict::Ask { by, .. } = &verdict else { return verdict };
        let refused = Refused::of(call, facts);
        if self.session.turn.as_ref().is_some_and(|turn| turn.refused.contains(&refused)) {
            return Verdict::Deny { by: Reason::Refused };
        }
        // One that is open is only asked anew: its place is its own.
        let is_open =
            |open: &Open| matches!(open.state, State::Asked { .. }) || (is_edited(open) && !self.session.asks());
        if self.session.effects.get(&effect).is_some_and(is_open) {
            return verdict;
        }
        match self.wait() {
            Some(until) => Verdict::Parked { by: by.clone(), until },
            None => {
                self.is_free = false;
                self.asks.open(self.now);
                verdict
            }
        }
    }

    /// What an ask would wait for: the hour, or, without a moment, another ask.
    fn wait(&self) -> Option<Option<Millis>> {
        match self.asks.full_until(self.most, self.now) {
            Some(until) => Some(Some(until)),
            None if !self.is_free => Some(None),
            None => None,
        }
    }
}
