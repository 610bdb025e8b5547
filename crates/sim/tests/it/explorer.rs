//! The explorer at a scope that fits the normal test suite, and the mutants that show that it sees.
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use backstay_sim::explorer::Invariant;
use backstay_sim::explorer::moves::Driver;
use backstay_sim::explorer::mutants::{Mutant, Planted};
use backstay_sim::explorer::scope::{SCOPES, Scope};
use backstay_sim::explorer::search::explore;

/// Nodes of each scope; `explore` walks them all.
const STATES_MAX: u64 = 200_000;
const THREADS: usize = 2;

#[test]
fn no_reachable_state_breaks_an_invariant() {
    for scope in SCOPES {
        let report = explore(&Driver::new(scope.clone(), Planted::default()), THREADS, STATES_MAX);
        if let Some(violation) = report.violation {
            panic!("{}: {violation}", scope.name);
        }
        assert!(report.states > 5_000 && report.depth > 10, "{}: {report:?}", scope.name);
    }
}

#[test]
fn every_planted_mutant_is_killed_by_its_invariant() {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((mutant, invariant)) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.lock().unwrap().extend(lives(*mutant, *invariant));
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What becomes of the mutant, where that is not its death by this invariant.
fn lives(mutant: Mutant, invariant: Invariant) -> Option<String> {
    let mut scopes: Vec<&Scope> = SCOPES.iter().collect();
    scopes.sort_by_key(|scope| !scope.is_about(invariant));
    let searches = scopes.into_iter().map(|scope| Driver::new(scope.clone(), Planted::new(mutant)));
    match searches.map(|driver| explore(&driver, 1, STATES_MAX)).find_map(|report| report.violation) {
        Some(violation) if violation.invariant == invariant => None,
        Some(violation) => Some(format!("{mutant:?} was killed by {violation}")),
        None => Some(format!("{mutant:?} lives")),
    }
}
