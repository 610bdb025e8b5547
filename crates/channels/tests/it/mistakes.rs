//! Requests that are wrong, hostile or very slow, and what each is told.
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::house::{House, Told};
use backstay_channels::{Listening, serve_tcp};

/// All that a listener answers to these bytes, until it hangs up.
async fn answers(house: &House, bytes: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let listening = Listening { tls: None, trusted_proxies: [].into(), router: house.tcp.clone(), stopped };
    tokio::spawn(serve_tcp(listener, listening));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told).await;
    String::from_utf8_lossy(&told).into_owned()
}

fn sessions(house: &House) -> u64 {
    house.play.engine.store().stats().unwrap().sessions - 1
}

/// A request that would open a session if it were taken, with these lines in its head.
fn opening(house: &House, lines: &str, body: &str) -> String {
    let token = house.token("ann");
    format!("POST /api/sessions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n{lines}\r\n{body}")
}

const OPEN: &str = "{\"agent\":\"main\"}";

#[tokio::test(start_paused = true)]
async fn requests_of_two_lengths_are_one_or_none() {
    let house = House::new(&[]).await;
    let inner = opening(&house, "content-length: 16\r\n", OPEN);
    let chunked = format!("10\r\n{OPEN}\r\n0\r\n\r\n{inner}");
    let long = format!("content-length: {}\r\n", chunked.len());
    for (lines, body, refused) in [
        ("transfer-encoding: xchunked\r\n".into(), chunked.as_str(), true),
        ("transfer-encoding: chunked, identity\r\n".into(), chunked.as_str(), true),
        ("content-length: 16\r\ncontent-length: 17\r\n".into(), OPEN, true),
        ("content-length: +16\r\n".into(), OPEN, true),
        ("content-length: 16, 16\r\n".into(), OPEN, true),
        ("content-length : 16\r\n".into(), OPEN, true),
        ("content-length: 0x10\r\n".into(), OPEN, true),
        ("x: a\r\n content-length: 16\r\n".into(), OPEN, true),
        // Read as one chunked request; whatever stands behind it is not read at all.
        (format!("transfer-encoding: chunked\r\n{long}"), chunked.as_str(), false),
        (format!("{long}transfer-encoding: chunked\r\n"), chunked.as_str(), false),
        ("transfer-encoding: chunked\r\n".into(), chunked.as_str(), false),
    ] {
        let before = sessions(&house);
        let told = answers(&house, &opening(&house, &lines, body)).await;
        let created = told.matches("HTTP/1.1 201").count();
        assert_eq!(told.matches("HTTP/1.1").count(), 1, "{lines:?}: {told}");
        assert_eq!(created == 0, refused, "{lines:?}: {told}");
        assert_eq!(sessions(&house) - before, created as u64, "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn absurd_heads_are_refused() {
    let house = House::new(&[]).await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    for lines in
        [many.as_str(), "x: \u{1}\r\n", "bad name: x\r\n", ": x\r\n", "expect: 200-maybe\r\ncontent-length: zwei\r\n"]
    {
        let told = answers(&house, &opening(&house, lines, OPEN)).await;
        assert!(told.starts_with("HTTP/1.1 4") || told.is_empty(), "{lines:.40}: {told}");
    }
    for line in ["GET  / HTTP/1.1", "GET /live HTTP/3.0", "\u{0}", "PRI * HTTP/2.0", "GET http:// HTTP/1.1"] {
        let told = answers(&house, &format!("{line}\r\nhost: 127.0.0.1\r\n\r\n")).await;
        assert!(told.is_empty() || !told.contains("HTTP/1.1 200"), "{line:?}: {told}");
    }
    assert_eq!(sessions(&house), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_not_waited_for() {
    let house = House::new(&[]).await;
    let begun = tokio::time::Instant::now();
    let told = answers(&house, &opening(&house, "content-length: 16\r\n", "{\"agent\"")).await;
    assert!(told.starts_with("HTTP/1.1 408") && told.contains("\"too_slow\""), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(sessions(&house), 0);
}

#[tokio::test]
async fn a_body_is_json_whatever_its_label_says() {
    let house = House::new(&[]).await;
    for label in ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        let told =
            house.post("ann", "/api/sessions").header("content-type", label).json(json!({ "agent": "main" })).await;
        assert_eq!(told.status, StatusCode::CREATED, "{label}: {}", told.text);
    }
    for body in [
        "agent=main",
        "--x\r\ncontent-disposition: form-data\r\n",
        "\u{feff}{\"agent\":\"main\"}",
        "{\"agent\":\"main\"}{}",
    ] {
        let told = Told::of(house.post("ann", "/api/sessions").raw(Body::from(body.to_owned())).await).await;
        assert_eq!((told.status, told.code()), (StatusCode::BAD_REQUEST, "malformed"), "{body}");
    }
    let invalid = Body::from(vec![b'{', 0xff, b'}']);
    assert_eq!(Told::of(house.post("ann", "/api/sessions").raw(invalid).await).await.code(), "malformed");
}

#[tokio::test]
async fn names_of_nothing_are_not_found_and_bad_pages_are_malformed() {
    let house = House::new(&[]).await;
    let told = house.post("ann", "/api/sessions").json(json!({ "agent": "nobody" })).await;
    assert_eq!((told.status, told.code()), (StatusCode::NOT_FOUND, "unknown_agent"));
    assert!(told.json["error"]["next"].as_str().unwrap().contains("main"), "{}", told.text);
    let long = house.post("ann", "/api/sessions").json(json!({ "agent": "é".repeat(10_000) })).await;
    assert_eq!(long.json["error"]["message"], format!("there is no agent `{}`", "é".repeat(64)));
    let chat = json!({ "model": "nobody", "messages": [{ "role": "user", "content": "x" }] });
    assert_eq!(house.post("ann", "/v1/chat/completions").json(chat).await.code(), "unknown_agent");
    for path in [
        "/api/sessions/0123456789abcdef",
        "/api/sessions/%00",
        "/api/sessions/..%2f..",
        "/api/turns/1",
        "/api/turns/-.-",
    ] {
        let told = house.get("ann", path).none().await;
        assert_eq!((told.status, told.code()), (StatusCode::NOT_FOUND, "not_found"), "{path}");
    }
    let session = house.post("ann", "/api/sessions").json(json!({ "agent": "main" })).await.json["session"].clone();
    let records = format!("/api/sessions/{}/records", session.as_str().unwrap());
    for path in [
        "/api/sessions?after=nonsense".to_owned(),
        "/api/sessions?after=".into(),
        "/api/sessions?limit=-1".into(),
        "/api/sessions?limit=1&limit=2".into(),
        "/api/sessions?limit=99999999999999999999999".into(),
        format!("{records}?after=-1"),
        format!("{records}?after=1.5"),
        format!("{records}?limit=%00"),
    ] {
        let told = house.get("ann", &path).none().await;
        assert_eq!((told.status, told.code()), (StatusCode::BAD_REQUEST, "malformed"), "{path}: {}", told.text);
    }
    let none = house.get("ann", "/api/sessions?after=zzzzzzzzzzzzzzzz").none().await;
    assert!(none.status == StatusCode::BAD_REQUEST || none.json["sessions"] == json!([]), "{}", none.text);
    let past = house.get("ann", &format!("{records}?after=18446744073709551615")).none().await.json;
    assert_eq!(past, json!({ "records": [], "next": null }));
    let least = house.get("ann", "/api/sessions?limit=0").none().await.json;
    assert_eq!(least["sessions"].as_array().unwrap().len(), 1, "a page has at least one");
}

#[tokio::test]
async fn a_long_list_is_walked_page_by_page_and_each_is_met_once() {
    let house = House::new(&[]).await;
    for _ in 0..230 {
        let told = house.post("ann", "/api/sessions").json(json!({ "agent": "main" })).await;
        assert_eq!(told.status, StatusCode::CREATED);
    }
    let (mut met, mut after, mut pages) = (std::collections::BTreeSet::new(), String::new(), 0);
    loop {
        let page = house.get("ann", &format!("/api/sessions?limit=100000{after}")).none().await.json;
        let items = page["sessions"].as_array().unwrap();
        assert!(items.len() <= 100);
        pages += 1;
        assert!(items.iter().all(|item| met.insert(item["session"].as_str().unwrap().to_owned())));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!((met.len(), pages), (230, 3));
}

#[tokio::test]
async fn a_page_of_records_is_bounded_in_bytes_and_goes_on() {
    let house = House::new(&[]).await;
    let session = house.post("ann", "/api/sessions").json(json!({ "agent": "main" })).await.json["session"].clone();
    let session = session.as_str().unwrap();
    let text = "x".repeat(900_000);
    for _ in 0..8 {
        let path = format!("/api/sessions/{session}/messages");
        assert_eq!(house.post("ann", &path).json(json!({ "text": text })).await.status, StatusCode::ACCEPTED);
    }
    let (mut after, mut met, mut admitted) = (0, 0, 0);
    loop {
        let path = format!("/api/sessions/{session}/records?limit=1000&after={after}");
        let told = house.get("ann", &path).none().await;
        assert!(told.text.len() < 1_500_000, "{}", told.text.len());
        for record in told.json["records"].as_array().unwrap() {
            met += 1;
            assert_eq!(record["seq"], met, "in order, none left out");
            admitted += usize::from(record["kind"] == "admitted");
        }
        let Some(next) = told.json["next"].as_u64() else { break };
        after = next;
    }
    assert_eq!(admitted, 8);
}

#[tokio::test]
async fn a_body_is_an_object_and_no_name_of_the_program_is_shown() {
    let house = House::new(&[]).await;
    let chat = |field: &str, value: Value| {
        let mut body = json!({"model": "main", "messages": [{"role": "user", "content": "hi"}]});
        body[field] = value;
        body
    };
    for (path, body) in [
        ("/api/sessions", json!(["main", "t"])),
        ("/api/sessions", json!("main")),
        ("/api/sessions", json!(null)),
        ("/v1/chat/completions", json!(["main", [["user", "hi"]]])),
        ("/v1/chat/completions", chat("messages", json!([3]))),
        ("/v1/chat/completions", chat("messages", json!([{"role": "user", "content": 3}]))),
        ("/v1/chat/completions", chat("stream_options", json!(3))),
    ] {
        let told = house.post("ann", path).json(body.clone()).await;
        assert_eq!((told.status, told.code()), (StatusCode::BAD_REQUEST, "malformed"), "{body}: {}", told.text);
        let is_internal = ["struct", "enum", "variant"].iter().any(|word| told.text.contains(word));
        assert!(!is_internal, "{body}: {}", told.text);
    }
    let padded = Body::from(" \n{\"agent\": \"main\"}");
    assert_eq!(house.post("ann", "/api/sessions").raw(padded).await.status(), StatusCode::CREATED);
}
