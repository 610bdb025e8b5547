//! A session's state.
//!
//! It holds digests, sizes and names and never text: a session of ten thousand messages stays
//! small, and folding it reads no body.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::asks::{Asks, Refused};
use crate::budget::Amount;
use crate::context::{Answer, Item, Notice};
use crate::effect::{CallRef, Finish};
use crate::facts::Facts;
use crate::flow::{Composed, Named as NamedValues, Spent, Warrant};
use crate::frame::Switches;
use crate::home::Speaks;
use crate::id::{BodyRef, Boot, Digest, EffectId, Millis, RepeatKey, Seq, SessionId, TurnId};
use crate::label::{Label, Source};
use crate::limits;
use crate::record::{Completion, Counted, Mode, Reason, Reservation, StopReason};
use crate::rule::Approvers;
use crate::tool::{Answerer, Idempotency};
use crate::words::Typed;

/// Version of this fold; a snapshot of another version is dropped and folded anew.
pub const FOLD_VERSION: u32 = 23;

/// Made by [`Session::new`], by `apply` and from a snapshot, and by nothing else: what a permit rests
/// on stands in records.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Session {
    pub id: SessionId,
    /// Of the latest record.
    pub seq: Seq,
    pub agent: String,
    /// Who opened it.
    pub principal: String,
    pub channel: String,
    pub lineage: u64,
    pub stopped: bool,
    /// Join of all that has ever entered the context, whatever the window still shows (I7).
    pub label: Label,
    /// The window: what the next request shows. Older items are gone from the state.
    pub items: VecDeque<Item>,
    /// Number of the first item of the window, counted from the session's first.
    pub first_item: u64,
    pub queue: VecDeque<Waiting>,
    pub turn: Option<Turn>,
    /// Every effect that has not ended, and every doubt.
    pub effects: BTreeMap<EffectId, Open>,
    pub spent: Amount,
    /// Reserved and not settled, what was possibly billed included.
    pub reserved: Amount,
    /// Input tokens that the latest billed request was billed for.
    pub billed: Option<Billed>,
    /// Ended calls since the last user input, oldest first.
    pub repeats: VecDeque<Repeat>,
    /// Of URLs that untrusted words may have composed, by the host as it is granted.
    pub composed: BTreeMap<String, Spent>,
    pub asks: Asks,
    /// What its calls created, the latest last.
    pub created: VecDeque<Created>,
}

/// A thing that a call of this tool created, and where the id of it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Created {
    pub tool: String,
    pub id: BodyRef,
}

/// An admitted message that no turn has taken yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Waiting {
    pub seq: Seq,
    pub principal: String,
    pub channel: String,
    pub mode: Mode,
    pub body: BodyRef,
    pub label: Label,
    /// Absent where a program speaks, or where nobody knows who spoke.
    pub typed: Option<Typed>,
}

impl Waiting {
    /// It comes with a message of its own, and begins nothing.
    #[must_use]
    pub fn is_quoted(&self) -> bool {
        self.label.is_only(Source::Quoted)
    }

    /// `None`: another home heard it.
    #[must_use]
    pub fn speaks(&self) -> Option<Speaks> {
        match &self.typed {
            Some(_) => Some(Speaks::Human),
            None if self.label.sources.contains(Source::Elsewhere) => None,
            None => Some(Speaks::Program),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Billed {
    /// Bytes of the request that was billed.
    pub bytes: u64,
    pub input_tokens: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Repeat {
    pub call: RepeatKey,
    /// `None`: there is none (no such tool, wrong arguments, nobody knows how it ended).
    pub result: Option<RepeatKey>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Turn {
    pub id: TurnId,
    /// Of the message that began it: whose rules, budgets and route count.
    pub principal: String,
    pub channel: String,
    /// Who said what it answers; a program as soon as one has said some of it.
    pub speaks: Option<Speaks>,
    /// Of the session, before the turn.
    pub label_before: Label,
    /// What its principal typed in messages and answers: the task's.
    pub said: Vec<Said>,
    /// What the irreversible calls that have started rest on.
    pub spent_warrants: Vec<Warrant>,
    /// What a person has said no to: not asked about again.
    pub refused: Vec<Refused>,
    pub scope: Scope,
    pub step: Step,
    /// Model calls and tool calls so far.
    pub steps: u32,
    pub tool_calls: u32,
    /// Of these, the latest that failed or were refused, one after another.
    pub failing: u32,
    pub spent: Amount,
    pub reserved: Amount,
    /// Working time of what has ended, and since when something runs.
    pub worked_ms: u64,
    pub running: u32,
    pub running_since: Millis,
    pub cancelled: bool,
    /// The request was cut down once because the provider found it too large.
    pub shrunk: bool,
    /// The message that began it, where the window has moved past it.
    pub pinned: Option<Item>,
    pub completion: Completion,
}

impl Turn {
    /// Working time so far; what waits for people, money or providers does not count.
    #[must_use]
    pub fn worked_ms(&self, now: Millis) -> u64 {
        let running = if self.running > 0 { now.saturating_sub(self.running_since) } else { 0 };
        self.worked_ms.saturating_add(running)
    }
}

/// A message or an answer that may name values.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Said {
    pub seq: Seq,
    pub body: BodyRef,
    pub typed: Typed,
}

/// Which calls the person's own words want, as far as they were planned.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Scope {
    /// How many of [`Turn::said`] have their plan, with the one that is under way.
    pub planned: usize,
    /// How many had it before that one.
    pub earlier: usize,
    pub entries: Vec<ScopeEntry>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ScopeEntry {
    pub tool: String,
    pub count: u32,
    /// The calls that have started by it.
    pub taken: Vec<EffectId>,
    /// Where it stands with its arguments: in this array, at this place.
    pub body: BodyRef,
    pub place: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Step {
    /// To be planned.
    Next,
    Model(EffectId),
    Calls {
        calls: BodyRef,
        count: u32,
        slots: Vec<Slot>,
    },
    /// The model has said its last.
    Final {
        text: Option<BodyRef>,
        finish: Finish,
    },
    /// The model call ended for good without a reply.
    Broken(StopReason),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Slot {
    pub effect: EffectId,
    /// The call in the place of the one in the reply, once somebody has edited it.
    pub edited: Option<BodyRef>,
    pub answer: Option<Answer>,
}

impl Slot {
    /// What the model is told: first what was called, where it is not what the model called.
    pub(crate) fn told(&mut self, answer: Answer) -> Answer {
        match self.edited.take() {
            Some(calls) => Answer::Edited { calls, answer: Box::new(answer) },
            None => answer,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Open {
    pub work: Work,
    pub state: State,
    /// Times started.
    pub attempt: u32,
    /// Failed attempts of a model call, or starts of a tool call whose end nobody saw.
    pub failures: u32,
    /// When the first was.
    pub failing_since: Option<Millis>,
    pub provider_waits: u32,
    /// Bytes of the request in flight.
    pub request_bytes: u64,
    /// An earlier attempt may have had its effect: whatever ends it now, it cannot be called
    /// refused, not started or failed any more.
    pub unsure: bool,
    /// It has taken its shares of the limits of rules for good: a later start takes no more.
    pub is_counted: bool,
    /// What it looks something up for: another call. Its end is told to nobody else.
    pub looks_for: Option<EffectId>,
    /// What was looked up for it.
    pub found: Vec<Found>,
    /// Its arguments are not the model's.
    pub edit: Option<Edit>,
}

/// What is known of an edited call.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Edit {
    /// Whose arguments it has now.
    pub by: String,
    pub speaks: Speaks,
    /// As the model wrote it.
    pub before: CallRef,
    pub times: u32,
    /// Until it is judged: when the ask was opened whose place it keeps.
    pub asked_at: Option<Millis>,
}

/// What a lookup came to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Of its call.
    pub lookup: RepeatKey,
    /// Absent where there is no list.
    pub list: Option<BodyRef>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Work {
    /// `plans`: it is shown the person's words alone, and says what they want done.
    Model {
        turn: TurnId,
        model: String,
        output_tokens_max: u64,
        plans: bool,
    },
    Tool {
        turn: TurnId,
        call: CallRef,
        judged: Option<Box<JudgedFacts>>,
    },
}

impl Work {
    #[must_use]
    pub fn turn(&self) -> TurnId {
        match self {
            Self::Model { turn, .. } | Self::Tool { turn, .. } => *turn,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct JudgedFacts {
    pub facts: Facts,
    /// The policy that judged; policies count from 1, and 0 is none of this lineage.
    pub epoch: u64,
    pub idempotency: Idempotency,
    pub answerer: Answerer,
    pub named: NamedValues,
    /// What its URL takes of the day's bytes.
    pub composed: Option<Composed>,
    /// Whoever was asked said yes.
    pub approved: Option<Approved>,
    /// A person said yes for longer than once: to the ask of this id.
    pub standing: Option<String>,
}

/// What a yes was said to. It stands in for the same question, to the same people, and for no other.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Approved {
    pub by: Reason,
    pub approvers: Approvers,
    pub until: Millis,
    pub digest: Digest,
    /// A person was among those who said it.
    pub by_person: bool,
}

/// Where an effect stands in its life.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum State {
    /// A model call to be prepared, a tool call to be inspected.
    Planned,
    Asked {
        by: Reason,
        approvers: Approvers,
        expires_at: Millis,
        digest: Digest,
        /// Who has said yes to exactly this so far.
        yes: Vec<String>,
        /// A person is among them.
        by_person: bool,
        /// When it was opened; 0 where the first records did not say it.
        at: Millis,
    },
    /// To be asked about: once no other ask is open, and not before the hour has room, where it says until when.
    Parked {
        by: Reason,
        until: Option<Millis>,
    },
    /// Allowed; waits for a slot.
    Ready,
    /// Waits for a person's words.
    Question,
    Started {
        seq: Seq,
        boot: Boot,
        epoch: u64,
        reservation: Option<Reservation>,
        counted: Vec<Counted>,
        /// Past its limit.
        overdue: bool,
    },
    /// Waits until others settle what they reserved, or a ledger window ends.
    Unfunded {
        until: Millis,
    },
    Backoff {
        not_before: Millis,
        provider_wait: bool,
    },
    /// Its process died: ask the world.
    Probing,
    Doubt,
}

impl State {
    /// The request of a model call in this state may be rendered and sent.
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        match self {
            Self::Planned => true,
            Self::Backoff { not_before, .. } => *not_before <= now,
            // Worth another look at the ledger whenever the driver looks.
            Self::Unfunded { .. } => true,
            Self::Asked { .. }
            | Self::Parked { .. }
            | Self::Ready
            | Self::Question
            | Self::Started { .. }
            | Self::Probing
            | Self::Doubt => false,
        }
    }
}

impl Session {
    #[must_use]
    pub fn new(id: SessionId) -> Self {
        Self { id, ..Self::default() }
    }

    /// Nothing more starts; what runs goes on.
    #[must_use]
    pub fn holds_still(&self, switches: Switches) -> bool {
        self.stopped || switches.hold()
    }

    /// One of its calls is asked about.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.effects.values().any(|open| matches!(open.state, State::Asked { .. }))
    }

    /// Something is being looked up for this call.
    #[must_use]
    pub fn looks_for(&self, call: EffectId) -> bool {
        self.effects.values().any(|open| open.looks_for == Some(call))
    }

    /// What the next request shows, in order; instructions and tools come before it.
    pub fn context(&self) -> impl Iterator<Item = &Item> {
        const FAILING: &Item = &Item::Notice(Notice::Failing);
        let is_failing = self.turn.as_ref().is_some_and(|turn| turn.failing >= limits::FAILING_WARN);
        self.before_items().chain(&self.items).chain(is_failing.then_some(FAILING))
    }

    /// What of it stands before the items of the window.
    pub fn before_items(&self) -> impl Iterator<Item = &Item> {
        const CUT: &Item = &Item::Notice(Notice::Windowed);
        let pinned = self.turn.as_ref().and_then(|turn| turn.pinned.as_ref());
        let cut = (self.first_item > 0).then_some(CUT);
        pinned.into_iter().chain(cut)
    }

    /// Place in the queue of the message that begins the next turn: the newest interrupt says what is
    /// wanted now; otherwise who waited longest is next.
    #[must_use]
    pub fn next_in_queue(&self) -> Option<usize> {
        let newest = self.queue.iter().rposition(|w| w.mode == Mode::Interrupt && !w.is_quoted());
        newest.or_else(|| self.queue.iter().position(|w| !w.is_quoted()))
    }

    /// How often in a row this call was made with one and the same result, calls on their way
    /// included.
    #[must_use]
    pub fn repeats_of(&self, call: RepeatKey, but: EffectId) -> usize {
        let mut same = self.repeats.iter().rev().filter(|repeat| repeat.call == call);
        let ended = match same.next() {
            Some(last) => 1 + same.take_while(|repeat| repeat.result == last.result).count(),
            None => 0,
        };
        let on_the_way = self.effects.iter().filter(|(id, open)| match &open.work {
            Work::Tool { call: other, judged, .. } => **id != but && other.repeat == call && judged.is_some(),
            Work::Model { .. } => false,
        });
        ended + on_the_way.count()
    }
}
