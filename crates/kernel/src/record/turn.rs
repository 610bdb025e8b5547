//! How a turn ends, and what it leaves behind.
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::budget::Amount;
use crate::effect::FailureClass;
use crate::id::{BodyRef, EffectId, TurnId};
use crate::label::Label;

/// Why a turn ended; exactly one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model says that it is done; nobody checked.
    Claimed,
    StoppedByUser,
    Cap(Cap),
    Loop(LoopRule),
    ContextBlocked,
    OutputLimit,
    Refusal,
    ProviderUnavailable,
    Auth,
    Quota,
    Policy,
    /// The provider calls the request itself wrong.
    Invalid,
    /// A text that the model had to be shown was erased.
    Erased,
    /// The session has seen what the model's provider is not cleared for.
    Clearance,
    /// People said no, or nothing, again and again.
    Denials,
}

/// Of a turn whose model call failed for good.
impl From<FailureClass> for StopReason {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::RetrySame | FailureClass::Wait => Self::ProviderUnavailable,
            FailureClass::Shrink => Self::ContextBlocked,
            FailureClass::Auth => Self::Auth,
            FailureClass::Quota => Self::Quota,
            FailureClass::Policy => Self::Policy,
            FailureClass::Invalid => Self::Invalid,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cap {
    Steps,
    ToolCalls,
    Wall,
    TurnBudget,
    SessionBudget,
    /// A budget that other sessions share.
    SharedBudget,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopRule {
    ExactRepeat,
    /// Calls of whatever kind failed or were refused, one after another.
    FailingCalls,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnEnded {
    pub turn: TurnId,
    pub reason: StopReason,
    pub reply: Option<BodyRef>,
    pub completion: Completion,
    pub spent: Amount,
    /// Of the session now, where it is another than when the turn began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

/// Every call of the turn, by how it ended; goes to the user and the owner.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    pub done: Vec<EffectId>,
    pub failed: Vec<EffectId>,
    pub refused: Vec<EffectId>,
    pub not_started: Vec<EffectId>,
    pub unknown: Vec<EffectId>,
}
