//! What a content may influence and where it may flow: a lattice. What is made of several contents
//! bears the join of their labels, so nothing rises in trust or falls in confidentiality by being
//! mixed, quoted or retold (I7).
mod carried;
mod sources;

pub use sources::{Source, Sources};

use serde::{Deserialize, Serialize};

/// How far a content may travel; ordered, `Public` lowest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidentiality {
    Public,
    Internal,
    Secret,
}

impl Confidentiality {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Secret => "secret",
        }
    }
}

/// Whether a content may give reasons for an act. Nothing becomes trusted retroactively.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    Untrusted,
    Trusted,
}

impl Integrity {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Trusted => "trusted",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    pub conf: Confidentiality,
    pub integrity: Integrity,
    /// One word where there is one, else a list: the first labels knew one source.
    #[serde(rename = "source")]
    pub sources: Sources,
}

impl Label {
    /// Of a context that nothing has entered.
    pub const NOTHING: Self =
        Self { conf: Confidentiality::Public, integrity: Integrity::Trusted, sources: Sources::NONE };
    /// What a person typed at a door for people.
    pub const TYPED: Self = Self { integrity: Integrity::Trusted, ..Self::of(Source::Principal) };

    /// Of what lies in a directory, as long as nobody knows more: anybody may have put it there.
    pub const ROOT: Self = Self::of(Source::Tool);

    /// What comes from there and says nothing more of itself. Only the operator's own words are
    /// trusted.
    #[must_use]
    pub const fn of(source: Source) -> Self {
        let integrity = match source {
            Source::Config | Source::Runtime => Integrity::Trusted,
            Source::Principal | Source::Quoted | Source::Model | Source::Tool | Source::Memory | Source::Elsewhere => {
                Integrity::Untrusted
            }
        };
        Self { conf: Confidentiality::Internal, integrity, sources: Sources::only(source) }
    }

    /// Of what is made of both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            conf: self.conf.max(other.conf),
            integrity: self.integrity.min(other.integrity),
            sources: self.sources.union(other.sources),
        }
    }

    /// `self` is no less confidential, no more trusted and of no fewer sources.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.join(other) == self
    }

    #[must_use]
    pub fn is_trusted(self) -> bool {
        self.integrity == Integrity::Trusted
    }

    /// Something of this label changes what may be done with something of the label `other`.
    #[must_use]
    pub fn is_graver_than(self, other: Self) -> bool {
        self.conf > other.conf || self.integrity < other.integrity
    }

    /// It comes from there and from nowhere else.
    #[must_use]
    pub fn is_only(self, source: Source) -> bool {
        self.sources == Sources::only(source)
    }

    /// What a model says that was shown a context of this label: whoever wrote of it may have put the
    /// words in its mouth.
    #[must_use]
    pub fn said_by_model(self) -> Self {
        Self { sources: self.sources.union(Sources::only(Source::Model)), ..self }
    }
}

impl Default for Label {
    fn default() -> Self {
        Self::NOTHING
    }
}
