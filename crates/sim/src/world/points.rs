//! Every point at which a scenario can be cut: found by counting in the run that is not cut, then
//! cut one after the other, each in a run of its own. And runs that seeds draw.
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use backstay_engine::Store;

use super::checks::{Ending, check};
use super::outside::{EffectCut, Side};
use super::play::{Plan, Play};
use super::scenario::{Scenario, Wanted};
use super::seeds::draw;
use crate::disk::{Fault, Moment, Phase, Trouble};

/// A home that was made once, copied for every run.
pub struct Template {
    directory: tempfile::TempDir,
}

impl Template {
    /// # Errors
    /// The home cannot be made.
    pub fn make() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let store = Store::create(&directory.path().join("home"), backstay_engine::StoreOptions::default());
        store.and_then(|store| store.close()).map_err(|error| error.to_string())?;
        Ok(Self { directory })
    }

    fn copy(&self) -> Result<(tempfile::TempDir, PathBuf), std::io::Error> {
        let copy = tempfile::tempdir()?;
        // SQLite resolves links before it opens a file.
        let base = copy.path().canonicalize()?;
        fs::create_dir(base.join("home"))?;
        fs::copy(self.directory.path().join("home/state.db"), base.join("home/state.db"))?;
        Ok((copy, base))
    }
}

/// What one run came to.
pub struct Run {
    pub ending: Result<Ending, String>,
    pub flushes: u64,
    pub effects: u64,
    /// Faults and cuts that came about.
    pub hits: u64,
    pub doubts: u32,
    pub lives: u32,
}

/// Plays a scenario once.
///
/// # Errors
/// The set-up failed; what is wrong with the run itself stands in [`Run::ending`].
pub fn run(template: &Template, scenario: &Scenario, plan: &Plan) -> Result<Run, String> {
    let (_copy, base) = template.copy().map_err(|error| error.to_string())?;
    let mut play = Play::new(scenario, plan, &base);
    let ended = play.run();
    let (flushes, hits) = (play.disk.flushes(), play.disk.hits());
    play.disk.heal();
    let found = if ended.is_ok() { check(&play) } else { Ok(Ending::default()) };
    let (effects, cut_hits) = {
        let log = play.outside.log();
        (log.effects, log.cut_hits)
    };
    let (doubts, lives) = (play.doubts, play.lives);
    play.close();
    let ending = ended.and(found);
    Ok(Run { ending, flushes, effects, hits: hits + cut_hits, doubts, lives })
}

/// What happens at a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// The process dies.
    Kill,
    /// The machine loses power.
    PowerLoss,
    /// The disk is full, broken or slow for a while; the process lives.
    Trouble,
}

impl Cut {
    pub const ALL: [Self; 3] = [Self::Kill, Self::PowerLoss, Self::Trouble];

    /// The points of a run that makes so many flushes and effects.
    fn plans(self, flushes: u64, effects: u64) -> Vec<Plan> {
        let moments = (1..=flushes).flat_map(|flush| Phase::ALL.map(|phase| Moment { flush, phase }));
        let plan = |(at, trouble)| Plan { faults: vec![Fault { at, trouble }], ..Plan::default() };
        let each = (1..=effects).flat_map(|effect| Side::ALL.map(|side| EffectCut { effect, side }));
        let at_effects = each.map(|cut| Plan { cuts: vec![cut], ..Plan::default() });
        match self {
            Self::Kill => moments.map(|at| plan((at, Trouble::Kill))).chain(at_effects).collect(),
            Self::PowerLoss => {
                let seed = |at: Moment| at.flush * 31 + at.phase as u64;
                let at_effects = at_effects.map(|plan| Plan { power: Some(plan.cuts[0].effect), ..plan });
                moments.map(|at| plan((at, Trouble::PowerLoss { seed: seed(at) }))).chain(at_effects).collect()
            }
            Self::Trouble => (1..=flushes).map(|flush| plan(trouble_at(flush))).collect(),
        }
    }
}

/// Another trouble at every flush: a few failed writes, many, a lost answer, a flush that takes long.
fn trouble_at(flush: u64) -> (Moment, Trouble) {
    let (phase, trouble) = match flush % 6 {
        0 => (Phase::Before, Trouble::Full { writes: 1 }),
        1 => (Phase::Torn, Trouble::Full { writes: 9 }),
        2 => (Phase::Before, Trouble::Broken { writes: 9 }),
        3 => (Phase::Written, Trouble::Broken { writes: 1 }),
        4 => (Phase::After, Trouble::LostAnswer),
        _ => (Phase::Written, Trouble::Stall),
    };
    (Moment { flush, phase }, trouble)
}

/// What many runs came to.
#[derive(Default, Debug)]
pub struct Report {
    pub points: usize,
    pub hits: usize,
    pub doubts: u64,
    pub failures: Vec<String>,
}

/// Cuts a scenario at every point, `threads` runs at a time.
#[must_use]
pub fn cut_everywhere(template: &Template, scenario: &Scenario, cut: Cut, threads: usize) -> Report {
    let uncut = run(template, scenario, &Plan::default());
    let (flushes, effects, ending) = match uncut.and_then(|run| Ok((run.flushes, run.effects, run.ending?))) {
        Ok(uncut) => uncut,
        Err(why) => {
            let failures = vec![format!("{} uncut: {why}", scenario.name)];
            return Report { points: 1, failures, ..Report::default() };
        }
    };
    let plans = cut.plans(flushes, effects);
    in_parallel(&plans, threads, |plan| {
        let run = run(template, scenario, plan);
        let judge = |run: &Run| run.ending.clone().and_then(|found| compare(scenario, &ending, &found));
        let result = run.and_then(|run| judge(&run).map(|()| (run.hits, run.doubts)));
        result.map_err(|why| format!("{} {plan:?}: {why}", scenario.name))
    })
}

/// Plays a run for each seed.
#[must_use]
pub fn play_seeds(template: &Template, seeds: &[u64], threads: usize) -> Report {
    in_parallel(seeds, threads, |seed| {
        let (scenario, plan) = draw(*seed);
        let run = run(template, &scenario, &plan);
        let result = run.and_then(|run| run.ending.map(|_| (run.hits, run.doubts)));
        result.map_err(|why| format!("--seed {seed}: {why}\n{:#?}\n{plan:?}", scenario.steps))
    })
}

/// `work` on each, by several threads; it answers faults that came about and doubts.
fn in_parallel<T: Sync>(
    points: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<(u64, u32), String> + Sync,
) -> Report {
    let report = Mutex::new(Report { points: points.len(), ..Report::default() });
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(point);
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok((hits, doubts)) => {
                            report.hits += usize::from(hits > 0);
                            report.doubts += u64::from(doubts);
                        }
                        Err(why) => report.failures.push(why),
                    }
                }
            });
        }
    });
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A call that failed when it was made again may have had its effect before: it is in doubt, and as good as failed.
fn with_doubts_settled(uncut: &Ending, found: &Ending) -> Ending {
    let mut found = found.clone();
    for (turn, uncut) in found.turns.iter_mut().zip(&uncut.turns) {
        let failed = uncut.calls.iter().filter(|(end, _)| *end == "failed").flat_map(|(_, calls)| calls);
        let mut all: BTreeMap<&str, Vec<String>> = turn.calls.drain(..).collect();
        let mut doubts = all.remove("unknown").unwrap_or_default();
        for call in failed {
            if let Some(at) = doubts.iter().position(|doubt| doubt == call) {
                all.entry("failed").or_default().push(doubts.swap_remove(at));
            }
        }
        all.entry("failed").or_default().sort();
        if !doubts.is_empty() {
            all.insert("unknown", doubts);
        }
        turn.calls.extend(all);
    }
    found
}

/// Holds an ending to what the scenario wants.
fn compare(scenario: &Scenario, uncut: &Ending, found: &Ending) -> Result<(), String> {
    match scenario.wanted {
        Wanted::TheSame if with_doubts_settled(uncut, uncut) == with_doubts_settled(uncut, found) => Ok(()),
        Wanted::TheSame => Err(format!("ended otherwise:\n  uncut {uncut:?}\n  cut   {found:?}")),
        Wanted::Such(is) => is(found),
    }
}
