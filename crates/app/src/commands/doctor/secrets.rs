//! Whether every secret that something needs is there, and where the key lies that seals them.
use serde_json::Value;

use super::super::conversation::{list, text};
use super::{Finding, bad, good, notice};
use crate::config::Checked;

/// `kept` is what the desk says of the secrets.
pub fn findings(checked: &Checked, kept: &Value) -> Vec<Finding> {
    let state = |name: &str| {
        let found = list(kept, "secrets").iter().find(|secret| text(secret, "name") == name);
        found.map_or("none", |secret| text(secret, "state"))
    };
    let set = |name: &str| format!("backstay secrets set {name}");
    let mut findings = Vec::new();
    let key = text(kept, "key");
    let (has_some, is_open) = (!list(kept, "secrets").is_empty(), !key.is_empty());
    if has_some && !is_open {
        let next = "give this process the key: [home] secrets_key, or systemd's credential";
        findings.push(bad("secrets", "they are sealed, and there is no key here that opens them", next));
        return findings;
    }
    if key.starts_with('$') {
        let next = "put it into a file outside of the home: [home] secrets_key, or LoadCredentialEncrypted= of systemd";
        let detail = format!("their key comes from {key}, which whatever starts Backstay holds and shows too");
        findings.push(notice("secrets", detail, next));
    }
    for secret in list(kept, "secrets") {
        let name = text(secret, "name");
        match text(secret, "state") {
            "missing" => {
                let detail = format!("{name}: the journal knows of a value that the store does not have");
                // A login is no value that could be given by hand.
                let login = name.strip_prefix("mcp.").map(|server| format!("backstay mcp login {server}"));
                let next = login.unwrap_or_else(|| format!("backstay secrets rotate {name}"));
                findings.push(bad("secrets", detail, next));
            }
            "unrecorded" => {
                let detail = format!("{name}: the store has a value that the journal knows nothing of");
                let login = name.strip_prefix("mcp.").map(|server| format!("backstay mcp logout {server}"));
                let next = login.unwrap_or_else(|| format!("backstay secrets rm {name}, then set it again"));
                findings.push(bad("secrets", detail, next));
            }
            _ => {}
        }
    }
    for (agent, config) in &checked.policy.agents {
        for name in config.grants.secrets.iter().filter(|name| state(name) == "none") {
            findings.push(notice("secrets", format!("agent {agent}: {name} is granted and not set"), set(name)));
        }
    }
    let is_granted = |name: &String| checked.policy.agents.values().any(|agent| agent.grants.secrets.contains(name));
    for (name, binding) in checked.bindings.iter().filter(|(name, _)| !is_granted(name)) {
        let detail = format!("{name} is bound to {} and granted to no agent", binding.host);
        findings.push(notice("secrets", detail, format!("[agents.NAME.grants] secrets = [\"{name}\"]")));
    }
    for (provider, config) in &checked.providers {
        for name in config.api_key_secret.iter().filter(|name| state(name) == "none") {
            findings.push(bad("secrets", format!("provider {provider}: its key {name} is not set"), set(name)));
        }
    }
    if findings.is_empty() && has_some {
        findings.push(good("secrets", format!("all there; sealed with the key from {key}")));
    }
    findings
}
