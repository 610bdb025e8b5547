//! The set-up of every simulated home: its tools, one of each class, and its policy.
use backstay_kernel::limit::{Limit, Measure, Over};
use backstay_kernel::policy::{InDoubt, Policy};
use backstay_kernel::rule::{Rule, RuleVerdict};
use backstay_kernel::tool::{ArgumentRole, EffectClass, Idempotency, Known, Listing};
use backstay_kernel::words::{Kind, Sign};

use crate::setting::{self, rule};

const HOUR_MS: u64 = 3_600_000;
/// Sessions of a simulated home; far more than any has.
pub const SESSIONS_MAX: usize = 1000;

const TOOLS: &[(&str, Idempotency)] = &[
    ("look", Idempotency::Pure),
    ("set", Idempotency::Idempotent),
    ("put", Idempotency::Keyed),
    ("file", Idempotency::Probed),
    ("send", Idempotency::Unsafe),
    ("guarded", Idempotency::Unsafe),
    ("fails", Idempotency::Keyed),
    ("list", Idempotency::Idempotent),
    ("tell", Idempotency::Unsafe),
];

/// What `list` says of whom `tell` may be told to reach.
pub const LISTED: &str = r#"[{"name":"Ann","key":"7"},{"name":"Bob","key":"8"}]"#;

/// What an operator changes between two lives of the process, or by a reload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// This tool is no longer granted.
    Ungrant(&'static str),
    /// A rule denies this tool.
    Deny(&'static str),
    /// The day's tokens of the whole home.
    DayTokens(u64),
    /// This many calls of the tool in an hour, and no more.
    Limit(&'static str, u64),
    /// What is in doubt counts as done.
    AssumeDone,
    /// What people want done is planned from their own words.
    Scope,
}

#[must_use]
pub fn policy(changes: &[Change]) -> Policy {
    let mut policy = setting::policy(TOOLS);
    policy.home_budget.day.tokens = Some(1_000_000);
    name(&mut policy);
    let Some(agent) = policy.agents.get_mut("main") else { return policy };
    agent.rules.push(rule(RuleVerdict::Ask, "guarded"));
    for change in changes {
        match change {
            Change::Ungrant(tool) => agent.grants.tools.retain(|granted| granted != tool),
            Change::Deny(tool) => agent.rules.push(rule(RuleVerdict::Deny, tool)),
            Change::DayTokens(most) => policy.home_budget.day.tokens = Some(*most),
            Change::Limit(tool, max) => {
                let limit = Limit {
                    measure: Measure::Count,
                    per: vec![],
                    of_home: false,
                    window_ms: HOUR_MS,
                    max: *max,
                    currency: None,
                    over: Over::Deny,
                };
                agent.rules.push(Rule { limits: vec![limit], ..rule(RuleVerdict::Allow, tool) });
            }
            Change::AssumeDone => agent.in_doubt = InDoubt::AssumeDone,
            Change::Scope => agent.scope = true,
        }
    }
    policy
}

/// Whom `tell` reaches is a key, for which a name of `list` stands.
fn name(policy: &mut Policy) {
    if let Some(list) = policy.tools.get_mut("list") {
        list.class = EffectClass::Read;
    }
    let Some(tell) = policy.tools.get_mut("tell") else { return };
    let [tool, arguments, name, value] = ["list", "{}", "/name", "/key"].map(str::to_owned);
    let sign = Sign::Quoted;
    let listing = Listing { tool, arguments, list: String::new(), name, value, sign, unquoted: false };
    tell.arguments = vec![("n".to_owned(), ArgumentRole::Authority(Kind::Id))];
    tell.known = vec![("n".to_owned(), Known::Listing(Box::new(listing)))];
}

/// How often one of its tools may act; none for a tool that it does not have.
#[must_use]
pub fn idempotency(tool: &str) -> Option<Idempotency> {
    TOOLS.iter().find(|(name, _)| *name == tool).map(|(_, idempotency)| *idempotency)
}
