//! Providers that somebody else wrote, and what the vendors' own clients would have sent them.
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use backstay_providers::{Kind, envelope};
use serde_json::{Value, json};

use crate::scripted::{Play, Scripted, calls, response, says};
use crate::served::{Peer, Served, free_port, python, root, wait_for};

/// The config of a provider at `url` that speaks `kind` below `base`.
pub fn model(kind: &str, url: &str, base: &str, name: &str, tokens: u32) -> String {
    format!(
        "[providers.p]\nkind = \"{kind}\"\nbase_url = \"{url}{base}\"\napi_key_env = \"PEER_KEY\"\n[models.default]\nprovider = \"p\"\nname = \"{name}\"\ncontext_tokens = 4096\nmax_output_tokens = {tokens}\nprice_usd_per_mtok = \"free\"\n"
    )
}

const APIS: [(&str, &str); 2] = [("openai", "/v1"), ("anthropic", "")];

/// One request to a peer on this machine: the whole answer, with its head.
fn send(port: u16, method: &str, path: &str, body: &Value) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nanthropic-version: 2023-06-01\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn real_model() -> (u16, Peer) {
    let port = free_port();
    let script = root().join("tests/peers/real_model.py");
    let mut child =
        python().arg(script).arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(port, &mut child);
    (port, Peer(child))
}

/// The real model, behind both of the APIs that llama.cpp's server speaks: it says something, and
/// the bill is the server's own count.
#[test]
fn a_real_small_model_answers_through_both_apis() {
    let (port, _model) = real_model();
    for (kind, base) in APIS {
        let config = model(kind, &format!("http://127.0.0.1:{port}"), base, "smollm2-135m", 24);
        let served = Served::start(Some(&config), &[("PEER_KEY", "none")]);
        let view = served.turn("Say hello.");
        let reason = view["reason"].as_str().unwrap_or_default();
        assert!(["claimed", "output_limit"].contains(&reason), "{kind}: {view}");
        assert!(view["spend"]["tokens"].as_u64().unwrap() > 24, "{kind}: {view}");
    }
}

fn brings_a_result(request: &Value) -> bool {
    let last = request["messages"].as_array().unwrap().last().unwrap();
    last["role"] == "tool" || last["content"][0]["type"] == "tool_result"
}

/// What a product's user cannot ask for, and so small a model does not do by itself: a relay asks
/// the server for a short call in answer to a person, and for words in answer to a result. Everything
/// else is the product's request and the server's answer.
fn insist(kind: &'static str, port: u16) -> Scripted {
    Scripted::start(move |_, body| {
        let mut body = body.clone();
        let (path, choice) = match (kind, brings_a_result(&body)) {
            ("openai", false) => ("/v1/chat/completions", json!("required")),
            ("openai", true) => ("/v1/chat/completions", json!("none")),
            (_, false) => ("/v1/messages", json!({ "type": "any" })),
            (_, true) => ("/v1/messages", json!({ "type": "none" })),
        };
        body["tool_choice"] = choice;
        body["temperature"] = json!(0);
        let schema = if kind == "openai" { "/tools/0/function/parameters" } else { "/tools/0/input_schema" };
        body.pointer_mut(schema).unwrap()["properties"]["text"]["maxLength"] = json!(40);
        Play::Bytes(send(port, "POST", path, &body))
    })
}

#[test]
fn a_real_small_model_calls_a_tool_through_both_apis() {
    let (port, _model) = real_model();
    for (kind, base) in APIS {
        let relay = insist(kind, port);
        let config = model(kind, relay.url.trim_end_matches("/v1"), base, "smollm2-135m", 96);
        let served = Served::start_with(&["remember"], Some(&config), &[("PEER_KEY", "none")]);
        let view = served.turn("Remember this: the ship is called Vega.");
        let reason = view["reason"].as_str().unwrap_or_default();
        assert!(["claimed", "output_limit"].contains(&reason), "{kind}: {view}");
        assert_eq!(view["completion"]["done"][0]["tool"], "remember", "{kind}: {view}");
        let trace = served.get(&format!("/api/turns/{}/trace", view["turn"].as_str().unwrap()));
        assert_eq!(trace["touched"].as_array().unwrap().len(), 1, "{kind}: {trace}");
        // The server took the call that it had made back, with its result.
        assert_eq!(relay.requests().iter().filter(|(_, body)| brings_a_result(body)).count(), 1, "{kind}: {view}");
    }
}

/// A conversation with a call and its result is the same request in the vendor's own client.
#[test]
fn the_vendors_clients_would_send_the_same_request() {
    let stream_of = |events: &[Value]| {
        let line = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
        let body: String = events.iter().map(line).collect();
        response("200 OK", "content-type: text/event-stream\r\n", body)
    };
    let block = |block: Value, stop: &str| {
        stream_of(&[
            json!({ "type": "message_start", "message": { "usage": { "input_tokens": 9, "output_tokens": 1 } } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": block }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": stop }, "usage": { "output_tokens": 5 } }),
            json!({ "type": "message_stop" }),
        ])
    };
    let list = json!({ "type": "tool_use", "id": "toolu_1", "name": "list_dir", "input": { "path": "." } });
    let anthropic = vec![block(list, "tool_use"), block(json!({ "type": "text", "text": "done" }), "end_turn")];
    let openai = vec![calls(&[("call_1", "list_dir", "{\"path\":\".\"}")]), says("done")];
    for ((kind, base), answers) in APIS.into_iter().zip([openai, anthropic]) {
        let vendor = Scripted::playing(answers);
        let config = model(kind, vendor.url.trim_end_matches("/v1"), base, "m", 256);
        let served = Served::start(Some(&config), &[("PEER_KEY", "peer-key")]);
        assert_eq!(served.turn("What is there?")["reply"], "done");
        vendor.requests().iter().for_each(|(head, body)| same_as_the_sdk(kind, head, body));
    }
}

/// What only a vendor's own host is sent, a loopback address never is.
#[test]
fn the_vendors_clients_know_what_only_their_vendor_is_sent() {
    for (kind, api, path) in
        [(Kind::OpenAi, "openai", "/v1/chat/completions"), (Kind::Anthropic, "anthropic", "/v1/messages")]
    {
        let made = envelope(kind, "m", "Be careful.", &[], 64, true);
        let user = json!({ "role": "user", "content": "hello" }).to_string();
        let messages: Vec<String> = made.lead.into_iter().chain([user]).collect();
        let body: Value = serde_json::from_str(&(made.head + &messages.join(",") + &made.tail)).unwrap();
        let own = if api == "openai" { "max_completion_tokens" } else { "cache_control" };
        assert!(body.get(own).is_some(), "{body}");
        same_as_the_sdk(api, &format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n\r\n"), &body);
    }
}

#[track_caller]
fn same_as_the_sdk(api: &str, head: &str, body: &Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("request.json");
    std::fs::write(&file, json!({ "head": head, "body": body }).to_string()).unwrap();
    let out = python().arg(root().join("tests/peers/sdk_shapes.py")).arg(api).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said.trim(), "the same", "{api}: {}", String::from_utf8_lossy(&out.stderr));
}

/// The mock, with one file of fixtures.
fn mock(fixtures: &Value) -> (u16, Peer, tempfile::TempDir) {
    let port = free_port();
    let mock = root().join(".setup/node/node_modules/.bin/llmock");
    assert!(mock.exists(), "the peers are not installed: run `cargo xtask setup`");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("f.json"), fixtures.to_string()).unwrap();
    let mut command = Command::new(mock);
    command.args(["-p", &port.to_string(), "-f"]).arg(directory.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(port, &mut child);
    (port, Peer(child), directory)
}

/// Each fault of the mock is an attempt in the journal, of its class; when the fault is over, the
/// turn ends as if nothing had been.
#[test]
fn a_mock_of_model_apis_answers_through_its_faults() {
    let (port, _mock, _fixtures) =
        mock(&json!({ "fixtures": [{ "match": { "userMessage": "ping" }, "response": { "content": "pong" } }] }));
    for (kind, base) in APIS {
        let config = model(kind, &format!("http://127.0.0.1:{port}"), base, "mock-1", 256);
        let served = Served::start(Some(&config), &[("PEER_KEY", "none")]);
        for (fault, class) in [
            (json!({ "rateLimitRate": 1, "latencyMs": 5 }), "wait"),
            (json!({ "disconnectRate": 1 }), "retry_same"),
            (json!({ "malformedRate": 1 }), "retry_same"),
            (json!({ "dropRate": 1 }), "retry_same"),
        ] {
            send(port, "POST", "/__aimock/chaos", &fault);
            let (session, turn) = served.say("ping");
            let retried = || {
                let records = served.get(&format!("/api/sessions/{session}/records?limit=1000"))["records"].take();
                let classes = records.as_array().unwrap().iter().filter(|record| record["kind"] == "retried");
                classes.map(|record| record["body"]["class"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            while retried().is_empty() {
                std::thread::yield_now();
            }
            send(port, "DELETE", "/__aimock/chaos", &Value::Null);
            let view = served.ended(&turn);
            assert_eq!(
                (&view["reason"], &view["reply"]),
                (&json!("claimed"), &json!("pong")),
                "{kind} {fault}: {view}"
            );
            assert!(retried().iter().all(|found| found == class), "{kind} {fault}: {:?}", retried());
        }
    }
}

/// A stream of calls that neither vendor nor we have written.
#[test]
fn calls_of_a_mock_are_run_and_answered() {
    let write = |path: &str| json!({ "name": "write_file", "arguments": { "path": path, "content": "from the mock" } });
    let (port, _mock, _fixtures) = mock(&json!({ "fixtures": [
        { "match": { "userMessage": "write two", "hasToolResult": true }, "response": { "content": "written" } },
        { "match": { "userMessage": "write two" }, "response": { "toolCalls": [write("one.txt"), write("two.txt")] } },
    ] }));
    for (kind, base) in APIS {
        let config = model(kind, &format!("http://127.0.0.1:{port}"), base, "mock-1", 256);
        let served = Served::start(Some(&config), &[("PEER_KEY", "none")]);
        let view = served.turn("write two");
        assert_eq!(view["reply"], "written", "{kind}: {view}");
        for name in ["one.txt", "two.txt"] {
            let written = std::fs::read_to_string(served.home.path().join("home/workspace").join(name));
            assert_eq!(written.unwrap(), "from the mock", "{kind}");
        }
    }
}
