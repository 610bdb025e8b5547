//! What the home's stream says is in force, whoever waited for the answer to it.
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use backstay_engine::{Engine, HomeHandle, NewToken, TurnState};
use backstay_kernel::home::{FreezeReason, HomeRecord, Speaks, TokenScope};
use backstay_kernel::id::SessionId;
use backstay_kernel::record::{Entry, Record, StopReason, VERSION};
use backstay_store::Store;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::stage::{LIMITS, Line, Play, append, commit, count, elsewhere, policy, slowly};

/// Holds the writer until something is sent or dropped.
fn hold_writer(store: &Store) -> SyncSender<()> {
    let (held, holds) = sync_channel(0);
    let (go, told) = sync_channel::<()>(0);
    let done = move |_| {
        held.send(()).unwrap();
        let _ = told.recv();
    };
    store.append(elsewhere(store), Box::new(done));
    holds.recv().unwrap();
    go
}

/// Writes a home record without the handle's knowing, as an append does whose answer was lost.
fn write_unseen(play: &Play, record: HomeRecord) {
    let entry = Entry { v: VERSION, at: 1, records: vec![record] };
    let entry = serde_json::to_string(&entry).unwrap();
    let home = play.engine.home().state().seq;
    commit(&play.store, append(&play.store, SessionId::HOME, home, entry));
}

async fn token(engine: &Engine) -> String {
    let (principal, by) = ("owner".into(), "owner".into());
    let new = NewToken { principal, speaks: Speaks::Program, scope: TokenScope::Chat, by };
    let [token] = engine.home().create_tokens(&policy(), [new], None).await.unwrap();
    token
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
    let script = vec![slowly("", Line::Say("one")), Line::Say("two")];
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
    let as_written = HomeHandle::open(play.store.clone(), play.stage.clone()).await.unwrap();
    assert_eq!(as_written.state(), play.engine.home().state());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_decided_before_a_reload_is_not_made_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let play = Play::begin(dir.path(), policy(), vec![Line::Say("never asked")]).await;
    let (engine, here) = (play.engine.clone(), Handle::current());
    let mut without = policy();
    without.models.clear();
    let reload = move || {
        let reload = engine.reload(without, "another", "owner", None, LIMITS);
        block_in_place(|| here.block_on(reload)).unwrap();
    };
    *play.stage.meanwhile.lock().unwrap() = Some(Box::new(reload));
    let view = play.ended(play.say(None, "hi").await).await;
    assert!(matches!(view.state, TurnState::Ended(StopReason::Policy)), "{:?}", view.state);
    assert!(play.stage.sent.lock().unwrap().is_empty(), "the operator was told that nothing is");
}
