//! What should be running now, and how it may end.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::budget::Usage;
use crate::facts::{Facts, Invalid};
use crate::id::{BodyRef, EffectId, Millis, RepeatKey, Seq};
use crate::label::Label;
use crate::record::InScope;

/// One call of a model reply: entry `index` of the stored array `calls`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRef {
    /// JSON array as OpenAI writes `tool_calls`: `[{"id","type":"function","function":{"name","arguments"}}]`.
    pub calls: BodyRef,
    pub index: u32,
    /// The tool, where the policy knows one of that name.
    pub tool: Option<String>,
    /// Equal for equal (tool, canonical arguments).
    pub repeat: RepeatKey,
}

/// Something that should be going on now. Level, not edge: the same answer until it has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Render the request of a planned model call. Pure.
    Prepare { id: EffectId, model: String, output_tokens_max: u64, plans: bool },
    /// Find out what a call is. Pure.
    Inspect { id: EffectId, call: CallRef },
    /// Send the prepared request.
    Model { id: EffectId, started: Seq, model: String },
    /// Run a judged call.
    Tool { id: EffectId, started: Seq, call: CallRef, pure: bool },
    /// Find out whether a call of a dead process happened. Pure.
    Probe { id: EffectId, call: CallRef, facts: Box<Facts> },
}

impl Effect {
    #[must_use]
    pub fn id(&self) -> EffectId {
        match self {
            Self::Prepare { id, .. }
            | Self::Inspect { id, .. }
            | Self::Model { id, .. }
            | Self::Tool { id, .. }
            | Self::Probe { id, .. } => *id,
        }
    }

    /// Pure effects may run before their records are durable (I1).
    #[must_use]
    pub fn is_pure(&self) -> bool {
        match self {
            Self::Prepare { .. } | Self::Inspect { .. } | Self::Probe { .. } => true,
            Self::Tool { pure, .. } => *pure,
            Self::Model { .. } => false,
        }
    }
}

/// Why the model stopped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    Stop,
    Calls,
    /// The output limit cut it.
    Length,
    Refusal,
}

/// What a failed model call asks for; the provider's client classifies, the kernel decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Not reached, reset, 408, 409, 5xx, 529, a cut stream, nonsense: the same again.
    RetrySame,
    /// 429 with or without a delay: wait.
    Wait,
    /// The request is larger than the model takes: a smaller one.
    Shrink,
    /// Credentials: no retry helps.
    Auth,
    /// Billing or a spend cap.
    Quota,
    /// The provider refuses the request for what it is.
    Policy,
    /// The request itself is wrong (400, 404, 422): a fault of the set-up or of Backstay.
    Invalid,
}

/// How an attempt of a model call ended without a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub class: FailureClass,
    /// The vendor's own delay, as a point in time.
    pub retry_at: Option<Millis>,
    /// What the vendor or the network said, stored as a body.
    pub detail: BodyRef,
    /// False where no bill can come of it (not reached, refused); else the reservation stays.
    pub billed: bool,
    /// Random, 0 to 999, drawn by the engine: the kernel has no dice.
    pub jitter_permille: u64,
}

/// How a started effect ended, as the engine reports it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Replied {
        text: Option<BodyRef>,
        calls: Vec<CallRef>,
        finish: Finish,
        usage: Option<Usage>,
    },
    /// The reply of a model that was to plan, and what of it counts.
    Scoped {
        said: Option<BodyRef>,
        entries: Vec<InScope>,
        body: BodyRef,
        finish: Finish,
        usage: Option<Usage>,
    },
    ModelFailed(Failure),
    /// The tool did it.
    Done {
        result: BodyRef,
        /// All that it put out, where `result` is a part of it.
        spill: Option<BodyRef>,
        repeat: RepeatKey,
        /// Of what went into the result, beyond what the tool declares.
        label: Label,
        /// The id of what it created, where its tool says where that stands.
        created: Option<BodyRef>,
    },
    /// The tool did not do it, certainly; `result` says why.
    Failed {
        result: BodyRef,
        repeat: RepeatKey,
        label: Label,
    },
    /// Nobody knows, and nothing of it runs any more.
    Unknown,
    /// It has outlived its limit, and still runs.
    Overdue,
    /// Stopped before it did anything.
    NotStarted,
}

/// What an inspection found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inspection {
    Facts(Facts),
    Invalid { why: Invalid, detail: BodyRef },
}

/// What a probe found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probed {
    /// The world is as after the call.
    Done,
    /// The world is as before the call.
    NotDone,
    /// Neither.
    Neither,
}
