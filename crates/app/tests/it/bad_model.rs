//! Models and servers that misbehave, through the whole program: the turn goes on or ends for a
//! stated reason, nothing grows without bound, and the journal verifies afterwards.
use serde_json::{Value, json};

use crate::place::{Place, Ran};
use crate::scripted::{Play, Scripted, calls, response, says, stream, usage, whole};

/// A home whose model is played by `model`; `more` is added to the agent's table.
fn place(model: &Scripted, more: &str) -> Place {
    let place = Place::empty();
    place.run(&["init"]).expect(0);
    place.write_config(&model.config(more));
    place
}

fn ask(place: &Place, arguments: &[&str]) -> Ran {
    Ran::of(&place.command(arguments).env("MODEL_KEY", "k").output().unwrap())
}

/// One turn with this model; how it stood. The journal holds, and each request was whole.
#[track_caller]
fn turn(model: &Scripted, code: i32) -> (Place, Value) {
    let place = place(model, "");
    let standing = ask(&place, &["run", "go", "--json"]).json(code);
    ask(&place, &["audit", "verify"]).expect(0);
    model.bodies();
    (place, standing)
}

/// A turn that ends well with this reply.
#[track_caller]
fn replied(model: &Scripted, reply: &str) -> (Place, Value) {
    let (place, standing) = turn(model, 0);
    assert_eq!((&standing["reason"], &standing["reply"]), (&json!("claimed"), &json!(reply)), "{standing}");
    (place, standing)
}

/// The classes of the turn's failed attempts, by the journal.
fn failures(place: &Place, standing: &Value) -> Vec<String> {
    let exported = ask(place, &["sessions", "export", standing["session"].as_str().unwrap()]);
    let mut classes = Vec::new();
    for line in exported.expect(0).stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let records = line["entry"]["stored"]["records"].as_array().into_iter().flatten();
        classes.extend(records.filter_map(|record| Some(record["retried"]["class"].as_str()?.to_owned())));
    }
    classes
}

/// What the model was told in answer to its calls, in the last request.
fn told(model: &Scripted) -> Vec<String> {
    let last = model.bodies().pop().unwrap();
    let messages = last["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "tool");
    messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

/// Bytes of the home's database.
fn bytes(place: &Place) -> u64 {
    let files = ["state.db", "state.db-wal"].map(|name| std::fs::metadata(place.home().join(name)));
    files.into_iter().filter_map(Result::ok).map(|file| file.len()).sum()
}

fn many(count: usize, call: impl Fn(usize) -> (String, String, String)) -> Vec<u8> {
    let all: Vec<_> = (0..count).map(call).collect();
    let parts: Vec<_> =
        all.iter().map(|(id, name, arguments)| (id.as_str(), name.as_str(), arguments.as_str())).collect();
    calls(&parts)
}

fn chunks(deltas: &[Value], finish: &str) -> Vec<u8> {
    let line = |delta: &Value, finish: Option<&str>| {
        format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] }))
    };
    let said: String = deltas.iter().map(|delta| line(delta, None)).collect();
    stream(said + &line(&json!({}), Some(finish)) + "data: [DONE]\n\n")
}

#[test]
fn a_model_that_calls_what_does_not_exist_for_ever_is_stopped() {
    let model = Scripted::start(|n, _| {
        Play::Bytes(many(50, |c| (format!("c{c}"), format!("nothing_{n}_{c}"), format!("{{\"n\":{c},\"cut"))))
    });
    let (place, standing) = turn(&model, 3);
    assert_eq!(standing["reason"], json!({ "loop": "failing_calls" }), "{standing}");
    assert_eq!(model.bodies().len(), 1, "50 calls at a time");
    assert!(bytes(&place) < 2 << 20, "{} bytes", bytes(&place));
}

#[test]
fn a_model_that_breaks_its_arguments_a_thousand_times_ends_at_its_cap() {
    let model = Scripted::start(|n, _| {
        // One of them is good, or the others would end the turn by themselves.
        let good = |c| if c == 0 { ".md\",\"content\":\"\"}" } else { "" };
        let call = |c| format!("{{\"path\":\"{n}-{c}{}", good(c));
        Play::Bytes(many(40, |c| (format!("c{c}"), "write_file".to_owned(), call(c))))
    });
    let place = place(&model, "caps = { steps = 25, tool_calls = 2000 }\nbudget = { tokens_per_turn = 20000000 }");
    let standing = ask(&place, &["run", "go", "--json"]).json(3);
    assert_eq!(standing["reason"], json!({ "cap": "steps" }), "{standing}");
    assert_eq!(model.bodies().len(), 25);
    let longest = model.bodies().iter().map(|body| body.to_string().len()).max().unwrap();
    // Nothing is billed, so the window is counted at three bytes for a token.
    assert!(longest < 32_768 * 3, "a request of {longest} bytes");
    assert!(bytes(&place) < 4 << 20, "{} bytes", bytes(&place));
    ask(&place, &["audit", "verify"]).expect(0);
}

#[test]
fn a_call_too_large_for_the_window_ends_its_turn_and_not_the_session() {
    let huge = |bytes: usize| json!({ "path": "huge.txt", "content": "x".repeat(bytes) }).to_string();
    // Beyond what a file may hold, and the most that it may.
    for (bytes_asked, bytes_written) in [(9 << 20, None), (6 << 20, Some(6u64 << 20))] {
        let model = Scripted::playing(vec![calls(&[("a", "write_file", &huge(bytes_asked))]), says("smaller, then")]);
        let (place, standing) = turn(&model, 3);
        assert_eq!(standing["reason"], "context_blocked", "{standing}");
        let written = std::fs::metadata(place.home().join("workspace/huge.txt")).ok().map(|file| file.len());
        assert_eq!(written, bytes_written);
        let next = ask(&place, &["run", "go on", "--json", "--session", standing["session"].as_str().unwrap()]).json(0);
        assert_eq!(next["reply"], "smaller, then", "{next}");
        assert!(bytes(&place) < 32 << 20, "{} bytes", bytes(&place));
    }
}

#[test]
fn more_calls_than_a_reply_may_hold_are_answered_without_being_run() {
    let model = Scripted::playing(vec![
        many(200, |c| {
            (format!("c{c}"), "write_file".to_owned(), format!("{{\"path\":\"{c}.txt\",\"content\":\"x\"}}"))
        }),
        says("that was too much"),
    ]);
    let (place, _) = replied(&model, "that was too much");
    let told = told(&model);
    assert_eq!(told.len(), 200);
    let written = std::fs::read_dir(place.home().join("workspace")).unwrap().count();
    assert_eq!(written, 64, "{}", told[199]);
}

#[test]
fn calls_of_one_id_are_two_calls() {
    let one = "{\"path\":\"one.txt\",\"content\":\"1\"}";
    let two = "{\"path\":\"two.txt\",\"content\":\"2\"}";
    let model =
        Scripted::playing(vec![calls(&[("same", "write_file", one), ("same", "write_file", two)]), says("both")]);
    let (place, _) = replied(&model, "both");
    for (name, content) in [("one.txt", "1"), ("two.txt", "2")] {
        assert_eq!(std::fs::read_to_string(place.home().join("workspace").join(name)).unwrap(), content);
    }
}

#[test]
fn a_call_that_the_limit_cut_is_not_run_and_one_that_only_broke_is_answered() {
    let half = json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "write_file", "arguments": "{\"path\":\"half.txt\",\"content\":\"ab" } }] });
    let model = Scripted::playing(vec![chunks(std::slice::from_ref(&half), "length")]);
    let (place, standing) = turn(&model, 3);
    assert_eq!(standing["reason"], "output_limit", "{standing}");
    assert!(!place.home().join("workspace/half.txt").exists());
    // The same, called whole by its server.
    let model = Scripted::playing(vec![chunks(&[half], "tool_calls"), says("again, then")]);
    let (place, _) = replied(&model, "again, then");
    assert!(!place.home().join("workspace/half.txt").exists());
    assert!(told(&model)[0].contains("Nothing was done"), "{:?}", told(&model));
}

#[test]
fn a_server_that_lies_about_the_end_is_read_by_what_it_said() {
    let call = json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "a", "function": { "name": "list_dir", "arguments": "{\"path\":\".\"}" } }] });
    let model = Scripted::playing(vec![
        whole(&call, "stop", &usage()),
        whole(&json!({ "content": "done" }), "tool_calls", &usage()),
    ]);
    replied(&model, "done");
    assert_eq!(told(&model).len(), 1);
}

#[test]
fn an_empty_reply_ends_the_turn_and_is_said() {
    let model = Scripted::playing(vec![says("")]);
    let place = place(&model, "");
    let ran = ask(&place, &["run", "go"]);
    assert!(ran.expect(0).stderr.contains("the model said nothing"), "{}", ran.stderr);
}

#[test]
fn what_the_vendor_refuses_ends_the_turn_with_its_reason() {
    let call = json!({ "content": "as you", "tool_calls": [{ "id": "a", "function": { "name": "write_file", "arguments": "{\"path\":\"no.txt\",\"content\":\"x\"}" } }] });
    let filtered = whole(&call, "content_filter", &usage());
    let refused = whole(&json!({ "content": null, "refusal": "I will not" }), "stop", &usage());
    for (answer, reply) in [(filtered, "as you"), (refused, "I will not")] {
        let (place, standing) = turn(&Scripted::playing(vec![answer]), 3);
        assert_eq!((&standing["reason"], &standing["reply"]), (&json!("refusal"), &json!(reply)));
        assert!(!place.home().join("workspace/no.txt").exists());
    }
}

#[test]
fn an_absurd_bill_leaves_the_reservation_as_the_bill() {
    for bill in [
        json!({ "prompt_tokens": -5, "completion_tokens": 9 }),
        json!({ "prompt_tokens": 1u64 << 63 }),
        json!("x"),
        json!([]),
    ] {
        let model = Scripted::playing(vec![whole(&json!({ "content": "x" }), "stop", &bill)]);
        let (_, standing) = replied(&model, "x");
        let tokens = standing["spend"]["tokens"].as_u64().unwrap();
        // 512 of output are reserved, and a token for at most three bytes of the request.
        assert!((512..4_096).contains(&tokens), "{standing}");
    }
}

#[test]
fn a_bill_above_its_reservation_stops_the_next_call_at_the_budget() {
    let dear = json!({ "prompt_tokens": 900_000_000, "completion_tokens": 900_000_000 });
    let call = json!({ "content": null, "tool_calls": [{ "id": "a", "function": { "name": "list_dir", "arguments": "{\"path\":\".\"}" } }] });
    let model = Scripted::playing(vec![whole(&call, "tool_calls", &dear)]);
    let (_, standing) = turn(&model, 3);
    assert_eq!(standing["reason"], json!({ "cap": "turn_budget" }), "{standing}");
    assert_eq!(model.bodies().len(), 1);
}

#[test]
fn a_reply_of_single_bytes_among_comments_is_one_reply() {
    let text: String = (0..4_000).map(|n| char::from(b'a' + u8::try_from(n % 26).unwrap())).collect();
    let line = |c: char| format!(": keep-alive\n\ndata: {{\"choices\":[{{\"delta\":{{\"content\":\"{c}\"}}}}]}}\n\n");
    let body: String = text.chars().map(line).collect();
    let model = Scripted::playing(vec![stream(
        body + "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    )]);
    let (place, standing) = replied(&model, &text);
    assert!(bytes(&place) < 1 << 20, "a record for each delta: {standing}");
}

#[test]
fn a_reply_without_an_end_is_given_up_and_asked_for_again() {
    let line = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(1 << 20));
    let model = Scripted::playing(vec![stream(line.repeat(40)), says("short, then")]);
    let (place, standing) = replied(&model, "short, then");
    assert_eq!(failures(&place, &standing), ["retry_same"]);
    assert!(bytes(&place) < 1 << 20, "{} bytes of what was given up", bytes(&place));
}

#[test]
fn broken_characters_are_replaced_and_stored_so() {
    let body = br#"{"choices":[{"message":{"content":"a\ud83d b"#;
    let body = [body, &b"\xff\"},\"finish_reason\":\"stop\"}]}"[..]].concat();
    replied(
        &Scripted::playing(vec![response("200 OK", "content-type: application/json\r\n", body)]),
        "a\u{fffd} b\u{fffd}",
    );
}

#[test]
fn answers_that_are_none_are_asked_for_again_and_each_attempt_is_in_the_journal() {
    let html = response("200 OK", "content-type: text/html\r\nretry-after: 0\r\n", "<html>captive portal</html>");
    let model = Scripted::playing(vec![
        html,
        response("200 OK", "content-type: application/json\r\n", ""),
        stream("data: {\"choices\":[{\"delta\":{\"content\":\"half a\"}}]}\n\n"),
        says("at last"),
    ]);
    let (place, standing) = replied(&model, "at last");
    assert_eq!(failures(&place, &standing), ["retry_same"; 3]);
    let bodies = model.bodies();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "the same request each time");
    let keys = model
        .heads()
        .into_iter()
        .map(|head| head.lines().find(|l| l.starts_with("idempotency-key")).unwrap().to_owned());
    let keys: std::collections::BTreeSet<String> = keys.collect();
    assert_eq!(keys.len(), 1, "and the same key");
}

#[test]
fn a_delay_is_obeyed_in_every_dialect() {
    let limited = |headers: &str, body: &str| response("429 Too Many Requests", headers, body);
    let model = Scripted::playing(vec![
        limited("retry-after: 0\r\n", ""),
        limited("retry-after-ms: 1\r\n", ""),
        limited("retry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n", ""),
        limited("x-ratelimit-reset-tokens: 1ms\r\n", ""),
        limited("anthropic-ratelimit-tokens-reset: 2020-01-01T00:00:00Z\r\n", ""),
        limited("", r#"{"error":{"details":[{"retryDelay":"0.001s"}]}}"#),
        says("through"),
    ]);
    let (place, standing) = replied(&model, "through");
    assert_eq!(failures(&place, &standing), ["wait"; 6]);
    let waited = standing["ended_at"].as_u64().unwrap() - standing["started_at"].as_u64().unwrap();
    assert!(waited < 60_000, "a moment of another clock was waited for: {waited} ms");
}

#[test]
fn a_message_that_always_fails_is_done_with_and_the_next_one_is_answered() {
    let model = Scripted::start(|_, body| {
        let messages = body["messages"].as_array().unwrap();
        let poisoned = messages.last().unwrap()["content"] == "poison";
        let no = r#"{"error":{"type":"invalid_request_error","message":"no such thing"}}"#;
        Play::Bytes(if poisoned { response("400 Bad Request", "", no) } else { says("fine") })
    });
    let place = place(&model, "");
    let first = ask(&place, &["run", "poison", "--json"]).json(2);
    assert_eq!(first["reason"], "invalid", "{first}");
    assert_eq!(model.bodies().len(), 1, "nothing is gained by asking again");
    let session = first["session"].as_str().unwrap();
    let next = ask(&place, &["run", "hello", "--session", session, "--json"]).json(0);
    assert_eq!(next["reply"], "fine", "{next}");
}
