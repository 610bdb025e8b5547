//! The rehearsal model: a script in this binary that answers like a model and never leaves it.
//!
//! It lets a newcomer see the runtime at work without a provider, and tests say exactly what the
//! model does. It keeps no state: the same request gets the same answer. It says that it is no AI.

mod free;
mod script;
mod work;

use backstay_kernel::budget::Usage;
use backstay_kernel::effect::{FailureClass, Finish};
use backstay_kernel::flow::PLANS;
use backstay_kernel::id::Millis;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::calls::Call;
use crate::draft::OnDelta;
use crate::reply::{Delta, Failed, Reply};

#[derive(Deserialize)]
struct Request<'a> {
    messages: Vec<Message>,
    #[serde(default, borrow)]
    tools: Vec<Offer<'a>>,
    max_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<String>,
}

#[derive(Deserialize)]
struct Offer<'a> {
    #[serde(borrow)]
    function: Tool<'a>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    name: String,
    /// Read only where a call is made up.
    #[serde(borrow)]
    parameters: &'a RawValue,
}

/// What one step says and does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Step {
    text: String,
    /// Name and arguments.
    calls: Vec<(String, String)>,
    /// With the milliseconds that the vendor asks to wait.
    fail: Option<(FailureClass, Option<Millis>)>,
}

impl Step {
    fn say(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn call(tool: &str, arguments: &Value) -> Self {
        Self { calls: vec![(tool.to_owned(), arguments.to_string())], ..Self::default() }
    }
}

/// What the model is answering: the newest message of a person, and what has come since.
struct Turn<'a> {
    message: &'a str,
    tools: &'a [Offer<'a>],
    /// Replies since the message.
    played: usize,
    /// Results since the message, in order.
    results: Vec<&'a str>,
}

impl<'a> Turn<'a> {
    fn of(request: &'a Request<'a>) -> Self {
        let text = |m: &'a Message| m.content.as_deref().unwrap_or_default();
        // The runtime's own notices are no message of a person.
        let asked = |m: &Message| m.role == "user" && !text_is_notice(m.content.as_deref());
        let place = request.messages.iter().rposition(asked);
        let since = place.and_then(|p| request.messages.get(p..)).unwrap_or_default();
        Self {
            message: since.first().map(text).unwrap_or_default(),
            tools: &request.tools,
            played: since.iter().filter(|m| m.role == "assistant").count(),
            results: since.iter().filter(|m| m.role == "tool").map(text).collect(),
        }
    }

    fn tool(&self, name: &str) -> Option<&'a Tool<'a>> {
        self.tools.iter().map(|o| &o.function).find(|f| f.name == name)
    }
}

/// It is to say what the person's words want done, and to do nothing.
fn plans(request: &Request<'_>) -> bool {
    let first = request.messages.first().filter(|message| message.role == "system");
    first.and_then(|message| message.content.as_deref()).is_some_and(|text| text.starts_with(PLANS))
}

fn text_is_notice(text: Option<&str>) -> bool {
    text.is_some_and(|t| t.starts_with("[runtime: "))
}

/// Answers a request that was rendered for [`crate::Kind::Rehearsal`]. `now` is the base of a
/// scripted delay.
///
/// # Errors
/// [`Failed`] where the script says so, or the bytes are no request.
pub fn reply(wire: &[u8], now: Millis) -> Result<Reply, Failed> {
    let request: Request<'_> = serde_json::from_slice(wire).map_err(|error| {
        Failed::unsendable(FailureClass::Invalid, format!("the rehearsal model cannot read the request: {error}"))
    })?;
    let turn = Turn::of(&request);
    let scripted = || script::step(turn.message, turn.played);
    let step = if plans(&request) {
        script::plan(turn.message)
    } else {
        scripted().or_else(|| work::step(&turn)).unwrap_or_else(|| free::step(&turn))
    };
    if let Some((class, delay_ms)) = step.fail {
        return Err(Failed {
            class,
            retry_at: delay_ms.map(|ms| now.saturating_add(ms)),
            detail: format!("the rehearsal script fails here: {}", script::word(class)),
            billed: class == FailureClass::RetrySame,
        });
    }
    let numbered = step.calls.into_iter().enumerate();
    let calls = numbered.map(|(index, (name, arguments))| Call {
        id: format!("rehearsal_{}_{index}", turn.played),
        name,
        arguments,
    });
    let calls: Vec<Call> = calls.collect();
    let said = step.text.len() + calls.iter().map(|c| c.name.len() + c.arguments.len()).sum::<usize>();
    // Four bytes a token, as a model would count them; never more than it was allowed.
    let output = tokens(said).min(request.max_tokens.unwrap_or(u64::MAX));
    Ok(Reply {
        text: step.text,
        finish: if calls.is_empty() { Finish::Stop } else { Finish::Calls },
        calls,
        usage: Some(Usage { uncached: tokens(wire.len()), output, ..Usage::default() }),
    })
}

fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

/// The same, with the text given out word by word.
pub(crate) fn play(wire: &[u8], now: Millis, on_delta: OnDelta<'_>) -> Result<Reply, Failed> {
    let reply = reply(wire, now)?;
    for word in reply.text.split_inclusive(' ') {
        on_delta(Delta::Text(word.to_owned()));
    }
    Ok(reply)
}

#[cfg(test)]
#[path = "rehearsal_tests.rs"]
mod tests;
