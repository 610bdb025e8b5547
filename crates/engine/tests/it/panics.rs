//! A panic in an adapter ends its effect for a stated reason, after a bounded number of tries, and
//! never its session or the process.
use std::sync::atomic::Ordering;

use backstay_engine::{EngineError, TurnState};
use backstay_kernel::limits::LAPSES_MAX;
use backstay_kernel::record::{LoopRule, Record, StopReason, Verdict};

use crate::stage::{Line, Play, call, count, message, owner, policy};

async fn broken(home: &std::path::Path, script: Vec<Line>, verbs: &[(&'static str, &'static str)]) -> Play {
    let play = Play::begin(home, policy(), script).await;
    play.stage.broken.lock().unwrap().extend(verbs);
    play
}

#[tokio::test]
async fn a_model_client_that_panics_ends_the_turn_at_its_first_try() {
    let home = tempfile::tempdir().unwrap();
    let play = broken(home.path(), vec![Line::Panic], &[]).await;
    let said = play.say(None, "hi").await;
    let view = play.ended(said).await;
    assert!(matches!(view.state, TurnState::Ended(StopReason::Invalid)), "{:?}", view.state);
    assert_eq!(play.stage.sent.lock().unwrap().len(), 1);
    let again = play.say(Some(said.session), "again").await;
    assert!(matches!(play.ended(again).await.state, TurnState::Ended(StopReason::Claimed)), "the session lives");
}

#[tokio::test]
async fn a_probed_tool_that_panics_is_tried_a_few_times_and_concluded_as_not_done() {
    let home = tempfile::tempdir().unwrap();
    let script = vec![call("edit", "{}"), Line::Say("I could not")];
    let play = broken(home.path(), script, &[("run", "edit")]).await;
    let view = play.ended(play.say(None, "edit it").await).await;
    assert_eq!((view.completion.failed.len(), play.stage.acts_of("edit")), (1, 0));
    let starts = count(&view, |record| matches!(record, Record::Started(started) if started.request.is_none()));
    assert_eq!(starts, LAPSES_MAX as usize);
    assert_eq!(play.stage.probes.load(Ordering::SeqCst), u64::from(LAPSES_MAX));
}

#[tokio::test]
async fn a_model_that_insists_on_a_tool_that_panics_is_stopped() {
    for tool in ["look", "put"] {
        let home = tempfile::tempdir().unwrap();
        let play = broken(home.path(), vec![call(tool, "{}"); 9], &[("run", tool)]).await;
        let view = play.ended(play.say(None, "go").await).await;
        let by_loop = matches!(view.state, TurnState::Ended(StopReason::Loop(LoopRule::ExactRepeat)));
        assert!(by_loop, "{tool}: {:?}", view.state);
        assert_eq!(play.stage.sent.lock().unwrap().len(), 5);
    }
}

#[tokio::test]
async fn an_unsafe_tool_and_a_probe_that_panic_are_doubts() {
    for (tool, verbs) in [("send", vec![("run", "send")]), ("edit", vec![("run", "edit"), ("probe", "edit")])] {
        let home = tempfile::tempdir().unwrap();
        let play = broken(home.path(), vec![call(tool, "{}")], &verbs).await;
        let said = play.say(None, "go").await;
        play.until(said, |view| count(view, |record| matches!(record, Record::Doubted { .. })) == 1).await;
        assert_eq!(play.wait(said), "doubt");
        assert_eq!(play.stage.acts_of(tool), 0);
    }
}

#[tokio::test]
async fn a_call_whose_inspection_panics_is_told_so() {
    let home = tempfile::tempdir().unwrap();
    let script = vec![call("put", "{}"), Line::Say("I see")];
    let play = broken(home.path(), script, &[("inspect", "put")]).await;
    let view = play.ended(play.say(None, "go").await).await;
    assert_eq!(play.text(view.reply), "I see");
    assert!(view.calls.values().all(|call| matches!(call.verdict, Some(Verdict::Invalid { .. }))));
}

#[tokio::test]
async fn a_session_whose_task_panics_goes_on_from_the_journal_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![call("put", "{}"), Line::Say("put")]).await;
    play.stage.hold(&["put"]);
    let said = play.say(None, "go").await;
    let is_act = |record: &Record| matches!(record, Record::Started(started) if started.request.is_none());
    play.until(said, |view| count(view, is_act) == 1).await;
    // The pass that hears of the act's end renders the next request.
    *play.stage.meanwhile.lock().unwrap() = Some(Box::new(|| panic!("planted: item")));
    play.stage.hold(&[]);
    assert_eq!(play.text(play.ended(said).await.reply), "put");
    assert!(play.stage.meanwhile.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_caller_whose_session_panics_is_told_of_a_fault_and_the_next_one_is_served() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Say("one"), Line::Say("two")]).await;
    let said = play.say(None, "hi").await;
    play.ended(said).await;
    *play.stage.meanwhile.lock().unwrap() = Some(Box::new(|| panic!("planted: item")));
    let told = play.engine.submit(&owner(), message(Some(said.session), "and?")).await;
    assert!(matches!(told, Err(EngineError::Internal(_))), "{told:?}");
    let again = play.say(Some(said.session), "and?").await;
    assert_eq!(play.text(play.ended(again).await.reply), "two");
}
