//! A model that does what it is told: the latest message of the conversation is its script.
//!
//! `call send 1, look 2 | say done`: two parallel calls, then, when they are answered, the last
//! word. A part `plan TOOL` is no step: it is what whoever plans takes from the message. What it says follows from the request alone, so a call that is made again after a cut is
//! answered in the same way.
use backstay_kernel::flow::PLANS;
use serde_json::{Value, json};

const PLAN: &str = "plan ";

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    Say(String),
    /// (tool, arguments)
    Call(Vec<(String, String)>),
}

/// The messages of a request, checked for pairs (I4).
///
/// # Errors
/// What is wrong with the request.
pub fn messages(wire: &[u8]) -> Result<Vec<Value>, String> {
    let request: Value = serde_json::from_slice(wire).map_err(|error| format!("a request is no JSON: {error}"))?;
    let messages = request["messages"].as_array().ok_or("a request has no messages")?.clone();
    let mut owed = 0;
    for message in &messages {
        let answers = message["answers"].as_array().map_or(0, Vec::len);
        if answers != owed {
            return Err(format!("{owed} calls are followed by {answers} answers: {messages:?}"));
        }
        owed = message["calls"].as_array().map_or(0, Vec::len);
    }
    if owed > 0 {
        return Err(format!("{owed} calls at the end have no answers"));
    }
    Ok(messages)
}

/// Whether the request is for a plan.
#[must_use]
pub fn is_for_a_plan(wire: &[u8]) -> bool {
    let request: Value = serde_json::from_slice(wire).unwrap_or_default();
    request["instructions"].as_str().is_some_and(|told| told.starts_with(PLANS))
}

/// One call of each tool that the messages want planned.
#[must_use]
pub fn plan(messages: &[Value]) -> Line {
    let parts = messages.iter().filter_map(|message| message["user"].as_str()).flat_map(|said| said.split(" | "));
    let tools: Vec<Value> =
        parts.filter_map(|part| part.strip_prefix(PLAN)).map(|tool| json!({ "name": tool, "count": 1 })).collect();
    Line::Say(json!({ "tools": tools }).to_string())
}

/// The model's next word.
#[must_use]
pub fn next(messages: &[Value]) -> Line {
    let told = messages.iter().rposition(|message| message["user"].is_string());
    let script = told.and_then(|place| messages[place]["user"].as_str()).unwrap_or_default();
    let since = messages.iter().skip(told.unwrap_or(0)).filter(|message| message.get("calls").is_some());
    let step = script
        .split(" | ")
        .filter(|part| !part.starts_with(PLAN))
        .nth(since.count())
        .unwrap_or("say nothing more")
        .trim();
    let calls = step.strip_prefix("call ").map(|calls| calls.split(", ").filter_map(|call| call.split_once(' ')));
    match calls {
        Some(calls) => Line::Call(calls.map(|(tool, n)| (tool.to_owned(), json!({ "n": n }).to_string())).collect()),
        None => Line::Say(step.strip_prefix("say ").unwrap_or(step).to_owned()),
    }
}
