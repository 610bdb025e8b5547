//! The stored form of every record, as bytes in a file: what was written by any released version
//! must be read by all later ones, so these files only ever grow.
use std::collections::BTreeSet;
use std::net::IpAddr;

use backstay_kernel::budget::{Amount, Usage};
use backstay_kernel::destination::{Audience, Connection, Destination, Method, Reachable};
use backstay_kernel::effect::{CallRef, FailureClass, Finish, Probed};
use backstay_kernel::facts::{Access, Addressed, Facts, Invalid, PathFact, Probe, ProgramFile, Starts, Tier};
use backstay_kernel::flow::{Composed, Flow, Origin, Provenance, Warrant};
use backstay_kernel::git::{Git, Push};
use backstay_kernel::home::{FreezeReason, HomeRecord, Speaks, Token, TokenScope, token_hash};
use backstay_kernel::id::{BodyRef, Boot, Digest, RepeatKey, Seq, SessionId};
use backstay_kernel::label::{Confidentiality, Integrity, Label, Source, Sources};
use backstay_kernel::mode::{Scope, WorkMode};
use backstay_kernel::policy::Role;
use backstay_kernel::reached::Seen;
use backstay_kernel::record::{
    Admitted, BounceReason, Cap, Completion, Counted, Decision, End, Ended, Entry, Grounds, InScope, Judged, LoopRule,
    Mode, Opened, Planned, Reason, Record, Reservation, Resolution, Retried, Scoped, Started, StopReason, TurnEnded,
    TurnStarted, Used, VERSION, Verdict,
};
use backstay_kernel::request::Request;
use backstay_kernel::rule::{Approvers, Field, RuleVerdict, Who};
use backstay_kernel::standing::Standing;
use backstay_kernel::tool::{Answerer, EffectClass, Idempotency};
use backstay_kernel::url::Url;
use backstay_kernel::words::{Atom, Kind, Typed};
use serde::{Serialize, de::DeserializeOwned};

use crate::harness::record_word;

fn body(id: u64) -> BodyRef {
    BodyRef { id, digest: Digest([u8::try_from(id).unwrap(); 32]), bytes: 42 }
}

fn facts() -> Facts {
    Facts {
        network: Box::default(),
        packages: Box::default(),
        git: None,
        declared: None,
        addressed: None,
        class: EffectClass::Write,
        reversible: None,
        paths: vec![PathFact::new(Access::Read, "/w/a".to_owned()), PathFact::new(Access::Write, "/w/b".to_owned())],
        probe: Some(Probe { before: None, after: Digest([7; 32]) }),
        more_paths: false,
        bytes_out: None,
        programs: Box::default(),
        starts: Starts::Unknown,
        files: Box::default(),
        tier: None,
        destination: None,
    }
}

const SECRET: Label = Label { conf: Confidentiality::Secret, ..Label::of(Source::Tool) };

/// Of a verdict that rests on nothing.
fn bare() -> Grounds {
    let (policy, used, origins) = (Digest::default(), Vec::new(), Vec::new());
    Grounds {
        policy,
        line: None,
        used,
        origins,
        warrant: None,
        is_clear: false,
        composed: None,
        reads: None,
        arguments: None,
        entry: None,
        packages: None,
        provenance: None,
    }
}

fn call(tool: Option<&str>) -> CallRef {
    CallRef { calls: body(3), index: 1, tool: tool.map(str::to_owned), repeat: RepeatKey([1, 2, 3, 4, 5, 6, 7, 8]) }
}

fn beginnings() -> Vec<Record> {
    let admitted = |mode, source| {
        let (principal, channel) = ("ann".to_owned(), "api".to_owned());
        Record::Admitted(Admitted { principal, channel, mode, body: body(2), label: Label::of(source), typed: None })
    };
    vec![
        Record::Opened(Opened {
            agent: "main".to_owned(),
            principal: "ann".to_owned(),
            channel: "api".to_owned(),
            title: Some(body(1)),
            lineage: 1,
        }),
        admitted(Mode::Queue, Source::Quoted),
        admitted(Mode::Steer, Source::Principal),
        admitted(Mode::Interrupt, Source::Memory),
        Record::Admitted(Admitted {
            principal: "ann".to_owned(),
            channel: "cli".to_owned(),
            mode: Mode::Queue,
            body: body(2),
            label: Label::TYPED.join(Label::of(Source::Quoted)),
            typed: Some(Typed { quotes: vec![(0, 9), (20, 42)], atoms: Some(body(18)) }),
        }),
        Record::TurnStarted(TurnStarted { messages: vec![Seq(2), Seq(3)], label: None }),
        Record::TurnStarted(TurnStarted { messages: vec![Seq(2)], label: Some(joined()) }),
        Record::Entered { messages: vec![Seq(4)] },
        Record::Windowed { first: 12 },
        Record::Planned(Planned::Model { turn: Seq(5), model: "m".to_owned(), output_tokens_max: 1_000 }),
        Record::Planned(Planned::Tool { turn: Seq(5), call: call(Some("write_file")) }),
        Record::Planned(Planned::Tool { turn: Seq(5), call: call(None) }),
    ]
}

fn verdicts() -> Vec<Record> {
    let ask =
        |approvers| Verdict::Ask { by: Reason::ClassDefault, approvers, expires_at: 9, digest: Digest([8; 32]), at: 0 };
    let verdicts = vec![
        (Idempotency::Probed, Answerer::Tool, Verdict::Allow { by: Reason::ClassDefault }),
        (Idempotency::Pure, Answerer::Human, Verdict::Allow { by: Reason::Rule("reads".to_owned()) }),
        (Idempotency::Unsafe, Answerer::Tool, ask(Approvers::from(Who::Roles(vec![Role::Owner, Role::Approver])))),
        (Idempotency::Keyed, Answerer::Tool, ask(Approvers::from(Who::Principals(vec!["ann".to_owned()])))),
        (Idempotency::Idempotent, Answerer::Tool, Verdict::Deny { by: Reason::NoGrant }),
        (Idempotency::Unsafe, Answerer::Tool, Verdict::Invalid { why: Invalid::BadArguments, detail: Some(body(4)) }),
        (Idempotency::Unsafe, Answerer::Tool, Verdict::Blocked { repeats: 3 }),
        (Idempotency::Unsafe, Answerer::Tool, Verdict::TooMany),
    ];
    let judged = |(idempotency, answerer, verdict): (_, _, Verdict)| {
        let facts = matches!(verdict, Verdict::Allow { .. } | Verdict::Ask { .. }).then(facts);
        Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds: None })
    };
    verdicts.into_iter().map(judged).collect()
}

/// What later versions have added to a verdict.
fn judged_later() -> Vec<Record> {
    let url = Url::read("https://api.example.com/v1/a").unwrap();
    let going = Facts { destination: Some(Destination::of(&url, Method::Post, 0)), ..facts() };
    let facts = Some(Facts { more_paths: true, bytes_out: Some(7), ..facts() });
    let (idempotency, answerer) = (Idempotency::Unsafe, Answerer::Tool);
    let verdict = Verdict::Allow { by: Reason::ClassDefault };
    let policy = Digest([9; 32]);
    let used = vec![
        Used::Agent("main".to_owned()),
        Used::Principal("ann".to_owned()),
        Used::Role(Role::Owner),
        Used::Channel("api".to_owned()),
        Used::Tool("write_file".to_owned()),
        Used::Class,
        Used::Path,
        Used::BytesOut,
        Used::Clock(9),
        Used::Weekday(9),
        Used::Missing(Field::Path),
    ];
    let labels = vec![Used::LabelConf(Confidentiality::Secret), Used::LabelIntegrity(Integrity::Untrusted)];
    let judged = |facts, grounds| {
        let verdict = verdict.clone();
        let grounds: Option<Grounds> = grounds;
        let grounds = grounds.map(Box::new);
        Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds })
    };
    let asked = |flow| {
        let (approvers, digest) = (Approvers::owners(), Digest([8; 32]));
        let verdict = Verdict::Ask { by: Reason::Flow(flow), approvers, expires_at: 9, digest, at: 0 };
        let (facts, grounds) = (None, None);
        Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds })
    };
    vec![
        judged(facts, None),
        judged(None, Some(Grounds { policy, ..bare() })),
        judged(None, Some(Grounds { policy, line: Some(12), used, ..bare() })),
        judged(None, Some(Grounds { policy, origins: vec![Origin { path: 1, from: Seq(2) }], ..bare() })),
        asked(Flow::UnnamedPath),
        asked(Flow::UnnamedTarget),
        judged(None, Some(Grounds { policy, line: Some(12), used: labels, ..bare() })),
        judged(
            Some(going),
            Some(Grounds {
                policy,
                line: Some(12),
                used: vec![Used::Host, Used::Port, Used::Method, Used::UrlPath, Used::UrlBytes],
                ..bare()
            }),
        ),
        asked(Flow::AboveClearance),
        asked(Flow::SecretLeaves),
        asked(Flow::StrayPayload),
        asked(Flow::UrlBytes),
        judged(
            None,
            Some(Grounds {
                policy,
                warrant: Some(Warrant { from: Seq(2), tuple: RepeatKey([8; 8]), values: None }),
                is_clear: true,
                composed: Some(Composed { host: "*.example.com".to_owned(), bytes: 40 }),
                ..bare()
            }),
        ),
    ]
}

/// Of a question with two grounds, and of a request whose headers somebody chose.
fn judged_for_two() -> Vec<Record> {
    let by = Reason::Both { by: Box::new(Reason::Rule("sends".to_owned())), flow: Flow::SecretLeaves };
    let ask = Verdict::Ask { by, approvers: Approvers::owners(), expires_at: 9, digest: Digest([8; 32]), at: 0 };
    let to = Destination::of(&Url::read("https://api.example.com/v1/a").unwrap(), Method::Get, 40);
    let facts = Facts { destination: Some(to), ..Facts::new(EffectClass::Read, Vec::new()) };
    let (idempotency, answerer) = (Idempotency::Pure, Answerer::Tool);
    let judged = |verdict, facts| {
        Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds: None })
    };
    vec![judged(ask, None), judged(Verdict::Allow { by: Reason::ClassDefault }, Some(facts))]
}

/// Of a command with a network that may read what is secret.
fn judged_by_what_is_read() -> Record {
    Record::Judged(Judged {
        effect: Seq(8),
        epoch: 2,
        facts: None,
        idempotency: Idempotency::Unsafe,
        answerer: Answerer::Tool,
        verdict: Verdict::Allow { by: Reason::ClassDefault },
        grounds: Some(Box::new(Grounds { reads: Some(Confidentiality::Secret), ..bare() })),
    })
}

/// Of a command with a network.
fn reaching() -> Vec<Record> {
    let place = |host: &str, tunnel| Reachable {
        host: host.to_owned(),
        port: 443,
        methods: vec![Method::Get, Method::Head],
        tunnel,
    };
    let network = vec![place("a.example.com", false), place("b.example.com", true)];
    let facts = Some(Facts { network: network.into(), ..Facts::new(EffectClass::Send, Vec::new()) });
    let (by, approvers) = (Reason::Flow(Flow::OpenNetwork), Approvers::owners());
    let verdict = Verdict::Ask { by, approvers, expires_at: 9, digest: Digest([8; 32]), at: 0 };
    let (idempotency, answerer) = (Idempotency::Unsafe, Answerer::Tool);
    vec![Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds: None })]
}

/// Of a command that names packages, by itself and as a message named them.
fn asks_for_packages() -> [Record; 2] {
    let network =
        [Reachable { host: "a.example.com".to_owned(), port: 443, methods: vec![Method::Get], tunnel: false }];
    let packages = ["left-pad@1.3.0", "serde"].map(str::to_owned);
    let facts =
        Facts { network: network.into(), packages: packages.into(), ..Facts::new(EffectClass::Execute, Vec::new()) };
    let of = |flow, packages| {
        let (by, approvers) = (Reason::Flow(flow), Approvers::owners());
        let verdict = Verdict::Ask { by, approvers, expires_at: 9, digest: Digest([8; 32]), at: 0 };
        let (idempotency, answerer, facts) = (Idempotency::Unsafe, Answerer::Tool, Some(facts.clone()));
        let grounds = Some(Box::new(Grounds { packages, ..bare() }));
        Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds })
    };
    [of(Flow::UnnamedPackage, None), of(Flow::OpenNetwork, Some(Seq(2)))]
}

/// Of a command whose program was looked at.
fn judged_with_files() -> Vec<Record> {
    let file = ProgramFile { real: "/usr/bin/cat".to_owned(), digest: Digest([5; 32]) };
    let (programs, tier) = (vec!["cat".to_owned()], Some(Tier::Full));
    let facts =
        Facts { programs: programs.into(), files: Box::new([file]), tier, ..Facts::new(EffectClass::Read, Vec::new()) };
    let (idempotency, answerer) = (Idempotency::Unsafe, Answerer::Tool);
    let (verdict, facts) = (Verdict::Allow { by: Reason::ClassDefault }, Some(facts));
    vec![Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds: None })]
}

/// Of a fetch, and of a push that other programs act by.
fn speaks_with_a_repository() -> Vec<Record> {
    let url = Url::read("https://git.example.com/acme/app.git").unwrap();
    let git = |method, push: Option<Push>| {
        let (repo, refs) = ("git.example.com/acme/app".to_owned(), vec!["refs/heads/main".to_owned()]);
        let git = Some(Box::new(Git { repo, refs, push: push.map(Box::new) }));
        let destination = Some(Destination::of(&url, method, 0));
        Some(Facts { destination, git, ..Facts::new(EffectClass::Send, Vec::new()) })
    };
    let (old, changed) = (Some("1".repeat(40)), Some(vec![".github/workflows/ci.yml".to_owned()]));
    let push = Push { old, new: "2".repeat(40), force: true, changed, acts: true };
    let (by, approvers) = (Reason::Flow(Flow::ActsElsewhere), Approvers::owners());
    let ask = Verdict::Ask { by, approvers, expires_at: 9, digest: Digest([8; 32]), at: 0 };
    let used = vec![Used::Repo, Used::Ref, Used::Force, Used::Changed];
    let (idempotency, answerer) = (Idempotency::Unsafe, Answerer::Tool);
    let judged = |verdict, facts, grounds: Option<Grounds>| {
        let grounds = grounds.map(Box::new);
        Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds })
    };
    let fetch = judged(Verdict::Allow { by: Reason::ClassDefault }, git(Method::Get, None), None);
    vec![fetch, judged(ask, git(Method::Post, Some(push)), Some(Grounds { used, ..bare() }))]
}

/// Of a question that takes two people, and the yes of one of them.
fn judged_by_two() -> Vec<Record> {
    let who = Who::Roles(vec![Role::Approver]);
    let approvers = Approvers { quorum: 2, but_requester: true, channels: vec!["cli".to_owned()], ..who.into() };
    let by = Reason::Rule("sends".to_owned());
    let verdict = Verdict::Ask { by, approvers, expires_at: 9, digest: Digest([8; 32]), at: 0 };
    let (idempotency, answerer, facts, grounds) = (Idempotency::Unsafe, Answerer::Tool, None, None);
    let judged = Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds };
    let (decision, by) = (Decision::Approve, Some("ann".to_owned()));
    vec![Record::Judged(judged), Record::Decided { effect: Seq(8), decision, by, speaks: None, note: None }]
}

fn limited() -> Vec<Record> {
    vec![
        Record::Judged(Judged {
            effect: Seq(8),
            epoch: 2,
            facts: None,
            idempotency: Idempotency::Unsafe,
            answerer: Answerer::Tool,
            verdict: Verdict::Deny { by: Reason::Limit("few".to_owned()) },
            grounds: None,
        }),
        Record::Started(Started {
            effect: Seq(8),
            at: 10,
            boot: Boot(77),
            epoch: 2,
            attempt: 1,
            request: None,
            reservation: None,
            counted: vec![
                Counted { window: "limit:main/count/3600000/0/few".to_owned(), units: 1, max: Some(2) },
                Counted { window: "limit:main/bytes_out/3600000/0/few".to_owned(), units: 7, max: None },
            ],
        }),
    ]
}

fn middles() -> Vec<Record> {
    let effect = Seq(8);
    let by = || Some("ann".to_owned());
    let request = Request { rope: body(5), digest: Digest([6; 32]), bytes: 900, bytes_unchanged: 800 };
    let amount = Amount { tokens: 1_900, micro_usd: 12 };
    let started = |request, reservation| {
        let counted = Vec::new();
        Record::Started(Started { effect, at: 10, boot: Boot(77), epoch: 2, attempt: 1, request, reservation, counted })
    };
    let mut records = vec![
        started(Some(request), Some(Reservation { amount, windows: vec!["home/day/2026-11-21".to_owned()] })),
        started(None, None),
        Record::Decided { effect, decision: Decision::Approve, by: by(), speaks: None, note: Some(body(9)) },
        Record::Decided { effect, decision: Decision::Deny, by: by(), speaks: None, note: None },
        Record::Decided { effect, decision: Decision::Expire, by: None, speaks: None, note: None },
        Record::Answered {
            effect,
            body: body(10),
            by: "ann".to_owned(),
            label: Label::of(Source::Principal),
            typed: None,
        },
        Record::Answered {
            effect,
            body: body(10),
            by: "ann".to_owned(),
            label: Label::TYPED,
            typed: Some(Typed::default()),
        },
        Record::Lapsed { effect, boot: Boot(77) },
        Record::Doubted { effect, boot: Boot(77) },
        Record::Resolved { effect, resolution: Resolution::Done, by: by(), note: Some(body(11)) },
        Record::Resolved { effect, resolution: Resolution::NotDone, by: None, note: None },
        Record::Resolved { effect, resolution: Resolution::Retry, by: by(), note: None },
        Record::Cancelled { turn: Seq(5), by: "ann".to_owned() },
        Record::Stopped { by: "ann".to_owned() },
        Record::Resumed { by: "ann".to_owned() },
        Record::Lineage { old: 1, new: 2, from: Seq(30) },
    ];
    let why = [
        BounceReason::PolicyChanged,
        BounceReason::Frozen,
        BounceReason::Stopped,
        BounceReason::ApprovalGone,
        BounceReason::FactsChanged,
        BounceReason::Busy,
    ];
    records.extend(why.map(|why| Record::Bounced { effect, why }));
    let classes = [
        FailureClass::RetrySame,
        FailureClass::Wait,
        FailureClass::Shrink,
        FailureClass::Auth,
        FailureClass::Quota,
        FailureClass::Policy,
        FailureClass::Invalid,
    ];
    records.extend(classes.map(|class| {
        let (detail, not_before) = (body(12), 500);
        Record::Retried(Retried {
            effect,
            at: 11,
            class,
            not_before,
            detail,
            provider_wait: false,
            possibly_billed: true,
        })
    }));
    records
}

fn endings() -> Vec<Record> {
    let usage = Usage { uncached: 10, cache_read: 20, cache_write: 30, output: 40, reasoning: 5 };
    let repeat = RepeatKey([8; 8]);
    let replied =
        |text, calls, finish| End::Replied { text, calls, count: 2, finish, usage: Some(usage), overrun: false };
    let ends = vec![
        replied(Some(body(13)), None, Finish::Stop),
        replied(None, Some(body(14)), Finish::Calls),
        replied(None, None, Finish::Length),
        replied(None, None, Finish::Refusal),
        End::ModelFailed { class: FailureClass::Auth, detail: body(15) },
        End::Done { result: body(16), repeat, label: Label::of(Source::Tool), warned: true, spill: None },
        End::Done { result: body(16), repeat, label: Label::of(Source::Tool), warned: false, spill: Some(body(17)) },
        End::Concluded { done: true, probed: Some(Probed::Done) },
        End::Concluded { done: false, probed: Some(Probed::NotDone) },
        End::Concluded { done: false, probed: Some(Probed::Neither) },
        End::Concluded { done: false, probed: None },
        End::Failed { result: body(17), repeat, label: Label::of(Source::Tool) },
        End::Failed { result: body(17), repeat, label: SECRET },
        End::NotStarted,
        End::Unknown,
    ];
    let spent = Some(Amount { tokens: 100, micro_usd: 2 });
    let ended = |end| Record::Ended(Ended { effect: Seq(8), at: 12, started: Some(Seq(9)), end, spent });
    let mut records: Vec<Record> = ends.into_iter().map(ended).collect();
    let reasons = [
        StopReason::Claimed,
        StopReason::StoppedByUser,
        StopReason::Cap(Cap::Steps),
        StopReason::Cap(Cap::ToolCalls),
        StopReason::Cap(Cap::Wall),
        StopReason::Cap(Cap::TurnBudget),
        StopReason::Cap(Cap::SessionBudget),
        StopReason::Cap(Cap::SharedBudget),
        StopReason::Loop(LoopRule::ExactRepeat),
        StopReason::ContextBlocked,
        StopReason::OutputLimit,
        StopReason::Refusal,
        StopReason::ProviderUnavailable,
        StopReason::Auth,
        StopReason::Quota,
        StopReason::Policy,
        StopReason::Invalid,
        StopReason::Erased,
        StopReason::Clearance,
    ];
    records.extend(reasons.map(|reason| {
        let completion = Completion {
            done: vec![Seq(6)],
            failed: vec![Seq(7)],
            refused: vec![Seq(8)],
            not_started: vec![Seq(9)],
            unknown: vec![Seq(10)],
        };
        let spent = Amount { tokens: 100, micro_usd: 2 };
        Record::TurnEnded(TurnEnded { turn: Seq(5), reason, reply: Some(body(13)), completion, spent, label: None })
    }));
    let (turn, reason, reply, label) = (Seq(5), StopReason::Claimed, None, Some(joined()));
    let (completion, spent) = (Completion::default(), Amount::ZERO);
    records.push(Record::TurnEnded(TurnEnded { turn, reason, reply, completion, spent, label }));
    records
}

/// Of more than one source.
fn joined() -> Label {
    Source::ALL.into_iter().map(Label::of).fold(Label::NOTHING, Label::join)
}

fn held_back() -> Vec<Record> {
    let judged = |mode, would| {
        Record::Judged(Judged {
            effect: Seq(8),
            epoch: 2,
            facts: None,
            idempotency: Idempotency::Unsafe,
            answerer: Answerer::Tool,
            verdict: Verdict::Deny { by: Reason::Mode { mode, would } },
            grounds: Some(Box::new(Grounds { policy: Digest([9; 32]), used: vec![Used::Mode(mode)], ..bare() })),
        })
    };
    vec![
        judged(WorkMode::DryRun, RuleVerdict::Allow),
        judged(WorkMode::ReadOnly, RuleVerdict::Ask),
        Record::Bounced { effect: Seq(8), why: BounceReason::HeldBack },
    ]
}

fn waits() -> Vec<Record> {
    let window = "home/day/2026-11-21".to_owned();
    vec![Record::Unfunded { effect: Seq(8), window, until: 13 }, Record::Overdue { effect: Seq(8) }]
}

fn reached() -> Vec<Record> {
    let connection = |address: IpAddr, secret: Option<&str>| Connection {
        host: "api.example.com".to_owned(),
        port: 443,
        address,
        sent: 7,
        received: 8,
        secret: secret.map(str::to_owned),
    };
    let connections =
        vec![connection([192, 0, 2, 1].into(), None), connection("2001:db8::1".parse().unwrap(), Some("crm"))];
    vec![Record::Connected { effect: Seq(8), connections }]
}

fn looked_up() -> Vec<Record> {
    let planned = Planned::Lookup { turn: Seq(5), of: Seq(8), call: call(Some("crm__people")) };
    vec![Record::Planned(planned), Record::Created { effect: Seq(8), id: body(19) }]
}

fn asked_as_it_was_edited() -> Record {
    let (by, approvers) = (Reason::Flow(Flow::Edited), Approvers::owners());
    let verdict = Verdict::Ask { by, approvers, expires_at: 9, digest: Digest([8; 32]), at: 0 };
    let (idempotency, answerer) = (Idempotency::Unsafe, Answerer::Tool);
    Record::Judged(Judged { effect: Seq(8), epoch: 2, facts: None, idempotency, answerer, verdict, grounds: None })
}

fn edited() -> Vec<Record> {
    let edited =
        |speaks, note| Record::Edited { effect: Seq(8), by: "ann".to_owned(), speaks, call: call(Some("mail")), note };
    vec![edited(Speaks::Human, Some(body(20))), edited(Speaks::Program, None)]
}

fn standing(rule: &str, before: &str) -> Standing {
    let text = format!(
        "{{\"id\":\"0123456789abcdef.7\",\"agent\":\"main\",\"principal\":\"ann\",\"tool\":\"write_file\"{rule},\
         \"arguments\":\"DIGEST\",\"facts\":{{\"digest\":\"DIGEST\"{before}}},\"at\":7,\"until\":9,\"by\":\"bob\"}}"
    );
    serde_json::from_str(&text.replace("DIGEST", &"08".repeat(32))).unwrap()
}

fn home_records() -> Vec<HomeRecord> {
    let by = || "ann".to_owned();
    vec![
        HomeRecord::Config { epoch: 2, text: body(1), diff: Some(body(2)), by: by() },
        HomeRecord::TokenCreated(Token {
            id: "bst_1".to_owned(),
            hash: token_hash("bst_1_secret"),
            principal: by(),
            speaks: Speaks::Human,
            scope: TokenScope::Chat,
            created_at: 3,
            by: by(),
        }),
        HomeRecord::TokenRevoked { id: "bst_1".to_owned(), by: by() },
        HomeRecord::Frozen { by: by(), why: FreezeReason::Operator },
        HomeRecord::Frozen { by: by(), why: FreezeReason::Restored },
        HomeRecord::Unfrozen { by: by() },
        HomeRecord::Restored { old: 1, new: 2 },
        HomeRecord::RootRaised { root: "/w".into(), label: SECRET, session: SessionId([1; 10]), effect: Seq(8) },
        HomeRecord::RootReset { root: "/w".into(), before: SECRET, by: by() },
        HomeRecord::SecretKept { name: "crm".to_owned(), version: "0123abcd".to_owned(), by: by() },
        HomeRecord::SecretRemoved { name: "crm".to_owned(), by: by() },
        HomeRecord::Pinned { epoch: 3, server: "files".to_owned(), pin: body(3), by: by() },
        HomeRecord::Unpinned { epoch: 4, server: "files".to_owned(), why: body(4), by: by() },
        HomeRecord::ModeSet { scope: Scope::Home, mode: WorkMode::ReadOnly, by: by() },
        HomeRecord::ModeSet { scope: Scope::Agent("main".into()), mode: WorkMode::DryRun, by: by() },
        HomeRecord::ModeSet { scope: Scope::Channel("api".into()), mode: WorkMode::Normal, by: by() },
        HomeRecord::TokenCreated(Token {
            id: "bst_2".to_owned(),
            hash: token_hash("bst_2_secret"),
            principal: by(),
            speaks: Speaks::Program,
            scope: TokenScope::Operate,
            created_at: 3,
            by: by(),
        }),
        HomeRecord::StandingGranted(standing(
            ",\"rule\":{\"name\":\"posts\",\"digest\":\"DIGEST\"}",
            ",\"before\":\"DIGEST\"",
        )),
        HomeRecord::StandingGranted(standing("", "")),
        HomeRecord::StandingRevoked { id: "0123456789abcdef.7".to_owned(), by: by() },
        HomeRecord::Reached {
            agent: "main".to_owned(),
            places: vec!["email ann@x.test".to_owned(), "host api.example.com:443".to_owned()],
            by_person: true,
            session: SessionId([7; 10]),
            effect: Seq(8),
        },
    ]
}

/// One line per record, each an entry of its own: the bytes that the chain hashes.
fn stored<R: Serialize + Clone>(records: &[R]) -> String {
    let line = |record: &R| {
        let entry = Entry { v: VERSION, at: 1_795_219_200_000, records: vec![record.clone()] };
        serde_json::to_string(&entry).unwrap() + "\n"
    };
    records.iter().map(line).collect()
}

#[track_caller]
fn assert_golden<R>(records: &[R], golden: &str)
where
    R: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug,
{
    let now = stored(records);
    for (now, golden) in now.lines().zip(golden.lines()) {
        assert_eq!(now, golden);
    }
    assert_eq!(now.lines().count(), golden.lines().count(), "the file holds:\n{now}");
    for (line, record) in golden.lines().zip(records) {
        let entry: Entry<R> = serde_json::from_str(line).unwrap();
        assert_eq!(entry.records, std::slice::from_ref(record));
    }
}

/// A call that somebody had said yes to for longer than once.
fn stands() -> Record {
    let by = Reason::Standing("0123456789abcdef.7".to_owned());
    Record::Judged(Judged {
        effect: Seq(8),
        epoch: 2,
        facts: None,
        idempotency: Idempotency::Keyed,
        answerer: Answerer::Tool,
        verdict: Verdict::Allow { by },
        grounds: Some(Box::new(Grounds { arguments: Some(Digest([8; 32])), ..bare() })),
    })
}

/// Of a write that other programs act by.
fn judged_by_what_acts() -> Record {
    let (by, approvers) = (Reason::Flow(Flow::ProtectedPath), Approvers::owners());
    let path = PathFact { protected: true, ..PathFact::new(Access::Write, "/w/.git/config".to_owned()) };
    Record::Judged(Judged {
        effect: Seq(8),
        epoch: 2,
        facts: Some(Facts { paths: vec![path], ..facts() }),
        idempotency: Idempotency::Probed,
        answerer: Answerer::Tool,
        verdict: Verdict::Ask { by, approvers, expires_at: 9, digest: Digest([8; 32]), at: 7 },
        grounds: None,
    })
}

fn ended_by_failing_calls() -> Record {
    let (turn, reason, completion) = (Seq(5), StopReason::Loop(LoopRule::FailingCalls), Completion::default());
    Record::TurnEnded(TurnEnded { turn, reason, reply: None, completion, spent: Amount::ZERO, label: None })
}

/// Asks that were opened at a moment, those that wait for room, and what comes of noes.
fn bounded() -> Vec<Record> {
    let by = || Reason::Rule("mail".to_owned());
    let ask = Verdict::Ask { by: by(), approvers: Approvers::owners(), expires_at: 9, digest: Digest([8; 32]), at: 7 };
    let verdicts = [
        ask,
        Verdict::Parked { by: by(), until: None },
        Verdict::Parked { by: Reason::ClassDefault, until: Some(3_600_009) },
        Verdict::Deny { by: Reason::Refused },
    ];
    let judged = |verdict| {
        let (idempotency, answerer, facts) = (Idempotency::Unsafe, Answerer::Tool, Some(facts()));
        Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds: None })
    };
    let (turn, reason, completion) = (Seq(5), StopReason::Denials, Completion::default());
    let ended = TurnEnded { turn, reason, reply: None, completion, spent: Amount::ZERO, label: None };
    verdicts.map(judged).into_iter().chain([Record::TurnEnded(ended)]).collect()
}

/// Of what a declared tool is told.
fn judged_by_its_values() -> Record {
    let facts = Facts {
        addressed: Some(Box::new(Addressed {
            values: vec![Atom(Kind::Email, "ann@x.test".into()), Atom(Kind::Money, "50 EUR".into())],
            more: true,
        })),
        ..facts()
    };
    Record::Judged(Judged {
        effect: Seq(8),
        epoch: 2,
        facts: Some(facts),
        idempotency: Idempotency::Unsafe,
        answerer: Answerer::Tool,
        verdict: Verdict::Allow { by: Reason::Rule("r".to_owned()) },
        grounds: Some(Box::new(Grounds {
            line: Some(3),
            used: vec![Used::Recipient, Used::Account, Used::Amount, Used::Missing(Field::Amount)],
            ..bare()
        })),
    })
}

fn scoped() -> Vec<Record> {
    let grounds = Grounds { entry: Some(1), ..bare() };
    let (facts, idempotency, answerer) = (None, Idempotency::Unsafe, Answerer::Tool);
    let judged = |verdict, grounds: Option<Grounds>| {
        let (facts, grounds) = (facts.clone(), grounds.map(Box::new));
        Record::Judged(Judged { effect: Seq(8), epoch: 2, facts, idempotency, answerer, verdict, grounds })
    };
    let by = Reason::Flow(Flow::OutsideScope);
    let ask = Verdict::Ask { by, approvers: Approvers::owners(), expires_at: 9, digest: Digest([8; 32]), at: 7 };
    let entries = vec![InScope { tool: "mail".to_owned(), count: 2 }];
    vec![
        Record::Planned(Planned::Scope { turn: Seq(5), model: "m".to_owned(), output_tokens_max: 1_000 }),
        Record::Scoped(Scoped { effect: Seq(8), entries, body: body(20), said: Some(body(21)) }),
        Record::Scoped(Scoped { effect: Seq(8), entries: Vec::new(), body: body(20), said: None }),
        judged(Verdict::Allow { by: Reason::ClassDefault }, Some(grounds)),
        judged(ask, None),
    ]
}

/// Of a place that no call had reached, and of a call that leads nowhere.
fn judged_by_where_it_leads() -> Record {
    let used = vec![Used::Seen(Some(Seen::Never)), Used::Seen(None), Used::Missing(Field::Seen)];
    Record::Judged(Judged {
        effect: Seq(8),
        epoch: 2,
        facts: None,
        idempotency: Idempotency::Unsafe,
        answerer: Answerer::Tool,
        verdict: Verdict::Deny { by: Reason::Rule("r".to_owned()) },
        grounds: Some(Box::new(Grounds { line: Some(3), used, ..bare() })),
    })
}

/// Of who speaks, and of how it would be held.
fn judged_by_who_speaks() -> Record {
    let used = vec![Used::Speaks(Speaks::Human), Used::Speaks(Speaks::Program), Used::Tier, Used::Missing(Field::Tier)];
    Record::Judged(Judged {
        effect: Seq(8),
        epoch: 2,
        facts: None,
        idempotency: Idempotency::Unsafe,
        answerer: Answerer::Tool,
        verdict: Verdict::Deny { by: Reason::Rule("r".to_owned()) },
        grounds: Some(Box::new(Grounds { line: Some(3), used, ..bare() })),
    })
}

/// Of a command that joins two, and of a declared tool of whose words nothing is known.
fn judged_by_what_they_start() -> Vec<Record> {
    let of = |starts, programs: &[&str], used| {
        let programs = programs.iter().map(|name| (*name).to_owned()).collect();
        Record::Judged(Judged {
            effect: Seq(8),
            epoch: 2,
            facts: Some(Facts { programs, starts, ..Facts::new(EffectClass::Execute, Vec::new()) }),
            idempotency: Idempotency::Unsafe,
            answerer: Answerer::Tool,
            verdict: Verdict::Deny { by: Reason::Rule("r".to_owned()) },
            grounds: Some(Box::new(Grounds { line: Some(3), used, ..bare() })),
        })
    };
    vec![
        of(Starts::Commands, &["git status", "ls"], vec![Used::Program, Used::Subcommand]),
        of(Starts::Programs, &["pay"], vec![Used::Program, Used::Missing(Field::Subcommand)]),
    ]
}

/// Of where what has entered came from, and of who gets to know.
fn judged_by_who_gets_to_know() -> Record {
    let one = Used::Source(Sources::only(Source::Config));
    let sources = Used::Source([Source::Config, Source::Tool].into_iter().collect());
    let all = Used::Audience(Audience::ALL.to_vec());
    let used = vec![one, sources, all, Used::Audience(Vec::new()), Used::Missing(Field::Audience)];
    Record::Judged(Judged {
        effect: Seq(8),
        epoch: 2,
        facts: None,
        idempotency: Idempotency::Unsafe,
        answerer: Answerer::Tool,
        verdict: Verdict::Deny { by: Reason::Rule("r".to_owned()) },
        grounds: Some(Box::new(Grounds { line: Some(3), used, ..bare() })),
    })
}

/// Of what can be taken back, of what cannot, and of what nobody knows it of.
fn judged_by_what_stays_done() -> Vec<Record> {
    let of = |reversible, used| {
        Record::Judged(Judged {
            effect: Seq(8),
            epoch: 2,
            facts: Some(Facts { reversible, ..Facts::new(EffectClass::Write, Vec::new()) }),
            idempotency: Idempotency::Unsafe,
            answerer: Answerer::Tool,
            verdict: Verdict::Deny { by: Reason::Rule("r".to_owned()) },
            grounds: Some(Box::new(Grounds { line: Some(3), used: vec![used], ..bare() })),
        })
    };
    vec![
        of(Some(false), Used::Reversible(false)),
        of(Some(true), Used::Reversible(true)),
        of(None, Used::Missing(Field::Reversible)),
    ]
}

fn said_yes(speaks: Speaks) -> Record {
    let (by, speaks) = (Some("olga".to_owned()), Some(speaks));
    Record::Decided { effect: Seq(8), decision: Decision::Approve, by, speaks, note: None }
}

/// Of a call that is told apart from others by each value.
fn judged_by_what_it_chooses() -> Record {
    let warrant = Warrant { from: Seq(2), tuple: RepeatKey([8; 8]), values: Some(vec![RepeatKey([9; 8])]) };
    Record::Judged(Judged {
        effect: Seq(8),
        epoch: 1,
        facts: None,
        idempotency: Idempotency::Unsafe,
        answerer: Answerer::Tool,
        verdict: Verdict::Allow { by: Reason::ClassDefault },
        grounds: Some(Box::new(Grounds { warrant: Some(warrant), ..bare() })),
    })
}

/// Of a call whose values come from everywhere, of one that chooses nothing, and of one of which nobody can tell.
fn judged_by_where_values_come_from() -> Record {
    let all = BTreeSet::from(Provenance::ALL);
    let none = Used::Provenance(BTreeSet::new());
    let used = vec![Used::Provenance(all.clone()), none, Used::Missing(Field::Provenance)];
    Record::Judged(Judged {
        effect: Seq(8),
        epoch: 2,
        facts: None,
        idempotency: Idempotency::Unsafe,
        answerer: Answerer::Tool,
        verdict: Verdict::Deny { by: Reason::Rule("r".to_owned()) },
        grounds: Some(Box::new(Grounds { line: Some(3), used, provenance: Some(all), ..bare() })),
    })
}

#[test]
fn the_stored_form_of_every_record_stays() {
    let lists = [
        [beginnings(), verdicts(), middles(), endings(), waits()].concat(),
        [judged_later(), limited(), reached(), held_back(), judged_for_two(), reaching(), judged_with_files()].concat(),
        judged_by_two(),
        vec![judged_by_what_is_read()],
        bounded(),
        looked_up(),
        vec![stands()],
        vec![judged_by_its_values()],
        speaks_with_a_repository(),
        scoped(),
        vec![judged_by_where_it_leads()],
        vec![judged_by_who_speaks()],
        judged_by_what_they_start(),
        vec![judged_by_who_gets_to_know()],
        vec![judged_by_what_acts()],
        vec![judged_by_what_it_chooses()],
        [Speaks::Human, Speaks::Program].map(said_yes).to_vec(),
        vec![ended_by_failing_calls()],
        judged_by_what_stays_done(),
        edited(),
        asks_for_packages().to_vec(),
        vec![judged_by_where_values_come_from()],
        vec![asked_as_it_was_edited()],
    ];
    let records = lists.concat();
    let kinds: BTreeSet<&str> = records.iter().map(record_word).collect();
    assert_eq!(kinds.len(), 27, "every kind of record is there: {kinds:?}");
    assert_golden(&records, include_str!("../golden/records-v1.jsonl"));
}

#[test]
fn the_stored_form_of_every_home_record_stays() {
    assert_golden(&home_records(), include_str!("../golden/home-records-v1.jsonl"));
}
