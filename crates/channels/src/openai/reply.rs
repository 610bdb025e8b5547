//! The answers of this door as OpenAI's clients read them.
use backstay_kernel::budget::Usage;
use backstay_kernel::id::Place;
use backstay_kernel::record::StopReason;
use serde_json::{Value, json};

use super::Ending;
use super::follow::{Finished, Follow, Pause, Step};
use super::request::Chat;
use super::words;
use crate::door::Door;
use crate::error::Problem;

/// Waits for the turn and answers with the whole of it.
///
/// # Errors
/// The process goes away first, or the leave to wait; the turn goes on.
pub async fn wait(mut follow: Follow, chat: &Chat, ending: Ending, door: &Door) -> Result<Value, Problem> {
    let step = async {
        loop {
            match follow.next().await? {
                Step::Text { .. } | Step::Withdrawn { .. } => {}
                step @ (Step::Paused(_) | Step::Ended(_)) => return Ok::<_, Problem>(step),
            }
        }
    };
    let step = tokio::select! {
        step = step => step?,
        problem = ending.told() => return Err(problem),
    };
    let place = follow.place();
    let (content, finish, note) = match &step {
        Step::Ended(finished) => (content_of(finished), finish_reason(finished.reason), ended(place, finished)),
        Step::Paused(pause) => (pause.words.clone(), "stop", paused(place, pause)),
        Step::Text { .. } | Step::Withdrawn { .. } => return Err(Problem::internal(&"a step that ends nothing")),
    };
    Ok(json!({
        "id": id(place),
        "object": "chat.completion",
        "created": door.engine.now() / 1000,
        "model": chat.agent,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": content, "refusal": null },
            "logprobs": null,
            "finish_reason": finish,
        }],
        "usage": usage(&follow.usage().await?),
        "backstay": note,
    }))
}

#[must_use]
pub fn id(place: Place) -> String {
    format!("chatcmpl-{place}")
}

#[must_use]
pub fn content_of(finished: &Finished) -> String {
    finished.reply.clone().unwrap_or_else(|| words::ended(finished.reason))
}

#[must_use]
pub fn finish_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::OutputLimit => "length",
        StopReason::Refusal => "content_filter",
        StopReason::Claimed
        | StopReason::StoppedByUser
        | StopReason::Cap(_)
        | StopReason::Loop(_)
        | StopReason::ContextBlocked
        | StopReason::ProviderUnavailable
        | StopReason::Auth
        | StopReason::Denials
        | StopReason::Quota
        | StopReason::Policy
        | StopReason::Invalid
        | StopReason::Erased
        | StopReason::Clearance => "stop",
    }
}

#[must_use]
pub fn ended(place: Place, finished: &Finished) -> Value {
    let mut note = json!({
        "session": place.session, "turn": place.to_string(), "state": "ended", "reason": finished.reason,
    });
    // A turn that ended short says what it had done by then.
    if let Some(fields) = note.as_object_mut().filter(|_| finished.reason != StopReason::Claimed) {
        let ids = |effects: &[backstay_kernel::id::EffectId]| -> Vec<String> {
            effects.iter().map(|seq| Place { session: place.session, seq: *seq }.to_string()).collect()
        };
        let list = &finished.completion;
        let completion = json!({
            "done": ids(&list.done),
            "failed": ids(&list.failed),
            "refused": ids(&list.refused),
            "not_started": ids(&list.not_started),
            "in_doubt": ids(&list.unknown),
        });
        fields.insert("completion".into(), completion);
    }
    note
}

#[must_use]
pub fn paused(place: Place, pause: &Pause) -> Value {
    json!({
        "session": place.session,
        "turn": place.to_string(),
        "state": "waiting",
        "wait": pause.wait,
        "id": pause.id.map(|id| id.to_string()),
    })
}

#[must_use]
pub fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input(),
        "completion_tokens": usage.output,
        "total_tokens": usage.input().saturating_add(usage.output),
        "prompt_tokens_details": { "cached_tokens": usage.cache_read },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
    })
}
