//! Two things at the same moment: what was repaired once stays repaired.
use std::sync::atomic::Ordering;

use backstay_engine::Submission;
use backstay_kernel::effect::FailureClass;
use backstay_kernel::id::{Digest, Seq, SessionId};
use backstay_kernel::record::Record;
use backstay_store::{Append, InboxRow};
use tokio::task::yield_now;

use crate::stage::{Line, Play, commit, count, elsewhere, message, owner, policy};

#[tokio::test]
async fn what_a_failed_append_had_rendered_is_in_no_later_request() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Say("one"), Line::Say("two")]).await;
    let said = play.say(None, "hello").await;
    play.ended(said).await;
    let key = ("k".to_owned(), Digest::of("test", &[b"ghost"]));
    let stored = play.engine.key("owner", Some(key.clone())).unwrap();
    let row = InboxRow { key: stored.key, seq: Seq(1), turn: None, body: stored.body, expires_at: stored.expires_at };
    // Another session has the row of the key, as if that had been said a moment ago.
    let store = play.store.clone();
    let said_elsewhere = move || commit(&store, Append { inbox: Some(row), ..elsewhere(&store) });
    *play.stage.meanwhile.lock().unwrap() = Some(Box::new(said_elsewhere));
    let ghost = Submission { key: Some(key), ..message(Some(said.session), "ghost words") };
    let told = play.engine.submit(&owner(), ghost).await.unwrap();
    assert_eq!(told.session, SessionId([9; 10]), "it was said there");
    assert!(play.stage.meanwhile.lock().unwrap().is_none(), "it was being rendered here");
    let real = play.say(Some(said.session), "real words").await;
    play.ended(real).await;
    let sent = play.stage.sent.lock().unwrap();
    assert!(sent[1].contains("real words") && !sent[1].contains("ghost words"), "{}", sent[1]);
}

#[tokio::test]
async fn a_moment_that_passes_under_a_freeze_is_looked_at_once_and_goes_on_after_it() {
    let home = tempfile::tempdir().unwrap();
    let script = vec![Line::Fail(FailureClass::RetrySame), Line::Say("at last")];
    let play = Play::begin(home.path(), policy(), script).await;
    let said = play.say(None, "hi").await;
    play.until(said, |view| count(view, |record| matches!(record, Record::Retried(_))) == 1).await;
    play.engine.freeze(true, "owner", None).await.unwrap();
    play.stage.now.fetch_add(60_000, Ordering::SeqCst);
    // Said again, so that the session looks after its moment has passed.
    play.engine.freeze(true, "owner", None).await.unwrap();
    for _ in 0..200 {
        yield_now().await;
    }
    let looks = play.stage.looks.load(Ordering::SeqCst);
    for _ in 0..20_000 {
        yield_now().await;
    }
    let looked = play.stage.looks.load(Ordering::SeqCst) - looks;
    assert!(looked < 20, "the clock was read {looked} times for nothing");
    play.engine.freeze(false, "owner", None).await.unwrap();
    assert_eq!(play.text(play.ended(said).await.reply), "at last");
}
