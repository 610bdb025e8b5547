//! A home with its doors, some principals and a model that says what the test has written.
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use backstay_channels::{Auth, Door, Peer, ROUTES, Reload, Reloaded, router};
use backstay_engine::{Engine, NewToken};
use backstay_kernel::home::{Speaks, TokenScope};
use backstay_kernel::policy::{Policy, Role};
use backstay_kernel::rule::{Approvers, Rule, RuleVerdict, Who};
use backstay_kernel::tool::Idempotency;
use backstay_sim::setting::{self, rule};
use backstay_sim::stage::Play;
pub use backstay_sim::stage::{LIMITS, Line, call, slowly};
use futures_core::Stream as _;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub const LISTEN: &str = "127.0.0.1:7717";
/// Of one principal.
pub const CONNECTIONS: u32 = 4;

pub fn policy() -> Policy {
    let mut policy = setting::policy(&[
        ("look", Idempotency::Pure),
        ("guarded", Idempotency::Keyed),
        ("signed", Idempotency::Keyed),
        ("for_carl", Idempotency::Keyed),
        ("for_two", Idempotency::Keyed),
        ("lost", Idempotency::Unsafe),
        ("send", Idempotency::Unsafe),
    ]);
    let people = [
        ("oper", Role::Operator),
        ("carl", Role::Approver),
        ("ann", Role::User),
        ("bob", Role::User),
        ("prom", Role::Metrics),
    ];
    policy.principals.extend(people.map(|(name, role)| (name.to_owned(), role)));
    let mut agent = policy.agents["main"].clone();
    let ask = |tool| rule(RuleVerdict::Ask, tool);
    let people = Who::Principals(["ann", "bob", "carl"].map(str::to_owned).to_vec());
    agent.rules = vec![
        Rule { reason: Some("it is dear to us".into()), ..ask("guarded") },
        Rule { speaks: Some(Speaks::Human), ..ask("signed") },
        Rule { approvers: Approvers::from(Who::Principals(vec!["carl".into()])), ..ask("for_carl") },
        Rule { approvers: Approvers { quorum: 2, but_requester: true, ..people.into() }, ..ask("for_two") },
    ]
    .into();
    agent.budget.day.tokens = Some(1_000_000);
    agent.caps.steps = 4;
    policy.agents = ["main", "other"].map(|name| (name.to_owned(), agent.clone())).into();
    policy
}

pub struct House {
    pub play: Arc<Play>,
    pub tcp: Router,
    pub local: Router,
    tokens: BTreeMap<String, [String; 4]>,
    pub place: Arc<TempDir>,
}

impl House {
    pub async fn new(lines: &[Line]) -> Self {
        Self::with(policy(), lines).await
    }

    pub async fn with(policy: Policy, lines: &[Line]) -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("workspace")).unwrap();
        std::fs::write(place.path().join("workspace/note.txt"), "a note").unwrap();
        std::fs::write(place.path().join("backstay.toml"), "# as tested\n").unwrap();
        Self::at(Arc::new(place), policy, lines).await
    }

    /// In a home that is there.
    pub async fn at(place: Arc<TempDir>, policy: Policy, lines: &[Line]) -> Self {
        let play = Play::begin(place.path(), policy.clone(), lines.to_vec()).await;
        let mut tokens = BTreeMap::new();
        for name in policy.principals.keys() {
            let new = TokenScope::ALL.map(|scope| {
                let (principal, by) = (name.clone(), "test".into());
                NewToken { principal, speaks: Speaks::Program, scope, by }
            });
            tokens.insert(name.clone(), play.engine.home().create_tokens(&policy, new, None).await.unwrap());
        }
        let (tcp, local) = doors(&play.engine, place.path());
        Self { play: Arc::new(play), tcp, local, tokens, place }
    }

    /// To talk with.
    pub fn token(&self, name: &str) -> &str {
        self.scoped(name, TokenScope::Chat)
    }

    pub fn scoped(&self, name: &str, wanted: TokenScope) -> &str {
        let at = TokenScope::ALL.iter().position(|scope| *scope == wanted).unwrap();
        &self.tokens[name][at]
    }

    /// The same home behind doors that remember nothing.
    pub fn reopened(&self) -> Self {
        let (tcp, local) = doors(&self.play.engine, self.place.path());
        let (play, place) = (Arc::clone(&self.play), Arc::clone(&self.place));
        Self { play, tcp, local, tokens: self.tokens.clone(), place }
    }

    /// A call of a principal, begun, with the token that it takes and that sees the most.
    pub fn call(&self, name: &str, method: Method, path: &str) -> Call<'_> {
        let scope = scope_of(&method, path);
        Call {
            house: self,
            call: request(method, path).header("authorization", format!("Bearer {}", self.scoped(name, scope))),
        }
    }

    pub fn get(&self, name: &str, path: &str) -> Call<'_> {
        self.call(name, Method::GET, path)
    }

    pub fn post(&self, name: &str, path: &str) -> Call<'_> {
        self.call(name, Method::POST, path)
    }

    /// As from the local socket.
    pub async fn locally(&self, method: Method, path: &str, body: Value) -> Told {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        Told::of(self.local.clone().oneshot(request(method, path).body(body).unwrap()).await.unwrap()).await
    }

    /// The same with a key.
    pub async fn locally_keyed(&self, path: &str, key: &str, body: Value) -> Told {
        let call = request(Method::POST, path).header("idempotency-key", key).body(Body::from(body.to_string()));
        Told::of(self.local.clone().oneshot(call.unwrap()).await.unwrap()).await
    }

    /// A session with one message said in it: (session, turn).
    pub async fn say(&self, name: &str, text: &str) -> (String, String) {
        let opened = self.post(name, "/api/sessions").json(json!({ "agent": "main" })).await;
        assert_eq!(opened.status, StatusCode::CREATED, "{}", opened.text);
        let session = opened.json["session"].as_str().unwrap().to_owned();
        let said = self.post(name, &format!("/api/sessions/{session}/messages")).json(json!({ "text": text })).await;
        assert_eq!(said.status, StatusCode::ACCEPTED, "{}", said.text);
        (session, said.json["turn"].as_str().unwrap().to_owned())
    }

    /// The turn, once it is in this state.
    pub async fn turn(&self, turn: &str, state: &str) -> Value {
        let session = backstay_kernel::id::Place::parse(turn).unwrap().session;
        let mut events = self.play.engine.subscribe(Role::Owner, session).await.unwrap();
        loop {
            let told = self.get("owner", &format!("/api/turns/{turn}")).none().await;
            if told.json["state"] == state {
                return told.json;
            }
            assert_ne!(told.json["state"], "ended", "{}", told.text);
            let _ = events.recv().await;
        }
    }
}

fn scope_of(method: &Method, path: &str) -> TokenScope {
    let is_it = |pattern: &str| {
        let (parts, given) = (pattern.split('/'), path.split('?').next().unwrap_or_default().split('/'));
        parts.clone().count() == given.clone().count() && parts.zip(given).all(|(a, b)| a == "{id}" || a == b)
    };
    let found = ROUTES.iter().find(|route| route.method == method && is_it(route.path));
    let scopes = found.map_or(&[][..], |route| route.scopes);
    let observes = scopes.contains(&TokenScope::Observe).then_some(TokenScope::Observe);
    observes.or(scopes.first().copied()).unwrap_or_default()
}

/// For callers from outside, and for the local user.
fn doors(engine: &Engine, home: &Path) -> (Router, Router) {
    let reload: Reload = Arc::new(|by, _| {
        Box::pin(async move {
            if by == "oper" {
                return Err("line 3: unknown key".to_owned());
            }
            Ok(Reloaded { epoch: 2, changed: true, needs_restart: vec!["server.listen"], connections_per_principal: 8 })
        })
    });
    let door = Door::new(engine.clone(), home.to_owned(), CONNECTIONS, reload);
    let door = door.protecting(|path| path.ends_with("/signed"));
    let proxies: [IpAddr; 1] = [[10, 0, 0, 1].into()];
    let auth = Auth::Bearer { listen: LISTEN.parse().unwrap(), trusted_proxies: proxies.into() };
    (router(door.clone(), auth), router(door, Auth::Local))
}

pub fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("host", LISTEN).extension(Peer([192, 0, 2, 1].into()))
}

pub struct Call<'a> {
    house: &'a House,
    call: http::request::Builder,
}

impl Call<'_> {
    pub fn header(self, name: &str, value: &str) -> Self {
        Self { call: self.call.header(name, value), ..self }
    }

    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub async fn json(self, body: Value) -> Told {
        Told::of(self.raw(Body::from(body.to_string())).await).await
    }

    pub async fn none(self) -> Told {
        Told::of(self.raw(Body::empty()).await).await
    }

    pub async fn frames(self, body: Option<Value>) -> (HeaderMap, Frames) {
        let response = self.raw(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (parts, body) = response.into_parts();
        (parts.headers, Frames { stream: body.into_data_stream(), buffer: String::new() })
    }

    pub async fn raw(self, body: Body) -> http::Response<Body> {
        self.house.tcp.clone().oneshot(self.call.body(body).unwrap()).await.unwrap()
    }
}

#[derive(Debug)]
pub struct Told {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Told {
    pub async fn of(response: http::Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Self { status: parts.status, headers: parts.headers, text, json }
    }

    pub fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }
}

/// One event of a stream.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Frame {
    pub id: Option<u64>,
    pub event: String,
    pub data: String,
}

impl Frame {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

pub struct Frames {
    stream: BodyDataStream,
    buffer: String,
}

impl Frames {
    /// The next event, or none at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((block, rest)) = self.buffer.clone().split_once("\n\n") {
                self.buffer = rest.to_owned();
                let field =
                    |name: &str| block.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().to_owned()));
                let Some(data) = field("data:") else { continue };
                let id = field("id:").map(|id| id.parse().unwrap());
                return Some(Frame { id, event: field("event:").unwrap_or_default(), data });
            }
            let chunk = poll_fn(|context| Pin::new(&mut self.stream).poll_next(context)).await?;
            self.buffer.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    pub async fn until(&mut self, event: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            let last = frame.event == event;
            frames.push(frame);
            if last {
                break;
            }
        }
        frames
    }

    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}
