//! The part of a request around its messages.
//!
//! Everything that may differ between two requests of a session stands in the tail, so that the
//! bytes from the start to the newest message stay the same and providers' prompt caches hit.

use backstay_kernel::request::escape;
use backstay_kernel::tool::Manifest;

use crate::endpoint::Kind;

/// The request's bytes are `head`, the fragments joined by ",", `tail`; the first fragment is
/// `lead`, if there is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Ends in `"messages":[`.
    pub head: String,
    pub lead: Option<String>,
    pub tail: String,
}

/// Renders the envelope. `model_name` is the vendor's name of the model; each manifest's schema is
/// sent as it is written.
#[must_use]
pub fn envelope(
    kind: Kind,
    model_name: &str,
    instructions: &str,
    tools: &[&Manifest],
    output_tokens_max: u64,
    stream: bool,
) -> Envelope {
    let mut head = String::from("{\"model\":");
    string(model_name, &mut head);
    let limit = match kind {
        // Its models refuse the old name, and other servers do not know the new one.
        Kind::OpenAi => "max_completion_tokens",
        Kind::OpenAiCompatible | Kind::Anthropic | Kind::AnthropicCompatible | Kind::Rehearsal => "max_tokens",
    };
    let mut tail = format!("],\"{limit}\":{output_tokens_max}");
    if stream {
        tail.push_str(",\"stream\":true");
    }
    let lead = match kind {
        Kind::OpenAi | Kind::OpenAiCompatible | Kind::Rehearsal => {
            openai_tools(tools, &mut head);
            if stream {
                // Without it the stream carries no usage at all.
                tail.push_str(",\"stream_options\":{\"include_usage\":true}");
            }
            system_message(instructions)
        }
        Kind::Anthropic | Kind::AnthropicCompatible => {
            anthropic_system(instructions, &mut head);
            anthropic_tools(tools, &mut head);
            if kind == Kind::Anthropic {
                // One more mark, which the vendor sets behind the newest message and moves along:
                // what a turn has said so far is read from the cache at its next step. Clouds that
                // serve the same models refuse it.
                tail.push_str(CACHE_HERE);
            }
            None
        }
    };
    head.push_str(",\"messages\":[");
    tail.push('}');
    Envelope { head, lead, tail }
}

fn system_message(instructions: &str) -> Option<String> {
    if instructions.is_empty() {
        return None;
    }
    let mut lead = String::from("{\"role\":\"system\",\"content\":");
    string(instructions, &mut lead);
    lead.push('}');
    Some(lead)
}

fn openai_tools(tools: &[&Manifest], out: &mut String) {
    for (index, tool) in tools.iter().enumerate() {
        out.push_str(if index == 0 { ",\"tools\":[" } else { "," });
        out.push_str("{\"type\":\"function\",\"function\":{\"name\":");
        string(&tool.name, out);
        out.push_str(",\"description\":");
        string(&tool.description, out);
        out.push_str(",\"parameters\":");
        out.push_str(&tool.schema);
        out.push_str("}}");
    }
    if !tools.is_empty() {
        out.push(']');
    }
}

const CACHE_HERE: &str = ",\"cache_control\":{\"type\":\"ephemeral\"}";

fn anthropic_system(instructions: &str, out: &mut String) {
    // Anthropic refuses a text without a visible character.
    if instructions.trim().is_empty() {
        return;
    }
    out.push_str(",\"system\":[{\"type\":\"text\",\"text\":");
    string(instructions, out);
    out.push_str(CACHE_HERE);
    out.push_str("}]");
}

fn anthropic_tools(tools: &[&Manifest], out: &mut String) {
    for (index, tool) in tools.iter().enumerate() {
        out.push_str(if index == 0 { ",\"tools\":[" } else { "," });
        out.push_str("{\"name\":");
        string(&tool.name, out);
        out.push_str(",\"description\":");
        string(&tool.description, out);
        out.push_str(",\"input_schema\":");
        out.push_str(&tool.schema);
        if index + 1 == tools.len() {
            out.push_str(CACHE_HERE);
        }
        out.push('}');
    }
    if !tools.is_empty() {
        out.push(']');
    }
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstay_kernel::tool::{Answerer, EffectClass, Idempotency};
    use serde_json::{Value, json};

    fn tool(name: &str) -> Manifest {
        Manifest {
            name: name.to_owned(),
            description: "says \"hi\"".to_owned(),
            class: EffectClass::Read,
            idempotency: Idempotency::Pure,
            reversible: None,
            answerer: Answerer::Tool,
            arguments: Vec::new(),
            program: None,
            remote: false,
            result: backstay_kernel::label::Label::of(backstay_kernel::label::Source::Tool),
            audience: backstay_kernel::destination::Audience::Public,
            known: Vec::new(),
            creates: None,
            schema: r#"{"type":"object","properties":{"path":{"type":"string"}}}"#.to_owned(),
            timeout_ms: 1,
        }
    }

    fn whole(kind: Kind, instructions: &str, stream: bool) -> Value {
        let (a, b) = (tool("a"), tool("b"));
        let e = envelope(kind, "m\"1", instructions, &[&a, &b], 77, stream);
        assert!(e.head.ends_with("\"messages\":["));
        let user = "{\"role\":\"user\",\"content\":\"x\"}".to_owned();
        let fragments: Vec<String> = e.lead.into_iter().chain([user]).collect();
        serde_json::from_str(&format!("{}{}{}", e.head, fragments.join(","), e.tail)).unwrap()
    }

    #[test]
    fn openai_requests_hold_what_was_asked() {
        let request = whole(Kind::OpenAiCompatible, "be\ncareful", true);
        assert_eq!(request["model"], "m\"1");
        assert_eq!(request["max_tokens"], 77);
        assert_eq!(request.get("max_completion_tokens"), None);
        assert_eq!(request["stream_options"], json!({"include_usage": true}));
        assert_eq!(request["messages"][0], json!({"role": "system", "content": "be\ncareful"}));
        assert_eq!(request["tools"][1]["function"]["name"], "b");
        assert_eq!(request["tools"][1]["function"]["parameters"]["type"], "object");
        let own = whole(Kind::OpenAi, "", true);
        assert_eq!((&own["max_completion_tokens"], own.get("max_tokens")), (&json!(77), None));
        let plain = whole(Kind::Rehearsal, "", false);
        assert_eq!(plain.get("stream"), None);
        assert_eq!(plain["messages"][0]["role"], "user");
    }

    #[test]
    fn anthropic_requests_mark_what_to_cache() {
        let request = whole(Kind::Anthropic, "be careful", true);
        assert_eq!(request["stream"], true);
        assert_eq!(request.get("stream_options"), None);
        assert_eq!(request["system"][0]["cache_control"], json!({"type": "ephemeral"}));
        assert_eq!(request["tools"][0].get("cache_control"), None);
        assert_eq!(request["tools"][1]["cache_control"], json!({"type": "ephemeral"}));
        assert_eq!(request["cache_control"], json!({"type": "ephemeral"}));
        let elsewhere = whole(Kind::AnthropicCompatible, "be careful", true);
        assert_eq!(elsewhere.get("cache_control"), None);
        assert_eq!(elsewhere["tools"], request["tools"]);
        assert_eq!(whole(Kind::Anthropic, " ", false).get("system"), None);
    }

    #[test]
    fn only_the_tail_depends_on_limits_and_streaming() {
        for kind in [Kind::OpenAi, Kind::OpenAiCompatible, Kind::Anthropic, Kind::AnthropicCompatible] {
            let a = envelope(kind, "m", "i", &[], 1, true);
            let b = envelope(kind, "m", "i", &[], 2, false);
            assert_eq!((a.head, a.lead), (b.head, b.lead));
            assert_ne!(a.tail, b.tail);
        }
    }
}
