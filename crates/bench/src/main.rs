//! Measures the release build of `backstay` from outside, beside a floor program in the same run.
//! `cargo xtask bench` builds both and runs this.
//!
//! Times are shown and compared, never judged: the machine may be busy. Counts (commits, flushes,
//! bytes, requests) are asserted, and a wrong one ends the program with 1.

mod cases;
mod client;
mod floor;
mod homes;
mod process;
mod report;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cases::{CASES, Scale};
use homes::Homes;
use report::Report;

pub type Fault = Box<dyn std::error::Error + Send + Sync>;
pub type Outcome<T> = Result<T, Fault>;

const USAGE: &str = "usage: cargo xtask bench [--full] [--json] [CASE...]";

fn main() -> ExitCode {
    // The sandbox that is measured starts this program again.
    if std::env::args_os().nth(1).is_some_and(|word| word == backstay_sandbox::ARGUMENT) {
        return backstay_sandbox::helper();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        ["floor", directory] => floor::serve(Path::new(directory)).map(|()| true),
        ["run", binary, directory, rest @ ..] => run(Path::new(binary), Path::new(directory), rest),
        _ => Err(USAGE.into()),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the named cases, or all; false where a count is wrong.
fn run(binary: &Path, directory: &Path, words: &[&str]) -> Outcome<bool> {
    let (options, names): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("--"));
    if let Some(unknown) = options.iter().find(|option| !["--full", "--json"].contains(option)) {
        return Err(format!("no option `{unknown}`\n{USAGE}").into());
    }
    if let Some(unknown) = names.iter().find(|name| !CASES.iter().any(|case| case.name == **name)) {
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        return Err(format!("no case `{unknown}`; there are {}", known.join(", ")).into());
    }
    let scale = if options.contains(&"--full") { Scale::FULL } else { Scale::USUAL };
    let homes = Homes::new(PathBuf::from(binary), directory.to_owned(), scale)?;
    let mut report = Report::default();
    for case in CASES.iter().filter(|case| names.is_empty() || names.contains(&case.name)) {
        eprintln!("{} …", case.name);
        (case.run)(&homes, &mut report).map_err(|fault| format!("{}: {fault}", case.name))?;
    }
    if options.contains(&"--json") {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(report.counts_hold())
}
