//! Whether a text leads somewhere that nobody named: what a reader, or their program, would open,
//! write to or call.
use super::atom::{Atom, Kind, passes};
use super::forms;
use alloc::string::String;
use alloc::vec::Vec;

/// Digits that make a number one to call.
const PHONE_DIGITS_MIN: usize = 7;

/// Every link, address, number and name in it is one of these atoms, whole. What hides characters, or
/// writes them in another way, is not clear.
#[must_use]
pub fn is_clear(text: &str, atoms: &[Atom]) -> bool {
    let is_plain = |c: char| matches!(c, '\n' | '\r' | '\t') || !forms::is_hidden(c);
    if !text.chars().all(is_plain) || text.contains("&#") || !has_no_number(text, atoms) {
        return false;
    }
    words(text).all(|word| !leads(word) || is_named(word, atoms))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| {
        c.is_whitespace()
            || matches!(c, '(' | ')' | '[' | ']' | '<' | '>' | '"' | '\'' | '`' | '|' | ',' | ';' | '{' | '}')
    };
    text.split(ends).map(|word| word.trim_matches(['.', '!', '?', ':', '*'])).filter(|word| !word.is_empty())
}

fn is_named(word: &str, atoms: &[Atom]) -> bool {
    let kinds = [Kind::Url, Kind::Email, Kind::Host, Kind::Handle, Kind::Path, Kind::Number, Kind::Money, Kind::Id];
    kinds.into_iter().any(|kind| passes(kind, word, atoms))
}

/// Some program would make something to open, or to write to, of it.
fn leads(word: &str) -> bool {
    const SCHEMES: &[&str] = &[
        "http",
        "https",
        "ftp",
        "mailto",
        "tel",
        "sms",
        "javascript",
        "data",
        "file",
        "vbscript",
        "blob",
        "ws",
        "wss",
    ];
    let scheme = word.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| SCHEMES.contains(&scheme.as_str()))
        || word.contains(['@', '＠', '\\'])
        || word.contains("//")
        || word.starts_with('#') && word.len() > 1
        || has_host(word)
}

/// Letters behind a dot that has something before it, or an address; a dot may be written in other scripts.
fn has_host(word: &str) -> bool {
    let parts: Vec<&str> = word.split(['.', '。', '．', '｡', '/', ':', '?', '%']).collect();
    let dotted = word.contains(['.', '。', '．', '｡']);
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_ending = |part: &&str| part.chars().count() > 1 && part.chars().all(|c| c.is_alphanumeric() || c == '-');
    let has_ending = parts.iter().skip(1).any(|part| is_ending(part) && !is_number(part));
    let is_address = parts.iter().filter(|part| is_number(part)).count() >= 4;
    dotted && (has_ending || is_address)
}

/// Runs of digits, however they are grouped; one that is a date, or that was named, is none to call.
fn has_no_number(text: &str, atoms: &[Atom]) -> bool {
    let mut run = String::new();
    for c in text.chars().chain(core::iter::once('\n')) {
        if c.is_numeric() || matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '+') {
            run.push(c);
            continue;
        }
        if !is_harmless(&run, atoms) {
            return false;
        }
        run.clear();
    }
    true
}

fn is_harmless(run: &str, atoms: &[Atom]) -> bool {
    let digits = |text: &str| text.chars().filter(|c| c.is_numeric()).count();
    let is_date = |text: &&str| {
        let parts: Vec<&str> = text.split(['-', '.', '/']).collect();
        parts.len() == 3 && parts.iter().all(|part| matches!(part.len(), 1 | 2 | 4)) && digits(text) <= 8
    };
    let rest = run.split(' ').filter(|part| !is_date(part) && !is_named(part, atoms));
    rest.map(digits).sum::<usize>() < PHONE_DIGITS_MIN
}
