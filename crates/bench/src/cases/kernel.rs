//! The hot functions alone, on the records of a real turn: what a turn pays for being decided,
//! folded and chained.
use std::hint::black_box;
use std::time::{Duration, Instant};

use backstay_kernel::budget::{Budget, Price};
use backstay_kernel::frame::{Frame, Slots, Switches};
use backstay_kernel::id::{Boot, Digest, SessionId};
use backstay_kernel::policy::{Agent, Caps, Grants, InDoubt, Model, Policy};
use backstay_kernel::record::{Entry, Record};
use backstay_kernel::request::escape;
use backstay_kernel::{Input, Session, apply, decide, open_effects};

use crate::Outcome;
use crate::client::{Kind, Load};
use crate::homes::Homes;
use crate::report::{Report, Row, Target, middle};

/// Long enough to read the clock without counting it.
const SAMPLE: Duration = Duration::from_millis(5);
const SAMPLES: usize = 15;

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    let entries = entries_of_a_session(homes)?;
    let records: Vec<Record> = decode(&entries)?.into_iter().flat_map(|entry| entry.records).collect();
    let states = states(&records);
    let policy = policy();
    let count = f64::from(u32::try_from(records.len())?);
    let text = "She said \"reef early\",\nand the sails held.\t".repeat(50);

    let per_record = |time: f64| time / count;
    report.row(Row::new("decode a record", "ns", per_record(time(|| decode(&entries).map_or(0, |e| e.len())))));
    report.row(Row::new("apply a record", "ns", per_record(time(|| fold(&records)))));
    report.row(Row::new("open effects of a state", "ns", per_record(time(|| opened(&states, &policy)))));
    report.row(Row::new("advance a state", "ns", per_record(time(|| advanced(&states, &policy)))));
    let chained = time(|| entries.iter().map(|entry| chain(entry)).max());
    report.row(Row::new("chain a record", "ns", per_record(chained)).target(Target::AtMost(1_000.0)));
    let escaped = time(|| {
        let mut out = String::new();
        escape(&text, &mut out);
        out
    });
    report.row(Row::new("escape a KiB of text", "ns", escaped * 1024.0 / f64::from(u32::try_from(text.len())?)));
    Ok(())
}

/// Nanoseconds of one call: the middle of several samples.
pub fn time<T>(mut work: impl FnMut() -> T) -> f64 {
    let samples = (0..SAMPLES).map(|_| {
        let (began, mut calls) = (Instant::now(), 0.0);
        while began.elapsed() < SAMPLE {
            for _ in 0..8 {
                black_box(work());
            }
            calls += 8.0;
        }
        began.elapsed().as_secs_f64() * 1e9 / calls
    });
    middle(samples.collect()).unwrap_or_default()
}

/// Ten turns with a reading tool, as the product wrote them.
pub fn entries_of_a_session(homes: &Homes) -> Outcome<Vec<String>> {
    let home = homes.fresh("kernel")?;
    let process = home.serve()?;
    let load = Load { kind: Kind::Reading, workers: 1, turns: 10, turns_per_session: 10 };
    load.run(&home.server(&process, "main"))?;
    process.stop()?;
    let db = rusqlite::Connection::open(home.path.join("state.db"))?;
    let mut statement =
        db.prepare("SELECT body FROM entries WHERE session = (SELECT id FROM heads WHERE agent = 'main') ORDER BY id")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn decode(entries: &[String]) -> Outcome<Vec<Entry<Record>>> {
    Ok(entries.iter().map(|entry| serde_json::from_str(entry)).collect::<Result<_, _>>()?)
}

/// As the store chains an entry.
fn chain(entry: &str) -> Digest {
    Digest::of("backstay entry v1", &[&[0; 58], entry.as_bytes()])
}

fn fold(records: &[Record]) -> Session {
    let mut session = Session::new(SessionId([1; 10]));
    records.iter().for_each(|record| apply(&mut session, record));
    session
}

/// The session after each of its records.
pub fn states(records: &[Record]) -> Vec<Session> {
    let mut session = Session::new(SessionId([1; 10]));
    let after = |record| {
        apply(&mut session, record);
        session.clone()
    };
    records.iter().map(after).collect()
}

fn opened(states: &[Session], policy: &Policy) -> usize {
    states.iter().map(|state| open_effects(state, &frame(policy)).len()).sum()
}

fn advanced(states: &[Session], policy: &Policy) -> usize {
    states.iter().filter_map(|state| decide(state, Input::Advance, &frame(policy)).ok()).map(|r| r.len()).sum()
}

pub fn frame(policy: &Policy) -> Frame<'_> {
    Frame {
        now: 1_795_219_200_000,
        boot: Boot(1),
        policy,
        switches: Switches::default(),
        slots: Slots { model: 1, tool: 1 },
        allowance: Vec::new(),
        standing: Vec::new(),
        reached: std::sync::Arc::default(),
    }
}

pub fn policy() -> Policy {
    let agent = Agent {
        model: "default".to_owned(),
        instructions: String::new(),
        grants: Grants { tools: vec!["read_file".to_owned()], ..Grants::default() },
        rules: Vec::new().into(),
        budget: Budget::default(),
        caps: Caps { steps: 100, tool_calls: 500, wall_ms: 7_200_000, asks_per_hour: 5 },
        in_doubt: InDoubt::Ask,
        scope: false,
    };
    let model = Model {
        provider: "rehearsal".to_owned(),
        clearance: backstay_kernel::label::Confidentiality::Secret,
        name: "rehearsal".to_owned(),
        context_tokens: 32_768,
        max_output_tokens: 1_024,
        price: Price { input: 0, cached_input: 0, cache_write: 0, output: 0 },
    };
    Policy {
        agents: [("main".to_owned(), agent)].into(),
        models: [("default".to_owned(), model)].into(),
        ..Policy::default()
    }
}
