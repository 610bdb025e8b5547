//! Information flow: what a session that has seen untrusted words does not do unasked.
use backstay_kernel::effect::CallRef;
use backstay_kernel::facts::{Access, Facts, PathFact};
use backstay_kernel::flow::{Flow, Origin, origins, wants_names};
use backstay_kernel::id::Seq;
use backstay_kernel::judge::judge;
use backstay_kernel::label::{Label, Source};
use backstay_kernel::record::{Mode, Reason, Verdict};
use backstay_kernel::rule::{Field, RuleVerdict, Test};
use backstay_kernel::tool::{ArgumentRole, EffectClass};
use backstay_kernel::words::{Atom, Kind, Typed};
use backstay_kernel::{Input, Session};

use crate::harness::{TestSession, body, repeat, rule};

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
    let path = |real: &&str| PathFact { access: Access::Write, real: (*real).to_owned() };
    Facts::new(EffectClass::Write, paths.iter().map(path).collect())
}

fn verdict(t: &TestSession, tool: &str, facts: &Facts, origins: &[Origin]) -> Verdict {
    let call = CallRef { calls: body(1), index: 0, tool: Some(tool.into()), repeat: repeat("x", 1) };
    judge(&t.session, Seq(9), &call, facts, origins, &t.frame()).verdict
}

fn flow(verdict: &Verdict) -> Option<Flow> {
    if let Verdict::Ask { by: Reason::Flow(flow), .. } = verdict { Some(*flow) } else { None }
}

fn is_allowed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Allow { .. })
}

fn message(t: &TestSession) -> Seq {
    t.session.turn.as_ref().unwrap().named[0].seq
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
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])];
    assert_eq!(flow(&verdict(&t, "shell", &writes(&["/srv/a"]), &[])), Some(Flow::UnnamedPath));
    assert!(is_allowed(&verdict(&t, "shell", &writes(&["/w/a"]), &[])));
    let send = Facts::new(EffectClass::Send, Vec::new());
    assert_eq!(flow(&verdict(&t, "mail", &send, &[])), Some(Flow::UnnamedTarget));
    t.agent().rules.push(rule("no", RuleVerdict::Deny, &[(Field::Tool, Test::Equal("shell".into()))]));
    assert!(matches!(verdict(&t, "shell", &writes(&["/srv/a"]), &[]), Verdict::Deny { .. }), "a no stays one");
    t.agent().rules = vec![rule("ask", RuleVerdict::Ask, &[])];
    let asked = verdict(&t, "shell", &writes(&["/srv/a"]), &[]);
    assert!(matches!(asked, Verdict::Ask { by: Reason::Rule(_), .. }), "the rule says who may answer");
    t.agent().rules = vec![rule("go on", RuleVerdict::Allow, &[])];
    t.session.label = Label::TYPED;
    assert!(is_allowed(&verdict(&t, "mail", &send, &[])));
}

#[test]
fn a_target_that_no_fact_shows_asks_whatever_its_class() {
    let mut t = tainted();
    let facts = writes(&["/w/a"]);
    assert!(is_allowed(&verdict(&t, "shell", &facts, &[])));
    for (role, asks) in [
        (ArgumentRole::Authority(Kind::Email), true),
        (ArgumentRole::Authority(Kind::Path), false),
        (ArgumentRole::Selector, false),
        (ArgumentRole::Payload, false),
    ] {
        t.policy.tools.get_mut("shell").unwrap().arguments = vec![("to".into(), role)];
        let found = flow(&verdict(&t, "shell", &facts, &[]));
        assert_eq!(found, asks.then_some(Flow::UnnamedTarget), "{role:?}");
    }
}

#[test]
fn origins_are_the_messages_that_name_the_whole_path() {
    let t = tainted();
    let named = [
        (Seq(2), vec![Atom(Kind::Path, "/srv".into()), Atom(Kind::Url, "/srv/b".into())]),
        (Seq(5), vec![Atom(Kind::Path, "/srv/a".into())]),
        (Seq(7), vec![Atom(Kind::Path, "/srv/a".into()), Atom(Kind::Path, "/w/c".into())]),
    ];
    let of = |session: &Session, paths: &[&str]| origins(session, &writes(paths), &t.policy, &named);
    assert_eq!(of(&t.session, &["/srv/b", "/srv/a"]), [Origin { path: 1, from: Seq(5) }]);
    assert_eq!(of(&t.session, &["/w/c", "/srv/a/b", "/srv/a.txt"]), [], "inside nobody asks, and no parent counts");
    assert!(wants_names(&t.session, &writes(&["/srv/a"]), &t.policy));
    assert!(!wants_names(&t.session, &writes(&["/w/a"]), &t.policy));
    let mut trusted = t.session.clone();
    trusted.label = Label::TYPED;
    assert!(!wants_names(&trusted, &writes(&["/srv/a"]), &t.policy));
}

#[test]
fn a_result_has_the_label_that_its_tool_declares() {
    let mut t = TestSession::new();
    t.policy.tools.get_mut("read").unwrap().result = Label::of(Source::Memory);
    t.say(1);
    t.reply(&[("read", 1)]);
    let read = t.call("read");
    t.done(read, 1);
    assert!(t.session.label.sources.contains(Source::Memory) && !t.session.label.sources.contains(Source::Tool));
}
