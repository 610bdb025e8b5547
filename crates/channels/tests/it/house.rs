//! A home with its doors, some principals and a model that says what the test has written.
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use backstay_channels::{Auth, Door, Peer, Reload, Reloaded, router};
use backstay_engine::*;
use backstay_engine::{Store, StoreOptions as Options};
use backstay_kernel::Permit;
use backstay_kernel::budget::{Budget, Ceiling, Price, Usage};
use backstay_kernel::context::{Answer, Item};
use backstay_kernel::effect::{FailureClass, Finish, Probed};
use backstay_kernel::facts::{Access, Facts, PathFact};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{BodyRef, Millis};
use backstay_kernel::policy::{Agent, Caps, Grants, InDoubt, Model, Policy, Role};
use backstay_kernel::request::Piece;
use backstay_kernel::rule::{Approvers, Field, Rule, RuleVerdict, Test};
use backstay_kernel::tool::{Answerer, EffectClass, Idempotency, Manifest};
use futures_core::Stream as _;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tower::ServiceExt as _;

pub const LISTEN: &str = "127.0.0.1:7717";
/// Of one principal.
pub const CONNECTIONS: u32 = 4;

/// What the model does when it is called.
#[derive(Clone)]
pub enum Line {
    Say(&'static str),
    /// Says the first part, waits for [`World::go`], says the rest.
    Slowly(&'static str, &'static str),
    /// Says something, fails, and is called again.
    Break(&'static str),
    Fail(FailureClass),
    /// Says something, waits for [`World::go`], and calls a tool.
    SlowlyCall(&'static str, &'static str),
    /// Says something and calls a tool.
    Call(&'static str, &'static str, &'static str),
}

pub struct Script {
    pub lines: Mutex<VecDeque<Line>>,
    pub sent: Mutex<Vec<String>>,
    pub go: Notify,
    pub now: AtomicU64,
    /// The call of `stuck` that takes it ends with its sender.
    pub stuck: Mutex<Option<mpsc::Receiver<()>>>,
    random: AtomicU64,
}

struct TestWorld(Arc<Script>);

impl World for TestWorld {
    fn now(&self) -> Millis {
        self.0.now.load(Ordering::SeqCst)
    }

    fn random(&self) -> u64 {
        let mut z = self.0.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn envelope(&self, policy: &Policy, agent: &str, _: &str, most: u64) -> Envelope {
        let head = format!("{{\"instructions\":{:?},\"messages\":[", policy.agents[agent].instructions);
        Envelope { head, lead: None, tail: format!("],\"max\":{most}}}") }
    }

    fn item(
        &self,
        _: &Policy,
        _: &str,
        item: &Item,
        bodies: &dyn Fn(&BodyRef) -> Option<Bytes>,
    ) -> Result<Fragment, BodyRef> {
        let escaped = |role: &str, body: &BodyRef| -> Result<Fragment, BodyRef> {
            let text = bodies(body).ok_or(*body)?;
            let mut wire = format!("{{\"{role}\":\"");
            backstay_kernel::request::escape(&String::from_utf8_lossy(&text), &mut wire);
            wire.push_str("\"}");
            let pieces =
                vec![Piece::Text(format!("{{\"{role}\":\"")), Piece::Escaped(*body), Piece::Text("\"}".into())];
            Ok(Fragment { wire, pieces })
        };
        let plain =
            |value: Value| Ok(Fragment { wire: value.to_string(), pieces: vec![Piece::Text(value.to_string())] });
        match item {
            Item::User { body, .. } => escaped("user", body),
            Item::Assistant { text: Some(text), .. } => escaped("said", text),
            Item::Assistant { text: None, .. } => plain(json!({ "said": null })),
            Item::Results { answers, .. } => match answers.first() {
                Some(Answer::Body { body, .. }) => escaped("result", body),
                Some(Answer::Note(note)) => plain(json!({ "note": note.text() })),
                None => plain(json!({})),
            },
            Item::Notice(notice) => plain(json!({ "notice": notice.text() })),
        }
    }

    fn inspect(&self, call: &ToolCall) -> Result<Facts, Refused> {
        let class = manifests()[&call.tool].class;
        let access = if class == EffectClass::Read { Access::Read } else { Access::Write };
        let paths = vec![PathFact { access, real: format!("/desk/{}", call.tool) }];
        Ok(Facts { class, paths, probe: None })
    }

    fn probe(&self, _: &ToolCall, _: &Facts) -> Probed {
        Probed::NotDone
    }

    fn run_tool(&self, _: Permit, call: &ToolCall, _: &Facts) -> ToolRan {
        if call.tool == "lost" {
            return ToolRan::Unknown;
        }
        if call.tool == "stuck" {
            let stuck = self.0.stuck.lock().unwrap().take().unwrap();
            let _ = stuck.recv();
        }
        ToolRan::Done { text: format!("{} did it", call.tool), spill: None, memory: None }
    }

    fn call_model(
        &self,
        call: ModelCall,
        mut on_delta: Box<dyn FnMut(Delta) + Send>,
    ) -> Pin<Box<dyn Future<Output = ModelResult> + Send>> {
        self.0.sent.lock().unwrap().push(String::from_utf8(call.wire.to_vec()).unwrap());
        let line = self.0.lines.lock().unwrap().pop_front().unwrap_or(Line::Say("nothing more is written"));
        let script = Arc::clone(&self.0);
        Box::pin(async move {
            let failure = |class| ModelFailure { class, retry_at: None, detail: "as written".into(), billed: false };
            match line {
                Line::Say(text) => {
                    on_delta(Delta::Text(text.into()));
                    Ok(reply(text.into(), vec![]))
                }
                Line::Slowly(first, rest) => {
                    on_delta(Delta::Text(first.into()));
                    script.go.notified().await;
                    on_delta(Delta::Text(rest.into()));
                    Ok(reply(format!("{first}{rest}"), vec![]))
                }
                Line::Break(text) => {
                    on_delta(Delta::Text(text.into()));
                    script.go.notified().await;
                    Err(failure(FailureClass::RetrySame))
                }
                Line::Fail(class) => Err(failure(class)),
                Line::SlowlyCall(text, tool) => {
                    on_delta(Delta::Text(text.into()));
                    script.go.notified().await;
                    let call = RawCall { id: "c0".into(), name: tool.into(), arguments: "{}".into() };
                    Ok(reply(text.into(), vec![call]))
                }
                Line::Call(text, tool, arguments) => {
                    if !text.is_empty() {
                        on_delta(Delta::Text(text.into()));
                    }
                    let call = RawCall { id: "c0".into(), name: tool.into(), arguments: arguments.into() };
                    Ok(reply(text.into(), vec![call]))
                }
            }
        })
    }
}

fn reply(text: String, calls: Vec<RawCall>) -> ModelReply {
    let wire = |call: &RawCall| json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } });
    let calls_json = serde_json::to_string(&calls.iter().map(wire).collect::<Vec<_>>()).unwrap();
    let finish = if calls.is_empty() { Finish::Stop } else { Finish::Calls };
    let usage = Some(Usage { uncached: 7, cache_read: 3, output: 5, reasoning: 1, ..Usage::default() });
    ModelReply { text, calls, calls_json, finish, usage }
}

fn manifests() -> BTreeMap<String, Manifest> {
    let tool = |name: &str, class, idempotency, answerer| {
        let manifest = Manifest {
            name: name.into(),
            description: String::new(),
            class,
            idempotency,
            answerer,
            arguments: vec![],
            schema: "{}".into(),
            timeout_ms: 60_000,
        };
        (name.to_owned(), manifest)
    };
    BTreeMap::from([
        tool("look", EffectClass::Read, Idempotency::Pure, Answerer::Tool),
        tool("guarded", EffectClass::Write, Idempotency::Keyed, Answerer::Tool),
        tool("signed", EffectClass::Write, Idempotency::Keyed, Answerer::Tool),
        tool("for_carl", EffectClass::Write, Idempotency::Keyed, Answerer::Tool),
        tool("lost", EffectClass::Write, Idempotency::Unsafe, Answerer::Tool),
        tool("stuck", EffectClass::Write, Idempotency::Unsafe, Answerer::Tool),
        tool("ask", EffectClass::Read, Idempotency::Pure, Answerer::Human),
    ])
}

fn ask(tool: &str, approvers: Approvers) -> Rule {
    Rule {
        name: format!("ask for {tool}"),
        verdict: RuleVerdict::Ask,
        when: BTreeMap::from([(Field::Tool, Test::Equal(tool.into()))]),
        approvers,
        speaks: (tool == "signed").then_some(Speaks::Human),
        expires_ms: 60_000,
    }
}

pub fn policy() -> Policy {
    let agent = Agent {
        model: "m".into(),
        instructions: "be careful".into(),
        grants: Grants {
            tools: manifests().into_keys().collect(),
            read: vec!["/desk".into()],
            write: vec!["/desk".into()],
        },
        rules: vec![
            ask("guarded", Approvers::Roles(vec![Role::Owner])),
            ask("signed", Approvers::Roles(vec![Role::Owner])),
            ask("for_carl", Approvers::Principals(vec!["carl".into()])),
        ],
        budget: Budget { day: Ceiling { tokens: Some(1_000_000), micro_usd: None }, ..Budget::default() },
        caps: Caps { steps: 4, tool_calls: 50, wall_ms: 3_600_000 },
        in_doubt: InDoubt::Ask,
    };
    let price = Price { input: 1_000_000, cached_input: 1_000_000, cache_write: 1_000_000, output: 1_000_000 };
    let model =
        Model { provider: "p".into(), name: "m".into(), context_tokens: 100_000, max_output_tokens: 100, price };
    let principals = [
        ("owner", Role::Owner),
        ("oper", Role::Operator),
        ("carl", Role::Approver),
        ("ann", Role::User),
        ("bob", Role::User),
        ("prom", Role::Metrics),
    ];
    Policy {
        epoch: 0,
        principals: principals.into_iter().map(|(name, role)| (name.to_owned(), role)).collect(),
        agents: BTreeMap::from([("main".into(), agent.clone()), ("other".into(), agent)]),
        models: BTreeMap::from([("m".into(), model)]),
        tools: manifests(),
        ..Policy::default()
    }
}

pub struct House {
    pub script: Arc<Script>,
    pub engine: Engine,
    pub tcp: Router,
    pub local: Router,
    tokens: BTreeMap<String, String>,
    pub place: Arc<TempDir>,
}

impl House {
    pub async fn new(lines: &[Line]) -> Self {
        Self::with(policy(), lines).await
    }

    pub async fn with(policy: Policy, lines: &[Line]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let script = Arc::new(Script {
            lines: Mutex::new(lines.iter().cloned().collect()),
            sent: Mutex::default(),
            go: Notify::new(),
            stuck: Mutex::default(),
            now: AtomicU64::new(1_795_219_200_000),
            random: AtomicU64::new(7),
        });
        std::fs::create_dir(place.path().join("workspace")).unwrap();
        std::fs::write(place.path().join("workspace/note.txt"), "a note").unwrap();
        std::fs::write(place.path().join("backstay.toml"), "# as tested\n").unwrap();
        let store = Store::create(place.path(), Options::default()).unwrap();
        let world: Arc<dyn World> = Arc::new(TestWorld(Arc::clone(&script)));
        let limits = Limits { messages_per_minute: 1000 };
        let engine = Engine::start(store, world, policy.clone(), "as tested", limits).await.unwrap();
        let mut tokens = BTreeMap::new();
        for name in policy.principals.keys() {
            let new = NewToken { principal: name.clone(), speaks: Speaks::Program, by: "test".into() };
            tokens.insert(name.clone(), engine.home().create_token(&policy, new, None).await.unwrap());
        }
        let (tcp, local) = doors(&engine, place.path());
        Self { script, engine, tcp, local, tokens, place: Arc::new(place) }
    }

    pub fn token(&self, name: &str) -> &str {
        &self.tokens[name]
    }

    /// The same home behind doors that remember nothing.
    pub fn reopened(&self) -> Self {
        let (tcp, local) = doors(&self.engine, self.place.path());
        let (script, engine) = (Arc::clone(&self.script), self.engine.clone());
        Self { script, engine, tcp, local, tokens: self.tokens.clone(), place: Arc::clone(&self.place) }
    }

    /// A second engine on the same journal: what it commits, the first has not heard of, as after a
    /// commit that was answered with an error and landed.
    pub async fn other_engine(&self) -> Engine {
        let world: Arc<dyn World> = Arc::new(TestWorld(Arc::clone(&self.script)));
        let limits = Limits { messages_per_minute: 1000 };
        Engine::start(self.engine.store().clone(), world, policy(), "as tested", limits).await.unwrap()
    }

    /// A call of a principal, begun.
    pub fn call(&self, name: &str, method: Method, path: &str) -> Call<'_> {
        Call {
            house: self,
            call: request(method, path).header("authorization", format!("Bearer {}", self.token(name))),
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
        let mut events = self.engine.subscribe(Role::Owner, session).await.unwrap();
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
