//! Tokens of a home under test, and which of them a call takes: each is for one thing.
use std::process::Command;

pub struct Tokens {
    pub chat: String,
    observe: String,
    approve: String,
    operate: String,
}

impl Tokens {
    /// Made by `backstay`, the binary with the home, for whom `speaks` says.
    pub fn of(speaks: &str, backstay: impl Fn() -> Command) -> Self {
        let make = |scope| {
            let words = ["tokens", "create", "--principal", "owner", "--speaks", speaks, "--json", "--scope", scope];
            let made = backstay().args(words).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
            made["token"].as_str().unwrap().to_owned()
        };
        Self { chat: make("chat"), observe: make("observe"), approve: make("approve"), operate: make("operate") }
    }

    pub fn of_call(&self, path: &str) -> &str {
        let ends = |words: &[&str]| words.iter().any(|word| path.ends_with(word));
        if ends(&["/metrics", "/trace", "/status", "/budget", "/epochs"]) {
            &self.observe
        } else if path.starts_with("/api/approvals") {
            &self.approve
        } else if ends(&["/stop", "/freeze", "/reload"]) {
            &self.operate
        } else {
            &self.chat
        }
    }
}
