//! A chat completion request as it is written, and what of it counts. Fields that this door does
//! not know are left alone, as the official clients send many; those that would change what the
//! answer is are refused.
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Problem, Why};

#[derive(Debug, Deserialize)]
pub struct Written {
    model: String,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    tools: Option<Value>,
    functions: Option<Value>,
    n: Option<Value>,
    logprobs: Option<Value>,
    top_logprobs: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object of options")]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "a message: an object")]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "content is neither a text nor a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "a part: an object")]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The caller's preferences; also written `developer`.
    System,
    User,
    Assistant,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::System, Self::User, Self::Assistant];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    pub role: Role,
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct Chat {
    pub agent: String,
    pub earlier: Vec<Said>,
    /// The last message, the user's.
    pub text: String,
    pub stream: bool,
    /// The stream ends with a chunk that holds the usage.
    pub usage_chunk: bool,
}

impl Written {
    /// # Errors
    /// What this door does not do, by name.
    pub fn check(self) -> Result<Chat, Problem> {
        self.refuse_unsupported()?;
        let mut said = Vec::new();
        for message in self.messages {
            said.push(message.check()?);
        }
        let last = said.pop().filter(|last| last.role == Role::User && !last.text.trim().is_empty());
        let last = last.ok_or_else(|| {
            let next = "end `messages` with what the user says";
            Problem::new(Why::LastMessageNotUser, "the last message is not the user's, or is empty", next)
        })?;
        Ok(Chat {
            agent: self.model,
            earlier: said,
            text: last.text,
            stream: self.stream.unwrap_or(false),
            usage_chunk: self.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
        })
    }

    fn refuse_unsupported(&self) -> Result<(), Problem> {
        let filled = |value: &Option<Value>| match value {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Object(_)) => true,
        };
        if filled(&self.tools) || filled(&self.functions) {
            let next = "leave `tools` out; the agent's tools are granted in backstay.toml";
            return Err(Problem::new(Why::ToolsUnsupported, "the agent has its own tools", next));
        }
        if self.n.as_ref().and_then(Value::as_f64).is_some_and(|n| n > 1.0) {
            return Err(Problem::new(Why::NUnsupported, "a turn has one reply", "leave `n` out"));
        }
        if filled(&self.logprobs) || filled(&self.top_logprobs) {
            return Err(Problem::new(
                Why::LogprobsUnsupported,
                "there are no log probabilities",
                "leave `logprobs` out",
            ));
        }
        Ok(())
    }
}

impl Message {
    fn check(self) -> Result<Said, Problem> {
        let role = match self.role.as_str() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => {
                let next = "send messages of system, user and assistant; tools are the agent's own";
                return Err(Problem::new(
                    Why::ContentUnsupported,
                    format!("messages of `{other}` are not taken"),
                    next,
                ));
            }
        };
        let text = match self.content {
            None => String::new(),
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => parts.into_iter().map(Part::text).collect::<Result<String, Problem>>()?,
        };
        Ok(Said { role, text })
    }
}

impl Part {
    fn text(self) -> Result<String, Problem> {
        match (self.kind.as_str(), self.text) {
            ("text", Some(text)) => Ok(text),
            (kind, _) => {
                let message = format!("content of type `{kind}` is not taken");
                Err(Problem::new(Why::ContentUnsupported, message, "send text"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: Value) -> Result<Chat, &'static str> {
        serde_json::from_value::<Written>(body).unwrap().check().map_err(|problem| problem.why.word())
    }

    #[test]
    fn what_changes_the_answer_is_refused_and_the_rest_is_left_alone() {
        let user = json!([{ "role": "user", "content": "hi" }]);
        let with = |field: &str, value: Value| {
            let mut body = json!({ "model": "main", "messages": user });
            body[field] = value;
            check(body).err()
        };
        for (field, value, expected) in [
            ("tools", json!([{ "type": "function" }]), Some("tools_unsupported")),
            ("tools", json!([]), None),
            ("functions", json!([{}]), Some("tools_unsupported")),
            ("n", json!(2), Some("n_unsupported")),
            ("n", json!(1), None),
            ("logprobs", json!(true), Some("logprobs_unsupported")),
            ("logprobs", json!(false), None),
            ("top_logprobs", json!(3), Some("logprobs_unsupported")),
            ("temperature", json!(0.3), None),
            ("seed", json!(1), None),
            ("made_up", json!({}), None),
        ] {
            assert_eq!(with(field, value.clone()), expected, "{field} {value}");
        }
    }

    #[test]
    fn the_last_message_is_the_users_and_content_is_text() {
        let chat = |messages: Value| check(json!({ "model": "main", "messages": messages }));
        assert_eq!(chat(json!([])).unwrap_err(), "last_message_not_user");
        assert_eq!(chat(json!([{ "role": "assistant", "content": "x" }])).unwrap_err(), "last_message_not_user");
        assert_eq!(chat(json!([{ "role": "user", "content": " " }])).unwrap_err(), "last_message_not_user");
        assert_eq!(chat(json!([{ "role": "tool", "content": "x" }])).unwrap_err(), "content_unsupported");
        let image = json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": {} }] }]);
        assert_eq!(chat(image).unwrap_err(), "content_unsupported");
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
        let found = chat(json!([{ "role": "developer", "content": "be brief" }, { "role": "user", "content": parts }]))
            .unwrap();
        assert_eq!(found.text, "ab");
        assert_eq!(found.earlier, [Said { role: Role::System, text: "be brief".into() }]);
    }
}
