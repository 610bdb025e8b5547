//! What a verdict rests on: a rule, a grant, a switch, or what the session has seen.
use alloc::boxed::Box;
use alloc::string::String;
use serde::{Deserialize, Serialize};

use crate::flow::Flow;
use crate::mode::WorkMode;
use crate::rule::RuleVerdict;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    ClassDefault,
    Rule(String),
    /// A limit of this rule is used up.
    Limit(String),
    /// A switch holds back whatever does more than read.
    Mode {
        mode: WorkMode,
        /// Allow or ask, without the switch.
        would: RuleVerdict,
    },
    /// Nothing grants it.
    NoGrant,
    /// A person has said yes to the very same call before, for longer than once: to the ask of this id.
    Standing(String),
    /// A person has said no to the very same call in this task.
    Refused,
    /// The session has seen untrusted words; no rule lifts it.
    Flow(Flow),
    /// A rule, a limit or a class asks, and so does what the session has seen: one yes answers both.
    Both {
        by: Box<Self>,
        flow: Flow,
    },
}

impl Reason {
    /// The rule that spoke, by itself or by its limit.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Rule(name) | Self::Limit(name) => Some(name),
            Self::Both { by, .. } => by.rule(),
            Self::ClassDefault
            | Self::NoGrant
            | Self::Refused
            | Self::Standing(_)
            | Self::Flow(_)
            | Self::Mode { .. } => None,
        }
    }

    /// What the session has seen, where that asks.
    #[must_use]
    pub fn flow(&self) -> Option<Flow> {
        match self {
            Self::Flow(flow) | Self::Both { flow, .. } => Some(*flow),
            Self::ClassDefault
            | Self::Rule(_)
            | Self::Limit(_)
            | Self::NoGrant
            | Self::Refused
            | Self::Standing(_)
            | Self::Mode { .. } => None,
        }
    }

    /// A limit is used up, so that a yes lifts it.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        match self {
            Self::Both { by, .. } => by.is_limit(),
            Self::Limit(_) => true,
            Self::ClassDefault
            | Self::Rule(_)
            | Self::NoGrant
            | Self::Refused
            | Self::Standing(_)
            | Self::Flow(_)
            | Self::Mode { .. } => false,
        }
    }
}
