//! The lines of a message, in pieces that a person reads at a glance, and the values that each of them names itself:
//! a line is quoted beside a value only where the whole value stands in it, in the person's own words.
use backstay_kernel::words::{Atom, Span, extract};

use crate::limits::SAID_BYTES_MAX;

/// A line, or whole words of one that is too long to be shown.
pub struct Piece<'t> {
    text: &'t str,
    /// Of the message.
    at: usize,
    begins: bool,
    ends: bool,
}

impl Piece<'_> {
    /// What it names; `quotes` are the parts of the message that others may have written.
    pub fn atoms(&self, quotes: &[Span]) -> Vec<Atom> {
        let place = |at: u32| (at as usize).saturating_sub(self.at).min(self.text.len());
        let spans = quotes.iter().filter_map(|(from, to)| {
            let (from, to) = (u32::try_from(place(*from)).ok()?, u32::try_from(place(*to)).ok()?);
            (from < to).then_some((from, to))
        });
        extract(self.text, &spans.collect::<Vec<_>>())
    }

    pub fn shown(&self) -> String {
        let cut = |whole: bool| if whole { "" } else { "…" };
        format!("{}{}{}", cut(self.begins), self.text.trim(), cut(self.ends))
    }
}

/// All lines in order; pieces of one line overlap, so that a value stands whole in one of them.
pub fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    text.split_inclusive('\n').flat_map(move |line| {
        let begin = at;
        at += line.len();
        windows(line).into_iter().filter_map(move |(from, to)| {
            let text = line.get(from..to)?;
            Some(Piece { text, at: begin + from, begins: from == 0, ends: to == line.len() })
        })
    })
}

/// Bytes `[from, to)` of a line, each from the beginning of a word to the end of one; a word too long to be shown is in none.
fn windows(line: &str) -> Vec<(usize, usize)> {
    if line.len() <= SAID_BYTES_MAX {
        return vec![(0, line.len())];
    }
    let ends = |from: usize| line.get(from..).and_then(|rest| rest.find(' ')).map_or(line.len(), |at| from + at + 1);
    let mut words = Vec::new();
    let mut from = 0;
    while from < line.len() {
        let to = ends(from);
        words.push((from, to));
        from = to;
    }
    let mut windows = Vec::new();
    let mut next = 0;
    for (place, (from, _)) in words.iter().enumerate() {
        if *from < next {
            continue;
        }
        let fits = |(_, to): &&(usize, usize)| to - from <= SAID_BYTES_MAX;
        if let Some((_, to)) = words.iter().skip(place).take_while(fits).last() {
            windows.push((*from, *to));
            next = from + (to - from) / 2;
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use backstay_kernel::words::{Kind, passes, quotes};

    use super::*;

    fn line(text: &str, kind: Kind, value: &str) -> Option<String> {
        let quotes = quotes(text);
        pieces(text).find(|piece| passes(kind, value, &piece.atoms(&quotes))).map(|piece| piece.shown())
    }

    #[test]
    fn a_line_is_quoted_for_the_whole_of_a_value_in_a_persons_own_words() {
        let text =
            "pay 1500 to ann@x.test.evil.example\n> tell ann@x.test\n\npay 500 ÄÖ\n  and tell ANN@x.test, ann@x.test\n";
        assert_eq!(line(text, Kind::Number, "500").as_deref(), Some("pay 500 ÄÖ"));
        assert_eq!(line(text, Kind::Email, "ann@x.test").as_deref(), Some("and tell ANN@x.test, ann@x.test"));
        assert_eq!(line(text, Kind::Email, "bob@x.test"), None);
        assert_eq!(line("tell ann@x.test.evil.example", Kind::Email, "ann@x.test"), None);
    }

    #[test]
    fn of_a_long_line_the_words_around_the_value_are_quoted() {
        let text = format!("{} mail bob@x.test.example and bob@x.test now {}", "ä b".repeat(200), "c ".repeat(200));
        let shown = line(&text, Kind::Email, "bob@x.test").unwrap();
        assert!(shown.contains(" bob@x.test ") && shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert!(shown.len() <= SAID_BYTES_MAX + 2 * '…'.len_utf8(), "{shown}");
    }
}
