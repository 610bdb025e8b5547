//! Whole turns: what they say, what they cost in commits, how they wait for people.
use backstay_engine::{EngineError, TurnState, fold};
use backstay_kernel::effect::FailureClass;
use backstay_kernel::id::Digest;
use backstay_kernel::record::{LoopRule, Record, StopReason};
use backstay_kernel::request::Rope;

use crate::stage::{Line, Play, asked, call, count, decide, message, owner, policy};

const CLAIMED: TurnState = TurnState::Ended(StopReason::Claimed);

fn is(state: &TurnState, wanted: &TurnState) -> bool {
    format!("{state:?}") == format!("{wanted:?}")
}

#[tokio::test]
async fn a_turn_costs_its_commits_and_no_more() {
    for (script, commits) in [
        (vec![Line::Say("hello")], 2),
        (vec![call("look", "{}"), Line::Say("hello")], 3),
        (vec![call("put", "{}"), Line::Say("hello")], 4),
    ] {
        let home = tempfile::tempdir().unwrap();
        let play = Play::begin(home.path(), policy(), script).await;
        let before = play.commits();
        let said = play.say(None, "hi").await;
        let view = play.ended(said).await;
        assert!(is(&view.state, &CLAIMED), "{:?}", view.state);
        assert_eq!(play.text(view.reply), "hello");
        assert_eq!(play.commits() - before, commits);
    }
}

#[tokio::test]
async fn a_request_builds_on_so_many_before_it_and_then_stands_alone() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), (0..70).map(|_| Line::Say("and")).collect()).await;
    let mut said = play.say(None, "a word").await;
    let mut depths = Vec::new();
    for _ in 0..70 {
        let view = play.ended(said).await;
        let stored = play.text(view.records.iter().find_map(|placed| placed.record.rope()));
        let rope: Rope = serde_json::from_str(&stored).unwrap();
        depths.push(rope.base.map_or(0, |_| depths.last().map_or(0, |depth| depth + 1)));
        said = play.say(Some(said.session), "a word").await;
    }
    assert_eq!((depths.iter().max(), depths.iter().filter(|depth| **depth == 0).count()), (Some(&32), 3), "{depths:?}");
}

#[tokio::test]
async fn five_parallel_calls_are_each_done_once_and_answered_in_order() {
    let home = tempfile::tempdir().unwrap();
    let five = ["put", "look", "send", "put", "look"];
    let calls = five.iter().enumerate().map(|(n, tool)| (*tool, format!("{{\"n\":{n}}}"))).collect();
    let play = Play::begin(home.path(), policy(), vec![Line::Call("", calls), Line::Say("done")]).await;
    let said = play.say(None, "go").await;
    let view = play.ended(said).await;
    assert_eq!(view.completion.done.len(), 5);
    assert_eq!((play.stage.acts_of("put"), play.stage.acts_of("send")), (2, 1));
    let sent = play.stage.sent.lock().unwrap();
    let order: Vec<_> = five.iter().map(|tool| format!("\"{tool} did it\"")).collect();
    assert!(sent[1].contains(&order.join(",")), "{}", sent[1]);
}

#[tokio::test]
async fn an_approval_is_bound_to_its_digest_and_used_once() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![call("guarded", "{}"), Line::Say("ok")]).await;
    let said = play.say(None, "do it").await;
    let view = play.until(said, |view| asked(view).is_some()).await;
    let (effect, digest) = asked(&view).unwrap();
    assert_eq!(play.stage.acts_of("guarded"), 0);
    let code = |error| match error {
        Err(EngineError::Refused(refusal)) => refusal.code.word(),
        other => panic!("{other:?}"),
    };
    let wrong = play.engine.command(&owner(), said.session, decide((effect, Digest::default()), true), None).await;
    assert_eq!(code(wrong), "wrong_digest");
    play.engine.command(&owner(), said.session, decide((effect, digest), true), None).await.unwrap();
    let view = play.ended(said).await;
    assert_eq!(view.completion.done, vec![effect]);
    assert_eq!(play.stage.acts_of("guarded"), 1);
    let again = play.engine.command(&owner(), said.session, decide((effect, digest), true), None).await;
    assert_eq!(code(again), "approval_closed");
}

#[tokio::test]
async fn a_question_is_answered_by_the_next_message() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![call("ask", "{}"), Line::Say("thanks")]).await;
    let said = play.say(None, "help").await;
    play.until(said, |view| view.records.iter().any(|p| matches!(&p.record, Record::Judged(_)))).await;
    let answer = play.say(Some(said.session), "blue").await;
    assert_eq!(answer.turn, said.turn);
    let view = play.ended(said).await;
    assert!(is(&view.state, &CLAIMED));
    assert!(play.stage.sent.lock().unwrap()[1].contains("blue"));
}

#[tokio::test]
async fn a_key_admits_a_message_once() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![Line::Say("one"), Line::Say("two")]).await;
    let keyed = |text: &str, body: &str| {
        let mut submission = message(None, text);
        submission.key = Some(("k1".into(), Digest::of("t", &[body.as_bytes()])));
        submission
    };
    let caller = owner();
    let (first, second) =
        tokio::join!(play.engine.submit(&caller, keyed("hi", "a")), play.engine.submit(&caller, keyed("hi", "a")),);
    let first = first.unwrap();
    assert_eq!(first, second.unwrap());
    play.ended(first).await;
    assert_eq!(play.engine.submit(&owner(), keyed("hi", "a")).await.unwrap(), first);
    assert_eq!(play.engine.submit(&owner(), keyed("ho", "b")).await, Err(EngineError::KeyReused));
    assert_eq!(play.stage.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failed_attempt_waits_and_is_made_again() {
    let home = tempfile::tempdir().unwrap();
    let script = vec![Line::Fail(FailureClass::RetrySame), Line::Say("at last")];
    let play = Play::begin(home.path(), policy(), script).await;
    let said = play.say(None, "hi").await;
    play.until(said, |v| v.records.iter().any(|p| matches!(p.record, Record::Retried(_)))).await;
    play.stage.now.fetch_add(1000, std::sync::atomic::Ordering::SeqCst);
    let view = play.ended(said).await;
    assert_eq!(play.text(view.reply), "at last");
}

#[tokio::test]
async fn what_calls_of_one_commit_remember_is_all_remembered() {
    let home = tempfile::tempdir().unwrap();
    let both = [r#"{"remember":"north"}"#, r#"{"remember":"south"}"#].map(|what| ("look", what.to_owned()));
    let play = Play::begin(home.path(), policy(), vec![Line::Call("", both.to_vec()), Line::Say("noted")]).await;
    let said = play.say(None, "note both").await;
    let view = play.ended(said).await;
    assert_eq!(view.completion.done.len(), 2);
    assert_eq!(play.store.recall("owner", "remember", 10).unwrap().len(), 2);
}

#[tokio::test]
async fn a_read_that_takes_long_is_not_waited_for_before_the_commit() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![call("look", "{}"), Line::Say("seen")]).await;
    play.stage.hold(&["look"]);
    let said = play.say(None, "look").await;
    let reads = |record: &Record| matches!(record, Record::Started(started) if started.request.is_none());
    play.until(said, |view| count(view, reads) == 1).await;
    play.stage.hold(&[]);
    assert_eq!(play.text(play.ended(said).await.reply), "seen");
}

#[tokio::test]
async fn a_long_session_is_folded_from_a_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![]).await;
    let first = play.say(None, "hi").await;
    play.ended(first).await;
    // Two entries each.
    for _ in 0..110 {
        let said = play.say(Some(first.session), "hi").await;
        play.ended(said).await;
    }
    let folded = fold(&play.store, first.session).unwrap();
    assert!(folded.entries_since_snapshot <= 200, "{}", folded.entries_since_snapshot);
}

#[tokio::test]
async fn a_model_whose_calls_all_fail_is_told_so_and_stopped() {
    let home = tempfile::tempdir().unwrap();
    let script = (10..40).map(|number| call("no_such_tool", &format!("{{\"n\":\"call-{number}\"}}"))).collect();
    let play = Play::begin(home.path(), policy(), script).await;
    let view = play.ended(play.say(None, "go").await).await;
    let by_loop = matches!(view.state, TurnState::Ended(StopReason::Loop(LoopRule::FailingCalls)));
    assert!(by_loop && view.completion.refused.len() == 20, "{:?}", view.state);
    let sent = play.stage.sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 20);
    for (made, request) in sent.iter().enumerate() {
        // The calls so far in their order, each once, and the word behind them.
        let named: Vec<&str> = request.split("call-").skip(1).filter_map(|rest| rest.get(..2)).collect();
        assert_eq!(named, (10..10 + made).map(|number| number.to_string()).collect::<Vec<_>>());
        let word = request.find("ten or more in a row");
        assert_eq!(word.is_some(), made >= 10, "{made}");
        assert!(word.is_none_or(|word| Some(word) > request.rfind("call-")), "{request}");
    }
}
