//! Approvals, questions and doubts.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use backstay_kernel::home::TokenScope;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::house::{House, Line, Told, call, policy, request};

async fn approval(house: &House, name: &str) -> Value {
    house.get(name, "/api/approvals").none().await.json["approvals"][0].clone()
}

#[tokio::test]
async fn a_yes_is_for_one_exact_action_once() {
    let house = House::new(&[call("guarded", "{\"path\":\"a\"}"), Line::Say("written")]).await;
    let (session, turn) = house.say("ann", "write").await;
    let waiting = house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let next = house.post("ann", &format!("/api/sessions/{session}/messages")).json(json!({ "text": "next" })).await;
    let next = house.turn(next.json["turn"].as_str().unwrap(), "queued").await;
    assert_eq!((&next["wait"], &next["id"]), (&json!("approval"), &item["id"]), "what it waits behind");
    assert_eq!(waiting["wait"], "approval");
    assert_eq!(waiting["id"], item["id"]);
    assert_eq!((&waiting["until"], &next["until"]), (&item["expires_at"], &item["expires_at"]));
    let listed = house.get("ann", "/api/sessions?wait=approval").none().await.json;
    assert_eq!(listed["sessions"][0]["session"], json!(session));
    assert_eq!(listed["sessions"][0]["until"], item["expires_at"]);
    assert_eq!(house.get("ann", "/api/sessions?wait=question").none().await.json["sessions"], json!([]));
    assert_eq!(house.get("ann", "/api/sessions?wait=tea").none().await.code(), "malformed");
    assert_eq!((&item["session"], &item["turn"], &item["principal"]), (&json!(session), &json!(turn), &json!("ann")));
    assert_eq!(
        (&item["tool"], &item["args"], &item["rule"]),
        (&json!("guarded"), &json!({ "path": "a" }), &json!("about guarded"))
    );
    assert_eq!(item["reason"], "it is dear to us");
    assert_eq!(item["approvers"], json!({ "role": ["owner"] }));
    assert_eq!(item["facts"]["paths"][0]["real"], "/home/guarded");
    assert_eq!(item["expires_at"], house.play.engine.now() + 60_000);

    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    let yes = json!({ "decision": "approve", "digest": item["digest"], "note": "fine" });
    let told = house.post("ann", &path).json(yes.clone()).await;
    assert_eq!((told.status, told.code()), (StatusCode::FORBIDDEN, "not_an_approver"), "one's own session, and yet");
    assert_eq!(house.post("oper", &path).json(yes.clone()).await.code(), "not_an_approver");
    let told = house.post("bob", &path).json(yes.clone()).await;
    assert_eq!((told.status, told.code()), (StatusCode::NOT_FOUND, "no_such_approval"));
    let told = house.post("owner", &path).json(json!({ "decision": "approve", "digest": "0".repeat(64) })).await;
    assert_eq!((told.status, told.code()), (StatusCode::CONFLICT, "wrong_digest"));
    assert_eq!(house.post("owner", &path).json(json!({ "decision": "approve" })).await.code(), "malformed");
    let told = house.post("owner", &format!("/api/approvals/{session}.1")).json(yes.clone()).await;
    assert_eq!((told.status, told.code()), (StatusCode::NOT_FOUND, "no_such_approval"));

    let told = house.post("owner", &path).key("yes").json(yes.clone()).await;
    assert_eq!((told.status, &told.json["decision"]), (StatusCode::OK, &json!("approve")));
    let again = house.post("owner", &path).key("yes").json(yes.clone()).await;
    assert_eq!((again.status, again.json), (StatusCode::OK, told.json));
    let told = house.post("owner", &path).json(yes).await;
    assert_eq!((told.status, told.code()), (StatusCode::GONE, "approval_closed"));
    assert_eq!(house.turn(&turn, "ended").await["reply"], "written");
    assert_eq!(approval(&house, "owner").await, Value::Null);
}

#[tokio::test]
async fn an_edit_is_of_whoever_may_say_yes_and_no_yes() {
    let house = House::new(&[call("guarded", "{\"path\":\"a\"}"), Line::Say("written")]).await;
    let (_, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    assert_eq!(item["edited"], Value::Null);
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    let edits = format!("{path}/edit");
    let edit = json!({ "digest": item["digest"], "arguments": { "path": "b" }, "note": "there" });
    let told = house.post("ann", &edits).json(edit.clone()).await;
    assert_eq!((told.status, told.code()), (StatusCode::FORBIDDEN, "not_an_approver"));
    let told = house.post("bob", &edits).json(edit.clone()).await;
    assert_eq!((told.status, told.code()), (StatusCode::NOT_FOUND, "no_such_approval"));
    let wrong = json!({ "digest": "0".repeat(64), "arguments": { "path": "b" } });
    assert_eq!(house.post("owner", &edits).json(wrong).await.code(), "wrong_digest");
    for arguments in [json!("{}"), json!([]), Value::Null] {
        let edit = json!({ "digest": item["digest"], "arguments": arguments });
        assert_eq!(house.post("owner", &edits).json(edit).await.code(), "malformed");
    }
    let same = json!({ "digest": item["digest"], "arguments": { "path": "a" } });
    let told = house.post("owner", &edits).json(same).await;
    assert_eq!((told.status, told.code()), (StatusCode::CONFLICT, "not_editable"));
    assert_eq!(approval(&house, "owner").await, item, "nothing has changed");

    let told = house.post("owner", &edits).key("edit").json(edit.clone()).await;
    assert_eq!((told.status, &told.json["edited"]), (StatusCode::OK, &json!(true)));
    assert_eq!(house.post("owner", &edits).key("edit").json(edit.clone()).await.json, told.json, "made once");
    house.turn(&turn, "waiting").await;
    let now = approval(&house, "owner").await;
    assert_eq!((&now["id"], &now["args"]), (&item["id"], &json!({ "path": "b" })));
    assert_ne!(now["digest"], item["digest"]);
    let edited = json!({ "by": "owner", "speaks": "program", "times": 1, "args_before": { "path": "a" } });
    assert_eq!(now["edited"], edited);
    let yes = |item: &Value| json!({ "decision": "approve", "digest": item["digest"] });
    assert_eq!(house.post("owner", &path).json(yes(&item)).await.code(), "wrong_digest");
    assert_eq!(house.post("owner", &edits).json(edit.clone()).await.code(), "wrong_digest");
    assert_eq!(house.post("owner", &path).json(yes(&now)).await.status, StatusCode::OK);
    assert_eq!(house.turn(&turn, "ended").await["reply"], "written");
    let told = house.post("owner", &edits).json(edit).await;
    assert_eq!((told.status, told.code()), (StatusCode::GONE, "approval_closed"));
    let trace = house.get("owner", &format!("/api/turns/{turn}/trace")).none().await.json;
    let touched = &trace["touched"][0];
    assert_eq!(
        (&touched["args"], &touched["edits"][0]["args_before"]),
        (&json!({ "path": "b" }), &json!({ "path": "a" }))
    );
    assert_eq!(touched["edits"][0]["by"], "owner");
}

fn two_calls() -> Line {
    Line::Call("", vec![("guarded", "{\"path\":\"a\"}".to_owned()), ("guarded", "{\"path\":\"b\"}".to_owned())])
}

#[tokio::test]
async fn one_answer_answers_one_ask_and_the_next_is_put_after_it() {
    let house = House::new(&[two_calls(), Line::Say("written")]).await;
    let (_, turn) = house.say("ann", "write").await;
    assert_eq!(house.turn(&turn, "waiting").await["wait"], "approval");
    let listed = house.get("owner", "/api/approvals").none().await.json;
    let (items, parked) = (listed["approvals"].as_array().unwrap(), listed["parked"].as_array().unwrap());
    assert_eq!((items.len(), parked.len()), (1, 1));
    // Whichever was looked at first.
    let both = [json!({ "path": "a" }), json!({ "path": "b" })];
    assert!(both.contains(&parked[0]["args"]) && parked[0]["args"] != items[0]["args"], "{listed}");
    assert_eq!(parked[0]["until"], Value::Null);
    let (first, second) = (&items[0]["id"], &parked[0]["id"]);
    let path = |id: &Value| format!("/api/approvals/{}", id.as_str().unwrap());
    let yes = json!({ "decision": "approve", "digest": items[0]["digest"] });
    let all = json!({ "decision": "approve", "digest": items[0]["digest"], "ids": [first, second] });
    assert_eq!(house.post("owner", &path(first)).json(all.clone()).await.code(), "malformed");
    assert_eq!(house.post("owner", &path(first)).json(json!([yes, yes])).await.code(), "malformed");
    let wrong = house.post("owner", "/api/approvals").json(all).await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::METHOD_NOT_ALLOWED, "wrong_method"));
    let early = house.post("owner", &path(second)).json(yes.clone()).await;
    assert_eq!((early.status, early.code()), (StatusCode::NOT_FOUND, "no_such_approval"), "nobody was asked about it");
    assert_eq!(house.post("owner", &path(first)).json(yes.clone()).await.status, StatusCode::OK);
    let item = loop {
        let item = approval(&house, "owner").await;
        if item != Value::Null {
            break item;
        }
    };
    assert_eq!(&item["id"], second);
    assert_eq!(house.play.stage.acts.lock().unwrap().len(), 1, "one yes, one call");
    assert_eq!(house.post("owner", &path(second)).json(yes).await.code(), "wrong_digest");
}

#[tokio::test]
async fn a_session_that_asked_enough_waits_for_the_hour_and_says_so() {
    let mut policy = policy();
    policy.agents.get_mut("main").unwrap().caps.asks_per_hour = 1;
    let house = House::with(policy, &[two_calls(), Line::Say("written")]).await;
    let begun = house.play.engine.now();
    let (session, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    house.post("owner", &path).json(json!({ "decision": "approve", "digest": item["digest"] })).await;
    let waiting = house.turn(&turn, "waiting").await;
    assert_eq!((&waiting["wait"], &waiting["until"]), (&json!("parked"), &json!(begun + 3_600_000)));
    let listed = house.get("ann", "/api/sessions?wait=parked").none().await.json;
    assert_eq!(listed["sessions"][0]["session"], json!(session));
    assert_eq!(house.get("oper", "/api/status").none().await.json["waits"]["parked"], json!(1));
}

#[tokio::test]
async fn one_no_after_another_ends_the_turn_with_its_list() {
    let calls = ["a", "b", "c", "d"].map(|path| ("guarded", format!("{{\"path\":\"{path}\"}}")));
    let house = House::new(&[Line::Call("", calls.to_vec())]).await;
    let (_, turn) = house.say("ann", "write").await;
    for _ in 0..3 {
        house.turn(&turn, "waiting").await;
        let item = approval(&house, "owner").await;
        let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
        let no = json!({ "decision": "deny", "digest": item["digest"] });
        assert_eq!(house.post("owner", &path).json(no).await.status, StatusCode::OK);
    }
    let ended = house.turn(&turn, "ended").await;
    let listed = |list: &str| ended["completion"][list].as_array().unwrap().len();
    assert_eq!((&ended["reason"], listed("refused"), listed("not_started")), (&json!("denials"), 3, 1));
}

#[tokio::test]
async fn who_a_rule_names_may_answer_without_seeing_the_session() {
    let house = House::new(&[call("for_carl", "{}"), Line::Say("no then")]).await;
    let (session, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    assert_eq!(approval(&house, "bob").await, Value::Null);
    let item = approval(&house, "carl").await;
    assert_eq!(item["approvers"], json!({ "principal": ["carl"] }));
    assert_eq!(house.get("carl", &format!("/api/sessions/{session}")).none().await.status, StatusCode::NOT_FOUND);
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    let no = json!({ "decision": "deny", "digest": item["digest"] });
    assert_eq!(house.post("owner", &path).json(no.clone()).await.code(), "not_an_approver");
    assert_eq!(house.post("carl", &path).json(no).await.status, StatusCode::OK);
    let ended = house.turn(&turn, "ended").await;
    assert_eq!(ended["completion"]["refused"][0]["tool"], "for_carl");
}

#[tokio::test]
async fn an_expired_approval_is_gone() {
    let house = House::new(&[call("guarded", "{}"), Line::Say("too late")]).await;
    let (_, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    house.play.stage.now.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(approval(&house, "owner").await, Value::Null);
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    let told = house.post("owner", &path).json(json!({ "decision": "approve", "digest": item["digest"] })).await;
    assert_eq!((told.status, told.code()), (StatusCode::GONE, "approval_closed"));
    house.turn(&turn, "ended").await;
    // Nobody has answered it, so it was open for no time that counts.
    let metrics = house.get("prom", "/metrics").none().await.text;
    let counted = |name: &str| metrics.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    let decided = "backstay_approvals_decided_total";
    assert_eq!(counted(decided), [format!("{decided}{{decision=\"expired\"}} 1")]);
    assert_eq!(counted("backstay_approval_wait_seconds_count"), ["backstay_approval_wait_seconds_count 0"]);
}

#[tokio::test]
async fn a_question_is_answered_by_name_or_by_the_next_message() {
    let question = call("ask", "{\"question\":\"which file?\"}");
    let house = House::new(&[question.clone(), Line::Say("thanks"), question, Line::Say("thanks again")]).await;
    let (session, turn) = house.say("ann", "write").await;
    assert_eq!(house.turn(&turn, "waiting").await["wait"], "question");
    assert_eq!(house.get("bob", "/api/questions").none().await.json["questions"], json!([]));
    let item = house.get("ann", "/api/questions").none().await.json["questions"][0].clone();
    assert_eq!((&item["text"], &item["turn"]), (&json!("which file?"), &json!(turn)));
    let path = format!("/api/questions/{}", item["id"].as_str().unwrap());
    assert_eq!(house.post("bob", &path).json(json!({ "text": "mine" })).await.status, StatusCode::NOT_FOUND);
    let told = house.post("ann", &path).json(json!({ "text": "a.txt" })).await;
    assert_eq!((told.status, &told.json["turn"]), (StatusCode::OK, &json!(turn)), "{}", told.text);
    assert_eq!(house.turn(&turn, "ended").await["reply"], "thanks");
    assert_eq!(house.post("ann", &path).json(json!({ "text": "b.txt" })).await.code(), "no_such_question");

    let messages = format!("/api/sessions/{session}/messages");
    let second = house.post("ann", &messages).json(json!({ "text": "write more" })).await.json["turn"].clone();
    house.turn(second.as_str().unwrap(), "waiting").await;
    let say = || house.post("ann", &messages).key("answer").json(json!({ "text": "b.txt" }));
    assert_eq!(say().await.json["turn"], second, "the answer belongs to the turn that asked");
    assert_eq!(say().await.json["turn"], second, "and says so again");
    assert_eq!(house.turn(second.as_str().unwrap(), "ended").await["reply"], "thanks again");
}

#[tokio::test]
async fn an_operator_says_what_became_of_a_doubt() {
    let house = House::new(&[call("lost", "{}"), Line::Say("good")]).await;
    let (_, turn) = house.say("ann", "write").await;
    assert_eq!(house.turn(&turn, "waiting").await["wait"], "doubt");
    let item = house.get("ann", "/api/doubts").none().await.json["doubts"][0].clone();
    assert_eq!((&item["tool"], &item["turn"]), (&json!("lost"), &json!(turn)));
    assert_eq!(house.get("oper", "/api/status").none().await.json["waits"]["doubts"], 1);
    assert_eq!(house.get("bob", "/api/doubts").none().await.json["doubts"], json!([]));
    let path = format!("/api/doubts/{}", item["id"].as_str().unwrap());
    let done = json!({ "outcome": "done", "note": "seen in the mailbox" });
    assert_eq!(house.post("ann", &path).json(done.clone()).await.code(), "forbidden");
    assert_eq!(house.post("oper", &path).json(json!({ "outcome": "done" })).await.code(), "malformed");
    let told = house.post("oper", &path).key("d").json(done.clone()).await;
    assert_eq!((told.status, &told.json["turn"]), (StatusCode::OK, &json!(turn)));
    assert_eq!(house.post("oper", &path).key("d").json(done.clone()).await.json, told.json);
    assert_eq!(house.post("oper", &path).json(done).await.code(), "no_such_doubt");
    let ended = house.turn(&turn, "ended").await;
    assert_eq!(ended["completion"]["done"][0]["tool"], "lost");
}

/// A token by which this principal answers as a person.
async fn person(house: &House, name: &str) -> String {
    let wanted = json!({ "principal": name, "speaks": "human", "scope": "approve" });
    house.locally(Method::POST, "/api/tokens", wanted).await.json["token"].as_str().unwrap().to_owned()
}

async fn by_hand(house: &House, token: &str, path: &str, body: &Value) -> Told {
    let call = request(Method::POST, path).header("authorization", format!("Bearer {token}"));
    let call = call.body(axum::body::Body::from(body.to_string())).unwrap();
    Told::of(house.tcp.clone().oneshot(call).await.unwrap()).await
}

const DAY_MS: u64 = 86_400_000;

#[tokio::test]
async fn a_yes_for_longer_than_once_is_to_one_call_until_it_is_taken_back() {
    let write = || call("guarded", "{\"path\":\"a\"}");
    let other = call("guarded", "{\"path\":\"b\"}");
    let lines = [write(), Line::Say("one"), write(), other, Line::Say("two"), write(), Line::Say("three"), write()];
    let house = House::new(&lines).await;
    let (_, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let (id, hand) = (item["id"].as_str().unwrap(), person(&house, "owner").await);
    let path = format!("/api/approvals/{id}");
    let yes = |always_ms: u64| json!({ "decision": "approve", "digest": item["digest"], "always_ms": always_ms });
    let no = json!({ "decision": "deny", "digest": item["digest"], "always_ms": DAY_MS });
    assert_eq!(by_hand(&house, &hand, &path, &no).await.code(), "malformed");
    assert_eq!(house.post("owner", &path).json(yes(DAY_MS)).await.code(), "only_once", "a program");
    assert_eq!(by_hand(&house, &hand, &path, &yes(31 * DAY_MS)).await.code(), "only_once");
    let told = by_hand(&house, &hand, &path, &yes(DAY_MS)).await;
    assert_eq!((told.status, &told.json["until"]), (StatusCode::OK, &json!(house.play.engine.now() + DAY_MS)));
    assert_eq!(house.turn(&turn, "ended").await["reply"], "one");
    let (_, turn) = house.say("ann", "in another session").await;
    let asked = house.turn(&turn, "waiting").await;
    assert_eq!(approval(&house, "owner").await["args"], json!({ "path": "b" }), "the same call was made");
    assert_eq!(house.play.stage.acts.lock().unwrap().len(), 2);
    let no = json!({ "decision": "deny", "digest": approval(&house, "owner").await["digest"] });
    house.post("owner", &format!("/api/approvals/{}", asked["id"].as_str().unwrap())).json(no).await;
    house.turn(&turn, "ended").await;

    let (_, turn) = house.say("ann", "in a third").await;
    assert_eq!(house.turn(&turn, "ended").await["reply"], "three");
    let listed = house.get("owner", "/api/standing").none().await.json["standing"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["rule"]), (1, &json!("about guarded")));
    assert_eq!(house.get("carl", "/api/standing").none().await.json["standing"], json!([]));
    let revoke = format!("/api/standing/{id}/revoke");
    assert_eq!(house.post("carl", &revoke).none().await.code(), "no_such_standing", "not theirs");
    assert_eq!(house.post("owner", &revoke).none().await.json["revoked"], true);
    assert_eq!(house.post("owner", &revoke).none().await.code(), "no_such_standing");
    let (_, turn) = house.say("ann", "once more").await;
    assert_eq!(house.turn(&turn, "waiting").await["wait"], "approval");
}

#[tokio::test]
async fn a_protected_path_is_said_yes_to_for_once() {
    let house = House::new(&[call("signed", "{}")]).await;
    let (_, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    let yes = json!({ "decision": "approve", "digest": item["digest"], "always_ms": DAY_MS });
    let told = by_hand(&house, &person(&house, "owner").await, &path, &yes).await;
    assert!(told.code() == "only_once" && told.text.contains("protected path"), "{}", told.text);
    assert_eq!(house.turn(&turn, "waiting").await["id"], item["id"], "nothing was said yes to");
}

#[tokio::test]
async fn where_a_rule_wants_a_persons_yes_a_program_can_only_say_no() {
    let lines = [call("signed", "{}"), Line::Say("done"), call("signed", "{}"), Line::Say("not")];
    let house = House::new(&lines).await;
    let (_, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    let yes = json!({ "decision": "approve", "digest": item["digest"] });
    let told = house.post("owner", &path).json(yes.clone()).await;
    assert_eq!((told.status, told.code()), (StatusCode::FORBIDDEN, "not_an_approver"));
    assert!(told.json["error"]["next"].as_str().unwrap().contains("--speaks human"), "{}", told.text);
    let claims = house.post("owner", &path).header("x-backstay-speaks", "human").json(yes.clone()).await;
    assert_eq!(claims.code(), "not_an_approver", "a token is what it was made as");
    assert_eq!(house.locally(Method::POST, &path, yes.clone()).await.code(), "not_an_approver", "no terminal");

    let told = by_hand(&house, &person(&house, "owner").await, &path, &yes).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text);
    assert_eq!(house.turn(&turn, "ended").await["reply"], "done");

    let (_, turn) = house.say("ann", "again").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    let no = json!({ "decision": "deny", "digest": item["digest"] });
    assert_eq!(house.post("owner", &path).json(no).await.status, StatusCode::OK);
    assert_eq!(house.turn(&turn, "ended").await["reply"], "not");
}

#[tokio::test]
async fn at_a_terminal_the_home_s_own_user_is_a_person() {
    let house = House::new(&[call("signed", "{}"), Line::Say("done")]).await;
    let (_, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    let yes = json!({ "decision": "approve", "digest": item["digest"] });
    let call = crate::house::request(Method::POST, &path).header(backstay_channels::SPEAKS, "human");
    let call = call.body(axum::body::Body::from(yes.to_string())).unwrap();
    let told = crate::house::Told::of(house.local.clone().oneshot(call).await.unwrap()).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text);
    assert_eq!(house.turn(&turn, "ended").await["reply"], "done");
}

/// At the local socket a token says which of the home's people sits there; what they say is theirs.
#[tokio::test]
async fn two_people_say_yes_at_the_machine_each_with_their_own_token() {
    let house = House::new(&[call("for_two", "{}"), Line::Say("done")]).await;
    let (_, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "carl").await;
    let terms = json!({ "principal": ["ann", "bob", "carl"], "quorum": 2, "distinct_from": ["requester"] });
    assert_eq!((&item["approvers"], &item["yes"]), (&terms, &json!([])));
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    let yes = json!({ "decision": "approve", "digest": item["digest"] });
    let told = house.post("bob", &path).json(yes.clone()).await;
    assert_eq!((told.status, told.code()), (StatusCode::FORBIDDEN, "wrong_door"), "not over HTTP");
    assert_eq!(house.locally(Method::POST, &path, yes.clone()).await.code(), "not_an_approver", "the owner is none");
    let here = |token: String| {
        let call = crate::house::request(Method::POST, &path).header("authorization", format!("Bearer {token}"));
        let call = house.local.clone().oneshot(call.body(axum::body::Body::from(yes.to_string())).unwrap());
        async move { crate::house::Told::of(call.await.unwrap()).await }
    };
    let token = |name: &str| house.scoped(name, TokenScope::Approve).to_owned();
    assert_eq!(here("bks_none".into()).await.code(), "unauthorized", "a wrong token is not the owner's word");
    assert_eq!(here(house.scoped("bob", TokenScope::Chat).to_owned()).await.code(), "wrong_scope");
    assert_eq!(here(token("ann")).await.code(), "not_an_approver", "she has asked for it");
    assert_eq!(here(token("bob")).await.status, StatusCode::OK);
    assert_eq!(approval(&house, "carl").await["yes"], json!(["bob"]));
    let told = here(token("bob")).await;
    assert_eq!((told.status, told.code()), (StatusCode::CONFLICT, "already_approved"));
    assert_eq!(here(token("carl")).await.status, StatusCode::OK);
    assert_eq!(house.turn(&turn, "ended").await["reply"], "done");
}

#[tokio::test]
async fn a_role_that_is_held_at_one_door_is_none_at_another() {
    let house = House::new(&[]).await;
    let mut policy = crate::house::policy();
    policy.doors.insert("carl".into(), vec!["cli".into()]);
    let limits = backstay_engine::Limits { messages_per_minute: 10 };
    house.play.engine.reload(policy, "carl comes in person", "test", None, limits).await.unwrap();
    assert_eq!(house.get("carl", "/api/approvals").none().await.code(), "unauthorized");
    let bearer = format!("Bearer {}", house.scoped("carl", TokenScope::Approve));
    let call = crate::house::request(Method::GET, "/api/approvals").header("authorization", bearer);
    let call = house.local.clone().oneshot(call.body(axum::body::Body::empty()).unwrap());
    assert_eq!(crate::house::Told::of(call.await.unwrap()).await.status, StatusCode::OK);
}

/// Puts `new` in the place of every `old` in the state file of a home that is closed.
fn damage(home: &Path, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let path = home.join("state.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old.as_bytes())).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at..at + old.len()].copy_from_slice(new.as_bytes()));
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_hides_nothing_else() {
    let calls = ["a", "needle", "c"].map(|path| call("guarded", &format!("{{\"path\":\"{path}\"}}")));
    let house = House::new(&[&calls[..], &[call("ask", "{\"question\":\"well?\"}")]].concat()).await;
    let mut sessions = Vec::new();
    for name in ["ann", "carl", "carl", "carl"] {
        let (session, turn) = house.say(name, "write").await;
        house.turn(&turn, "waiting").await;
        sessions.push(session);
    }
    house.play.engine.store().close().unwrap();
    // The records of the first session, and the arguments of the second.
    damage(house.place.path(), "\"main\",\"principal\":\"ann\"", "\"main\",\"principal\":\"ann}");
    damage(house.place.path(), "needle", "nEEdle");
    let house = House::at(Arc::clone(&house.place), policy(), &[]).await;
    let told = house.get("owner", "/api/approvals").none().await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text);
    let item = told.json["approvals"][0].clone();
    assert_eq!((&item["session"], told.json["approvals"].as_array().unwrap().len()), (&json!(sessions[2]), 1));
    let mut unreadable = told.json["unreadable"].as_array().unwrap().clone();
    unreadable.sort_by_key(|session| sessions.iter().position(|one| session == one));
    assert_eq!(unreadable, [json!(sessions[0]), json!(sessions[1])]);
    assert_eq!(house.get("carl", "/api/approvals").none().await.json["unreadable"], json!([sessions[1]]));
    let told = house.get("carl", "/api/questions").none().await.json;
    assert_eq!((&told["questions"][0]["text"], &told["unreadable"]), (&json!("well?"), &json!([])));

    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    assert_eq!(house.get("owner", &path).none().await.json, item);
    assert_eq!(house.get("bob", &path).none().await.code(), "no_such_approval");
    let yes = json!({ "decision": "approve", "digest": item["digest"] });
    assert_eq!(house.post("owner", &path).json(yes).await.status, StatusCode::OK);
    assert_eq!(house.get("owner", &path).none().await.code(), "no_such_approval");
}

#[tokio::test]
async fn of_many_values_an_approval_shows_some_and_says_how_many_more() {
    let values: Vec<u32> = (0..100).chain([0; 6000]).collect();
    let house = House::new(&[call("guarded", &json!({ "path": "a", "more": values }).to_string())]).await;
    let (_, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let shown: Vec<&Value> =
        item["chooses"].as_array().unwrap().iter().filter(|one| one["argument"] == "more").collect();
    let first = json!({ "argument": "more", "value": "0", "times": 6001, "said": null });
    assert_eq!((shown.len(), shown[0]), (32, &first));
    let all = 101;
    assert_eq!(item["left_out"], json!({ "unnamed": all - 32, "named": 0 }));
}

/// Says something in a session and waits for its turn to come into this state.
async fn say_in(house: &House, session: &str, state: &str) {
    let said = house.post("ann", &format!("/api/sessions/{session}/messages")).json(json!({ "text": "next" })).await;
    house.turn(said.json["turn"].as_str().unwrap(), state).await;
}

#[tokio::test]
async fn an_approval_is_shown_without_what_cannot_be_read_of_it() {
    let calls = ["needle", "b"].map(|path| call("guarded", &format!("{{\"path\":\"{path}\"}}")));
    let house = House::new(&[calls[0].clone(), Line::Say("written"), calls[1].clone()]).await;
    let (session, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    house.post("owner", &path).json(json!({ "decision": "approve", "digest": item["digest"] })).await;
    house.turn(&turn, "ended").await;
    say_in(&house, &session, "waiting").await;
    let whole = approval(&house, "owner").await;
    assert_eq!(whole["last"], json!({ "id": item["id"], "differs": ["path"] }));
    house.play.engine.store().close().unwrap();
    damage(house.place.path(), "needle", "nEEdle");
    let house = House::at(Arc::clone(&house.place), policy(), &[]).await;
    let mut part = approval(&house, "owner").await;
    assert_eq!(part.get("last"), None);
    part["last"] = whole["last"].clone();
    assert_eq!(part, whole);
}

#[tokio::test]
async fn what_was_allowed_long_ago_is_not_looked_for() {
    let look = |turn: usize| {
        let calls = (0..50).map(|n| ("look", format!("{{\"path\":\"{turn}/{n}\"}}")));
        [Line::Call("", calls.collect()), Line::Say("looked")]
    };
    let guarded = || call("guarded", "{\"path\":\"a\"}");
    let mut lines = vec![guarded(), Line::Say("written")];
    lines.extend((0..14).flat_map(look));
    lines.push(guarded());
    let house = House::with(policy(), &lines).await;
    let (session, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let item = approval(&house, "owner").await;
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    house.post("owner", &path).json(json!({ "decision": "approve", "digest": item["digest"] })).await;
    house.turn(&turn, "ended").await;
    for _ in 0..14 {
        say_in(&house, &session, "ended").await;
    }
    say_in(&house, &session, "waiting").await;
    let item = approval(&house, "owner").await;
    let seq = item["id"].as_str().unwrap().split_once('.').unwrap().1.parse::<u64>().unwrap();
    assert!(seq > 2100, "{seq}");
    assert_eq!(item["last"], Value::Null);
}
