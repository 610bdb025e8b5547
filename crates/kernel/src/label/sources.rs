//! Where a content came from: a set, since a context comes from many places.
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, SeqAccess, Visitor, value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Config,
    Principal,
    /// What somebody repeats and nobody vouches for: earlier messages of a client, a quote, a paste.
    Quoted,
    Model,
    Tool,
    Memory,
    Runtime,
    /// A journal that this home has not written itself: of a restore or an import.
    Elsewhere,
}

impl Source {
    pub const ALL: [Self; 8] = [
        Self::Config,
        Self::Principal,
        Self::Quoted,
        Self::Model,
        Self::Tool,
        Self::Memory,
        Self::Runtime,
        Self::Elsewhere,
    ];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Principal => "principal",
            Self::Quoted => "quoted",
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Memory => "memory",
            Self::Runtime => "runtime",
            Self::Elsewhere => "elsewhere",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Config => 1,
            Self::Principal => 1 << 1,
            Self::Quoted => 1 << 2,
            Self::Model => 1 << 3,
            Self::Tool => 1 << 4,
            Self::Memory => 1 << 5,
            Self::Runtime => 1 << 6,
            Self::Elsewhere => 1 << 7,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Sources(u8);

impl Sources {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub const fn only(source: Source) -> Self {
        Self(source.bit())
    }

    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn contains(self, source: Source) -> bool {
        self.0 & source.bit() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Source> {
        Source::ALL.into_iter().filter(move |source| self.contains(*source))
    }
}

impl FromIterator<Source> for Sources {
    fn from_iter<I: IntoIterator<Item = Source>>(sources: I) -> Self {
        sources.into_iter().fold(Self::NONE, |all, source| all.union(Self::only(source)))
    }
}

impl Serialize for Sources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all: Vec<Source> = self.iter().collect();
        match all.as_slice() {
            [one] => one.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Sources;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a source, or a list of sources")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Sources, E> {
                Source::deserialize(value::StrDeserializer::new(word)).map(Sources::only)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sources, A::Error> {
                let mut all = Sources::NONE;
                while let Some(source) = list.next_element()? {
                    all = all.union(Sources::only(source));
                }
                Ok(all)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}
