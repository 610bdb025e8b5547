//! Read-only and dry run on a working home: thrown by an operator, kept by the journal.
use backstay_kernel::mode::{Scope, WorkMode};
use backstay_kernel::record::{Judged, Reason, Record, Verdict};

use crate::stage::{Line, Play, asked, call, count, decide, owner, policy};

fn is_held_back(record: &Record) -> bool {
    matches!(record, Record::Judged(Judged { verdict: Verdict::Deny { by: Reason::Mode { .. } }, .. }))
}

#[tokio::test]
async fn a_mode_of_an_agent_outlives_the_process_and_ends_by_a_word() {
    let home = tempfile::tempdir().unwrap();
    let scope = || Scope::Agent("main".into());
    let play = Play::begin(home.path(), policy(), vec![]).await;
    play.engine.set_mode(scope(), WorkMode::DryRun, "owner", None).await.unwrap();
    play.store.close().unwrap();
    drop(play);
    let script = vec![call("send", "{}"), Line::Say("a dry run"), call("send", "{}"), Line::Say("done")];
    let play = Play::begin(home.path(), policy(), script).await;
    let said = play.say(None, "send it").await;
    let view = play.ended(said).await;
    assert_eq!((play.stage.acts_of("send"), count(&view, is_held_back)), (0, 1));
    let told = play.stage.sent.lock().unwrap()[1].clone();
    assert!(told.contains("Dry run: nothing was done."), "{told}");
    play.engine.set_mode(scope(), WorkMode::Normal, "owner", None).await.unwrap();
    let said = play.say(Some(said.session), "now really").await;
    play.ended(said).await;
    assert_eq!(play.stage.acts_of("send"), 1);
}

#[tokio::test]
async fn what_waits_for_a_yes_is_not_made_where_its_door_was_switched_to_read_only_meanwhile() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![call("guarded", "{}"), Line::Say("it was not made")]).await;
    let said = play.say(None, "do it").await;
    let view = play.until(said, |view| asked(view).is_some()).await;
    play.engine.set_mode(Scope::Channel("test".into()), WorkMode::ReadOnly, "owner", None).await.unwrap();
    play.engine.command(&owner(), said.session, decide(asked(&view).unwrap(), true), None).await.unwrap();
    let view = play.ended(said).await;
    assert_eq!((play.stage.acts_of("guarded"), count(&view, is_held_back)), (0, 1));
}
