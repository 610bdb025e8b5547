//! The simulated world at the scale of the normal test suite; `simulate` cuts all of it.
use backstay_sim::world::points::{Cut, Report, Template, cut_everywhere, play_seeds};
use backstay_sim::world::scenarios;

/// Cuts one scenario everywhere; nearly all points must be hit.
fn cut(name: &str, cut: Cut) -> Report {
    let scenarios = scenarios::all();
    let scenario = scenarios.iter().find(|scenario| scenario.name == name).expect("there is such a scenario");
    let report = cut_everywhere(&Template::make().unwrap(), scenario, cut, 2);
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert!(report.hits * 100 >= report.points * 90, "{report:?}");
    report
}

#[test]
fn five_parallel_tools_survive_a_cut_at_every_point_and_doubts_are_named() {
    assert!(cut("five parallel tools", Cut::Kill).doubts > 0);
}

#[test]
fn a_frozen_home_rests_wherever_it_was_cut() {
    cut("freeze", Cut::Kill);
}

#[test]
fn an_approval_survives_a_loss_of_power_at_every_flush() {
    cut("approval", Cut::PowerLoss);
}

#[test]
fn queued_messages_survive_a_disk_that_fails_for_a_while() {
    cut("queued messages", Cut::Trouble);
}

#[test]
fn drawn_runs_come_to_their_end() {
    let report = play_seeds(&Template::make().unwrap(), &(1..=20).collect::<Vec<_>>(), 2);
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert!(report.hits > 5, "{report:?}");
}
