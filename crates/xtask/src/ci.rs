//! Every check, one after the other, to the end: a run that stops at the first failure hides the second.
mod count;

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::{arch, process, tidy};
use count::Count;

struct Step {
    name: &'static str,
    work: Work,
}

enum Work {
    /// Part of this program: seconds.
    Here(fn(&Path) -> Result<(), String>),
    /// Ended, and so failed, after `minutes_max`.
    Program { minutes_max: u32, line: &'static [&'static str], env: &'static [(&'static str, &'static str)] },
}

const fn program(name: &'static str, minutes_max: u32, line: &'static [&'static str]) -> Step {
    Step { name, work: Work::Program { minutes_max, line, env: &[] } }
}

/// All steps together, on two cores and from an empty target directory.
#[cfg(test)]
const MINUTES_MAX: u32 = 45;

/// Quick ones first. The limits are several times what each takes.
const STEPS: &[Step] = &[
    program("fmt", 1, &["cargo", "fmt", "--all", "--check"]),
    Step { name: "tidy", work: Work::Here(tidy::run) },
    Step { name: "arch", work: Work::Here(arch::run) },
    program("deny", 2, &["cargo", "deny", "--locked", "check", "bans", "licenses", "sources"]),
    program("clippy", 10, &["cargo", "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Step {
        name: "doc",
        work: Work::Program {
            minutes_max: 5,
            line: &["cargo", "doc", "--locked", "--workspace", "--no-deps", "--document-private-items"],
            env: &[("RUSTDOCFLAGS", "-D warnings")],
        },
    },
    program("tests", 20, &["cargo", "nextest", "run", "--locked", "--workspace"]),
];

struct Outcome {
    name: &'static str,
    passed: bool,
    took: Duration,
    count: Count,
}

/// `names`: the steps to take; none means all.
pub fn run(root: &Path, names: &[&str]) -> Result<(), String> {
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("ci: no step `{unknown}`; there are {}", known.join(", ")));
    }
    let chosen = STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name));
    let outcomes: Vec<Outcome> = chosen.map(|step| take(root, step)).collect();
    println!("\n{}", table(&outcomes));
    let failed: Vec<&str> = outcomes.iter().filter(|o| !o.passed).map(|o| o.name).collect();
    let message = if failed.is_empty() { Ok(()) } else { Err(format!("ci: failed: {}", failed.join(", "))) };
    if let Err(message) = &message {
        println!("{message}");
    }
    // Programs read the last line of a run; so nothing comes after it.
    println!("{}", total(&outcomes));
    message.map_err(|_| String::new())
}

fn take(root: &Path, step: &Step) -> Outcome {
    println!("\n== {}", step.name);
    let start = Instant::now();
    let mut count = None;
    let result = match &step.work {
        Work::Here(check) => check(root),
        Work::Program { minutes_max, line, env } => run_program(root, *minutes_max, line, env, &mut count),
    };
    if let Err(message) = &result {
        println!("{message}");
    }
    let passed = result.is_ok();
    Outcome { name: step.name, passed, took: start.elapsed(), count: count::of_step(passed, count) }
}

/// Shows its output as it comes and keeps the last count of tests in it.
fn run_program(
    root: &Path,
    minutes_max: u32,
    line: &[&str],
    env: &[(&str, &str)],
    count: &mut Option<Count>,
) -> Result<(), String> {
    let limit = format!("{minutes_max}m");
    // In the foreground, so that an interrupt at the terminal reaches the program too.
    let bounded = [&["timeout", "--foreground", "--kill-after=20s", &limit], line].concat();
    let mut command = process::command(root, &bounded);
    command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("`{}`: {e}", line.join(" ")))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (from_out, from_err) = thread::scope(|scope| {
        let reader = scope.spawn(|| err.and_then(show));
        (out.and_then(show), reader.join().unwrap_or(None))
    });
    *count = from_err.or(from_out);
    let status = child.wait().map_err(|e| format!("`{}`: {e}", line.join(" ")))?;
    match status.code() {
        Some(0) => Ok(()),
        // What `timeout` ends with, by itself or by its kill.
        Some(124 | 137) => Err(format!("`{}` was ended after {minutes_max} minutes", line.join(" "))),
        _ => Err(format!("`{}` failed: {status}", line.join(" "))),
    }
}

fn show(output: impl Read) -> Option<Count> {
    let mut count = None;
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count = count::in_line(&line).or(count);
    }
    count
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!("{:<10} {:<6} {:>8} {:>7} {:>7}", "step", "result", "seconds", "passed", "failed");
    for Outcome { name, passed, took, count } in outcomes {
        let result = if *passed { "ok" } else { "FAILED" };
        let seconds = took.as_secs_f64();
        text.push_str(&format!("\n{name:<10} {result:<6} {seconds:>8.1} {:>7} {:>7}", count.passed, count.failed));
    }
    text
}

fn total(outcomes: &[Outcome]) -> Count {
    outcomes.iter().fold(Count { passed: 0, failed: 0 }, |sum, outcome| sum.plus(outcome.count))
}

#[cfg(test)]
mod tests {
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
        assert!(limits.sum::<u32>() <= MINUTES_MAX);
    }

    #[test]
    fn a_step_fails_when_its_program_does() {
        assert!(step(&["true"]).passed);
        assert!(!step(&["false"]).passed);
        assert!(!step(&["no-such-program"]).passed);
    }

    #[test]
    fn a_step_that_reports_tests_counts_them() {
        let outcome = step(&["sh", "-c", "echo; echo '3 passed, 0 failed' >&2"]);
        assert_eq!((outcome.count.passed, outcome.count.failed), (3, 0));
        let lying = step(&["sh", "-c", "echo '3 passed, 0 failed'; exit 1"]);
        assert_eq!((lying.count.passed, lying.count.failed), (3, 1));
    }

    #[test]
    fn the_last_line_adds_up() {
        let outcomes = [step(&["true"]), step(&["false"]), step(&["echo", "4 passed, 2 failed"])];
        assert_eq!(total(&outcomes).to_string(), "5 passed, 3 failed");
        assert_eq!(table(&outcomes).lines().count(), 4);
    }

    #[test]
    fn a_step_of_no_name_is_refused() {
        let refusal = run(&process::root().unwrap(), &["testz"]).unwrap_err();
        assert!(refusal.contains("no step `testz`") && refusal.contains("clippy"), "{refusal}");
    }
}
