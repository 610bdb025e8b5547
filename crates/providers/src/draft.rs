//! A reply while it is put together, and the repairs that every vendor's reply gets at its end.

use backstay_kernel::budget::Usage;
use backstay_kernel::effect::Finish;
use backstay_kernel::id::Digest;
use serde::Deserialize;
use serde_json::Value;

use crate::calls::Call;
use crate::limits::{CALL_ID_BYTES_MAX, CALL_NAME_BYTES_MAX, CALLS_MAX, USAGE_TOKENS_MAX};
use crate::reply::{Delta, Failed, Reply};

pub(crate) type OnDelta<'a> = &'a mut (dyn FnMut(Delta) + Send);

#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub text: String,
    /// With the place that the stream names it by, if it does.
    pub calls: Vec<(Option<u64>, Call)>,
    /// Set when the vendor has said how it ends: from then on the reply is whole.
    pub finish: Option<Finish>,
    /// The text is the vendor's own words of refusal.
    pub refused: bool,
    pub usage: Option<Usage>,
    /// The vendor has named a count that none can be: then its whole bill is not believed, and the
    /// reservation stays.
    pub is_bill_absurd: bool,
}

impl Draft {
    pub fn say(&mut self, text: &str, on_delta: OnDelta<'_>) {
        if !text.is_empty() {
            self.text.push_str(text);
            on_delta(Delta::Text(text.to_owned()));
        }
    }

    pub fn add_call(&mut self, index: Option<u64>) -> Result<&mut Call, Failed> {
        if self.calls.len() >= CALLS_MAX {
            return Err(Failed::nonsense(format!("the reply holds more than {CALLS_MAX} tool calls")));
        }
        Ok(&mut self.calls.push_mut((index, Call::default())).1)
    }

    /// The finished reply. `seed` is the same for every attempt at this call and for no other.
    pub fn into_reply(mut self, seed: &str) -> Reply {
        let mut calls: Vec<Call> = self.calls.drain(..).map(|(_, call)| call).collect();
        let finish = match self.finish.filter(|_| !self.refused).or(self.refused.then_some(Finish::Refusal)) {
            // Half a reply that the vendor took back: nothing in it is to be run.
            Some(Finish::Refusal) => {
                calls.clear();
                Finish::Refusal
            }
            Some(Finish::Length) => {
                // The limit may have cut the last call: whole arguments are whole JSON.
                let whole = |c: &Call| serde_json::from_str::<Value>(&c.arguments).is_ok();
                if !calls.last().is_none_or(whole) {
                    calls.pop();
                }
                Finish::Length
            }
            // Some servers say "stop" and call tools, or the other way round.
            Some(Finish::Stop | Finish::Calls) | None if calls.is_empty() => Finish::Stop,
            Some(Finish::Stop | Finish::Calls) | None => Finish::Calls,
        };
        repair(&mut calls, seed);
        let usage = self.usage.filter(|_| !self.is_bill_absurd);
        Reply { text: self.text, calls, finish, usage }
    }
}

/// Makes calls that every API takes back in the next request: with ids that differ, and names of
/// the letters that are allowed there. What the calls mean is judged elsewhere.
fn repair(calls: &mut [Call], seed: &str) {
    if calls.is_empty() {
        return;
    }
    let seed = Digest::of("backstay call id v1", &[seed.as_bytes()]).to_string();
    let seed = seed.get(..8).unwrap_or_default();
    for index in 0..calls.len() {
        let (before, rest) = calls.split_at_mut(index);
        let Some(call) = rest.first_mut() else { continue };
        let taken = before.iter().any(|b| b.id == call.id);
        if call.id.is_empty() || call.id.len() > CALL_ID_BYTES_MAX || taken {
            call.id = format!("call_{seed}_{index}");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if call.name.is_empty() || call.name.len() > CALL_NAME_BYTES_MAX || !call.name.chars().all(plain) {
            let mended = call.name.chars().map(|c| if plain(c) { c } else { '_' });
            call.name = mended.take(CALL_NAME_BYTES_MAX).collect();
            if call.name.is_empty() {
                call.name.push('_');
            }
        }
        if call.arguments.trim().is_empty() {
            // How many servers write a call without arguments.
            call.arguments = "{}".to_owned();
        }
    }
}

/// A text, where some servers send a list of parts or a whole object instead.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Loose {
    Text(String),
    Other(Value),
}

impl Loose {
    /// A text, or the texts of a list of parts.
    pub fn into_text(self) -> String {
        let part = |part: &Value| part.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
        match self {
            Self::Text(text) => text,
            Self::Other(Value::Array(parts)) => parts.iter().map(part).collect(),
            Self::Other(other) => part(&other),
        }
    }

    /// A text, or JSON as a text.
    pub fn into_json(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Other(Value::Null) => String::new(),
            Self::Other(other) => other.to_string(),
        }
    }
}

/// A number where a count of tokens should be that can be none.
pub(crate) struct Absurd;

/// A count in a usage, wherever the vendor put it; none where it is absent.
pub(crate) fn count(usage: &Value, pointer: &str) -> Result<Option<u64>, Absurd> {
    match usage.pointer(pointer) {
        Some(Value::Number(number)) => {
            number.as_u64().filter(|tokens| *tokens <= USAGE_TOKENS_MAX).map(Some).ok_or(Absurd)
        }
        Some(_) | None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(finish: Option<Finish>, calls: &[(&str, &str, &str)]) -> Reply {
        let calls = calls.iter().map(|(id, name, arguments)| Call {
            id: (*id).to_owned(),
            name: (*name).to_owned(),
            arguments: (*arguments).to_owned(),
        });
        let calls = calls.map(|call| (None, call)).collect();
        Draft { finish, calls, ..Draft::default() }.into_reply("key")
    }

    #[test]
    fn missing_and_doubled_ids_are_replaced_the_same_way_each_time() {
        let calls = [("", "a", "{}"), ("x", "b", "{}"), ("x", "c", "")];
        let made = reply(None, &calls);
        assert_eq!(made, reply(Some(Finish::Stop), &calls));
        assert_eq!(made.finish, Finish::Calls);
        assert!(made.calls[0].id.starts_with("call_") && made.calls[0].id.ends_with("_0"));
        assert_eq!(made.calls[1].id, "x");
        assert!(made.calls[2].id.ends_with("_2"));
        assert_eq!(made.calls[2].arguments, "{}");
    }

    #[test]
    fn an_id_that_no_api_takes_back_is_replaced() {
        let made = reply(None, &[(&"i".repeat(65), "a", "{}"), (&"i".repeat(64), "b", "{}")]);
        assert!(made.calls[0].id.starts_with("call_"));
        assert_eq!(made.calls[1].id.len(), 64);
    }

    #[test]
    fn a_reply_of_endless_calls_and_a_bill_of_absurd_tokens_are_nonsense() {
        let mut draft = Draft::default();
        for _ in 0..CALLS_MAX {
            assert!(draft.add_call(None).is_ok());
        }
        assert!(draft.add_call(None).is_err());
        let bill = |tokens: u64| count(&serde_json::json!({ "tokens": tokens }), "/tokens");
        assert!(matches!(bill(1_000_000_000), Ok(Some(1_000_000_000))));
        assert!(bill(1_000_000_001).is_err());
    }

    #[test]
    fn a_name_that_no_api_takes_back_is_mended() {
        let made = reply(None, &[("a", "functions.read file", "{}"), ("b", "", "{}"), ("c", &"n".repeat(99), "{}")]);
        let names: Vec<&str> = made.calls.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["functions_read_file", "_", &"n".repeat(64)]);
    }

    #[test]
    fn the_limit_drops_a_call_that_it_cut_and_a_refusal_drops_all() {
        let calls = [("a", "x", "{\"p\":1}"), ("b", "y", "{\"p\":\"half")];
        let cut = reply(Some(Finish::Length), &calls);
        assert_eq!((cut.finish, cut.calls.len()), (Finish::Length, 1));
        let whole = reply(Some(Finish::Length), &calls[..1]);
        assert_eq!(whole.calls.len(), 1);
        let refused = reply(Some(Finish::Refusal), &calls);
        assert_eq!((refused.finish, refused.calls.len()), (Finish::Refusal, 0));
        let malformed = reply(Some(Finish::Calls), &calls);
        assert_eq!(malformed.calls[1].arguments, "{\"p\":\"half");
    }
}
