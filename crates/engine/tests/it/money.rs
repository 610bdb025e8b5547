//! Budgets and limits that sessions share.
use std::sync::atomic::Ordering;

use backstay_engine::{Submission, TurnState};
use backstay_kernel::limit::{Limit, Measure, Over};
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{Cap, Judged, Reason, Record, StopReason, Verdict};
use backstay_kernel::rule::{Conditions, Rule, RuleVerdict};
use backstay_store::Cell;

use crate::stage::{Line, Play, call, count, message, owner, policy, slowly};

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

/// Each of these tools may be called this often in an hour, by all sessions together.
fn limited(max: u64) -> Policy {
    let mut policy = policy();
    let limit = Limit {
        measure: Measure::Count,
        per: vec![],
        of_home: false,
        window_ms: 3_600_000,
        max,
        currency: None,
        over: Over::Deny,
    };
    let rule = Rule { limits: vec![limit], ..Rule::new("few", RuleVerdict::Allow, Conditions::new()) };
    policy.agents.get_mut("main").unwrap().rules = vec![rule].into();
    policy
}

fn is_denied(record: &Record) -> bool {
    matches!(record, Record::Judged(Judged { verdict: Verdict::Deny { by: Reason::Limit(_) }, .. }))
}

/// (settled, reserved) of the one limit.
fn taken(play: &Play) -> (i64, i64) {
    let rows = play.store.query("SELECT tokens_settled, tokens_reserved FROM ledger WHERE key LIKE 'limit:%'").unwrap();
    let [row] = rows.rows.as_slice() else { panic!("{rows:?}") };
    let [Cell::Integer(settled), Cell::Integer(reserved)] = row.as_slice() else { panic!("{row:?}") };
    (*settled, *reserved)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_race_for_one_limit_never_pass_it_together() {
    race(limited(3), &["main"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn agents_that_race_for_one_limit_of_the_home_never_pass_it_together() {
    let mut policy = limited(3);
    let main = policy.agents.get_mut("main").unwrap();
    let mut rules = main.rules.to_vec();
    rules[0].limits[0].of_home = true;
    main.rules = rules.into();
    let other = main.clone();
    policy.agents.insert("other".into(), other);
    race(policy, &["main", "other"]).await;
}

/// Eight sessions, of these agents in turn, for three calls.
async fn race(policy: Policy, agents: &[&str]) {
    const SESSIONS: usize = 8;
    const MAX: usize = 3;
    let home = tempfile::tempdir().unwrap();
    // Who is denied tries again, until the loop detector ends it.
    let mut script = vec![slowly("", call("send", "{}")); SESSIONS];
    script.extend(vec![call("send", "{}"); 10 * SESSIONS]);
    let play = Play::begin(home.path(), policy, script).await;
    // Nobody gives anything back before all have asked.
    play.stage.hold(&["send"]);
    let mut said = Vec::new();
    for agent in agents.iter().cycle().take(SESSIONS) {
        let submission = Submission { agent: (*agent).into(), ..message(None, "now") };
        said.push(play.engine.submit(&owner(), submission).await.unwrap());
        play.stage.hung.notified().await;
    }
    // All models reply at once, the last also where it has only just begun to wait.
    play.stage.go.notify_waiters();
    play.stage.go.notify_one();
    let mut denied = 0;
    for one in &said {
        let is_started = |record: &Record| matches!(record, Record::Started(s) if s.request.is_none());
        let view = play.until(*one, |view| count(view, |record| is_denied(record) || is_started(record)) > 0).await;
        denied += usize::from(count(&view, is_started) == 0);
    }
    assert_eq!((denied, taken(&play)), (SESSIONS - MAX, (0, MAX as i64)));
    play.stage.hold(&[]);
    for one in said {
        play.ended(one).await;
    }
    assert_eq!((play.stage.acts_of("send"), taken(&play)), (MAX, (MAX as i64, 0)));
    let report = play.store.verify().unwrap();
    assert!(report.is_sound(), "{:?}", report.faults);
}

#[tokio::test]
async fn what_a_limit_holds_for_a_call_that_a_crash_cut_off_stays_taken() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime.spawn(async move {
        let play = Play::begin(&path, limited(1), vec![call("send", "{}")]).await;
        play.stage.hold(&["send"]);
        let said = play.say(None, "now").await;
        play.until(said, |view| count(view, |r| matches!(r, Record::Started(s) if s.request.is_none())) == 1).await;
        assert_eq!(taken(&play), (0, 1));
        play.store.close().unwrap();
        said
    });
    let first = first.await.unwrap();
    runtime.shutdown_background();
    let play = Play::begin(home.path(), limited(1), vec![call("send", "{}"), Line::Say("denied")]).await;
    play.until(first, |view| count(view, |record| matches!(record, Record::Doubted { .. })) == 1).await;
    assert_eq!(taken(&play), (1, 0), "it may have happened");
    let second = play.say(None, "again").await;
    assert_eq!(count(&play.ended(second).await, is_denied), 1);
    assert!(play.store.verify().unwrap().is_sound());
}
