//! The corpora, run: every attack through the product's own `run_command`, once as the reader takes it and once with
//! everything opaque; every attack beside its control, which does the harm where nothing holds it; every benign command;
//! and a sample of attacks in another dress. What counts is what somebody outside of the sandbox sees.
//!
//! `attacks BINARY [--copies] [--every N] [--copies-too N] [--json] [--seed N] [--mutations N] [--rows]`; ends with `N
//! passed, N failed`. Needs unshare, setpriv and prlimit, and root for `--copies`: the product as root of a container,
//! which gets no namespaces. `--every N` takes of N rows one, `--copies-too N` so many of copies after all others.
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

use cases::{Case, Kind, Sample};
use range::Tier;
use report::Report;

const USAGE: &str =
    "usage: attacks BINARY [--copies] [--every N] [--copies-too N] [--json] [--seed N] [--mutations N] [--rows]";
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["inside", scratch, "control", name, sample] => {
            let case = Sample::read(sample).and_then(|sample| Case::named(name, sample)).expect("a case");
            println!("{}", control::inside(Path::new(scratch), &case));
            ExitCode::SUCCESS
        }
        ["inside", scratch, "product", reader, kinds, sample] => {
            let sample = Sample::read(sample).expect("a sample");
            let mut cases = cases::all(sample);
            cases.retain(|case| kinds.split(',').any(|kind| kind == format!("{:?}", case.kind)));
            product::inside(Path::new(scratch), reader, sample.tier, &cases);
            ExitCode::SUCCESS
        }
        [binary, rest @ ..] if Path::new(binary).is_file() => {
            let Some(samples) = samples(rest) else {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            };
            let reports: Vec<Report> =
                samples.into_iter().filter_map(|sample| run(Path::new(binary), sample)).collect();
            for report in &reports {
                report.print(rest.contains(&"--json"), rest.contains(&"--rows"));
            }
            let passed: usize = reports.iter().map(|report| report.passed).sum();
            let failed: usize = reports.iter().map(|report| report.failures.len()).sum();
            if !rest.contains(&"--json") {
                println!("{passed} passed, {failed} failed");
            }
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// As the words say; `None` where one is no number.
fn samples(words: &[&str]) -> Option<Vec<Sample>> {
    let said = |key: &str, otherwise: u64| match words.iter().position(|word| *word == key) {
        None => Some(otherwise),
        Some(at) => words.get(at + 1)?.parse().ok(),
    };
    let mutations = said("--mutations", u64::try_from(Sample::CI.mutations).ok()?)?;
    let (seed, mutations) = (said("--seed", Sample::CI.seed)?, usize::try_from(mutations).ok()?);
    let tier = if words.contains(&"--copies") { Tier::Copy } else { Tier::Full };
    let every = usize::try_from(said("--every", 1)?).ok().filter(|every| *every > 0)?;
    let too = usize::try_from(said("--copies-too", 0)?).ok()?;
    let first = Sample { seed, mutations, tier, every };
    let too = (too > 0).then_some(Sample { tier: Tier::Copy, every: too, ..first });
    Some([Some(first), too].into_iter().flatten().collect())
}

/// Controls, the product as it is, and the product with a blind reader, at the same time.
fn run(binary: &Path, sample: Sample) -> Option<Report> {
    if sample.tier == Tier::Copy && !rustix::process::geteuid().is_root() {
        eprintln!("what commands do on copies is not tried: only root can make the container");
        return None;
    }
    let scratch = range::armoury(binary).expect("a place for the range");
    let all = cases::all(sample);
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
        scope.spawn(move || control::run(scratch, all, sample, &controls));
        scope.spawn(move || {
            product::run(scratch, "seeing", &[Kind::Attack, Kind::Benign, Kind::Mutation], sample, &seeing);
        });
        scope.spawn(move || product::run(scratch, "blind", &[Kind::Attack, Kind::Mutation], sample, &blind));
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
    Some(Report::of(&all, &told, sample, began.elapsed()))
}
