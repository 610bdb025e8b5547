//! What a content may influence and where it may flow.
use serde::{Deserialize, Serialize};

/// How far a content may travel; ordered, `Public` lowest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidentiality {
    Public,
    Internal,
    Secret,
}

/// Whether a content may give reasons for an act. Nothing becomes trusted retroactively.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    Untrusted,
    Trusted,
}

/// Where a content came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Config,
    Principal,
    /// Earlier messages that a client quoted; nobody vouches for them.
    Quoted,
    Model,
    Tool,
    Memory,
    Runtime,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    pub conf: Confidentiality,
    pub integrity: Integrity,
    pub source: Source,
}

impl Label {
    /// Until the guard labels finely, only the operator's own words are trusted.
    #[must_use]
    pub const fn of(source: Source) -> Self {
        let integrity = match source {
            Source::Config | Source::Runtime => Integrity::Trusted,
            Source::Principal | Source::Quoted | Source::Model | Source::Tool | Source::Memory => Integrity::Untrusted,
        };
        Self { conf: Confidentiality::Internal, integrity, source }
    }
}
