//! One item of the context as wire bytes, and the pieces that make the same bytes again (I13).
//!
//! An item's bytes depend on the item alone, never on its neighbours, so that a request costs what
//! was added to it.

use std::sync::Arc;

use backstay_kernel::context::{Answer, EDITED_AFTER, EDITED_BEFORE, Item, Note, REPEAT_WARNING};
use backstay_kernel::id::BodyRef;
use backstay_kernel::request::{Piece, escape};
use serde_json::Value;

use crate::calls::{Call, calls_from_json};
use crate::endpoint::Kind;
use crate::limits::REFERRED_BYTES_MIN;

/// A rendered item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
    pub wire: String,
    /// Expand to exactly `wire`.
    pub pieces: Vec<Piece>,
}

/// This body is absent, or is named as calls and is not a list of at least one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("body {} is missing or not what it should be", .0.id)]
pub struct Missing(pub BodyRef);

type Bodies<'a> = &'a dyn Fn(&BodyRef) -> Option<Arc<[u8]>>;

/// What stands for a text that Anthropic would refuse because nothing in it can be seen.
const BLANK: &str = "(empty)";

/// Renders one item.
///
/// # Errors
/// [`Missing`] names the first body that could not be had.
pub fn item(kind: Kind, item: &Item, bodies: Bodies<'_>) -> Result<Fragment, Missing> {
    let mut out = Writer { wire: String::new(), pieces: Vec::new(), bodies };
    match kind {
        Kind::OpenAi | Kind::OpenAiCompatible | Kind::Rehearsal => openai(item, &mut out)?,
        Kind::Anthropic | Kind::AnthropicCompatible => anthropic(item, &mut out)?,
    }
    Ok(Fragment { wire: out.wire, pieces: out.pieces })
}

struct Writer<'a> {
    wire: String,
    pieces: Vec<Piece>,
    bodies: Bodies<'a>,
}

impl Writer<'_> {
    fn fetch(&self, body: &BodyRef) -> Result<Arc<[u8]>, Missing> {
        (self.bodies)(body).ok_or(Missing(*body))
    }

    fn calls(&self, body: &BodyRef) -> Result<Vec<Call>, Missing> {
        let calls = calls_from_json(&self.fetch(body)?);
        calls.filter(|c| !c.is_empty()).ok_or(Missing(*body))
    }

    /// JSON as it is.
    fn json(&mut self, text: &str) {
        self.wire.push_str(text);
        if let Some(Piece::Text(last)) = self.pieces.last_mut() {
            last.push_str(text);
        } else {
            self.pieces.push(Piece::Text(text.to_owned()));
        }
    }

    /// The inside of a JSON string.
    fn text(&mut self, text: &str) {
        let mut escaped = String::new();
        escape(text, &mut escaped);
        self.json(&escaped);
    }

    /// The same from a body. Bytes that are not UTF-8 are written out, repaired: only a text can
    /// be made again from its body.
    fn body(&mut self, body: BodyRef, bytes: &[u8]) {
        match str::from_utf8(bytes) {
            Ok(text) if bytes.len() >= REFERRED_BYTES_MIN => {
                escape(text, &mut self.wire);
                self.pieces.push(Piece::Escaped(body));
            }
            Ok(text) => self.text(text),
            Err(_) => self.text(&String::from_utf8_lossy(bytes)),
        }
    }

    fn raw(&mut self, body: BodyRef) -> Result<(), Missing> {
        let bytes = self.fetch(&body)?;
        self.wire.push_str(str::from_utf8(&bytes).map_err(|_| Missing(body))?);
        self.pieces.push(Piece::Raw(body));
        Ok(())
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), Missing> {
        match answer {
            Answer::Edited { calls, answer } => {
                let called = self.calls(calls)?;
                self.text(EDITED_BEFORE);
                called.iter().take(1).for_each(|call| self.text(&call.arguments));
                self.text(EDITED_AFTER);
                self.answer(answer)?;
            }
            Answer::Body { body, warned } => {
                let bytes = self.fetch(body)?;
                self.body(*body, &bytes);
                if *warned {
                    self.text(REPEAT_WARNING);
                }
            }
            Answer::Note(note) => {
                self.text(&note.text());
                if let Note::Invalid { detail: Some(detail), .. } = note {
                    let bytes = self.fetch(detail)?;
                    self.text("\n");
                    self.body(*detail, &bytes);
                }
            }
        }
        Ok(())
    }
}

/// Every call has an answer (I4); one that lacks it all the same was never started.
fn answered<'a>(calls: &'a [Call], answers: &'a [Answer]) -> impl Iterator<Item = (&'a Call, &'a Answer)> {
    const NONE: &Answer = &Answer::Note(Note::NotStarted);
    calls.iter().zip(answers.iter().chain(std::iter::repeat(NONE)))
}

fn openai(item: &Item, out: &mut Writer<'_>) -> Result<(), Missing> {
    match item {
        Item::User { body, .. } => {
            let bytes = out.fetch(body)?;
            out.json("{\"role\":\"user\",\"content\":\"");
            out.body(*body, &bytes);
            out.json("\"}");
        }
        Item::Notice(notice) => {
            out.json("{\"role\":\"user\",\"content\":\"");
            out.text(notice.text());
            out.json("\"}");
        }
        Item::Assistant { text, calls } => {
            out.json("{\"role\":\"assistant\",\"content\":");
            match text {
                Some(body) => {
                    let bytes = out.fetch(body)?;
                    out.json("\"");
                    out.body(*body, &bytes);
                    out.json("\"");
                }
                // A message needs a content or calls.
                None => out.json(if calls.is_some() { "null" } else { "\"\"" }),
            }
            if let Some(body) = calls {
                out.calls(body)?;
                out.json(",\"tool_calls\":");
                out.raw(*body)?;
            }
            out.json("}");
        }
        Item::Results { calls, answers } => {
            let calls = out.calls(calls)?;
            for (index, (call, answer)) in answered(&calls, answers).enumerate() {
                out.json(if index == 0 { "" } else { "," });
                out.json("{\"role\":\"tool\",\"tool_call_id\":\"");
                out.text(&call.id);
                out.json("\",\"content\":\"");
                out.answer(answer)?;
                out.json("\"}");
            }
        }
    }
    Ok(())
}

fn anthropic(item: &Item, out: &mut Writer<'_>) -> Result<(), Missing> {
    match item {
        Item::User { body, .. } => {
            out.json("{\"role\":\"user\",\"content\":\"");
            let bytes = out.fetch(body)?;
            if is_blank(&bytes) {
                out.text(BLANK);
            } else {
                out.body(*body, &bytes);
            }
            out.json("\"}");
        }
        Item::Notice(notice) => {
            out.json("{\"role\":\"user\",\"content\":\"");
            out.text(notice.text());
            out.json("\"}");
        }
        Item::Assistant { text, calls } => anthropic_assistant(text.as_ref(), calls.as_ref(), out)?,
        Item::Results { calls, answers } => {
            let calls = out.calls(calls)?;
            out.json("{\"role\":\"user\",\"content\":[");
            for (index, (call, answer)) in answered(&calls, answers).enumerate() {
                out.json(if index == 0 { "" } else { "," });
                out.json("{\"type\":\"tool_result\",\"tool_use_id\":\"");
                out.json(&anthropic_id(&call.id));
                out.json("\",\"content\":\"");
                out.answer(answer)?;
                out.json(if is_error(answer) { "\",\"is_error\":true}" } else { "\"}" });
            }
            out.json("]}");
        }
    }
    Ok(())
}

fn is_error(answer: &Answer) -> bool {
    match answer {
        Answer::Body { .. } => false,
        Answer::Note(_) => true,
        Answer::Edited { answer, .. } => is_error(answer),
    }
}

fn anthropic_assistant(text: Option<&BodyRef>, calls: Option<&BodyRef>, out: &mut Writer<'_>) -> Result<(), Missing> {
    let text = match text {
        Some(body) => Some((*body, out.fetch(body)?)).filter(|(_, bytes)| !is_blank(bytes)),
        None => None,
    };
    let calls = match calls {
        Some(body) => out.calls(body)?,
        None => Vec::new(),
    };
    out.json("{\"role\":\"assistant\",\"content\":[");
    let has_text = text.is_some() || calls.is_empty();
    if has_text {
        out.json("{\"type\":\"text\",\"text\":\"");
        match text {
            Some((body, bytes)) => out.body(body, &bytes),
            None => out.text(BLANK),
        }
        out.json("\"}");
    }
    for (index, call) in calls.iter().enumerate() {
        out.json(if index > 0 || has_text { "," } else { "" });
        out.json("{\"type\":\"tool_use\",\"id\":\"");
        out.json(&anthropic_id(&call.id));
        out.json("\",\"name\":\"");
        out.text(&call.name);
        out.json("\",\"input\":");
        if matches!(serde_json::from_str(&call.arguments), Ok(Value::Object(_))) {
            out.json(&call.arguments);
        } else {
            out.json("{\"_raw\":\"");
            out.text(&call.arguments);
            out.json("\"}");
        }
        out.json("}");
    }
    out.json("]}");
    Ok(())
}

fn is_blank(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(|text| text.trim().is_empty())
}

/// Anthropic takes ids of letters, digits, `_` and `-` only; other vendors' may hold anything.
fn anthropic_id(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    id.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

#[cfg(test)]
#[path = "item_tests.rs"]
mod tests;
