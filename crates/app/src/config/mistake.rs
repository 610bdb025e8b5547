//! What is wrong with a configuration: every mistake at once, each with its place and a way out.
use std::fmt;

use serde::Serialize;

use super::limits::{QUOTED_CHARS_MAX, SUGGEST_CHARS_MAX};

/// The file that places point into.
pub const FILE: &str = "backstay.toml";

/// Where something stands in the file, both counted from 1; columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    pub const START: Self = Self { line: 1, column: 1 };
}

/// What kind of mistake; the words are stable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The file is not there, not a file, too large or not UTF-8.
    Unreadable,
    /// Not TOML.
    Syntax,
    UnknownKey,
    WrongType,
    MissingKey,
    BadValue,
    /// A table's name with other characters than `[a-z0-9_-]`.
    BadName,
    /// A name that nothing in the file or in the program bears.
    UnknownName,
    /// Two rules of one agent with the same name.
    Duplicate,
    /// A key that changes nothing where it stands.
    NotUsed,
    /// A path that cannot be granted or matched.
    BadPath,
    /// A grant that reaches the home's own files.
    OwnFiles,
    /// A door open to the network in clear text.
    InsecureListen,
    /// An ask that nobody could answer.
    NoApprover,
    /// A rule does not do what its example says.
    Example,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Mistake {
    #[serde(flatten)]
    pub place: Place,
    pub code: Code,
    pub message: String,
    /// What to write instead, where that can be told.
    pub suggestion: Option<String>,
}

/// At least one mistake, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    #[must_use]
    pub fn new(mut list: Vec<Mistake>) -> Self {
        list.sort_by(|a, b| (a.place, &a.message).cmp(&(b.place, &b.message)));
        list.dedup();
        Self(list)
    }

    #[cfg(test)]
    pub fn all(&self) -> &[Mistake] {
        &self.0
    }

    /// The first of them and their number, in one line.
    #[must_use]
    pub fn first_of_all(&self) -> String {
        let Some(Mistake { place, message, suggestion, .. }) = self.0.first() else { return String::new() };
        let out = suggestion.as_ref().map(|out| format!("; {out}")).unwrap_or_default();
        let more = match self.0.len().saturating_sub(1) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        format!("{FILE}:{}:{}: {message}{out}{more}", place.line, place.column)
    }

    /// The form for programs: `{"file", "count", "mistakes": [{"line", "column", "code", "message", "suggestion"}]}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "file": FILE, "count": self.0.len(), "mistakes": self.0 })
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            let Place { line, column } = mistake.place;
            write!(f, "{FILE}:{line}:{column}: {}", mistake.message)?;
            match &mistake.suggestion {
                Some(suggestion) => writeln!(f, "; {suggestion}")?,
                None => writeln!(f)?,
            }
        }
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} mistake{plural}", self.0.len())
    }
}

/// Collects; nothing stops at the first.
#[derive(Debug, Default)]
pub struct Collector {
    list: Vec<Mistake>,
}

impl Collector {
    pub fn add(&mut self, place: Place, code: Code, message: impl Into<String>) {
        self.list.push(Mistake { place, code, message: message.into(), suggestion: None });
    }

    pub fn suggest(&mut self, place: Place, code: Code, message: impl Into<String>, suggestion: impl Into<String>) {
        let suggestion = Some(suggestion.into());
        self.list.push(Mistake { place, code, message: message.into(), suggestion });
    }

    /// A name that nothing bears; returns the one that was probably meant.
    pub fn unknown<'n>(
        &mut self,
        place: Place,
        code: Code,
        what: &str,
        written: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) -> Option<&'n str> {
        let message = format!("unknown {what} {}", quoted(written));
        let meant = nearest(written, known.clone());
        match meant {
            Some(name) => self.suggest(place, code, message, format!("did you mean `{name}`?")),
            None => match known.collect::<Vec<_>>().as_slice() {
                [] => self.add(place, code, message),
                names => self.suggest(place, code, message, format!("known are {}", list(names))),
            },
        }
        meant
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[must_use]
    pub fn into_list(self) -> Vec<Mistake> {
        self.list
    }
}

/// `` `a`, `b` or `c` ``.
#[must_use]
pub fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The operator's text in backticks, short, and without characters that a terminal would obey.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::from("`");
    for (count, character) in text.chars().enumerate() {
        if count == QUOTED_CHARS_MAX {
            out.push('…');
            break;
        }
        match character {
            '\'' | '"' | '`' | '\\' => out.push(character),
            other => out.extend(other.escape_debug()),
        }
    }
    out.push('`');
    out
}

/// The known name that was probably meant.
fn nearest<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let length = written.chars().count();
    if length > SUGGEST_CHARS_MAX {
        return None;
    }
    let most = match length {
        0 => return None,
        1..=3 => 1,
        4..=8 => 2,
        _ => 3,
    };
    let begins = |name: &str| length >= 3 && (name.starts_with(written) || written.starts_with(name));
    known
        .map(|name| if begins(name) { (1, name) } else { (distance(written, name), name) })
        .filter(|(steps, _)| *steps <= most)
        .min()
        .map(|(_, name)| name)
}

/// Insertions, deletions and replacements that make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (line, from) in a.chars().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for (pair, to) in row.windows(2).zip(b.chars()) {
            let &[diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(from != to)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let known = ["tools", "read", "write", "api_key_env"];
        for (written, meant) in [
            ("toolz", Some("tools")),
            ("toosl", Some("tools")),
            ("api_key", Some("api_key_env")),
            ("Read", Some("read")),
            ("something_else", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known.into_iter()), meant, "{written}");
        }
    }

    #[test]
    fn quoted_text_cannot_command_a_terminal() {
        assert_eq!(quoted("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert!(quoted(&"x".repeat(500)).chars().count() < 70);
    }

    #[test]
    fn distances_are_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("ab", ""), 2);
    }
}
