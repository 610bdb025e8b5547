//! Values that a person names by something else: the runtime looks up what names stand for, and knows what the
//! session made.
use std::collections::BTreeMap;
use std::time::Duration;

use backstay_engine::{Caller, Submission, TurnState, TurnView};
use backstay_kernel::flow::{Flow, Provenance};
use backstay_kernel::home::Speaks;
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{Planned, Reason, Record, Verdict};
use backstay_kernel::rule::{Field, Rule, RuleVerdict, Test};
use backstay_kernel::tool::{ArgumentRole, EffectClass, Idempotency, Known, Listing};
use backstay_kernel::words::{Kind, Sign};
use tokio::time::timeout;

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

/// Denies what is sent, as far as it is chosen by anybody but these.
fn others(tool: &str, but: &str) -> Rule {
    let when = BTreeMap::from([(Field::Tool, Test::Equal(tool.to_owned()))]);
    let unless = BTreeMap::from([(Field::Provenance, Test::SubsetOf(vec![but.to_owned()]))]);
    Rule { unless, ..Rule::new("others", RuleVerdict::Deny, when) }
}

/// What was found out of the values of the last call of `send`.
fn provenance(view: &TurnView) -> Option<Vec<Provenance>> {
    let grounds = |record: &Record| if let Record::Judged(judged) = record { judged.grounds.clone() } else { None };
    let last = view.records.iter().rev().find_map(|placed| grounds(&placed.record));
    last?.provenance.map(|all| all.into_iter().collect())
}

/// (what the person says, what rule there is, the value, how often it is sent, lookups, where the value comes from)
#[tokio::test]
async fn a_rule_has_it_found_out_who_chose_where_nobody_else_has_spoken() {
    use Provenance::{Listed, Person, Unknown};
    for (text, rule, to, sent, looked_up, expected) in [
        ("write to b-2", Some(others("send", "person")), "b-2", 1, 0, Some(vec![Person])),
        ("write to somebody", Some(others("send", "person")), "b-2", 0, 1, Some(vec![Unknown])),
        ("write to \"Ann\"", Some(others("send", "listed")), "a-1", 1, 1, Some(vec![Listed])),
        ("write to \"Ann\"", Some(others("send", "person")), "a-1", 0, 1, Some(vec![Listed])),
        // Of another tool, or without a rule, nobody looks, and no list enters the session.
        ("write to \"Ann\"", Some(others("put", "person")), "a-1", 1, 0, None),
        ("write to \"Ann\"", None, "a-1", 1, 0, None),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut policy = directory();
        policy.agents.get_mut("main").unwrap().rules.extend(rule);
        let play = Play::begin(home.path(), policy, vec![send(to), Line::Say("ok")]).await;
        let view = plays(&play, message(None, text)).await;
        let found = (play.stage.acts_of("send"), lookups(&view), provenance(&view));
        assert_eq!(found, (sent, looked_up, expected), "{text} {to}");
    }
}

/// What a message is worth is for the gate, and for when something untrusted was read.
#[tokio::test]
async fn that_a_rule_looks_on_uses_up_nothing_that_a_message_is_worth() {
    let home = tempfile::tempdir().unwrap();
    let mut policy = directory();
    policy.agents.get_mut("main").unwrap().rules.push(others("send", "person"));
    let play = Play::begin(home.path(), policy, vec![send("b-2"), Line::Say("ok")]).await;
    let view = plays(&play, message(None, "write to b-2")).await;
    let of = |record: &Record| matches!(record, Record::Judged(judged) if judged.grounds.as_ref().is_some_and(|grounds| grounds.warrant.is_some()));
    assert_eq!((count(&view, of), provenance(&view)), (0, Some(vec![Provenance::Person])));
}

/// What the gate finds out anyway is written down, so that a rule can be tried over the past.
#[tokio::test]
async fn where_values_come_from_is_recorded_where_the_gate_looked() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), directory(), vec![call("look", "{}"), send("b-2"), Line::Say("ok")]).await;
    let view = plays(&play, message(None, "write to b-2")).await;
    assert_eq!((asked(&view), provenance(&view)), (None, Some(vec![Provenance::Person])));
}

/// What a message named that is gone nobody can tell, and a rule that stops takes it for the worst.
#[tokio::test]
async fn of_a_message_that_is_gone_nobody_can_tell_what_it_named() {
    let of_person = (Field::Provenance, Test::Intersects(vec!["person".to_owned()]));
    for is_gone in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut policy = directory();
        let deny = Rule::new("mine", RuleVerdict::Deny, BTreeMap::from([of_person.clone()]));
        policy.agents.get_mut("main").unwrap().rules.push(deny);
        let play = Play::begin(home.path(), policy.clone(), vec![call("guarded", "{}")]).await;
        let said = play.engine.submit(&person(), message(None, "write to b-2")).await.unwrap();
        let view = play.until(said, |view| asked(view).is_some()).await;
        play.store.close().unwrap();
        drop(play);
        let play = Play::begin(home.path(), policy, vec![send("b-2"), Line::Say("ok")]).await;
        let typed =
            |record: &Record| if let Record::Admitted(admitted) = record { admitted.typed.clone() } else { None };
        let typed = view.records.iter().find_map(|placed| typed(&placed.record)).unwrap();
        if is_gone {
            assert!(play.store.erase_body(&typed.atoms.unwrap()).unwrap());
        }
        let yes = decide(asked(&view).unwrap(), true);
        play.engine.command(&owner(), said.session, yes, None).await.unwrap();
        let view = play.ended(said).await;
        let by = |record: &Record| matches!(record, Record::Judged(judged) if judged.verdict == Verdict::Deny { by: Reason::Rule("mine".into()) });
        // Of the list that would be looked up, too.
        assert_eq!(count(&view, by), if is_gone { 2 } else { 1 });
        assert_eq!(provenance(&view), (!is_gone).then(|| vec![Provenance::Person]), "{is_gone}");
    }
}

/// A session that only waits to leave memory does so for ten seconds.
#[tokio::test]
async fn a_call_whose_list_a_rule_denies_goes_on_at_once() {
    let home = tempfile::tempdir().unwrap();
    let mut policy = directory();
    let deny = Rule::new("no lists", RuleVerdict::Deny, BTreeMap::from([(Field::Tool, Test::Equal("list".into()))]));
    policy.agents.get_mut("main").unwrap().rules.push(deny);
    let play = Play::begin(home.path(), policy, vec![call("look", "{}"), send("a-1")]).await;
    let view = timeout(Duration::from_secs(5), plays(&play, message(None, "write to \"Ann\"")))
        .await
        .expect("nothing is waited for");
    assert_eq!((asked(&view).is_some(), lookups(&view), play.stage.acts_of("list")), (true, 1, 0));
}
