//! Calls that speak with a repository elsewhere: which grant lets them, and when they ask whatever a rule allows.
use backstay_kernel::destination::{Audience, Destination, HostGrant, Method};
use backstay_kernel::effect::CallRef;
use backstay_kernel::facts::Facts;
use backstay_kernel::flow::{Flow, Named, Sources, Values, named, wants_names};
use backstay_kernel::git::{Git, GitGrant, Push, repository};
use backstay_kernel::id::Seq;
use backstay_kernel::judge::judge;
use backstay_kernel::label::{Confidentiality, Integrity, Label, Source};
use backstay_kernel::record::{Reason, Verdict};
use backstay_kernel::rule::RuleVerdict;
use backstay_kernel::tool::{ArgumentRole, EffectClass};
use backstay_kernel::url::Url;
use backstay_kernel::words::{Kind, extract};

use crate::harness::{TestSession, body, repeat, rule, tuple};

const EFFECT: Seq = Seq(9);
const URL: &str = "https://git.test/acme/app.git";

/// An agent that may push to `agent/`, and is allowed to by a rule.
fn allowed(audience: Audience, secrets: bool) -> TestSession {
    let mut t = TestSession::new();
    t.type_in(1);
    let shell = t.policy.tools.get_mut("shell").unwrap();
    shell.arguments = vec![
        ("url".into(), ArgumentRole::Authority(Kind::Url)),
        ("ref".into(), ArgumentRole::Authority(Kind::QuotedString)),
    ];
    let at = HostGrant {
        host: "git.test".into(),
        port: 443,
        methods: vec![Method::Get, Method::Post],
        path_prefix: "/".into(),
        allow_private: Vec::new(),
        audience,
        secrets,
        tunnel: false,
    };
    t.agent().grants.git = vec![GitGrant { repo: "git.test/acme".into(), at, push: vec!["refs/heads/agent/*".into()] }];
    t.agent().rules = vec![rule("allow", RuleVerdict::Allow, &[])].into();
    t
}

fn facts(url: &str, push: Option<(&str, bool)>) -> Facts {
    let to = Destination::of(&Url::read(url).unwrap(), if push.is_some() { Method::Post } else { Method::Get }, 0);
    let (name, acts) = push.unwrap_or(("HEAD", false));
    let change = Push { old: None, new: "1".repeat(40), force: false, changed: Some(Vec::new()), acts };
    let git = Git { repo: repository(&to), refs: vec![name.into()], push: push.map(|_| Box::new(change)) };
    let class = if push.is_some() { EffectClass::Send } else { EffectClass::Write };
    Facts { destination: Some(to), git: Some(Box::new(git)), ..Facts::new(class, Vec::new()) }
}

fn said(t: &TestSession, facts: &Facts, named: &Named) -> Option<Option<Flow>> {
    let call = CallRef { calls: body(1), index: 0, tool: Some("shell".into()), repeat: repeat("x", 1) };
    match judge(&t.session, EFFECT, &call, facts, named, &t.frame()).verdict {
        Verdict::Allow { .. } => Some(None),
        Verdict::Ask { by: Reason::Flow(flow), .. } => Some(Some(flow)),
        Verdict::Deny { by: Reason::NoGrant } => None,
        other => panic!("{other:?}"),
    }
}

/// What a person's message says of a push to `agent/x`.
fn says(t: &TestSession, facts: &Facts, text: &str) -> Named {
    let arguments = format!("{{\"url\":\"{URL}\",\"ref\":\"agent/x\"}}");
    let values = Values::read(&t.policy.tools["shell"], &arguments);
    let from = t.session.turn.as_ref().unwrap().said[0].seq;
    let (messages, words) = ([(from, extract(text, &[]))], [extract(text, &[])]);
    let sources = Sources { messages: &messages, words: &words, ..Sources::default() };
    named(&t.session, EFFECT, facts, &t.policy, (&values, &tuple(&values, EffectClass::Send)), &sources)
}

const ALLOWED: Option<Option<Flow>> = Some(None);

#[test]
fn a_repository_is_spoken_with_by_a_grant_of_its_own_and_pushed_to_where_that_says_so() {
    let mut t = allowed(Audience::Home, false);
    let of = |t: &TestSession, url: &str, push| {
        let facts = facts(url, push);
        said(t, &facts, &says(t, &facts, &format!("push to {URL} as \"agent/x\"")))
    };
    assert_eq!(of(&t, URL, None), ALLOWED);
    assert_eq!(of(&t, URL, Some(("refs/heads/agent/x", false))), ALLOWED);
    assert_eq!(of(&t, URL, Some(("refs/heads/main", false))), None);
    assert_eq!(of(&t, "https://git.test/other/app.git", None), None);
    assert_eq!(of(&t, "https://other.test/acme/app.git", None), None);
    // One that says nothing of where it goes goes nowhere.
    let lost = Facts { destination: None, ..facts(URL, None) };
    assert_eq!(said(&t, &lost, &Named::default()), None);
    // And a grant of the host is none of the repository, nor the other way round.
    let at = t.agent().grants.git.remove(0).at;
    t.agent().grants.hosts = vec![at.clone()];
    assert_eq!(of(&t, URL, None), None);
    let plain = Facts { git: None, ..facts(URL, None) };
    assert_eq!(said(&t, &plain, &Named::default()), ALLOWED);
    t.agent().grants.git = vec![GitGrant { repo: "git.test".into(), at, push: Vec::new() }];
    t.agent().grants.hosts.clear();
    assert_eq!((said(&t, &plain, &Named::default()), of(&t, URL, None)), (None, ALLOWED));
}

#[test]
fn a_push_asks_where_others_act_by_it_where_it_is_told_too_much_and_always_after_untrusted_words() {
    let push = |acts| facts(URL, Some(("refs/heads/agent/x", acts)));
    let asks = |flow| Some(Some(flow));
    let mut t = allowed(Audience::Home, false);
    let of = |t: &TestSession, text: &str| says(t, &push(false), text);
    // Commits are of a directory, which is never trusted: a person names where they go, also where all is trusted.
    assert!(wants_names(&t.session, Some("shell"), &push(false), &t.policy));
    assert!(!wants_names(&t.session, Some("shell"), &facts(URL, None), &t.policy));
    let all = of(&t, &format!("please push to {URL} as \"agent/x\""));
    assert_eq!(said(&t, &push(false), &all), ALLOWED);
    for text in ["push the branch", "please push as \"agent/x\"", &format!("look at {URL} as \"agent/x\"")] {
        assert_eq!(said(&t, &push(false), &of(&t, text)), asks(Flow::UnnamedTarget), "{text}");
    }
    assert_eq!(said(&t, &push(true), &all), asks(Flow::ActsElsewhere), "no rule lifts it");
    let secret = Named { reads: Some(Confidentiality::Secret), ..all.clone() };
    assert_eq!(said(&t, &push(false), &secret), asks(Flow::AboveClearance), "of what its directory holds");
    assert_eq!(said(&t, &facts(URL, None), &secret), asks(Flow::AboveClearance), "names of commits tell of them");
    assert_eq!(said(&allowed(Audience::Home, true), &push(false), &secret), ALLOWED);
    assert_eq!(said(&allowed(Audience::Public, false), &push(false), &Named::default()), asks(Flow::AboveClearance));
    t.session.label = Label { integrity: Integrity::Untrusted, ..Label::of(Source::Tool) };
    assert_eq!(said(&t, &push(false), &Named::default()), asks(Flow::UnnamedTarget));
    assert_eq!(said(&t, &push(false), &secret), asks(Flow::SecretLeaves));
    let roles = std::mem::take(&mut t.policy.tools.get_mut("shell").unwrap().arguments);
    assert_eq!(said(&t, &facts(URL, None), &Named::default()), ALLOWED, "what only asks");
    t.policy.tools.get_mut("shell").unwrap().arguments = roles;
    // One message names all of it, and nobody has looked at what is in the commits.
    let all = of(&t, &format!("please push to {URL} as \"agent/x\""));
    assert!(all.warrant.is_some() && all.is_clear);
    assert_eq!(said(&t, &push(false), &all), asks(Flow::StrayPayload));
    assert_eq!(said(&t, &push(true), &all), asks(Flow::ActsElsewhere));
    assert!(of(&t, &format!("please look at {URL} as \"agent/x\"")).warrant.is_none(), "nobody said push");
}
