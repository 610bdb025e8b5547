//! What comes in from outside, looked through before anybody else sees it: known values are taken out of it,
//! and what looks like a credential that nobody has told us of makes it secret.
use std::borrow::Cow;
use std::sync::Arc;

use backstay_engine::{Delta, ModelFailure, ModelReply, RawCall, ToolRan};
use backstay_kernel::label::{Confidentiality, Label};
use backstay_secrets::{Redactor, Stream, Taken, Vault, detect};

type Show = Box<dyn FnMut(Delta) + Send>;

/// Takes values out of what belongs together; what it took is counted once.
struct Net<'v> {
    vault: &'v Vault,
    redactor: Arc<Redactor>,
    taken: Taken,
}

impl<'v> Net<'v> {
    fn new(vault: &'v Vault) -> Self {
        Self { vault, redactor: vault.redactor(), taken: Taken::new() }
    }

    fn text(&mut self, text: String) -> String {
        match self.redactor.clean(&text, &mut self.taken) {
            Cow::Borrowed(_) => text,
            Cow::Owned(clean) => clean,
        }
    }

    fn count(self) {
        self.vault.took(&self.taken);
    }
}

/// What a tool did, as it may be journaled.
pub fn tool(vault: &Vault, ran: ToolRan) -> ToolRan {
    let mut net = Net::new(vault);
    let ran = match ran {
        ToolRan::Done { text, spill, memory, label } => {
            let text = net.text(text);
            // The text is a part of it: what was taken out of both was taken out once.
            let spill = spill.map(|full| {
                net.taken.clear();
                net.redactor.clean_bytes(&full, &mut net.taken).into_owned()
            });
            let memory = memory.map(|text| net.text(text));
            let label = label.join(found_in(spill.as_deref().unwrap_or(text.as_bytes())));
            ToolRan::Done { text, spill, memory, label }
        }
        ToolRan::Failed { text, label } => {
            let text = net.text(text);
            let label = label.join(found_in(text.as_bytes()));
            ToolRan::Failed { text, label }
        }
        ToolRan::Unknown => ToolRan::Unknown,
    };
    net.count();
    ran
}

fn found_in(text: &[u8]) -> Label {
    let Some(rule) = detect(text) else { return Label::NOTHING };
    tracing::info!(rule, "a tool's result looks like a credential: its session is secret from here on");
    Label { conf: Confidentiality::Secret, ..Label::NOTHING }
}

pub fn cleaned(vault: &Vault, text: String) -> String {
    let mut net = Net::new(vault);
    let text = net.text(text);
    net.count();
    text
}

/// A reply, as a whole.
pub fn reply(vault: &Vault, reply: backstay_providers::Reply) -> ModelReply {
    let mut net = Net::new(vault);
    let mut call = |call: backstay_providers::Call| backstay_providers::Call {
        id: net.text(call.id),
        name: net.text(call.name),
        arguments: net.text(call.arguments),
    };
    let calls: Vec<_> = reply.calls.into_iter().map(&mut call).collect();
    let text = net.text(reply.text);
    net.count();
    ModelReply {
        calls_json: backstay_providers::calls_json(&calls),
        text,
        calls: calls
            .into_iter()
            .map(|call| RawCall { id: call.id, name: call.name, arguments: call.arguments })
            .collect(),
        finish: reply.finish,
        usage: reply.usage,
    }
}

/// `shown`: what was taken out of the pieces that came before.
pub fn failure(vault: &Vault, failed: backstay_providers::Failed, shown: Taken) -> ModelFailure {
    let mut net = Net { taken: shown, ..Net::new(vault) };
    let detail = net.text(failed.detail);
    net.count();
    ModelFailure { class: failed.class, retry_at: failed.retry_at, detail, billed: failed.billed }
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

    /// Nothing more comes. What was taken out of the text, which comes once more where the reply is whole, and
    /// not counted yet; reasoning comes in pieces alone.
    pub fn end(mut self, vault: &Vault) -> Taken {
        let (text, reasoning) = (self.text.finish(), self.reasoning.finish());
        self.say(Delta::Reasoning(reasoning));
        self.say(Delta::Text(text));
        vault.took(&self.reasoning.taken);
        self.text.taken
    }

    fn say(&mut self, piece: Delta) {
        let (Delta::Text(text) | Delta::Reasoning(text)) = &piece;
        if !text.is_empty() {
            (self.show)(piece);
        }
    }
}
