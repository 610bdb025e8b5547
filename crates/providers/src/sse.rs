//! Server-sent events from bytes that may be cut anywhere.
//!
//! Lines end in LF, CR or both; comments and unknown fields are skipped; an event that its blank
//! line did not end is never given out, so that a cut stream never yields half an event.

use crate::limits::EVENT_BYTES_MAX;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Event {
    /// The `event` field, empty where there was none.
    pub name: String,
    /// The `data` fields, joined by LF.
    pub data: String,
}

/// A line or an event is longer than [`EVENT_BYTES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLong;

#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    after_cr: bool,
    begun: bool,
}

impl Parser {
    /// Takes the next bytes and gives the events that they complete.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        let mut rest = chunk;
        // The LF of a CR LF that was cut in two, or not.
        if let (true, [first, after @ ..]) = (self.after_cr, rest) {
            self.after_cr = false;
            if *first == b'\n' {
                rest = after;
            }
        }
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            let (line, ended) = rest.split_at(end);
            self.extend(line)?;
            events.extend(self.end_line()?);
            rest = match ended {
                [b'\r', b'\n', after @ ..] => after,
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [_, after @ ..] => after,
                [] => &[],
            };
        }
        self.extend(rest)?;
        Ok(events)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len().saturating_add(bytes.len()) > EVENT_BYTES_MAX {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Event>, TooLong> {
        let line = String::from_utf8_lossy(&self.line);
        let line = if self.begun { &*line } else { line.trim_start_matches('\u{feff}') };
        self.begun = true;
        let mut ended = None;
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            ended = std::mem::take(&mut self.has_data).then_some(event);
        } else {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => {
                    if self.event.data.len().saturating_add(value.len()) >= EVENT_BYTES_MAX {
                        return Err(TooLong);
                    }
                    if std::mem::replace(&mut self.has_data, true) {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                "event" => self.event.name = value.to_owned(),
                // Comments (an empty field), `id`, `retry` and what may come.
                _ => {}
            }
        }
        self.line.clear();
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let events = chunks.iter().flat_map(|c| parser.feed(c).unwrap());
        events.map(|e| (e.name, e.data)).collect()
    }

    fn pairs(events: &[(&str, &str)]) -> Vec<(String, String)> {
        events.iter().map(|(n, d)| ((*n).to_owned(), (*d).to_owned())).collect()
    }

    const TRICKY: &str = "\u{feff}: hello\r\ndata: a\r\ndata:b\r\n\r\nevent: x\ndata:  two\nid: 7\n\n\ndata\n\n\
                          event: none\n\nretry: 1\rdata: ä漢😀\r\rdata: lost\n";

    fn tricky() -> Vec<(String, String)> {
        pairs(&[("", "a\nb"), ("x", " two"), ("", ""), ("", "ä漢😀")])
    }

    #[test]
    fn every_line_ending_comments_and_many_data_lines() {
        assert_eq!(parse(&[TRICKY.as_bytes()]), tricky());
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; EVENT_BYTES_MAX / 2 + 1];
        assert_eq!(parser.feed(&chunk), Ok(Vec::new()));
        assert_eq!(parser.feed(&chunk), Err(TooLong));
    }

    #[test]
    fn an_event_of_endless_lines_is_refused() {
        let mut parser = Parser::default();
        let chunk = format!("data: {}\n", "x".repeat(1 << 20));
        assert!((0..10).any(|_| parser.feed(chunk.as_bytes()).is_err()));
    }

    proptest! {
        #[test]
        fn where_chunks_are_cut_makes_no_difference(cuts in prop::collection::vec(0..TRICKY.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&TRICKY.as_bytes()[from..cut]);
                from = cut;
            }
            chunks.push(&TRICKY.as_bytes()[from..]);
            prop_assert_eq!(parse(&chunks), tricky());
        }

        #[test]
        fn any_bytes_are_survived(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let mut parser = Parser::default();
            for chunk in chunks {
                let _ = parser.feed(&chunk);
            }
        }
    }
}
