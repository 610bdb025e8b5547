//! Tool calls as they are stored: one canonical JSON array, as OpenAI writes `tool_calls`.

use backstay_kernel::request::escape;
use serde::Deserialize;

/// A tool call as the model asked for it. Nothing in it is checked: the runtime judges.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Call {
    pub id: String,
    pub name: String,
    /// JSON of an object, if the model did well; any text, if not.
    pub arguments: String,
}

/// The stored form of a reply's calls. Part of the stored format: it never changes.
#[must_use]
pub fn calls_json(calls: &[Call]) -> String {
    let mut out = String::from("[");
    for (index, call) in calls.iter().enumerate() {
        out.push_str(if index == 0 { "{\"id\":\"" } else { ",{\"id\":\"" });
        escape(&call.id, &mut out);
        out.push_str("\",\"type\":\"function\",\"function\":{\"name\":\"");
        escape(&call.name, &mut out);
        out.push_str("\",\"arguments\":\"");
        escape(&call.arguments, &mut out);
        out.push_str("\"}}");
    }
    out.push(']');
    out
}

#[derive(Deserialize)]
struct Stored {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

/// Reads [`calls_json`] back; `None` for anything else.
#[must_use]
pub fn calls_from_json(stored: &[u8]) -> Option<Vec<Call>> {
    let stored: Vec<Stored> = serde_json::from_slice(stored).ok()?;
    let call = |s: Stored| Call { id: s.id, name: s.function.name, arguments: s.function.arguments };
    Some(stored.into_iter().map(call).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_stored_form_is_fixed() {
        let call = Call { id: "c1".into(), name: "read_file".into(), arguments: "{\"path\":\"a\"}".into() };
        assert_eq!(
            calls_json(&[call.clone(), call]),
            "[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"read_file\",\"arguments\":\"{\\\"path\\\":\\\"a\\\"}\"}},\
             {\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"read_file\",\"arguments\":\"{\\\"path\\\":\\\"a\\\"}\"}}]"
        );
    }

    proptest! {
        #[test]
        fn stored_calls_read_back_as_they_were(parts in prop::collection::vec(any::<(String, String, String)>(), 0..4)) {
            let calls: Vec<Call> =
                parts.into_iter().map(|(id, name, arguments)| Call { id, name, arguments }).collect();
            prop_assert_eq!(calls_from_json(calls_json(&calls).as_bytes()), Some(calls));
        }
    }
}
