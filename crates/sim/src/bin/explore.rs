//! `cargo run --release -p backstay-sim --bin explore`: every scope to its end, with the figures;
//! `-- deep` for the ones with more faults at once, `-- NAME` for one.
use std::process::ExitCode;

use backstay_sim::explorer::moves::Driver;
use backstay_sim::explorer::mutants::Planted;
use backstay_sim::explorer::scope::{DEEP, SCOPES};
use backstay_sim::explorer::search::explore;

fn main() -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut states, mut seconds) = (0, 0.0);
    let word = std::env::args().nth(1);
    let scopes = if word.as_deref() == Some("deep") { DEEP } else { SCOPES };
    let only = word.filter(|word| word != "deep");
    for scope in scopes.iter().filter(|scope| only.as_deref().is_none_or(|only| only == scope.name)) {
        let report = explore(&Driver::new(scope.clone(), Planted::default()), threads, u64::MAX);
        let time = report.time.as_secs_f64();
        println!(
            "{:<28} {:>10} states {:>11} moves, longest path {:>3}, {time:>5.1} s",
            scope.name, report.states, report.moves, report.depth
        );
        (states, seconds) = (states + report.states, seconds + time);
        if let Some(violation) = report.violation {
            println!("{violation}");
            return ExitCode::FAILURE;
        }
    }
    println!("{states} states in {seconds:.1} s, no invariant broken");
    ExitCode::SUCCESS
}
