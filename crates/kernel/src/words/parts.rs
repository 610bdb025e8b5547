//! Which parts of a typed text are quoted: what others may have written, readable and without
//! authority.
use alloc::vec::Vec;
use core::mem;

use crate::limits::{FENCE_CHARS_MIN, OWN_PART_CHARS_MAX, QUOTES_MAX};

/// Bytes `[from, to)` of a text.
pub type Span = (u32, u32);

/// How the first line of a forwarded or answered mail begins, in lower case.
const FORWARDED: &[&str] = &[
    "-----original message",
    "---------- forwarded message",
    "begin forwarded message",
    "-----ursprüngliche nachricht",
];
/// How the line above a quoted mail ends, in lower case.
const WROTE: &[&str] = &["wrote:", "schrieb:", "a écrit :", "a écrit:", "escribió:", "ha scritto:"];
/// Names of mail headers, in lower case: two of them one below the other begin a mail.
const HEADERS: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "date",
    "sent",
    "subject",
    "reply-to",
    "return-path",
    "received",
    "message-id",
    "delivered-to",
    "mime-version",
    "content-type",
    "von",
    "an",
    "gesendet",
    "datum",
    "betreff",
    "de",
    "à",
    "objet",
];

/// The quoted parts of what a person typed, in order, none touching the next: quoted lines and what
/// runs on from them, fences, indented code, a mail from its headers to the end of the text, and
/// every part between these that is longer than people type.
#[must_use]
pub fn quotes(text: &str) -> Vec<Span> {
    let mut marked = Marked::default();
    let (mut state, mut at) = (State::Own, 0usize);
    let mut previous: Option<&str> = None;
    for line in text.split_inclusive(is_line_end) {
        let end = at + line.len();
        let reads = matches!(state, State::Own | State::RunsOn);
        let begins_mail = reads && is_header(line) && previous.is_some_and(is_header);
        if begins_mail {
            // The header above belongs to it.
            marked.quote_last_line();
        }
        let is_quoted = begins_mail | state.take(line);
        if begins_mail {
            state = State::Mail;
        }
        marked.line(at, end, is_quoted, line);
        previous = Some(line);
        at = end;
    }
    marked.finish()
}

/// What is left of the text: the parts that are the person's own.
#[must_use]
pub fn own_parts<'t>(text: &'t str, quotes: &[Span]) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let mut from = 0usize;
    let whole = (u32::try_from(text.len()).unwrap_or(u32::MAX), u32::MAX);
    for (start, end) in quotes.iter().chain([&whole]) {
        let (start, end) = (usize::try_from(*start).unwrap_or(usize::MAX), usize::try_from(*end).unwrap_or(usize::MAX));
        // A span that does not fit the text takes all that follows it away.
        let Some(part) = text.get(from..start) else { return parts };
        if !part.is_empty() {
            parts.push(part);
        }
        from = end;
    }
    parts
}

/// Everything that somebody's screen may break a line at.
pub fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Own,
    /// After a quoted line, until an empty one.
    RunsOn,
    Fence(char),
    /// To the end of the text.
    Mail,
}

impl State {
    /// Whether this line is quoted; the state is then that of the next.
    fn take(&mut self, line: &str) -> bool {
        let plain = line.trim();
        match *self {
            Self::Mail => return true,
            Self::Fence(of) => {
                if marks(plain, of) % 2 == 1 {
                    *self = Self::Own;
                }
                return true;
            }
            Self::RunsOn if plain.is_empty() => *self = Self::Own,
            Self::Own | Self::RunsOn => {}
        }
        let lower = plain.to_lowercase();
        let is_mail =
            FORWARDED.iter().any(|start| lower.starts_with(start)) || WROTE.iter().any(|end| lower.ends_with(end));
        let fence = ['`', '~'].into_iter().find(|of| marks(plain, *of) > 0);
        if is_mail {
            *self = Self::Mail;
        } else if let Some(of) = fence {
            if marks(plain, of) % 2 == 1 {
                *self = Self::Fence(of);
            }
        } else if plain.starts_with('>') {
            *self = Self::RunsOn;
        } else {
            let is_code = line.starts_with('\t') || line.starts_with("    ");
            return *self == Self::RunsOn || (is_code && !plain.is_empty());
        }
        true
    }
}

/// Fences of this character in a line. Waves are one at its beginning only: people write them.
fn marks(line: &str, of: char) -> usize {
    let (mut found, mut run) = (0usize, 0usize);
    for c in line.chars() {
        run = if c == of { run + 1 } else { 0 };
        found += usize::from(run == FENCE_CHARS_MIN);
    }
    if of == '~' && !line.starts_with('~') { 0 } else { found }
}

fn is_header(line: &str) -> bool {
    let Some((name, _)) = line.trim().split_once(':') else { return false };
    let name = name.trim_matches(['*', ' ']).to_lowercase();
    HEADERS.contains(&name.as_str())
}

/// Quoted bytes so far, and the part of the person's own that is going on.
#[derive(Default)]
struct Marked {
    spans: Vec<(usize, usize)>,
    own: (usize, usize),
    end: usize,
    own_chars: usize,
    /// Where it is the person's own.
    last_line: Option<(usize, usize)>,
}

impl Marked {
    fn line(&mut self, from: usize, to: usize, is_quoted: bool, line: &str) {
        if is_quoted {
            self.end_own();
            self.quote(from, to);
            self.own = (to, to);
        } else {
            self.own.1 = to;
            self.own_chars += line.chars().count();
        }
        self.end = to;
        self.last_line = (!is_quoted).then_some((from, to));
    }

    fn quote_last_line(&mut self) {
        let Some((from, to)) = self.last_line else { return };
        self.own.1 = from;
        self.end_own();
        self.quote(from, to);
        self.own = (to, to);
    }

    fn quote(&mut self, from: usize, to: usize) {
        match self.spans.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => self.spans.push((from, to)),
        }
    }

    fn end_own(&mut self) {
        let (from, to) = self.own;
        if mem::take(&mut self.own_chars) > OWN_PART_CHARS_MAX {
            self.quote(from, to);
        }
    }

    fn finish(mut self) -> Vec<Span> {
        self.end_own();
        if let Some((from, _)) = self.spans.get(QUOTES_MAX - 1).copied() {
            // Who quotes so often is not understood: the rest is quoted too.
            self.spans.truncate(QUOTES_MAX - 1);
            self.spans.push((from, self.end));
        }
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.spans.into_iter().map(|(from, to)| (offset(from), offset(to))).collect()
    }
}
