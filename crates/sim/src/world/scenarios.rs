//! The scenarios that are cut at every point.
use std::collections::BTreeSet;

use backstay_kernel::record::Mode;

use super::checks::{Ending, Turn};
use super::house::Change;
use super::outside::Mood;
use super::scenario::{Do, Scenario, Step, Wanted, When};
use crate::setting::TOOL_TIMEOUT_MS;

fn step(when: When, act: Do) -> Step {
    Step { when, act }
}

fn say(text: &str) -> Step {
    step(When::Quiet, Do::Say { who: 0, mode: Mode::Queue, text: text.into() })
}

fn scenario(name: &'static str, steps: Vec<Step>) -> Scenario {
    Scenario { name, changes: vec![], moods: vec![], steps, wanted: Wanted::TheSame }
}

fn such(name: &'static str, steps: Vec<Step>, wanted: fn(&Ending) -> Result<(), String>) -> Scenario {
    Scenario { wanted: Wanted::Such(wanted), ..scenario(name, steps) }
}

fn moody(name: &'static str, moods: Vec<Mood>) -> Scenario {
    Scenario { moods, ..scenario(name, vec![say("call put 1 | say done")]) }
}

fn never_guarded(ending: &Ending) -> Result<(), String> {
    match ending.acts.iter().find(|act| act.starts_with("guarded")) {
        Some(act) => Err(format!("{act} ran, although it was narrowed away")),
        None => Ok(()),
    }
}

fn ended(ending: &Ending, is: impl Fn(&Turn) -> bool) -> Result<(), String> {
    if ending.turns.iter().all(is) { Ok(()) } else { Err(format!("ended as {:?}", ending.turns)) }
}

fn all_claimed(ending: &Ending) -> Result<(), String> {
    ended(ending, |turn| turn.reason == "Claimed")
}

/// The turn that was stopped, unless it was faster; then the next one to its end.
fn stopped(ending: &Ending) -> Result<(), String> {
    match ending.turns.as_slice() {
        [first, last] if last.reason == "Claimed" && matches!(first.reason.as_str(), "StoppedByUser" | "Claimed") => {
            Ok(())
        }
        turns => Err(format!("ended as {turns:?}")),
    }
}

fn last_reply(ending: &Ending, wanted: &str) -> Result<(), String> {
    let last = ending.turns.last().and_then(|turn| turn.reply.as_deref());
    if last == Some(wanted) { Ok(()) } else { Err(format!("the last reply is {last:?}: {:?}", ending.turns)) }
}

/// Every scenario whose points are all cut.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let mut all = vec![
        scenario("plain turn", vec![say("say hello"), say("say hello again")]),
        scenario("reading tool", vec![say("call look 1 | say seen")]),
        scenario("writing tool", vec![say("call put 1 | say done")]),
        scenario("five parallel tools", vec![say("call put 1, look 2, send 3, file 4, set 5 | say done")]),
        scenario("name on a list", vec![say("call look 1 | call tell 7 | say told \"Ann\"")]),
        scenario("failing tool", vec![say("call fails 1, nothing 2 | call put 3 | say done")]),
    ];
    all.extend(people());
    all.extend(providers());
    all.extend(turns());
    all.extend(tools_and_time());
    all.extend(restores());
    all.extend(narrowed());
    all.extend(operators());
    all.extend(unasked());
    all
}

fn people() -> Vec<Scenario> {
    let guarded = say("call guarded 1 | say done");
    let decide = |approve| step(When::Asked(0), Do::Decide { who: 0, approve });
    vec![
        scenario("approval", vec![guarded.clone(), decide(true)]),
        scenario("denial", vec![guarded.clone(), decide(false)]),
        scenario("expiry of an approval", vec![guarded]),
        scenario(
            "question",
            vec![say("call ask 1 | say thanks"), step(When::Question(0), Do::Answer { who: 0, text: "blue".into() })],
        ),
        scenario(
            "question answered by a message",
            vec![
                say("call ask 1 | say thanks"),
                step(When::Question(0), Do::Say { who: 0, mode: Mode::Queue, text: "say blue it is".into() }),
            ],
        ),
    ]
}

fn providers() -> Vec<Scenario> {
    vec![
        moody("provider says 429", vec![Mood::Busy { told: false }, Mood::Answers, Mood::Busy { told: true }]),
        moody("provider says 500", vec![Mood::Fault, Mood::Fault]),
        moody("stream is cut", vec![Mood::CutStream, Mood::Answers, Mood::CutStream]),
        moody("provider hangs", vec![Mood::Hang]),
    ]
}

fn while_it_runs(mode: Mode, text: &str) -> Step {
    step(When::Held("model"), Do::Say { who: 0, mode, text: text.into() })
}

fn turns() -> Vec<Scenario> {
    let interrupt = Do::Say { who: 0, mode: Mode::Interrupt, text: "call put 2 | say two".into() };
    vec![
        such(
            "cancel",
            vec![
                say("call send 1, put 2 | say done"),
                step(When::Held("send"), Do::Cancel { who: 0 }),
                say("say next"),
            ],
            stopped,
        ),
        scenario(
            "queued messages",
            vec![
                say("call put 1 | say one"),
                while_it_runs(Mode::Queue, "call put 2 | say two"),
                while_it_runs(Mode::Queue, "say three"),
            ],
        ),
        such(
            "steering message",
            vec![say("call put 1 | say one"), while_it_runs(Mode::Steer, "call put 2 | say two")],
            |ending| last_reply(ending, "two"),
        ),
        such("interrupting message", vec![say("call send 1 | say one"), step(When::Held("send"), interrupt)], stopped),
    ]
}

fn tools_and_time() -> Vec<Scenario> {
    let each_class = ["look", "set", "put", "file", "send"];
    let calls = each_class.map(|tool| format!("call {tool} {tool}1 | call {tool} {tool}2")).join(" | ");
    let outlives = |name, tool: &'static str| {
        let call = say(&format!("call {tool} 1 | say done"));
        such(name, vec![call, step(When::Held(tool), Do::Pass(TOOL_TIMEOUT_MS + 1))], all_claimed)
    };
    vec![
        scenario("each class of tool", vec![say(&format!("{calls} | say done"))]),
        outlives("an unsafe tool outlives its limit", "send"),
        outlives("a keyed tool outlives its limit", "put"),
        outlives("a probed tool outlives its limit", "file"),
        scenario(
            "out of memory and back",
            vec![say("call put 1 | say one"), step(When::Quiet, Do::Pass(20_000)), say("call look 2 | say two")],
        ),
        scenario(
            "clock jumps",
            vec![
                say("call guarded 1 | say one"),
                step(When::Asked(0), Do::Jump(-3_600_000)),
                step(When::Asked(0), Do::Decide { who: 0, approve: true }),
                step(When::Quiet, Do::Jump(86_400_000)),
                say("call put 2 | say two"),
            ],
        ),
    ]
}

fn restores() -> Vec<Scenario> {
    let restored = [step(When::Quiet, Do::Restore), step(When::Now, Do::Freeze(false))];
    let after = |before: Vec<Step>, last: &str| [before, restored.to_vec(), vec![say(last)]].concat();
    vec![
        such(
            "restore from backup",
            after(
                vec![say("call put 1 | say one"), step(When::Quiet, Do::Backup), say("call send 2 | say two")],
                "call put 3 | say three",
            ),
            |ending| last_reply(ending, "three"),
        ),
        such(
            "restore from a backup in mid-turn",
            after(vec![say("call send 1 | say one"), step(When::Held("send"), Do::Backup)], "say two"),
            |ending| last_reply(ending, "two"),
        ),
    ]
}

fn narrowed() -> Vec<Scenario> {
    let restart = |when, change| step(when, Do::Restart { clean: false, change: Some(change) });
    let yes = step(When::Asked(0), Do::Decide { who: 0, approve: true });
    let guarded = || say("call guarded 1 | say one");
    vec![
        such(
            "a grant is narrowed between kill and start",
            vec![say("call put 1 | say one"), restart(When::Held("put"), Change::Ungrant("put"))],
            // Narrowed while it was on its way out: it may have happened before, and does not after.
            |ending| ended(ending, |turn| turn.calls.iter().all(|(word, _)| *word != "done")),
        ),
        such(
            "a rule denies what waits for a yes",
            vec![guarded(), restart(When::Asked(0), Change::Deny("guarded")), yes.clone()],
            never_guarded,
        ),
        such(
            "reload narrows",
            vec![guarded(), step(When::Asked(0), Do::Reload(Change::Ungrant("guarded"))), yes],
            never_guarded,
        ),
    ]
}

/// What passes without a question, as often and as long as people said, and no more.
fn unasked() -> Vec<Scenario> {
    let hour = 3_600_000;
    let no = |who| step(When::Asked(who), Do::Decide { who, approve: false });
    let yes = step(When::Asked(0), Do::Always { who: 0, ms: hour });
    let say = |who, text: &str| step(When::Quiet, Do::Say { who, mode: Mode::Queue, text: text.into() });
    // The name is in quotes: a person speaks. The second call is beyond the plan, and the other one beside it.
    let task = "plan tell | call look 1 | call tell 7 | call tell 7, put 2 | say told \"Ann\"";
    let scoped = |name, steps| Scenario { changes: vec![Change::Scope], ..scenario(name, steps) };
    let standing = |name, over: Step| {
        let restart = step(When::Quiet, Do::Restart { clean: false, change: None });
        let third = [say(2, "call guarded 1 | say three"), no(2)];
        let steps = [
            vec![say(0, "call guarded 1 | say one"), yes.clone(), restart],
            vec![say(1, "call guarded 1 | say two"), over],
            third.to_vec(),
        ];
        such(name, steps.concat(), |ending| match ending.turns.as_slice() {
            // In between it passed, unless a cut came before it stood.
            [.., last] if last.calls.iter().all(|(word, _)| *word == "refused") => all_claimed(ending),
            turns => Err(format!("what was over let it pass: {turns:?}")),
        })
    };
    vec![
        scoped("scope of a task", vec![say(0, task), no(0)]),
        Scenario {
            moods: vec![Mood::Answers, Mood::Fault, Mood::CutStream],
            ..scoped("a plan whose provider fails", vec![say(0, task), no(0)])
        },
        standing("a yes that stands is taken back", step(When::Quiet, Do::Revoke)),
        standing("a yes that stands comes to its end", step(When::Quiet, Do::Pass(hour))),
    ]
}

fn operators() -> Vec<Scenario> {
    let restart = |when, clean| step(when, Do::Restart { clean, change: None });
    let at_once = |who, text: &str| step(When::Now, Do::Say { who, mode: Mode::Queue, text: text.into() });
    let two = vec![at_once(0, "call put 1 | say one"), at_once(1, "call put 2 | call put 3 | say two")];
    let budget = such("budget ends across two sessions", two, |ending| {
        ended(ending, |turn| turn.reason == "Claimed" || turn.reason == "Cap(SharedBudget)")
    });
    let many = vec![at_once(0, "call put 1 | call put 2 | say one"), at_once(1, "call put 3 | call put 4 | say two")];
    let limit = such("a limit ends across two sessions", many, |ending| {
        let acts: BTreeSet<&String> = ending.acts.iter().collect();
        if acts.len() <= 2 { all_claimed(ending) } else { Err(format!("{acts:?} passed a limit of two")) }
    });
    vec![
        Scenario { changes: vec![Change::DayTokens(700)], ..budget },
        Scenario { changes: vec![Change::Limit("put", 2)], ..limit },
        scenario(
            "drain",
            vec![
                say("call put 1 | say one"),
                restart(When::Held("put"), true),
                say("say two"),
                restart(When::Quiet, true),
                say("say three"),
            ],
        ),
        scenario(
            "freeze",
            vec![
                say("call put 1 | call put 2 | say one"),
                step(When::Held("put"), Do::Freeze(true)),
                step(When::Quiet, Do::Pass(5_000)),
                step(When::Now, Do::Freeze(false)),
            ],
        ),
        such(
            "doubts count as done",
            vec![
                step(When::Now, Do::Reload(Change::AssumeDone)),
                say("call send 1 | say one"),
                restart(When::Held("send"), false),
            ],
            all_claimed,
        ),
    ]
}
