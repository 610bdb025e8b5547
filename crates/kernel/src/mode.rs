//! How much an agent, a door or the whole home does for now: a switch of an operator's, thrown like a
//! freeze, and seen at the last look.
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::tool::EffectClass;

/// The later is the stricter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkMode {
    #[default]
    Normal,
    /// A call that does more than read is judged, told to the model as not made, and not made.
    DryRun,
    /// A call that does more than read is refused.
    ReadOnly,
}

impl WorkMode {
    pub const ALL: [Self; 3] = [Self::Normal, Self::DryRun, Self::ReadOnly];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::DryRun => "dry_run",
            Self::ReadOnly => "read_only",
        }
    }

    /// Whether no call of this class is made.
    #[must_use]
    pub fn holds_back(self, class: EffectClass) -> bool {
        match (self, class) {
            (Self::Normal, _) | (_, EffectClass::Read) => false,
            (
                Self::DryRun | Self::ReadOnly,
                EffectClass::Write | EffectClass::Execute | EffectClass::Send | EffectClass::Spend,
            ) => true,
        }
    }
}

/// What a mode is of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Home,
    Agent(String),
    /// What comes in by this door.
    Channel(String),
}

/// Every mode that is not the normal one, in the order in which they were set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Modes(Vec<(Scope, WorkMode)>);

impl Modes {
    #[must_use]
    pub fn get(&self, scope: &Scope) -> WorkMode {
        self.iter().find(|(of, _)| *of == scope).map(|(_, mode)| mode).unwrap_or_default()
    }

    pub(crate) fn set(&mut self, scope: &Scope, mode: WorkMode) {
        self.0.retain(|(of, _)| of != scope);
        if mode != WorkMode::Normal {
            self.0.push((scope.clone(), mode));
        }
    }

    /// The strictest that holds for a turn of this agent that came in by this door.
    #[must_use]
    pub fn of(&self, agent: &str, channel: &str) -> WorkMode {
        let applies = |scope: &Scope| match scope {
            Scope::Home => true,
            Scope::Agent(name) => name == agent,
            Scope::Channel(name) => name == channel,
        };
        self.iter().filter(|(scope, _)| applies(scope)).map(|(_, mode)| mode).max().unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Scope, WorkMode)> {
        self.0.iter().map(|(scope, mode)| (scope, *mode))
    }
}
