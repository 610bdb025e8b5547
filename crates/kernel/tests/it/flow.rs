//! Information flow: what a session that has seen untrusted words does not do unasked.
use backstay_kernel::destination::{Audience, Destination, HostGrant, Method, Reachable};
use backstay_kernel::effect::{CallRef, Effect, FailureClass};
use backstay_kernel::facts::{Access, Facts, PathFact, Tier};
use backstay_kernel::flow::{Composed, Flow, Named, Origin, Sources, Values, Warrant, choices, named, wants_names};
use backstay_kernel::id::{Digest, Seq};
use backstay_kernel::judge::judge;
use backstay_kernel::label::{Confidentiality, Integrity, Label, Source};
use backstay_kernel::limits::{COMPOSED_BYTES_MAX, DAY_MS};
use backstay_kernel::policy::Role;
use backstay_kernel::record::{Grounds, Judged, Mode, Reason, Record, Started, StopReason, Verdict};
use backstay_kernel::rule::{Approvers, Field, Rule, RuleVerdict, Test, Who};
use backstay_kernel::tool::{Answerer, ArgumentRole, EffectClass, Idempotency};
use backstay_kernel::url::Url;
use backstay_kernel::words::{Atom, Kind, Typed, extract, is_clear, quotes};
use backstay_kernel::{Input, Session, apply};
use proptest::prelude::*;

use crate::harness::{TestSession, body, repeat, rule, tuple, warrant};

/// What the messages alone name.
fn naming(messages: &[(Seq, Vec<Atom>)]) -> Sources<'_> {
    Sources { messages, ..Sources::default() }
}

/// The call that is judged.
const EFFECT: Seq = Seq(9);

/// A task whose message names values, in a session that has read something.
fn tainted() -> TestSession {
    let mut t = TestSession::new();
    t.policy.workspace = "/w".into();
    t.agent().grants.write = vec!["/w".into(), "/srv".into()];
    let mut message = t.message(1, Mode::Queue);
    message.typed = Some(Typed { quotes: Vec::new(), atoms: Some(body(2)) });
    t.tell(Input::Message(message));
    t.settle();
    t.reply(&[("read", 1)]);
    let read = t.call("read");
    t.done(read, 1);
    assert!(!t.session.label.is_trusted());
    t
}

fn writes(paths: &[&str]) -> Facts {
    let path = |real: &&str| PathFact::new(Access::Write, (*real).to_owned());
    Facts::new(EffectClass::Write, paths.iter().map(path).collect())
}

fn verdict(t: &TestSession, tool: &str, facts: &Facts, origins: &[Origin]) -> Verdict {
    said(t, tool, facts, &Named { origins: origins.to_vec(), ..Named::default() })
}

fn said(t: &TestSession, tool: &str, facts: &Facts, named: &Named) -> Verdict {
    let call = CallRef { calls: body(1), index: 0, tool: Some(tool.into()), repeat: repeat("x", 1) };
    judge(&t.session, EFFECT, &call, facts, named, &t.frame()).verdict
}

fn flow(verdict: &Verdict) -> Option<Flow> {
    if let Verdict::Ask { by: Reason::Flow(flow) | Reason::Both { flow, .. }, .. } = verdict {
        Some(*flow)
    } else {
        None
    }
}

fn is_allowed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Allow { .. })
}

fn message(t: &TestSession) -> Seq {
    t.session.turn.as_ref().unwrap().said[0].seq
}

#[test]
fn a_tainted_session_writes_outside_of_the_workspace_only_where_a_person_said() {
    let mut t = tainted();
    let named = Origin { path: 0, from: message(&t) };
    assert!(is_allowed(&verdict(&t, "shell", &writes(&["/w/a"]), &[])), "the workspace is its own");
    assert_eq!(flow(&verdict(&t, "shell", &writes(&["/srv/a"]), &[])), Some(Flow::UnnamedPath));
    assert!(is_allowed(&verdict(&t, "shell", &writes(&["/srv/a"]), &[named])));
    assert_eq!(flow(&verdict(&t, "shell", &writes(&["/srv/a", "/srv/b"]), &[named])), Some(Flow::UnnamedPath));
    let other = Origin { from: Seq(1), ..named };
    assert_eq!(flow(&verdict(&t, "shell", &writes(&["/srv/a"]), &[other])), Some(Flow::UnnamedPath), "of no message");
    assert_eq!(flow(&verdict(&t, "shell", &writes(&["/w2/a"]), &[])), None, "not granted at all");
    t.policy.workspace = String::new();
    assert_eq!(flow(&verdict(&t, "shell", &writes(&["/w/a"]), &[])), Some(Flow::UnnamedPath), "none is known");
    t.policy.workspace = "/w".into();
    t.session.label = Label::TYPED.said_by_model();
    assert!(is_allowed(&verdict(&t, "shell", &writes(&["/srv/a"]), &[])), "nobody else has spoken in it");
}

#[test]
fn no_rule_lifts_what_information_flow_asks() {
    let mut t = tainted();
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])].into();
    assert_eq!(flow(&verdict(&t, "shell", &writes(&["/srv/a"]), &[])), Some(Flow::UnnamedPath));
    assert!(is_allowed(&verdict(&t, "shell", &writes(&["/w/a"]), &[])));
    let send = Facts::new(EffectClass::Send, Vec::new());
    assert_eq!(flow(&verdict(&t, "mail", &send, &[])), Some(Flow::UnnamedTarget));
    t.agent().rules.push(rule("no", RuleVerdict::Deny, &[(Field::Tool, Test::Equal("shell".into()))]));
    assert!(matches!(verdict(&t, "shell", &writes(&["/srv/a"]), &[]), Verdict::Deny { .. }), "a no stays one");
}

#[test]
fn what_other_programs_act_by_is_written_after_a_question_whoever_named_it_and_whatever_was_seen() {
    let mut t = tainted();
    let facts = |path: &str| {
        let path = PathFact { protected: true, ..PathFact::new(Access::Write, path.to_owned()) };
        Facts::new(EffectClass::Write, vec![PathFact::new(Access::Write, "/w/a".to_owned()), path])
    };
    let from = message(&t);
    let by_person = Named {
        origins: vec![Origin { path: 1, from }],
        warrant: Some(warrant(from, 1)),
        is_clear: true,
        entry: Some(0),
        ..Named::default()
    };
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])].into();
    for (path, scope, label) in [
        ("/w/.git/config", false, t.session.label),
        ("/w/.git/config", true, t.session.label),
        ("/srv/.envrc", false, t.session.label),
        ("/w/.git/config", false, Label::TYPED),
        ("/srv/.envrc", true, Label::TYPED),
    ] {
        (t.session.label, t.agent().scope) = (label, scope);
        for named in [&by_person, &Named::default()] {
            let verdict = said(&t, "shell", &facts(path), named);
            assert_eq!(flow(&verdict), Some(Flow::ProtectedPath), "{path} {scope} {label:?}");
        }
        assert_ne!(flow(&said(&t, "shell", &writes(&[path]), &by_person)), Some(Flow::ProtectedPath));
    }
    t.agent().rules.push(rule("no", RuleVerdict::Deny, &[(Field::Tool, Test::Equal("shell".into()))]));
    assert!(matches!(said(&t, "shell", &facts("/w/.envrc"), &by_person), Verdict::Deny { .. }), "a no stays one");
}

#[test]
fn where_a_rule_asks_too_no_lesser_role_answers_for_what_was_seen() {
    let mut t = tainted();
    let asks = |t: &mut TestSession, approvers: Approvers, path| {
        t.agent().rules = vec![Rule { approvers, expires_ms: 7, ..rule("ask", RuleVerdict::Ask, &[]) }].into();
        match verdict(t, "shell", &writes(&[path]), &[]) {
            Verdict::Ask { by, approvers, expires_at, .. } => (by, approvers, expires_at - t.frame().now),
            other => panic!("{other:?}"),
        }
    };
    let roles = |roles: &[Role]| Approvers::from(Who::Roles(roles.to_vec()));
    let by_rule = Reason::Rule("ask".into());
    assert_eq!(asks(&mut t, roles(&[Role::Approver]), "/w/a"), (by_rule.clone(), roles(&[Role::Approver]), 7));
    let both = Reason::Both { by: Box::new(by_rule), flow: Flow::UnnamedPath };
    assert_eq!(asks(&mut t, roles(&[Role::Approver]), "/srv/a"), (both.clone(), roles(&[Role::Owner]), 7));
    let carl = Approvers::from(Who::Principals(vec!["carl".into()]));
    assert_eq!(asks(&mut t, carl.clone(), "/srv/a"), (both, carl, 7), "whom an owner chose by name");
}

#[test]
fn a_target_that_no_fact_shows_asks_whatever_its_class() {
    let mut t = tainted();
    let facts = writes(&["/w/a"]);
    assert!(is_allowed(&verdict(&t, "shell", &facts, &[])));
    for (role, asks) in [
        (ArgumentRole::Authority(Kind::Email), true),
        (ArgumentRole::UpTo(1), true),
        (ArgumentRole::Authority(Kind::Path), false),
        (ArgumentRole::Selector, false),
        (ArgumentRole::Payload, false),
    ] {
        t.policy.tools.get_mut("shell").unwrap().arguments = vec![("to".into(), role)];
        let found = flow(&verdict(&t, "shell", &facts, &[]));
        assert_eq!(found, asks.then_some(Flow::UnnamedTarget), "{role:?}");
    }
}

/// What deletes sends nothing, and is wanted all the same by somebody's word alone, once for each word.
#[test]
fn what_cannot_be_taken_back_asks_in_a_tainted_session_whatever_its_class_and_arguments() {
    let mut t = tainted();
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])].into();
    let manifest = t.policy.tools.get_mut("write").unwrap();
    manifest.arguments = vec![("id".into(), ArgumentRole::Selector), ("text".into(), ArgumentRole::Payload)];
    let by_word = Named { warrant: Some(warrant(message(&t), 1)), ..Named::default() };
    for class in [EffectClass::Write, EffectClass::Execute] {
        let of = |reversible| Facts { reversible, tier: Some(Tier::Full), ..Facts::new(class, Vec::new()) };
        for reversible in [None, Some(true)] {
            assert!(is_allowed(&said(&t, "write", &of(reversible), &Named::default())), "{class:?} {reversible:?}");
        }
        let deletes = of(Some(false));
        assert_eq!(flow(&said(&t, "write", &deletes, &Named::default())), Some(Flow::UnnamedTarget), "{class:?}");
        assert!(is_allowed(&said(&t, "write", &deletes, &by_word)), "{class:?}");
    }
    let deletes = Facts { reversible: Some(false), ..Facts::new(EffectClass::Write, Vec::new()) };
    // Nothing that was given chooses nothing, but where it stays done.
    let all = [(message(&t), vec![Atom(Kind::Email, "ann@a.ch".into())])];
    let values = Values::read(&t.policy.tools["write"], r#"{"text":"hello"}"#);
    let look = |facts: &Facts| {
        named(&t.session, EFFECT, facts, &t.policy, (&values, &tuple(&values, facts.class)), &naming(&all)).warrant
    };
    assert!(look(&Facts { reversible: None, ..deletes.clone() }).is_some() && look(&deletes).is_none());
}

#[test]
fn what_a_message_names_is_looked_for_where_a_call_cannot_be_taken_back() {
    let mut t = tainted();
    t.policy.tools.get_mut("write").unwrap().arguments = vec![("id".into(), ArgumentRole::Selector)];
    for (reversible, is_wanted) in [(None, false), (Some(true), false), (Some(false), true)] {
        let facts = Facts { reversible, ..Facts::new(EffectClass::Write, Vec::new()) };
        assert_eq!(wants_names(&t.session, Some("write"), &facts, &t.policy), is_wanted, "{reversible:?}");
    }
}

#[test]
fn a_command_that_reaches_the_network_asks_once_untrusted_words_were_seen_and_where_it_is_not_cleared() {
    use Confidentiality::{Internal, Secret};
    let (mut t, named) = cleared();
    let facts = |host: &str, methods: &[Method], tunnel| {
        let place = Reachable { host: host.into(), port: 443, methods: methods.to_vec(), tunnel };
        let class = if place.only_asked() { EffectClass::Execute } else { EffectClass::Send };
        Facts { network: [place].into(), tier: Some(Tier::Full), ..Facts::new(class, Vec::new()) }
    };
    let (asks, sends) =
        (facts("api.example.com", &[Method::Get], false), facts("api.example.com", &[Method::Post], false));
    let mut of = |audience, secrets, conf, trusted, facts: &Facts| {
        t.agent().grants.hosts = vec![grant("api.example.com", audience, secrets)];
        let integrity = if trusted { Integrity::Trusted } else { Integrity::Untrusted };
        t.session.label = Label { conf, integrity, ..t.session.label };
        let verdict = said(&t, "shell", facts, &named);
        if is_allowed(&verdict) { None } else { Some(flow(&verdict).unwrap()) }
    };
    let (named_one, everybody) = (Audience::Named, Audience::Public);
    assert_eq!(of(everybody, false, Internal, true, &asks), None);
    assert_eq!(of(everybody, false, Internal, false, &asks), Some(Flow::OpenNetwork), "whatever a person named");
    assert_eq!(of(named_one, false, Internal, false, &asks), Some(Flow::OpenNetwork));
    assert_eq!(of(named_one, false, Internal, false, &sends), Some(Flow::OpenNetwork));
    assert_eq!(of(everybody, false, Internal, true, &sends), Some(Flow::AboveClearance));
    assert_eq!(of(named_one, false, Internal, true, &sends), None);
    assert_eq!(of(everybody, false, Secret, true, &asks), Some(Flow::AboveClearance));
    assert_eq!(of(named_one, true, Secret, true, &asks), None);
    assert_eq!(of(named_one, true, Secret, false, &asks), Some(Flow::SecretLeaves), "never by itself");
    // What a command may read it may send, whatever the session has seen.
    t.session.label = Label { conf: Internal, integrity: Integrity::Trusted, ..t.session.label };
    for (secrets, asked) in [(false, Some(Flow::AboveClearance)), (true, None)] {
        t.agent().grants.hosts = vec![grant("api.example.com", named_one, secrets)];
        let reads = Named { reads: Some(Secret), ..named.clone() };
        assert_eq!(flow(&said(&t, "shell", &asks, &reads)), asked);
        assert!(is_allowed(&said(&t, "shell", &asks, &named)));
    }
    // Each of several places is to be cleared, and what is not granted is no question.
    t.session.label = Label { conf: Secret, integrity: Integrity::Trusted, ..t.session.label };
    t.agent().grants.hosts =
        vec![grant("api.example.com", Audience::Named, true), grant("b.example.com", Audience::Named, false)];
    let other = facts("b.example.com", &[Method::Get], false);
    let both = Facts { network: [asks.network.clone(), other.network].concat().into(), ..asks.clone() };
    assert_eq!(flow(&said(&t, "shell", &both, &named)), Some(Flow::AboveClearance));
    t.agent().grants.hosts =
        vec![HostGrant { methods: vec![Method::Get], ..grant("api.example.com", named_one, true) }];
    for facts in [sends, facts("b.example.com", &[Method::Get], false), facts("api.example.com", &[], false)] {
        assert_eq!(said(&t, "shell", &facts, &named), Verdict::Deny { by: Reason::NoGrant }, "{facts:?}");
    }
    let tunnel = facts("api.example.com", &[Method::Get], true);
    assert_eq!(said(&t, "shell", &tunnel, &named), Verdict::Deny { by: Reason::NoGrant });
    assert!(is_allowed(&said(&t, "shell", &asks, &named)));
}

/// Any word of a message may be the name of a package; a network is asked about all the same.
#[test]
fn packages_that_a_command_asks_for_are_named_whole_between_quotation_marks_by_one_message() {
    let (mut t, _) = cleared();
    let seq = message(&t);
    let place = Reachable { host: "api.example.com".into(), port: 443, methods: vec![Method::Get], tunnel: false };
    let asks = |packages: &[&str]| Facts {
        network: [place.clone()].into(),
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
        tier: Some(Tier::Full),
        ..Facts::new(EffectClass::Execute, Vec::new())
    };
    let look = |t: &TestSession, texts: &[&str], facts: &Facts| {
        let messages: Vec<_> = texts.iter().map(|text| (seq, extract(text, &quotes(text)))).collect();
        let values = Values::read(&t.policy.tools["shell"], "{}");
        named(&t.session, EFFECT, facts, &t.policy, (&values, &tuple(&values, facts.class)), &naming(&messages))
    };
    let of = |t: &TestSession, texts: &[&str], packages: &[&str]| {
        flow(&said(t, "shell", &asks(packages), &look(t, texts, &asks(packages))))
    };
    let (unnamed, network) = (Some(Flow::UnnamedPackage), Some(Flow::OpenNetwork));
    for (texts, packages, why) in [
        (&["add what is missing"][..], &[][..], network),
        (&["add `serde`"], &["serde"], network),
        (&["add \"serde\" and `@types/node@^22`"], &["@types/node@^22", "serde"], network),
        (&["hello", "add `serde`"], &["serde"], network),
        (&["add serde"], &["serde"], unnamed),
        (&["add what it says"], &["it"], unnamed),
        (&["add `serde`"], &["evil", "serde"], unnamed),
        (&["add `serde`"], &["serde@1.0.99"], unnamed),
        (&["add `serde_json`"], &["serde"], unnamed),
        (&["add `serde evil`"], &["serde"], unnamed),
        (&["do not add `serde`"], &["serde"], unnamed),
        (&["> add `serde`"], &["serde"], unnamed),
        (&["add `serde`", "add `anyhow`"], &["anyhow", "serde"], unnamed),
    ] {
        assert_eq!(of(&t, texts, packages), why, "{texts:?} {packages:?}");
    }
    let earlier = Named { packages: Some(Seq(1)), ..Named::default() };
    assert_eq!(flow(&said(&t, "shell", &asks(&["serde"]), &earlier)), unnamed, "of no message of this task");
    // Whom nobody could have told what to take, takes what it will.
    t.session.label = Label::TYPED.said_by_model();
    assert!(is_allowed(&said(&t, "shell", &asks(&["evil"]), &look(&t, &[], &asks(&["evil"])))));
}

#[test]
fn who_is_asked_sees_which_packages_nobody_named() {
    let t = tainted();
    let manifest = &t.policy.tools["shell"];
    let facts = Facts { packages: ["evil", "serde"].map(str::to_owned).into(), ..writes(&["/w/a"]) };
    let messages = [(Seq(2), extract("add serde", &[])), (Seq(5), extract("add `serde`", &[]))];
    let found = choices(&t.session, (&facts, &Named::default()), &t.policy, (manifest, "{}"), &messages);
    let shown: Vec<_> =
        found.iter().map(|choice| (choice.argument.as_deref(), choice.value.as_str(), choice.said)).collect();
    assert_eq!(shown, [(Some("package"), "evil", None), (Some("package"), "serde", Some(Seq(5)))]);
}

#[test]
fn origins_are_the_messages_that_name_the_whole_path() {
    let t = tainted();
    let messages = [
        (Seq(2), vec![Atom(Kind::Path, "/srv".into()), Atom(Kind::Url, "/srv/b".into())]),
        (Seq(5), vec![Atom(Kind::Path, "/srv/a".into())]),
        (Seq(7), vec![Atom(Kind::Path, "/srv/a".into()), Atom(Kind::Path, "/w/c".into())]),
    ];
    let values = Values::read(&t.policy.tools["shell"], "{}");
    let call = (&values, &tuple(&values, EffectClass::Write));
    let of = |session: &Session, paths: &[&str]| {
        named(session, EFFECT, &writes(paths), &t.policy, call, &naming(&messages)).origins
    };
    assert_eq!(of(&t.session, &["/srv/b", "/srv/a"]), [Origin { path: 1, from: Seq(5) }]);
    assert_eq!(of(&t.session, &["/w/c", "/srv/a/b", "/srv/a.txt"]), [], "inside nobody asks, and no parent counts");
    let wants = |session: &Session, facts: &Facts| wants_names(session, Some("shell"), facts, &t.policy);
    assert!(wants(&t.session, &writes(&["/srv/a"])));
    assert!(!wants(&t.session, &writes(&["/w/a"])));
    assert!(wants(&t.session, &to("https://api.example.com/", Method::Get)));
    let mut trusted = t.session.clone();
    trusted.label = Label::TYPED;
    assert!(!wants(&trusted, &writes(&["/srv/a"])) && !wants(&trusted, &to("https://a.example/", Method::Post)));
}

fn to(url: &str, method: Method) -> Facts {
    let class = if method.only_asks() { EffectClass::Read } else { EffectClass::Send };
    let destination = Some(Destination::of(&Url::read(url).unwrap(), method, 0));
    Facts { destination, ..Facts::new(class, Vec::new()) }
}

fn grant(host: &str, audience: Audience, secrets: bool) -> HostGrant {
    HostGrant {
        host: host.into(),
        port: 443,
        methods: Method::ALL.to_vec(),
        path_prefix: "/".into(),
        allow_private: Vec::new(),
        audience,
        secrets,
        tunnel: false,
    }
}

/// A task whose message names all of a call, to a place that is cleared for what is internal.
fn cleared() -> (TestSession, Named) {
    let mut t = tainted();
    t.agent().grants.hosts = vec![grant("api.example.com", Audience::Named, false)];
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])].into();
    let warrant = Some(warrant(message(&t), 1));
    (t, Named { warrant, is_clear: true, ..Named::default() })
}

const URL: &str = "https://api.example.com/v1";

#[test]
fn what_is_sent_goes_where_it_is_cleared_for_and_nowhere_else() {
    use Confidentiality::{Internal, Public, Secret};
    let (mut t, named) = cleared();
    let mut of = |audience, secrets, conf, trusted, method| {
        t.agent().grants.hosts = vec![grant("api.example.com", audience, secrets)];
        let integrity = if trusted { Integrity::Trusted } else { Integrity::Untrusted };
        t.session.label = Label { conf, integrity, ..t.session.label };
        let verdict = said(&t, "mail", &to(URL, method), &named);
        if is_allowed(&verdict) { None } else { Some(flow(&verdict).unwrap()) }
    };
    let above = Some(Flow::AboveClearance);
    for trusted in [true, false] {
        assert_eq!(of(Audience::Public, false, Public, trusted, Method::Post), None);
        assert_eq!(of(Audience::Public, false, Internal, trusted, Method::Post), above);
        assert_eq!(of(Audience::Public, false, Internal, trusted, Method::Get), None, "its URL is what it tells");
        for audience in [Audience::Own, Audience::Home, Audience::Named] {
            assert_eq!(of(audience, false, Internal, trusted, Method::Post), None, "{audience:?}");
        }
    }
    for audience in [Audience::Own, Audience::Home, Audience::Named, Audience::Public] {
        for method in [Method::Get, Method::Post] {
            assert_eq!(of(audience, false, Secret, true, method), above, "{audience:?}");
            let may = audience != Audience::Public;
            assert_eq!(of(audience, true, Secret, true, method), if may { None } else { above }, "{audience:?}");
            assert_eq!(of(audience, true, Secret, false, method), Some(Flow::SecretLeaves), "never by itself");
        }
    }
    // Of two grants that cover a place, the one that says less.
    t.agent().grants.hosts.push(grant("*.example.com", Audience::Public, false));
    t.session.label = Label::TYPED;
    assert_eq!(flow(&said(&t, "mail", &to(URL, Method::Post), &named)), above);
    let unknown = Facts::new(EffectClass::Send, Vec::new());
    assert!(is_allowed(&said(&t, "mail", &unknown, &named)), "its manifest says that it may be told what is internal");
    t.policy.tools.get_mut("mail").unwrap().audience = Audience::Public;
    assert_eq!(flow(&said(&t, "mail", &unknown, &named)), above);
}

#[test]
fn a_tainted_session_sends_what_one_message_names_once_and_nothing_that_leads_elsewhere() {
    let (mut t, named) = cleared();
    let post = to(URL, Method::Post);
    assert!(is_allowed(&said(&t, "mail", &post, &named)));
    let unclear = Named { is_clear: false, ..named.clone() };
    assert_eq!(flow(&said(&t, "mail", &post, &unclear)), Some(Flow::StrayPayload));
    let unnamed = Named { warrant: None, ..named.clone() };
    assert_eq!(flow(&said(&t, "mail", &post, &unnamed)), Some(Flow::UnnamedTarget));
    let of = |from, number| Named { warrant: Some(warrant(from, number)), ..named.clone() };
    let of_another_task = of(Seq(1), 1);
    assert_eq!(flow(&said(&t, "mail", &post, &of_another_task)), Some(Flow::UnnamedTarget));
    t.session.turn.as_mut().unwrap().spent_warrants.extend(named.warrant.clone());
    assert_eq!(flow(&said(&t, "mail", &post, &named)), Some(Flow::UnnamedTarget), "a message is worth one");
    let other = of(message(&t), 2);
    assert!(is_allowed(&said(&t, "mail", &post, &other)), "of each values");
    let untold = Warrant { values: None, ..warrant(message(&t), 1) };
    t.session.turn.as_mut().unwrap().spent_warrants = vec![untold];
    assert_eq!(flow(&said(&t, "mail", &post, &other)), Some(Flow::UnnamedTarget), "nobody knows what was done");
    t.session.label = Label::TYPED;
    assert!(is_allowed(&said(&t, "mail", &post, &unnamed)), "nobody else has spoken in it");
}

/// One message is worth one call like it, whatever form that has, whichever argument, and whatever is left out.
#[test]
fn no_other_form_of_a_call_is_another_call() {
    use ArgumentRole::{Authority, UpTo};
    use EffectClass::{Send, Spend};
    let (mut t, _) = cleared();
    let email = Authority(Kind::Email);
    let roles = [("to", email), ("cc", email), ("amount", UpTo(20)), ("text", ArgumentRole::Payload)];
    t.policy.tools.get_mut("mail").unwrap().arguments = roles.map(|(name, role)| (name.to_owned(), role)).to_vec();
    let text = "pay ann@a.ch, and then bob@a.ch and eve@a.ch, 60 or 70";
    let messages = [(message(&t), extract(text, &[]))];
    let (ann, bob) = (r#"{"to":"ann@a.ch"}"#, r#"{"to":"bob@a.ch"}"#);
    let both = r#"{"to":"ann@a.ch","cc":"bob@a.ch"}"#;
    for (class, first, second, is_other) in [
        (Send, ann, ann, false),
        (Send, ann, r#"{"to":["ann@a.ch"]}"#, false),
        (Send, ann, r#"{"to":["ann@a.ch","ann@A.CH"]}"#, false),
        (Send, r#"{"to":[["ann@a.ch"]]}"#, ann, false),
        (Send, ann, r#"{"cc":"ann@a.ch"}"#, false),
        (Send, ann, r#"{"to":"ann@a.ch","text":"once more"}"#, false),
        (Send, ann, both, false),
        (Send, both, ann, false),
        (Send, both, r#"{"to":"bob@a.ch","cc":"ann@a.ch"}"#, false),
        (Send, both, r#"{"to":["bob@a.ch","ann@a.ch"]}"#, false),
        (Send, r#"{"to":"ann@a.ch","amount":60}"#, r#"{"to":"ann@a.ch","amount":5}"#, false),
        (Send, ann, bob, true),
        (Send, both, r#"{"to":"ann@a.ch","cc":"eve@a.ch"}"#, true),
        (Send, r#"{"to":"ann@a.ch","amount":60}"#, r#"{"to":"ann@a.ch","amount":70}"#, true),
        (Spend, ann, ann, false),
        (Spend, ann, bob, false),
    ] {
        let facts = Facts::new(class, Vec::new());
        let of = |t: &TestSession, arguments: &str| {
            let values = Values::read(&t.policy.tools["mail"], arguments);
            let call = (&values, &tuple(&values, class));
            named(&t.session, EFFECT, &facts, &t.policy, call, &naming(&messages))
        };
        let done = of(&t, first);
        assert!(is_allowed(&said(&t, "mail", &facts, &done)), "{first}");
        t.session.turn.as_mut().unwrap().spent_warrants = done.warrant.into_iter().collect();
        let next = said(&t, "mail", &facts, &of(&t, second));
        assert_eq!(is_allowed(&next), is_other, "{class:?} {first} {second}");
        t.session.turn.as_mut().unwrap().spent_warrants.clear();
    }
}

/// The record of a call that is allowed, with what it rests on.
fn allowed(effect: Seq, facts: &Facts, named: &Named, composed: Option<Composed>) -> Record {
    let Named { origins, warrant, is_clear, reads, arguments, entry, packages, provenance } = named.clone();
    let (policy, used) = (Digest::default(), Vec::new());
    Record::Judged(Judged {
        effect,
        epoch: 1,
        facts: Some(facts.clone()),
        idempotency: Idempotency::Unsafe,
        answerer: Answerer::Tool,
        verdict: Verdict::Allow { by: Reason::ClassDefault },
        grounds: Some(Box::new(Grounds {
            policy,
            line: None,
            used,
            origins,
            warrant,
            is_clear,
            composed,
            reads,
            arguments,
            entry,
            packages,
            provenance,
        })),
    })
}

fn started(t: &TestSession, effect: Seq, at: u64) -> Record {
    let (boot, epoch, attempt) = (t.frame().boot, 1, 1);
    Record::Started(Started { effect, at, boot, epoch, attempt, request: None, reservation: None, counted: Vec::new() })
}

#[test]
fn a_warrant_is_spent_by_the_first_call_that_may_start_on_it() {
    let deletes = Facts { reversible: Some(false), ..Facts::new(EffectClass::Write, Vec::new()) };
    for facts in [to(URL, Method::Post), deletes] {
        let (mut t, named) = cleared();
        t.reply(&[("mail", 1), ("mail", 2)]);
        let calls: Vec<Seq> = t.session.effects.keys().copied().collect();
        let of = |t: &TestSession, effect| {
            let call = CallRef { calls: body(1), index: 0, tool: Some("mail".into()), repeat: repeat("x", 1) };
            judge(&t.session, effect, &call, &facts, &named, &t.frame()).verdict
        };
        assert!(is_allowed(&of(&t, calls[0])) && is_allowed(&of(&t, calls[1])));
        apply(&mut t.session, &allowed(calls[0], &facts, &named, None));
        assert!(is_allowed(&of(&t, calls[0])), "judged again it stands on its own");
        assert_eq!(flow(&of(&t, calls[1])), Some(Flow::UnnamedTarget), "the other may start first");
        let start = started(&t, calls[0], 1);
        apply(&mut t.session, &start);
        assert_eq!(t.session.turn.as_ref().unwrap().spent_warrants, [named.warrant.clone().unwrap()]);
        t.done(calls[0], 1);
        assert_eq!(flow(&of(&t, calls[1])), Some(Flow::UnnamedTarget), "and has done it");
    }
}

#[test]
fn urls_that_nobody_named_carry_so_many_bytes_a_day_to_each_host() {
    let (mut t, named) = cleared();
    t.agent().grants.hosts =
        vec![grant("*.example.com", Audience::Public, false), grant("other.org", Audience::Public, false)];
    let unnamed = Named { warrant: None, ..named.clone() };
    let url = |host: &str, bytes: usize| format!("https://{host}/?{}", "q".repeat(bytes - host.len() - 10));
    let get = |host: &str, bytes: u64| {
        let facts = to(&url(host, usize::try_from(bytes).unwrap()), Method::Get);
        assert_eq!(facts.destination.as_ref().unwrap().url_bytes, bytes);
        facts
    };
    let most = get("a.example.com", COMPOSED_BYTES_MAX);
    assert!(is_allowed(&said(&t, "read", &most, &unnamed)));
    let more = get("a.example.com", COMPOSED_BYTES_MAX + 1);
    assert_eq!(flow(&said(&t, "read", &more, &unnamed)), Some(Flow::UrlBytes));
    assert!(is_allowed(&said(&t, "read", &more, &named)), "a person named it");
    let with_headers = |bytes: u64| {
        let (url, bytes) = (Url::read("https://a.example.com/").unwrap(), usize::try_from(bytes).unwrap());
        Facts { destination: Some(Destination::of(&url, Method::Get, bytes)), ..more.clone() }
    };
    assert!(is_allowed(&said(&t, "read", &with_headers(COMPOSED_BYTES_MAX), &named)));
    let over = with_headers(COMPOSED_BYTES_MAX + 1);
    assert_eq!(flow(&said(&t, "read", &over, &named)), Some(Flow::UrlBytes), "and no header of it");

    t.reply(&[("read", 7)]);
    let effect = t.call("read");
    let spent = Composed { host: "*.example.com".into(), bytes: 4_000 };
    apply(&mut t.session, &allowed(effect, &most, &unnamed, Some(spent)));
    let next = get("b.example.com", 97);
    assert_eq!(flow(&said(&t, "read", &next, &unnamed)), Some(Flow::UrlBytes), "what is allowed counts already");
    let start = started(&t, effect, t.now);
    apply(&mut t.session, &start);
    assert_eq!(flow(&said(&t, "read", &next, &unnamed)), Some(Flow::UrlBytes), "names below one domain are one host");
    assert!(is_allowed(&said(&t, "read", &get("b.example.com", 96), &unnamed)));
    assert!(is_allowed(&said(&t, "read", &get("other.org", 97), &unnamed)));
    t.now += DAY_MS;
    assert!(is_allowed(&said(&t, "read", &next, &unnamed)), "another day");
    t.now -= DAY_MS;
    t.session.label = Label::TYPED;
    assert!(is_allowed(&said(&t, "read", &more, &unnamed)), "nobody else has spoken in it");
}

#[test]
fn all_values_of_a_call_come_from_one_message_each_whole_and_of_its_kind() {
    use ArgumentRole::{Authority, Payload, Selector};
    let mut t = tainted();
    let roles = [
        ("to", Authority(Kind::Email)),
        ("amount", Authority(Kind::Money)),
        ("who", Authority(Kind::Handle)),
        ("which", Selector),
        ("text", Payload),
    ];
    let manifest = t.policy.tools.get_mut("mail").unwrap();
    manifest.arguments = roles.map(|(name, role)| (name.to_owned(), role)).to_vec();
    let manifest = manifest.clone();
    let both = [Atom(Kind::Email, "ann@a.ch".into()), Atom(Kind::Money, "10 EUR".into())];
    let messages = [
        (Seq(2), vec![both[0].clone()]),
        (Seq(5), vec![both[1].clone(), Atom(Kind::Email, "bob@a.ch".into())]),
        (message(&t), both.to_vec()),
    ];
    let look = |facts: &Facts, arguments: &str, sources: &Sources<'_>| {
        let values = Values::read(&manifest, arguments);
        named(&t.session, EFFECT, facts, &t.policy, (&values, &tuple(&values, facts.class)), sources)
    };
    for (arguments, from) in [
        (r#"{"to":"ann@a.ch","text":"hello"}"#, Some(Seq(2))),
        (r#"{"to":"ann@a.ch","amount":"10 EUR"}"#, Some(message(&t))),
        (r#"{"to":["ann@a.ch"],"amount":null}"#, Some(Seq(2))),
        (r#"{"to":["ann@a.ch","bob@a.ch"]}"#, None),
        (r#"{"to":"bob@a.ch","amount":"10 EUR"}"#, Some(Seq(5))),
        (r#"{"to":"ann@a.ch.evil.org"}"#, None),
        (r#"{"to":"a@a.ch"}"#, None),
        (r#"{"to":"Ann <ann@a.ch>"}"#, None),
        (r#"{"to":{"address":"ann@a.ch"}}"#, None),
        (r#"{"to":"ann@a.ch","which":"the first"}"#, None),
        (r#"{"to":"ann@a.ch","who":"ann"}"#, None),
        (r#"{"to":"ann@a.ch","bcc":"eve@b.ch"}"#, None),
        (r#"{"text":"hello"}"#, None),
        ("{}", None),
        ("no object", None),
    ] {
        let found = look(&Facts::new(EffectClass::Send, Vec::new()), arguments, &naming(&messages));
        assert_eq!(found.warrant.map(|warrant| warrant.from), from, "{arguments}");
    }
    // What stays here goes nowhere: nothing that was given chooses nothing.
    for (class, arguments, is_named) in [
        (EffectClass::Write, r#"{"text":"hello"}"#, true),
        (EffectClass::Execute, "{}", true),
        (EffectClass::Write, r#"{"to":"eve@b.ch"}"#, false),
        (EffectClass::Write, r#"{"which":"the first"}"#, false),
        (EffectClass::Write, r#"{"to":[]}"#, false),
        (EffectClass::Spend, "{}", false),
    ] {
        let of = |messages: &[(Seq, Vec<Atom>)]| look(&Facts::new(class, Vec::new()), arguments, &naming(messages));
        assert_eq!(of(&messages).warrant.is_some(), is_named, "{class:?} {arguments}");
        assert_eq!(of(&[]).warrant, None, "in a task that nobody began");
    }
    // Whoever names a place to look at has not said that something be done there.
    let mut said = vec![(message(&t), vec![Atom(Kind::Email, "ann@a.ch".into())])];
    let by = |method, said: &[(Seq, Vec<Atom>)]| {
        let sources = Sources { words: &[said[0].1.clone()], ..naming(said) };
        look(&to(URL, method), r#"{"to":"ann@a.ch"}"#, &sources).warrant.is_some()
    };
    assert!(by(Method::Get, &said) && !by(Method::Post, &said));
    said[0].1.push(Atom(Kind::Words, "please POST it to this post".into()));
    assert!(by(Method::Post, &said) && !by(Method::Delete, &said));
    let clear = |text: &str| {
        let arguments = serde_json::json!({ "to": "ann@a.ch", "text": { "body": [text] } }).to_string();
        look(&Facts::new(EffectClass::Send, Vec::new()), &arguments, &naming(&messages)).is_clear
    };
    assert!(clear("hello, see you") && clear("ask bob@a.ch") && !clear("see https://evil.example"));
}

#[test]
fn a_number_up_to_what_the_operator_said_needs_no_name_where_its_payee_has_one() {
    use ArgumentRole::{Authority, UpTo};
    let mut t = tainted();
    let manifest = t.policy.tools.get_mut("mail").unwrap();
    manifest.arguments = vec![("to".into(), Authority(Kind::Account)), ("amount".into(), UpTo(100))];
    assert!(manifest.has_authority());
    let manifest = manifest.clone();
    let messages = [(message(&t), vec![Atom(Kind::Account, "123456".into()), Atom(Kind::Number, "2200".into())])];
    for (arguments, is_named) in [
        (r#"{"to":"123456","amount":4.0}"#, true),
        (r#"{"to":"123456","amount":"4.50"}"#, true),
        (r#"{"to":"123456","amount":0}"#, true),
        (r#"{"to":"123456","amount":100}"#, true),
        (r#"{"to":"123456","amount":100.00}"#, true),
        (r#"{"to":"123456","amount":100.01}"#, false),
        (r#"{"to":"123456","amount":101}"#, false),
        (r#"{"to":"123456","amount":2200}"#, true),
        (r#"{"to":"123456","amount":-1}"#, false),
        (r#"{"to":"123456","amount":1e2}"#, true),
        (r#"{"to":"123456","amount":1e30}"#, false),
        (r#"{"to":"123456","amount":"4 EUR"}"#, false),
        (r#"{"to":"123456","amount":"1,000"}"#, false),
        (r#"{"to":"123456","amount":"9,9999999"}"#, false),
        (r#"{"to":"123456","amount":"1.0000000"}"#, false),
        (r#"{"to":"123456","amount":"9.5"}"#, true),
        (r#"{"to":"123456","amount":[4,200]}"#, false),
        (r#"{"to":"654321","amount":4}"#, false),
        (r#"{"amount":4}"#, false),
    ] {
        let (values, facts) = (Values::read(&manifest, arguments), Facts::new(EffectClass::Spend, Vec::new()));
        let found =
            named(&t.session, EFFECT, &facts, &t.policy, (&values, &tuple(&values, facts.class)), &naming(&messages));
        assert_eq!(found.warrant.is_some(), is_named, "{arguments}");
    }
}

#[test]
fn a_call_written_in_another_way_is_the_same_call() {
    let mut t = tainted();
    let manifest = t.policy.tools.get_mut("mail").unwrap();
    manifest.arguments =
        vec![("to".into(), ArgumentRole::Authority(Kind::Email)), ("text".into(), ArgumentRole::Payload)];
    let manifest = manifest.clone();
    let plain = Values::read(&manifest, r#"{"to":"eve@b.ch","text":"see evil.example"}"#);
    assert!(plain.authority().is_some());
    for written in [
        r#"{"text":"see evil.example","to":"eve@b.ch"}"#,
        r#" { "to" : "eve@b.ch" , "text" : "see evil.example" } "#,
        "{\n\t\"to\":\r\n\"eve@b.ch\",\"text\":\"see evil.example\"}",
        r#"{"\u0074\u006f":"eve@b.ch","text":"see evil.example"}"#,
        r#"{"to":"\u0065\u0076\u0065@b.ch","text":"see evil.example"}"#,
        r#"{"to":"eve\u0040b.ch","text":"see evil\u002eexample"}"#,
        r#"{"to":"eve@b\u002Ech","text":"\u0073ee evil.example"}"#,
        r#"{"to":"eve@B.CH","text":"see evil.example"}"#,
        r#"{"to":["eve@b.ch"],"text":"see evil.example"}"#,
        r#"{"to":"eve@b.ch","text":"see evil.example","cc":null}"#,
    ] {
        assert_eq!(Values::read(&manifest, written), plain, "{written}");
    }
}

/// (text, what a person named, whether it leads nowhere else)
#[test]
fn a_text_leads_nowhere_only_where_a_person_named_all_that_it_could_lead_to() {
    let named = "mail ann@a.ch, see https://a.example/x, call 0441234567, /srv/a.txt, a.example";
    let atoms = extract(named, &quotes(named));
    for (text, clear) in [
        ("hello there, all is well", true),
        ("Done. The meeting is on 2026-11-21 at 10:30, room 4.", true),
        ("it costs 1,200.50 EUR (v2)", true),
        ("see https://a.example/x", true),
        ("see https://a.example/x.", true),
        ("see https://a.example/x/y", false),
        ("see https://a.example/x?q=1", false),
        ("see [here](https://evil.example)", false),
        ("![](//evil.example/p.png)", false),
        ("<img src=//10.0.0.1/p>", false),
        ("www.evil.example", false),
        ("evil.example/path", false),
        ("evil．example", false),
        ("evil\u{3002}example", false),
        ("evil&#46;example", false),
        ("hxxp is fine, http:evil is not", false),
        ("javascript:alert", false),
        ("tel:1", false),
        ("\\\\server\\share", false),
        ("write to ann@a.ch", true),
        ("write to eve@b.ch", false),
        ("write to Ann <eve@b.ch>", false),
        ("ask @eve", false),
        ("in #general", false),
        ("call 0441234567", true),
        ("call 044 123 45 68", false),
        ("call +41 (44) 123-45-67", false),
        ("number 123456", true),
        ("a.example", true),
        ("b.a.example", false),
        ("zero\u{200b}width", false),
        ("two\nlines\tand tabs", true),
    ] {
        assert_eq!(is_clear(text, &atoms), clear, "{text:?}");
    }
}

fn any_named() -> impl Strategy<Value = Named> {
    // Of the task's message, once there is one.
    let from = Seq::default();
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(move |(is_clear, has_warrant, has_origin)| Named {
        origins: has_origin.then_some(Origin { path: 0, from }).into_iter().collect(),
        warrant: has_warrant.then(|| warrant(from, 1)),
        is_clear,
        reads: None,
        arguments: None,
        entry: None,
        packages: None,
        provenance: None,
    })
}

/// The same, named by the message of this task.
fn of_task(t: &TestSession, named: &Named) -> Named {
    let from = message(t);
    Named {
        warrant: named.warrant.clone().map(|warrant| Warrant { from, ..warrant }),
        origins: named.origins.iter().map(|origin| Origin { from, ..*origin }).collect(),
        is_clear: named.is_clear,
        reads: named.reads,
        arguments: named.arguments,
        entry: named.entry,
        packages: named.packages,
        provenance: named.provenance.clone(),
    }
}

fn any_call() -> impl Strategy<Value = Facts> {
    let classes = [EffectClass::Read, EffectClass::Write, EffectClass::Execute, EffectClass::Send, EffectClass::Spend];
    let hosts = vec!["api.example.com", "own.example.com", "public.example.com"];
    let way = (prop::sample::select(hosts), prop::sample::select(Method::ALL.to_vec()), "[a-z]{0,40}");
    let path = prop::sample::select(vec!["/w/a", "/srv/a"]);
    (prop::sample::select(classes.to_vec()), prop::option::of(way), prop::option::of(path)).prop_map(
        |(class, way, path)| {
            let destination = way.map(|(host, method, query)| {
                Destination::of(&Url::read(&format!("https://{host}/?{query}")).unwrap(), method, 0)
            });
            let paths = path.map(|real| PathFact::new(Access::Write, real.into()));
            Facts { destination, ..Facts::new(class, paths.into_iter().collect()) }
        },
    )
}

fn with_hosts() -> TestSession {
    let mut t = tainted();
    t.agent().grants.hosts = vec![
        grant("api.example.com", Audience::Named, true),
        grant("own.example.com", Audience::Own, false),
        grant("public.example.com", Audience::Public, false),
    ];
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])].into();
    t
}

proptest! {
    #[test]
    fn a_graver_label_or_fewer_names_never_allow_more(
        facts in any_call(), named in any_named(), conf in 0u8..3, graver in 0u8..3, trusted in any::<bool>(),
    ) {
        let mut t = with_hosts();
        let named = of_task(&t, &named);
        let confs = [Confidentiality::Public, Confidentiality::Internal, Confidentiality::Secret];
        let mut allows = |conf: u8, integrity, named: &Named| {
            t.session.label = Label { conf: confs[usize::from(conf)], integrity, ..t.session.label };
            is_allowed(&said(&t, "shell", &facts, named))
        };
        let integrity = if trusted { Integrity::Trusted } else { Integrity::Untrusted };
        let before = allows(conf, integrity, &named);
        for (conf, integrity, named) in [
            (conf.max(graver), integrity, &named),
            (conf, Integrity::Untrusted, &named),
            (conf, integrity, &Named { warrant: None, ..named.clone() }),
            (conf, integrity, &Named { origins: vec![], ..named.clone() }),
            (conf, integrity, &Named { is_clear: false, ..named.clone() }),
            (conf, integrity, &Named::default()),
        ] {
            prop_assert!(before || !allows(conf, integrity, named), "{facts:?} {named:?} {conf:?}");
        }
    }

    /// Whatever a model makes of a secret: two runs whose secrets differ choose two lists of calls.
    #[test]
    fn runs_that_differ_in_a_secret_alone_send_the_same_by_themselves(
        one in prop::collection::vec((any_call(), any_named()), 0..6),
        two in prop::collection::vec((any_call(), any_named()), 0..6),
    ) {
        let sends = |calls: &[(Facts, Named)]| {
            let mut t = with_hosts();
            let calls: Vec<_> = calls.iter().map(|(facts, named)| (facts, of_task(&t, named))).collect();
            t.session.label = Label { conf: Confidentiality::Secret, ..t.session.label };
            let leaves = |facts: &Facts| {
                facts.destination.is_some() || matches!(facts.class, EffectClass::Send | EffectClass::Spend)
            };
            let sent = calls.iter().filter(|(facts, named)| leaves(facts) && is_allowed(&said(&t, "shell", facts, named)));
            sent.map(|(facts, _)| facts.digest()).collect::<Vec<_>>()
        };
        prop_assert_eq!(sends(&one), sends(&two));
    }
}

#[test]
fn a_result_has_the_label_that_its_tool_declares() {
    for fails in [false, true] {
        let mut t = TestSession::new();
        t.policy.tools.get_mut("read").unwrap().result = Label::of(Source::Memory);
        t.say(1);
        t.reply(&[("read", 1)]);
        let read = t.call("read");
        if fails {
            t.failed(read)
        } else {
            t.done(read, 1)
        };
        assert!(t.session.label.sources.contains(Source::Memory), "failed: {fails}");
        assert_eq!(t.session.label.sources.contains(Source::Tool), fails, "an error's words are the tool's own");
    }
}

#[test]
fn a_provider_is_sent_nothing_that_it_is_not_cleared_for() {
    use Confidentiality::{Internal, Public, Secret};
    for (clearance, conf, is_sent) in
        [(Secret, Secret, true), (Internal, Secret, false), (Internal, Internal, true), (Public, Internal, false)]
    {
        let mut t = TestSession::new();
        t.policy.models.get_mut("m").unwrap().clearance = clearance;
        t.session.label = Label { conf, ..t.session.label };
        let records = t.say(1);
        let ended = records
            .iter()
            .find_map(|record| if let Record::TurnEnded(ended) = record { Some(ended.reason) } else { None });
        assert_eq!(ended, (!is_sent).then_some(StopReason::Clearance), "{clearance:?} {conf:?}");
        assert_eq!(t.open().iter().any(|effect| matches!(effect, Effect::Model { .. })), is_sent);
    }
    // Between two attempts as well.
    let mut t = TestSession::new();
    t.policy.models.get_mut("m").unwrap().clearance = Internal;
    t.say(1);
    t.fails(FailureClass::RetrySame, None, 1000);
    t.session.label = Label { conf: Secret, ..t.session.label };
    t.now += 60_000;
    t.settle();
    assert!(t.session.turn.is_none() && t.session.effects.is_empty());
}
