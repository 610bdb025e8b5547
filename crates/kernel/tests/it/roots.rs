//! Roots: what sessions leave in directories bears their labels, until a person says otherwise.
use backstay_kernel::facts::{Access, Facts, PathFact};
use backstay_kernel::home::{Home, HomeInput, HomeRecord, Speaks, apply, decide};
use backstay_kernel::id::Seq;
use backstay_kernel::label::{Confidentiality, Label, Source};
use backstay_kernel::record::{End, Ended, Record};
use backstay_kernel::refusal::Code;
use backstay_kernel::roots::{raise, read};
use backstay_kernel::session::Work;
use backstay_kernel::tool::EffectClass;
use proptest::prelude::*;

use crate::harness::TestSession;

const SECRET: Label = Label { conf: Confidentiality::Secret, ..Label::of(Source::Tool) };

fn tell(home: &mut Home, input: HomeInput) -> Vec<HomeRecord> {
    let records = decide(home, input).unwrap();
    records.iter().for_each(|record| apply(home, record));
    records
}

fn raises(home: &mut Home, root: &str, label: Label) -> usize {
    let session = TestSession::new().session.id;
    tell(home, HomeInput::RaiseRoot { root: root.into(), label, session, effect: Seq(7) }).len()
}

fn reset(root: &str, speaks: Speaks) -> HomeInput {
    HomeInput::ResetRoot { root: root.into(), by: "ann".into(), speaks }
}

#[test]
fn what_lies_in_a_root_bears_what_was_left_there_until_a_person_vouches_for_it() {
    let mut home = Home::default();
    assert_eq!(home.roots.label("/w/a"), Label::ROOT);
    assert_eq!(raises(&mut home, "/w", Label::TYPED), 0, "no graver than what anybody may have put there");
    assert_eq!(raises(&mut home, "/w/out", SECRET), 1);
    for (path, is_secret) in [("/w/out/a/b", true), ("/w/out", true), ("/w", true), ("/", true), ("/w/in", false)] {
        let label = home.roots.label(path);
        assert_eq!(label.conf == Confidentiality::Secret, is_secret, "{path}");
        assert!(!label.is_trusted());
    }
    assert_eq!(raises(&mut home, "/w", SECRET), 1, "a part that was raised says nothing of the whole");
    assert_eq!(raises(&mut home, "/w/out/deep", SECRET), 0, "the whole says it of each part");
    assert_eq!(home.roots.label("/w/in").conf, Confidentiality::Secret);

    let refused = decide(&home, reset("/w", Speaks::Program)).unwrap_err();
    assert_eq!(refused.code, Code::NotAnApprover);
    let refused = decide(&home, reset("/w/in", Speaks::Human)).unwrap_err();
    assert_eq!(refused.code, Code::NoSuchRoot);
    let records = tell(&mut home, reset("/w", Speaks::Human));
    let [HomeRecord::RootReset { before, .. }] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(before.conf, Confidentiality::Secret);
    assert_eq!(home.roots.label("/w/in"), Label::ROOT);
    assert_eq!(home.roots.label("/w/out/a").conf, Confidentiality::Secret, "one directory, and not those within");
}

#[test]
fn after_a_restore_nothing_is_known_of_any_file() {
    let mut home = Home::default();
    tell(&mut home, HomeInput::Restored { old: 1, new: 2 });
    let label = home.roots.label("/w/a");
    assert!(label.conf == Confidentiality::Secret && label.sources.contains(Source::Elsewhere));
    tell(&mut home, reset("/", Speaks::Human));
    assert_eq!(home.roots.label("/w/a"), Label::ROOT);
}

fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 0..4)
        .prop_map(|names| format!("/{}", names.join("/")))
}

proptest! {
    #[test]
    fn a_label_of_files_never_falls_without_a_reset(
        steps in prop::collection::vec((any_path(), any::<bool>(), 0u8..5), 1..20), path in any_path(),
    ) {
        let mut home = Home::default();
        let mut before = home.roots.label(&path);
        for (root, is_secret, kind) in steps {
            let resets = kind == 0;
            if resets {
                if let Ok(records) = decide(&home, reset(&root, Speaks::Human)) {
                    records.iter().for_each(|record| apply(&mut home, record));
                }
            } else {
                let label = if is_secret { SECRET } else { Label::of(Source::Memory) };
                raises(&mut home, &root, label);
                let below = format!("{}/x/y", root.trim_end_matches('/'));
                prop_assert!(!label.is_graver_than(home.roots.label(&below)), "what is left is borne by all of it");
                prop_assert!(!label.is_graver_than(home.roots.label(&root)));
            }
            let now = home.roots.label(&path);
            prop_assert!(resets || !before.is_graver_than(now));
            before = now;
        }
    }
}

fn facts(class: EffectClass, paths: &[(Access, &str)], programs: &[&str]) -> Facts {
    let path = |(access, real): &(Access, &str)| PathFact::new(*access, (*real).to_owned());
    let programs = programs.iter().map(|name| (*name).to_owned()).collect();
    Facts { programs, ..Facts::new(class, paths.iter().map(path).collect()) }
}

#[test]
fn a_call_may_leave_what_it_could_read_where_it_writes_and_says_so_at_its_start_and_its_end() {
    let mut t = TestSession::new();
    t.agent().grants.read = vec!["/r".into()];
    t.agent().grants.write = vec!["/w".into(), "/w/out".into()];
    t.say(1);
    t.reply(&[("shell", 1)]);
    let effect = t.call("shell");
    let started = t.records.iter().rev().find(|record| matches!(record, Record::Started(_))).unwrap().clone();
    let end = End::NotStarted;
    let ended = Record::Ended(Ended { effect, at: 1, started: None, end, spent: None });
    let label = t.session.label.said_by_model();
    let mut of = |facts: Facts, record: &Record| {
        let Work::Tool { judged, .. } = &mut t.session.effects.get_mut(&effect).unwrap().work else { panic!() };
        judged.as_mut().unwrap().facts = facts;
        raise(&t.session, record, &t.policy)
    };
    let write = |path| facts(EffectClass::Write, &[(Access::Write, path)], &[]);
    for record in [&started, &ended] {
        let raised = of(write("/w/out/a"), record).unwrap();
        assert_eq!((raised.roots, raised.reads), (vec!["/w/out".to_owned()], vec!["/w/out/a".to_owned()]));
        assert_eq!(raised.label, label);
    }
    assert_eq!(of(write("/w/a"), &started).unwrap().roots, ["/w"]);
    assert_eq!(of(facts(EffectClass::Read, &[(Access::Read, "/w/a")], &[]), &started), None);
    let known = facts(EffectClass::Write, &[(Access::Read, "/w/a"), (Access::Write, "/w/b")], &["cp"]);
    let raised = of(known, &started).unwrap();
    assert_eq!(raised.roots, ["/w"]);
    assert!(raised.reads.contains(&"/r".to_owned()), "a sandbox holds what it leaves open, not what we understand");
    assert_eq!(raise(&t.session, &Record::Windowed { first: 1 }, &t.policy), None);
    let none = facts(EffectClass::Read, &[], &[]);
    assert_eq!(read(t.policy.agents.get("main"), &none).count(), 0, "what reads no file bears no label of files");
}
