//! Chat Completions: chunks of a stream, and whole answers, into a draft.
//!
//! Decoded tolerantly: servers that call themselves compatible leave keys out, add others, send
//! null, lists for texts and objects for arguments.

use backstay_kernel::budget::Usage;
use backstay_kernel::effect::Finish;
use backstay_kernel::id::Millis;
use serde::Deserialize;
use serde_json::Value;

use crate::draft::{Absurd, Draft, Loose, OnDelta, count};
use crate::reply::{Delta, Failed};
use crate::{classify, lenient};

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Value>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u64>,
    /// In a stream.
    delta: Option<Message>,
    /// In a whole answer.
    message: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Loose>,
    reasoning_content: Option<Loose>,
    reasoning: Option<Loose>,
    refusal: Option<Loose>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    index: Option<u64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<Loose>,
}

/// Takes in a chunk of a stream, or a whole answer. True if it held a choice.
pub(crate) fn absorb(draft: &mut Draft, json: &[u8], now: Millis, on_delta: OnDelta<'_>) -> Result<bool, Failed> {
    let chunk: Chunk =
        lenient::from_slice(json).map_err(|error| Failed::nonsense(format!("not a chat completion: {error}")))?;
    if let Some(error) = chunk.error.filter(|e| !e.is_null()) {
        return Err(classify::said_in_reply(&error, now));
    }
    match chunk.usage.as_ref().map_or(Ok(None), usage) {
        Ok(usage) => draft.usage = usage.or(draft.usage),
        Err(Absurd) => draft.is_bill_absurd = true,
    }
    let mut choices = chunk.choices.unwrap_or_default().into_iter();
    let Some(choice) = choices.find(|c| c.index.unwrap_or(0) == 0) else { return Ok(false) };
    for (message, whole) in [(choice.delta, false), (choice.message, true)] {
        if let Some(message) = message {
            absorb_message(draft, message, whole, on_delta)?;
        }
    }
    if let Some(reason) = choice.finish_reason {
        draft.finish = Some(finish(&reason));
    }
    Ok(true)
}

fn finish(reason: &str) -> Finish {
    match reason {
        "length" | "max_tokens" | "model_length" => Finish::Length,
        "content_filter" | "safety" | "refusal" => Finish::Refusal,
        "tool_calls" | "function_call" => Finish::Calls,
        // "stop", and words that only some servers know.
        _ => Finish::Stop,
    }
}

fn absorb_message(draft: &mut Draft, message: Message, whole: bool, on_delta: OnDelta<'_>) -> Result<(), Failed> {
    let reasoning = message.reasoning_content.or(message.reasoning).map(Loose::into_text);
    if let Some(text) = reasoning.filter(|t| !t.is_empty()) {
        on_delta(Delta::Reasoning(text));
    }
    if let Some(content) = message.content {
        draft.say(&content.into_text(), on_delta);
    }
    let refusal = message.refusal.map(Loose::into_text).unwrap_or_default();
    if !refusal.is_empty() {
        draft.say(&refusal, on_delta);
        // It comes with an ordinary end.
        draft.refused = true;
    }
    for part in message.tool_calls.unwrap_or_default() {
        absorb_call(draft, part, whole)?;
    }
    Ok(())
}

fn absorb_call(draft: &mut Draft, part: ToolCall, whole: bool) -> Result<(), Failed> {
    let place = if whole { None } else { find(draft, &part) };
    let call = match place {
        Some(place) => draft.calls.get_mut(place).map(|(_, call)| call),
        None => Some(draft.add_call(part.index)?),
    };
    let Some(call) = call else { return Ok(()) };
    // Some servers repeat id and name in every part; they are whole in the first.
    if call.id.is_empty() {
        call.id = part.id.unwrap_or_default();
    }
    let Some(function) = part.function else { return Ok(()) };
    if call.name.is_empty() {
        call.name = function.name.unwrap_or_default();
    }
    if let Some(arguments) = function.arguments {
        call.arguments.push_str(&arguments.into_json());
    }
    Ok(())
}

/// The call that a part of a stream goes on with; none if it begins one. Some servers count every
/// call as 0, or do not count, or give no ids.
fn find(draft: &Draft, part: &ToolCall) -> Option<usize> {
    let id = part.id.as_deref().unwrap_or_default();
    let place = match part.index {
        Some(_) => draft.calls.iter().rposition(|(known, _)| *known == part.index)?,
        None => draft.calls.len().checked_sub(1)?,
    };
    let (_, call) = draft.calls.get(place)?;
    if !id.is_empty() && !call.id.is_empty() {
        return (id == call.id).then_some(place);
    }
    // Without ids a name with arguments begins a call, if the one before has all of its own.
    let function = part.function.as_ref();
    let named = function.is_some_and(|f| f.name.as_deref().is_some_and(|n| !n.is_empty()) && f.arguments.is_some());
    let begins = named && serde_json::from_str::<Value>(&call.arguments).is_ok();
    (!begins).then_some(place)
}

/// Cached tokens are counted inside the prompt's; reasoning inside the completion's, but by some
/// only inside the total.
fn usage(usage: &Value) -> Result<Option<Usage>, Absurd> {
    let count = |pointer| count(usage, pointer);
    let Some(prompt) = count("/prompt_tokens")? else { return Ok(None) };
    let completion = count("/completion_tokens")?.unwrap_or(0);
    let total = count("/total_tokens")?.unwrap_or(0);
    let output = completion.max(total.saturating_sub(prompt));
    if prompt == 0 && output == 0 {
        // A placeholder: a prompt has at least one token.
        return Ok(None);
    }
    let cached = count("/prompt_tokens_details/cached_tokens")?;
    let cache_read = cached.or(count("/prompt_cache_hit_tokens")?).unwrap_or(0).min(prompt);
    let uncached = prompt.saturating_sub(cache_read);
    let cache_write = count("/prompt_tokens_details/cache_write_tokens")?.unwrap_or(0).min(uncached);
    let reasoning = count("/completion_tokens_details/reasoning_tokens")?.unwrap_or(0);
    Ok(Some(Usage {
        uncached: uncached.saturating_sub(cache_write),
        cache_read,
        cache_write,
        output,
        reasoning: reasoning.min(output),
    }))
}
