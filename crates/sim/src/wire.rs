//! What the models of the tests read and write: a provider's format in its smallest form.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "development only: a harness that is wrong stops")]
use backstay_engine::{Bytes, Envelope, Fragment, ModelReply, RawCall};
use backstay_kernel::budget::Usage;
use backstay_kernel::context::{Answer, Item};
use backstay_kernel::effect::Finish;
use backstay_kernel::id::BodyRef;
use backstay_kernel::policy::Policy;
use backstay_kernel::request::{Piece, escape};

pub fn envelope(policy: &Policy, agent: &str, output_tokens_max: u64) -> Envelope {
    let instructions = serde_json::to_string(&policy.agents[agent].instructions).unwrap();
    let head = format!("{{\"instructions\":{instructions},\"messages\":[");
    Envelope { head, lead: None, tail: format!("],\"max\":{output_tokens_max}}}") }
}

/// # Errors
/// The body that is needed and not there any more.
pub fn item(item: &Item, bodies: &dyn Fn(&BodyRef) -> Option<Bytes>) -> Result<Fragment, BodyRef> {
    let mut out = Writer { pieces: Vec::new(), wire: String::new(), bodies };
    match item {
        Item::User { body, .. } => {
            out.text("{\"user\":");
            out.string(body)?;
        }
        Item::Assistant { text, calls } => {
            out.text("{\"said\":");
            match text {
                Some(text) => out.string(text)?,
                None => out.text("null"),
            }
            out.text(",\"calls\":");
            match calls {
                Some(calls) => out.raw(calls)?,
                None => out.text("null"),
            }
        }
        Item::Results { answers, .. } => {
            out.text("{\"answers\":[");
            for (place, answer) in answers.iter().enumerate() {
                out.text(if place > 0 { "," } else { "" });
                out.answer(answer)?;
            }
            out.text("]");
        }
        Item::Notice(notice) => {
            out.text("{\"notice\":");
            out.text(&serde_json::to_string(notice.text()).unwrap());
        }
    }
    out.text("}");
    Ok(Fragment { wire: out.wire, pieces: out.pieces })
}

/// `calls`: (tool, arguments)
pub fn reply(text: String, calls: impl IntoIterator<Item = (String, String)>, usage: Usage) -> ModelReply {
    let calls = calls.into_iter().enumerate();
    let calls: Vec<RawCall> =
        calls.map(|(n, (name, arguments))| RawCall { id: format!("c{n}"), name, arguments }).collect();
    if calls.is_empty() {
        return ModelReply { text, calls, calls_json: String::new(), finish: Finish::Stop, usage: Some(usage) };
    }
    let wire = |call: &RawCall| {
        serde_json::json!({ "id": call.id, "type": "function",
            "function": { "name": call.name, "arguments": call.arguments } })
    };
    let calls_json = serde_json::Value::from(calls.iter().map(wire).collect::<Vec<_>>()).to_string();
    ModelReply { text, calls, calls_json, finish: Finish::Calls, usage: Some(usage) }
}

/// Writes an item twice: as it is sent, and as it is stored.
struct Writer<'a> {
    pieces: Vec<Piece>,
    wire: String,
    bodies: &'a dyn Fn(&BodyRef) -> Option<Bytes>,
}

impl Writer<'_> {
    fn answer(&mut self, answer: &Answer) -> Result<(), BodyRef> {
        match answer {
            Answer::Body { body, .. } => self.string(body)?,
            Answer::Note(note) => self.text(&serde_json::to_string(&note.text()).unwrap()),
            Answer::Edited { calls, answer } => {
                self.text("{\"edited\":");
                self.raw(calls)?;
                self.text(",\"answer\":");
                self.answer(answer)?;
                self.text("}");
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.wire.push_str(text);
        self.pieces.push(Piece::Text(text.to_owned()));
    }

    fn body(&self, body: &BodyRef) -> Result<String, BodyRef> {
        let bytes = (self.bodies)(body).ok_or(*body)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn raw(&mut self, body: &BodyRef) -> Result<(), BodyRef> {
        let text = self.body(body)?;
        self.wire.push_str(&text);
        self.pieces.push(Piece::Raw(*body));
        Ok(())
    }

    fn string(&mut self, body: &BodyRef) -> Result<(), BodyRef> {
        let text = self.body(body)?;
        self.text("\"");
        escape(&text, &mut self.wire);
        self.pieces.push(Piece::Escaped(*body));
        self.text("\"");
        Ok(())
    }
}
