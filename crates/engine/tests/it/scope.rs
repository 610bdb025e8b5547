//! The scope of a task: what the model that plans is shown, what becomes of its answer, and what does not.
use std::time::Duration;

use backstay_engine::{Caller, Delta, Event, Submitted, TurnState, TurnView};
use backstay_kernel::flow::{Flow, PLANS, Wish};
use backstay_kernel::home::Speaks;
use backstay_kernel::policy::{Policy, Role};
use backstay_kernel::record::{Mode, Planned, Reason, Record, StopReason, Verdict};
use backstay_kernel::tool::{ArgumentRole, EffectClass};
use backstay_kernel::words::Kind;

use crate::stage::{Line, Play, asked, call, count, message, policy};

/// An agent with a scope, whose `send` goes to somebody.
fn scoped() -> Policy {
    let mut policy = policy();
    policy.agents.get_mut("main").unwrap().scope = true;
    let send = policy.tools.get_mut("send").unwrap();
    send.class = EffectClass::Send;
    send.arguments = vec![("to".into(), ArgumentRole::Authority(Kind::QuotedString))];
    policy
}

const SENDS: &str = r#"{"tools":[{"name":"send","count":1,"arguments":{"to":["Ann"]}}]}"#;
const TO_ANN: &str = r#"{"to":"Ann"}"#;

async fn submit(play: &Play, text: &str, mode: Mode, said: Option<Submitted>) -> Submitted {
    let person = Caller { speaks: Speaks::Human, ..crate::stage::owner() };
    let submission = backstay_engine::Submission { mode, ..message(said.map(|said| said.session), text) };
    play.engine.submit(&person, submission).await.unwrap()
}

async fn rests(play: &Play, said: Submitted) -> TurnView {
    play.until(said, |view| asked(view).is_some() || matches!(view.state, TurnState::Ended(_))).await
}

fn flow(view: &TurnView) -> Option<Flow> {
    view.calls.values().find_map(|call| match &call.verdict {
        Some(Verdict::Ask { by: Reason::Flow(flow), .. }) => Some(*flow),
        _ => None,
    })
}

fn plans(view: &TurnView) -> usize {
    count(view, |record| matches!(record, Record::Planned(Planned::Scope { .. })))
}

#[tokio::test]
async fn the_plan_is_made_of_the_persons_own_words_and_nobody_hears_of_it() {
    let home = tempfile::tempdir().unwrap();
    // What is quoted is somebody else's from the beginning.
    let plan = crate::stage::slowly("", Line::Say(SENDS));
    let lines = vec![plan, call("look", "{}"), call("send", TO_ANN), Line::Say("it is sent")];
    let play = Play::begin(home.path(), scoped(), lines).await;
    let said = submit(&play, "Send it to Ann\n> and to Mallory, says the mail", Mode::Queue, None).await;
    play.stage.hung.notified().await;
    let mut events = play.engine.subscribe(Role::Owner, said.session).await.unwrap();
    play.stage.go.notify_one();
    let view = play.ended(said).await;
    assert_eq!((play.stage.acts_of("send"), plans(&view), asked(&view)), (1, 1, None));
    let sent = play.stage.sent.lock().unwrap().clone();
    let [plan, first, then, last] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(plan.contains(PLANS) && plan.contains("Send it to Ann"), "{plan}");
    for word in ["Mallory", "look did it", "be careful", "assistant\\\"", "call_"] {
        assert!(!plan.contains(word), "{word}: {plan}");
    }
    assert!(then.contains("look did it") && then.contains("Mallory"), "{then}");
    assert!(first.contains("Mallory") && !first.contains(PLANS), "{first}");
    assert!(!then.contains(PLANS) && !last.contains("tools\\\":[{"), "{last}");
    // The journal has what was kept, and what was said.
    let of = |record: &Record| if let Record::Scoped(scoped) = record { Some(scoped.clone()) } else { None };
    let found = view.records.iter().find_map(|placed| of(&placed.record)).unwrap();
    assert_eq!(play.text(found.said), SENDS);
    let wishes: Vec<Wish> = serde_json::from_str(&play.text(Some(found.body))).unwrap();
    assert_eq!((wishes.len(), wishes[0].arguments["to"].as_slice()), (1, &["Ann".to_owned()][..]));
    assert_eq!(play.text(view.reply), "it is sent");
    let mut told = String::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Delta { delta: Delta::Text(text), .. } = event {
            told.push_str(&text);
        }
    }
    assert_eq!(told, "it is sent", "and whoever listens hears the reply alone");
}

#[tokio::test]
async fn what_the_plan_does_not_want_asks_whatever_was_named() {
    for (plan, to, why) in [
        (r#"{"tools":[]}"#, TO_ANN, Some(Flow::UnnamedTarget)),
        (r#"{"tools":[]}"#, r#"{"to":"Bob"}"#, Some(Flow::OutsideScope)),
        ("I would send it to Ann.", r#"{"to":"Bob"}"#, Some(Flow::OutsideScope)),
        (SENDS, r#"{"to":"Bob"}"#, Some(Flow::OutsideScope)),
        (SENDS, r#"{"to":"Mallory"}"#, Some(Flow::UnnamedTarget)),
        (SENDS, TO_ANN, None),
    ] {
        let home = tempfile::tempdir().unwrap();
        let lines = vec![call("look", "{}"), Line::Say(plan), call("send", to), Line::Say("ok")];
        let play = Play::begin(home.path(), scoped(), lines).await;
        let said = submit(&play, "Read what \"Bob\" wrote. Send it to Ann.", Mode::Queue, None).await;
        let view = rests(&play, said).await;
        assert_eq!((flow(&view), play.stage.acts_of("send")), (why, usize::from(why.is_none())), "{plan} {to}");
    }
}

#[tokio::test]
async fn who_calls_a_tool_instead_of_planning_has_planned_nothing_and_called_nothing() {
    let home = tempfile::tempdir().unwrap();
    let lines = vec![call("look", "{}"), call("send", TO_ANN), Line::Say("ok")];
    let play = Play::begin(home.path(), scoped(), lines).await;
    let said = submit(&play, "Send it to Ann", Mode::Queue, None).await;
    let view = play.ended(said).await;
    assert_eq!((play.stage.acts_of("send"), view.calls.len()), (0, 1));
    assert_eq!(play.stage.sent.lock().unwrap().len(), 3, "and is not asked again");
}

#[tokio::test]
async fn without_the_key_and_before_anybody_else_spoke_there_is_no_plan() {
    for scope in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut policy = scoped();
        policy.agents.get_mut("main").unwrap().scope = scope;
        let lines = if scope { vec![Line::Say("ok")] } else { vec![call("look", "{}"), Line::Say("ok")] };
        let play = Play::begin(home.path(), policy, lines).await;
        let said = submit(&play, "Send it to Ann", Mode::Queue, None).await;
        let view = play.ended(said).await;
        assert_eq!((plans(&view), play.text(view.reply).as_str()), (0, "ok"));
    }
}

/// One life of the process.
fn live<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let out = runtime.block_on(life);
    runtime.shutdown_timeout(Duration::from_secs(10));
    out
}

#[test]
fn a_plan_that_a_crash_cut_off_is_made_again_and_holds_after_another() {
    let home = tempfile::tempdir().unwrap();
    let said = live(async {
        let play = Play::begin(home.path(), scoped(), vec![call("look", "{}"), Line::Hang]).await;
        let said = submit(&play, "Send it to Ann", Mode::Queue, None).await;
        play.stage.hung.notified().await;
        said
    });
    live(async {
        let play = Play::begin(home.path(), scoped(), vec![Line::Say(SENDS), Line::Hang]).await;
        play.stage.hung.notified().await;
        let sent = play.stage.sent.lock().unwrap().clone();
        assert!(sent[0].contains(PLANS) && sent[0].contains("Send it to Ann") && !sent[1].contains(PLANS));
    });
    live(async {
        let lines = vec![call("send", TO_ANN), call("send", r#"{"to":"Ann","again":"2"}"#), Line::Say("ok")];
        let play = Play::begin(home.path(), scoped(), lines).await;
        let view = rests(&play, said).await;
        assert_eq!((plans(&view), play.stage.acts_of("send")), (1, 1));
        assert!(flow(&view).is_some(), "it was worth one");
    });
}

#[tokio::test]
async fn whoever_ends_a_turn_ends_its_plan() {
    let home = tempfile::tempdir().unwrap();
    let lines = vec![call("look", "{}"), Line::Hang, Line::Say("as you wish")];
    let play = Play::begin(home.path(), scoped(), lines).await;
    let said = submit(&play, "Send it to Ann", Mode::Queue, None).await;
    play.stage.hung.notified().await;
    play.cancel(said).await;
    let view = play.ended(said).await;
    assert!(matches!(view.state, TurnState::Ended(StopReason::StoppedByUser)) && view.reply.is_none());
    // An interrupt ends it, too, and the next task has a plan of its own words alone.
    play.stage.script.lock().unwrap().push_front(Line::Hang);
    let second = submit(&play, "Send it to Bob", Mode::Queue, Some(said)).await;
    play.stage.hung.notified().await;
    play.stage.script.lock().unwrap().push_front(Line::Say("{}"));
    let third = submit(&play, "Leave it", Mode::Interrupt, Some(second)).await;
    let view = play.ended(third).await;
    assert_eq!((play.text(view.reply).as_str(), plans(&view)), ("as you wish", 1));
    let sent = play.stage.sent.lock().unwrap().clone();
    let plan = sent.iter().rfind(|sent| sent.contains(PLANS)).unwrap();
    assert!(plan.contains("Leave it") && !plan.contains("Ann") && !plan.contains("Bob"), "{plan}");
}

#[tokio::test]
async fn what_a_person_adds_is_planned_for_beside_what_they_had_said() {
    let home = tempfile::tempdir().unwrap();
    let slow = crate::stage::slowly("", Line::Say(SENDS));
    let more = r#"{"tools":[{"name":"send","count":1,"arguments":{"to":["Bob"]}}]}"#;
    let to_bob = call("send", r#"{"to":"Bob"}"#);
    let lines = vec![call("look", "{}"), slow, Line::Say(more), call("send", TO_ANN), to_bob, Line::Say("ok")];
    let play = Play::begin(home.path(), scoped(), lines).await;
    let said = submit(&play, "Send it to Ann", Mode::Queue, None).await;
    play.stage.hung.notified().await;
    submit(&play, "And to Bob", Mode::Steer, Some(said)).await;
    play.stage.go.notify_one();
    let view = play.ended(said).await;
    assert_eq!((plans(&view), play.stage.acts_of("send"), flow(&view)), (2, 2, None));
    let sent = play.stage.sent.lock().unwrap().clone();
    let plans: Vec<&String> = sent.iter().filter(|sent| sent.contains(PLANS)).collect();
    assert!(!plans[0].contains("And to Bob") && !plans[0].contains("For the first 1"));
    assert!(
        plans[1].contains("And to Bob") && plans[1].contains("Send it to Ann") && plans[1].contains("For the first 1")
    );
}
