//! Sessions, messages, turns and traces.
use axum::body::Body;
use backstay_kernel::id::{Digest, Place, Seq};
use backstay_kernel::request::{digest, fragment_digest};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, LIMITS, Line, slowly};

#[tokio::test]
async fn a_message_becomes_a_turn_with_a_reply() {
    let house = House::new(&[Line::Say("hello, ann")]).await;
    let (session, turn) = house.say("ann", "hi").await;
    assert!(turn.starts_with(&format!("{session}.")));
    let ended = house.turn(&turn, "ended").await;
    assert_eq!(ended["reply"], "hello, ann");
    assert_eq!(ended["reason"], "claimed");
    assert_eq!(ended["wait"], Value::Null);
    assert_eq!(ended["spend"], json!({ "tokens": 15, "micro_usd": 15 }));
    assert_eq!(ended["completion"]["done"], json!([]));
    let one = house.get("ann", &format!("/api/sessions/{session}")).none().await.json;
    assert_eq!((&one["state"], &one["agent"], &one["principal"]), (&json!("idle"), &json!("main"), &json!("ann")));
    assert_eq!(one["spend"]["tokens"], 15);
    assert_eq!(one["channel"], "api");
    assert_eq!(one["title"], "hi", "without a title it begins as it was begun");
}

#[tokio::test]
async fn sessions_are_listed_in_pages_the_newest_first() {
    let house = House::new(&[]).await;
    let mut opened = Vec::new();
    for title in ["one", "two", "three"] {
        let told = house.post("ann", "/api/sessions").json(json!({ "agent": "main", "title": title })).await;
        assert_eq!(told.status, StatusCode::CREATED);
        opened.push(told.json["session"].as_str().unwrap().to_owned());
    }
    let first = house.get("ann", "/api/sessions?limit=2").none().await.json;
    let titles = |page: &Value| -> Vec<String> {
        page["sessions"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(titles(&first), ["three", "two"]);
    assert_eq!(first["next"], opened[1]);
    let second = house.get("ann", &format!("/api/sessions?limit=2&after={}", opened[1])).none().await.json;
    assert_eq!((titles(&second), &second["next"]), (vec!["one".to_owned()], &Value::Null));
    let told = house.post("ann", "/api/sessions").json(json!({ "agent": "nobody" })).await;
    assert_eq!((told.status, told.code()), (StatusCode::NOT_FOUND, "unknown_agent"));
    assert!(told.json["error"]["next"].as_str().unwrap().contains("main"));
}

#[tokio::test]
async fn a_key_makes_a_message_once_also_for_those_who_ask_at_the_same_time() {
    let house = House::new(&[Line::Say("once")]).await;
    let (session, turn) = house.say("ann", "hi").await;
    house.turn(&turn, "ended").await;
    let path = format!("/api/sessions/{session}/messages");
    let say = |text: &'static str| house.post("ann", &path).key("k1").json(json!({ "text": text }));
    let (one, two) = tokio::join!(say("again"), say("again"));
    let three = say("again").await;
    assert_eq!((one.status, &one.json), (StatusCode::ACCEPTED, &two.json));
    assert_eq!(one.json, three.json);
    let told = say("something else").await;
    assert_eq!((told.status, told.code()), (StatusCode::CONFLICT, "key_reused"));
    let other = house.say("bob", "hi").await.0;
    let told =
        house.post("bob", &format!("/api/sessions/{other}/messages")).key("k1").json(json!({ "text": "mine" })).await;
    assert_eq!(told.status, StatusCode::ACCEPTED, "a key counts for its principal alone");
    for bad in ["a b".to_owned(), "k".repeat(256)] {
        let told = house.post("ann", &path).key(&bad).json(json!({ "text": "x" })).await;
        assert_eq!(told.code(), "malformed");
    }
    let long = house.post("ann", &path).key(&"k".repeat(255)).json(json!({ "text": "x" })).await;
    assert_eq!(long.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_key_makes_every_other_call_once() {
    let house = House::new(&[]).await;
    let open = || house.post("ann", "/api/sessions").key("open").json(json!({ "agent": "main" }));
    let (one, two) = tokio::join!(open(), open());
    assert_eq!((one.status, &one.json), (StatusCode::CREATED, &two.json));
    assert_eq!(house.get("ann", "/api/sessions").none().await.json["sessions"].as_array().unwrap().len(), 1);
    let told = house.post("ann", "/api/sessions").key("open").json(json!({ "agent": "other" })).await;
    assert_eq!(told.code(), "key_reused");

    let create =
        || house.locally_keyed("/api/tokens", "t", json!({ "principal": "ann", "speaks": "human", "scope": "chat" }));
    let before = house.play.engine.home().state().tokens.len();
    let (one, two) = tokio::join!(create(), create());
    assert_eq!((one.status, &one.json), (StatusCode::CREATED, &two.json));
    assert_eq!(house.play.engine.home().state().tokens.len(), before + 1);
    let told = house
        .locally_keyed("/api/tokens", "t", json!({ "principal": "bob", "speaks": "human", "scope": "chat" }))
        .await;
    assert_eq!(told.code(), "key_reused");
    let told = house
        .locally_keyed("/api/tokens", "u", json!({ "principal": "nobody", "speaks": "human", "scope": "chat" }))
        .await;
    assert_eq!((told.status, told.code()), (StatusCode::NOT_FOUND, "unknown_principal"));
}

#[tokio::test]
async fn records_come_in_pages_with_their_texts() {
    let house = House::new(&[Line::Say("hello")]).await;
    let (session, turn) = house.say("ann", "how are you").await;
    house.turn(&turn, "ended").await;
    let (mut all, mut after) = (Vec::new(), json!(0));
    loop {
        let page =
            house.get("ann", &format!("/api/sessions/{session}/records?after={after}&limit=3")).none().await.json;
        all.extend(page["records"].as_array().unwrap().clone());
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    let seqs: Vec<u64> = all.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let of = |kind: &str| all.iter().find(|record| record["kind"] == kind).unwrap();
    let admitted = of("admitted");
    let body = admitted["body"]["body"]["id"].to_string();
    assert_eq!(admitted["texts"][&body], "how are you");
    assert_eq!(of("turn_ended")["body"]["reason"], "claimed");
    assert_eq!(of("opened")["body"]["agent"], "main");
}

#[tokio::test]
async fn a_trace_tells_what_was_seen_decided_and_touched() {
    let house =
        House::new(&[Line::Call("let me see", vec![("look", "{\"path\":\"a\"}".into())]), Line::Say("seen")]).await;
    let (_, turn) = house.say("ann", "look at \"a\"").await;
    house.turn(&turn, "ended").await;
    let trace = house.get("ann", &format!("/api/turns/{turn}/trace")).none().await.json;
    assert_eq!(trace["saw"]["messages"][0]["text"], "look at \"a\"");
    assert_eq!(trace["saw"]["messages"][0]["label"]["integrity"], "untrusted");
    let label = |sources: serde_json::Value, integrity: &str| json!({ "conf": "internal", "integrity": integrity, "source": sources });
    assert_eq!(trace["label"]["before"], label(json!("config"), "trusted"));
    let after = label(json!(["config", "principal", "model", "tool"]), "untrusted");
    assert_eq!(trace["label"]["after"], after);
    let (session, _) = turn.split_once('.').unwrap();
    let session = house.get("ann", &format!("/api/sessions/{session}")).none().await.json;
    assert_eq!(session["label"], after);
    let requests = trace["saw"]["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 2);
    let kinds: Vec<&str> =
        trace["decided"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["turn_started", "ended", "judged", "ended", "turn_ended"]);
    let touched = &trace["touched"][0];
    assert_eq!((&touched["tool"], &touched["args"]["path"]), (&json!("look"), &json!("a")));
    assert_eq!((&touched["end"]["outcome"], &touched["end"]["result"]), (&json!("done"), &json!("look did it")));
    assert_eq!(touched["end"]["label"], label(json!("tool"), "untrusted"));
    let view = house.get("ann", &format!("/api/turns/{turn}")).none().await.json;
    assert_eq!(view["completion"]["done"][0]["tool"], "look");
    assert_eq!(view["completion"]["done"][0]["paths"], json!(["/home/look"]));

    let sent = house.play.stage.sent.lock().unwrap().clone();
    for (n, wire) in sent.iter().enumerate() {
        let told = house.get("ann", &format!("/api/turns/{turn}/trace?as_sent={}", n + 1)).none().await;
        assert_eq!(&told.text, wire, "byte for byte");
        assert_eq!(told.headers["x-backstay-digest"], requests[n]["digest"].as_str().unwrap());
    }
    let told = house.get("ann", &format!("/api/turns/{turn}/trace?as_sent=3")).none().await;
    assert_eq!(told.status, StatusCode::NOT_FOUND);
    assert_eq!(
        house.get("ann", &format!("/api/turns/{turn}/trace?as_sent=0")).none().await.status,
        StatusCode::NOT_FOUND
    );
    assert_ne!(digest([fragment_digest(b"x")].iter()), Digest::default());
}

#[tokio::test]
async fn requests_of_later_turns_are_rebuilt_from_their_bases() {
    let house = House::new(&[Line::Say("one"), Line::Say("two"), Line::Say("three")]).await;
    let (session, mut turn) = house.say("ann", "first").await;
    for text in ["second", "third \u{1}\n\"q\""] {
        house.turn(&turn, "ended").await;
        let told = house.post("ann", &format!("/api/sessions/{session}/messages")).json(json!({ "text": text })).await;
        turn = told.json["turn"].as_str().unwrap().to_owned();
    }
    house.turn(&turn, "ended").await;
    let told = house.get("ann", &format!("/api/turns/{turn}/trace?as_sent=1")).none().await;
    assert_eq!(Some(&told.text), house.play.stage.sent.lock().unwrap().last());
}

#[tokio::test]
async fn an_erased_body_is_said_to_be_erased() {
    let house = House::new(&[Line::Say("one")]).await;
    let (_, turn) = house.say("ann", "forget me").await;
    house.turn(&turn, "ended").await;
    let place = Place::parse(&turn).unwrap();
    let before = Seq(place.seq.0 - 1);
    let placed = house.play.engine.reader().records(place.session, before, 1).unwrap().remove(0);
    let backstay_kernel::record::Record::Admitted(admitted) = placed.record else { panic!("not the message") };
    assert!(house.play.engine.store().erase_body(&admitted.body).unwrap());
    let told = house.get("ann", &format!("/api/turns/{turn}/trace?as_sent=1")).none().await;
    assert_eq!((told.status, told.code()), (StatusCode::GONE, "erased"));
    let trace = house.get("ann", &format!("/api/turns/{turn}/trace")).none().await.json;
    assert_eq!(trace["saw"]["messages"][0]["text"], Value::Null);
}

#[tokio::test]
async fn a_stopped_session_takes_no_messages_until_who_may_resumes_it() {
    let house = House::new(&[]).await;
    let (session, turn) = house.say("ann", "hi").await;
    house.turn(&turn, "ended").await;
    let path = |call: &str| format!("/api/sessions/{session}/{call}");
    assert_eq!(house.post("ann", &path("stop")).none().await.json["stopped"], true);
    let told = house.post("ann", &path("messages")).json(json!({ "text": "x" })).await;
    assert_eq!((told.status, told.code()), (StatusCode::FORBIDDEN, "session_stopped"));
    assert_eq!(house.get("ann", &format!("/api/sessions/{session}")).none().await.json["state"], "stopped");
    assert_eq!(house.post("ann", &path("resume")).none().await.status, StatusCode::OK);
    assert_eq!(house.post("ann", &path("messages")).json(json!({ "text": "x" })).await.status, StatusCode::ACCEPTED);

    assert_eq!(house.post("oper", &path("stop")).none().await.status, StatusCode::OK);
    let told = house.post("ann", &path("resume")).none().await;
    assert_eq!((told.status, told.code()), (StatusCode::FORBIDDEN, "forbidden"));
    assert_eq!(house.post("owner", &path("resume")).none().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_frozen_home_takes_no_messages() {
    let house = House::new(&[Line::Say("after")]).await;
    let (session, turn) = house.say("ann", "hi").await;
    house.turn(&turn, "ended").await;
    assert_eq!(house.post("ann", "/api/home/freeze").none().await.code(), "forbidden");
    assert_eq!(house.post("oper", "/api/home/freeze").none().await.json["frozen"], true);
    assert_eq!(house.get("oper", "/api/status").none().await.json["frozen"], true);
    let told = house.post("ann", &format!("/api/sessions/{session}/messages")).json(json!({ "text": "x" })).await;
    assert_eq!(told.code(), "home_frozen");
    assert_eq!(house.post("oper", "/api/home/unfreeze").none().await.json["frozen"], false);
    let told = house.post("ann", &format!("/api/sessions/{session}/messages")).json(json!({ "text": "x" })).await;
    assert_eq!(told.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_turn_can_be_cancelled_once() {
    let house = House::new(&[slowly("I am", Line::Say(" never done"))]).await;
    let (_, turn) = house.say("ann", "hi").await;
    house.turn(&turn, "running").await;
    let path = format!("/api/turns/{turn}/cancel");
    assert_eq!(house.post("ann", &path).none().await.status, StatusCode::OK);
    let ended = house.turn(&turn, "ended").await;
    assert_eq!(ended["reason"], "stopped_by_user");
    let told = house.post("ann", &path).none().await;
    assert_eq!((told.status, told.code()), (StatusCode::CONFLICT, "nothing_to_stop"));
    assert_eq!(house.get("ann", "/api/turns/nonsense").none().await.status, StatusCode::NOT_FOUND);
    let session = turn.split('.').next().unwrap();
    assert_eq!(house.get("ann", &format!("/api/turns/{session}.1")).none().await.code(), "not_found");
}

#[tokio::test]
async fn operators_see_how_the_home_does() {
    let house = House::new(&[Line::Say("x")]).await;
    let (_, turn) = house.say("ann", "hi").await;
    house.turn(&turn, "ended").await;
    let status = house.get("oper", "/api/status").none().await.json;
    assert_eq!((&status["sessions"]["total"], &status["journal"]), (&json!(1), &json!("writable")));
    assert_eq!(status["waits"], json!({ "approvals": 0, "parked": 0, "questions": 0, "doubts": 0 }));
    assert!(status["free_bytes"].as_u64().unwrap() > 0 && status["db_bytes"].as_u64().unwrap() > 0);
    let windows = house.get("oper", "/api/budget").none().await.json["windows"].clone();
    let day = windows
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["window"].as_str().unwrap().starts_with("agent:main/day/"))
        .unwrap();
    assert_eq!((&day["used"]["tokens"], &day["limit"]["tokens"]), (&json!(15), &json!(1_000_000)));
    let metrics = house.get("prom", "/metrics").none().await;
    for line in [
        "backstay_turns_ended_total{reason=\"claimed\"} 1",
        "backstay_model_calls_total 1",
        "backstay_billed_tokens_total 15",
        "backstay_journal_writable 1",
        "backstay_journal_append_seconds_bucket{le=\"0.00025\"} ",
        "backstay_home_frozen 0",
    ] {
        assert!(metrics.text.contains(line), "{line}\n{}", metrics.text);
    }
    assert!(
        metrics.text.contains("backstay_http_requests_total{route=\"/api/sessions/{id}/messages\",status=\"2xx\"} 1")
    );
    let appends = metrics.text.lines().find_map(|line| line.strip_prefix("backstay_journal_append_seconds_count "));
    assert!(appends.unwrap().parse::<u64>().unwrap() >= 2, "what was acknowledged is counted");
    assert!(!metrics.text.contains(&turn), "no id is a label");
    let reloaded = json!({ "epoch": 2, "changed": true, "needs_restart": ["server.listen"] });
    assert_eq!(house.post("owner", "/api/reload").none().await.json, reloaded);
    let told = house.post("oper", "/api/reload").none().await;
    assert_eq!((told.status, told.code()), (StatusCode::BAD_REQUEST, "config_invalid"));
}

#[tokio::test]
async fn a_backup_is_made_at_this_machine_only() {
    let house = House::new(&[]).await;
    let place = tempfile::tempdir().unwrap();
    let wanted = json!({ "to": place.path().join("copy"), "workspace": true });
    assert_eq!(house.post("owner", "/api/backup").json(wanted.clone()).await.code(), "forbidden");
    let told = house.locally(Method::POST, "/api/backup", wanted.clone()).await;
    assert_eq!((told.status, &told.json["workspace_files"]), (StatusCode::OK, &json!(1)), "{}", told.text);
    assert!(place.path().join("copy/state.db").exists() && place.path().join("copy/backstay.toml").exists());
    assert_eq!(std::fs::read_to_string(place.path().join("copy/workspace/note.txt")).unwrap(), "a note");
    assert_eq!(house.locally(Method::POST, "/api/backup", wanted).await.code(), "not_empty");
    let relative = json!({ "to": "copy" });
    assert_eq!(house.locally(Method::POST, "/api/backup", relative).await.code(), "malformed");
}

#[tokio::test]
async fn health_needs_no_token_and_readiness_says_why_not() {
    let house = House::new(&[]).await;
    let ask = |path: &'static str| {
        let call = crate::house::request(Method::GET, path).body(Body::empty()).unwrap();
        let doors = house.tcp.clone();
        async move { crate::house::Told::of(tower::ServiceExt::oneshot(doors, call).await.unwrap()).await }
    };
    assert_eq!(ask("/live").await.status, StatusCode::OK);
    assert_eq!(ask("/ready").await.json, json!({ "ready": true, "reasons": [] }));
    house.play.engine.drain(std::time::Duration::ZERO).await;
    let told = ask("/ready").await;
    assert_eq!((told.status, &told.json["reasons"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(["draining"])));
    assert_eq!(ask("/live").await.status, StatusCode::OK);
    let told = house.post("ann", "/api/sessions").json(json!({ "agent": "main" })).await;
    assert_eq!((told.status, told.code()), (StatusCode::SERVICE_UNAVAILABLE, "draining"));
    assert!(told.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_title_is_a_line_in_a_list() {
    let house = House::new(&[]).await;
    for (title, status) in [
        ("ä".repeat(200), StatusCode::CREATED),
        ("a".repeat(201), StatusCode::BAD_REQUEST),
        ("\u{1b}[2J".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        let told = house.post("ann", "/api/sessions").json(json!({ "agent": "main", "title": title })).await;
        assert_eq!(told.status, status, "{title:?}");
    }
}

#[tokio::test]
async fn growth_is_measured_over_the_last_days() {
    let house = House::new(&[Line::Say("x"), Line::Say("y")]).await;
    let status = async || house.get("oper", "/api/status").none().await.json;
    let young = status().await;
    assert_eq!((&young["growth_bytes_per_day"], &young["days_until_full"]), (&Value::Null, &Value::Null));
    house.play.stage.now.fetch_add(10 * 86_400_000, std::sync::atomic::Ordering::SeqCst);
    let at_rest = status().await;
    assert_eq!((&at_rest["growth_bytes_per_day"], &at_rest["days_until_full"]), (&json!(0), &Value::Null));
    let (_, turn) = house.say("ann", "hi").await;
    house.turn(&turn, "ended").await;
    let used = status().await;
    let size = used["db_bytes"].as_u64().unwrap() + used["wal_bytes"].as_u64().unwrap();
    let growth = used["growth_bytes_per_day"].as_u64().unwrap();
    assert!(growth > 0 && growth < size / 7, "{used}");
    assert!(used["days_until_full"].as_u64().is_some());
}

#[tokio::test]
async fn each_config_says_what_it_has_changed() {
    let house = House::new(&[]).await;
    let limits = backstay_engine::Limits { messages_per_minute: 10 };
    for (text, by) in [("as tested\nand more", "oper"), ("as tested\nand more", "oper"), ("another", "SIGHUP")] {
        house.play.engine.reload(crate::house::policy(), text, by, None, limits).await.unwrap();
    }
    assert_eq!(house.get("ann", "/api/epochs").none().await.code(), "forbidden");
    let told = house.get("oper", "/api/epochs").none().await.json;
    let epochs = told["epochs"].as_array().unwrap();
    let seen: Vec<_> =
        epochs.iter().map(|epoch| (epoch["epoch"].as_u64().unwrap(), epoch["by"].as_str().unwrap())).collect();
    assert_eq!(seen, [(3, "SIGHUP"), (2, "oper"), (1, "start")], "the same text is no new epoch");
    assert!(epochs[0]["diff"].as_str().unwrap().contains("-and more"), "{told}");
    assert!(epochs[1]["diff"].as_str().unwrap().contains("+and more"));
    assert_eq!((&epochs[2]["diff"], &told["next"]), (&Value::Null, &Value::Null));
    let page = house.get("oper", "/api/epochs?limit=1&before=3").none().await.json;
    assert_eq!((&page["epochs"][0]["epoch"], &page["next"]), (&json!(2), &json!(2)));
    let (_, turn) = house.say("ann", "hi").await;
    house.turn(&turn, "ended").await;
    assert!(house.play.engine.store().verify().unwrap().is_sound());
}

#[tokio::test]

async fn a_page_has_a_length_whatever_is_asked_for() {
    let house = House::new(&[]).await;
    let owner = backstay_sim::setting::owner();
    for n in 0..=100 {
        house.play.engine.open_session(&owner, "main", None, None).await.unwrap();
        let text = format!("# {n}");
        house.play.engine.reload(crate::house::policy(), &text, "owner", None, LIMITS).await.unwrap();
    }
    for (list, usual, most) in [("sessions", 20, 100), ("epochs", 20, 100)] {
        for (query, length) in [("", usual), ("?limit=100000", most)] {
            let page = house.get("owner", &format!("/api/{list}{query}")).none().await.json;
            assert_eq!(page[list].as_array().unwrap().len(), length, "{list}{query}");
        }
    }
}

#[tokio::test]
async fn a_page_of_records_has_a_length_too() {
    let house = House::new(&[]).await;
    let (session, mut turn) = house.say("ann", "hi").await;
    let path = format!("/api/sessions/{session}/messages");
    // At least six records each.
    for _ in 0..170 {
        house.turn(&turn, "ended").await;
        turn = house.post("ann", &path).json(json!({ "text": "hi" })).await.json["turn"].as_str().unwrap().to_owned();
    }
    house.turn(&turn, "ended").await;
    for (query, length) in [("", 100), ("?limit=100000", 1000)] {
        let page = house.get("ann", &format!("/api/sessions/{session}/records{query}")).none().await.json;
        assert_eq!(page["records"].as_array().unwrap().len(), length, "{query}");
    }
}

#[tokio::test]
async fn a_session_is_exported_to_whoever_may_see_it_and_imported_by_the_local_owner_alone() {
    let house = House::new(&[Line::Say("hello")]).await;
    let (session, turn) = house.say("ann", "hi").await;
    house.turn(&turn, "ended").await;
    let path = format!("/api/sessions/{session}/export");
    let told = house.get("ann", &path).none().await;
    assert_eq!((told.status, told.headers["content-type"].to_str().unwrap()), (StatusCode::OK, "application/x-ndjson"));
    assert_eq!(told.text, house.get("owner", &path).none().await.text);
    assert_eq!(house.get("bob", &path).none().await.status, StatusCode::NOT_FOUND);
    let other = House::new(&[]).await;
    let file = other.place.path().join("session.jsonl");
    std::fs::write(&file, &told.text).unwrap();
    let from = json!({ "from": file });
    for name in ["ann", "oper", "owner"] {
        let no = other.post(name, "/api/sessions/import").json(from.clone()).await;
        assert_eq!((no.status, &no.json["error"]["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")), "{name}");
    }
    let relative = other.locally(Method::POST, "/api/sessions/import", json!({ "from": "session.jsonl" })).await;
    assert_eq!(relative.status, StatusCode::BAD_REQUEST);
    let done = other.locally(Method::POST, "/api/sessions/import", from.clone()).await;
    assert_eq!(done.status, StatusCode::CREATED, "{}", done.text);
    assert_eq!(done.json, json!({ "session": session, "records": done.json["records"], "doubts": 0, "stopped": true }));
    let again = other.locally(Method::POST, "/api/sessions/import", from).await;
    assert_eq!((again.status, &again.json["error"]["code"]), (StatusCode::CONFLICT, &json!("session_exists")));
    assert_eq!(other.get("ann", &format!("/api/sessions/{session}")).none().await.json["state"], "stopped");
    assert_eq!(other.get("bob", &format!("/api/sessions/{session}")).none().await.status, StatusCode::NOT_FOUND);
}
