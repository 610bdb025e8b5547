//! What a record says of a text that a person typed.
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use super::parts::Span;
use crate::id::BodyRef;
use crate::label::{Label, Source};

/// Of a text that came through a door where people speak; of any other there is none.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typed {
    /// The parts that are not the person's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotes: Vec<Span>,
    /// The exact values that the own parts name, an array of [`super::Atom`]; words are found in the
    /// text itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atoms: Option<BodyRef>,
}

impl Typed {
    /// Label of the text, quoted parts included.
    #[must_use]
    pub fn label(&self) -> Label {
        if self.quotes.is_empty() { Label::TYPED } else { Label::TYPED.join(Label::of(Source::Quoted)) }
    }
}
