//! Anthropic Messages: events of a stream, and whole answers, into a draft.

use backstay_kernel::budget::Usage;
use backstay_kernel::effect::Finish;
use backstay_kernel::id::Millis;
use serde::Deserialize;
use serde_json::Value;

use crate::draft::{Absurd, Draft, OnDelta, count};
use crate::reply::{Delta, Failed};
use crate::{classify, lenient};

/// An event, or a whole answer: which fields there are is told by `kind`.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    index: Option<u64>,
    message: Option<Message>,
    content_block: Option<Block>,
    delta: Option<Change>,
    usage: Option<Value>,
    error: Option<Value>,
    content: Option<Vec<Block>>,
    stop_reason: Option<String>,
    stop_details: Option<Details>,
}

/// What the vendor says of a refusal.
#[derive(Deserialize)]
struct Details {
    explanation: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    thinking: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Value>,
}

#[derive(Deserialize)]
struct Change {
    text: Option<String>,
    thinking: Option<String>,
    partial_json: Option<String>,
    stop_reason: Option<String>,
    stop_details: Option<Details>,
}

/// What a stream has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    Open,
    /// The vendor said that the message is over.
    Closed,
}

/// Takes in one event of a stream.
pub(crate) fn absorb(draft: &mut Draft, json: &[u8], now: Millis, on_delta: OnDelta<'_>) -> Result<Progress, Failed> {
    let event = parse(json)?;
    match event.kind.as_str() {
        "message_start" => {
            absorb_usage(draft, event.message.and_then(|m| m.usage).as_ref());
        }
        "content_block_start" => {
            if let Some(block) = event.content_block {
                begin(draft, event.index, block, on_delta)?;
            }
        }
        "content_block_delta" => {
            if let Some(change) = event.delta {
                grow(draft, event.index, change, on_delta);
            }
        }
        "message_delta" => {
            absorb_usage(draft, event.usage.as_ref());
            if let Some(change) = event.delta {
                draft.finish = change.stop_reason.as_deref().map(finish).or(draft.finish);
                explain(draft, change.stop_details, on_delta);
            }
        }
        "message_stop" => return Ok(Progress::Closed),
        "error" => return Err(classify::said_in_reply(&event.error.unwrap_or_default(), now)),
        // "ping", "content_block_stop", and what may come.
        _ => {}
    }
    Ok(Progress::Open)
}

/// Takes in a whole answer.
pub(crate) fn absorb_whole(draft: &mut Draft, json: &[u8], now: Millis, on_delta: OnDelta<'_>) -> Result<(), Failed> {
    let answer = parse(json)?;
    if let Some(error) = answer.error {
        return Err(classify::said_in_reply(&error, now));
    }
    let Some(content) = answer.content else {
        return Err(Failed::nonsense("not a message: no `content`"));
    };
    for block in content {
        begin(draft, None, block, on_delta)?;
    }
    // A whole answer holds whole inputs.
    absorb_usage(draft, answer.usage.as_ref());
    draft.finish = Some(answer.stop_reason.as_deref().map_or(Finish::Stop, finish));
    explain(draft, answer.stop_details, on_delta);
    Ok(())
}

/// A refusal that comes without a word of the model is told in the vendor's.
fn explain(draft: &mut Draft, details: Option<Details>, on_delta: OnDelta<'_>) {
    let explanation = details.and_then(|d| d.explanation).filter(|_| draft.finish == Some(Finish::Refusal));
    if let Some(text) = explanation.filter(|_| draft.text.is_empty()) {
        draft.say(&text, on_delta);
    }
}

fn parse(json: &[u8]) -> Result<Event, Failed> {
    lenient::from_slice(json).map_err(|error| Failed::nonsense(format!("not a message: {error}")))
}

fn finish(reason: &str) -> Finish {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "refusal" => Finish::Refusal,
        "tool_use" => Finish::Calls,
        // "end_turn", "stop_sequence", "pause_turn", and what may come.
        _ => Finish::Stop,
    }
}

fn begin(draft: &mut Draft, index: Option<u64>, block: Block, on_delta: OnDelta<'_>) -> Result<(), Failed> {
    match block.kind.as_str() {
        "text" => draft.say(&block.text.unwrap_or_default(), on_delta),
        "thinking" => think(block.thinking, on_delta),
        "tool_use" => {
            let call = draft.add_call(index)?;
            call.id = block.id.unwrap_or_default();
            call.name = block.name.unwrap_or_default();
            // In a stream the input begins as `{}` and its text follows in parts.
            let input = block.input.filter(|i| i.as_object().is_none_or(|o| !o.is_empty()));
            call.arguments = input.filter(|i| !i.is_null()).map(|i| i.to_string()).unwrap_or_default();
        }
        // Blocks of server tools and what may come: nothing that the runtime could answer.
        _ => {}
    }
    Ok(())
}

fn grow(draft: &mut Draft, index: Option<u64>, change: Change, on_delta: OnDelta<'_>) {
    if let Some(text) = change.text {
        draft.say(&text, on_delta);
    }
    think(change.thinking, on_delta);
    if let Some(part) = change.partial_json
        && let Some((_, call)) = draft.calls.iter_mut().rfind(|(known, _)| *known == index)
    {
        call.arguments.push_str(&part);
    }
}

fn think(text: Option<String>, on_delta: OnDelta<'_>) {
    if let Some(text) = text.filter(|t| !t.is_empty()) {
        on_delta(Delta::Reasoning(text));
    }
}

/// Cached tokens are counted outside `input_tokens`. Later events correct earlier ones.
fn absorb_usage(draft: &mut Draft, usage: Option<&Value>) {
    let Some(usage) = usage else { return };
    let known = draft.usage.is_some();
    let mut merged = draft.usage.unwrap_or_default();
    let fields: [(&str, &mut u64); 5] = [
        ("/input_tokens", &mut merged.uncached),
        ("/cache_read_input_tokens", &mut merged.cache_read),
        ("/cache_creation_input_tokens", &mut merged.cache_write),
        ("/output_tokens", &mut merged.output),
        ("/output_tokens_details/thinking_tokens", &mut merged.reasoning),
    ];
    for (pointer, field) in fields {
        match count(usage, pointer) {
            Ok(tokens) => *field = tokens.unwrap_or(*field),
            Err(Absurd) => draft.is_bill_absurd = true,
        }
    }
    // A placeholder of zeros is no usage: a prompt has at least one token.
    if known || merged != Usage::default() {
        merged.reasoning = merged.reasoning.min(merged.output);
        draft.usage = Some(merged);
    }
}
