//! Every check, one after the other, to the end: a run that stops at the first failure hides the second.
mod count;
#[cfg(test)]
mod tests;
mod torture;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::{arch, process, tidy};
use count::Count;
pub use torture::torture;

struct Step {
    name: &'static str,
    work: Work,
}

enum Work {
    /// Part of this program: seconds.
    Here(fn(&Path) -> Result<(), String>),
    /// Ended, and so failed, after `minutes_max`.
    Program { minutes_max: u32, line: &'static [&'static str] },
}

/// Quick ones first. The limits are several times what each takes on two cores from an empty target directory.
const STEPS: &[Step] = &[
    program("fmt", 1, &["cargo", "fmt", "--all", "--check"]),
    Step { name: "tidy", work: Work::Here(tidy::run) },
    Step { name: "arch", work: Work::Here(arch::run) },
    program("deny", 1, &["cargo", "deny", "--locked", "check", "bans", "licenses", "sources"]),
    program("clippy", 5, &["cargo", "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    program("doc", 2, &["env", "RUSTDOCFLAGS=-D warnings", "cargo", "doc", "--locked", "--workspace", "--no-deps"]),
    program("tests", 12, &["cargo", "nextest", "run", "--locked", "--workspace"]),
    // In a workspace of its own: its 150 crates take a minute from an empty target directory.
    program("oracle", 3, ORACLE),
    // In the profile of the tests, which optimises the kernel: no second build.
    program("explorer", 3, &["target/debug/explore"]),
    // The corpora of commands, run in the sandbox and beside it; a sample where commands work on copies.
    program("attacks", 6, &["target/debug/attacks", BACKSTAY, "--copies-too", "10"]),
    // Every point of every scenario, then runs that seeds draw.
    program("simulation", 3, &["target/debug/simulate", "200"]),
    // Samples; `cargo xtask torture` takes all points.
    program("kills", 3, &[KILLS, BACKSTAY, "cuts", "signal=SIGKILL", "500"]),
    program("bad disk", 2, &[KILLS, BACKSTAY, "cuts", "error=ENOSPC,error=EIO", "120"]),
    program("load", 1, &[KILLS, BACKSTAY, "load", "60"]),
    program("odd ones", 1, &[KILLS, BACKSTAY, "odd", "24"]),
];

const ORACLE: &[&str] =
    &["cargo", "nextest", "run", "--locked", "--manifest-path", "oracle/Cargo.toml", "--target-dir", "target/oracle"];
const BACKSTAY: &str = "target/debug/backstay";
/// Built with the tests; the crash kit of the real binary.
const KILLS: &str = "target/debug/kills";

const fn program(name: &'static str, minutes_max: u32, line: &'static [&'static str]) -> Step {
    Step { name, work: Work::Program { minutes_max, line } }
}

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
    all(root, chosen)
}

/// Takes them all, whatever becomes of them, and prints the table.
fn all<'s>(root: &Path, steps: impl Iterator<Item = &'s Step>) -> Result<(), String> {
    let outcomes: Vec<Outcome> = steps.map(|step| take(root, step)).collect();
    let untried = if outcomes.iter().any(|outcome| outcome.name == "tests") { untried(root)? } else { String::new() };
    // Programs read the last line of a run, so nothing comes after it, on either stream.
    println!("\n{}\n{untried}{}", table(&outcomes), total(&outcomes));
    if outcomes.iter().all(|outcome| outcome.passed) { Ok(()) } else { Err(String::new()) }
}

fn take(root: &Path, step: &Step) -> Outcome {
    println!("\n== {}", step.name);
    let start = Instant::now();
    let (result, count) = match step.work {
        Work::Here(check) => (check(root), None),
        Work::Program { minutes_max, line } => run_program(root, minutes_max, line),
    };
    let passed = result.map_err(|message| println!("{message}")).is_ok();
    Outcome { name: step.name, passed, took: start.elapsed(), count: Count::of_step(passed, count) }
}

/// Shows its output as it comes and keeps the last count of tests in it.
fn run_program(root: &Path, minutes_max: u32, line: &[&str]) -> (Result<(), String>, Option<Count>) {
    let limit = format!("{minutes_max}m");
    // In the foreground, so that an interrupt at the terminal reaches the program too.
    let bounded = [&["timeout", "--foreground", "--kill-after=20s", &limit], line].concat();
    let shown = line.join(" ");
    let mut command = process::command(root, &bounded);
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return (Err(format!("`{shown}`: {error}")), None),
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let count = thread::scope(|scope| {
        let reader = scope.spawn(|| err.and_then(show));
        let from_out = out.and_then(show);
        reader.join().unwrap_or(None).or(from_out)
    });
    let result = match child.wait() {
        Ok(status) if status.success() => Ok(()),
        // What `timeout` ends with when it had to end the program.
        Ok(status) if status.code() == Some(124) => Err(format!("`{shown}` was ended after {minutes_max} minutes")),
        Ok(status) => Err(format!("`{shown}` failed: {status}")),
        Err(error) => Err(format!("`{shown}`: {error}")),
    };
    (result, count)
}

fn show(output: impl Read) -> Option<Count> {
    let mut count = None;
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count = Count::in_line(&line).or(count);
    }
    count
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!("{:<10} {:<6} {:>8} {:>7} {:>7}", "step", "result", "seconds", "passed", "failed");
    for Outcome { name, passed, took, count } in outcomes {
        let (result, seconds) = (if *passed { "ok" } else { "FAILED" }, took.as_secs_f64());
        let _ = write!(text, "\n{name:<10} {result:<6} {seconds:>8.1} {:>7} {:>7}", count.passed, count.failed);
    }
    text
}

/// Says which of the tests that passed hold nothing here, a line of its own, where there are any.
fn untried(root: &Path) -> Result<String, String> {
    use std::os::unix::fs::MetadataExt as _;
    // Whose process this is.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if is_root {
        return Ok(String::new());
    }
    let count = tidy::tests_of_root(root)?;
    Ok(format!("{count} of the tests tried nothing: what commands do on copies, for one, is for root to try\n"))
}

fn total(outcomes: &[Outcome]) -> Count {
    let sum = |field: fn(&Count) -> u64| outcomes.iter().map(|outcome| field(&outcome.count)).sum();
    Count { passed: sum(|count| count.passed), failed: sum(|count| count.failed) }
}
