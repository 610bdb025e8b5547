//! The home of these tests, and what another writer puts into its journal.
use std::sync::mpsc::sync_channel;

use backstay_kernel::id::{Seq, SessionId};
use backstay_kernel::policy::Policy;
use backstay_kernel::rule::RuleVerdict;
use backstay_kernel::tool::Idempotency;
pub use backstay_sim::setting::owner;
use backstay_sim::setting::{self, rule};
pub use backstay_sim::stage::{LIMITS, Line, Play, asked, call, count, decide, edit, message, slowly};
use backstay_store::{Append, HeadUpdate, NewSession, Store};

/// A tool of each class; `edit` and `slow` may take next to no time; somebody is asked about `guarded`.
pub fn policy() -> Policy {
    let mut policy = setting::policy(&[
        ("look", Idempotency::Pure),
        ("put", Idempotency::Keyed),
        ("send", Idempotency::Unsafe),
        ("edit", Idempotency::Probed),
        ("slow", Idempotency::Keyed),
        ("guarded", Idempotency::Unsafe),
    ]);
    for tool in ["edit", "slow"] {
        policy.tools.get_mut(tool).unwrap().timeout_ms = 1;
    }
    policy.agents.get_mut("main").unwrap().rules.push(rule(RuleVerdict::Ask, "guarded"));
    policy
}

/// An append that the engine knows nothing of.
pub fn append(store: &Store, session: SessionId, expected: Seq, entry: String) -> Append {
    let new = NewSession { agent: "main".into(), principal: "ann".into(), channel: "api".into(), title: None };
    Append {
        session,
        expected,
        at: 1,
        lineage: store.lineage(),
        records: 1,
        entry,
        head: HeadUpdate::default(),
        create: (expected == Seq(0)).then_some(new),
        bodies: Vec::new(),
        inbox: None,
        ledger: Vec::new(),
        snapshot: None,
        memories: Vec::new(),
    }
}

/// The first append of a session that only another writer has.
pub fn elsewhere(store: &Store) -> Append {
    let entry = r#"{"v":1,"at":1,"records":[{"resumed":{"by":"ann"}}]}"#;
    append(store, SessionId([9; 10]), Seq(0), entry.to_owned())
}

pub fn commit(store: &Store, append: Append) {
    let (done, outcome) = sync_channel(1);
    store.append(append, Box::new(move |told| done.send(told).unwrap()));
    outcome.recv().unwrap().unwrap();
}
