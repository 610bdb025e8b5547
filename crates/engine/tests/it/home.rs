//! What the home's stream says is in force, whoever waited for the answer to it.
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use backstay_engine::{Engine, HomeHandle, Limits, NewToken, TurnState};
use backstay_kernel::home::{FreezeReason, HomeRecord, Speaks};
use backstay_kernel::id::{Seq, SessionId};
use backstay_kernel::record::{Entry, Record, StopReason, VERSION};
use backstay_store::{Append, HeadUpdate, NewSession, Store};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::stage::{Line, Play, StageWorld, count, policy};

fn append(store: &Store, session: SessionId, expected: Seq, entry: String) -> Append {
    let new = NewSession { agent: "main".into(), principal: "ann".into(), channel: "api".into(), title: None };
    Append {
        session,
        expected,
        at: 1,
        lineage: store.lineage(),
        records: 1,
        entry,
        head: HeadUpdate::default(),
        create: (expected == Seq(0)).then_some(new),
        bodies: Vec::new(),
        inbox: None,
        ledger: Vec::new(),
        snapshot: None,
        memories: Vec::new(),
    }
}

/// Holds the writer until something is sent or dropped.
fn hold_writer(store: &Store) -> SyncSender<()> {
    let (held, holds) = sync_channel(0);
    let (go, told) = sync_channel::<()>(0);
    let entry = r#"{"v":1,"at":1,"records":[{"resumed":{"by":"ann"}}]}"#.to_owned();
    let done = move |_| {
        held.send(()).unwrap();
        let _ = told.recv();
    };
    store.append(append(store, SessionId([9; 10]), Seq(0), entry), Box::new(done));
    holds.recv().unwrap();
    go
}

/// Writes a home record without the handle's knowing, as an append does whose answer was lost.
fn write_unseen(play: &Play, record: HomeRecord) {
    let entry = Entry { v: VERSION, at: 1, records: vec![record] };
    let entry = serde_json::to_string(&entry).unwrap();
    let (done, outcome) = sync_channel(1);
    let append = append(&play.store, SessionId::HOME, play.engine.home().state().seq, entry);
    play.store.append(append, Box::new(move |told| done.send(told).unwrap()));
    outcome.recv().unwrap().unwrap();
}

async fn token(engine: &Engine) -> String {
    let new = NewToken { principal: "owner".into(), speaks: Speaks::Program, by: "owner".into() };
    engine.home().create_token(&policy(), new, None).await.unwrap()
}

fn revoked(token: &str) -> HomeRecord {
    HomeRecord::TokenRevoked { id: token.chars().take(12).collect(), by: "owner".into() }
}

/// Asks once and goes away.
async fn ask_and_leave<T>(asks: impl Future<Output = T>) {
    assert!(timeout(Duration::ZERO, asks).await.is_err(), "it was answered already");
}

async fn until(home: &HomeHandle, mut changes: tokio::sync::watch::Receiver<()>, is: impl Fn(&HomeHandle) -> bool) {
    timeout(Duration::from_secs(20), async {
        while !is(home) {
            changes.changed().await.unwrap();
        }
    })
    .await
    .expect("it does not come into force");
}

#[tokio::test]
async fn what_a_caller_who_hung_up_had_asked_for_comes_into_force() {
    let dir = tempfile::tempdir().unwrap();
    let script = vec![Line::Hold("one"), Line::Say("two")];
    let play = Play::begin(dir.path(), policy(), script).await;
    let (home, changes) = (play.engine.home(), play.engine.home().changes());
    let token = token(&play.engine).await;
    let first = play.say(None, "first").await;
    play.stage.hung.notified().await;
    let second = play.say(Some(first.session), "second").await;
    let held = hold_writer(&play.store);
    ask_and_leave(play.engine.freeze(true, "owner", None)).await;
    ask_and_leave(home.revoke_token(&token[..12], "owner", None)).await;
    drop(held);
    until(home, changes, |home| home.holder(&token).is_none() && home.switches().frozen).await;
    play.stage.go.notify_one();
    let view = play.until(first, |view| count(view, |record| matches!(record, Record::Ended(_))) == 1).await;
    assert!(matches!(view.state, TurnState::Open), "sessions know of the freeze");
    play.engine.freeze(false, "owner", None).await.unwrap();
    assert_eq!(play.text(play.ended(second).await.reply), "two");
}

#[tokio::test]
async fn what_the_journal_has_behind_a_lost_answer_is_what_the_next_command_is_decided_by() {
    let dir = tempfile::tempdir().unwrap();
    let play = Play::begin(dir.path(), policy(), vec![]).await;
    let token = token(&play.engine).await;
    write_unseen(&play, revoked(&token));
    play.engine.freeze(true, "owner", None).await.unwrap();
    assert!(play.engine.home().holder(&token).is_none());
    write_unseen(&play, HomeRecord::Unfrozen { by: "owner".into() });
    play.engine.freeze(true, "owner", None).await.unwrap();
    assert_eq!(play.engine.home().state().frozen, Some(FreezeReason::Operator));
    let world = Arc::new(StageWorld(Arc::clone(&play.stage)));
    let as_written = HomeHandle::open(play.store.clone(), world).await.unwrap();
    assert_eq!(as_written.state(), play.engine.home().state());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_decided_before_a_reload_is_not_made_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let play = Play::begin(dir.path(), policy(), vec![Line::Say("never asked")]).await;
    let (engine, here) = (play.engine.clone(), Handle::current());
    let mut without = policy();
    without.models.clear();
    let limits = Limits { messages_per_minute: 1000 };
    let reload = move || {
        let reload = engine.reload(without, "another", "owner", None, limits);
        block_in_place(|| here.block_on(reload)).unwrap();
    };
    *play.stage.meanwhile.lock().unwrap() = Some(Box::new(reload));
    let view = play.ended(play.say(None, "hi").await).await;
    assert!(matches!(view.state, TurnState::Ended(StopReason::Policy)), "{:?}", view.state);
    assert!(play.stage.sent.lock().unwrap().is_empty(), "the operator was told that nothing is");
}
