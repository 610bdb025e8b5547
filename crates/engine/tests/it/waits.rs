//! Those who tell of what waits are woken where something may wait, and at no other time.
use backstay_engine::Engine;

use crate::stage::{Line, Play, asked, call, decide, owner, policy};

/// How often they would have been woken by `work`.
async fn woken<T>(engine: &Engine, work: impl Future<Output = T>) -> (bool, T) {
    let mut waits = engine.waits();
    waits.borrow_and_update();
    let done = work.await;
    (waits.has_changed().unwrap(), done)
}

#[tokio::test]
async fn turns_in_which_nobody_is_waited_for_wake_nobody() {
    let home = tempfile::tempdir().unwrap();
    let lines = vec![call("look", "{}"), call("put", "{}"), Line::Say("done"), Line::Say("again")];
    let play = Play::begin(home.path(), policy(), lines).await;
    let work = async {
        for text in ["one", "two", "three"] {
            let said = play.say(None, text).await;
            play.ended(said).await;
        }
    };
    assert!(!woken(&play.engine, work).await.0);
    assert!(play.commits() > 6);
}

#[tokio::test]
async fn what_begins_to_wait_and_what_ends_wakes_them() {
    let home = tempfile::tempdir().unwrap();
    let lines = vec![call("guarded", "{}"), Line::Say("done"), Line::Say("quiet")];
    let play = Play::begin(home.path(), policy(), lines).await;
    let ask = async {
        let said = play.say(None, "one").await;
        (said, play.until(said, |view| asked(view).is_some()).await)
    };
    let (is_woken, (said, view)) = woken(&play.engine, ask).await;
    assert!(is_woken, "it begins");
    let answer = async {
        let yes = decide(asked(&view).unwrap(), true);
        play.engine.command(&owner(), said.session, yes, None).await.unwrap();
        play.ended(said).await
    };
    assert!(woken(&play.engine, answer).await.0, "it ends");
    let quiet = async {
        let said = play.say(Some(said.session), "two").await;
        play.ended(said).await
    };
    assert!(!woken(&play.engine, quiet).await.0, "and is over");
}
