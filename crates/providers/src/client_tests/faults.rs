//! What faults of servers and networks become: a class, and never half a reply.

use std::time::Duration;

use backstay_kernel::effect::FailureClass::{self, *};

use super::recorded::*;
use super::server::*;
use crate::client::{Clock, read};
use crate::endpoint::Target;
use crate::limits::{DETAIL_BYTES_MAX, EVENT_BYTES_MAX};
use crate::{Client, Endpoint, Failed, Kind, Reply, Secret, Timeouts};

fn failed(kind: Kind, bytes: Vec<u8>) -> Failed {
    run(play(kind, bytes)).result.unwrap_err()
}

#[track_caller]
fn check(bytes: Vec<u8>, class: FailureClass, billed: bool) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
    let failed = failed(Kind::OpenAi, bytes);
    assert_eq!((failed.class, failed.billed), (class, billed), "{shown}\n{failed:?}");
}

/// Reads the first `length` bytes of a body that seems to end there.
async fn read_part(kind: Kind, content_type: &str, body: &str, length: usize) -> Result<Reply, Failed> {
    let part = body.as_bytes()[..length].to_vec();
    let response = http::Response::builder().header("content-type", content_type).body(part).unwrap();
    let Target::Remote(remote) = endpoint(kind, "http://a", timeouts()).0 else { panic!("a remote") };
    let clock = Clock::start(&remote, NOW);
    let draft = read(remote.api, response.into(), &clock, &mut |_| {}).await?;
    Ok(draft.into_reply("key-1"))
}

/// Cuts `body` at every byte, as an end that looks clean; at some, as one that does not.
fn cut_everywhere(kind: Kind, body: &str, whole_from: &str) {
    let least = body.find(whole_from).unwrap() + whole_from.len();
    let stream = "text/event-stream";
    run(async {
        let full = read_part(kind, stream, body, body.len()).await.unwrap();
        let check = |length: usize, result: Result<Reply, Failed>| match result {
            Ok(reply) => {
                assert!(length >= least, "a reply from {length} bytes");
                assert_eq!((&reply.calls, &reply.text), (&full.calls, &full.text));
            }
            Err(failed) => assert_eq!((failed.class, failed.billed), (RetrySame, true), "{length}"),
        };
        for length in 0..body.len() {
            check(length, read_part(kind, stream, body, length).await);
        }
        let whole = response("200 OK", "content-type: text/event-stream\r\n", body);
        let head = whole.len() - body.len();
        for length in (0..body.len()).step_by(29) {
            check(length, play(kind, whole[..head + length].to_vec()).await.result);
        }
    });
}

#[test]
fn a_cut_openai_stream_is_whole_or_nothing() {
    cut_everywhere(Kind::OpenAi, OPENAI_STREAM, "\"finish_reason\":\"tool_calls\"");
}

#[test]
fn a_cut_anthropic_stream_is_whole_or_nothing() {
    cut_everywhere(Kind::Anthropic, ANTHROPIC_STREAM, "\"stop_reason\":\"tool_use\"");
}

#[test]
fn a_whole_answer_cut_anywhere_is_no_reply() {
    run(async {
        for (kind, body) in [(Kind::OpenAi, OPENAI_CALLS), (Kind::Anthropic, ANTHROPIC_CALLS)] {
            let bytes = json(body);
            let parts = (0..body.len()).map(|length| read_part(kind, "application/json", body, length));
            let mut results = Vec::new();
            for part in parts {
                results.push(part.await);
            }
            for length in (0..bytes.len()).step_by(17) {
                results.push(play(kind, bytes[..length].to_vec()).await.result);
            }
            for result in results {
                let failed = result.unwrap_err();
                assert_eq!((failed.class, failed.billed), (RetrySame, true), "{failed:?}");
            }
        }
    });
}

#[test]
fn answers_that_are_none_are_tried_again() {
    check(json(""), RetrySame, true);
    check(response("204 No Content", "", ""), RetrySame, true);
    check(response("200 OK", "content-type: text/html\r\n", "<html>captive portal</html>"), RetrySame, true);
    check(response("200 OK", "", "null"), RetrySame, true);
    check(json("{\"choices\":[]}"), RetrySame, true);
    check(json(&OPENAI_TEXT[..OPENAI_TEXT.len() - 1]), RetrySame, true);
    check(sse(""), RetrySame, true);
    check(sse("data: [DONE]\n\n"), RetrySame, true);
    check(sse("data: {\"choices\":\n\n"), RetrySame, true);
    check(response("200 OK", "content-encoding: gzip\r\n", OPENAI_TEXT), RetrySame, true);
    check(b"HTTP/1.1 200".to_vec(), RetrySame, true);
    check(b"SSH-2.0-OpenSSH_9\r\n".to_vec(), RetrySame, true);
    assert_eq!(failed(Kind::Anthropic, json("{\"type\":\"message\"}")).class, RetrySame);
    assert_eq!(
        failed(Kind::Anthropic, sse("event: message_start\ndata: {\"type\":\"message_start\"}\n\n")).class,
        RetrySame
    );
}

#[test]
fn giants_are_given_up() {
    let line = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(1 << 20));
    let stream = failed(Kind::OpenAi, sse(&line.repeat(33)));
    assert!(stream.class == RetrySame && stream.detail.contains("larger"), "{stream:?}");
    let endless = failed(Kind::OpenAi, sse(&"x".repeat(EVENT_BYTES_MAX + 1)));
    assert!(endless.class == RetrySame && endless.detail.contains("too long"), "{endless:?}");
    // Comments keep a connection alive, and not for ever.
    let silent = failed(Kind::OpenAi, sse(&": keep-alive\n\n".repeat((33 << 20) / 14)));
    assert!(silent.class == RetrySame && silent.detail.contains("larger"), "{silent:?}");
    let whole = failed(Kind::OpenAi, json(&" ".repeat(33 << 20)));
    assert!(whole.class == RetrySame && whole.detail.contains("larger"), "{whole:?}");
    let error = failed(Kind::OpenAi, response("400 Bad", "", &"x".repeat(1 << 20)));
    assert!(error.class == Invalid && error.detail.len() <= DETAIL_BYTES_MAX);
}

#[test]
fn statuses_over_the_wire() {
    let error = |code: &str| format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"m {KEY} m\"}}}}");
    check(response("429 Too Many", "", &error("rate_limit_exceeded")), Wait, false);
    check(response("429 Too Many", "", &error("insufficient_quota")), Quota, false);
    check(response("401 No", "", &error("invalid_api_key")), Auth, false);
    check(response("413 Large", "", ""), Shrink, false);
    check(response("400 Bad", "", &error("context_length_exceeded")), Shrink, false);
    check(response("400 Bad", "", &error("content_filter")), Policy, false);
    check(response("422 Bad", "", &error("x")), Invalid, false);
    check(response("529 Overloaded", "", ""), RetrySame, true);
    check(response("302 Found", "location: http://127.0.0.1:1/\r\n", ""), Invalid, false);
    let failed = failed(Kind::OpenAi, response("401 No", "", &error("invalid_api_key")));
    assert!(failed.detail.contains("m [key] m") && !failed.detail.contains(KEY), "{failed:?}");
}

#[test]
fn a_redirect_is_not_followed_and_the_key_goes_nowhere_else() {
    run(async {
        let elsewhere = Server::start(vec![json(OPENAI_TEXT)], Then::Close).await;
        let client = Client::new().unwrap();
        for (status, kind) in
            [301, 302, 303, 307, 308].into_iter().flat_map(|s| [(s, Kind::OpenAi), (s, Kind::Anthropic)])
        {
            let location = format!("location: {}/{KEY}\r\n", elsewhere.url);
            let server = Server::start(vec![response(&format!("{status} Moved"), &location, "")], Then::Close).await;
            let failed = call(&client, &endpoint(kind, &server.url, timeouts())).await.result.unwrap_err();
            assert_eq!((failed.class, failed.billed), (Invalid, false), "{status}");
            assert!(failed.detail.contains("not followed") && !failed.detail.contains(KEY), "{failed:?}");
        }
        assert_eq!(*elsewhere.connections.lock().unwrap(), 0);
    });
}

#[test]
fn delays_over_the_wire_count_from_the_callers_now() {
    let delay = |headers: &str, body: &str| {
        let failed = failed(Kind::Anthropic, response("429 Too Many", headers, body));
        assert_eq!(failed.class, Wait);
        failed.retry_at.map(|at| at - NOW)
    };
    // Relative ones move with the time that the call took: a little, here.
    let near = |got: Option<u64>, wanted: u64| got.is_some_and(|ms| (wanted..wanted + 5_000).contains(&ms));
    assert!(near(delay("retry-after: 20\r\n", ""), 20_000));
    assert!(near(delay("retry-after-ms: 1500\r\n", ""), 1_500));
    assert!(near(delay("x-ratelimit-reset-tokens: 6m0s\r\n", ""), 360_000));
    assert_eq!(delay("retry-after: Sat, 21 Nov 2026 04:21:30 GMT\r\n", ""), Some(90_000));
    assert_eq!(delay("anthropic-ratelimit-tokens-reset: 2026-11-21T04:21:00Z\r\n", ""), Some(60_000));
    let gemini = r#"[{"error":{"code":429,"message":"x","details":[{"retryDelay":"39s"}]}}]"#;
    assert!(near(delay("", gemini), 39_000));
    assert_eq!(delay("", ""), None);
}

#[test]
fn errors_in_the_stream_are_classified_and_hold_back_the_reply() {
    let openai = format!(
        "{}data: {{\"error\":{{\"code\":429,\"message\":\"slow\"}}}}\n\n",
        &OPENAI_STREAM[..OPENAI_STREAM.find("data: [DONE]").unwrap()]
    );
    assert_eq!(failed(Kind::OpenAi, sse(&openai)).class, Wait);
    let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let begun = &ANTHROPIC_STREAM[..ANTHROPIC_STREAM.find("event: message_delta").unwrap()];
    let failed_late = failed(Kind::Anthropic, sse(&format!("{begun}{overloaded}")));
    assert_eq!((failed_late.class, failed_late.billed), (RetrySame, true));
    assert!(failed_late.detail.contains("Overloaded"));
    let whole = "{\"error\":{\"code\":502,\"message\":\"upstream\"}}";
    assert_eq!(failed(Kind::OpenAi, json(whole)).class, RetrySame);
}

fn timed(timeouts: Timeouts, writes: Vec<Vec<u8>>) -> Failed {
    run(async {
        let server = Server::start(writes, Then::Hang).await;
        call(&Client::new().unwrap(), &endpoint(Kind::OpenAi, &server.url, timeouts)).await.result.unwrap_err()
    })
}

#[test]
fn each_timeout_bites() {
    const SHORT: Duration = Duration::from_millis(40);
    let late = |failed: Failed, what: &str| {
        assert_eq!((failed.class, failed.billed), (RetrySame, true));
        assert!(failed.detail.contains("timed out after 0 s") && failed.detail.contains(what), "{failed:?}");
    };
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_vec();
    let begun = [head.clone(), b"data: {\"choices\":[]}\n\n".to_vec()].concat();
    let first_byte = Timeouts { first_byte: SHORT, ..timeouts() };
    late(timed(first_byte, Vec::new()), "first byte");
    late(timed(first_byte, vec![head]), "first byte");
    late(timed(Timeouts { idle: SHORT, ..timeouts() }, vec![begun.clone()]), "more");
    late(timed(Timeouts { whole: SHORT, ..timeouts() }, vec![begun]), "more");
    late(timed(Timeouts { whole: SHORT, ..timeouts() }, Vec::new()), "first byte");
}

#[test]
fn a_server_that_hangs_after_its_last_word_delays_nothing() {
    let idle = Timeouts { idle: Duration::from_millis(500), ..timeouts() };
    for (kind, stream) in [(Kind::OpenAi, OPENAI_STREAM), (Kind::Anthropic, ANTHROPIC_STREAM)] {
        let (played, began) = run(async {
            let server = Server::start(vec![sse(stream)], Then::Hang).await;
            let began = std::time::Instant::now();
            let endpoint = endpoint(kind, &server.url, idle);
            (call(&Client::new().unwrap(), &endpoint).await, began)
        });
        assert_eq!(played.result.unwrap().calls.len(), 2);
        assert!(began.elapsed() < idle.idle, "waited for the idle timeout");
    }
}

#[test]
fn a_refused_connection_is_not_billed() {
    let failed = run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        call(&Client::new().unwrap(), &endpoint(Kind::OpenAi, &url, timeouts())).await.result.unwrap_err()
    });
    assert_eq!((failed.class, failed.billed), (RetrySame, false));
    assert!(failed.detail.starts_with("not reached"), "{failed:?}");
}

#[test]
fn an_https_endpoint_speaks_tls_and_a_plain_server_is_not_reached_by_it() {
    let (failed, first) = run(async {
        let server = Server::start(vec![json(OPENAI_TEXT)], Then::Close).await;
        let url = server.url.replace("http://", "https://");
        // The server waits for the end of a request that never comes; the handshake gets nothing.
        let short = Timeouts { first_byte: Duration::from_millis(200), ..timeouts() };
        let client = Client::new().unwrap();
        call(&client, &endpoint(Kind::OpenAi, &server.url, timeouts())).await.result.unwrap();
        assert!(client.secure.get().is_none(), "roots for a plain endpoint");
        server.requests.lock().unwrap().clear();
        let failed = call(&client, &endpoint(Kind::OpenAi, &url, short)).await.result.unwrap_err();
        assert!(client.secure.get().is_some());
        (failed, server.requests.lock().unwrap().len())
    });
    assert_eq!((failed.class, first), (RetrySame, 0));
}

#[test]
fn a_key_that_no_header_holds_is_an_auth_failure() {
    let endpoint =
        Endpoint::new(Kind::OpenAi, Some("http://127.0.0.1:1"), Some(Secret::new("a\nb")), timeouts()).unwrap();
    let failed = run(async { call(&Client::new().unwrap(), &endpoint).await.result.unwrap_err() });
    assert_eq!((failed.class, failed.billed), (Auth, false));
}

#[test]
fn models_are_asked_for_once_with_the_key_and_their_names_come_back() {
    let (names, requests) = run(async {
        let list = r#"{"object":"list","data":[{"id":"small"},{"object":"model"},{"id":"large"}]}"#;
        let server = Server::start(vec![json(list)], Then::Close).await;
        let endpoint = endpoint(Kind::OpenAi, &format!("{}/v1", server.url), timeouts());
        let names = Client::new().unwrap().models(&endpoint, NOW).await.unwrap();
        let requests = server.requests.lock().unwrap().clone();
        (names, requests)
    });
    assert_eq!(names, ["small", "large"]);
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("GET /v1/models HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains(&format!("authorization: Bearer {KEY}")));
}

#[test]
fn what_lists_no_models_is_told_apart_from_what_wants_another_key() {
    let asked = |bytes: Vec<u8>| {
        run(async {
            let server = Server::start(vec![bytes], Then::Close).await;
            Client::new().unwrap().models(&endpoint(Kind::Anthropic, &server.url, timeouts()), NOW).await.unwrap_err()
        })
    };
    assert_eq!(asked(json("<html>hello</html>")).class, RetrySame);
    let refused = asked(response("401 Unauthorized", "", &format!(r#"{{"error":{{"message":"bad {KEY}"}}}}"#)));
    assert_eq!(refused.class, Auth);
    assert!(!refused.detail.contains(KEY), "{}", refused.detail);
}
