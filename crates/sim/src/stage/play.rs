//! A home, its engine and its stage, and what a test does with them.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backstay_engine::{Command, Engine, Limits, Reader, Submission, Submitted, TurnState, TurnView, World};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{BodyRef, Digest, EffectId, SessionId};
use backstay_kernel::policy::{Policy, Role};
use backstay_kernel::record::{Mode, Record, Verdict};
use backstay_store::{Options, Store};

use super::{Line, Stage};
use crate::setting::owner;

/// More than any test says in a minute.
pub const LIMITS: Limits = Limits { messages_per_minute: 1000 };
/// A turn that has not got there by then never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// Dropping it and the runtime is a crash.
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
        let stage = Arc::new(Stage::new(policy.tools.clone(), script));
        let is_there = home.join("state.db").exists();
        let store = if is_there { Store::open(home, options) } else { Store::create(home, options) }.unwrap();
        let world: Arc<dyn World> = Arc::clone(&stage) as _;
        let engine = Engine::start(store.clone(), world, policy, "as tested", LIMITS).await.unwrap();
        Self { stage, engine, store }
    }

    /// A second engine on the same journal: what it commits, the first has not heard of, as after a
    /// commit that was answered with an error and landed.
    pub async fn other_engine(&self, policy: Policy) -> Engine {
        let world: Arc<dyn World> = Arc::clone(&self.stage) as _;
        Engine::start(self.store.clone(), world, policy, "as tested", LIMITS).await.unwrap()
    }

    pub async fn say(&self, session: Option<SessionId>, text: &str) -> Submitted {
        self.engine.submit(&owner(), message(session, text)).await.unwrap()
    }

    /// Waits for the turn's end and returns it as the journal has it.
    pub async fn ended(&self, said: Submitted) -> TurnView {
        self.until(said, |view| matches!(view.state, TurnState::Ended(_))).await
    }

    pub async fn until(&self, said: Submitted, done: impl Fn(&TurnView) -> bool) -> TurnView {
        let reader = Reader::new(self.store.clone());
        let there = async {
            let mut events = self.engine.subscribe(Role::Owner, said.session).await.unwrap();
            loop {
                let view = reader.turn(said.session, said.turn).unwrap();
                if done(&view) {
                    return view;
                }
                let _ = events.recv().await;
            }
        };
        tokio::time::timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("the turn does not get there"))
    }

    pub fn text(&self, body: Option<BodyRef>) -> String {
        String::from_utf8(self.store.body(&body.unwrap()).unwrap().unwrap()).unwrap()
    }

    /// The name of what a session waits for.
    pub fn wait(&self, said: Submitted) -> String {
        self.store.head(said.session).unwrap().unwrap().wait.unwrap()
    }

    pub async fn cancel(&self, said: Submitted) {
        let cancel = Command::Cancel { turn: Some(said.turn), by: "owner".into() };
        self.engine.command(&owner(), said.session, cancel, None).await.unwrap();
    }

    pub fn commits(&self) -> u64 {
        self.store.stats().unwrap().commits
    }
}

/// A test that fails leaves no thread behind that waits.
impl Drop for Play {
    fn drop(&mut self) {
        self.stage.hold(&[]);
    }
}

pub fn message(session: Option<SessionId>, text: &str) -> Submission {
    Submission { session, agent: "main".into(), mode: Mode::Queue, quoted: vec![], text: text.into(), key: None }
}

/// How many records of a turn are of this kind.
pub fn count(view: &TurnView, is: impl Fn(&Record) -> bool) -> usize {
    view.records.iter().filter(|placed| is(&placed.record)).count()
}

/// The first call that a person is asked about.
pub fn asked(view: &TurnView) -> Option<(EffectId, Digest)> {
    view.calls.iter().find_map(|(effect, call)| match &call.verdict {
        Some(Verdict::Ask { digest, .. }) => Some((*effect, *digest)),
        _ => None,
    })
}

/// The owner's word about it.
pub fn decide((effect, digest): (EffectId, Digest), approve: bool) -> Command {
    let (by, role, speaks) = ("owner".into(), Role::Owner, Speaks::Program);
    Command::Decide { effect, digest, approve, by, role, channel: "cli".into(), speaks, note: None }
}

/// Other arguments of the owner's for it.
pub fn edit((effect, digest): (EffectId, Digest), arguments: &str) -> Command {
    let (by, role, speaks, arguments) = ("owner".into(), Role::Owner, Speaks::Human, arguments.to_owned());
    Command::Edit { effect, digest, arguments, by, role, channel: "cli".into(), speaks, note: None }
}
