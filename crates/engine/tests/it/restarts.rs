//! The process goes away in the middle: the same turn goes on, nothing is repeated.
use backstay_engine::{Command, EngineError, Reader, Submitted, TurnState, fold};
use backstay_kernel::record::{Record, Resolution, StopReason};
use backstay_kernel::refusal::Code;
use backstay_kernel::session::State;
use backstay_store::Options;

use crate::stage::{Line, Play, asked, call, decide, message, owner, policy};

/// Runs `first` until it says so, then kills everything; the store's files are all that is left.
fn crash<T: Send + 'static>(first: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let out = runtime.block_on(first);
    runtime.shutdown_background();
    out
}

fn run<T>(then: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(then)
}

#[test]
fn a_model_call_that_was_cut_off_is_made_again() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let said = crash(async move {
        let play = Play::begin(&path, policy(), vec![Line::Hang]).await;
        let said = play.say(None, "hi").await;
        play.stage.hung.notified().await;
        play.store.close().unwrap();
        said
    });
    run(async {
        let play = Play::begin(home.path(), policy(), vec![Line::Say("back again")]).await;
        let view = play.ended(said).await;
        assert_eq!(play.text(view.reply), "back again");
        let lapsed = view.records.iter().filter(|p| matches!(p.record, Record::Lapsed { .. })).count();
        assert_eq!(lapsed, 1);
    });
}

#[test]
fn an_unsafe_act_that_was_cut_off_is_a_doubt_and_waits_for_a_person() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let said = crash(async move {
        let play = Play::begin(&path, policy(), vec![call("send", "{}")]).await;
        play.stage.hold(&["send"]);
        let said = play.say(None, "send it").await;
        play.until(said, |v| v.records.iter().any(|p| matches!(&p.record, Record::Started(s) if s.request.is_none())))
            .await;
        play.store.close().unwrap();
        said
    });
    run(async {
        let play = Play::begin(home.path(), policy(), vec![Line::Say("understood")]).await;
        let view = play.until(said, |v| v.records.iter().any(|p| matches!(p.record, Record::Doubted { .. }))).await;
        let effect = *view.calls.keys().next().unwrap();
        assert_eq!(play.stage.acts_of("send"), 0, "never silently run again");
        let resolve =
            Command::Resolve { effect, resolution: Resolution::Done, by: "owner".into(), note: "I looked".into() };
        play.engine.command(&owner(), said.session, resolve, None).await.unwrap();
        let view = play.ended(said).await;
        assert_eq!(play.text(view.reply), "understood");
        assert_eq!(view.completion.done, vec![effect]);
        assert_eq!(play.stage.acts_of("send"), 0);
    });
}

#[test]
fn an_approval_outlives_the_process() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let said = crash(async move {
        let play = Play::begin(&path, policy(), vec![call("guarded", "{}")]).await;
        let said = play.say(None, "do it").await;
        play.until(said, |v| v.calls.values().any(|c| c.verdict.is_some())).await;
        play.store.close().unwrap();
        said
    });
    run(async {
        let play = Play::begin(home.path(), policy(), vec![Line::Say("no, then")]).await;
        let view = Reader::new(play.store.clone()).turn(said.session, said.turn).unwrap();
        assert!(matches!(view.state, TurnState::Open));
        // Nobody answers: expiry is a no.
        play.stage.now.fetch_add(60_001, std::sync::atomic::Ordering::SeqCst);
        let view = play.ended(said).await;
        assert!(matches!(view.state, TurnState::Ended(StopReason::Claimed)));
        assert_eq!(view.completion.refused.len(), 1);
        assert_eq!(play.stage.acts_of("guarded"), 0);
    });
}

#[tokio::test]
async fn without_room_nothing_new_is_admitted_and_what_was_begun_is_finished() {
    let home = tempfile::tempdir().unwrap();
    let first = Play::begin(home.path(), policy(), vec![call("guarded", "{}")]).await;
    let said = first.say(None, "do it").await;
    let view = first.until(said, |view| asked(view).is_some()).await;
    let yes = decide(asked(&view).unwrap(), true);
    first.store.close().unwrap();
    let no_room = Options { ballast_bytes: 0, free_bytes_min: u64::MAX };
    let second = Play::begin_with(home.path(), no_room, policy(), vec![Line::Say("done")]).await;
    let refused = second.engine.submit(&owner(), message(Some(said.session), "more")).await;
    assert!(matches!(refused, Err(EngineError::Halted(_))), "{refused:?}");
    let refused = second.engine.open_session(&owner(), "main", None, None).await;
    assert!(matches!(refused, Err(EngineError::Halted(_))), "{refused:?}");
    second.engine.command(&owner(), said.session, yes, None).await.unwrap();
    assert_eq!(second.text(second.ended(said).await.reply), "done");
    assert_eq!(second.stage.acts_of("guarded"), 1);
}

/// Runs `script` until `done`, dies, and makes a home of what is left; the engine of that home has not
/// woken anybody yet.
async fn restored(script: Vec<Line>, done: fn(&Record) -> bool) -> (tempfile::TempDir, Play, Submitted) {
    let homes = tempfile::tempdir().unwrap();
    let (old, new) = (homes.path().join("old"), homes.path().join("new"));
    let path = old.clone();
    let death = std::thread::spawn(move || {
        crash(async move {
            let play = Play::begin(&path, policy(), script).await;
            play.stage.hold(&["send"]);
            let said = play.say(None, "do it").await;
            play.until(said, |view| view.records.iter().any(|placed| done(&placed.record))).await;
            play.store.close().unwrap();
            play.stage.hold(&[]);
            said
        })
    });
    let said = death.join().unwrap();
    backstay_store::restore(&old, &new).unwrap();
    (homes, Play::begin(&new, policy(), vec![Line::Say("understood")]).await, said)
}

#[tokio::test]
async fn what_had_started_before_a_backup_is_shown_in_doubt_before_its_session_is_woken() {
    let (_homes, play, said) =
        restored(vec![call("send", "{}")], |record| matches!(record, Record::Started(s) if s.request.is_none())).await;
    let seq = play.store.head(said.session).unwrap().unwrap().seq;
    let shown = play.engine.look(said.session).unwrap();
    let (effect, open) = shown.effects.first_key_value().unwrap();
    assert_eq!(open.state, State::Doubt);
    let found = play.store.needing_people().unwrap();
    assert_eq!(found.iter().map(|head| head.session).collect::<Vec<_>>(), [said.session]);
    assert!(!found[0].people, "its head says nothing of it yet");
    assert_eq!(play.store.head(said.session).unwrap().unwrap().seq, seq, "looking writes nothing");
    let (effect, resolution) = (*effect, Resolution::Done);
    let resolve = Command::Resolve { effect, resolution, by: "owner".into(), note: "I looked".into() };
    play.engine.command(&owner(), said.session, resolve, None).await.unwrap();
    assert!(play.store.needing_people().unwrap().is_empty());
    assert_eq!(play.engine.look(said.session).unwrap(), fold(&play.store, said.session).unwrap().state);
    play.engine.freeze(false, "owner", None).await.unwrap();
    assert_eq!(play.ended(said).await.completion.done, [effect]);
    assert_eq!(play.stage.acts_of("send"), 0);
}

#[tokio::test]
async fn a_yes_to_what_was_asked_before_a_backup_is_refused_and_tells_the_session() {
    let (_homes, play, said) =
        restored(vec![call("guarded", "{}")], |record| matches!(record, Record::Judged(_))).await;
    let view = Reader::new(play.store.clone()).turn(said.session, said.turn).unwrap();
    let (effect, digest) = asked(&view).unwrap();
    assert_eq!(play.engine.look(said.session).unwrap().effects[&effect].state, State::Doubt);
    let yes = decide((effect, digest), true);
    let refused = play.engine.command(&owner(), said.session, yes, None).await;
    assert!(matches!(&refused, Err(EngineError::Refused(refusal)) if refusal.code == Code::AskClosed), "{refused:?}");
    assert_eq!(fold(&play.store, said.session).unwrap().state.effects[&effect].state, State::Doubt);
    assert_eq!(play.wait(said), "doubt");
    assert_eq!(play.stage.acts_of("guarded"), 0);
}
