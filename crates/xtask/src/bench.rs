//! Builds the release of the product and of the program that measures it, and runs the latter.
//! What is measured stands in `crates/bench`, how to read it in `docs/benchmarks.md`.
use std::path::Path;

use crate::process;

/// Alone, so that the product is not built with features that only the other one needs.
const PRODUCT: &[&str] = &["cargo", "build", "--release", "--locked", "-p", "backstay"];
const BENCH: &[&str] = &["cargo", "build", "--release", "--locked", "-p", "backstay-bench"];
/// Homes are made here, and the used one is kept.
const HOMES: &str = "target/bench";

pub fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    process::run(root, PRODUCT)?;
    process::run(root, BENCH)?;
    let mut line = vec!["target/release/bench", "run", "target/release/backstay", HOMES];
    line.extend(words);
    process::run(root, &line)
}
