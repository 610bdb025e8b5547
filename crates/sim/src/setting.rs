//! The set-up that a test of the engine, of the doors and of the simulated world begins with: one
//! agent that may use every tool, one model, one owner, who is asked where a rule says so.
use std::collections::BTreeMap;

use backstay_engine::Caller;
use backstay_kernel::budget::{Budget, Price};
use backstay_kernel::facts::{Access, Facts, PathFact};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::Millis;
use backstay_kernel::policy::{Agent, Caps, Grants, InDoubt, Model, Policy, Role};
use backstay_kernel::rule::{Field, Rule, RuleVerdict, Test};
use backstay_kernel::tool::{Answerer, EffectClass, Idempotency, Manifest};

/// When every test begins: 2026-11-21, 00:00 UTC.
pub const BEGINNING: Millis = 1_795_219_200_000;
/// After this time nobody's yes counts any more, milliseconds.
const ASK_EXPIRES_MS: u64 = 60_000;
/// What a tool may take, milliseconds.
pub const TOOL_TIMEOUT_MS: u64 = 60_000;

pub fn owner() -> Caller {
    Caller { principal: "owner".into(), role: Role::Owner, channel: "test".into(), speaks: Speaks::Program }
}

/// These tools, of which a pure one reads and any other writes, and `ask`, which a person answers.
pub fn policy(tools: &[(&str, Idempotency)]) -> Policy {
    let tool = |(name, idempotency): &(&str, Idempotency)| manifest(name, *idempotency, Answerer::Tool);
    let ask = manifest("ask", Idempotency::Pure, Answerer::Human);
    let tools: BTreeMap<_, _> = tools.iter().map(tool).chain([ask]).map(|tool| (tool.name.clone(), tool)).collect();
    let paths = vec!["/home".to_owned()];
    let agent = Agent {
        model: "m".into(),
        instructions: "be careful".into(),
        grants: Grants {
            tools: tools.keys().cloned().collect(),
            read: paths.clone(),
            write: paths,
            programs: Vec::new(),
            hosts: Vec::new(),
            git: Vec::new(),
            secrets: Vec::new(),
        },
        rules: Vec::new().into(),
        budget: Budget::default(),
        caps: Caps { steps: 20, tool_calls: 50, wall_ms: 3_600_000, asks_per_hour: 5 },
        in_doubt: InDoubt::Ask,
        scope: false,
    };
    let price = Price { input: 1_000_000, cached_input: 1_000_000, cache_write: 1_000_000, output: 1_000_000 };
    let model = Model {
        provider: "p".into(),
        clearance: backstay_kernel::label::Confidentiality::Secret,
        name: "m".into(),
        context_tokens: 100_000,
        max_output_tokens: 100,
        price,
    };
    Policy {
        epoch: 0,
        workspace: "/home".into(),
        principals: BTreeMap::from([("owner".into(), Role::Owner)]),
        agents: BTreeMap::from([("main".into(), agent)]),
        models: BTreeMap::from([("m".into(), model)]),
        tools,
        ..Policy::default()
    }
}

fn manifest(name: &str, idempotency: Idempotency, answerer: Answerer) -> Manifest {
    Manifest {
        name: name.into(),
        description: String::new(),
        class: class(idempotency),
        idempotency,
        reversible: None,
        answerer,
        arguments: vec![],
        program: None,
        remote: false,
        result: backstay_kernel::label::Label::of(backstay_kernel::label::Source::Tool),
        audience: backstay_kernel::destination::Audience::Named,
        known: Vec::new(),
        creates: None,
        schema: "{}".into(),
        timeout_ms: TOOL_TIMEOUT_MS,
    }
}

/// About every call of one tool; where it asks, it asks the owner.
pub fn rule(verdict: RuleVerdict, tool: &str) -> Rule {
    let when = BTreeMap::from([(Field::Tool, Test::Equal(tool.into()))]);
    Rule { expires_ms: ASK_EXPIRES_MS, ..Rule::new(format!("about {tool}"), verdict, when) }
}

/// Every tool has one file, of its own name.
pub fn facts(tool: &str, idempotency: Idempotency) -> Facts {
    let class = class(idempotency);
    let access = if class == EffectClass::Read { Access::Read } else { Access::Write };
    Facts::new(class, vec![PathFact::new(access, format!("/home/{tool}"))])
}

fn class(idempotency: Idempotency) -> EffectClass {
    if idempotency == Idempotency::Pure { EffectClass::Read } else { EffectClass::Write }
}
