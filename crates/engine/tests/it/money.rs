//! Budgets that sessions share.
use std::sync::atomic::Ordering;

use backstay_engine::TurnState;
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{Cap, Record, StopReason};

use crate::stage::{Line, Play, call, count, policy, slowly};

/// One call reserves its request's bytes and 100 output tokens: two do not fit in a day.
fn tight() -> Policy {
    let mut policy = policy();
    policy.home_budget.day.tokens = Some(400);
    policy
}

fn filler() -> String {
    "x".repeat(200)
}

fn is_unfunded(record: &Record) -> bool {
    matches!(record, Record::Unfunded { .. })
}

#[tokio::test]
async fn a_call_waits_by_name_for_what_another_session_has_reserved_and_goes_on_when_it_is_settled() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), tight(), vec![slowly("", Line::Say("first")), Line::Say("second")]).await;
    let first = play.say(None, "a").await;
    play.stage.hung.notified().await;
    let second = play.say(None, &filler()).await;
    play.until(second, |view| count(view, is_unfunded) == 1).await;
    assert_eq!(play.wait(second), "budget");
    assert_eq!(play.stage.sent.lock().unwrap().len(), 1);
    play.stage.go.notify_one();
    let view = play.ended(second).await;
    assert_eq!(play.text(view.reply), "second");
    assert_eq!(count(&view, is_unfunded), 1, "looked at again for the settlement, and not before");
    play.ended(first).await;
}

#[tokio::test]
async fn a_call_that_may_still_be_billed_uses_the_budget_up_and_ends_the_turn_that_waited() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), tight(), vec![Line::Hang, Line::Say("never sent")]).await;
    let first = play.say(None, "a").await;
    play.stage.hung.notified().await;
    let second = play.say(None, &filler()).await;
    play.until(second, |view| count(view, is_unfunded) == 1).await;
    play.cancel(first).await;
    let view = play.ended(second).await;
    assert!(matches!(view.state, TurnState::Ended(StopReason::Cap(Cap::SharedBudget))), "{:?}", view.state);
    assert_eq!(play.stage.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_that_waits_for_money_goes_on_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let second = runtime.spawn(async move {
        let play = Play::begin(&path, tight(), vec![Line::Hang]).await;
        play.say(None, "a").await;
        play.stage.hung.notified().await;
        let second = play.say(None, &filler()).await;
        play.until(second, |view| count(view, is_unfunded) == 1).await;
        play.store.close().unwrap();
        second
    });
    let second = second.await.unwrap();
    runtime.shutdown_background();
    let mut wide = tight();
    wide.home_budget.day.tokens = Some(10_000);
    let play = Play::begin(home.path(), wide, vec![Line::Say("after all"), Line::Say("after all")]).await;
    let view = play.ended(second).await;
    assert_eq!(play.text(view.reply), "after all");
}

#[tokio::test]
async fn a_bill_above_its_reservation_ends_the_turn_whose_next_call_would_start_in_the_same_commit() {
    let home = tempfile::tempdir().unwrap();
    // Room for both reservations, and not for the second beside what the first is billed for.
    let mut policy = policy();
    policy.home_budget.day.tokens = Some(2000);
    let play = Play::begin(home.path(), policy, vec![call("nothing", "{}"), Line::Say("never sent")]).await;
    play.stage.billed_more.store(1980, Ordering::SeqCst);
    let said = play.say(None, "a").await;
    let view = play.ended(said).await;
    assert!(matches!(view.state, TurnState::Ended(StopReason::Cap(Cap::SharedBudget))), "{:?}", view.state);
    assert_eq!(play.stage.sent.lock().unwrap().len(), 1);
}
