//! From a model's call to a file on the disk, through the kernel's own gate: the only way to a
//! permit.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::{Asked, Ran, Roots, inspect, manifests, run};
use backstay_kernel::budget::{Budget, Price};
use backstay_kernel::decide::Message;
use backstay_kernel::effect::{CallRef, Effect, Finish, Inspection, Outcome};
use backstay_kernel::facts::{Access, Facts};
use backstay_kernel::flow::Named;
use backstay_kernel::frame::{Frame, Slots, Switches};
use backstay_kernel::id::{BodyRef, Boot, Digest, EffectId, RepeatKey, Seq, SessionId};
use backstay_kernel::policy::{Agent, Caps, Grants, InDoubt, Model, Policy, Role};
use backstay_kernel::record::{Mode, Opened};
use backstay_kernel::request::Request;
use backstay_kernel::{Input, Permit, Session, apply, decide, open_effects, start};

const BODY: BodyRef = BodyRef { id: 1, digest: Digest([1; 32]), bytes: 1 };
const BOOT: Boot = Boot(1);

fn policy(roots: &Roots) -> Policy {
    let agent = Agent {
        model: "m".to_owned(),
        instructions: String::new(),
        grants: Grants {
            tools: vec!["write_file".to_owned()],
            read: roots.granted(Access::Read),
            write: roots.granted(Access::Write),
            ..Grants::default()
        },
        rules: Vec::new().into(),
        budget: Budget::default(),
        caps: Caps { steps: 10, tool_calls: 10, wall_ms: 60_000, asks_per_hour: 5 },
        in_doubt: InDoubt::Ask,
        scope: false,
    };
    let model = Model {
        provider: "p".to_owned(),
        clearance: backstay_kernel::label::Confidentiality::Secret,
        name: "m".to_owned(),
        context_tokens: 32_768,
        max_output_tokens: 1_024,
        price: Price::default(),
    };
    Policy {
        workspace: roots.workspace().to_owned(),
        principals: BTreeMap::from([("owner".to_owned(), Role::Owner)]),
        agents: BTreeMap::from([("main".to_owned(), agent)]),
        models: BTreeMap::from([("m".to_owned(), model)]),
        tools: manifests().into_iter().map(|tool| (tool.name.clone(), tool)).collect(),
        ..Policy::default()
    }
}

fn frame(policy: &Policy) -> Frame<'_> {
    Frame {
        now: 1,
        boot: BOOT,
        policy,
        switches: Switches::default(),
        slots: Slots { model: 1, tool: 1 },
        allowance: Vec::new(),
        standing: Vec::new(),
        reached: std::sync::Arc::default(),
    }
}

/// A session and the policy that it is under.
struct Gate {
    session: Session,
    policy: Policy,
}

impl Gate {
    fn hear(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let advance = input == Input::Advance;
            let records = decide(&self.session, input, &frame(&self.policy)).unwrap();
            if !advance || !records.is_empty() {
                next = Some(Input::Advance);
            }
            for record in &records {
                apply(&mut self.session, record);
            }
        }
    }

    fn open(&self) -> Effect {
        open_effects(&self.session, &frame(&self.policy)).remove(0)
    }

    /// A session whose model has just called `write_file`.
    fn with_call(policy: Policy) -> (Self, EffectId) {
        let mut gate = Self { session: Session::new(SessionId([1; 10])), policy };
        gate.hear(Input::Open(Opened {
            agent: "main".to_owned(),
            principal: "owner".to_owned(),
            channel: "api".to_owned(),
            title: None,
            lineage: 1,
        }));
        gate.hear(Input::Message(Message {
            principal: "owner".to_owned(),
            channel: "api".to_owned(),
            mode: Mode::Queue,
            quoted: Vec::new(),
            body: BODY,
            typed: None,
        }));
        let effect = gate.open().id();
        let request = Request { rope: BODY, digest: BODY.digest, bytes: 10, bytes_unchanged: 0 };
        gate.hear(Input::Prepared { effect, request });
        let Effect::Model { id: effect, started, .. } = gate.open() else { panic!() };
        let tool = Some("write_file".to_owned());
        let call = CallRef { calls: BODY, index: 0, tool, repeat: RepeatKey([0; 8]) };
        let outcome = Outcome::Replied { text: None, calls: vec![call], finish: Finish::Calls, usage: None };
        gate.hear(Input::Ended { effect, started, outcome, connections: Vec::new() });
        let Effect::Inspect { id, .. } = gate.open() else { panic!("{:?}", gate.open()) };
        (gate, id)
    }

    fn permit(&self, effect: EffectId) -> Permit {
        start(&self.session, effect, &frame(&self.policy)).unwrap()
    }
}

fn roots(dir: &Path) -> Roots {
    let workspace = dir.join("workspace");
    Roots::open(&workspace, std::slice::from_ref(&workspace), &[workspace.join("out")]).unwrap()
}

fn asked(arguments: &str) -> Asked<'_> {
    Asked { principal: "owner", session: SessionId::default(), tool: "write_file", arguments, as_values: false }
}

fn judged(gate: &mut Gate, effect: EffectId, facts: &Facts) {
    gate.hear(Input::Inspected { effect, inspection: Inspection::Facts(facts.clone()), named: Named::default() });
}

#[test]
fn what_the_gate_allowed_is_done_once_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let roots = roots(dir.path());
    let (mut gate, effect) = Gate::with_call(policy(&roots));
    let arguments = r#"{"path":"out/a","content":"hello"}"#;
    let facts = inspect(&roots, "write_file", arguments).unwrap();
    judged(&mut gate, effect, &facts);
    assert_eq!(gate.permit(effect).facts(), Some(facts.digest()));

    let other = r#"{"path":"out/a","content":"other"}"#;
    let ran = run(gate.permit(effect), &roots, asked(other), &facts, &Arc::default()).ran;
    assert!(matches!(ran, Ran::Failed { .. }), "{ran:?}");
    let file = dir.path().join("workspace/out/a");
    assert!(!file.exists());

    let ran = run(gate.permit(effect), &roots, asked(arguments), &facts, &Arc::default()).ran;
    assert_eq!(ran, Ran::Done { text: "created `out/a`: 5 bytes".to_owned(), spill: None });
    assert_eq!(fs::read_to_string(file).unwrap(), "hello");

    let again = run(gate.permit(effect), &roots, asked(arguments), &facts, &Arc::default()).ran;
    assert!(matches!(again, Ran::Failed { .. }), "{again:?}");
}

#[test]
fn what_the_gate_refused_gets_no_permit() {
    let dir = tempfile::tempdir().unwrap();
    let roots = roots(dir.path());
    let mut narrow = policy(&roots);
    narrow.agents.get_mut("main").unwrap().grants.write.clear();
    let (mut gate, effect) = Gate::with_call(narrow);
    let facts = inspect(&roots, "write_file", r#"{"path":"out/a","content":"x"}"#).unwrap();
    judged(&mut gate, effect, &facts);
    assert!(start(&gate.session, effect, &frame(&gate.policy)).is_err());
    assert_ne!(gate.session.seq, Seq(0));
}
