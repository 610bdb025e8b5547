//! Cuts the real binary at every write system call of every scenario, one after the other, lets it go
//! on, and compares with the run that was not cut.
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Tally;
use crate::house::{House, said};
use crate::outcome::{self, Outcome};
use crate::points::{self, Point};
use crate::scenarios::{Part, Scenario, Victim, scenarios};
use crate::served::{Door, Served, Why};

/// Of the points that are tried, those that must really be hit, in hundredths: threads race, so a few
/// counts are not reached again; more than a few is a blunt tool.
const HITS_PERCENT_MIN: usize = 80;
/// Points of one scenario from which on that is asked of the scenario alone.
const POINTS_TELLING: usize = 20;
/// Processes that a part of a scenario may use up: the victim, and a few that end by themselves.
const PROCESSES_MAX: usize = 4;
/// Points at work at once for each core: half of the time goes by in flushes and starts.
const WORKERS_PER_CORE: usize = 2;

/// A scenario that was run once without a cut.
struct Known {
    scenario: Scenario,
    template: House,
    points: Vec<Point>,
    uncut: Outcome,
}

/// For each of the injections at most `most` points, spread evenly over all scenarios, or over the one
/// that is named.
pub fn run(binary: &Path, injections: &str, most: usize, only: Option<&str>) -> Tally {
    let mut tally = Tally::default();
    injections.split(',').for_each(|injection| tally.add(all(binary, injection, most, only)));
    tally
}

fn all(binary: &Path, injection: &str, most: usize, only: Option<&str>) -> Tally {
    let chosen = scenarios().into_iter().filter(|scenario| only.is_none_or(|only| scenario.name == only));
    let known: Vec<Known> = chosen.map(|scenario| learn(binary, scenario, injection)).collect();
    let all: Vec<(&Known, &Point)> =
        known.iter().flat_map(|of| of.points.iter().map(move |point| (of, point))).collect();
    let tried: Vec<_> = (0..all.len().min(most)).filter_map(|n| all.get(n * all.len() / all.len().min(most))).collect();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from) * WORKERS_PER_CORE;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((known, point)) = tried.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = cut(known, injection, point);
                    results.lock().expect("no worker panics").push((known.scenario.name, *point, result));
                }
            });
        }
    });
    tell(&known, injection, results.into_inner().expect("no worker panics"))
}

fn tell(known: &[Known], injection: &str, results: Vec<(&str, &Point, Result<bool, String>)>) -> Tally {
    let mut tally = Tally::default();
    let (mut hits_in_all, points_in_all) = (0, results.len());
    for Known { scenario, points, .. } in known {
        let of_it = || results.iter().filter(|(name, ..)| *name == scenario.name);
        let (tried, hits) = (of_it().count(), of_it().filter(|(.., result)| !matches!(result, Ok(false))).count());
        println!("{:<36} {hits:>4} of {tried:>4} points hit by {injection}, of {} in all", scenario.name, points.len());
        if tried >= POINTS_TELLING && hits * 100 < tried * HITS_PERCENT_MIN {
            tally.failures.push(format!("{}: only {hits} of {tried} points were hit", scenario.name));
        }
        hits_in_all += hits;
    }
    println!("{hits_in_all} of {points_in_all} points hit");
    if hits_in_all * 100 < points_in_all * HITS_PERCENT_MIN || points_in_all == 0 {
        tally.failures.push(format!("only {hits_in_all} of {points_in_all} points were hit"));
    }
    for (name, point, result) in results {
        match result {
            Ok(hit) => tally.passed += usize::from(hit),
            Err(why) => tally.note(&format!("{name}, {point}"), Err(why)),
        }
    }
    tally
}

/// Runs it once under a tracer that only counts.
fn learn(binary: &Path, scenario: Scenario, injection: &str) -> Known {
    let template = House::empty(binary);
    (scenario.prepare)(&template);
    let house = template.copy();
    let log = house.path().join("strace.log");
    let done = act(&scenario.victim, &house, &points::counting(&log)).and_then(|_| (scenario.check)(&house));
    done.unwrap_or_else(|why| panic!("{}, uncut: {why}", scenario.name));
    let log = std::fs::read_to_string(&log).expect("strace wrote a log (install it: apt-get install strace)");
    let mut points: Vec<Point> = points::read(&log, house.path()).into_iter().collect();
    if injection.starts_with("error") {
        // Sockets and pipes do not fail for want of disk.
        points.retain(|point| point.file.is_some());
    }
    let uncut = outcome::of(&house.home()).expect("the uncut run is sound");
    Known { scenario, template, points, uncut }
}

/// Gives whether the point was hit.
fn cut(known: &Known, injection: &str, point: &Point) -> Result<bool, String> {
    let Known { scenario, template, uncut, .. } = known;
    let house = template.copy();
    let log = house.path().join("strace.log");
    let tracer = point.cutting(&log, house.path(), injection);
    let acted = act(&scenario.victim, &house, &tracer);
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    let hit = log.contains("INJECTED") || log.contains("killed by SIGKILL");
    let was_lost = acted.map_err(|why| if hit { why } else { format!("not cut, and: {why}") })?;
    if injection.starts_with("signal") && !was_lost {
        // It hit what the runtime had started, and the runtime has dealt with it: no cut.
        return Ok(false);
    }
    let found = outcome::of(&house.home())?;
    let is_told = || outcome::is_told(&house.home());
    if found != *uncut && (injection.starts_with("signal") || !is_told()?) {
        return Err(format!("came to {found:?}, uncut to {uncut:?}"));
    }
    (scenario.check)(&house)?;
    Ok(hit)
}

/// Does the scenario to its end; the first process runs under the tracer. Gives whether it was lost.
fn act(victim: &Victim, house: &House, tracer: &[String]) -> Result<bool, String> {
    match victim {
        Victim::Command { line, again } => {
            let line = line(house);
            let words: Vec<&str> = line.iter().map(String::as_str).collect();
            let first = house.command(tracer, &words).output().map_err(|error| format!("strace: {error}"))?;
            if first.status.success() {
                return Ok(false);
            }
            let second = house.run(&words);
            let is_fine = second.status.success() || second.status.code().is_some_and(|code| again.contains(&code));
            if is_fine { Ok(true) } else { Err(format!("given again: {}", said(&second))) }
        }
        Victim::Served(parts) => {
            let mut tracer = Some(tracer);
            parts.iter().try_fold(false, |was_lost, part| Ok(do_part(*part, house, &mut tracer)? | was_lost))
        }
    }
}

/// Gives whether a process was lost over it.
fn do_part(part: Part, house: &House, tracer: &mut Option<&[String]>) -> Result<bool, String> {
    let door = Door::local(&house.home());
    let mut why = "no process came to listen".to_owned();
    for process in 0..PROCESSES_MAX {
        let Ok(served) = Served::start(house, tracer.take().unwrap_or_default()) else { continue };
        match part(&door, house) {
            Ok(()) => {
                let status = served.stop();
                if status.success() {
                    return Ok(process > 0);
                }
                why = format!("stopped with {status}");
            }
            Err(Why::Lost(lost)) => {
                why = lost;
                served.kill();
            }
            Err(refused) => return Err(refused.to_string()),
        }
    }
    Err(why)
}
