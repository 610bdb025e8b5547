//! The tool slots that the sessions of a home share.
use backstay_engine::Submitted;
use backstay_kernel::record::Record;

use crate::stage::{Line, Play, call, count, policy};

/// As many as one home has (`limits::TOOL_SLOTS`).
const TOOL_SLOTS: usize = 64;

fn calls(tool: &'static str, times: usize) -> Line {
    Line::Call("", (0..times).map(|n| (tool, format!("{{\"n\":{n}}}"))).collect())
}

async fn started(play: &Play, said: Submitted, times: usize) {
    // A model call starts too.
    play.until(said, |view| count(view, |record| matches!(record, Record::Started(_))) == times + 1).await;
}

async fn allowed(play: &Play, said: Submitted) {
    play.until(said, |view| count(view, |record| matches!(record, Record::Judged(_))) == 1).await;
}

#[tokio::test]
async fn a_free_slot_goes_to_one_that_waits_also_beside_a_call_of_an_earlier_turn() {
    let home = tempfile::tempdir().unwrap();
    let play = Play::begin(home.path(), policy(), vec![]).await;
    let write = |line| play.stage.script.lock().unwrap().push_back(line);
    play.stage.hold(&["edit", "put", "send"]);
    // An overdue call outlives its turn, and every other slot is taken.
    write(call("edit", "{}"));
    let old = play.say(None, "edit it").await;
    play.until(old, |view| count(view, |record| matches!(record, Record::Overdue { .. })) == 1).await;
    play.cancel(old).await;
    play.ended(old).await;
    let mut taken = 1;
    for (tool, times) in [("send", 1), ("put", 31), ("put", TOOL_SLOTS - 33)] {
        write(calls(tool, times));
        started(&play, play.say(None, "fill").await, times).await;
        taken += times;
    }
    assert_eq!(taken, TOOL_SLOTS);
    let mut waiting = Vec::new();
    for (session, text) in [(Some(old.session), "the next turn"), (None, "another session")] {
        write(call("send", "{}"));
        let said = play.say(session, text).await;
        allowed(&play, said).await;
        waiting.push(said);
    }
    // One slot becomes free, and again when the first of the two has used it.
    play.stage.hold(&["edit", "put"]);
    let order = [waiting[0].session, waiting[1].session];
    for said in waiting {
        let view = play.ended(said).await;
        assert_eq!(view.completion.done.len(), 1);
        assert_eq!(
            count(&view, |record| matches!(record, Record::Bounced { .. })),
            0,
            "it starts with the slot that it got"
        );
    }
    assert_eq!(play.stage.acts_of("send"), 3);
    let actors: Vec<_> = play.stage.acts.lock().unwrap().iter().map(|act| act.session).collect();
    assert!(actors.ends_with(&order), "who waited longer is told first");
}
