//! What recorded answers become.

use backstay_kernel::budget::Usage;
use backstay_kernel::effect::{FailureClass, Finish};

use super::recorded::*;
use super::server::*;
use crate::client::headers;
use crate::endpoint::Target;
use crate::{Call, Client, Kind, Reply};

fn reply(kind: Kind, bytes: Vec<u8>) -> (Reply, String, String) {
    let played = run(play(kind, bytes));
    (played.result.unwrap(), played.text, played.reasoning)
}

fn chunks(deltas: &[&str], finish: &str) -> String {
    let line = |d: &&str| format!("data: {{\"choices\":[{{\"delta\":{d},\"finish_reason\":null}}]}}\n\n");
    let deltas: String = deltas.iter().map(line).collect();
    format!("{deltas}data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{finish}\"}}]}}\n\ndata: [DONE]\n\n")
}

fn calls_of(deltas: &[&str]) -> Vec<(String, String, String)> {
    let (reply, _, _) = reply(Kind::OpenAi, sse(&chunks(deltas, "tool_calls")));
    reply.calls.into_iter().map(|c| (c.id, c.name, c.arguments)).collect()
}

fn call_of(id: &str, name: &str, arguments: &str) -> Call {
    Call { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

#[test]
fn a_text_and_its_usage_from_both_vendors_are_the_same() {
    let (openai, shown, _) = reply(Kind::OpenAi, json(OPENAI_TEXT));
    assert_eq!((openai.text.as_str(), shown.as_str()), ("Hello, sailor", "Hello, sailor"));
    assert_eq!(openai.finish, Finish::Stop);
    assert_eq!(openai.usage, Some(Usage { uncached: 36, cache_read: 64, cache_write: 0, output: 20, reasoning: 8 }));
    let (anthropic, shown, thought) = reply(Kind::Anthropic, json(ANTHROPIC_TEXT));
    assert_eq!((anthropic.text, shown, thought), (openai.text, "Hello, sailor".to_owned(), "hm".to_owned()));
    assert_eq!(anthropic.usage, Some(Usage { uncached: 36, cache_read: 64, cache_write: 5, output: 20, reasoning: 0 }));
}

#[test]
fn whole_answers_with_calls() {
    let (openai, _, _) = reply(Kind::OpenAi, json(OPENAI_CALLS));
    let malformed = call_of("call_b", "read_file", "{\"path\":");
    assert_eq!(openai.calls, [call_of("call_a", "read_file", "{\"path\":\"a\"}"), malformed]);
    assert_eq!((openai.finish, openai.usage), (Finish::Calls, None));
    let (anthropic, _, _) = reply(Kind::Anthropic, json(ANTHROPIC_CALLS));
    let calls = [call_of("toolu_a", "read_file", "{\"path\":\"a\"}"), call_of("toolu_b", "list", "{}")];
    assert_eq!((anthropic.calls.as_slice(), anthropic.finish), (&calls[..], Finish::Calls));
}

#[test]
fn streams_with_parallel_calls_in_fragments() {
    let (openai, shown, thought) = reply(Kind::OpenAi, sse(OPENAI_STREAM));
    assert_eq!((openai.text.as_str(), shown.as_str(), thought.as_str()), ("Let me lööк 😀", "Let me lööк 😀", "hm"));
    let calls = [call_of("call_a", "read_file", "{\"path\":\"a\"}"), call_of("call_b", "write_file", "{}")];
    assert_eq!((openai.calls.as_slice(), openai.finish), (&calls[..], Finish::Calls));
    assert_eq!(openai.usage, Some(Usage { uncached: 36, cache_read: 64, output: 20, ..Usage::default() }));

    let (anthropic, shown, _) = reply(Kind::Anthropic, sse(ANTHROPIC_STREAM));
    assert_eq!((anthropic.text.as_str(), shown.as_str()), ("Let me lööк 😀", "Let me lööк 😀"));
    let calls = [call_of("toolu_a", "read_file", "{\"path\":\"a\"}"), call_of("toolu_b", "write_file", "{}")];
    assert_eq!((anthropic.calls.as_slice(), anthropic.finish), (&calls[..], Finish::Calls));
    assert_eq!(anthropic.usage, Some(Usage { uncached: 36, cache_read: 64, cache_write: 5, output: 20, reasoning: 0 }));
}

#[test]
fn crlf_and_single_bytes_change_nothing() {
    let lines = OPENAI_STREAM.replace('\n', "\r\n");
    let whole = reply(Kind::OpenAi, sse(OPENAI_STREAM));
    assert_eq!(reply(Kind::OpenAi, sse(&lines)), whole);
    let bytewise = run(async {
        let writes = sse(&lines).chunks(1).map(<[u8]>::to_vec).collect();
        let server = Server::start(writes, Then::Close).await;
        call(&Client::new().unwrap(), &endpoint(Kind::OpenAi, &server.url, timeouts())).await
    });
    assert_eq!(bytewise.result.unwrap(), whole.0);
}

#[test]
fn a_server_of_the_first_http_and_broken_characters_are_understood() {
    let old = format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{OPENAI_TEXT}");
    assert_eq!(reply(Kind::OpenAi, old.into_bytes()).0.text, "Hello, sailor");
    let halves = chunks(&[r#"{"content":"a\ud83d"}"#, r#"{"content":"\ude00b"}"#], "stop");
    assert_eq!(reply(Kind::OpenAi, sse(&halves)).0.text, "a\u{fffd}\u{fffd}b");
    for (kind, answer) in [(Kind::OpenAi, OPENAI_TEXT), (Kind::Anthropic, ANTHROPIC_TEXT)] {
        let mut bytes = json(answer);
        let place = bytes.windows(6).position(|w| w == b"sailor").unwrap();
        bytes[place] = 0xff;
        assert_eq!(reply(kind, bytes).0.text, "Hello, \u{fffd}ailor");
    }
}

#[test]
fn servers_that_count_calls_in_their_own_way() {
    let a = ("a".to_owned(), "x".to_owned(), "{\"p\":1}".to_owned());
    let b = ("b".to_owned(), "y".to_owned(), "{}".to_owned());
    let both = [a.clone(), b.clone()];
    // Without an index, and with every index 0.
    for index in ["", "\"index\":0,"] {
        let deltas = [
            format!(
                "{{\"tool_calls\":[{{{index}\"id\":\"a\",\"function\":{{\"name\":\"x\",\"arguments\":\"{{\\\"p\\\":\"}}}}]}}"
            ),
            format!("{{\"tool_calls\":[{{{index}\"function\":{{\"arguments\":\"1}}\"}}}}]}}"),
            format!("{{\"tool_calls\":[{{{index}\"id\":\"b\",\"function\":{{\"name\":\"y\",\"arguments\":\"\"}}}}]}}"),
        ];
        assert_eq!(calls_of(&deltas.each_ref().map(String::as_str)), both);
    }
    // Id and name repeated in every part; arguments as an object; no ids at all.
    let repeated = [
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"{\"p\""}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":":1}"}}]}"#,
    ];
    assert_eq!(calls_of(&repeated), both[..1]);
    let object = [r#"{"tool_calls":[{"index":null,"id":"a","function":{"name":"x","arguments":{"p":1}}}]}"#];
    assert_eq!(calls_of(&object), both[..1]);
    let nameless = [
        r#"{"tool_calls":[{"index":0,"id":"","function":{"name":"x","arguments":"{\"p\":1}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"","function":{"name":"y","arguments":"{}"}}]}"#,
    ];
    let made = calls_of(&nameless);
    assert_eq!(made.len(), 2);
    assert!(made[0].0.starts_with("call_") && made[0].0 != made[1].0);
    assert_eq!((&made[0].2, &made[1].2), (&a.2, &b.2));
}

#[test]
fn refusals_hold_no_calls_and_limits_no_half_ones() {
    let call = r#"{"content":"no","tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"{\"p\""}}]}"#;
    let (filtered, _, _) = reply(Kind::OpenAi, sse(&chunks(&[call], "content_filter")));
    assert_eq!((filtered.finish, filtered.calls.len()), (Finish::Refusal, 0));
    let (limited, _, _) = reply(Kind::OpenAi, sse(&chunks(&[call], "length")));
    assert_eq!((limited.finish, limited.calls.len(), limited.text.as_str()), (Finish::Length, 0, "no"));
    let (refused, shown, _) = reply(Kind::OpenAi, sse(&chunks(&[r#"{"refusal":"I will not"}"#], "stop")));
    assert_eq!((refused.finish, refused.text.as_str(), shown.as_str()), (Finish::Refusal, "I will not", "I will not"));
    let answer = r#"{"type":"message","content":[{"type":"text","text":"x"}],"stop_reason":"REASON","usage":{"input_tokens":1,"output_tokens":1}}"#;
    for (reason, finish) in [
        ("refusal", Finish::Refusal),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Length),
        ("stop_sequence", Finish::Stop),
        ("pause_turn", Finish::Stop),
        ("something_new", Finish::Stop),
    ] {
        assert_eq!(reply(Kind::Anthropic, json(&answer.replace("REASON", reason))).0.finish, finish);
    }
    let why = r#""stop_reason":"refusal","stop_details":{"type":"refusal","category":null,"explanation":"Not this."}"#;
    let whole = format!("{{\"type\":\"message\",\"content\":[],{why}}}");
    let delta = format!("data: {{\"type\":\"message_delta\",\"delta\":{{{why}}}}}\n\n");
    let streamed = sse(&format!("{delta}data: {{\"type\":\"message_stop\"}}\n\n"));
    for answer in [json(&whole), streamed] {
        let (refused, shown, _) = reply(Kind::Anthropic, answer);
        assert_eq!(
            (refused.finish, refused.text.as_str(), shown.as_str()),
            (Finish::Refusal, "Not this.", "Not this.")
        );
    }
    let said = answer.replace("\"stop_reason\":\"REASON\"", why);
    assert_eq!(reply(Kind::Anthropic, json(&said)).0.text, "x", "the model's own words stand");
}

#[test]
fn usage_is_normalised_or_absent() {
    let usage = |usage: &str| {
        let answer = format!(
            "{{\"choices\":[{{\"message\":{{\"content\":\"x\"}},\"finish_reason\":\"stop\"}}],\"usage\":{usage}}}"
        );
        reply(Kind::OpenAi, json(&answer)).0.usage
    };
    let plain = |uncached, output| Some(Usage { uncached, output, ..Usage::default() });
    assert_eq!(usage("null"), None);
    assert_eq!(usage("{}"), None);
    assert_eq!(usage("\"x\""), None);
    assert_eq!(usage(r#"{"prompt_tokens":0,"completion_tokens":0}"#), None);
    assert_eq!(usage(r#"{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":null}"#), plain(7, 3));
    // Reasoning that only the total counts.
    assert_eq!(usage(r#"{"prompt_tokens":7,"completion_tokens":3,"total_tokens":15}"#), plain(7, 8));
    // No count of tokens: then nothing of the bill is believed.
    for absurd in ["-3", "9007199254740993", "1e300", "2.5"] {
        assert_eq!(usage(&format!("{{\"prompt_tokens\":7,\"completion_tokens\":{absurd}}}")), None);
        let answer = ANTHROPIC_TEXT.replace("\"output_tokens\":20", &format!("\"output_tokens\":{absurd}"));
        assert_eq!(reply(Kind::Anthropic, json(&answer)).0.usage, None);
    }
    // More cached than there is.
    let odd = usage(r#"{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":99}}"#);
    assert_eq!(odd, Some(Usage { cache_read: 7, output: 3, ..Usage::default() }));
}

#[test]
fn the_request_is_the_wire_with_the_vendors_headers() {
    let requests = run(async {
        let client = Client::new().unwrap();
        let mut seen = Vec::new();
        for (kind, answer) in [(Kind::OpenAi, json(OPENAI_TEXT)), (Kind::Anthropic, json(ANTHROPIC_TEXT))] {
            let server = Server::start(vec![answer], Then::Close).await;
            call(&client, &endpoint(kind, &server.url, timeouts())).await.result.unwrap();
            seen.push(server.requests.lock().unwrap().concat());
        }
        seen
    });
    let [openai, anthropic] = requests.as_slice() else { panic!("two requests") };
    assert!(openai.starts_with("POST /chat/completions HTTP/1.1\r\n") && openai.ends_with("\r\n\r\n{\"x\":1}"));
    assert!(
        openai.contains("accept-encoding: identity\r\n")
            && openai.contains(&format!("authorization: Bearer {KEY}\r\n"))
            && openai.contains("idempotency-key: key-1\r\n")
    );
    assert!(
        anthropic.starts_with("POST /v1/messages HTTP/1.1\r\n")
            && anthropic.contains("anthropic-version: 2023-06-01\r\n")
    );
    assert!(anthropic.contains(&format!("x-api-key: {KEY}\r\n")) && !anthropic.contains("authorization"));
}

#[test]
fn a_vendors_own_host_is_spoken_to_in_its_latest_version() {
    for (base, version) in [("https://api.anthropic.com", "2026-10-21"), ("http://127.0.0.1:8080", "2023-06-01")] {
        let Target::Remote(remote) = endpoint(Kind::Anthropic, base, timeouts()).0 else { panic!("a remote") };
        assert_eq!(headers(&remote, "key-1").unwrap()["anthropic-version"], version);
    }
}

#[test]
fn a_connection_is_used_again_after_a_whole_and_a_streamed_answer() {
    run(async {
        let client = Client::new().unwrap();
        // The end of the stream comes after the client has all that it needs.
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
        let begun = format!("{head}\r\n\r\n{:x}\r\n{OPENAI_STREAM}\r\n", OPENAI_STREAM.len());
        let server = Server::start(vec![begun.into_bytes(), b"0\r\n\r\n".to_vec()], Then::Again).await;
        let streamed = endpoint(Kind::OpenAi, &server.url, timeouts());
        for _ in 0..3 {
            call(&client, &streamed).await.result.unwrap();
            server.gate.notify_one();
            // Until only the server's two tasks and the idle connection's one are left.
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 3 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(*server.connections.lock().unwrap(), 1);

        let server = Server::start(vec![json(OPENAI_TEXT)], Then::Again).await;
        let whole = endpoint(Kind::OpenAi, &server.url, timeouts());
        for _ in 0..3 {
            server.gate.notify_one();
            call(&client, &whole).await.result.unwrap();
        }
        assert_eq!(*server.connections.lock().unwrap(), 1);
    });
}

#[test]
fn the_rehearsal_model_needs_no_network() {
    let rehearsal = crate::Endpoint::new(Kind::Rehearsal, None, None, timeouts()).unwrap();
    let played = run(async { call(&Client::new().unwrap(), &rehearsal).await });
    assert_eq!(played.result.unwrap_err().class, FailureClass::Invalid);
}
