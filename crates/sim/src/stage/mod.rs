//! A world under direction: the model says what the test has written, tools count what they do,
//! the clock stands where it is put. Stricter than the real world: a second unsafe act with the
//! same key is a failed test.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]
mod play;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use backstay_engine::{
    Bytes, Delta, Envelope, Fragment, ModelCall, ModelFailure, ModelResult, Refused, ToolCall, ToolEnd, ToolRan, World,
};
use backstay_kernel::Permit;
use backstay_kernel::budget::Usage;
use backstay_kernel::context::Item;
use backstay_kernel::effect::{FailureClass, Probed};
use backstay_kernel::facts::{Facts, Invalid};
use backstay_kernel::id::{BodyRef, Digest, Millis, SessionId};
use backstay_kernel::label::Label;
use backstay_kernel::policy::Policy;
use backstay_kernel::tool::{Idempotency, Manifest};
use tokio::sync::Notify;

use crate::dice::Dice;
use crate::{setting, wire};
pub use play::{LIMITS, Play, asked, count, decide, edit, message};

/// What every tool lists that the runtime itself asks.
const LISTED: &str = r#"[{"name":"Ann","key":"a-1"},{"name":"Bob","key":"b-2"}]"#;

/// What the model does when it is called.
#[derive(Clone, Debug)]
pub enum Line {
    Say(&'static str),
    /// A word, which may be none, and calls: (tool, arguments).
    Call(&'static str, Vec<(&'static str, String)>),
    /// Says this much, waits until the test lets it go on ([`Stage::go`]), and goes on so.
    Slowly(&'static str, Box<Line>),
    Fail(FailureClass),
    /// Never answers.
    Hang,
    Panic,
}

pub fn call(tool: &'static str, arguments: &str) -> Line {
    Line::Call("", vec![(tool, arguments.to_owned())])
}

pub fn slowly(first: &'static str, rest: Line) -> Line {
    Line::Slowly(first, Box::new(rest))
}

/// What a tool did.
pub struct Act {
    key: Digest,
    pub session: SessionId,
    tool: String,
}

/// Calls that wait for the test before they act.
#[derive(Default)]
struct Held {
    tools: Vec<&'static str>,
    calls: usize,
}

pub struct Stage {
    pub script: Mutex<VecDeque<Line>>,
    /// Every request that was sent.
    pub sent: Mutex<Vec<String>>,
    pub acts: Mutex<Vec<Act>>,
    pub now: AtomicU64,
    tools: BTreeMap<String, Manifest>,
    random: Mutex<Dice>,
    held: Mutex<Held>,
    let_go: Condvar,
    /// Told when a call is held.
    pub holding: Notify,
    /// Told when the model waits for [`Stage::go`], or hangs.
    pub hung: Arc<Notify>,
    pub go: Arc<Notify>,
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
    pub fn new(tools: BTreeMap<String, Manifest>, script: Vec<Line>) -> Self {
        /// Of this process: a second stage on the same home draws other numbers.
        static STAGES: AtomicU64 = AtomicU64::new(0);
        Self {
            script: Mutex::new(script.into()),
            sent: Mutex::default(),
            acts: Mutex::default(),
            now: AtomicU64::new(setting::BEGINNING),
            tools,
            random: Mutex::new(Dice::new(STAGES.fetch_add(1, Ordering::SeqCst) << 32)),
            held: Mutex::default(),
            let_go: Condvar::new(),
            holding: Notify::new(),
            hung: Arc::default(),
            go: Arc::default(),
            broken: Mutex::default(),
            probes: AtomicU64::new(0),
            billed_more: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            meanwhile: Mutex::default(),
        }
    }

    pub fn acts_of(&self, tool: &str) -> usize {
        self.acts.lock().unwrap().iter().filter(|act| act.tool == tool).count()
    }

    /// From now on calls of these tools wait, and no others.
    pub fn hold(&self, tools: &[&'static str]) {
        self.held.lock().unwrap().tools = tools.to_vec();
        self.let_go.notify_all();
    }

    /// Calls that wait.
    pub fn held(&self) -> usize {
        self.held.lock().unwrap().calls
    }

    fn wait_while_held(&self, tool: &str) {
        let mut held = self.held.lock().unwrap();
        held.calls += 1;
        if held.tools.contains(&tool) {
            self.holding.notify_one();
        }
        held = self.let_go.wait_while(held, |held| held.tools.contains(&tool)).unwrap();
        held.calls -= 1;
    }

    fn break_down(&self, verb: &str, tool: &str) {
        let broken = self.broken.lock().unwrap().contains(&(verb, tool));
        assert!(!broken, "planted: {verb} {tool}");
    }
}

impl World for Stage {
    fn now(&self) -> Millis {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.now.load(Ordering::SeqCst)
    }

    fn random(&self) -> u64 {
        self.random.lock().unwrap().draw()
    }

    fn envelope(&self, policy: &Policy, agent: &str, _: &str, output_tokens_max: u64) -> Envelope {
        wire::envelope(policy, agent, output_tokens_max)
    }

    fn item(
        &self,
        _: &Policy,
        _: &str,
        item: &Item,
        bodies: &dyn Fn(&BodyRef) -> Option<Bytes>,
    ) -> Result<Fragment, BodyRef> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        meanwhile.into_iter().for_each(|happens| happens());
        wire::item(item, bodies)
    }

    fn inspect(&self, call: &ToolCall) -> Result<Facts, Refused> {
        self.break_down("inspect", &call.tool);
        if serde_json::from_str::<serde_json::Value>(&call.arguments).is_err() {
            return Err(Refused { why: Invalid::BadArguments, detail: "not JSON".into() });
        }
        Ok(setting::facts(&call.tool, self.tools[&call.tool].idempotency))
    }

    fn probe(&self, call: &ToolCall, _: &Facts) -> Probed {
        self.break_down("probe", &call.tool);
        self.probes.fetch_add(1, Ordering::SeqCst);
        if self.acts_of(&call.tool) > 0 { Probed::Done } else { Probed::NotDone }
    }

    fn run_tool(&self, permit: Permit, call: &ToolCall, _: &Facts) -> ToolEnd {
        self.wait_while_held(&call.tool);
        self.break_down("run", &call.tool);
        if call.tool == "lost" {
            return ToolRan::Unknown.into();
        }
        let once = matches!(self.tools[&call.tool].idempotency, Idempotency::Probed | Idempotency::Unsafe);
        let (key, mut acts) = (permit.key(), self.acts.lock().unwrap());
        assert!(!once || acts.iter().all(|act| act.key != key), "an act was repeated");
        acts.push(Act { key, session: call.session, tool: call.tool.clone() });
        let memory = call.arguments.contains("remember").then(|| call.arguments.clone());
        let text = if call.as_values { LISTED.to_owned() } else { format!("{} did it", call.tool) };
        let created = (call.tool == "put").then(|| "p-1".to_owned());
        ToolEnd { created, ..ToolRan::Done { text, spill: None, memory, label: Label::NOTHING }.into() }
    }

    fn clean(&self, text: String) -> String {
        text
    }

    fn call_model(
        &self,
        call: ModelCall,
        on_delta: Box<dyn FnMut(Delta) + Send>,
    ) -> Pin<Box<dyn Future<Output = ModelResult> + Send>> {
        self.sent.lock().unwrap().push(String::from_utf8(call.wire.to_vec()).unwrap());
        let line = self.script.lock().unwrap().pop_front().unwrap_or(Line::Say("nothing more is written"));
        let output = 5 + self.billed_more.load(Ordering::SeqCst);
        let usage = Usage { uncached: 7, cache_read: 3, output, reasoning: 1, ..Usage::default() };
        Box::pin(speak(line, usage, on_delta, Arc::clone(&self.hung), Arc::clone(&self.go)))
    }
}

async fn speak(
    mut line: Line,
    usage: Usage,
    mut on_delta: Box<dyn FnMut(Delta) + Send>,
    hung: Arc<Notify>,
    go: Arc<Notify>,
) -> ModelResult {
    let mut said = String::new();
    let mut say = |text: &'static str| {
        if !text.is_empty() {
            on_delta(Delta::Text(text.into()));
        }
        said.push_str(text);
        said.clone()
    };
    loop {
        match line {
            Line::Say(text) => return Ok(wire::reply(say(text), [], usage)),
            Line::Call(text, calls) => {
                let calls = calls.into_iter().map(|(tool, arguments)| (tool.to_owned(), arguments));
                return Ok(wire::reply(say(text), calls, usage));
            }
            Line::Slowly(text, rest) => {
                say(text);
                hung.notify_one();
                go.notified().await;
                line = *rest;
            }
            Line::Fail(class) => {
                return Err(ModelFailure { class, retry_at: None, detail: "as written".into(), billed: false });
            }
            Line::Hang => {
                hung.notify_one();
                return std::future::pending().await;
            }
            Line::Panic => panic!("planted: model"),
        }
    }
}
