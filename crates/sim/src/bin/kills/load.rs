//! Kills the serving process at random moments while sixteen clients work, starts it again, and looks
//! from outside what has become of the work.
//!
//! Every message lets the model put one line at the end of its session's file, by an edit that would
//! put it there a second time if it were made a second time: the files are the log of effects. Now and
//! then, while no process lives, a stranger writes into them too, so that of an edit that was under way
//! nobody can know: it must be declared in doubt.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use backstay_store::{Cell, Options, Store};
use serde_json::{Value, json};

use crate::Tally;
use crate::house::House;
use crate::outcome;
use crate::random::Random;
use crate::served::{Door, Served, Why, text};

const SESSIONS: usize = 16;
/// Kills of one home: its history stays short enough to be looked through after each.
const KILLS_PER_HOME: usize = 50;
/// The longest that a process lives before it is killed, milliseconds, and the longest of those that are
/// killed while they start: half of them each.
const LIFE_MS_MAX: u64 = 1200;
const START_MS_MAX: u64 = 60;
/// One in so many deaths lets the stranger write into every file.
const STRANGER_ONE_IN: u64 = 3;
/// The last line of every file; an edit puts its line before it.
const END: &str = "the end\n";
const STRANGE: &str = "a stranger was here\n";
/// A client that nobody answers tries again after this.
const AGAIN: Duration = Duration::from_millis(10);
/// After the last kill everything that was begun comes to its end in this time, or hangs.
const REST: Duration = Duration::from_secs(60);
/// Records of a session's end in which an effect that is under way was planned: a turn here has
/// about twenty.
const TAIL: u64 = 64;

/// What the clients share.
struct Field {
    house: House,
    token: String,
    /// Where the process that lives listens; none while there is none.
    address: Mutex<Option<String>>,
    is_over: AtomicBool,
    is_given_up: AtomicBool,
    at_work: AtomicUsize,
    /// Messages that were acknowledged, as (session, number), and whether the runtime said in the end
    /// that their edit was made.
    acknowledged: Mutex<BTreeMap<(usize, u64), Option<bool>>>,
    failures: Mutex<Vec<String>>,
}

impl Field {
    fn fail(&self, why: String) {
        self.failures.lock().expect("no client panics").push(why);
    }

    fn note(&self, session: usize, message: u64, made: Option<bool>) {
        self.acknowledged.lock().expect("no client panics").insert((session, message), made);
    }

    fn serve_at(&self, address: Option<String>) {
        *self.address.lock().expect("no client panics") = address;
    }

    fn door(&self) -> Option<Door> {
        let address = self.address.lock().expect("no client panics").clone()?;
        Some(Door::Tcp { address, token: self.token.clone() })
    }

    /// Again, whoever serves, until it is done or refused.
    fn insist<T>(&self, act: impl Fn(&Door) -> Result<T, Why>) -> Option<T> {
        while !self.is_given_up.load(Ordering::SeqCst) {
            match self.door().map(|door| act(&door)) {
                Some(Ok(done)) => return Some(done),
                Some(Err(Why::Refused(status, body))) => {
                    self.fail(format!("refused: {status} {body}"));
                    return None;
                }
                None | Some(Err(Why::Lost(_))) => std::thread::sleep(AGAIN),
            }
        }
        None
    }
}

/// `kills` in all, in as many homes as they need.
pub fn run(binary: &Path, kills: usize, seed: u64) -> Tally {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut left = kills;
    while left > 0 {
        let now = left.min(KILLS_PER_HOME);
        tally.add(one_home(binary, now, &mut random));
        left -= now;
    }
    tally
}

fn one_home(binary: &Path, kills: usize, random: &mut Random) -> Tally {
    let house = House::empty(binary);
    let token = house.init();
    for session in 0..SESSIONS {
        fs::write(log(&house, session), END).expect("a file for every session");
    }
    let field = Field {
        house,
        token,
        address: Mutex::new(None),
        is_over: AtomicBool::new(false),
        is_given_up: AtomicBool::new(false),
        at_work: AtomicUsize::new(SESSIONS),
        acknowledged: Mutex::new(BTreeMap::new()),
        failures: Mutex::new(Vec::new()),
    };
    let mut unknown = BTreeSet::new();
    std::thread::scope(|scope| {
        for session in 0..SESSIONS {
            let field = &field;
            scope.spawn(move || {
                client(field, session);
                field.at_work.fetch_sub(1, Ordering::SeqCst);
            });
        }
        unknown = reap(&field, kills, random);
    });
    if let Err(why) = judge(&field, &unknown, kills) {
        field.fail(why);
    }
    let failures = field.failures.into_inner().expect("no client panics");
    Tally { passed: kills.saturating_sub(failures.len()), failures }
}

fn log(house: &House, session: usize) -> PathBuf {
    house.home().join(format!("workspace/{session}.txt"))
}

fn line(session: usize, message: u64) -> String {
    format!("{session} did {message}\n")
}

/// Says one message after the other, each until it is acknowledged, and waits for its turn.
fn client(field: &Field, session: usize) {
    let Some(name) = field.insist(|door| door.open_session(&format!("open-{session}"))) else { return };
    let mut message = 0;
    while !field.is_over.load(Ordering::SeqCst) {
        message += 1;
        let edit = json!({
            "path": format!("{session}.txt"), "old": END, "new": format!("{}{END}", line(session, message)),
        });
        let words = format!("/call edit_file {edit}\n/then\n/say done");
        let key = format!("say-{session}-{message}");
        let Some(turn) = field.insist(|door| door.say(&name, &key, &words)) else { return };
        field.note(session, message, None);
        let ended = field.insist(|door| end(&field.house, door, &turn, session, message));
        let Some(ended) = ended else { return };
        // What was made again and failed is in doubt for good: the file says what its first attempt did.
        let in_file =
            || fs::read_to_string(log(&field.house, session)).ok().map(|found| found.contains(&line(session, message)));
        let is_in_doubt = ended.pointer("/completion/in_doubt/0").is_some();
        match made(&ended).or_else(|| is_in_doubt.then(in_file).flatten()) {
            Some(made) => field.note(session, message, Some(made)),
            None => field.fail(format!("{session}, {message}: the turn does not say what became of its call: {ended}")),
        }
    }
}

/// What the turn says of its one call.
fn made(turn: &Value) -> Option<bool> {
    let has = |list: &str| turn.pointer(&format!("/completion/{list}/0")).is_some();
    match (has("done"), has("failed") || has("refused") || has("not_started"), has("in_doubt")) {
        (true, false, false) => Some(true),
        (false, true, false) => Some(false),
        _ => None,
    }
}

/// Until the turn has ended; where it is in doubt, a person looks into the file and says what is there.
fn end(house: &House, door: &Door, turn: &str, session: usize, message: u64) -> Result<Value, Why> {
    loop {
        let now = door.settle(turn)?;
        if text(&now, "state") == "ended" {
            return Ok(now);
        }
        let found = fs::read_to_string(log(house, session)).unwrap_or_default();
        let outcome = if found.contains(&line(session, message)) { "done" } else { "retry" };
        let known = json!({ "outcome": outcome, "note": "the file says so" });
        match Door::local(&house.home()).call("POST", &format!("/api/doubts/{}", text(&now, "id")), None, &known) {
            // Resolved already: the answer was lost with the process.
            Ok(_) | Err(Why::Refused(404 | 409, _)) => {}
            Err(why) => return Err(why),
        }
    }
}

/// Starts and kills; gives the effects of which nobody can know what became of them.
fn reap(field: &Field, kills: usize, random: &mut Random) -> BTreeSet<(String, u64)> {
    let mut unknown = BTreeSet::new();
    for kill in 1..=kills {
        let Ok(served) = Served::start(&field.house, &[]) else {
            field.fail(format!("it did not start after {} kills", kill - 1));
            continue;
        };
        field.serve_at(Some(served.address.clone()));
        let life_ms_max = if random.one_in(2) { START_MS_MAX } else { LIFE_MS_MAX };
        std::thread::sleep(Duration::from_millis(random.below(life_ms_max)));
        field.serve_at(None);
        served.kill();
        if random.one_in(STRANGER_ONE_IN) {
            match under_way(&field.house.home()) {
                Ok(effects) => unknown.extend(effects),
                Err(why) => field.fail(format!("after {kill} kills: {why}")),
            }
            (0..SESSIONS).for_each(|session| stranger(&log(&field.house, session)));
        }
    }
    field.is_over.store(true, Ordering::SeqCst);
    let served = Served::start(&field.house, &[]).expect("it serves after the last kill");
    field.serve_at(Some(served.address.clone()));
    let until = Instant::now() + REST;
    while field.at_work.load(Ordering::SeqCst) > 0 {
        if Instant::now() > until && !field.is_given_up.swap(true, Ordering::SeqCst) {
            field.fail(format!("{} sessions have not come to rest", field.at_work.load(Ordering::SeqCst)));
        }
        std::thread::sleep(AGAIN);
    }
    let status = served.stop();
    if !status.success() {
        field.fail(format!("it stopped with {status}"));
    }
    unknown
}

fn stranger(path: &Path) {
    let found = fs::read_to_string(path).expect("the file of a session");
    fs::write(path, format!("{STRANGE}{found}")).expect("the file is written");
}

/// Tool calls whose start is in the journal of a dead process and whose end is not, as (session, seq).
fn under_way(home: &Path) -> Result<BTreeSet<(String, u64)>, String> {
    let store = Store::open(home, Options::default()).map_err(|error| format!("opening: {error}"))?;
    let tail = format!(
        "SELECT lower(hex(h.session)), e.seq - e.n + 1 + r.key, r.value FROM heads h JOIN entries e ON e.session = h.id
         JOIN json_each(e.body, '$.records') r
         WHERE h.open AND h.seq > 0 AND e.seq > h.seq - {TAIL} AND r.type = 'object' ORDER BY h.id, e.seq, r.key"
    );
    let answer = store.query(&tail).map_err(|error| format!("{tail}: {error}"))?;
    store.close().map_err(|error| error.to_string())?;
    let (mut tools, mut open) = (BTreeSet::new(), BTreeSet::new());
    for row in answer.rows {
        let [Cell::Text(session), Cell::Integer(seq), Cell::Text(record)] = row.as_slice() else { continue };
        let record: Value = serde_json::from_str(record).map_err(|error| error.to_string())?;
        let effect = |kind: &str| Some((session.clone(), record.pointer(&format!("/{kind}/effect"))?.as_u64()?));
        if record.pointer("/planned/tool").is_some() {
            tools.insert((session.clone(), u64::try_from(*seq).unwrap_or(0)));
        } else if let Some(started) = effect("started").filter(|started| tools.contains(started)) {
            open.insert(started);
        } else if let Some(over) = ["ended", "doubted", "bounced"].iter().find_map(|kind| effect(kind)) {
            open.remove(&over);
        }
    }
    Ok(open)
}

/// Looks into a home that nobody holds.
fn judge(field: &Field, unknown: &BTreeSet<(String, u64)>, kills: usize) -> Result<(), String> {
    let store = outcome::open(&field.house.home())?;
    let ask = |sql: &str| store.query(sql).map_err(|error| format!("{sql}: {error}"));
    let acknowledged = field.acknowledged.lock().expect("no client panics");
    let mut made_in_all = 0;
    for session in 0..SESSIONS {
        let found = fs::read_to_string(log(&field.house, session)).map_err(|error| error.to_string())?;
        let messages = acknowledged.range((session, 0)..(session + 1, 0));
        let made = messages.filter(|(_, made)| **made == Some(true)).map(|((_, message), _)| line(session, *message));
        let wanted: Vec<String> = made.chain([END.to_owned()]).collect();
        let lines = found.split_inclusive('\n').filter(|line| *line != STRANGE);
        made_in_all += wanted.len() - 1;
        if !lines.eq(wanted.iter()) {
            field.fail(format!("session {session}: its file is not what the runtime says was done:\n{found}"));
        }
    }
    let turns = ask("SELECT count(*) FROM v_turns WHERE ended_at IS NOT NULL")?;
    let count = i64::try_from(acknowledged.len()).unwrap_or(i64::MAX);
    if turns.rows != [[Cell::Integer(count)]] {
        field.fail(format!("{count} messages were acknowledged, and turns ended: {:?}", turns.rows));
    }
    let doubted = ask("SELECT session, data ->> '$.effect' FROM v_records WHERE kind = 'doubted'")?;
    let doubted: BTreeSet<(String, u64)> = doubted.rows.iter().filter_map(|row| place(row)).collect();
    for (session, effect) in unknown.difference(&doubted) {
        field.fail(format!("of {session}.{effect} nobody can know, and nobody was told"));
    }
    println!(
        "{kills} kills: {count} messages acknowledged, {made_in_all} effects made once, {} others certainly not; \
         {} unknown, {} of them in doubt",
        acknowledged.len() - made_in_all,
        unknown.len(),
        unknown.intersection(&doubted).count(),
    );
    store.close().map_err(|error| error.to_string())
}

fn place(row: &[Cell]) -> Option<(String, u64)> {
    let [Cell::Text(session), Cell::Integer(effect)] = row else { return None };
    Some((session.clone(), u64::try_from(*effect).ok()?))
}
