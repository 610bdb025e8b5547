//! The explorer at a scope that fits the normal test suite, and the mutants that show that it sees.
use backstay_sim::explorer::moves::Driver;
use backstay_sim::explorer::mutants::{Mutant, Planted};
use backstay_sim::explorer::scope::SCOPES;
use backstay_sim::explorer::search::explore;

/// Nodes of each scope; `explore` walks them all.
const STATES_MAX: u64 = 200_000;

#[test]
fn no_reachable_state_breaks_an_invariant() {
    for scope in SCOPES {
        let report = explore(&Driver::new(scope.clone(), Planted::default()), 2, STATES_MAX);
        if let Some(violation) = report.violation {
            panic!("{}: {violation}", scope.name);
        }
        assert!(report.states > 5_000 && report.depth > 10, "{}: {report:?}", scope.name);
    }
}

#[test]
fn every_planted_mutant_is_killed_by_its_invariant() {
    let mut wrong = Vec::new();
    for (mutant, invariant) in Mutant::ALL {
        let mut searches =
            SCOPES.iter().map(|scope| explore(&Driver::new(scope.clone(), Planted::new(*mutant)), 1, STATES_MAX));
        match searches.find_map(|report| report.violation) {
            Some(violation) if violation.invariant == *invariant => {}
            Some(violation) => wrong.push(format!("{mutant:?} was killed by {violation}")),
            None => wrong.push(format!("{mutant:?} lives")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
