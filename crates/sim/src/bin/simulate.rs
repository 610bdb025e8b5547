//! Plays the real engine in the simulated world: every scenario cut at every flush and every
//! effect, with a loss of power at every flush, with a failing disk; then runs that seeds draw.
//!
//! `simulate [COUNT] [--seed N] [--scenario NAME]`. COUNT: fixed seeds, 300 without it; one fresh
//! seed is added and printed. A failing seed is played again by `--seed N`.
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use backstay_sim::world::points::{Cut, Report, Template, cut_everywhere, play_seeds};
use backstay_sim::world::scenarios;

const SEEDS: u64 = 300;
/// Seeds from one line of progress to the next.
const SEEDS_A_LINE: usize = 100;
/// Of the points that are tried, those that must really be hit, in hundredths.
const HITS_PERCENT_MIN: usize = 90;

#[derive(Default)]
struct Wishes {
    count: Option<u64>,
    seed: Option<u64>,
    scenario: Option<String>,
}

fn main() -> ExitCode {
    let wishes = match read_wishes(std::env::args().skip(1)) {
        Ok(wishes) => wishes,
        Err(why) => {
            eprintln!("{why}\nusage: simulate [COUNT] [--seed N] [--scenario NAME]");
            return ExitCode::from(2);
        }
    };
    let template = match Template::make() {
        Ok(template) => template,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut failures) = (0, Vec::new());
    if wishes.seed.is_none() {
        for report in cut_all(&template, wishes.scenario.as_deref()) {
            passed += report.hits;
            failures.extend(report.failures);
        }
    }
    if wishes.scenario.is_none() {
        let seeds = match wishes.seed {
            Some(seed) => vec![seed],
            None => (1..=wishes.count.unwrap_or(SEEDS)).chain([fresh()]).collect(),
        };
        let report = play_all(&template, &seeds);
        passed += report.points - report.failures.len();
        failures.extend(report.failures);
    }
    failures.iter().for_each(|failure| println!("FAILED {failure}"));
    println!("{passed} passed, {} failed", failures.len());
    if failures.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play_all(template: &Template, seeds: &[u64]) -> Report {
    let mut all = Report::default();
    for some in seeds.chunks(SEEDS_A_LINE) {
        let report = play_seeds(template, some, threads());
        all.points += report.points;
        all.doubts += report.doubts;
        all.failures.extend(report.failures);
        let (played, failed) = (all.points, all.failures.len());
        println!("seeds: {played} of {} played, {} doubts, {failed} failed", seeds.len(), all.doubts);
    }
    all
}

fn cut_all(template: &Template, only: Option<&str>) -> Vec<Report> {
    let mut reports = Vec::new();
    for scenario in scenarios::all().iter().filter(|scenario| only.is_none_or(|only| only == scenario.name)) {
        for cut in Cut::ALL {
            let mut report = cut_everywhere(template, scenario, cut, threads());
            let Report { points, hits, doubts, .. } = report;
            println!("{}: {hits} of {points} points hit by {cut:?}, {doubts} doubts", scenario.name);
            if hits * 100 < points * HITS_PERCENT_MIN {
                report.failures.push(format!("{}: only {hits} of {points} points were hit", scenario.name));
            }
            reports.push(report);
        }
    }
    reports
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Another one each time, and short enough to be typed.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = u64::from(now.subsec_nanos()) + 1_000_000;
    println!("fresh seed: {seed}");
    seed
}

fn read_wishes(mut arguments: impl Iterator<Item = String>) -> Result<Wishes, String> {
    let mut wishes = Wishes::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("`{text}` is no number"));
        match argument.as_str() {
            "--seed" => wishes.seed = Some(number(value()?)?),
            "--scenario" => wishes.scenario = Some(value()?),
            _ => wishes.count = Some(number(argument)?),
        }
    }
    Ok(wishes)
}
