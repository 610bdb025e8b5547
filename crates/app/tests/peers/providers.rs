//! Providers that somebody else wrote.
use std::process::{Command, Stdio};

use crate::served::{Peer, Served, free_port, python, root, wait_for};

fn model(kind: &str, port: u16, base: &str, name: &str, tokens: u32) -> String {
    format!(
        "[providers.p]\nkind = \"{kind}\"\nbase_url = \"http://127.0.0.1:{port}{base}\"\napi_key_env = \"PEER_KEY\"\n[models.default]\nprovider = \"p\"\nname = \"{name}\"\ncontext_tokens = 4096\nmax_output_tokens = {tokens}\nprice_usd_per_mtok = \"free\"\n"
    )
}

/// The real model, behind both of the APIs that llama.cpp's server speaks: it says something, and
/// the bill is the server's own count.
#[test]
fn a_real_small_model_answers_through_both_apis() {
    let port = free_port();
    let script = root().join("tests/peers/real_model.py");
    let mut child =
        python().arg(script).arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(port, &mut child);
    let _model = Peer(child);
    for (kind, base) in [("openai", "/v1"), ("anthropic", "")] {
        let served = Served::start(Some(&model(kind, port, base, "smollm2-135m", 24)), &[("PEER_KEY", "none")]);
        let view = served.turn("Say hello.");
        let reason = view["reason"].as_str().or(view["stop"].as_str()).unwrap_or_default().to_owned();
        assert!(["claimed", "output_limit"].contains(&reason.as_str()), "{kind}: {view}");
        assert!(view["spend"]["tokens"].as_u64().unwrap() > 24, "{kind}: {view}");
    }
}

/// The mock plays a fixture; its faults are retried until it comes through.
#[test]
fn a_mock_of_model_apis_answers_through_its_faults() {
    let port = free_port();
    let mock = root().join(".setup/node/node_modules/.bin/llmock");
    assert!(mock.exists(), "the peers are not installed: run `cargo xtask setup`");
    let fixtures = tempfile::tempdir().unwrap();
    let fixture = r#"{"fixtures":[{"match":{"userMessage":"ping"},"response":{"content":"pong from the mock"}}]}"#;
    std::fs::write(fixtures.path().join("f.json"), fixture).unwrap();
    let mut command = Command::new(mock);
    command.args(["-p", &port.to_string(), "-f"]).arg(fixtures.path()).args([
        "--chaos-ratelimit",
        "0.3",
        "--chaos-disconnect",
        "0.2",
    ]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(port, &mut child);
    let _mock = Peer(child);
    for (kind, base) in [("openai", "/v1"), ("anthropic", "")] {
        let served = Served::start(Some(&model(kind, port, base, "mock-1", 256)), &[("PEER_KEY", "none")]);
        for _ in 0..4 {
            let view = served.turn("ping");
            assert_eq!(view["reply"], "pong from the mock", "{kind}: {view}");
        }
    }
}
