//! The corpora, run: every attack through the product's own `run_command`, once as the reader takes it and once with
//! everything opaque; every attack beside its control, which does the harm where nothing holds it; every benign command;
//! and a sample of attacks in another dress. What counts is what somebody outside of the sandbox sees.
//!
//! `attacks BINARY [--json] [--seed N] [--rows]`; ends with `N passed, N failed`. Needs unshare, setpriv and prlimit.
#![allow(clippy::panic, clippy::expect_used, clippy::indexing_slicing, reason = "a test program")]
mod cases;
mod control;
#[path = "../../../../shell/src/tests/dress.rs"]
mod dress;
mod fixture;
mod product;
mod range;
mod report;
#[path = "../../../../shell/src/tests/rows.rs"]
mod rows;
mod witness;

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use cases::{Case, Kind};
use report::Report;

const USAGE: &str = "usage: attacks BINARY [--json] [--seed N] [--rows]";
/// The sample of CI; another is drawn by another seed.
const SEED: u64 = 1;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["inside", scratch, "control", name, seed] => {
            let case = number(seed).and_then(|seed| Case::named(name, seed)).expect("a case");
            println!("{}", control::inside(Path::new(scratch), &case));
            ExitCode::SUCCESS
        }
        ["inside", scratch, "product", reader, kinds, seed] => {
            let mut cases = cases::all(number(seed).expect("a seed"));
            cases.retain(|case| kinds.split(',').any(|kind| kind == format!("{:?}", case.kind)));
            product::inside(Path::new(scratch), reader, &cases);
            ExitCode::SUCCESS
        }
        [binary, rest @ ..] => {
            let seed = match rest.iter().position(|word| *word == "--seed") {
                None => Some(SEED),
                Some(at) => rest.get(at + 1).and_then(|word| number(word)),
            };
            let Some(seed) = seed else {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            };
            let report = run(Path::new(binary), seed);
            report.print(rest.contains(&"--json"), rest.contains(&"--rows"));
            if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        [] => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn number(word: &str) -> Option<u64> {
    word.parse().ok()
}

/// Controls, the product as it is, and the product with a blind reader, at the same time.
fn run(binary: &Path, seed: u64) -> Report {
    let scratch = range::armoury(binary).expect("a place for the range");
    let all = cases::all(seed);
    let mut told: [Vec<Option<Value>>; 3] = std::array::from_fn(|_| vec![None; all.len()]);
    let began = Instant::now();
    let (tell, heard) = channel::<(usize, usize, Value)>();
    thread::scope(|scope| {
        let lane = |lane: usize| {
            let (ours, theirs) = channel::<(usize, Value)>();
            let tell = tell.clone();
            scope.spawn(move || {
                for (at, value) in theirs {
                    let _ = tell.send((lane, at, value));
                }
            });
            ours
        };
        let (controls, seeing, blind) = (lane(0), lane(1), lane(2));
        let (all, scratch) = (&all, scratch.path());
        scope.spawn(move || control::run(scratch, all, seed, &controls));
        scope.spawn(move || {
            product::run(scratch, "seeing", &[Kind::Attack, Kind::Benign, Kind::Mutation], seed, &seeing);
        });
        scope.spawn(move || product::run(scratch, "blind", &[Kind::Attack, Kind::Mutation], seed, &blind));
        drop(tell);
        let mut shown = Instant::now();
        for (lane, at, value) in heard {
            told[lane][at] = Some(value);
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                let counts = told.each_ref().map(|lane| lane.iter().flatten().count());
                eprintln!(
                    "{:.0} s: {} controls, {} commands seen, {} blind",
                    began.elapsed().as_secs_f64(),
                    counts[0],
                    counts[1],
                    counts[2]
                );
            }
        }
    });
    Report::of(&all, &told, seed, began.elapsed())
}
