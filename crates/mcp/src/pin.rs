//! What an operator looked at when they let a server in, and how what is there now differs from it.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything about a server that can be fixed. What it does is not among it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// As the config has it.
    pub command: Vec<String>,
    /// Where it is, if it runs elsewhere: then nothing of what it does can be pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub environment: Vec<String>,
    /// Digests by path: of a file, or of all that lies in a directory for programs.
    pub files: BTreeMap<String, String>,
    pub protocol: String,
    /// Name and version, as it says.
    pub server: Value,
    pub instructions: Option<String>,
    /// By name.
    pub tools: BTreeMap<String, PinnedTool>,
    /// By name, as it says; no model is offered them.
    pub prompts: BTreeMap<String, Value>,
    pub templates: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedTool {
    pub description: String,
    /// Of its arguments.
    pub schema: Value,
    /// What it says of itself, which nobody believes.
    pub annotations: Value,
    /// The rest of what it says.
    pub more: Value,
}

impl Pin {
    /// The first thing that is other than it was pinned, in words.
    #[must_use]
    pub fn drift(&self, now: &Self) -> Option<String> {
        if self.command != now.command || self.environment != now.environment {
            return Some("its command in the config changed".to_owned());
        }
        if self.url != now.url {
            return Some("its URL in the config changed".to_owned());
        }
        if let Some(why) = self.drift_of_files(&now.files) {
            return Some(why);
        }
        if self.protocol != now.protocol || self.server != now.server {
            return Some("its name, version or protocol changed".to_owned());
        }
        if self.instructions != now.instructions {
            return Some("its instructions changed".to_owned());
        }
        if let Some(name) = differing(&self.tools, &now.tools) {
            return Some(self.tool_drift(name, now));
        }
        let of = |what: &str, name: &String| format!("its {what} `{name}` changed");
        let prompt = differing(&self.prompts, &now.prompts).map(|name| of("prompt", name));
        prompt.or_else(|| differing(&self.templates, &now.templates).map(|name| of("resource template", name)))
    }

    /// The same, of what there is to see of a server that does not run.
    #[must_use]
    pub fn drift_of_files(&self, now: &BTreeMap<String, String>) -> Option<String> {
        differing(&self.files, now).map(|path| format!("`{path}` changed"))
    }

    fn tool_drift(&self, name: &str, now: &Self) -> String {
        let what = match (self.tools.get(name), now.tools.get(name)) {
            (Some(_), None) => "is gone",
            (None, _) => "is new",
            (Some(was), Some(is)) if was.description != is.description => "has another description",
            (Some(was), Some(is)) if was.schema != is.schema => "has another schema",
            (Some(was), Some(is)) if was.annotations != is.annotations => "has other annotations",
            (Some(_), Some(_)) => "changed",
        };
        format!("its tool `{name}` {what}")
    }
}

fn differing<'a, V: PartialEq>(was: &'a BTreeMap<String, V>, is: &'a BTreeMap<String, V>) -> Option<&'a String> {
    let changed = was.iter().find(|(name, value)| is.get(*name) != Some(value)).map(|(name, _)| name);
    changed.or_else(|| is.keys().find(|name| !was.contains_key(*name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pin() -> Pin {
        let tool = PinnedTool {
            description: "Reads.".to_owned(),
            schema: json!({ "type": "object" }),
            annotations: json!({ "readOnlyHint": true }),
            more: json!({ "name": "read" }),
        };
        Pin {
            command: vec!["node".to_owned(), "/opt/x.js".to_owned()],
            url: None,
            environment: vec!["A=1".to_owned()],
            files: BTreeMap::from([("/opt".to_owned(), "aa".to_owned())]),
            protocol: "2025-11-25".to_owned(),
            server: json!({ "name": "x", "version": "1" }),
            instructions: Some("Be nice.".to_owned()),
            tools: BTreeMap::from([("read".to_owned(), tool)]),
            prompts: BTreeMap::from([("p".to_owned(), json!({ "name": "p" }))]),
            templates: BTreeMap::from([("t".to_owned(), json!({ "name": "t" }))]),
        }
    }

    #[test]
    fn whatever_is_other_than_it_was_pinned_is_named() {
        type Change = (fn(&mut Pin), &'static str);
        let changes: [Change; 16] = [
            (|pin| pin.url = Some("https://x.test/".to_owned()), "its URL"),
            (|pin| pin.command.push("--more".to_owned()), "its command in the config"),
            (|pin| pin.environment.clear(), "its command in the config"),
            (|pin| drop(pin.files.insert("/opt".to_owned(), "ab".to_owned())), "`/opt`"),
            (|pin| drop(pin.files.insert("/more".to_owned(), "ab".to_owned())), "`/more`"),
            (|pin| pin.protocol.push('x'), "protocol"),
            (|pin| pin.server = json!({ "name": "x", "version": "2" }), "version"),
            (|pin| pin.instructions = None, "its instructions"),
            (|pin| pin.tools.get_mut("read").unwrap().description.push('!'), "`read` has another description"),
            (|pin| pin.tools.get_mut("read").unwrap().schema = json!({}), "`read` has another schema"),
            (|pin| pin.tools.get_mut("read").unwrap().annotations = json!(null), "`read` has other annotations"),
            (|pin| pin.tools.get_mut("read").unwrap().more = json!({ "title": "x" }), "`read` changed"),
            (|pin| drop(pin.tools.remove("read")), "`read` is gone"),
            (|pin| drop(pin.tools.insert("write".to_owned(), pin.tools["read"].clone())), "`write` is new"),
            (|pin| pin.prompts.clear(), "its prompt `p`"),
            (|pin| drop(pin.templates.insert("t".to_owned(), json!({}))), "its resource template `t`"),
        ];
        for (change, named) in changes {
            let mut now = pin();
            change(&mut now);
            let why = pin().drift(&now).unwrap_or_default();
            assert!(why.contains(named), "{named}: {why}");
        }
        assert_eq!(pin().drift(&pin()), None);
    }

    #[test]
    fn a_pin_is_read_as_it_was_written_and_nothing_beside_it() {
        let text = serde_json::to_string(&pin()).unwrap();
        assert_eq!(serde_json::from_str::<Pin>(&text).unwrap(), pin());
        assert!(serde_json::from_str::<Pin>(&text.replacen('{', "{\"more\":1,", 1)).is_err());
    }
}
