//! Texts that are erased, and texts that cannot be read now: the one ends what needs them, the other
//! is waited for.
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use backstay_engine::{EngineError, Submitted, TurnState, TurnView};
use backstay_kernel::id::BodyRef;
use backstay_kernel::policy::Role;
use backstay_kernel::record::{Planned, Record, StopReason};
use tokio::time::timeout;

use crate::stage::{Line, Play, asked, call, decide, message, owner, policy};

/// Puts `new` in the place of every `old` in a home's state file.
fn replace(home: &Path, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let path = home.join("state.db");
    let bytes = std::fs::read(&path).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old.as_bytes())).collect();
    assert!(!places.is_empty());
    let file = OpenOptions::new().write(true).open(path).unwrap();
    places.into_iter().for_each(|at| file.write_all_at(new.as_bytes(), at as u64).unwrap());
}

/// The first body that records of this turn refer to in such a place.
fn body(view: &TurnView, place: impl Fn(&Record) -> Option<BodyRef>) -> BodyRef {
    view.records.iter().find_map(|placed| place(&placed.record)).unwrap()
}

fn calls(record: &Record) -> Option<BodyRef> {
    if let Record::Planned(Planned::Tool { call, .. }) = record { Some(call.calls) } else { None }
}

fn admitted(record: &Record) -> Option<BodyRef> {
    if let Record::Admitted(admitted) = record { Some(admitted.body) } else { None }
}

/// A turn that waits for a yes to one call, in a home that was closed then.
async fn waiting(home: &Path) -> (Submitted, TurnView) {
    let play = Play::begin(home, policy(), vec![call("guarded", r#"{"a": "needle"}"#)]).await;
    let said = play.say(None, "do it").await;
    let view = play.until(said, |view| asked(view).is_some()).await;
    play.store.close().unwrap();
    (said, view)
}

async fn approve(play: &Play, said: Submitted, view: &TurnView) {
    let yes = decide(asked(view).unwrap(), true);
    play.engine.command(&owner(), said.session, yes, None).await.unwrap();
}

#[tokio::test]
async fn a_turn_that_an_erased_text_belongs_to_ends_by_that_name() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Say("hi")]).await;
    let said = play.say(None, "my secret").await;
    let view = play.ended(said).await;
    play.store.close().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Say("never asked")]).await;
    assert!(play.store.erase_body(&body(&view, admitted)).unwrap());
    let view = play.ended(play.say(Some(said.session), "and now?").await).await;
    assert!(matches!(view.state, TurnState::Ended(StopReason::Erased)), "{:?}", view.state);
    assert!(play.stage.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_call_that_was_erased_is_not_made_and_said_to_be_not_started() {
    let home = tempfile::tempdir().unwrap();
    let (said, view) = waiting(home.path()).await;
    let play = Play::begin(home.path(), policy(), vec![]).await;
    assert!(play.store.erase_body(&body(&view, calls)).unwrap());
    approve(&play, said, &view).await;
    let ended = play.ended(said).await;
    assert!(matches!(ended.state, TurnState::Ended(StopReason::Erased)), "{:?}", ended.state);
    assert_eq!((ended.completion.not_started.len(), play.stage.acts_of("guarded")), (1, 0));
}

#[tokio::test]
async fn a_call_that_cannot_be_read_now_is_made_once_it_can() {
    let home = tempfile::tempdir().unwrap();
    let (said, view) = waiting(home.path()).await;
    replace(home.path(), "needle", "nEEdle");
    let play = Play::begin(home.path(), policy(), vec![Line::Say("done")]).await;
    approve(&play, said, &view).await;
    assert_eq!(play.stage.acts_of("guarded"), 0);
    replace(home.path(), "nEEdle", "needle");
    assert_eq!(play.text(play.ended(said).await.reply), "done");
    assert_eq!(play.stage.acts_of("guarded"), 1);
}

#[tokio::test]
async fn a_text_that_cannot_be_read_now_ends_no_turn() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Say("hi")]).await;
    let said = play.say(None, "find the needle").await;
    play.ended(said).await;
    play.store.close().unwrap();
    replace(home.path(), "find the needle", "find the nEEdle");
    let play = Play::begin(home.path(), policy(), vec![Line::Say("here")]).await;
    let caller = owner();
    let told = play.engine.submit(&caller, message(Some(said.session), "well?"));
    let told = timeout(Duration::from_secs(20), told).await.expect("it is answered");
    assert!(matches!(told, Err(EngineError::Unreadable(_))), "{told:?}");
    replace(home.path(), "find the nEEdle", "find the needle");
    let again = play.say(Some(said.session), "well?").await;
    assert_eq!(play.text(play.ended(again).await.reply), "here");
}

#[tokio::test]
async fn whoever_asks_for_a_session_that_cannot_be_read_is_told_so_until_it_can() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Say("hi")]).await;
    let said = play.say(None, "hello").await;
    play.ended(said).await;
    play.store.close().unwrap();
    replace(home.path(), r#""opened":"#, r#""0pened":"#);
    let play = Play::begin(home.path(), policy(), vec![Line::Say("again")]).await;
    for _ in 0..3 {
        let heard = timeout(Duration::from_secs(20), play.engine.subscribe(Role::Owner, said.session)).await;
        let heard = heard.expect("it is answered");
        assert!(matches!(heard, Err(EngineError::Unreadable(_))));
        let told = play.engine.submit(&owner(), message(Some(said.session), "well?")).await;
        assert!(matches!(told, Err(EngineError::Unreadable(_))), "{told:?}");
    }
    replace(home.path(), r#""0pened":"#, r#""opened":"#);
    let read = async { while play.engine.subscribe(Role::Owner, said.session).await.is_err() {} };
    timeout(Duration::from_secs(20), read).await.expect("it is read again");
    let again = play.say(Some(said.session), "well?").await;
    assert_eq!(play.text(play.ended(again).await.reply), "again");
}
