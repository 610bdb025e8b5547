//! A keyed command is done once, and whoever repeats it is told the same, in this process and the
//! next.
use std::sync::atomic::Ordering;

use backstay_engine::{Accepted, Command, EngineError, Submission, Submitted, TurnView};
use backstay_kernel::home::HomeRecord;
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{Digest, EffectId};
use backstay_kernel::record::{Mode, Record};

use crate::stage::{LIMITS, Line, Play, asked, call, count, decide, message, owner, policy, slowly};

fn key(name: &str) -> Option<(String, Digest)> {
    Some((name.to_owned(), Digest::of("test", &[name.as_bytes()])))
}

/// The question that the turn's latest call puts, once it was judged.
fn question(view: &TurnView) -> Option<EffectId> {
    let (id, call) = view.calls.iter().next_back()?;
    call.verdict.as_ref().map(|_| *id)
}

async fn twice(play: &Play, said: Submitted, command: Command, name: &str) -> Accepted {
    let caller = owner();
    let first = play.engine.command(&caller, said.session, command.clone(), key(name)).await.unwrap();
    let again = play.engine.command(&caller, said.session, command, key(name)).await.unwrap();
    assert_eq!((first, first.turn), (again, Some(said.turn)), "{name}");
    first
}

#[tokio::test]
async fn a_repeated_steer_answer_or_decision_names_the_turn_that_it_went_into() {
    let home = tempfile::tempdir().unwrap();
    let script = vec![call("ask", "{}"), call("guarded", "{}"), Line::Hang];
    let play = Play::begin(home.path(), policy(), script).await;
    let said = play.say(None, "help").await;
    let view = play.until(said, |view| question(view).is_some()).await;
    let answer = Command::Answer {
        effect: question(&view).unwrap(),
        text: "blue".into(),
        by: "owner".into(),
        speaks: Speaks::Program,
    };
    let answered = twice(&play, said, answer.clone(), "answer").await;
    let view = play.until(said, |view| asked(view).is_some()).await;
    let decide = decide(asked(&view).unwrap(), true);
    let decided = twice(&play, said, decide.clone(), "decide").await;
    play.stage.hung.notified().await;
    let steer = Submission { mode: Mode::Steer, key: key("steer"), ..message(Some(said.session), "and green") };
    let steered = play.engine.submit(&owner(), steer.clone()).await.unwrap();
    assert_eq!(steered.turn, said.turn);
    assert_eq!(play.engine.submit(&owner(), steer.clone()).await.unwrap(), steered);
    // The same home, another process.
    play.store.close().unwrap();
    let next = Play::begin(home.path(), policy(), vec![Line::Hang]).await;
    assert_eq!(next.engine.submit(&owner(), steer).await.unwrap(), steered);
    for (command, name, before) in [(answer, "answer", answered), (decide, "decide", decided)] {
        assert_eq!(next.engine.command(&owner(), said.session, command, key(name)).await.unwrap(), before);
    }
    let view = next.engine.reader().turn(said.session, said.turn).unwrap();
    assert_eq!(count(&view, |record| matches!(record, Record::Admitted(_))), 2, "nothing is admitted twice");
}

#[tokio::test]
async fn of_two_at_the_same_time_one_is_admitted_and_both_are_told_its_turn() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Hang]).await;
    let said = play.say(None, "help").await;
    play.stage.hung.notified().await;
    let steer = Submission { mode: Mode::Steer, key: key("steer"), ..message(Some(said.session), "and green") };
    let caller = owner();
    let (one, other) = tokio::join!(play.engine.submit(&caller, steer.clone()), play.engine.submit(&caller, steer));
    assert_eq!(one.clone().unwrap().turn, said.turn);
    assert_eq!(one, other);
}

#[tokio::test]
async fn a_steer_is_told_the_turn_that_it_enters_though_the_models_last_word_is_on_its_way() {
    let home = tempfile::tempdir().unwrap();
    let play =
        Play::begin(home.path(), policy(), vec![slowly("", Line::Say("blue")), Line::Say("blue and green")]).await;
    let said = play.say(None, "help").await;
    play.stage.hung.notified().await;
    let steer = Submission { mode: Mode::Steer, ..message(Some(said.session), "and green") };
    assert_eq!(play.engine.submit(&owner(), steer).await.unwrap().turn, said.turn);
    play.stage.go.notify_one();
    let view = play.ended(said).await;
    assert_eq!(play.text(view.reply), "blue and green");
}

#[tokio::test]
async fn two_steers_without_an_open_turn_are_told_the_turn_that_the_first_begins() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Say("hello"), Line::Hang]).await;
    let said = play.say(None, "hi").await;
    play.ended(said).await;
    let steer = |text| Submission { mode: Mode::Steer, ..message(Some(said.session), text) };
    let caller = owner();
    // Both letters lie in the mailbox when the session looks.
    let (one, other) =
        tokio::join!(play.engine.submit(&caller, steer("red")), play.engine.submit(&caller, steer("green")));
    let (one, other) = (one.unwrap(), other.unwrap());
    let first = one.seq.min(other.seq);
    assert_eq!((one.turn, other.turn), (first, first));
    play.stage.hung.notified().await;
    let sent = play.stage.sent.lock().unwrap().pop().unwrap();
    assert!(sent.contains("red") && sent.contains("green"), "{sent}");
}

#[tokio::test]
async fn nobody_is_told_that_an_approval_is_closed_by_a_word_that_was_never_stored() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![call("guarded", "{}"), Line::Hang]).await;
    let said = play.say(None, "do it").await;
    let view = play.until(said, |view| asked(view).is_some()).await;
    let no = decide(asked(&view).unwrap(), false);
    // The next request is rendered in the commit that holds the first of the two words.
    let store = play.store.clone();
    *play.stage.meanwhile.lock().unwrap() = Some(Box::new(move || store.close().unwrap()));
    let caller = owner();
    let say_no = || play.engine.command(&caller, said.session, no.clone(), None);
    let (one, other) = tokio::join!(say_no(), say_no());
    for told in [one, other] {
        assert!(matches!(told, Err(EngineError::Halted(_))), "{told:?}");
    }
}

#[tokio::test]
async fn the_key_of_a_reload_names_its_epoch_in_the_next_process() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![]).await;
    let reload = play.engine.key("owner", key("reload"));
    let epoch = play.engine.reload(policy(), "another text", "owner", reload, LIMITS).await.unwrap();
    play.store.close().unwrap();
    let next = Play::begin(home.path(), policy(), vec![]).await;
    let said = next.engine.home().said(reload.as_ref()).unwrap();
    assert!(matches!(said, Some(HomeRecord::Config { epoch: of, .. }) if of == epoch), "{said:?}");
    assert_eq!(next.engine.home().said(next.engine.key("owner", key("another")).as_ref()), Ok(None));
    let other = next.engine.key("owner", Some(("reload".into(), Digest::default())));
    assert_eq!(next.engine.home().said(other.as_ref()), Err(EngineError::KeyReused));
}

#[tokio::test]
async fn a_key_holds_for_a_week() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Say("one"), Line::Say("two")]).await;
    let keyed = || Submission { key: key("k"), ..message(None, "hi") };
    let first = play.engine.submit(&owner(), keyed()).await.unwrap();
    play.ended(first).await;
    play.stage.now.fetch_add(7 * 86_400_000 - 1, Ordering::SeqCst);
    assert_eq!(play.engine.submit(&owner(), keyed()).await.unwrap(), first);
    play.stage.now.fetch_add(1, Ordering::SeqCst);
    assert_ne!(play.engine.submit(&owner(), keyed()).await.unwrap(), first);
}
