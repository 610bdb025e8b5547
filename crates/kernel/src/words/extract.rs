//! Finds the atoms of a typed text. What could be read in two ways, belongs to a date, a time or the
//! numbering of a list, or stands in a sentence that says "not", gives none: a missing atom costs a
//! question, a wrong one an act.
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use super::atom::{Atom, Kind};
use super::parts::{Span, is_line_end, own_parts};
use super::{forms, numbers};
use crate::limits::{ATOMS_BYTES_MAX, ATOMS_MAX};

/// The atoms in the parts of a text that are the person's own, in the order of the text. Words come
/// beside the limits, which hold for what is stored.
#[must_use]
pub fn extract(text: &str, quotes: &[Span]) -> Vec<Atom> {
    let mut sentence = Sentence::default();
    for line in own_parts(text, quotes).into_iter().flat_map(|part| part.split(is_line_end)) {
        let tokens = tokens(line);
        if tokens.is_empty() {
            sentence.end();
        }
        for (place, piece) in tokens.split_inclusive(Token::ends_sentence).enumerate() {
            sentence.pieces.push((piece.to_vec(), place == 0));
            if piece.last().is_some_and(Token::ends_sentence) {
                sentence.end();
            }
        }
    }
    sentence.end();
    sentence.found.atoms
}

/// A sentence as far as it was read: to its end or to an empty line, over as many lines as it takes.
#[derive(Default)]
struct Sentence<'t> {
    /// Its words line by line, and whether a line begins with them.
    pieces: Vec<(Vec<Token<'t>>, bool)>,
    /// "Do not touch:" speaks of the next one.
    is_denied: bool,
    /// And of each item of a list that follows.
    denies_list: bool,
    found: Found,
}

impl Sentence<'_> {
    fn end(&mut self) {
        let pieces = mem::take(&mut self.pieces);
        let Some(last) = pieces.last().and_then(|(tokens, _)| tokens.last()) else { return };
        let is_item = pieces.first().is_some_and(|(tokens, begins_line)| {
            !begins_line || tokens.first().is_some_and(|first| first.marks_item(tokens.len()))
        });
        let is_listed = self.denies_list && is_item;
        let denies = || pieces.iter().flat_map(|(tokens, _)| tokens).any(Token::denies);
        let is_denied = self.is_denied || is_listed || denies();
        if !is_denied {
            pieces.iter().for_each(|(tokens, begins_line)| of_piece(tokens, *begins_line, &mut self.found));
        }
        // Its first item may stand in the sentence itself.
        let opens = |(tokens, _): &(Vec<Token<'_>>, bool)| tokens.last().is_some_and(|last| last.raw.ends_with(':'));
        self.denies_list = is_listed || is_denied && pieces.iter().any(opens);
        self.is_denied = is_denied && last.raw.ends_with(':');
    }
}

#[derive(Default)]
struct Found {
    atoms: Vec<Atom>,
    /// Of those that are no words.
    count: usize,
    bytes: usize,
}

impl Found {
    fn add(&mut self, kind: Kind, text: &str) -> bool {
        let Some(atom) = Atom::of(kind, text) else { return false };
        if self.atoms.contains(&atom) {
            return true;
        }
        let bytes = self.bytes + atom.1.len();
        if kind == Kind::Words {
            self.atoms.push(atom);
        } else if self.count < ATOMS_MAX && bytes <= ATOMS_BYTES_MAX {
            (self.count, self.bytes) = (self.count + 1, bytes);
            self.atoms.push(atom);
        }
        true
    }
}

#[derive(Clone, Copy)]
struct Token<'t> {
    raw: &'t str,
    /// Without the punctuation around it.
    text: &'t str,
    /// The inside of a pair of quotation marks.
    is_quoted: bool,
}

impl<'t> Token<'t> {
    /// A word that a mark without its other half touches.
    const GONE: Self = Self { raw: "", text: "", is_quoted: false };

    fn plain(raw: &'t str) -> Self {
        let mut text = raw.trim_start_matches(['(', '[', '{', '<']);
        loop {
            let shorter = text.trim_end_matches(['.', ',', ';', ':', '!', '?', ']', '}', '>']);
            let shorter = if shorter.contains('(') { shorter } else { shorter.trim_end_matches(')') };
            if shorter.len() == text.len() {
                return Self { raw, text, is_quoted: false };
            }
            text = shorter;
        }
    }

    fn ends_sentence(&self) -> bool {
        // The number of a list item ends nothing.
        !self.is_quoted && self.raw.ends_with(['.', '!', '?']) && !self.is_count()
    }

    fn denies(&self) -> bool {
        const WORDS: &[&str] = &[
            "not", "no", "never", "dont", "neither", "nor", "without", "except", "avoid", "nicht", "kein", "keine",
            "keinen", "nie", "niemals", "ne", "pas", "jamais", "nunca", "cannot",
        ];
        let word = self.text.to_lowercase().replace('’', "'");
        !self.is_quoted && (WORDS.contains(&word.as_str()) || word.ends_with("n't"))
    }

    /// Where it begins a line of so many words.
    fn marks_item(&self, words: usize) -> bool {
        let is_numbered = self.is_count() && self.raw.ends_with(['.', ')', ':']);
        words > 1 && (matches!(self.raw, "-" | "*" | "+" | "•" | "–" | "—") || is_numbered)
    }

    fn is_count(&self) -> bool {
        !self.is_quoted && !self.text.is_empty() && self.text.bytes().all(|b| b.is_ascii_digit())
    }

    fn is_number(&self) -> bool {
        !self.is_quoted
            && self.text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            && self.text.ends_with(|c: char| c.is_ascii_digit())
            && self.text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'-' | b'\''))
    }

    fn currency(&self) -> Option<&'static str> {
        numbers::currency(self.text).filter(|_| !self.is_quoted)
    }
}

/// The words of a line, and what stands in quotation marks as one. A line whose marks do not pair has
/// no quoted string, and no word of it that a mark touches is one.
fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut all = Vec::new();
    let mut rest = line;
    while let Some((before, mark)) = first_mark(rest) {
        let (plain, marked) = rest.split_at_checked(before).unwrap_or_default();
        let inside = marked.get(mark.len_utf8()..).unwrap_or_default();
        let Some((content, after)) = close(inside, mark) else {
            let word = |raw| if str::contains(raw, is_mark) { Token::GONE } else { Token::plain(raw) };
            return line.split_whitespace().map(word).collect();
        };
        all.extend(plain.split_whitespace().map(Token::plain));
        all.push(Token { raw: content, text: content, is_quoted: true });
        rest = after;
    }
    all.extend(rest.split_whitespace().map(Token::plain));
    all
}

fn is_mark(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„' | '«' | '»' | '`' | '\'' | '‘' | '’' | '‹' | '›' | '「' | '」')
}

/// An apostrophe is a mark only where a word begins with it.
fn first_mark(text: &str) -> Option<(usize, char)> {
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        let begins = previous.is_whitespace() || matches!(previous, '(' | '[' | '=' | ':');
        if is_mark(c) && (begins || !matches!(c, '\'' | '’')) {
            return Some((at, c));
        }
        previous = c;
    }
    None
}

/// The content up to the mark that closes, and what comes after it.
fn close(text: &str, mark: char) -> Option<(&str, &str)> {
    let closers: &[char] = match mark {
        '"' => &['"'],
        '“' => &['”'],
        '„' => &['“', '”'],
        '«' => &['»'],
        '`' => &['`'],
        '\'' => &['\''],
        '‘' => &['’'],
        _ => return None,
    };
    let ends = |at: &usize| {
        let after = text.get(*at..).unwrap_or_default().chars().nth(1);
        after.is_none_or(|c| !c.is_alphanumeric())
    };
    let at = text.match_indices(closers).map(|(at, _)| at).find(|at| ends(at) || mark != '\'' && mark != '‘')?;
    let (content, rest) = text.split_at_checked(at)?;
    let closed = ends(&at) && !content.is_empty() && !content.contains(is_mark_but_apostrophe);
    let after = rest.get(rest.chars().next().map_or(0, char::len_utf8)..)?;
    closed.then_some((content, after))
}

fn is_mark_but_apostrophe(c: char) -> bool {
    is_mark(c) && !matches!(c, '\'' | '’')
}

fn of_piece(tokens: &[Token<'_>], begins_line: bool, found: &mut Found) {
    let mut at = 0usize;
    while let Some(token) = tokens.get(at) {
        at += match iban(tokens.get(at..).unwrap_or_default()) {
            Some((joined, length)) => {
                found.add(Kind::Account, &joined);
                length
            }
            None => {
                of_token(tokens, at, token, begins_line, found);
                1
            }
        };
    }
    // Words follow each other where nothing stood between them.
    for run in tokens.split(|token| token.text.is_empty()) {
        let words: Vec<&str> = run.iter().map(|token| token.text).collect();
        found.add(Kind::Words, &words.join(" "));
    }
}

/// An IBAN in one word or in groups of four.
fn iban(tokens: &[Token<'_>]) -> Option<(String, usize)> {
    const GROUPS_MAX: usize = 9;
    let mut joined = String::new();
    for (token, length) in tokens.iter().take(GROUPS_MAX).zip(1..) {
        let is_group = token.text.len() <= 4 || length == 1;
        if token.is_quoted || !is_group || !token.text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        joined.push_str(token.text);
        if forms::is_iban(&joined.to_ascii_uppercase()) {
            return Some((joined, length));
        }
        if token.text.len() != 4 {
            return None;
        }
    }
    None
}

fn of_token(tokens: &[Token<'_>], at: usize, token: &Token<'_>, begins_line: bool, found: &mut Found) {
    let text = token.text;
    if token.is_quoted {
        found.add(Kind::QuotedString, text);
    }
    if forms::is_bare_url(text) {
        found.add(Kind::Url, text);
        found.add(Kind::Host, text);
    } else if text.contains("://") {
        found.add(Kind::Url, text);
    } else if text.starts_with('@') {
        found.add(Kind::Handle, text);
    } else if text.contains('@') {
        found.add(Kind::Email, text);
    } else if text.contains('/') {
        found.add(Kind::Path, text);
    } else if token.is_number() || token.is_count() {
        of_number(tokens, at, token, begins_line, found);
    } else if !found.add(Kind::Money, text) {
        let kind = if forms::is_file_name(text) { Kind::Path } else { Kind::Host };
        found.add(kind, text);
        if !text.contains(' ') {
            found.add(Kind::Id, text);
        }
    }
}

/// A number is what stands around it: an amount, a day, the number of a line, or a number.
fn of_number(tokens: &[Token<'_>], at: usize, token: &Token<'_>, begins_line: bool, found: &mut Found) {
    let near = |offset: isize| at.checked_add_signed(offset).and_then(|at| tokens.get(at));
    let is_list = (begins_line && at == 0 && token.raw.ends_with(['.', ')', ':']))
        || (token.raw.ends_with(')') && !token.raw.contains('('));
    let touches = |left: &Token<'_>, right: &Token<'_>| left.is_number() && right.is_number() && left.raw == left.text;
    let is_split =
        near(-1).is_some_and(|before| touches(before, token)) || near(1).is_some_and(|after| touches(token, after));
    let is_date = [-2, -1, 1, 2].into_iter().filter_map(near).any(is_month);
    let is_time = near(1).is_some_and(|after| {
        matches!(after.text.to_lowercase().as_str(), "am" | "pm" | "a.m" | "p.m" | "uhr" | "o'clock" | "h")
    });
    if is_list || is_split || is_date || is_time {
        return;
    }
    let (before, after) = (near(-1).and_then(Token::currency), near(1).and_then(Token::currency));
    let other = |offset| near(offset).is_some_and(Token::is_number);
    match (before, after) {
        (None, None) => {
            found.add(Kind::Number, token.text);
            found.add(Kind::Account, token.text);
            found.add(Kind::Id, token.text);
            found.add(Kind::Host, token.text);
        }
        // Of `5 EUR 6` nobody knows which is meant.
        (Some(code), None) if !other(-2) && token.raw.starts_with(token.text) => {
            found.add(Kind::Money, &alloc::format!("{} {code}", token.text));
        }
        (None, Some(code)) if !other(2) && token.raw == token.text => {
            found.add(Kind::Money, &alloc::format!("{} {code}", token.text));
        }
        _ => {}
    }
}

fn is_month(token: &Token<'_>) -> bool {
    const MONTHS: &[&str] = &[
        "january",
        "february",
        "march",
        "april",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "januar",
        "februar",
        "märz",
        "mai",
        "juni",
        "juli",
        "oktober",
        "dezember",
    ];
    // `may` is more often a verb.
    token.text == "May" || MONTHS.contains(&token.text.to_lowercase().as_str())
}
