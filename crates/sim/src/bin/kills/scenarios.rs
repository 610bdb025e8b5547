//! What is done while it is cut. Every scenario can be done again from its beginning: each command has
//! a key or is one that may be repeated, so going on after a cut is giving the same commands again.
use std::fs;

use serde_json::{Value, json};

use crate::house::{House, said};
use crate::outward;
use crate::points::Point;
use crate::scoped;
use crate::served::{Door, Said, Served, Why, text};

pub struct Scenario {
    pub name: &'static str,
    /// Makes the house, uncut, once.
    pub prepare: fn(&House),
    pub victim: Victim,
    /// What else must hold in the end, in the uncut run too.
    pub check: fn(&House) -> Result<(), String>,
}

pub enum Victim {
    /// A command, that is given again; exit codes other than 0 with which that may end.
    Command { line: fn(&House) -> Vec<String>, again: &'static [i32] },
    /// A process that serves, and what its client does. It is stopped after each part and the next one
    /// finds a new one; the first process is the victim.
    Served(&'static [Part]),
}

pub type Part = fn(&Door, &House) -> Said<()>;

const WRITE_AND_EDIT: &str = concat!(
    "/call write_file {\"path\":\"out/a.txt\",\"content\":\"one\"}\n/then\n",
    "/call edit_file {\"path\":\"out/a.txt\",\"old\":\"one\",\"new\":\"two\"}\n/then\n/say done"
);
const PARALLEL: &str = concat!(
    "/call write_file {\"path\":\"out/a.txt\",\"content\":\"a\"}\n",
    "/call write_file {\"path\":\"out/b.txt\",\"content\":\"b\"}\n",
    "/call remember {\"text\":\"the key is under the mat\"}\n",
    "/call list_dir {\"path\":\".\"}\n/then\n/say done"
);
/// A rule of the config that `init` writes asks about it.
const REPORT: &str =
    "/call write_file {\"path\":\"out/reports/q3.md\",\"content\":\"the report\"}\n/then\n/say the report is written";
const ASK: &str = "/call ask_human {\"question\":\"which harbour?\"}\n/then\n/say thank you";
/// In the directory beside the home: a session of another home, and its name.
const EXPORT: &str = "session.jsonl";
const ARRIVING: &str = "arriving";
const BIG: &str = "/big 60000";
/// The log is checkpointed at 512 pages of 4 KiB: a little below, bytes.
const NEARLY_A_CHECKPOINT: u64 = 1_800_000;

pub fn scenarios() -> Vec<Scenario> {
    use Victim::{Command, Served};
    let run = |name, line| Scenario { name, prepare: talk, victim: Command { line, again: &[] }, check: nothing };
    let served = |name, parts| Scenario { name, prepare: talk, victim: Served(parts), check: nothing };
    vec![
        // A home that was whole when its `init` was cut is not made twice.
        Scenario {
            name: "init",
            prepare: |_| {},
            victim: Command { line: |_| line(&["init"]), again: &[3] },
            check: nothing,
        },
        run("run: a plain turn", |house| task(house, "/say hello")),
        run("run: write and edit", |house| task(house, WRITE_AND_EDIT)),
        served("write and edit", &[|door, house| turn(door, house, "k1", WRITE_AND_EDIT)]),
        served("parallel calls and a memory", &[|door, house| turn(door, house, "k1", PARALLEL)]),
        served("approval", &[approval]),
        Scenario {
            prepare: outward::prepare,
            check: outward::once,
            ..served("a yes, a command and a request", &[outward::yes_run_send])
        },
        Scenario { prepare: scoped::prepare, check: scoped::held, ..served("a task in its scope", &[scoped::task]) },
        served("cancel", &[cancel]),
        served("queued messages and a question", &[queue]),
        served("a session stopped, the home frozen", &[switches]),
        served("drain with a turn under way", &[begin, |door, house| turn(door, house, "k1", WRITE_AND_EDIT)]),
        Scenario { prepare: cut_edit, ..served("an edit in doubt", &[doubt]) },
        Scenario { prepare: long_log, ..served("checkpoint of the log", &[fill]) },
        Scenario { prepare: history, check: backup_is_whole, ..served("backup while served", &[backup]) },
        Scenario {
            name: "backup",
            prepare: history,
            victim: Command { line: |house| line(&["backup", &beside(house, "backup"), "--workspace"]), again: &[3] },
            check: backup_is_whole,
        },
        Scenario {
            name: "restore",
            prepare: |house| {
                history(house);
                house.ok(&["backup", &beside(house, "backup"), "--workspace"]);
            },
            victim: Command {
                line: |house| line(&["restore", &beside(house, "backup"), &beside(house, "restored")]),
                again: &[3],
            },
            check: restored_is_whole,
        },
        Scenario {
            name: "import",
            prepare: arriving,
            victim: Command { line: |house| line(&["sessions", "import", &beside(house, EXPORT)]), again: &[3] },
            check: arrived,
        },
    ]
}

/// A home, and beside it what another has exported: a session with a call that nobody has answered for.
fn arriving(house: &House) {
    talk(house);
    let there = House::below(house.binary(), house.path());
    history(&there);
    let file = there.ok(&["sessions", "export", &there.session()]);
    fs::write(house.path().join(EXPORT), file).expect("the export is written");
    fs::write(house.path().join(ARRIVING), there.session()).expect("its name is kept");
}

/// All of it or nothing; and it is stopped, with the call in doubt.
fn arrived(house: &House) -> Result<(), String> {
    let session = fs::read_to_string(house.path().join(ARRIVING)).map_err(|error| error.to_string())?;
    let shown = house.run(&["sessions", "show", &session, "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).map_err(|_| format!("the session: {}", said(&shown)))?;
    let doubts: Value = serde_json::from_slice(&house.ok(&["doubts", "--json"])).map_err(|error| error.to_string())?;
    let count = doubts.get("doubts").and_then(Value::as_array).map_or(0, Vec::len);
    if count != 1 || !text(&shown, "turn").is_empty() {
        return Err(format!("not as it was imported: {shown} {doubts}"));
    }
    Ok(())
}

fn nothing(_: &House) -> Result<(), String> {
    Ok(())
}

fn line(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn beside(house: &House, name: &str) -> String {
    house.path().join(name).display().to_string()
}

fn task(house: &House, words: &str) -> Vec<String> {
    line(&["run", "--session", &house.session(), "--key", "k1", words])
}

/// A home with a session in it, so that the names of its temporary files are known.
pub fn talk(house: &House) {
    house.init();
    let ran: Value = serde_json::from_slice(&house.ok(&["run", "/say ready", "--json"])).expect("JSON");
    house.keep_session(&text(&ran, "session"));
}

fn history(house: &House) {
    talk(house);
    house.ok(&["run", "--session", &house.session(), WRITE_AND_EDIT]);
    // Waits for a yes: the way in which a restored home finds it is tested too.
    house.run(&["run", "--session", &house.session(), REPORT]);
}

/// The process dies with the edit begun, and somebody else writes the file: nobody can tell.
fn cut_edit(house: &House) {
    talk(house);
    house.ok(&["run", "--session", &house.session(), "/call write_file {\"path\":\"a.txt\",\"content\":\"one\"}"]);
    let edit = "/call edit_file {\"path\":\"a.txt\",\"old\":\"one\",\"new\":\"two\"}\n/then\n/say done";
    let point = Point { call: "renameat", file: Some("home/workspace".to_owned()), n: 1 };
    let tracer = point.cutting(&house.path().join("prepare.log"), house.path(), "signal=SIGKILL");
    let mut command = house.command(&tracer, &["run", "--session", &house.session(), "--key", "k1", edit]);
    let cut = command.output().expect("strace runs");
    assert!(!cut.status.success(), "the edit was not cut: {}", said(&cut));
    fs::write(house.home().join("workspace/a.txt"), "one, says another").expect("the file is written");
}

/// A killed process has left a log that is nearly as long as it gets.
fn long_log(house: &House) {
    talk(house);
    let served = Served::start(house, &[]).expect("it serves");
    let door = Door::local(&house.home());
    let size = || fs::metadata(house.home().join("state.db-wal")).map_or(0, |found| found.len());
    let mut turns = 0;
    while size() < NEARLY_A_CHECKPOINT {
        turns += 1;
        turn(&door, house, &format!("p{turns}"), BIG).expect("a turn");
    }
    served.kill();
}

fn turn(door: &Door, house: &House, key: &str, words: &str) -> Said<()> {
    let turn = door.say(&house.session(), key, words)?;
    door.settle(&turn).map(drop)
}

/// What waits among `list` for an answer to `turn`, if anything does.
pub fn waiting(door: &Door, list: &str, turn: &str) -> Said<Option<Value>> {
    let found = door.get(&format!("/api/{list}"))?;
    let items = found.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(items.into_iter().find(|item| text(item, "turn") == turn))
}

fn approval(door: &Door, house: &House) -> Said<()> {
    let turn = door.say(&house.session(), "k1", REPORT)?;
    door.settle(&turn)?;
    if let Some(item) = waiting(door, "approvals", &turn)? {
        let answer = json!({ "decision": "approve", "digest": text(&item, "digest"), "note": "looks right" });
        door.post(&format!("/api/approvals/{}", text(&item, "id")), "k2", &answer)?;
    }
    ended(door, &turn)
}

pub fn ended(door: &Door, turn: &str) -> Said<()> {
    let now = door.settle(turn)?;
    if text(&now, "state") == "ended" { Ok(()) } else { Err(Why::Refused(0, now)) }
}

/// The cancelled call never happens, and the next message does not wait for it.
fn cancel(door: &Door, house: &House) -> Said<()> {
    let turn = door.say(&house.session(), "k1", REPORT)?;
    if text(&door.settle(&turn)?, "state") != "ended" {
        door.post(&format!("/api/turns/{turn}/cancel"), "k2", &Value::Null)?;
    }
    ended(door, &turn)?;
    let next = door.say(&house.session(), "k3", "/say after it")?;
    ended(door, &next)
}

fn queue(door: &Door, house: &House) -> Said<()> {
    let first = door.say(&house.session(), "k1", ASK)?;
    door.settle(&first)?;
    let second = door.say(&house.session(), "k2", "/call write_file {\"path\":\"q/2.txt\",\"content\":\"2\"}")?;
    let third = door.say(&house.session(), "k3", "/say three")?;
    if let Some(item) = waiting(door, "questions", &first)? {
        door.post(&format!("/api/questions/{}", text(&item, "id")), "k4", &json!({ "text": "Bergen" }))?;
    }
    [first, second, third].iter().try_for_each(|turn| ended(door, turn))
}

/// The home's own stream of records, and what it keeps from going on.
fn switches(door: &Door, house: &House) -> Said<()> {
    let session = house.session();
    door.post("/api/home/freeze", "k1", &Value::Null)?;
    door.post("/api/home/unfreeze", "k2", &Value::Null)?;
    door.post(&format!("/api/sessions/{session}/stop"), "k3", &Value::Null)?;
    door.post(&format!("/api/sessions/{session}/resume"), "k4", &Value::Null)?;
    // Whatever a cut has left switched, the keys above do not switch again.
    match door.call("POST", &format!("/api/sessions/{session}/resume"), None, &Value::Null) {
        Ok(_) | Err(Why::Refused(409, _)) => {}
        Err(why) => return Err(why),
    }
    turn(door, house, "k5", "/say it goes on")
}

/// Is acknowledged, and nothing more: the process is stopped in the middle of the turn.
fn begin(door: &Door, house: &House) -> Said<()> {
    door.say(&house.session(), "k1", WRITE_AND_EDIT).map(drop)
}

fn doubt(door: &Door, house: &House) -> Said<()> {
    let edit = "/call edit_file {\"path\":\"a.txt\",\"old\":\"one\",\"new\":\"two\"}\n/then\n/say done";
    let turn = door.say(&house.session(), "k1", edit)?;
    door.settle(&turn)?;
    if let Some(item) = waiting(door, "doubts", &turn)? {
        let found = json!({ "outcome": "not-done", "note": "the file says so" });
        door.post(&format!("/api/doubts/{}", text(&item, "id")), "k2", &found)?;
    }
    ended(door, &turn)
}

fn fill(door: &Door, house: &House) -> Said<()> {
    (1..=4).try_for_each(|n| turn(door, house, &format!("k{n}"), BIG))
}

fn backup(door: &Door, house: &House) -> Said<()> {
    let asked = json!({ "to": beside(house, "backup"), "workspace": true });
    match door.post("/api/backup", "k1", &asked) {
        // One that was cut has left its directory, and that is not written over; or the disk has failed.
        Ok(_) | Err(Why::Refused(409 | 500, _)) => Ok(()),
        Err(why) => Err(why),
    }
}

/// A directory with a journal in it is a whole backup, whatever happened; without one there is none, and
/// another can be made.
fn backup_is_whole(house: &House) -> Result<(), String> {
    let mut to = beside(house, "backup");
    if !house.path().join("backup/state.db").exists() {
        to = beside(house, "another");
        house.ok(&["backup", &to, "--workspace"]);
    }
    let ran = house.run(&["restore", &to, &beside(house, "tried")]);
    if !ran.status.success() {
        return Err(format!("the backup: {}", said(&ran)));
    }
    whole(house, "tried")
}

fn restored_is_whole(house: &House) -> Result<(), String> {
    let to = house.path().join("restored");
    if !to.join("state.db").exists() {
        // What a cut restore has left is said to be removed by hand.
        fs::remove_dir_all(&to).map_err(|error| error.to_string())?;
        let ran = house.run(&["restore", &beside(house, "backup"), &to.display().to_string()]);
        if !ran.status.success() {
            return Err(format!("restored again: {}", said(&ran)));
        }
    }
    whole(house, "restored")
}

/// A copy has what the home has.
fn whole(house: &House, copy: &str) -> Result<(), String> {
    let (first, second) = (crate::outcome::of(&house.home())?, crate::outcome::of(&house.path().join(copy))?);
    if first == second { Ok(()) } else { Err(format!("the copy differs: {second:?} from {first:?}")) }
}
