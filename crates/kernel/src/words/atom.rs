//! Atoms: exact values, each of one kind, in its normal form.
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use super::{forms, numbers};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Email,
    Url,
    Host,
    Money,
    Number,
    Account,
    Path,
    /// A name on some service, for the resolver of a tool alone.
    Handle,
    Id,
    QuotedString,
    /// Words that follow each other, for the resolver of a tool alone.
    Words,
}

/// A value that stands in somebody's own words, in its normal form; stored as `[kind, value]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Atom(pub Kind, pub String);

impl Atom {
    /// The value that the whole of `text` is, where it is one of this kind.
    #[must_use]
    pub fn of(kind: Kind, text: &str) -> Option<Self> {
        let clean = forms::clean(text)?;
        let value = match kind {
            Kind::Email => forms::email(&clean),
            Kind::Url => forms::url(&clean),
            Kind::Host => forms::host(&clean),
            Kind::Money => numbers::money(&clean),
            Kind::Number => numbers::number(&clean),
            Kind::Account => forms::account(&clean),
            Kind::Path => forms::path(&clean),
            Kind::Handle => forms::handle(&clean),
            Kind::Id => forms::id(&clean),
            Kind::QuotedString => Some(clean),
            Kind::Words => Some(clean.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")),
        };
        value.map(|value| Self(kind, value))
    }
}

/// Whether `value` is, as a whole, one of these atoms. Presence is not consent: this says that a person
/// named the value, never that they want the act.
#[must_use]
pub fn passes(kind: Kind, value: &str, atoms: &[Atom]) -> bool {
    let is = |kind| Atom::of(kind, value).is_some_and(|wanted| atoms.contains(&wanted));
    match kind {
        // Who types no scheme gets this one, and no weaker.
        Kind::Url => is(kind) || value.strip_prefix("https:").is_some_and(|bare| is_url(bare, atoms)),
        Kind::Email
        | Kind::Host
        | Kind::Money
        | Kind::Number
        | Kind::Account
        | Kind::Path
        | Kind::Id
        | Kind::QuotedString => is(kind),
        Kind::Handle => is(kind) || is(Kind::QuotedString),
        Kind::Words => {
            let wanted = Atom::of(kind, value);
            let within = |wanted: &Atom| atoms.iter().any(|atom| atom.0 == kind && is_run(&wanted.1, &atom.1));
            is(Kind::QuotedString) || wanted.is_some_and(|wanted| within(&wanted))
        }
    }
}

fn is_url(value: &str, atoms: &[Atom]) -> bool {
    Atom::of(Kind::Url, value).is_some_and(|wanted| atoms.contains(&wanted))
}

/// Whole words of `text`, one after the other.
fn is_run(words: &str, text: &str) -> bool {
    let (words, text): (Vec<&str>, Vec<&str>) = (words.split(' ').collect(), text.split(' ').collect());
    text.windows(words.len()).any(|run| run == words.as_slice())
}
