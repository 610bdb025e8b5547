//! Logins at servers of tools that need a person.
use serde_json::Value;

use super::super::conversation::{list, text};
use super::super::mcp::words;
use super::{Finding, bad, good};

/// `servers` is what the desk says of them.
pub fn findings(servers: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for server in list(servers, "servers") {
        let Some(login) = server.get("login").filter(|login| !login.is_null()) else { continue };
        let name = text(server, "name");
        let detail = format!("{name}: {}", words(login));
        findings.push(match text(login, "state") {
            "good" => good("login", detail),
            _ => bad("login", detail, format!("backstay mcp login {name}")),
        });
    }
    findings
}
