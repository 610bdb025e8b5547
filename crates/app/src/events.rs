//! Server-sent events as a command reads them: whole events out of chunks that are cut anywhere.
use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::exit::{Failure, Outcome};
use crate::limits::EVENT_BYTES_MAX;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

#[derive(Debug)]
pub struct Events {
    body: Body,
    lines: Lines,
}

impl Events {
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, lines: Lines::default() }
    }

    /// The next event; none once the stream has ended. May be dropped and called again.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Outcome<Option<Event>> {
        loop {
            if let Some(event) = self.lines.event() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| Failure::fault(format!("the stream of events broke off: {error}")))?;
            if let Ok(bytes) = frame.into_data() {
                self.lines.feed(&bytes)?;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() > EVENT_BYTES_MAX {
            return Err(Failure::fault(format!("an event has more than {EVENT_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    /// Takes the next event that its blank line has ended; comments are no events.
    fn event(&mut self) -> Option<Event> {
        loop {
            let end = self.waiting.windows(2).position(|pair| pair == b"\n\n")?;
            let rest = self.waiting.split_off(end.saturating_add(2));
            let block = std::mem::replace(&mut self.waiting, rest);
            let block = String::from_utf8_lossy(&block);
            let (mut name, mut data) = (String::new(), Vec::new());
            for line in block.lines() {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => value.clone_into(&mut name),
                    "data" => data.push(value),
                    _ => {}
                }
            }
            if !data.is_empty() {
                return Some(Event { name, data: serde_json::from_str(&data.join("\n")).unwrap_or(Value::Null) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_come_whole_however_the_bytes_are_cut() {
        let text = b": hello\n\nid: 3\nevent: planned\ndata: {\"a\":1}\n\nevent: delta\ndata: {\"text\":\"x\"}\n\nevent: cut\ndata: {";
        for size in 1..text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for chunk in text.chunks(size) {
                lines.feed(chunk).unwrap();
                found.extend(std::iter::from_fn(|| lines.event()));
            }
            let expected = [("planned", json!({"a": 1})), ("delta", json!({"text": "x"}))];
            let expected = expected.map(|(name, data)| Event { name: name.to_owned(), data });
            assert_eq!(found, expected, "chunks of {size}");
        }
    }

    #[test]
    fn an_event_without_an_end_does_not_fill_the_memory() {
        let mut lines = Lines::default();
        assert!(lines.feed(&vec![b'x'; EVENT_BYTES_MAX + 1]).is_err());
    }
}
