//! The set-up of every simulated home: its tools, one of each class, its policy, its people.
use std::collections::BTreeMap;

use backstay_engine::Caller;
use backstay_kernel::budget::{Budget, Price};
use backstay_kernel::policy::{Agent, Caps, Grants, InDoubt, Model, Policy, Role};
use backstay_kernel::rule::{Approvers, Field, Rule, RuleVerdict, Test};
use backstay_kernel::tool::{Answerer, EffectClass, Idempotency, Manifest};

/// After this time nobody's yes counts any more, milliseconds.
const ASK_EXPIRES_MS: u64 = 60_000;
/// Sessions of a simulated home; far more than any has.
pub const SESSIONS_MAX: usize = 1000;
/// What a tool may take, milliseconds.
pub const TOOL_TIMEOUT_MS: u64 = 30_000;

/// What an operator changes between two lives of the process, or by a reload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// This tool is no longer granted.
    Ungrant(&'static str),
    /// A rule denies this tool.
    Deny(&'static str),
    /// The day's tokens of the whole home.
    DayTokens(u64),
    /// What is in doubt counts as done.
    AssumeDone,
}

#[must_use]
pub fn owner() -> Caller {
    Caller { principal: "owner".into(), role: Role::Owner, channel: "test".into() }
}

#[must_use]
pub fn manifests() -> BTreeMap<String, Manifest> {
    let tool = |name: &str, class, idempotency, answerer| {
        let manifest = Manifest {
            name: name.into(),
            description: String::new(),
            class,
            idempotency,
            answerer,
            arguments: vec![],
            schema: "{}".into(),
            timeout_ms: TOOL_TIMEOUT_MS,
        };
        (name.to_owned(), manifest)
    };
    BTreeMap::from([
        tool("look", EffectClass::Read, Idempotency::Pure, Answerer::Tool),
        tool("set", EffectClass::Write, Idempotency::Idempotent, Answerer::Tool),
        tool("put", EffectClass::Write, Idempotency::Keyed, Answerer::Tool),
        tool("file", EffectClass::Write, Idempotency::Probed, Answerer::Tool),
        tool("send", EffectClass::Write, Idempotency::Unsafe, Answerer::Tool),
        tool("guarded", EffectClass::Write, Idempotency::Unsafe, Answerer::Tool),
        tool("fails", EffectClass::Write, Idempotency::Keyed, Answerer::Tool),
        tool("ask", EffectClass::Read, Idempotency::Pure, Answerer::Human),
    ])
}

fn rule(name: &str, verdict: RuleVerdict, tool: &str) -> Rule {
    Rule {
        name: name.into(),
        verdict,
        when: BTreeMap::from([(Field::Tool, Test::Equal(tool.into()))]),
        approvers: Approvers::Roles(vec![Role::Owner]),
        speaks: None,
        expires_ms: ASK_EXPIRES_MS,
    }
}

#[must_use]
pub fn policy(changes: &[Change]) -> Policy {
    let mut agent = Agent {
        model: "m".into(),
        instructions: "be careful".into(),
        grants: Grants {
            tools: manifests().into_keys().collect(),
            read: vec!["/home".into()],
            write: vec!["/home".into()],
        },
        rules: vec![rule("guarded", RuleVerdict::Ask, "guarded")],
        budget: Budget::default(),
        caps: Caps { steps: 20, tool_calls: 50, wall_ms: 3_600_000 },
        in_doubt: InDoubt::Ask,
    };
    let mut home_budget = Budget::default();
    home_budget.day.tokens = Some(1_000_000);
    for change in changes {
        match change {
            Change::Ungrant(tool) => agent.grants.tools.retain(|granted| granted != tool),
            Change::Deny(tool) => agent.rules.push(rule("narrowed", RuleVerdict::Deny, tool)),
            Change::DayTokens(most) => home_budget.day.tokens = Some(*most),
            Change::AssumeDone => agent.in_doubt = InDoubt::AssumeDone,
        }
    }
    let price = Price { input: 1_000_000, cached_input: 1_000_000, cache_write: 1_000_000, output: 1_000_000 };
    let model =
        Model { provider: "p".into(), name: "m".into(), context_tokens: 100_000, max_output_tokens: 100, price };
    Policy {
        epoch: 0,
        principals: BTreeMap::from([("owner".into(), Role::Owner)]),
        agents: BTreeMap::from([("main".into(), agent)]),
        models: BTreeMap::from([("m".into(), model)]),
        tools: manifests(),
        home_budget,
        ..Policy::default()
    }
}
