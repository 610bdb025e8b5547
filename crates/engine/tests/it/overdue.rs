//! Calls that outlive their limit: what may still act is awaited, and never probed or started again.
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use backstay_engine::{Submitted, TurnState};
use backstay_kernel::record::{End, Record, StopReason};

use crate::stage::{Line, Play, call, count, policy};

fn is_overdue(record: &Record) -> bool {
    matches!(record, Record::Overdue { .. })
}

#[tokio::test]
async fn a_probed_call_past_its_limit_is_awaited_by_name_and_acts_once() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![call("edit", "{}"), Line::Say("edited")]).await;
    play.stage.hold(&["edit"]);
    let said = play.say(None, "edit it").await;
    play.until(said, |view| count(view, is_overdue) == 1).await;
    assert_eq!(play.wait(said), "overdue");
    assert_eq!(play.stage.probes.load(Ordering::SeqCst), 0);
    play.stage.hold(&[]);
    let view = play.ended(said).await;
    assert_eq!(play.text(view.reply), "edited");
    assert_eq!((view.completion.done.len(), play.stage.acts_of("edit")), (1, 1));
    assert_eq!(count(&view, |record| matches!(record, Record::Lapsed { .. })), 0);
}

#[tokio::test]
async fn a_keyed_call_past_its_limit_is_told_as_unknown_and_not_made_again() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![call("slow", "{}"), Line::Say("who knows")]).await;
    play.stage.hold(&["slow"]);
    let said = play.say(None, "post it").await;
    let view = play.ended(said).await;
    assert_eq!((view.completion.unknown.len(), play.stage.acts_of("slow")), (1, 0));
    play.stage.hold(&[]);
}

#[tokio::test]
async fn a_turn_cancelled_over_a_call_past_its_limit_ends_and_its_truth_comes_later() {
    let home = tempfile::tempdir().unwrap();
    let script = vec![call("edit", "{}"), Line::Say("the next turn")];
    let play = Play::begin(home.path(), policy(), script).await;
    play.stage.hold(&["edit"]);
    let said = play.say(None, "edit it").await;
    play.until(said, |view| count(view, is_overdue) == 1).await;
    play.cancel(said).await;
    let view = play.ended(said).await;
    assert!(matches!(view.state, TurnState::Ended(StopReason::StoppedByUser)));
    assert_eq!(view.completion.unknown.len(), 1);
    let next = play.say(Some(said.session), "and now?").await;
    play.ended(next).await;
    assert_eq!(play.wait(next), "overdue", "the old call is still known");
    play.stage.hold(&[]);
    play.until(next, |_| is_done(&play, said)).await;
    assert_eq!((play.stage.acts_of("edit"), play.stage.probes.load(Ordering::SeqCst)), (1, 0));
}

/// Whether the session's records tell that its call was done.
fn is_done(play: &Play, said: Submitted) -> bool {
    let records = play.engine.reader().records(said.session, said.turn, usize::MAX).unwrap();
    let done = |record: &Record| matches!(record, Record::Ended(ended) if matches!(ended.end, End::Done { .. }));
    records.iter().any(|placed| done(&placed.record))
}

#[tokio::test]
async fn a_session_whose_tool_still_runs_does_not_leave_memory_and_a_drain_waits_for_it() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![call("edit", "{}"), Line::Say("edited")]).await;
    play.stage.hold(&["edit"]);
    let said = play.say(None, "edit it").await;
    play.until(said, |view| count(view, is_overdue) == 1).await;
    // No thread of a tool runs unseen by the clock: time moves by hand while one holds.
    tokio::time::pause();
    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(play.engine.live_sessions(), 1);
    tokio::time::resume();
    let mut drain = std::pin::pin!(play.engine.drain(Duration::from_secs(60)));
    let early = poll_once(drain.as_mut()).await;
    assert!(!early, "it waits");
    play.stage.hold(&[]);
    drain.await;
    assert!(is_done(&play, said));
    assert_eq!(play.stage.acts_of("edit"), 1);
}

/// Whether it is ready at once.
async fn poll_once(mut future: Pin<&mut impl Future<Output = ()>>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}
