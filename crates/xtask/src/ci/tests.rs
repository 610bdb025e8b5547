//! A failure anywhere is a failure at the end, and the last line says how many.
use super::*;

fn step(line: &'static [&'static str]) -> Outcome {
    take(&process::root().unwrap(), &program("planted", 1, line))
}

#[test]
fn the_steps_fit_into_the_time() {
    let limits = STEPS.iter().map(|step| match step.work {
        Work::Here(_) => 1,
        Work::Program { minutes_max, .. } => minutes_max,
    });
    assert!(limits.sum::<u32>() <= 45, "minutes");
}

#[test]
fn the_last_line_adds_up_and_a_step_without_tests_counts_as_one() {
    let outcomes = [
        step(&["true"]),
        step(&["false"]),
        step(&["no-such-program"]),
        step(&["sh", "-c", "echo '4 passed, 0 failed' >&2; echo more"]),
        step(&["sh", "-c", "echo '3 passed, 0 failed'; exit 1"]),
    ];
    assert_eq!(outcomes.each_ref().map(|outcome| outcome.passed), [true, false, false, true, false]);
    assert_eq!(total(&outcomes).to_string(), "8 passed, 3 failed");
    assert_eq!(table(&outcomes).lines().count(), 6);
}

#[test]
fn a_step_of_no_name_is_refused() {
    let refusal = run(&process::root().unwrap(), &["testz"]).unwrap_err();
    assert!(refusal.contains("no step `testz`") && refusal.contains("clippy"), "{refusal}");
}

#[test]
fn counts_are_read_from_summaries_only() {
    let read = |line| Count::in_line(line).map(|count| (count.passed, count.failed));
    assert_eq!(read("     Summary [   0.1s] 12 tests run: 12 passed, 0 skipped"), Some((12, 0)));
    let mixed = "  Summary [ 9.1s] 9 tests run: 6 passed (1 slow, 1 leaky), 1 failed, 2 timed out, 3 skipped";
    assert_eq!(read(mixed), Some((6, 3)));
    assert_eq!(read("7 passed, 2 failed"), Some((7, 2)));
    for other in ["test result: ok. 7 passed; 0 failed", "2 failed", "then 7 passed, 2 failed", ""] {
        assert_eq!(read(other), None, "{other}");
    }
}
