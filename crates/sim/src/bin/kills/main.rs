//! The crash kit of the real binary: it is killed, its disk fails and fills, two of it meet, its file
//! is damaged; somebody outside of it looks what has become of the work.
//!
//! Ends with `N passed, N failed`. Needs strace and, for the full disk, a mount namespace.
#![allow(clippy::panic, clippy::expect_used, clippy::indexing_slicing, reason = "a test program")]
mod cuts;
mod damage;
mod full;
mod house;
mod load;
mod meet;
mod outcome;
mod outward;
mod points;
mod random;
mod scenarios;
mod scoped;
mod served;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: kills BINARY LAYER
  cuts INJECTION,... [POINTS [SCENARIO]]   at its system calls, evenly spread; signal=SIGKILL, error=EIO, ...
  load KILLS [SEED]   at random moments, under load
  odd TIMES [SEED]    two processes on one home, damaged state files, a small disk that fills up";

/// The given one, or a fresh one; it is printed.
fn seed(word: Option<&&str>) -> u64 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| u64::from(now()))
}

/// What a layer has come to.
#[derive(Default)]
pub struct Tally {
    pub passed: usize,
    pub failures: Vec<String>,
}

impl Tally {
    fn note(&mut self, what: &str, held: Result<(), String>) {
        match held {
            Ok(()) => self.passed += 1,
            Err(why) => self.failures.push(format!("{what}: {why}")),
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: Option<&&str>| word.and_then(|word| word.parse::<usize>().ok());
    let tally = match words.as_slice() {
        [binary, "cuts", injection, rest @ ..] => {
            cuts::run(Path::new(binary), injection, number(rest.first()).unwrap_or(usize::MAX), rest.get(1).copied())
        }
        [binary, "load", kills, rest @ ..] => {
            load::run(Path::new(binary), number(Some(kills)).unwrap_or(1), seed(rest.first()))
        }
        [binary, "odd", times, rest @ ..] => {
            let (binary, times) = (Path::new(binary), number(Some(times)).unwrap_or(1));
            let mut tally = full::run(binary);
            tally.add(meet::run(binary, times));
            tally.add(damage::run(binary, times, seed(rest.first())));
            tally
        }
        [binary, "full-inside", place] => full::inside(Path::new(binary), Path::new(place)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    tally.failures.iter().for_each(|failure| println!("FAILED {failure}"));
    println!("{} passed, {} failed", tally.passed, tally.failures.len());
    if tally.failures.is_empty() && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
