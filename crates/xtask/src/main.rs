//! The development tasks of this repository: `cargo xtask TASK`.

mod arch;
mod bench;
mod ci;
mod code;
mod process;
mod setup;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask TASK
  test               set up what the tests need, then every check (what CI runs)
  setup              install what the tests need, under .setup/ and with cargo and apt
  ci [STEP...]       every check, or the named ones
  torture            the crash tests with all their points: an hour and more
  tidy               the rules of the sources that no compiler holds
  arch               the crates' dependencies against the table in ARCHITECTURE.md
  bench [--full] [--json] [CASE...]
                     build the release and measure it beside a floor program
  bench agentdojo [--json] [--rows] [--benign] [--every N] [--open] [SUITE...]
                     replay AgentDojo's tasks and injections through the gate
  real-model [PORT]  serve a small real language model on loopback until SIGTERM";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    let task = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let result = process::root().and_then(|root| match (task, rest.as_slice()) {
        ("test", []) => setup::run(&root).and_then(|()| ci::run(&root, &[])),
        ("setup", []) => setup::run(&root),
        ("ci", steps) => ci::run(&root, steps),
        ("torture", []) => ci::torture(&root),
        ("tidy", []) => tidy::run(&root),
        ("arch", []) => arch::run(&root),
        ("bench", ["agentdojo", words @ ..]) => bench::agentdojo(&root, words),
        ("bench", words) => bench::run(&root, words),
        ("real-model", port) => setup::real_model(&root, port),
        _ => Err(USAGE.to_owned()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // What has been said already is not said again: the last line of `ci` is its count.
            if !message.is_empty() {
                eprintln!("{message}");
            }
            ExitCode::FAILURE
        }
    }
}
