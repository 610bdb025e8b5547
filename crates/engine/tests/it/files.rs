//! What a session leaves in files and memories, another finds under the label that it had.
use backstay_engine::{Submitted, TurnView};
use backstay_kernel::audit::left;
use backstay_kernel::home::{HomeRecord, Speaks};
use backstay_kernel::id::{Seq, SessionId};
use backstay_kernel::label::{Confidentiality, Label, Source};
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{End, Ended, Entry, Record};
use backstay_kernel::tool::Idempotency;
use backstay_sim::setting;

use crate::stage::{Line, Play, call};

const SECRET: Label = Label { conf: Confidentiality::Secret, ..Label::of(Source::Tool) };

/// `peek` shows a secret from nowhere; the others work in `/home`.
fn policy() -> Policy {
    let mut policy =
        setting::policy(&[("peek", Idempotency::Pure), ("look", Idempotency::Pure), ("put", Idempotency::Keyed)]);
    policy.tools.get_mut("peek").unwrap().result = SECRET;
    policy
}

fn calls(tools: &[&'static str]) -> Vec<Line> {
    tools.iter().map(|tool| call(tool, "{}")).chain([Line::Say("done")]).collect()
}

/// A turn of a new session in which these tools are called.
async fn turn(play: &Play, tools: &[&'static str]) -> TurnView {
    let said = begin(play, tools).await;
    play.ended(said).await
}

async fn begin(play: &Play, tools: &[&'static str]) -> Submitted {
    play.stage.script.lock().unwrap().extend(calls(tools));
    play.say(None, "go").await
}

/// The confidentiality of the last result.
fn result(view: &TurnView) -> Confidentiality {
    let records = view.records.iter().map(|placed| &placed.record);
    let mut labels = records.filter_map(|record| {
        let Record::Ended(Ended { end: End::Done { label, .. }, .. }) = record else { return None };
        Some(label.conf)
    });
    labels.next_back().unwrap()
}

/// What the journal says of roots, whatever is in memory.
fn journaled(play: &Play) -> Vec<HomeRecord> {
    let rows = play.store.entries_after(SessionId::HOME, Seq(0), usize::MAX).unwrap();
    let entries = rows.iter().map(|row| serde_json::from_str::<Entry<HomeRecord>>(&row.body).unwrap());
    let is_of_roots =
        |record: &HomeRecord| matches!(record, HomeRecord::RootRaised { .. } | HomeRecord::RootReset { .. });
    entries.flat_map(|entry| entry.records).filter(is_of_roots).collect()
}

#[tokio::test]
async fn a_file_that_a_session_wrote_which_saw_a_secret_is_a_secret_to_every_reader() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![]).await;
    assert_eq!(result(&turn(&play, &["put", "look"]).await), Confidentiality::Internal);
    assert_eq!(journaled(&play), [], "what anybody may have put there needs no record");
    turn(&play, &["peek"]).await;
    assert_eq!(result(&turn(&play, &["look"]).await), Confidentiality::Internal, "it has written nothing");
    turn(&play, &["peek", "put"]).await;
    assert_eq!(result(&turn(&play, &["look"]).await), Confidentiality::Secret);
    turn(&play, &["peek", "put"]).await;
    let records = journaled(&play);
    let [HomeRecord::RootRaised { root, label, .. }] = records.as_slice() else { panic!("once: {records:?}") };
    assert!(root == "/home" && label.conf == Confidentiality::Secret && !label.is_trusted());
    play.store.close().unwrap();
    drop(play);

    let play = Play::begin(home.path(), policy(), vec![]).await;
    assert_eq!(result(&turn(&play, &["look"]).await), Confidentiality::Secret, "a restart forgets nothing");
    let reset = |speaks| play.engine.home().reset_root("/home", "owner", speaks, None);
    reset(Speaks::Program).await.unwrap_err();
    reset(Speaks::Human).await.unwrap();
    assert_eq!(result(&turn(&play, &["look"]).await), Confidentiality::Internal);
    assert!(matches!(journaled(&play).as_slice(), [_, HomeRecord::RootReset { before, .. }] if before == label));
}

#[tokio::test]
async fn the_raise_is_in_the_journal_before_the_call_acts_and_outlives_a_reset_in_its_middle() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![]).await;
    play.stage.hold(&["put"]);
    let said = begin(&play, &["peek", "put"]).await;
    play.stage.holding.notified().await;
    assert_eq!((play.stage.held(), play.stage.acts_of("put"), journaled(&play).len()), (1, 0, 1));
    play.engine.home().reset_root("/home", "owner", Speaks::Human, None).await.unwrap();
    play.stage.hold(&[]);
    play.ended(said).await;
    assert_eq!(journaled(&play).len(), 3, "what it writes after the reset is not vouched for");
    assert_eq!(result(&turn(&play, &["look"]).await), Confidentiality::Secret);
}

#[tokio::test]
async fn a_memory_bears_the_label_of_the_session_that_left_it() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![]).await;
    for (tools, conf) in [(&["put"][..], Confidentiality::Internal), (&["peek", "put"], Confidentiality::Secret)] {
        let mut lines = calls(tools);
        let last = lines.len() - 2;
        lines[last] = call("put", "{\"remember\":\"this\"}");
        play.stage.script.lock().unwrap().extend(lines);
        let said = play.say(None, "go").await;
        play.ended(said).await;
        let memories = play.store.recall("owner", "remember", 10).unwrap();
        let memory = memories.iter().find(|memory| memory.session == said.session).unwrap();
        let row = play.store.entries_after(memory.session, Seq(memory.seq.0 - 1), 1).unwrap().pop().unwrap();
        let label = left(&row.body).unwrap();
        assert!(label.conf == conf && !label.is_trusted(), "{label:?}");
    }
}
