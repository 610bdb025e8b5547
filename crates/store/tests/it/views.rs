//! The documented views read the kernel's records as they are stored.
use backstay_kernel::budget::Amount;
use backstay_kernel::effect::CallRef;
use backstay_kernel::id::{BodyRef, Boot, Digest, RepeatKey, Seq};
use backstay_kernel::record::{
    Completion, Decision, End, Ended, Entry, Judged, Planned, Reason, Record, Started, StopReason, TurnEnded,
    TurnStarted, VERSION, Verdict,
};
use backstay_kernel::request::Request;
use backstay_kernel::rule::{Approvers, Who};
use backstay_kernel::tool::{Answerer, Idempotency};
use backstay_store::{Append, Cell};

use crate::harness::TestHome;

fn body(id: u64) -> BodyRef {
    BodyRef { id, digest: Digest([1; 32]), bytes: 3 }
}

/// A turn of one model call and one tool call that a person approved.
fn records() -> Vec<Record> {
    let call = CallRef { calls: body(4), index: 0, tool: Some("write_file".into()), repeat: RepeatKey([0; 8]) };
    let request = Request { rope: body(3), digest: Digest([2; 32]), bytes: 900, bytes_unchanged: 0 };
    let ask = |rule: &str, expires_at, byte| Verdict::Ask {
        by: Reason::Rule(rule.into()),
        approvers: Approvers::from(Who::Roles(Vec::new())),
        expires_at,
        digest: Digest([byte; 32]),
        at: 0,
    };
    let (model, tool, boot) = (Seq(2), Seq(5), Boot(9));
    let started = |effect, request| {
        Record::Started(Started {
            effect,
            at: 7,
            boot,
            epoch: 1,
            attempt: 1,
            request,
            reservation: None,
            counted: Vec::new(),
        })
    };
    let replied = End::Replied {
        text: None,
        calls: Some(body(4)),
        count: 1,
        finish: backstay_kernel::effect::Finish::Calls,
        usage: None,
        overrun: false,
    };
    let spent = Amount { tokens: 120, micro_usd: 34 };
    let judged = |verdict| {
        Record::Judged(Judged {
            effect: tool,
            epoch: 1,
            facts: None,
            idempotency: Idempotency::Unsafe,
            answerer: Answerer::Tool,
            verdict,
            grounds: None,
        })
    };
    vec![
        Record::TurnStarted(TurnStarted { messages: vec![Seq(1)], label: None }),
        Record::Planned(Planned::Model { turn: Seq(1), model: "small".into(), output_tokens_max: 10 }),
        started(model, Some(request)),
        Record::Ended(Ended { effect: model, at: 8, started: Some(Seq(3)), end: replied, spent: Some(spent) }),
        Record::Planned(Planned::Tool { turn: Seq(1), call }),
        judged(Verdict::Parked { by: Reason::Rule("zealous".into()), until: None }),
        judged(ask("zealous", 98_000, 9)),
        judged(ask("careful", 99_000, 3)),
        Record::Decided {
            effect: tool,
            decision: Decision::Approve,
            by: Some("olga".into()),
            speaks: None,
            note: None,
        },
        started(tool, None),
        Record::Doubted { effect: tool, boot },
        Record::TurnEnded(TurnEnded {
            turn: Seq(1),
            reason: StopReason::Claimed,
            reply: Some(body(8)),
            completion: Completion::default(),
            spent,
            label: None,
        }),
    ]
}

/// The records in entries of two, so that places inside an entry count too.
fn home() -> TestHome {
    let home = TestHome::new();
    for (place, pair) in records().chunks(2).enumerate() {
        let seq = u64::try_from(place).unwrap() * 2;
        let append = if seq == 0 { home.first(1) } else { home.next(1, seq) };
        let entry = Entry { v: VERSION, at: 86_400_000 + seq, records: pair.to_vec() };
        home.commit(Append { entry: serde_json::to_string(&entry).unwrap(), ..append }).unwrap();
    }
    home
}

fn check(sql: &str, expected: &[&[&str]]) {
    let answer = home().store.query(sql).unwrap();
    let rows: Vec<Vec<String>> = answer.rows.iter().map(|row| row.iter().map(word).collect()).collect();
    assert_eq!(rows, expected, "{sql}");
}

fn word(cell: &Cell) -> String {
    match cell {
        Cell::Null => "-".into(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Blob(bytes) => format!("{bytes:x?}"),
    }
}

#[test]
fn every_record_is_a_row_at_its_own_seq() {
    check(
        "SELECT group_concat(seq || ' ' || kind, ', ') FROM (SELECT * FROM v_records ORDER BY seq)",
        &[&[
            "1 turn_started, 2 planned, 3 started, 4 ended, 5 planned, 6 judged, 7 judged, 8 judged, 9 decided, 10 started, 11 doubted, 12 turn_ended",
        ]],
    );
}

#[test]
fn turns_have_their_reason_and_their_cost() {
    check(
        "SELECT session, turn, agent, principal, started_at, ended_at, reason, tokens, micro_usd, reply FROM v_turns",
        &[&["01010101010101010101", "1", "main", "ann", "86400000", "86400010", "claimed", "120", "34", "8"]],
    );
}

#[test]
fn effects_have_their_state() {
    check(
        "SELECT effect, kind, turn, name, verdict, starts, end, state, tokens FROM v_effects ORDER BY effect",
        &[
            &["2", "model", "1", "small", "-", "1", "replied", "ended", "120"],
            &["5", "tool", "1", "write_file", "ask", "1", "-", "doubted", "-"],
        ],
    );
}

#[test]
fn spend_context_and_approvals_are_read_from_the_records() {
    check("SELECT day, effect, agent, tokens, micro_usd FROM v_spend", &[&["1970-01-02", "2", "main", "120", "34"]]);
    check("SELECT effect, started, attempt, rope, bytes FROM v_context", &[&["2", "3", "1", "3", "900"]]);
    check(
        "SELECT effect, rule, expires_at, substr(digest, 1, 2), decision, decided_by, decided_at - asked_at FROM v_approvals",
        &[&["5", "careful", "99000", "03", "approve", "olga", "2"]],
    );
}
