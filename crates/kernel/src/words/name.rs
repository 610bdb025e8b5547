//! Whether a message names something by the name that it has on some list.
use alloc::string::String;
use alloc::vec::Vec;

use unicode_normalization::UnicodeNormalization as _;

use super::atom::{Atom, Kind, passes};

/// How a name may stand in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// As any words of it: the list is the operator's own.
    Plain,
    /// In quotes, with the sign of a name before it, or written as names are within a sentence: no stranger
    /// can put one into the list.
    Named,
    /// In quotes, or with its sign: whoever can put a name into the list may take a word that people use.
    Marked,
}

/// Letters of a name that may stand there unmarked.
const UNMARKED_CHARS_MIN: usize = 3;

/// Whether these words name it. A name of which two could be taken for one, to the eye, is none.
#[must_use]
pub fn is_named(name: &str, manner: Manner, said: &[Atom]) -> bool {
    let bare = name.strip_prefix(['@', '#']).unwrap_or(name);
    let Some(Atom(_, words)) = Atom::of(Kind::Words, bare) else { return false };
    let sentences = || said.iter().filter(|atom| atom.0 == Kind::Words).map(|atom| atom.1.as_str());
    let is_signed = |sentence: &str| sentence.split(' ').any(|word| word.strip_prefix('#') == Some(&words));
    let handle = Atom::of(Kind::Handle, bare).is_some_and(|handle| said.contains(&handle));
    if passes(Kind::QuotedString, name, said) || passes(Kind::QuotedString, bare, said) || handle {
        return true;
    }
    match manner {
        Manner::Marked => sentences().any(is_signed),
        Manner::Named => sentences().any(|sentence| is_signed(sentence) || stands_as_name(&words, sentence)),
        Manner::Plain => passes(Kind::Words, bare, said),
    }
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
