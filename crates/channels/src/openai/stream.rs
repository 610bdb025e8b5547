//! A turn as a stream of OpenAI's chunks: text as it is written, then how it ended.
use axum::response::Response;
use axum::response::sse::Event;
use backstay_kernel::id::EffectId;
use serde_json::{Value, json};

use super::Ending;
use super::follow::{Follow, Step};
use super::request::Chat;
use super::{reply, words};
use crate::door::Door;
use crate::error::{Problem, Why, in_openai_shape};
use crate::frames::{self, Frames, Gone};

pub fn answer(follow: Follow, chat: &Chat, ending: Ending, door: &Door) -> Response {
    let (frames, out) = frames::frames(None);
    let telling = Telling {
        id: reply::id(follow.place()),
        created_s: door.engine.now() / 1000,
        agent: chat.agent.clone(),
        usage_chunk: chat.usage_chunk,
        said: Said::default(),
        frames,
    };
    tokio::spawn(telling.run(follow, ending));
    frames::answer(out)
}

/// What the reader has seen so far.
#[derive(Default, Debug)]
struct Said {
    anything: bool,
    /// Of the model call that is being told.
    current: Option<(EffectId, String)>,
}

impl Said {
    /// What to send for more text of a model call.
    fn more(&mut self, effect: EffectId, text: &str) -> String {
        let same = self.current.as_ref().is_some_and(|(current, _)| *current == effect);
        let lead = if same || !self.anything || text.is_empty() { "" } else { words::BETWEEN };
        if !same {
            self.current = Some((effect, String::new()));
        }
        if let Some((_, shown)) = &mut self.current {
            shown.push_str(text);
        }
        self.anything |= !text.is_empty();
        format!("{lead}{text}")
    }

    /// What is missing of the final text, which `effect` has given.
    fn rest(&self, effect: Option<EffectId>, whole: &str) -> String {
        match &self.current {
            // Nothing is sent twice, even where the model's last word differs from its stream.
            Some((current, shown)) if Some(*current) == effect => {
                whole.strip_prefix(shown.as_str()).unwrap_or_default().to_owned()
            }
            _ => self.apart(whole),
        }
    }

    fn apart(&self, text: &str) -> String {
        let lead = if self.anything { words::BETWEEN } else { "" };
        format!("{lead}{text}")
    }

    fn shows(&self, effect: EffectId) -> bool {
        self.current.as_ref().is_some_and(|(current, shown)| *current == effect && !shown.is_empty())
    }
}

struct Telling {
    id: String,
    created_s: u64,
    agent: String,
    usage_chunk: bool,
    said: Said,
    frames: Frames,
}

impl Telling {
    /// Where the reader hangs up, the turn goes on without it.
    async fn run(mut self, mut follow: Follow, ending: Ending) {
        let frames = self.frames.clone();
        let _: Result<(), Gone> = tokio::select! {
            told = self.tell(&mut follow, ending) => told,
            () = frames.closed() => Err(Gone),
        };
    }

    async fn tell(&mut self, follow: &mut Follow, ending: Ending) -> Result<(), Gone> {
        self.chunk(json!({ "role": "assistant", "content": "" }), None, None).await?;
        let mut end = std::pin::pin!(ending.told());
        loop {
            let step = tokio::select! {
                step = follow.next() => step,
                problem = &mut end => Err(problem),
            };
            match step {
                Ok(Step::Text { effect, text }) => {
                    let text = self.said.more(effect, &text);
                    self.text(text).await?;
                }
                Ok(Step::Withdrawn { effect }) if self.said.shows(effect) => {
                    return self.broken(follow, &withdrawn()).await;
                }
                Ok(Step::Withdrawn { .. }) => {}
                Ok(Step::Ended(finished)) => {
                    let rest = match &finished.reply {
                        Some(whole) => self.said.rest(finished.effect, whole),
                        None => self.said.apart(&words::ended(finished.reason)),
                    };
                    self.text(rest).await?;
                    let note = reply::ended(follow.place(), &finished);
                    return self.end(follow, reply::finish_reason(finished.reason), note).await;
                }
                Ok(Step::Paused(pause)) => {
                    self.text(self.said.apart(&pause.words)).await?;
                    return self.end(follow, "stop", reply::paused(follow.place(), &pause)).await;
                }
                Err(problem) => return self.broken(follow, &problem).await,
            }
        }
    }

    async fn text(&self, text: String) -> Result<(), Gone> {
        if text.is_empty() {
            return Ok(());
        }
        self.chunk(json!({ "content": text }), None, None).await
    }

    async fn end(&self, follow: &Follow, finish: &str, note: Value) -> Result<(), Gone> {
        self.chunk(json!({}), Some(finish), Some(note)).await?;
        if self.usage_chunk {
            match follow.usage().await {
                Ok(found) => {
                    let mut last = self.frame(json!([]));
                    if let Some(fields) = last.as_object_mut() {
                        fields.insert("usage".into(), reply::usage(&found));
                    }
                    self.send(last.to_string()).await?;
                }
                Err(problem) => return self.broken(follow, &problem).await,
            }
        }
        self.send("[DONE]".into()).await
    }

    /// An error in the middle: the clients raise it. The turn itself goes on.
    async fn broken(&self, follow: &Follow, problem: &Problem) -> Result<(), Gone> {
        let mut error = in_openai_shape(problem);
        if let Some(fields) = error.get_mut("error").and_then(Value::as_object_mut) {
            fields.insert("session".into(), json!(follow.place().session));
            fields.insert("turn".into(), json!(follow.place().to_string()));
        }
        self.send(error.to_string()).await
    }

    async fn chunk(&self, delta: Value, finish: Option<&str>, note: Option<Value>) -> Result<(), Gone> {
        let choice = json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]);
        let mut chunk = self.frame(choice);
        if let Some(fields) = chunk.as_object_mut() {
            if let Some(note) = note {
                fields.insert("backstay".into(), note);
            }
            if self.usage_chunk {
                fields.insert("usage".into(), Value::Null);
            }
        }
        self.send(chunk.to_string()).await
    }

    fn frame(&self, choices: Value) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created_s,
            "model": self.agent,
            "choices": choices,
        })
    }

    async fn send(&self, data: String) -> Result<(), Gone> {
        self.frames.send(Event::default(), data).await
    }
}

fn withdrawn() -> Problem {
    let message = "the reply is being written anew; what was shown of it does not count";
    Problem::new(Why::StreamReset, message, "call again with the same Idempotency-Key, or read the turn")
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstay_kernel::id::Seq;

    #[test]
    fn steps_are_set_apart_and_nothing_is_said_twice() {
        let mut said = Said::default();
        assert_eq!(said.more(Seq(1), "Let me "), "Let me ");
        assert_eq!(said.more(Seq(1), "look."), "look.");
        assert_eq!(said.more(Seq(2), "It"), "\n\nIt");
        assert!(said.shows(Seq(2)) && !said.shows(Seq(1)));
        assert_eq!(said.rest(Some(Seq(2)), "It is."), " is.");
        assert_eq!(said.rest(Some(Seq(2)), "Else"), "");
        assert_eq!(said.rest(Some(Seq(3)), "Else"), "\n\nElse");
        assert_eq!(Said::default().rest(None, "All"), "All");
    }
}
