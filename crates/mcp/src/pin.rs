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
        if let Some(path) = differing(&self.files, &now.files) {
            return Some(format!("`{path}` changed"));
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
