//! What a session means to do next: the effects that follow from a message, a reply or a call.
use alloc::string::String;
use serde::{Deserialize, Serialize};

use crate::effect::CallRef;
use crate::id::{EffectId, TurnId};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planned {
    Model {
        turn: TurnId,
        model: String,
        output_tokens_max: u64,
    },
    /// A model is to say what the person's own words want done, and is shown nothing else of the session.
    Scope {
        turn: TurnId,
        model: String,
        output_tokens_max: u64,
    },
    Tool {
        turn: TurnId,
        call: CallRef,
    },
    /// A list that the runtime asks for, to know what the call `of` chooses; no model hears of it.
    Lookup {
        turn: TurnId,
        of: EffectId,
        call: CallRef,
    },
}

impl Planned {
    /// The call of a tool, whoever wants it made.
    #[must_use]
    pub fn call(&self) -> Option<(TurnId, &CallRef)> {
        match self {
            Self::Model { .. } | Self::Scope { .. } => None,
            Self::Tool { turn, call } | Self::Lookup { turn, call, .. } => Some((*turn, call)),
        }
    }
}
