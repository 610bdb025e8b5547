//! Whether a message names something by the name that it has on some list.
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::atom::{Atom, Kind, passes};

/// How a name may stand in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// As any words of it: the list is the operator's own.
    Plain,
    /// In quotes, with a sign of names before it, or written as names are within a sentence: no stranger
    /// can put one into the list.
    Named,
    /// With this sign alone: whoever can put a name into the list may take any other words of a message.
    Signed(Sign),
}

/// What makes a word of a message a name of one list, and of no other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Sign {
    #[serde(rename = "@")]
    At,
    #[serde(rename = "#")]
    Hash,
    /// People quote much that is no name: this is for names that nobody gives himself.
    #[serde(rename = "quoted")]
    Quoted,
}

/// Letters of a name that may stand there unmarked.
const UNMARKED_CHARS_MIN: usize = 3;

/// Whether these words name it. A name of which two could be taken for one, to the eye, is none.
#[must_use]
pub fn is_named(name: &str, manner: Manner, said: &[Atom]) -> bool {
    let bare = name.strip_prefix(['@', '#']).unwrap_or(name);
    let Some(Atom(_, words)) = Atom::of(Kind::Words, bare) else { return false };
    let sentences = || said.iter().filter(|atom| atom.0 == Kind::Words).map(|atom| atom.1.as_str());
    let is_hashed = |sentence: &str| sentence.split(' ').any(|word| word.strip_prefix('#') == Some(&words));
    let has = |sign| match sign {
        Sign::At => Atom::of(Kind::Handle, bare).is_some_and(|handle| said.contains(&handle)),
        Sign::Hash => sentences().any(is_hashed),
        Sign::Quoted => passes(Kind::QuotedString, name, said) || passes(Kind::QuotedString, bare, said),
    };
    let has_any = || [Sign::At, Sign::Hash, Sign::Quoted].into_iter().any(has);
    match manner {
        Manner::Signed(sign) => has(sign),
        Manner::Named => has_any() || sentences().any(|sentence| stands_as_name(&words, sentence)),
        Manner::Plain => has_any() || passes(Kind::Words, bare, said),
    }
}

/// The words of a message, whatever their case and whatever is around them: who says so much of a name may have
/// meant it.
pub struct Mentions(Vec<Vec<String>>);

impl Mentions {
    #[must_use]
    pub fn of(said: &[Atom]) -> Self {
        Self(said.iter().filter(|atom| atom.0 == Kind::Words).map(|atom| bare_words(&atom.1)).collect())
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let wanted = bare_words(name);
        !wanted.is_empty() && self.0.iter().any(|said| said.windows(wanted.len()).any(|run| run == wanted))
    }
}

fn bare_words(text: &str) -> Vec<String> {
    let plain: String = text.nfkc().flat_map(char::to_lowercase).collect();
    plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(String::from).collect()
}

/// Within the sentence, after an ordinary word, each of its words written as a name is: what begins a sentence, or
/// is an ordinary word, could be meant as such.
fn stands_as_name(words: &str, sentence: &str) -> bool {
    let looks_like_one = |word: &&str| {
        word.chars().any(|c| c.is_uppercase() || c == '_')
            || word.chars().any(char::is_alphabetic) && word.chars().any(char::is_numeric)
    };
    let words: Vec<&str> = words.split(' ').collect();
    if words.concat().chars().count() < UNMARKED_CHARS_MIN || !words.iter().all(looks_like_one) {
        return false;
    }
    let sentence: Vec<&str> = sentence.split(' ').collect();
    let mut runs = sentence.windows(words.len() + 1);
    runs.any(|run| {
        run.split_first().is_some_and(|(before, run)| before.starts_with(char::is_lowercase) && run == words)
    })
}

/// What a hasty eye sees of a name: two that are equal so are taken for one another.
#[must_use]
pub fn glance(name: &str) -> String {
    name.nfkc().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect()
}
