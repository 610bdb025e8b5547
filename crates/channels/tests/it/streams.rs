//! The live view of a session.
use backstay_engine::{Caller, Command};
use backstay_kernel::effect::FailureClass;
use backstay_kernel::home::{Speaks, TokenScope};
use backstay_kernel::policy::Role;
use http::StatusCode;
use serde_json::json;

use crate::house::{Frame, House, Line, slowly};

fn seqs(frames: &[Frame]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame.id).collect()
}

#[tokio::test]
async fn a_stream_replays_and_goes_on_without_gap_or_double() {
    let house = House::new(&[Line::Say("one"), slowly("tw", Line::Say("o"))]).await;
    let (session, turn) = house.say("ann", "first").await;
    house.turn(&turn, "ended").await;
    let path = format!("/api/sessions/{session}/events");
    let (headers, mut live) = house.get("ann", &path).frames(None).await;
    assert_eq!(headers["content-type"], "text/event-stream");
    let replayed = live.until("turn_ended").await;
    assert_eq!(seqs(&replayed), (1..=replayed.len() as u64).collect::<Vec<_>>());
    assert_eq!(replayed[0].event, "opened");
    assert!(replayed.iter().all(|frame| frame.event != "delta"), "text is never replayed");

    let messages = format!("/api/sessions/{session}/messages");
    let told = house.post("ann", &messages).json(json!({ "text": "second" })).await;
    assert_eq!(told.status, StatusCode::ACCEPTED);
    let mut more = live.until("delta").await;
    let delta = more.last().unwrap();
    assert_eq!((delta.id, delta.json()["text"].clone()), (None, json!("tw")));
    house.play.stage.go.notify_one();
    more.extend(live.until("turn_ended").await);
    let all: Vec<u64> = seqs(&replayed).into_iter().chain(seqs(&more)).collect();
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    let said: String =
        more.iter().filter(|f| f.event == "delta").map(|f| f.json()["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said, "two");
    let admitted = more.iter().find(|frame| frame.event == "admitted").unwrap().json();
    let body = admitted["body"]["body"]["id"].to_string();
    assert_eq!((&admitted["seq"], &admitted["texts"][body]), (&told.json["seq"], &json!("second")));

    let records = house.get("ann", &format!("/api/sessions/{session}/records?limit=1000")).none().await.json;
    let last = records["records"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(more.last().unwrap().json(), last, "a stream and a list show the same");
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was() {
    let house = House::new(&[Line::Say("one")]).await;
    let (session, turn) = house.say("ann", "first").await;
    house.turn(&turn, "ended").await;
    let path = format!("/api/sessions/{session}/events");
    let (_, mut live) = house.get("ann", &format!("{path}?after=3")).frames(None).await;
    assert_eq!(live.next().await.unwrap().id, Some(4));
    let (_, mut live) = house.get("ann", &path).header("last-event-id", "5").frames(None).await;
    assert_eq!(live.next().await.unwrap().id, Some(6));

    let last = house.get("ann", &format!("/api/sessions/{session}")).none().await.json["seq"].as_u64().unwrap();
    let (_, mut ahead) = house.get("ann", &format!("{path}?after={}", last + 2)).frames(None).await;
    house.post("ann", &format!("/api/sessions/{session}/messages")).json(json!({ "text": "second" })).await;
    let frames = ahead.until("turn_ended").await;
    assert_eq!(seqs(&frames)[0], last + 3, "what the reader has is not sent again");
}

#[tokio::test]
async fn a_reader_that_was_too_slow_misses_nothing() {
    let house = House::new(&[]).await;
    let told = house.post("ann", "/api/sessions").json(json!({ "agent": "main" })).await;
    let session = told.json["session"].as_str().unwrap().to_owned();
    let (_, mut live) = house.get("ann", &format!("/api/sessions/{session}/events")).frames(None).await;
    assert_eq!(live.next().await.unwrap().id, Some(1));
    for _ in 0..200 {
        for call in ["stop", "resume"] {
            house.post("ann", &format!("/api/sessions/{session}/{call}")).none().await;
        }
    }
    for seq in 2..=401 {
        assert_eq!(live.next().await.unwrap().id, Some(seq));
    }
}

#[tokio::test]
async fn a_commit_that_nobody_was_told_of_is_not_left_out() {
    let house = House::new(&[]).await;
    let told = house.post("ann", "/api/sessions").json(json!({ "agent": "main" })).await;
    let session = told.json["session"].as_str().unwrap().to_owned();
    let (_, mut live) = house.get("ann", &format!("/api/sessions/{session}/events")).frames(None).await;
    assert_eq!(live.next().await.unwrap().event, "opened");
    let id = backstay_kernel::id::SessionId::parse(&session).unwrap();
    let ann = Caller { principal: "ann".into(), role: Role::User, channel: "test".into(), speaks: Speaks::Program };
    let stop = Command::Stop { by: "ann".into() };
    house.play.other_engine(crate::house::policy()).await.command(&ann, id, stop, None).await.unwrap();
    for call in ["stop", "resume"] {
        house.post("ann", &format!("/api/sessions/{session}/{call}")).none().await;
    }
    let frames = live.until("resumed").await;
    let heard: Vec<(u64, &str)> = frames.iter().map(|frame| (frame.id.unwrap(), frame.event.as_str())).collect();
    assert_eq!(heard, [(2, "stopped"), (3, "resumed")]);
}

#[tokio::test]
async fn what_is_tried_again_is_withdrawn() {
    let house = House::new(&[slowly("half a", Line::Fail(FailureClass::RetrySame)), Line::Say("whole")]).await;
    let (session, turn) = house.say("ann", "first").await;
    let (_, mut live) = house.get("ann", &format!("/api/sessions/{session}/events")).frames(None).await;
    live.until("started").await;
    house.play.stage.go.notify_one();
    live.until("retried").await;
    house.play.stage.now.fetch_add(120_000, std::sync::atomic::Ordering::SeqCst);
    house.play.engine.freeze(false, "test", None).await.unwrap();
    let rest = live.until("turn_ended").await;
    assert!(rest.iter().any(|frame| frame.event == "reset"));
    assert_eq!(house.turn(&turn, "ended").await["reply"], "whole");
}

#[tokio::test]
async fn a_stream_ends_with_its_reason_when_its_token_does() {
    let house = House::new(&[Line::Say("one")]).await;
    let (session, turn) = house.say("ann", "first").await;
    house.turn(&turn, "ended").await;
    let path = format!("/api/sessions/{session}/events");
    let (_, mut own) = house.get("ann", &path).frames(None).await;
    let (_, mut others) = house.get("oper", &path).frames(None).await;
    own.until("turn_ended").await;
    others.until("turn_ended").await;
    let id: String = house.scoped("ann", TokenScope::Observe).chars().take(12).collect();
    house.play.engine.home().revoke_token(&id, "test", None).await.unwrap();
    let end = own.next().await.unwrap();
    assert_eq!((end.id, end.event.as_str(), &end.json()["code"]), (None, "end", &json!("unauthorized")));
    assert_eq!(own.next().await, None);

    // An operator who is one no more must not go on seeing everything.
    let mut changed = crate::house::policy();
    changed.principals.insert("oper".into(), backstay_kernel::policy::Role::User);
    let limits = backstay_engine::Limits { messages_per_minute: 10 };
    house.play.engine.reload(changed, "oper is a user", "test", None, limits).await.unwrap();
    assert_eq!(others.until("end").await.last().unwrap().json()["code"], "unauthorized");
}

#[tokio::test]
async fn streams_and_calls_of_one_principal_have_their_share() {
    let house = House::new(&[]).await;
    let told = house.post("ann", "/api/sessions").json(json!({ "agent": "main" })).await;
    let path = format!("/api/sessions/{}/events", told.json["session"].as_str().unwrap());
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(house.get("ann", &path).frames(None).await);
    }
    let told = house.get("ann", &path).none().await;
    assert_eq!((told.status, told.code()), (StatusCode::TOO_MANY_REQUESTS, "too_many_connections"));
    assert!(told.headers.contains_key("retry-after"));
    assert_eq!(house.get("ann", "/api/sessions").none().await.status, StatusCode::OK, "there is one place to speak");
    assert_eq!(house.get("bob", "/api/sessions").none().await.status, StatusCode::OK);
    assert_eq!(house.post("owner", "/api/reload").none().await.status, StatusCode::OK, "which sets the share to 8");
    open.push(house.get("ann", &path).frames(None).await);
    open.clear();
    assert_eq!(house.post("ann", "/api/sessions").json(json!({ "agent": "main" })).await.status, StatusCode::CREATED);
}
