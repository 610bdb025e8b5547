//! Who gets in, and how far.
use std::sync::atomic::Ordering;

use axum::body::Body;
use backstay_channels::{Needs, Peer, ROUTES, Route};
use backstay_kernel::home::TokenScope;
use http::{Method, StatusCode};
use serde_json::json;
use tower::ServiceExt as _;

use crate::house::{House, Told, policy, request};

/// A path of this route that names nothing that exists.
fn path(route: &Route) -> String {
    let id = if route.path.contains("/sessions/") || route.path.contains("/tokens/") {
        "0123456789abcdef"
    } else {
        "0123456789abcdef.1"
    };
    route.path.replace("{id}", id)
}

/// All routes, with a minute between them, so that failures do not add up.
async fn on_all(house: &House, doors: &[&Route], headers: &[(&str, &str)]) -> Vec<Told> {
    let mut told = Vec::new();
    for route in doors {
        let mut call = request(route.method.clone(), &path(route));
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        house.play.stage.now.fetch_add(60_000, Ordering::SeqCst);
        told.push(answered(house.tcp.clone().oneshot(call.body(Body::from("{}")).unwrap()).await.unwrap()).await);
    }
    told
}

/// A stream goes on for as long as somebody reads: of that its head is enough.
async fn answered(response: http::Response<Body>) -> Told {
    let streams = response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
    Told::of(if streams { response.map(|_| Body::empty()) } else { response }).await
}

#[tokio::test(start_paused = true)]
async fn every_call_but_two_refuses_who_has_no_token() {
    let house = House::new(&[]).await;
    let closed: Vec<&Route> = ROUTES.iter().filter(|route| route.needs != Needs::Nobody).collect();
    assert_eq!(ROUTES.len() - closed.len(), 2, "only /live and /ready are open");
    let owner = format!("Bearer {}", house.token("owner"));
    let unlike = format!("Bearer {}x", house.token("owner"));
    let basic = format!("Basic {}", house.token("owner"));
    for headers in [
        &[][..],
        &[("authorization", "Bearer bks_0000000000000000")],
        &[("authorization", unlike.as_str())],
        &[("authorization", basic.as_str())],
        &[("authorization", owner.as_str()), ("authorization", "Bearer bks_0000")],
        &[("x-api-key", house.token("owner")), ("cookie", owner.as_str())],
    ] {
        for (route, told) in closed.iter().zip(on_all(&house, &closed, headers).await) {
            assert_eq!((told.status, told.code()), (StatusCode::UNAUTHORIZED, "unauthorized"), "{route:?} {headers:?}");
            assert!(!told.text.contains("bks_"), "a credential is not said back");
        }
    }
    assert_eq!(house.play.engine.store().stats().unwrap().sessions, 1, "nothing was opened");
}

#[tokio::test(start_paused = true)]
async fn unknown_calls_ask_for_a_token_first_too() {
    let house = House::new(&[]).await;
    let told = Told::of(
        house.tcp.clone().oneshot(request(Method::GET, "/api/nothing").body(Body::empty()).unwrap()).await.unwrap(),
    )
    .await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED);
    let told = house.get("ann", "/api/nothing").none().await;
    assert_eq!((told.status, told.code()), (StatusCode::NOT_FOUND, "not_found"));
    let told = house.call("ann", Method::DELETE, "/api/sessions").none().await;
    assert_eq!((told.status, told.code()), (StatusCode::METHOD_NOT_ALLOWED, "wrong_method"));
}

#[tokio::test(start_paused = true)]
async fn every_call_is_for_the_roles_that_the_table_says() {
    let house = House::new(&[]).await;
    for name in ["owner", "oper", "carl", "ann", "prom"] {
        for route in &ROUTES {
            let bearer = format!("Bearer {}", house.scoped(name, route.scopes.first().copied().unwrap_or_default()));
            let told = on_all(&house, &[route], &[("authorization", bearer.as_str())]).await.remove(0);
            let allowed = match route.needs {
                Needs::Nobody => true,
                Needs::Speaker => name != "prom",
                Needs::Operator => matches!(name, "owner" | "oper"),
                Needs::Owner => name == "owner",
                Needs::LocalOwner => false,
                Needs::Scraper => matches!(name, "owner" | "prom"),
            };
            assert_ne!(told.status, StatusCode::UNAUTHORIZED, "{name} {route:?}");
            assert_eq!(told.code() != "forbidden", allowed, "{name} {route:?} {}", told.text);
        }
    }
}

/// Every call, and the tokens that may make it.
const SCOPES: &str = "
    GET /live: chat observe approve operate
    GET /ready: chat observe approve operate
    GET /metrics: observe
    POST /api/sessions: chat
    GET /api/sessions: chat observe operate
    GET /api/sessions/{id}: chat observe operate
    POST /api/sessions/{id}/messages: chat
    GET /api/sessions/{id}/events: chat observe
    GET /api/sessions/{id}/records: chat observe
    GET /api/sessions/{id}/export: observe
    POST /api/sessions/import: operate
    POST /api/sessions/{id}/stop: operate
    POST /api/sessions/{id}/resume: operate
    GET /api/turns/{id}: chat observe
    GET /api/turns/{id}/trace: observe
    POST /api/turns/{id}/cancel: chat
    GET /api/approvals: approve
    GET /api/approvals/{id}: approve
    POST /api/approvals/{id}: approve
    POST /api/approvals/{id}/edit: approve
    GET /api/standing: approve
    POST /api/standing/{id}/revoke: approve
    GET /api/questions: chat
    POST /api/questions/{id}: chat
    GET /api/doubts: observe operate
    POST /api/doubts/{id}: operate
    GET /api/waits: observe operate
    POST /api/home/freeze: operate
    POST /api/home/unfreeze: operate
    POST /api/home/stop: operate
    POST /api/home/mode: operate
    GET /api/status: observe operate
    GET /api/budget: observe operate
    GET /api/epochs: observe operate
    POST /api/reload: operate
    POST /api/backup: operate
    GET /api/roots: observe operate
    POST /api/roots/reset: operate
    GET /api/tokens: operate
    POST /api/tokens: operate
    POST /api/tokens/{id}/revoke: operate
    GET /v1/models: chat
    POST /v1/chat/completions: chat
";

/// A call that is not in the list fails here, and one without scopes is no route.
#[tokio::test(start_paused = true)]
async fn every_call_takes_the_tokens_that_were_made_for_it() {
    let house = House::new(&[]).await;
    let rows: Vec<(&str, &str)> = SCOPES.trim().lines().map(|row| row.trim().split_once(": ").unwrap()).collect();
    assert_eq!(rows.len(), ROUTES.len());
    for route in &ROUTES {
        let named = format!("{} {}", route.method, route.path);
        let (_, takes) =
            rows.iter().find(|(name, _)| *name == named).unwrap_or_else(|| panic!("{named} is not listed"));
        for scope in TokenScope::ALL {
            let bearer = format!("Bearer {}", house.scoped("owner", scope));
            let told = on_all(&house, &[route], &[("authorization", bearer.as_str())]).await.remove(0);
            let refused = (told.status, told.code()) == (StatusCode::FORBIDDEN, "wrong_scope");
            assert_eq!(refused, !takes.split(' ').any(|word| word == scope.word()), "{named} {scope:?} {}", told.text);
        }
        let body = Body::from("{}");
        let here = request(route.method.clone(), &path(route)).body(body).unwrap();
        let here = answered(house.local.clone().oneshot(here).await.unwrap()).await;
        assert_ne!(here.code(), "wrong_scope", "at the local socket there are no tokens: {named}");
    }
    let acts = ROUTES.iter().filter(|route| route.method == Method::POST);
    assert!(acts.clone().all(|route| route.scopes.len() == 1), "what is done is for one scope alone");
    assert!(acts.into_iter().all(|route| route.scopes != [TokenScope::Observe]), "whoever looks changes nothing");
}

/// Told once to one token, an answer is kept for its principal; a token that is not for the call does not get it.
#[tokio::test(start_paused = true)]
async fn a_kept_answer_is_not_for_a_token_of_another_scope() {
    let house = House::new(&[]).await;
    let freeze = |scope| {
        let call = request(Method::POST, "/api/home/freeze").header("idempotency-key", "f");
        let call = call.header("authorization", format!("Bearer {}", house.scoped("oper", scope)));
        let call = house.tcp.clone().oneshot(call.body(Body::empty()).unwrap());
        async move { Told::of(call.await.unwrap()).await }
    };
    assert_eq!(freeze(TokenScope::Operate).await.status, StatusCode::OK);
    let told = freeze(TokenScope::Chat).await;
    assert_eq!(told.code(), "wrong_scope");
    assert!(told.json["error"]["next"].as_str().unwrap().contains("--scope operate"), "{}", told.text);
}

/// Nor what was answered at the machine for a token that comes from elsewhere, be it of the same owner.
#[tokio::test]
async fn a_token_that_was_made_at_the_machine_is_told_there_alone() {
    let house = House::new(&[]).await;
    let new = json!({ "principal": "oper", "speaks": "human", "scope": "approve" });
    let made = house.locally_keyed("/api/tokens", "k", new.clone()).await;
    assert!(made.json["token"].is_string(), "{}", made.text);
    let asked = request(Method::POST, "/api/tokens").header("idempotency-key", "k");
    let asked = asked.header("authorization", format!("Bearer {}", house.scoped("owner", TokenScope::Operate)));
    let asked = asked.header("content-type", "application/json").body(Body::from(new.to_string())).unwrap();
    let told = Told::of(house.tcp.clone().oneshot(asked).await.unwrap()).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN, "{}", told.text);
    assert!(!told.text.contains(made.json["token"].as_str().unwrap()));
}

/// An owner's token that is there to talk is no way into the talks of others.
#[tokio::test]
async fn with_a_token_to_talk_one_sees_ones_own_sessions_alone() {
    let house = House::new(&[crate::house::Line::Say("hello")]).await;
    let (session, turn) = house.say("ann", "hi").await;
    house.turn(&turn, "ended").await;
    let with = |scope, path: String| {
        let call = request(Method::GET, &path);
        let call = call.header("authorization", format!("Bearer {}", house.scoped("owner", scope)));
        let call = house.tcp.clone().oneshot(call.body(Body::empty()).unwrap());
        async move { Told::of(call.await.unwrap()).await }
    };
    let path = format!("/api/sessions/{session}");
    assert_eq!(with(TokenScope::Observe, path.clone()).await.status, StatusCode::OK);
    assert_eq!(with(TokenScope::Chat, path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(with(TokenScope::Chat, "/api/sessions".into()).await.json["sessions"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_whatever_else_is_sent_and_then_refused_unheard() {
    let house = House::new(&[]).await;
    let from = |address: [u8; 4], tokens: &[&str]| {
        let mut call = request(Method::GET, "/api/sessions");
        for token in tokens {
            call = call.header("authorization", format!("Bearer {token}"));
        }
        let mut call = call.body(Body::empty()).unwrap();
        call.extensions_mut().insert(Peer(address.into()));
        let doors = house.tcp.clone();
        async move { Told::of(doors.oneshot(call).await.unwrap()).await }
    };
    let attacker = [203, 0, 113, 7];
    for n in 0..20 {
        let tokens: &[&str] = match n % 3 {
            0 => &["bks_wrong"],
            1 => &["bks_wrong", "bks_other"],
            _ => &[],
        };
        assert_eq!(from(attacker, tokens).await.status, StatusCode::UNAUTHORIZED);
    }
    let told = from(attacker, &["bks_else", "bks_more"]).await;
    assert_eq!((told.status, told.code()), (StatusCode::TOO_MANY_REQUESTS, "too_many_failures"));
    assert!(told.headers.contains_key("retry-after"));
    assert_eq!(from([203, 0, 113, 8], &["bks_else"]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(from(attacker, &[house.token("ann")]).await.status, StatusCode::OK, "nobody locks the others out");
}

#[tokio::test(start_paused = true)]
async fn behind_a_trusted_proxy_the_client_is_counted() {
    let house = House::new(&[]).await;
    let from = |client: &str| {
        let call = request(Method::GET, "/api/sessions").header("x-forwarded-for", format!("10.9.9.9, {client}"));
        let mut call = call.body(Body::empty()).unwrap();
        call.extensions_mut().insert(Peer([10, 0, 0, 1].into()));
        let doors = house.tcp.clone();
        async move { Told::of(doors.oneshot(call).await.unwrap()).await.status }
    };
    for _ in 0..20 {
        assert_eq!(from("203.0.113.1").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(from("203.0.113.1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from("203.0.113.2").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_worth_what_its_principal_is_now() {
    let house = House::new(&[]).await;
    assert_eq!(house.get("ann", "/api/sessions").none().await.status, StatusCode::OK);
    let mut without = policy();
    without.principals.remove("ann");
    let limits = backstay_engine::Limits { messages_per_minute: 10 };
    house.play.engine.reload(without, "without ann", "test", None, limits).await.unwrap();
    assert_eq!(house.get("ann", "/api/sessions").none().await.status, StatusCode::UNAUTHORIZED);

    let id: String = house.scoped("bob", TokenScope::Observe).chars().take(12).collect();
    let path = format!("/api/tokens/{id}/revoke");
    assert_eq!(house.post("oper", &path).none().await.code(), "forbidden");
    assert_eq!(house.post("owner", &path).none().await.status, StatusCode::OK);
    assert_eq!(house.get("bob", "/api/sessions").none().await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(house.post("owner", &path).none().await.code(), "no_such_token");
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away() {
    let house = House::new(&[]).await;
    let told = house.get("owner", "/api/status").header("origin", "https://evil.example").none().await;
    assert_eq!((told.status, told.code()), (StatusCode::FORBIDDEN, "foreign_origin"));
    let told = house.get("owner", "/api/status").header("origin", "http://127.0.0.1:7717").none().await;
    assert_eq!(told.status, StatusCode::OK);
    let bent = request(Method::GET, "/api/status").header("host", "evil.example:7717").body(Body::empty()).unwrap();
    assert_eq!(Told::of(house.tcp.clone().oneshot(bent).await.unwrap()).await.code(), "foreign_host");
}

#[tokio::test]
async fn nobody_can_say_who_they_are_or_what_they_may() {
    let house = House::new(&[]).await;
    for field in ["senderIsOwner", "role", "scopes", "principal", "channel", "agent_instructions"] {
        let told = house.post("ann", "/api/sessions").json(json!({ "agent": "main", field: "owner" })).await;
        assert_eq!((told.status, told.code()), (StatusCode::BAD_REQUEST, "malformed"), "{field}");
        assert!(told.text.contains(field), "the mistake is named: {}", told.text);
    }
    let (session, _) = house.say("ann", "hi").await;
    let path = format!("/api/sessions/{session}/messages");
    let told = house.post("ann", &path).json(json!({ "text": "x", "senderIsOwner": true })).await;
    assert_eq!(told.status, StatusCode::BAD_REQUEST);
    for path in [format!("/api/sessions/{session}/stop"), "/api/home/freeze".into(), "/api/reload".into()] {
        let told = house.post("owner", &path).json(json!({ "force": true })).await;
        assert_eq!(told.code(), "malformed", "{path}");
    }
    assert_eq!(house.get("owner", "/api/sessions?principal=ann").none().await.code(), "malformed");
}

#[tokio::test]
async fn bodies_are_bounded_and_bad_json_is_said_to_be() {
    let house = House::new(&[]).await;
    let giant = json!({ "agent": "main", "title": "x".repeat(1024 * 1024) }).to_string();
    for declared in [true, false] {
        let call = house.post("ann", "/api/sessions");
        let call = if declared { call.header("content-length", &giant.len().to_string()) } else { call };
        let told = Told::of(call.raw(Body::from(giant.clone())).await).await;
        assert_eq!((told.status, told.code()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    }
    for bad in
        ["{", "[]", "null", "{\"agent\":1}", "{\"agent\":\"main\",\"agent\":\"main\"}", "\u{0}", &"[".repeat(100_000)]
    {
        let told = Told::of(house.post("ann", "/api/sessions").raw(Body::from(bad.to_owned())).await).await;
        assert_eq!((told.status, told.code()), (StatusCode::BAD_REQUEST, "malformed"), "{}", told.text);
    }
}

#[tokio::test]
async fn sessions_of_others_are_not_there() {
    let house = House::new(&[crate::house::Line::Say("hello")]).await;
    let (session, turn) = house.say("ann", "a secret of ann").await;
    house.turn(&turn, "ended").await;
    for route in ROUTES.iter().filter(|route| route.path.contains("{id}") && !route.path.contains("/tokens/")) {
        let id = if route.path.contains("/sessions/") { &session } else { &turn };
        let path = route.path.replace("{id}", id);
        let body = match route.path {
            "/api/sessions/{id}/messages" | "/api/questions/{id}" => json!({ "text": "x" }),
            "/api/approvals/{id}" => json!({ "decision": "approve", "digest": "0".repeat(64) }),
            "/api/approvals/{id}/edit" => json!({ "digest": "0".repeat(64), "arguments": {} }),
            _ => json!({}),
        };
        let theirs = house.call("ann", route.method.clone(), &path).raw(Body::from(body.to_string())).await.status();
        for stranger in ["bob", "carl"] {
            let told = house.call(stranger, route.method.clone(), &path).json(body.clone()).await;
            if route.needs == Needs::Operator {
                assert_eq!(told.code(), "forbidden", "{route:?}");
                continue;
            }
            assert_eq!(told.status, StatusCode::NOT_FOUND, "{stranger} {route:?} {} ({theirs})", told.text);
            assert!(!told.text.contains("secret"));
        }
    }
    let path = format!("/api/sessions/{session}");
    assert_eq!(house.get("oper", &path).none().await.status, StatusCode::OK);
    assert_eq!(house.get("bob", "/api/sessions").none().await.json["sessions"], json!([]));
    assert_eq!(house.get("owner", "/api/sessions").none().await.json["sessions"].as_array().unwrap().len(), 1);
    let chat = json!({ "model": "main", "messages": [{ "role": "user", "content": "x" }] });
    let told = house.post("bob", "/v1/chat/completions").header("x-backstay-session", &session).json(chat).await;
    assert_eq!(told.status, StatusCode::NOT_FOUND);
    let home = "/api/sessions/0000000000000000";
    assert_eq!(house.get("owner", home).none().await.status, StatusCode::NOT_FOUND, "the home's stream is no session");
}
