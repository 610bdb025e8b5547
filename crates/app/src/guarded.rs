//! What comes in from outside, looked through before anybody else sees it: known values are taken out of it,
//! and what looks like a credential that nobody has told us of makes it secret.
use std::sync::Arc;

use backstay_engine::{Delta, ModelFailure, ModelReply, RawCall, ToolRan};
use backstay_kernel::label::{Confidentiality, Label};
use backstay_secrets::{Redactor, Stream, detect};

type Show = Box<dyn FnMut(Delta) + Send>;

/// What a tool did, as it may be journaled.
pub fn tool(redactor: &Redactor, ran: ToolRan) -> ToolRan {
    match ran {
        ToolRan::Done { text, spill, memory, label } => {
            let text = cleaned(redactor, text);
            let spill = spill.map(|full| redactor.clean_bytes(&full).into_owned());
            let memory = memory.map(|text| cleaned(redactor, text));
            let label = label.join(found_in(spill.as_deref().unwrap_or(text.as_bytes())));
            ToolRan::Done { text, spill, memory, label }
        }
        ToolRan::Failed { text, label } => {
            let text = cleaned(redactor, text);
            let label = label.join(found_in(text.as_bytes()));
            ToolRan::Failed { text, label }
        }
        ToolRan::Unknown => ToolRan::Unknown,
    }
}

fn found_in(text: &[u8]) -> Label {
    let Some(rule) = detect(text) else { return Label::NOTHING };
    tracing::info!(rule, "a tool's result looks like a credential: its session is secret from here on");
    Label { conf: Confidentiality::Secret, ..Label::NOTHING }
}

pub fn cleaned(redactor: &Redactor, text: String) -> String {
    match redactor.clean(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(clean) => clean,
    }
}

/// A reply, as a whole.
pub fn reply(redactor: &Redactor, reply: backstay_providers::Reply) -> ModelReply {
    let clean = |text: String| cleaned(redactor, text);
    let call = |call: backstay_providers::Call| backstay_providers::Call {
        id: clean(call.id),
        name: clean(call.name),
        arguments: clean(call.arguments),
    };
    let calls: Vec<_> = reply.calls.into_iter().map(call).collect();
    ModelReply {
        calls_json: backstay_providers::calls_json(&calls),
        text: clean(reply.text),
        calls: calls
            .into_iter()
            .map(|call| RawCall { id: call.id, name: call.name, arguments: call.arguments })
            .collect(),
        finish: reply.finish,
        usage: reply.usage,
    }
}

pub fn failure(redactor: &Redactor, failed: backstay_providers::Failed) -> ModelFailure {
    ModelFailure {
        class: failed.class,
        retry_at: failed.retry_at,
        detail: cleaned(redactor, failed.detail),
        billed: failed.billed,
    }
}

/// The pieces of a reply that is still coming; no more of them is held back than could be the beginning of
/// a value.
pub struct Pieces {
    text: Stream,
    reasoning: Stream,
    show: Show,
}

impl Pieces {
    pub fn new(redactor: &Arc<Redactor>, show: Show) -> Self {
        Self { text: redactor.stream(), reasoning: redactor.stream(), show }
    }

    pub fn take(&mut self, delta: backstay_providers::Delta) {
        let piece = match delta {
            backstay_providers::Delta::Text(text) => Delta::Text(self.text.push(&text)),
            backstay_providers::Delta::Reasoning(text) => Delta::Reasoning(self.reasoning.push(&text)),
        };
        self.say(piece);
    }

    /// Nothing more comes.
    pub fn end(mut self) {
        let (text, reasoning) = (self.text.finish(), self.reasoning.finish());
        self.say(Delta::Reasoning(reasoning));
        self.say(Delta::Text(text));
    }

    fn say(&mut self, piece: Delta) {
        let (Delta::Text(text) | Delta::Reasoning(text)) = &piece;
        if !text.is_empty() {
            (self.show)(piece);
        }
    }
}
