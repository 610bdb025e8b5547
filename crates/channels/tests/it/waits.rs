//! What waits for somebody, told as it begins and as it ends.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use backstay_channels::{Door, Follower, NoticeKind, Reload};
use backstay_engine::{Engine, StoreOptions};
use backstay_kernel::effect::FailureClass;
use backstay_kernel::home::TokenScope;
use backstay_kernel::policy::Policy;
use backstay_sim::disk::{Disk, Fault, Moment, Phase, Trouble};
use backstay_sim::stage::Play;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{Frame, Frames, House, Line, call, policy, request, slowly};

async fn watch(house: &House) -> Frames {
    house.get("oper", "/api/waits").frames(None).await.1
}

async fn next(frames: &mut Frames) -> (String, Value) {
    let frame: Frame = frames.next().await.unwrap();
    (frame.event.clone(), frame.json())
}

fn follower(engine: &Engine) -> Follower {
    let reload: Reload = Arc::new(|_, _| Box::pin(async { Err(String::new()) }));
    Follower::new(Door::new(engine.clone(), "/nowhere".into(), 1, reload))
}

#[tokio::test]
async fn what_waits_is_told_once_as_it_begins_and_as_it_ends_and_gives_no_word_of_it_away() {
    let lines = [call("guarded", "{\"path\":\"CANARY\"}"), Line::Say("no matter"), call("guarded", "{}")];
    let house = House::new(&lines).await;
    let mut early = watch(&house).await;
    let (session, turn) = house.say("ann", "CANARY").await;
    house.turn(&turn, "waiting").await;
    let (event, notice) = next(&mut early).await;
    let now = house.play.engine.now();
    let id = notice["id"].as_str().unwrap().to_owned();
    let expected = json!({
        "id": id, "kind": "approval", "session": session, "agent": "main", "tool": "guarded", "class": "write",
        "since": now, "expires_at": now + 60_000, "see": "backstay approvals",
    });
    assert_eq!((event.as_str(), &notice), ("waits", &expected));
    // Whoever comes later, also to other doors of the home, is told the same by the same id.
    assert_eq!(next(&mut watch(&house.reopened()).await).await.1, expected);
    let item = house.get("owner", "/api/approvals").none().await.json["approvals"][0].clone();
    for secret in [&item["id"], &item["digest"]] {
        assert!(!notice.to_string().contains(secret.as_str().unwrap()));
    }
    let path = format!("/api/approvals/{}", item["id"].as_str().unwrap());
    house.post("owner", &path).json(json!({ "decision": "approve", "digest": item["digest"] })).await;
    let ended = next(&mut early).await;
    assert_eq!(ended, ("ended".to_owned(), json!({ "id": id, "kind": "approval", "how": "approved" })));
    // The same call of the next turn is another thing that waits.
    house.turn(&turn, "ended").await;
    let (_, turn) = house.say("ann", "again").await;
    house.turn(&turn, "waiting").await;
    assert_ne!(next(&mut early).await.1["id"], json!(id));
    house.post("ann", &format!("/api/turns/{turn}/cancel")).json(json!({})).await;
    assert_eq!(next(&mut early).await.1["how"], "over");
}

#[tokio::test]
async fn only_who_may_look_at_the_whole_home_is_told() {
    let house = House::new(&[]).await;
    assert_eq!(house.get("ann", "/api/waits").none().await.status, StatusCode::FORBIDDEN);
    assert_eq!(house.get("carl", "/api/waits").none().await.status, StatusCode::FORBIDDEN);
    for (scope, allowed) in [
        (TokenScope::Chat, false),
        (TokenScope::Approve, false),
        (TokenScope::Observe, true),
        (TokenScope::Operate, true),
    ] {
        let bearer = format!("Bearer {}", house.scoped("owner", scope));
        let call = request(Method::GET, "/api/waits").header("authorization", bearer);
        let told = tower::ServiceExt::oneshot(house.tcp.clone(), call.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(told.unwrap().status() == StatusCode::OK, allowed, "{scope:?}");
    }
}

#[tokio::test]
async fn a_question_and_a_doubt_are_told_without_their_words() {
    let house = House::new(&[call("ask", "{\"question\":\"CANARY?\"}"), Line::Say("thanks"), call("lost", "{}")]).await;
    let mut frames = watch(&house).await;
    let (_, turn) = house.say("ann", "first").await;
    house.turn(&turn, "waiting").await;
    let (_, asked) = next(&mut frames).await;
    assert_eq!((&asked["kind"], &asked["see"]), (&json!("question"), &json!("backstay status")));
    assert!(!asked.to_string().contains("CANARY"));
    let item = house.get("ann", "/api/questions").none().await.json["questions"][0]["id"].clone();
    house.post("ann", &format!("/api/questions/{}", item.as_str().unwrap())).json(json!({ "text": "a.txt" })).await;
    assert_eq!(next(&mut frames).await.1["how"], "answered");
    let (_, turn) = house.say("ann", "second").await;
    house.turn(&turn, "waiting").await;
    let (_, doubt) = next(&mut frames).await;
    assert_eq!((&doubt["kind"], &doubt["tool"]), (&json!("doubt"), &json!("lost")));
    let item = house.get("oper", "/api/doubts").none().await.json["doubts"][0]["id"].clone();
    let resolve = json!({ "outcome": "done", "note": "seen" });
    house.post("oper", &format!("/api/doubts/{}", item.as_str().unwrap())).json(resolve).await;
    assert_eq!(next(&mut frames).await.1["how"], "done");
}

#[tokio::test]
async fn what_waits_stays_the_same_whatever_else_goes_on_in_its_session() {
    let house = House::new(&[call("lost", "{}"), Line::Say("go on"), Line::Say("more")]).await;
    let mut follower = follower(&house.play.engine);
    let (session, turn) = house.say("ann", "go").await;
    house.turn(&turn, "waiting").await;
    let first = follower.now().await.unwrap();
    assert_eq!(first.iter().map(|notice| notice.kind).collect::<Vec<_>>(), [NoticeKind::Doubt]);
    house.play.stage.now.fetch_add(1, Ordering::SeqCst);
    let path = format!("/api/sessions/{session}/messages");
    house.post("ann", &path).json(json!({ "text": "later", "mode": "queue" })).await;
    assert_eq!(follower.now().await.unwrap(), first);
    // Whoever has seen nothing of it before finds the same.
    let fresh = crate::waits::follower(&house.play.engine).now().await.unwrap();
    assert_eq!(fresh, first);
}

#[tokio::test]
async fn an_effect_that_is_in_doubt_once_more_waits_anew() {
    let house = House::new(&[call("lost", "{}")]).await;
    let mut frames = watch(&house).await;
    let (_, turn) = house.say("ann", "go").await;
    house.turn(&turn, "waiting").await;
    let (_, first) = next(&mut frames).await;
    house.play.stage.now.fetch_add(1, Ordering::SeqCst);
    let item = house.get("oper", "/api/doubts").none().await.json["doubts"][0]["id"].clone();
    let retry = json!({ "outcome": "retry", "note": "it was not done" });
    house.post("oper", &format!("/api/doubts/{}", item.as_str().unwrap())).json(retry).await;
    let mut told = vec![next(&mut frames).await];
    if told[0].0 == "ended" {
        told.push(next(&mut frames).await);
    }
    let again = told.iter().find(|(event, _)| event == "waits").unwrap();
    assert!(again.1["kind"] == "doubt" && again.1["id"] != first["id"] && again.1["session"] == first["session"]);
}

#[tokio::test]
async fn an_expired_approval_waits_no_more() {
    let house = House::new(&[call("guarded", "{}")]).await;
    let (_, turn) = house.say("ann", "write").await;
    house.turn(&turn, "waiting").await;
    let mut follower = follower(&house.play.engine);
    assert_eq!(follower.now().await.unwrap().len(), 1);
    house.play.stage.now.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(follower.now().await.unwrap(), []);
}

/// Each in its own hour.
#[tokio::test]
async fn a_budget_that_is_used_up_is_told_once_an_hour_and_agent() {
    let mut tight: Policy = policy();
    tight.per_principal.turn.tokens = Some(1);
    let house = House::with(tight, &[]).await;
    let mut follower = follower(&house.play.engine);
    for text in ["one", "two"] {
        let (_, turn) = house.say("ann", text).await;
        house.turn(&turn, "ended").await;
    }
    let told = follower.now().await.unwrap();
    let [one] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((one.kind, one.expires_at), (NoticeKind::Budget, Some(house.play.engine.now() + 3_600_000)));
    house.play.stage.now.fetch_add(3_600_000, Ordering::SeqCst);
    assert_eq!(follower.now().await.unwrap(), []);
    let (_, turn) = house.say("ann", "three").await;
    house.turn(&turn, "ended").await;
    let told = follower.now().await.unwrap();
    assert!(told.len() == 1 && told[0].id != one.id);
}

#[tokio::test]
async fn a_turn_that_waits_for_what_others_have_reserved_is_told_until_it_goes_on() {
    let mut tight: Policy = policy();
    // One call fits, and two do not: a message of 20,000 bytes reserves as many tokens.
    tight.home_budget.day.tokens = Some(30_000);
    let house = House::with(tight, &[slowly("", Line::Say("first")), Line::Say("second")]).await;
    let mut follower = follower(&house.play.engine);
    let (_, first) = house.say("ann", &"x".repeat(20_000)).await;
    house.play.stage.hung.notified().await;
    assert_eq!(follower.now().await.unwrap(), []);
    let (session, second) = house.say("ann", &"x".repeat(20_000)).await;
    let told = loop {
        let told = follower.now().await.unwrap();
        if !told.is_empty() {
            break told;
        }
        follower.change(&told).await;
    };
    let wanted = (NoticeKind::Budget, Some(session));
    assert_eq!(told.iter().map(|one| (one.kind, one.session.map(|id| id.to_string()))).collect::<Vec<_>>(), [wanted]);
    house.play.stage.go.notify_one();
    house.turn(&first, "ended").await;
    house.turn(&second, "ended").await;
    assert_eq!(follower.now().await.unwrap(), []);
}

/// Every try fails at once: the clock of the tries is the real one, put forward.
#[tokio::test(start_paused = true)]
async fn a_provider_that_stays_away_is_told_once_for_all_who_wait_for_it() {
    let lines = vec![Line::Fail(FailureClass::Wait); 200];
    let house = House::new(&lines).await;
    let mut follower = follower(&house.play.engine);
    let mut sessions = Vec::new();
    for text in ["one", "two"] {
        sessions.push(house.say("ann", text).await.0);
    }
    let row = |session: &String| {
        let id = backstay_kernel::id::SessionId::parse(session).unwrap();
        let head = house.play.store.head(id).unwrap().unwrap();
        (head.wait.unwrap_or_default(), head.wake_at.unwrap_or_default())
    };
    loop {
        let rows: Vec<_> = sessions.iter().map(row).collect();
        let rests = |wait: &str| rows.iter().filter(|row| row.0 == wait).map(|row| row.1).collect::<Vec<_>>();
        let (now, backoffs) = (house.play.engine.now(), rests("backoff"));
        match backoffs.iter().min() {
            None if rests("provider").len() == sessions.len() => break,
            // Both are at rest, and time alone moves one of them on.
            Some(next) if *next > now && rests("provider").len() + backoffs.len() == sessions.len() => {
                house.play.stage.now.store(*next, Ordering::SeqCst);
                tokio::time::advance(std::time::Duration::from_millis(next - now)).await;
            }
            _ => tokio::task::yield_now().await,
        }
    }
    let told = follower.now().await.unwrap();
    let [one] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((one.kind, one.agent.as_deref()), (NoticeKind::Provider, Some("main")));
    assert!(one.tool.is_none() && one.expires_at.is_none());
}

#[tokio::test]
async fn a_disk_without_room_is_told_when_it_stands_in_the_way() {
    let place = tempfile::tempdir().unwrap();
    let options = StoreOptions { ballast_bytes: 0, free_bytes_min: u64::MAX };
    let play = Play::begin_with(place.path(), options, policy(), Vec::new()).await;
    let changes = play.engine.waits();
    let mut follower = follower(&play.engine);
    assert!(!changes.has_changed().unwrap());
    play.engine.submit(&backstay_sim::setting::owner(), backstay_sim::stage::message(None, "hi")).await.unwrap_err();
    assert!(changes.has_changed().unwrap(), "whoever tells is woken");
    let first = follower.now().await.unwrap();
    assert_eq!(first.iter().map(|notice| notice.kind).collect::<Vec<_>>(), [NoticeKind::Disk]);
    play.stage.now.fetch_add(1000, Ordering::SeqCst);
    assert_eq!(follower.now().await.unwrap(), first, "the same trouble is one thing");
    // Nobody tells when there is room again: it is looked for, and nothing else is.
    tokio::time::pause();
    let long = std::time::Duration::from_secs(3600);
    assert!(tokio::time::timeout(long, follower.change(&first)).await.is_ok());
    assert!(tokio::time::timeout(long, follower.change(&[])).await.is_err());
}

/// Every write fails, from the first after the start until the disk is healed.
#[tokio::test]
async fn a_journal_that_cannot_be_written_is_told_until_it_can() {
    let place = tempfile::tempdir().unwrap();
    let begin = || Play::begin(place.path(), policy(), Vec::new());
    begin().await.store.close().unwrap();
    let at = Moment { flush: 1, phase: Phase::Before };
    let broken = Disk::new(&[place.path()], vec![Fault { at, trouble: Trouble::Broken { writes: u32::MAX } }]);
    let play = begin().await;
    let changes = play.engine.waits();
    play.engine.submit(&backstay_sim::setting::owner(), backstay_sim::stage::message(None, "hi")).await.unwrap_err();
    assert!(changes.has_changed().unwrap(), "whoever tells is woken");
    let mut follower = follower(&play.engine);
    let told = follower.now().await.unwrap();
    assert_eq!(told.iter().map(|notice| notice.kind).collect::<Vec<_>>(), [NoticeKind::Journal]);
    broken.heal();
    tokio::time::pause();
    while !follower.now().await.unwrap().is_empty() {
        follower.change(&told).await;
    }
}
