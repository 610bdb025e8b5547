//! Labels: the lattice, and what becomes of a session's own.
use backstay_kernel::id::Seq;
use backstay_kernel::label::{Confidentiality, Integrity, Label, Source, Sources};
use backstay_kernel::limits::TASK_MESSAGES_MAX;
use backstay_kernel::record::{Mode, Record, TurnEnded, TurnStarted};
use backstay_kernel::words::Typed;
use backstay_kernel::{Input, Session, apply};
use proptest::prelude::*;

use crate::harness::{TestSession, body};

fn any_label() -> impl Strategy<Value = Label> {
    let conf = prop::sample::select(vec![Confidentiality::Public, Confidentiality::Internal, Confidentiality::Secret]);
    let integrity = prop::sample::select(vec![Integrity::Untrusted, Integrity::Trusted]);
    let sources = prop::collection::vec(prop::sample::select(Source::ALL.to_vec()), 0..5);
    (conf, integrity, sources).prop_map(|(conf, integrity, sources)| Label {
        conf,
        integrity,
        sources: sources.into_iter().collect(),
    })
}

proptest! {
    #[test]
    fn a_join_is_that_of_a_lattice(a in any_label(), b in any_label(), c in any_label()) {
        prop_assert_eq!(a.join(b), b.join(a));
        prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
        prop_assert_eq!(a.join(a), a);
        prop_assert_eq!(a.join(Label::NOTHING), a);
        prop_assert!(a.join(b).covers(a) && a.join(b).covers(b));
        if a.covers(b) {
            prop_assert!(a.join(c).covers(b.join(c)));
        }
        prop_assert!(a.covers(b) == (a.conf >= b.conf && a.integrity <= b.integrity
            && b.sources.iter().all(|source| a.sources.contains(source))));
        prop_assert!(a.said_by_model().covers(a) && a.said_by_model().integrity == a.integrity);
    }

    #[test]
    fn a_stored_label_reads_back_as_itself(label in any_label()) {
        let text = serde_json::to_string(&label).unwrap();
        prop_assert_eq!(serde_json::from_str::<Label>(&text).unwrap(), label, "{}", text);
    }
}

#[test]
fn one_source_is_stored_as_the_first_labels_had_it() {
    let stored = r#"{"conf":"internal","integrity":"untrusted","source":"tool"}"#;
    assert_eq!(serde_json::to_string(&Label::of(Source::Tool)).unwrap(), stored);
    let both = Label::of(Source::Tool).join(Label::of(Source::Config));
    assert_eq!(
        serde_json::to_string(&both).unwrap(),
        r#"{"conf":"internal","integrity":"untrusted","source":["config","tool"]}"#
    );
    assert!(serde_json::from_str::<Label>(&stored.replace("tool", "nobody")).is_err());
    assert_eq!(Sources::NONE.iter().count(), 0);
}

/// The words of a record, by its label where that says more than its kind.
fn labels(records: &[Record]) -> (Option<Label>, Option<Label>) {
    let before = records.iter().find_map(|record| match record {
        Record::TurnStarted(TurnStarted { label, .. }) => Some(*label),
        _ => None,
    });
    let after = records.iter().find_map(|record| match record {
        Record::TurnEnded(TurnEnded { label, .. }) => Some(*label),
        _ => None,
    });
    (before.flatten(), after.flatten())
}

#[test]
fn a_session_is_as_trusted_as_what_entered_it() {
    let mut t = TestSession::new();
    assert_eq!(t.session.label, Label::of(Source::Config));
    let typed = |t: &TestSession, id| {
        let mut message = t.message(id, Mode::Queue);
        message.typed = Some(Typed::default());
        Input::Message(message)
    };
    let message = typed(&t, 1);
    let mut records = t.tell(message);
    records.extend(t.settle());
    let spoken = Label::of(Source::Config).join(Label::TYPED);
    assert_eq!((labels(&records).0, t.session.label), (Some(Label::of(Source::Config)), spoken));
    records = t.reply(&[("read", 0)]);
    assert_eq!(t.session.label, spoken.said_by_model(), "a reply is as trusted as what the model was shown");
    let read = t.call("read");
    records.extend(t.done(read, 1));
    let tainted = spoken.said_by_model().join(Label::of(Source::Tool));
    assert_eq!(t.session.label, tainted);
    records.extend(t.reply(&[]));
    assert_eq!(labels(&records), (None, Some(tainted)), "a turn says what it has made of the session");
    assert!(t.session.turn.is_none());
    let message = typed(&t, 2);
    let mut records = t.tell(message);
    records.extend(t.settle());
    records.extend(t.reply(&[]));
    assert_eq!(labels(&records), (Some(tainted), None), "what has not changed is said once");
}

#[test]
fn what_has_left_the_window_has_been_seen() {
    let mut session = Session::new(TestSession::new().session.id);
    session.label = Label::of(Source::Tool);
    apply(&mut session, &Record::Windowed { first: 9 });
    assert_eq!(session.label, Label::of(Source::Tool));
}

#[test]
fn nothing_of_a_journal_from_elsewhere_is_trusted() {
    let mut t = TestSession::new();
    t.say(1);
    let mut message = t.message(2, Mode::Queue);
    message.typed = Some(Typed::default());
    t.tell(Input::Message(message));
    assert_eq!(t.session.queue[0].label, Label::TYPED);
    let old = t.session.lineage;
    t.tell(Input::Lineage { old, new: old + 1 });
    assert!(!t.session.label.is_trusted() && t.session.label.sources.contains(Source::Elsewhere));
    assert!(!t.session.queue[0].label.is_trusted());
    assert!(!t.session.queue[0].is_quoted(), "it is still a message of its own");
}

#[test]
fn a_text_without_a_word_of_its_own_has_the_label_of_its_kind() {
    let session = Label::of(Source::Config);
    let (effect, note, by) = (Seq(1), Some(body(1)), None);
    let said = Record::Resolved { effect, resolution: backstay_kernel::record::Resolution::Done, by, note };
    assert_eq!(said.label(session), Some(Label::of(Source::Principal)));
    assert_eq!(Record::Windowed { first: 1 }.label(session), None);
    let old = r#"{"answered":{"effect":8,"body":{"id":10,"digest":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","bytes":42},"by":"ann"}}"#;
    let answered: Record = serde_json::from_str(old).unwrap();
    assert_eq!(answered.label(session), Some(Label::of(Source::Principal)), "old answers gain no trust");
}

#[test]
fn a_task_is_named_by_the_words_of_its_principal_alone() {
    let mut t = TestSession::new();
    let named = |t: &TestSession| {
        t.session
            .turn
            .as_ref()
            .map(|turn| turn.said.iter().filter_map(|said| said.typed.atoms).map(|atoms| atoms.id).collect())
    };
    let say = |t: &mut TestSession, id, principal: &str, mode| {
        let mut message = t.message(id, mode);
        message.principal = principal.to_owned();
        message.typed = Some(Typed { quotes: Vec::new(), atoms: Some(body(100 + id)) });
        t.tell(Input::Message(message));
        t.settle();
    };
    say(&mut t, 1, crate::harness::OWNER, Mode::Queue);
    assert_eq!(named(&t), Some(vec![101]));
    say(&mut t, 2, "bob", Mode::Steer);
    say(&mut t, 3, crate::harness::OWNER, Mode::Steer);
    say(&mut t, 4, crate::harness::OWNER, Mode::Queue);
    t.reply(&[("read", 0)]);
    let read = t.call("read");
    t.done(read, 1);
    assert_eq!(named(&t), Some(vec![101, 103]), "what another principal names is their own affair");
    let old = t.session.lineage;
    t.tell(Input::Lineage { old, new: old + 1 });
    assert_eq!(named(&t), Some(vec![]), "who wrote a journal from elsewhere is not known");
    assert!(t.session.queue.iter().all(|waiting| waiting.typed.is_none()));
}

#[test]
fn a_task_is_named_by_so_many_messages_and_no_more() {
    let mut t = TestSession::new();
    for id in 0..=u64::try_from(TASK_MESSAGES_MAX).unwrap() {
        let mut message = t.message(id, if id == 0 { Mode::Queue } else { Mode::Steer });
        message.typed = Some(Typed { quotes: Vec::new(), atoms: Some(body(100 + id)) });
        t.tell(Input::Message(message));
        t.settle();
        if id % 8 == 7 {
            t.reply(&[("read", u8::try_from(id).unwrap())]);
            let read = t.call("read");
            t.done(read, u8::try_from(id).unwrap());
        }
    }
    t.reply(&[]);
    let turn = t.session.turn.as_ref().unwrap();
    assert_eq!(turn.said.len(), TASK_MESSAGES_MAX);
}
