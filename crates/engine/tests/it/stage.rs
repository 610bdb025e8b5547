//! A world under direction: the model says what the test has written, tools count what they do,
//! the clock stands where it is put. Stricter than the real world: a second unsafe act with the
//! same key is a failed test.
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use backstay_engine::*;
use backstay_kernel::Permit;
use backstay_kernel::budget::{Budget, Price, Usage};
use backstay_kernel::context::Item;
use backstay_kernel::effect::{FailureClass, Finish, Probed};
use backstay_kernel::facts::{Access, Facts, Invalid, PathFact};
use backstay_kernel::id::{BodyRef, Digest, Millis, SessionId};
use backstay_kernel::policy::{Agent, Caps, Grants, InDoubt, Model, Policy, Role};
use backstay_kernel::record::{Mode, Record};
use backstay_kernel::request::Piece;
use backstay_kernel::rule::{Approvers, Field, Rule, RuleVerdict, Test};
use backstay_kernel::tool::{Answerer, EffectClass, Idempotency, Manifest};
use backstay_store::{Options, Store};
use tokio::sync::Notify;

/// What the model does when it is called.
#[derive(Clone)]
pub enum Line {
    Say(&'static str),
    Call(Vec<(&'static str, String)>),
    Fail(FailureClass),
    /// Says it once the test lets go.
    Hold(&'static str),
    /// Never answers.
    Hang,
    Panic,
}

pub fn call(tool: &'static str, arguments: &str) -> Line {
    Line::Call(vec![(tool, arguments.to_owned())])
}

#[derive(Default)]
pub struct Stage {
    pub script: Mutex<VecDeque<Line>>,
    /// Every request that was sent.
    pub sent: Mutex<Vec<String>>,
    /// Acts by idempotency key: how often, and what.
    pub acts: Mutex<HashMap<Digest, (u32, String)>>,
    /// Whose acts they were, in their order.
    pub actors: Mutex<Vec<SessionId>>,
    pub now: AtomicU64,
    random: AtomicU64,
    /// Tools hold here while set.
    pub held: Mutex<bool>,
    /// And these while they stand here.
    pub stuck: Mutex<Vec<&'static str>>,
    pub hung: Notify,
    pub go: Notify,
    /// (verb, tool) that panics.
    pub broken: Mutex<Vec<(&'static str, &'static str)>>,
    pub probes: AtomicU64,
    /// Output tokens that are billed beyond what was to be expected.
    pub billed_more: AtomicU64,
    /// Times that the clock was read.
    pub looks: AtomicU64,
    /// Done once, in the middle of rendering the next item of a request.
    pub meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Stage {
    pub fn acts_of(&self, tool: &str) -> u32 {
        let acts = self.acts.lock().unwrap();
        acts.values().filter(|(_, name)| name == tool).map(|(times, _)| times).sum()
    }

    fn break_down(&self, verb: &str, tool: &str) {
        let broken = self.broken.lock().unwrap().contains(&(verb, tool));
        assert!(!broken, "planted: {verb} {tool}");
    }
}

impl World for StageWorld {
    fn now(&self) -> Millis {
        self.0.looks.fetch_add(1, Ordering::SeqCst);
        self.0.now.load(Ordering::SeqCst)
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        u64::from_le_bytes(bytes) ^ self.0.random.fetch_add(1, Ordering::SeqCst)
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
        let meanwhile = self.0.meanwhile.lock().unwrap().take();
        meanwhile.into_iter().for_each(|happens| happens());
        let text = |body: &BodyRef| bodies(body).map(|b| String::from_utf8_lossy(&b).into_owned()).ok_or(*body);
        let wire = match item {
            Item::User { body, .. } => serde_json::json!({ "user": text(body)? }),
            Item::Assistant { text: said, calls } => serde_json::json!({
                "said": said.as_ref().map(text).transpose()?,
                "calls": calls.as_ref().map(text).transpose()?,
            }),
            Item::Results { answers, .. } => serde_json::json!({ "answers": answers
                .iter()
                .map(|answer| match answer {
                    backstay_kernel::context::Answer::Body { body, warned } => Ok(format!("{}{}", text(body)?, if *warned { " WARNED" } else { "" })),
                    backstay_kernel::context::Answer::Note(note) => Ok(note.text()),
                })
                .collect::<Result<Vec<_>, _>>()? }),
            Item::Notice(notice) => serde_json::json!({ "notice": notice.text() }),
        };
        let wire = wire.to_string();
        Ok(Fragment { pieces: vec![Piece::Text(wire.clone())], wire })
    }

    fn inspect(&self, call: &ToolCall) -> Result<Facts, Refused> {
        self.0.break_down("inspect", &call.tool);
        if serde_json::from_str::<serde_json::Value>(&call.arguments).is_err() {
            return Err(Refused { why: Invalid::BadArguments, detail: "not JSON".into() });
        }
        let class = manifests()[&call.tool].class;
        let path = |access| PathFact { access, real: format!("/home/{}", call.tool) };
        let paths = if class == EffectClass::Read { vec![path(Access::Read)] } else { vec![path(Access::Write)] };
        Ok(Facts { class, paths, probe: None })
    }

    fn probe(&self, call: &ToolCall, _: &Facts) -> Probed {
        self.0.break_down("probe", &call.tool);
        self.0.probes.fetch_add(1, Ordering::SeqCst);
        if self.0.acts_of(&call.tool) > 0 { Probed::Done } else { Probed::NotDone }
    }

    fn run_tool(&self, permit: Permit, call: &ToolCall, _: &Facts) -> ToolRan {
        while *self.0.held.lock().unwrap() || self.0.stuck.lock().unwrap().contains(&call.tool.as_str()) {
            std::thread::yield_now();
        }
        self.0.break_down("run", &call.tool);
        self.0.actors.lock().unwrap().push(call.session);
        let mut acts = self.0.acts.lock().unwrap();
        let act = acts.entry(permit.key()).or_insert((0, call.tool.clone()));
        act.0 += 1;
        assert!(act.0 == 1 || !["send", "edit"].contains(&call.tool.as_str()), "an act was repeated");
        let memory = call.arguments.contains("remember").then(|| call.arguments.clone());
        ToolRan::Done { text: format!("{} did it", call.tool), spill: None, memory }
    }

    fn call_model(
        &self,
        call: ModelCall,
        mut on_delta: Box<dyn FnMut(Delta) + Send>,
    ) -> Pin<Box<dyn Future<Output = ModelResult> + Send>> {
        self.0.sent.lock().unwrap().push(String::from_utf8(call.wire.to_vec()).unwrap());
        let line = self.0.script.lock().unwrap().pop_front().unwrap_or(Line::Say("nothing more is written"));
        let stage = Arc::clone(&self.0);
        Box::pin(async move {
            let output = 5 + stage.billed_more.load(Ordering::SeqCst);
            let usage = Some(Usage { uncached: 10, output, ..Usage::default() });
            match line {
                Line::Say(text) | Line::Hold(text) => {
                    if matches!(line, Line::Hold(_)) {
                        stage.hung.notify_one();
                        stage.go.notified().await;
                    }
                    on_delta(Delta::Text(text.into()));
                    Ok(ModelReply {
                        text: text.into(),
                        calls: vec![],
                        calls_json: String::new(),
                        finish: Finish::Stop,
                        usage,
                    })
                }
                Line::Call(calls) => {
                    let calls: Vec<RawCall> = calls
                        .into_iter()
                        .enumerate()
                        .map(|(n, (name, arguments))| RawCall { id: format!("c{n}"), name: name.into(), arguments })
                        .collect();
                    let json: Vec<_> = calls.iter().map(|c| serde_json::json!({"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}})).collect();
                    Ok(ModelReply {
                        text: String::new(),
                        calls,
                        calls_json: serde_json::to_string(&json).unwrap(),
                        finish: Finish::Calls,
                        usage,
                    })
                }
                Line::Fail(class) => {
                    Err(ModelFailure { class, retry_at: None, detail: "as written".into(), billed: false })
                }
                Line::Panic => panic!("planted: model"),
                Line::Hang => {
                    stage.hung.notify_one();
                    std::future::pending().await
                }
            }
        })
    }
}

pub struct StageWorld(pub Arc<Stage>);

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
            timeout_ms: if name == "edit" || name == "slow" { 1 } else { 60_000 },
        };
        (name.to_owned(), manifest)
    };
    BTreeMap::from([
        tool("look", EffectClass::Read, Idempotency::Pure, Answerer::Tool),
        tool("put", EffectClass::Write, Idempotency::Keyed, Answerer::Tool),
        tool("send", EffectClass::Write, Idempotency::Unsafe, Answerer::Tool),
        tool("edit", EffectClass::Write, Idempotency::Probed, Answerer::Tool),
        tool("slow", EffectClass::Write, Idempotency::Keyed, Answerer::Tool),
        tool("ask", EffectClass::Read, Idempotency::Pure, Answerer::Human),
        tool("guarded", EffectClass::Write, Idempotency::Unsafe, Answerer::Tool),
    ])
}

pub fn policy() -> Policy {
    let guarded = Rule {
        name: "guarded".into(),
        verdict: RuleVerdict::Ask,
        when: BTreeMap::from([(Field::Tool, Test::Equal("guarded".into()))]),
        approvers: Approvers::Roles(vec![Role::Owner]),
        speaks: None,
        expires_ms: 60_000,
    };
    let agent = Agent {
        model: "m".into(),
        instructions: "be careful".into(),
        grants: Grants {
            tools: manifests().into_keys().collect(),
            read: vec!["/home".into()],
            write: vec!["/home".into()],
        },
        rules: vec![guarded],
        budget: Budget::default(),
        caps: Caps { steps: 20, tool_calls: 50, wall_ms: 3_600_000 },
        in_doubt: InDoubt::Ask,
    };
    let model = Model {
        provider: "p".into(),
        name: "m".into(),
        context_tokens: 100_000,
        max_output_tokens: 100,
        price: Price { input: 1_000_000, cached_input: 1_000_000, cache_write: 1_000_000, output: 1_000_000 },
    };
    Policy {
        epoch: 0,
        principals: BTreeMap::from([("owner".into(), Role::Owner)]),
        agents: BTreeMap::from([("main".into(), agent)]),
        models: BTreeMap::from([("m".into(), model)]),
        tools: manifests(),
        ..Policy::default()
    }
}

/// A home, its engine and its stage. Dropping `engine` and the runtime is a crash.
pub struct Play {
    pub stage: Arc<Stage>,
    pub engine: Engine,
    pub store: Store,
}

impl Play {
    pub async fn begin(home: &Path, policy: Policy, script: Vec<Line>) -> Self {
        Self::begin_with(home, Options::default(), policy, script).await
    }

    pub async fn begin_with(home: &Path, options: Options, policy: Policy, script: Vec<Line>) -> Self {
        let stage = Arc::new(Stage::default());
        stage.now.store(1_795_219_200_000, Ordering::SeqCst);
        stage.script.lock().unwrap().extend(script);
        let store = if home.join("state.db").exists() {
            Store::open(home, options).unwrap()
        } else {
            Store::create(home, options).unwrap()
        };
        let world: Arc<dyn World> = Arc::new(StageWorld(Arc::clone(&stage)));
        let limits = Limits { messages_per_minute: 1000 };
        let engine = Engine::start(store.clone(), world, policy, "as tested", limits).await.unwrap();
        Self { stage, engine, store }
    }

    pub async fn say(&self, session: Option<SessionId>, text: &str) -> Submitted {
        self.engine.submit(&owner(), message(session, text)).await.unwrap()
    }

    /// Waits for the turn's end and returns it as the journal has it.
    pub async fn ended(&self, said: Submitted) -> TurnView {
        self.until(said, |view| matches!(view.state, TurnState::Ended(_))).await
    }

    pub async fn until(&self, said: Submitted, done: impl Fn(&TurnView) -> bool) -> TurnView {
        let mut events = self.engine.subscribe(Role::Owner, said.session).await.unwrap();
        let reader = Reader::new(self.store.clone());
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, async {
            loop {
                let view = reader.turn(said.session, said.turn).unwrap();
                if done(&view) {
                    return view;
                }
                let _ = events.recv().await;
            }
        })
        .await
        .expect("the turn does not get there")
    }

    pub fn text(&self, body: Option<BodyRef>) -> String {
        String::from_utf8(self.store.body(&body.unwrap()).unwrap().unwrap()).unwrap()
    }

    /// The name of what a session waits for.
    pub fn wait(&self, said: Submitted) -> String {
        self.store.head(said.session).unwrap().unwrap().wait.unwrap()
    }

    /// Lets tools that hold go on.
    pub fn release(&self) {
        self.stage.stuck.lock().unwrap().clear();
        *self.stage.held.lock().unwrap() = false;
    }

    pub fn hold(&self) {
        *self.stage.held.lock().unwrap() = true;
    }

    pub async fn cancel(&self, said: Submitted) {
        let cancel = Command::Cancel { turn: Some(said.turn), by: "owner".into() };
        self.engine.command(&owner(), said.session, cancel, None).await.unwrap();
    }

    pub fn commits(&self) -> u64 {
        self.store.stats().unwrap().commits
    }
}

/// How many records of a turn are of this kind.
pub fn count(view: &TurnView, is: impl Fn(&Record) -> bool) -> usize {
    view.records.iter().filter(|placed| is(&placed.record)).count()
}

pub fn owner() -> Caller {
    Caller { principal: "owner".into(), role: Role::Owner, channel: "test".into() }
}

/// A test that fails leaves no thread behind that spins.
impl Drop for Play {
    fn drop(&mut self) {
        self.release();
    }
}

pub fn message(session: Option<SessionId>, text: &str) -> Submission {
    Submission { session, agent: "main".into(), mode: Mode::Queue, quoted: vec![], text: text.into(), key: None }
}
