//! A home in whose memory there is little room left.
use backstay_engine::{Caller, EngineError, Limits};
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{Digest, SessionId};
use backstay_kernel::policy::Role;
use backstay_kernel::record::Record;

use crate::stage::{Line, Play, count, message, owner, policy};

/// More sessions than fit into memory, and what of it only owners and operators take.
const TOO_MANY: u64 = 4096;
const KEPT: u64 = 64;

fn user() -> Caller {
    Caller { principal: "ann".into(), role: Role::User, channel: "test".into(), speaks: Speaks::Program }
}

fn id(n: u64) -> SessionId {
    let mut id = [1; 10];
    id[..8].copy_from_slice(&n.to_le_bytes());
    SessionId(id)
}

// The time stands still, so nothing leaves because it has lingered.
#[tokio::test(start_paused = true)]
async fn idle_sessions_make_room_in_a_crowd() {
    let dir = tempfile::tempdir().unwrap();
    let play = Play::begin(dir.path(), policy(), vec![]).await;
    for n in 0..=TOO_MANY {
        let heard = play.engine.subscribe(Role::User, id(n)).await;
        assert!(heard.is_ok(), "no room for session {n}");
    }
}

#[tokio::test]
async fn the_last_places_are_kept_for_whoever_runs_the_home() {
    let dir = tempfile::tempdir().unwrap();
    let play = Play::begin(dir.path(), policy(), vec![Line::Say("here")]).await;
    let mut listeners = Vec::new();
    for n in 0..TOO_MANY - KEPT {
        listeners.push(play.engine.subscribe(Role::User, id(n)).await.unwrap());
    }
    assert_eq!(play.engine.submit(&user(), message(None, "hi")).await, Err(EngineError::Full));
    let said = play.engine.submit(&owner(), message(None, "hi")).await.unwrap();
    assert_eq!(play.text(play.ended(said).await.reply), "here");
    for n in TOO_MANY..TOO_MANY + KEPT {
        listeners.push(play.engine.subscribe(Role::Operator, id(n)).await.unwrap());
        if play.engine.live_sessions() as u64 == TOO_MANY {
            break;
        }
    }
    assert_eq!(play.engine.subscribe(Role::Owner, id(TOO_MANY * 2)).await.err(), Some(EngineError::Full));
}

#[tokio::test]
async fn a_session_that_is_opened_counts_as_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let play = Play::begin(dir.path(), policy(), vec![]).await;
    play.engine.reload(policy(), "slower", "owner", None, Limits { messages_per_minute: 2 }).await.unwrap();
    let key = Some(("key".to_owned(), Digest([1; 32])));
    for key in [None, key] {
        play.engine.open_session(&user(), "main", None, key).await.unwrap();
    }
    let third = play.engine.open_session(&user(), "main", None, None).await;
    assert!(matches!(third, Err(EngineError::TooMany { .. })), "{third:?}");
    let said = play.engine.submit(&user(), message(None, "hi")).await;
    assert!(matches!(said, Err(EngineError::TooMany { .. })), "{said:?}");
}

#[tokio::test]
async fn a_session_with_nothing_to_do_leaves_memory_after_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let play = Play::begin(dir.path(), policy(), vec![Line::Say("here")]).await;
    let mut departures = play.engine.departures();
    let said = play.say(None, "hi").await;
    play.ended(said).await;
    assert_eq!(play.engine.live_sessions(), 1);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    departures.changed().await.unwrap();
    assert!(begun.elapsed() <= std::time::Duration::from_secs(11), "{:?}", begun.elapsed());
    assert_eq!(play.engine.live_sessions(), 0);
}

/// As many as one home has (`limits::MODEL_SLOTS`).
const MODEL_SLOTS: usize = 256;

#[tokio::test]
async fn so_many_models_are_called_at_once_and_one_more_waits_for_a_slot() {
    let dir = tempfile::tempdir().unwrap();
    let play = Play::begin(dir.path(), policy(), vec![Line::Hang; MODEL_SLOTS + 1]).await;
    let sent = || play.stage.sent.lock().unwrap().len();
    let first = play.say(None, "hi").await;
    for _ in 1..MODEL_SLOTS {
        play.say(None, "hi").await;
    }
    while sent() < MODEL_SLOTS {
        tokio::task::yield_now().await;
    }
    let last = play.say(None, "hi").await;
    play.until(last, |view| count(view, |record| matches!(record, Record::Planned(_))) == 1).await;
    assert_eq!(sent(), MODEL_SLOTS);
    play.cancel(first).await;
    play.until(last, |view| count(view, |record| matches!(record, Record::Started(_))) == 1).await;
    while sent() == MODEL_SLOTS {
        tokio::task::yield_now().await;
    }
}
