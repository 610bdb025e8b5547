//! The OpenAI-compatible door.
use std::sync::atomic::Ordering;
use std::time::Duration;

use backstay_kernel::effect::FailureClass;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::house::{Frame, House, Line, Told, call, slowly};

const CHAT: &str = "/v1/chat/completions";

/// Messages from alternating speakers, the user's first.
fn talk(texts: &[&str]) -> Value {
    let role = |n: usize| if n.is_multiple_of(2) { "user" } else { "assistant" };
    let said = texts.iter().enumerate().map(|(n, text)| json!({ "role": role(n), "content": text }));
    json!({ "model": "main", "messages": said.collect::<Vec<_>>() })
}

async fn chat(house: &House, body: Value) -> Told {
    house.post("ann", CHAT).json(body).await
}

fn content(told: &Told) -> &str {
    told.json["choices"][0]["message"]["content"].as_str().unwrap_or_default()
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers[name].to_str().unwrap().to_owned()
}

fn session(told: &Told) -> String {
    header(&told.headers, "x-backstay-session")
}

async fn stream(house: &House, mut body: Value) -> Vec<Frame> {
    body["stream"] = json!(true);
    let (_, mut frames) = house.post("ann", CHAT).frames(Some(body)).await;
    frames.rest().await
}

fn streamed(frames: &[Frame]) -> String {
    frames.iter().filter_map(|f| f.json()["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_completion_has_the_shape_that_clients_read() {
    let house = House::new(&[Line::Say("hello")]).await;
    let told = chat(&house, talk(&["hi"])).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text);
    let (session, turn) = (session(&told), header(&told.headers, "x-backstay-turn"));
    assert_eq!(
        told.json,
        json!({
            "id": format!("chatcmpl-{turn}"),
            "object": "chat.completion",
            "created": 1_795_219_200,
            "model": "main",
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": "hello", "refusal": null },
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": { "cached_tokens": 3 },
                "completion_tokens_details": { "reasoning_tokens": 1 },
            },
            "backstay": { "session": session, "turn": turn, "state": "ended", "reason": "claimed" },
        })
    );
    let models = house.get("ann", "/v1/models").none().await.json;
    assert_eq!(models["data"][0], json!({ "id": "main", "object": "model", "created": 0, "owned_by": "backstay" }));
    assert_eq!(house.get("ann", &format!("/api/sessions/{session}")).none().await.json["channel"], "openai");
}

#[tokio::test]
async fn a_stream_has_the_shape_that_clients_read() {
    let house = House::new(&[Line::Call("Let me look.", vec![("look", "{}".into())]), Line::Say("Seen.")]).await;
    let mut body = talk(&["hi"]);
    body["stream_options"] = json!({ "include_usage": true });
    let frames = stream(&house, body).await;
    assert_eq!(frames.last().unwrap().data, "[DONE]");
    let chunks: Vec<Value> = frames[..frames.len() - 1].iter().map(Frame::json).collect();
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["model"] == "main"));
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    assert_eq!(streamed(&frames), "Let me look.\n\nSeen.");
    let (usage, end) = (&chunks[chunks.len() - 1], &chunks[chunks.len() - 2]);
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(30)));
    assert_eq!((&end["choices"][0]["finish_reason"], &end["usage"]), (&json!("stop"), &Value::Null));
    assert_eq!(end["backstay"]["state"], "ended");

    let next = chat(&house, talk(&["hi", "Let me look.\n\nSeen.", "more"])).await;
    assert_eq!(Value::from(session(&next)), end["backstay"]["session"], "what was streamed is the history");
}

#[tokio::test]
async fn text_comes_while_it_is_written() {
    let house = House::new(&[slowly("first", Line::Say(" last"))]).await;
    let mut body = talk(&["hi"]);
    body["stream"] = json!(true);
    let (headers, mut frames) = house.post("ann", CHAT).frames(Some(body)).await;
    assert!(headers.contains_key("x-backstay-session") && headers.contains_key("x-backstay-turn"));
    frames.next().await.unwrap();
    assert_eq!(streamed(&[frames.next().await.unwrap()]), "first");
    house.play.stage.go.notify_one();
    assert_eq!(streamed(&frames.rest().await), " last");
}

/// Longer than a turn takes on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_turn_without_tools_of_a_session_in_memory_waits_for_no_thread() {
    let one = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    one.block_on(async {
        let house = House::new(&[Line::Say("one"), Line::Say("two")]).await;
        let first = session(&chat(&house, talk(&["a"])).await);
        let (free, taken) = std::sync::mpsc::channel::<()>();
        let only = tokio::task::spawn_blocking(move || taken.recv().is_err());
        let next = house.post("ann", CHAT).header("x-backstay-session", &first).json(talk(&["b"]));
        let told = tokio::time::timeout(PATIENCE, next).await;
        drop(free);
        assert_eq!(content(&told.expect("it waits for the thread that is taken")), "two");
        assert!(only.await.unwrap());
    });
}

#[tokio::test]
async fn earlier_messages_continue_the_session_whose_history_they_are() {
    let house = House::new(&[Line::Say("one"), Line::Say("two"), Line::Say("three")]).await;
    let first = chat(&house, talk(&["a"])).await;
    let second = chat(&house, talk(&["a", "one", "b"])).await;
    assert_eq!(session(&second), session(&first));
    let third = chat(&house, talk(&["a", " one\n", "b", "two", "c"])).await;
    assert_eq!(session(&third), session(&first), "white space around a text does not count");
    assert_eq!(content(&third), "three");
    let sent = house.play.stage.sent.lock().unwrap().last().unwrap().clone();
    assert!(!sent.contains("quoted by the client"));

    for other in [&["a", "one", "c"][..], &["a", "one", "b", "two", "c", "other", "d"], &["b", "two", "c"]] {
        let told = chat(&house, talk(other)).await;
        assert_ne!(session(&told), session(&first), "{other:?} is not the whole history");
        assert!(house.play.stage.sent.lock().unwrap().last().unwrap().contains("quoted by the client"));
    }
}

#[tokio::test]
async fn a_history_is_of_one_principal_one_agent_and_this_door() {
    let house = House::new(&[Line::Say("one"), Line::Say("one")]).await;
    let first = session(&chat(&house, talk(&["a"])).await);
    let bobs = house.post("bob", CHAT).json(talk(&["a", "one", "b"])).await;
    assert_ne!(session(&bobs), first);
    let mut other = talk(&["a", "one", "b"]);
    other["model"] = json!("other");
    assert_ne!(session(&chat(&house, other).await), first);

    let (native, turn) = house.say("ann", "n").await;
    let reply = house.turn(&turn, "ended").await["reply"].as_str().unwrap().to_owned();
    assert_ne!(session(&chat(&house, talk(&["n", &reply, "m"])).await), native);
}

#[tokio::test]
async fn two_sessions_with_the_same_history_are_both_left_alone() {
    let house = House::new(&[Line::Say("one"), Line::Say("one")]).await;
    let (first, second) = (session(&chat(&house, talk(&["a"])).await), session(&chat(&house, talk(&["a"])).await));
    assert_ne!(first, second, "without earlier messages a session always begins");
    let third = session(&chat(&house, talk(&["a", "one", "b"])).await);
    assert!(third != first && third != second);
}

#[tokio::test]
async fn a_quoted_history_is_continued_too() {
    let house = House::new(&[Line::Say("two"), Line::Say("three")]).await;
    let mut body = talk(&["a", "one", "b"]);
    body["messages"].as_array_mut().unwrap().insert(0, json!({ "role": "system", "content": "be brief" }));
    let first = chat(&house, body.clone()).await;
    let sent = house.play.stage.sent.lock().unwrap()[0].clone();
    for text in
        ["how it would like you to behave]\\nbe brief", "message of the user]\\na", "reply of the assistant]\\none"]
    {
        assert!(sent.contains(text), "{text} in {sent}");
    }
    assert!(sent.contains("\"instructions\":\"be careful\""), "a preference is no instruction");
    let turn = header(&first.headers, "x-backstay-turn");
    let trace = house.get("ann", &format!("/api/turns/{turn}/trace")).none().await.json;
    let labels: Vec<&Value> =
        trace["saw"]["messages"].as_array().unwrap().iter().map(|m| &m["label"]["source"]).collect();
    assert_eq!(labels, ["quoted", "quoted", "quoted", "principal"]);

    let said = body["messages"].as_array_mut().unwrap();
    said.extend([json!({ "role": "assistant", "content": "two" }), json!({ "role": "user", "content": "c" })]);
    assert_eq!(session(&chat(&house, body).await), session(&first));
}

#[tokio::test]
async fn with_the_header_the_journal_is_the_history() {
    let house = House::new(&[Line::Say("one"), Line::Say("two")]).await;
    let first = session(&chat(&house, talk(&["a"])).await);
    let told = house.post("ann", CHAT).header("x-backstay-session", &first).json(talk(&["x", "made up", "b"])).await;
    assert_eq!((session(&told), content(&told)), (first.clone(), "two"));
    let sent = house.play.stage.sent.lock().unwrap().last().unwrap().clone();
    assert!(sent.contains("\"one\"") && !sent.contains("made up"));
    let mut other = talk(&["b"]);
    other["model"] = json!("other");
    let told = house.post("ann", CHAT).header("x-backstay-session", &first).json(other).await;
    assert_eq!(told.status, StatusCode::BAD_REQUEST);
    let told = house.post("ann", CHAT).header("x-backstay-session", "nonsense").json(talk(&["b"])).await;
    assert_eq!(told.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn mistakes_are_said_in_openais_shape() {
    let house = House::new(&[]).await;
    let mut tools = talk(&["a"]);
    tools["tools"] = json!([{ "type": "function", "function": { "name": "x" } }]);
    let told = chat(&house, tools).await;
    assert_eq!((told.status, told.code()), (StatusCode::BAD_REQUEST, "tools_unsupported"));
    assert_eq!(told.json["error"]["type"], "invalid_request_error");
    assert_eq!(told.json["error"]["param"], Value::Null);
    let mut nobody = talk(&["a"]);
    nobody["model"] = json!("gpt");
    let told = chat(&house, nobody).await;
    assert_eq!((told.status, told.code()), (StatusCode::NOT_FOUND, "unknown_agent"));
    assert_eq!(chat(&house, json!({ "model": "main" })).await.code(), "malformed");
    let open = crate::house::request(http::Method::POST, CHAT).body(axum::body::Body::empty()).unwrap();
    let told = Told::of(tower::ServiceExt::oneshot(house.tcp.clone(), open).await.unwrap()).await;
    assert_eq!((told.status, &told.json["error"]["type"]), (StatusCode::UNAUTHORIZED, &json!("authentication_error")));
    assert_eq!(house.get("prom", "/v1/models").none().await.json["error"]["type"], "permission_error");
    assert_eq!(house.get("ann", "/v1/nothing").none().await.json["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn a_wait_for_a_person_is_answered_at_once_and_the_reply_later() {
    let house = House::new(&[Line::Call("I'll write.", vec![("guarded", "{}".into())]), Line::Say("written")]).await;
    let call = || house.post("ann", CHAT).key("k").json(talk(&["write"]));
    let told = call().await;
    assert_eq!(told.status, StatusCode::OK);
    let item = house.get("owner", "/api/approvals").none().await.json["approvals"][0].clone();
    let id = item["id"].as_str().unwrap();
    let turn = header(&told.headers, "x-backstay-turn");
    let note = json!({ "session": session(&told), "turn": turn, "state": "waiting", "wait": "approval", "id": id });
    assert_eq!(told.json["backstay"], note);
    assert!(content(&told).contains("guarded") && content(&told).contains(id), "{}", content(&told));
    assert_eq!(told.json["choices"][0]["finish_reason"], "stop");
    assert_eq!(call().await.json["backstay"], note, "asked again, it still waits");

    let yes = json!({ "decision": "approve", "digest": item["digest"] });
    assert_eq!(house.post("owner", &format!("/api/approvals/{id}")).json(yes).await.status, StatusCode::OK);
    let last = call().await;
    assert_eq!((content(&last), header(&last.headers, "x-backstay-turn")), ("written", turn));
    assert_eq!(last.json["usage"]["total_tokens"], 30, "of the whole turn");
    let other = house.post("ann", CHAT).key("k").json(talk(&["other"])).await;
    assert_eq!((other.status, other.code()), (StatusCode::CONFLICT, "key_reused"));

    let words = content(&told).to_owned();
    let next = chat(&house, talk(&["write", &words, "and?"])).await;
    assert_eq!(session(&next), session(&told), "a client that kept the words for the wait goes on too");
}

#[tokio::test]
async fn a_question_is_answered_by_the_next_completion() {
    let house =
        House::new(&[Line::Call("Hm.", vec![("ask", "{\"question\":\"which file?\"}".into())]), Line::Say("thanks")])
            .await;
    let frames = stream(&house, talk(&["write"])).await;
    assert_eq!(streamed(&frames), "Hm.\n\nwhich file?");
    let end = frames[frames.len() - 2].json();
    assert_eq!((&end["backstay"]["wait"], &end["backstay"]["state"]), (&json!("question"), &json!("waiting")));
    let told = chat(&house, talk(&["write", "Hm.\n\nwhich file?", "a.txt"])).await;
    assert_eq!((Value::from(session(&told)), content(&told)), (end["backstay"]["session"].clone(), "thanks"));
    assert_eq!(Value::from(header(&told.headers, "x-backstay-turn")), end["backstay"]["turn"]);
}

#[tokio::test]
async fn a_turn_without_a_reply_says_why() {
    let house = House::new(&[Line::Fail(FailureClass::Auth), Line::Say("back")]).await;
    let told = chat(&house, talk(&["hi"])).await;
    assert_eq!((told.status, &told.json["backstay"]["reason"]), (StatusCode::OK, &json!("auth")));
    assert!(content(&told).contains("credentials"));
    assert_eq!(told.json["backstay"]["completion"]["done"], json!([]));
    let next = chat(&house, talk(&["hi", content(&told), "again"])).await;
    assert_eq!((session(&next), content(&next)), (session(&told), "back"));
}

#[tokio::test]
async fn a_retry_attaches_to_its_open_turn_and_to_no_other() {
    let house = House::new(&[slowly("first", Line::Say(" reply")), Line::Say("second"), Line::Say("third")]).await;
    let mut hung_up = talk(&["hi"]);
    hung_up["stream"] = json!(true);
    let (headers, frames) = house.post("ann", CHAT).frames(Some(hung_up.clone())).await;
    let turn = header(&headers, "x-backstay-turn");
    drop(frames);

    let mut warmer = hung_up.clone();
    warmer["temperature"] = json!(0.5);
    let (headers, _) = house.post("ann", CHAT).header("x-stainless-retry-count", "1").frames(Some(warmer)).await;
    assert_ne!(header(&headers, "x-backstay-turn"), turn, "the same text in other bytes");
    let mut other = hung_up.clone();
    other["messages"][0]["content"] = json!("ho");
    let (headers, _) = house.post("ann", CHAT).header("x-stainless-retry-count", "1").frames(Some(other)).await;
    assert_ne!(header(&headers, "x-backstay-turn"), turn, "other bytes");
    let (headers, _) =
        house.post("bob", CHAT).header("x-stainless-retry-count", "1").frames(Some(hung_up.clone())).await;
    assert_ne!(header(&headers, "x-backstay-turn"), turn, "another principal");
    let retry = house.post("ann", CHAT).header("x-stainless-retry-count", "1");
    let (headers, mut frames) = retry.frames(Some(hung_up.clone())).await;
    assert_eq!(header(&headers, "x-backstay-turn"), turn);
    house.play.stage.go.notify_one();
    assert_eq!(streamed(&frames.rest().await), "first reply", "whole, though it was joined in the middle");

    let (headers, _) =
        house.post("ann", CHAT).header("x-stainless-retry-count", "1").frames(Some(hung_up.clone())).await;
    assert_ne!(header(&headers, "x-backstay-turn"), turn, "it has ended");
}

#[tokio::test]
async fn equal_text_without_a_word_of_retry_is_a_new_turn() {
    let house = House::new(&[slowly("one", Line::Say("")), slowly("two", Line::Say(""))]).await;
    let mut body = talk(&["hi"]);
    body["stream"] = json!(true);
    let (first, _one) = house.post("ann", CHAT).frames(Some(body.clone())).await;
    let (second, _two) = house.post("ann", CHAT).header("x-stainless-retry-count", "0").frames(Some(body)).await;
    assert_ne!(first["x-backstay-session"], second["x-backstay-session"]);
}

#[tokio::test]
async fn a_retry_finds_its_turn_by_the_journal_where_the_process_is_new() {
    let house = House::new(&[slowly("first", Line::Say(" reply"))]).await;
    let mut body = talk(&["hi"]);
    body["stream"] = json!(true);
    let (headers, _frames) = house.post("ann", CHAT).frames(Some(body.clone())).await;
    // Doors that have heard nothing before, over the same engine.
    let fresh = house.reopened();
    let mut other = body.clone();
    other["messages"][0]["content"] = json!("ho");
    let (another, _) = fresh.post("ann", CHAT).header("x-stainless-retry-count", "2").frames(Some(other)).await;
    assert_ne!(another["x-backstay-turn"], headers["x-backstay-turn"]);
    let (again, mut frames) = fresh.post("ann", CHAT).header("x-stainless-retry-count", "2").frames(Some(body)).await;
    assert_eq!(again["x-backstay-turn"], headers["x-backstay-turn"]);
    house.play.stage.go.notify_one();
    assert_eq!(streamed(&frames.rest().await), "first reply");
}

#[tokio::test]
async fn shown_text_that_is_withdrawn_ends_the_stream_and_not_the_turn() {
    let house = House::new(&[slowly("half a", Line::Fail(FailureClass::RetrySame)), Line::Say("whole")]).await;
    let mut body = talk(&["hi"]);
    body["stream"] = json!(true);
    let (headers, mut frames) = house.post("ann", CHAT).key("k").frames(Some(body.clone())).await;
    frames.next().await.unwrap();
    assert_eq!(streamed(&[frames.next().await.unwrap()]), "half a");
    let turn = header(&headers, "x-backstay-turn");
    let session = header(&headers, "x-backstay-session");
    let mut live = house.get("ann", &format!("/api/sessions/{session}/events")).frames(None).await.1;
    house.play.stage.go.notify_one();
    live.until("retried").await;
    house.play.stage.now.fetch_add(120_000, Ordering::SeqCst);
    house.play.engine.freeze(false, "test", None).await.unwrap();
    let rest = frames.rest().await;
    let error = rest.last().unwrap().json()["error"].clone();
    assert_eq!((&error["code"], &error["session"]), (&json!("stream_reset"), &json!(session)));
    assert_eq!(house.turn(&turn, "ended").await["reply"], "whole");
    let (_, mut again) = house.post("ann", CHAT).key("k").frames(Some(body)).await;
    assert_eq!(streamed(&again.rest().await), "whole");
}

#[tokio::test]
async fn a_completion_waits_behind_another_turn_and_hears_its_own_only() {
    let house = House::new(&[slowly("first", Line::Say(" reply")), Line::Say("second")]).await;
    let mut body = talk(&["a"]);
    body["stream"] = json!(true);
    let (headers, _one) = house.post("ann", CHAT).frames(Some(body.clone())).await;
    let session = header(&headers, "x-backstay-session");
    let (_, mut two) = house.post("ann", CHAT).header("x-backstay-session", &session).frames(Some(body)).await;
    house.play.stage.go.notify_one();
    assert_eq!(streamed(&two.rest().await), "second");
}

#[tokio::test]
async fn a_freeze_is_told_to_who_waits_and_the_turn_goes_on_after_it() {
    let house = House::new(&[slowly("Let me look.", call("look", "{}")), Line::Say("done"), Line::Say("more")]).await;
    let call = || house.post("ann", CHAT).key("k");
    let mut body = talk(&["one"]);
    body["stream"] = json!(true);
    let (headers, mut frames) = call().frames(Some(body.clone())).await;
    frames.next().await.unwrap();
    frames.next().await.unwrap();
    // The model is at work: it may end, and only then nothing more can happen.
    house.play.engine.freeze(true, "test", None).await.unwrap();
    house.play.stage.go.notify_one();
    let rest = frames.rest().await;
    let words = "This home is frozen: nothing starts in it. The turn goes on after `backstay unfreeze`.";
    assert_eq!(streamed(&rest), format!("\n\n{words}"));
    let (session, turn) = (header(&headers, "x-backstay-session"), header(&headers, "x-backstay-turn"));
    let note = json!({ "session": session, "turn": turn, "state": "waiting", "wait": "frozen", "id": null });
    let last = rest.iter().find(|frame| frame.json()["choices"][0]["finish_reason"] == "stop").unwrap();
    assert_eq!(last.json()["backstay"], note);
    assert_eq!(rest.last().unwrap().data, "[DONE]");
    let shown = house.turn(&turn, "waiting").await;
    assert_eq!((&shown["wait"], &shown["id"]), (&json!("frozen"), &Value::Null));
    let listed = house.get("ann", &format!("/api/sessions/{session}")).none().await.json;
    assert_eq!((&listed["state"], &listed["wait"]), (&json!("waiting"), &json!("frozen")));
    let (_, mut later) = call().frames(Some(body.clone())).await;
    let later = later.rest().await;
    assert!(streamed(&later).ends_with(words), "whoever comes later is told too");

    house.play.engine.freeze(false, "test", None).await.unwrap();
    let (_, mut after) = call().frames(Some(body)).await;
    assert_eq!(streamed(&after.rest().await), "done");
    let kept = format!("Let me look.\n\n{words}");
    let next = chat(&house, talk(&["one", &kept, "two"])).await;
    assert_eq!(header(&next.headers, "x-backstay-session"), session, "the words that a client kept are its history");
}

#[tokio::test]
async fn a_reply_that_nobody_was_told_of_is_found() {
    let house = House::new(&[slowly("cut", Line::Say("off")), Line::Say("whole")]).await;
    let mut body = talk(&["hi"]);
    body["stream"] = json!(true);
    let (headers, mut frames) = house.post("ann", CHAT).frames(Some(body)).await;
    frames.next().await.unwrap();
    let (session, turn) = (header(&headers, "x-backstay-session"), header(&headers, "x-backstay-turn"));
    // It takes the turn for one that a dead process has left, and ends it.
    let _other = house.play.other_engine(crate::house::policy()).await;
    while house.get("ann", &format!("/api/turns/{turn}")).none().await.json["state"] != "ended" {
        tokio::task::yield_now().await;
    }
    house.post("ann", &format!("/api/sessions/{session}/stop")).none().await;
    let rest = frames.rest().await;
    assert_eq!((streamed(&rest).as_str(), rest.last().unwrap().data.as_str()), ("cut\n\nwhole", "[DONE]"));
}

#[tokio::test]
async fn a_wait_beside_a_call_that_an_earlier_turn_left_running_is_told() {
    let house = House::new(&[call("send", "{}"), call("guarded", "{}")]).await;
    house.play.stage.hold(&["send"]);
    let (session, turn) = house.say("ann", "one").await;
    while house.play.stage.held() == 0 {
        tokio::task::yield_now().await;
    }
    house.post("ann", &format!("/api/turns/{turn}/cancel")).none().await;
    house.turn(&turn, "ended").await;
    let told = house.post("ann", CHAT).header("x-backstay-session", &session).json(talk(&["two"])).await;
    assert_eq!(told.json["backstay"]["wait"], "approval", "{}", told.text);
}

#[tokio::test]
async fn a_revoked_token_waits_for_nothing_any_more() {
    let house = House::new(&[slowly("first", Line::Say("last")), slowly("", Line::Say(""))]).await;
    let mut body = talk(&["hi"]);
    body["stream"] = json!(true);
    let (headers, mut frames) = house.post("ann", CHAT).frames(Some(body)).await;
    frames.next().await.unwrap();
    frames.next().await.unwrap();
    let revoked = async {
        let id: String = house.token("ann").chars().take(12).collect();
        let path = format!("/api/tokens/{id}/revoke");
        // The second call waits for its turn behind the first.
        while house.play.stage.sent.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(house.post("owner", &path).none().await.status, StatusCode::OK);
    };
    let (waiting, ()) = tokio::join!(chat(&house, talk(&["other"])), revoked);
    assert_eq!((waiting.status, waiting.code()), (StatusCode::UNAUTHORIZED, "unauthorized"));
    let rest = frames.rest().await;
    let error = rest.last().unwrap().json();
    assert_eq!(error["error"]["code"], "unauthorized", "{rest:?}");
    assert_eq!(error["error"]["turn"], header(&headers, "x-backstay-turn"));
    house.play.stage.go.notify_one();
    house.turn(&header(&headers, "x-backstay-turn"), "ended").await;
}
