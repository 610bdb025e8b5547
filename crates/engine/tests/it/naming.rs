//! Values that a person names by something else: the runtime looks up what names stand for, and knows what the
//! session made.
use std::time::Duration;

use backstay_engine::{Caller, Submission, TurnState, TurnView};
use backstay_kernel::flow::Flow;
use backstay_kernel::home::Speaks;
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{Planned, Reason, Record, Verdict};
use backstay_kernel::rule::{Field, Rule, RuleVerdict, Test};
use backstay_kernel::tool::{ArgumentRole, EffectClass, Idempotency, Known, Listing};
use backstay_kernel::words::{Kind, Sign};

use crate::stage::{Line, Play, asked, call, count, decide, edit, message, owner, policy};

fn person() -> Caller {
    Caller { speaks: Speaks::Human, ..owner() }
}

/// `send` goes to a key, which `list` has a name for; what it sends is a thing that `put` made.
fn directory() -> Policy {
    let mut policy = policy();
    let mut list = policy.tools["look"].clone();
    (list.name, list.idempotency, list.class) = ("list".into(), Idempotency::Idempotent, EffectClass::Read);
    policy.tools.insert("list".into(), list);
    policy.agents.get_mut("main").unwrap().grants.tools.push("list".into());
    let [tool, arguments, name, value] = ["list", "{}", "/name", "/key"].map(str::to_owned);
    let sign = Sign::Quoted;
    let listing = Listing { tool, arguments, list: String::new(), name, value, sign, unquoted: false };
    let send = policy.tools.get_mut("send").unwrap();
    let key = ArgumentRole::Authority(Kind::Id);
    send.arguments = vec![("to".into(), key), ("what".into(), key)];
    send.known =
        vec![("what".into(), Known::Created(vec!["put".into()])), ("to".into(), Known::Listing(Box::new(listing)))];
    policy
}

/// What the session made, to somebody whom the person names.
const GIVES: &str = r#"{"to":"b-2","what":"p-1"}"#;

fn send(to: &str) -> Line {
    call("send", &serde_json::json!({ "to": to }).to_string())
}

async fn plays(play: &Play, submission: Submission) -> TurnView {
    let said = play.engine.submit(&person(), submission).await.unwrap();
    play.until(said, |view| asked(view).is_some() || matches!(view.state, TurnState::Ended(_))).await
}

fn lookups(view: &TurnView) -> usize {
    count(view, |record| matches!(record, Record::Planned(Planned::Lookup { .. })))
}

#[tokio::test]
async fn a_name_that_a_person_quotes_stands_for_what_the_list_has_for_it() {
    let home = tempfile::tempdir().unwrap();
    let lines = vec![call("look", "{}"), send("a-1"), send("b-2")];
    let play = Play::begin(home.path(), directory(), lines).await;
    let view = plays(&play, message(None, "write to \"Ann\"")).await;
    assert_eq!(play.stage.acts_of("send"), 1, "to Ann");
    assert_eq!((lookups(&view), play.stage.acts_of("list")), (2, 2), "once for each call");
    let by = view.calls.values().find_map(|call| match &call.verdict {
        Some(Verdict::Ask { by, .. }) => Some(by.clone()),
        _ => None,
    });
    assert_eq!(by, Some(Reason::Flow(Flow::UnnamedTarget)), "Bob was not meant");
    let sent = play.stage.sent.lock().unwrap().join("\n");
    assert!(sent.contains("send did it") && !sent.contains("Bob") && !sent.contains("list did it"), "{sent}");
    // The verdict rests on the message, and the list is in the journal before it.
    let place = |is: &dyn Fn(&Record) -> bool| view.records.iter().position(|placed| is(&placed.record)).unwrap();
    let warrant = |record: &Record| matches!(record, Record::Judged(judged) if judged.grounds.as_ref().is_some_and(|grounds| grounds.warrant.is_some()));
    let lookup = place(&|record| matches!(record, Record::Planned(Planned::Lookup { .. })));
    assert!(lookup < place(&warrant));
}

#[tokio::test]
async fn nothing_is_looked_up_where_it_could_not_help() {
    for (text, to) in [("write to b-2", "b-2"), ("> write to \"Ann\"", "a-1")] {
        let home = tempfile::tempdir().unwrap();
        let play = Play::begin(home.path(), directory(), vec![call("look", "{}"), send(to), Line::Say("ok")]).await;
        let view = plays(&play, message(None, text)).await;
        let is_named = to == "b-2";
        assert_eq!((asked(&view).is_none(), lookups(&view)), (is_named, usize::from(!is_named)), "{text}");
    }
    // Where nobody else has spoken there is no question to answer.
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), directory(), vec![send("b-2"), Line::Say("ok")]).await;
    let view = plays(&play, message(None, "write to somebody")).await;
    assert_eq!((play.stage.acts_of("send"), lookups(&view)), (1, 0));
}

/// One life of the process.
fn live<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let out = runtime.block_on(life);
    runtime.shutdown_timeout(Duration::from_secs(10));
    out
}

#[test]
fn what_a_session_made_is_its_own_after_a_restart_too_and_no_other_sessions() {
    let home = tempfile::tempdir().unwrap();
    let session = live(async {
        let lines = vec![call("look", "{}"), call("put", "{}"), call("send", GIVES), Line::Say("ok")];
        let play = Play::begin(home.path(), directory(), lines).await;
        let said = play.engine.submit(&person(), message(None, "make one, and send it to b-2")).await.unwrap();
        let view = play.ended(said).await;
        assert_eq!((asked(&view), play.stage.acts_of("send"), lookups(&view)), (None, 1, 0));
        let id = view
            .records
            .iter()
            .find_map(|placed| if let Record::Created { id, .. } = &placed.record { Some(*id) } else { None });
        assert_eq!(play.text(id), "p-1");
        said.session
    });
    live(async {
        let lines =
            vec![call("look", "{}"), call("send", GIVES), Line::Say("ok"), call("look", "{}"), call("send", GIVES)];
        let play = Play::begin(home.path(), directory(), lines).await;
        let view = plays(&play, message(Some(session), "once more to b-2")).await;
        assert_eq!((asked(&view), play.stage.acts_of("send")), (None, 1));
        let view = plays(&play, message(None, "send it to b-2")).await;
        assert_eq!((asked(&view).is_some(), play.stage.acts_of("send")), (true, 1), "made elsewhere");
    });
}

/// The person named one of them, and whoever is asked writes another: what is written in an edit names nothing.
#[tokio::test]
async fn whom_an_edit_names_nobody_has_named() {
    let home = tempfile::tempdir().unwrap();
    let mut policy = directory();
    let send_to = [(Field::Tool, Test::Equal("send".into()))].into();
    policy.agents.get_mut("main").unwrap().rules = vec![Rule::new("sends", RuleVerdict::Ask, send_to)].into();
    let play = Play::begin(home.path(), policy, vec![call("look", "{}"), send("b-2"), Line::Say("ok")]).await;
    let said = play.engine.submit(&person(), message(None, "write to b-2")).await.unwrap();
    let view = play.until(said, |view| asked(view).is_some()).await;
    let why = |view: &TurnView| {
        view.calls.values().find_map(|call| match &call.verdict {
            Some(Verdict::Ask { by, .. }) => Some(by.clone()),
            _ => None,
        })
    };
    assert_eq!(why(&view), Some(Reason::Rule("sends".into())));
    let both = Reason::Both { by: Box::new(Reason::Rule("sends".into())), flow: Flow::UnnamedTarget };
    let mut shown = asked(&view).unwrap();
    for (to, expected) in [("x-9", both), ("b-2", Reason::Rule("sends".into()))] {
        let edit = edit(shown, &serde_json::json!({ "to": to }).to_string());
        play.engine.command(&person(), said.session, edit, None).await.unwrap();
        let before = shown.1;
        let view = play.until(said, |view| asked(view).is_some_and(|now| now.1 != before)).await;
        shown = asked(&view).unwrap();
        assert_eq!(why(&view), Some(expected), "{to}");
    }
    play.engine.command(&person(), said.session, decide(shown, true), None).await.unwrap();
    play.ended(said).await;
    assert_eq!(play.stage.acts_of("send"), 1);
    let sent = play.stage.sent.lock().unwrap().join("\n");
    assert!(sent.contains("edited") && sent.contains("send did it"), "{sent}");
}
