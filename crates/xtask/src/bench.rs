//! Builds the release of the product and of the program that measures it, and runs the latter.
//! What is measured stands in `crates/bench`, how to read it in `docs/benchmarks.md`.
use std::path::Path;

use crate::{process, setup};

/// Alone, so that the product is not built with features that only the other one needs.
const PRODUCT: &[&str] = &["cargo", "build", "--release", "--locked", "-p", "backstay"];
const BENCH: &[&str] = &["cargo", "build", "--release", "--locked", "-p", "backstay-bench"];
/// Homes are made here, and the used one is kept.
const HOMES: &str = "target/bench";

/// Nothing is timed there, so the build of the tests will do.
const TESTED: &[&str] = &["cargo", "build", "--locked", "-p", "backstay"];

/// AgentDojo's tasks through the product's own API; `docs/agentdojo.md` says how to read what it prints.
pub fn agentdojo(root: &Path, words: &[&str]) -> Result<(), String> {
    let python = setup::agentdojo(root)?;
    process::run(root, TESTED)?;
    let mut line = vec![python, "tests/agentdojo/replay.py", "target/debug/backstay", "target/agentdojo"];
    line.extend(words);
    process::run(root, &line)
}

pub fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    process::run(root, PRODUCT)?;
    process::run(root, BENCH)?;
    let mut line = vec!["target/release/bench", "run", "target/release/backstay", HOMES];
    line.extend(words);
    process::run(root, &line)
}
