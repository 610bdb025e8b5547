//! Holds every file to the rules that neither the compiler nor clippy knows. A rule is a function from the
//! files to sentences, so that its test can plant a file that breaks it.
mod proofs;
mod readers;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::code::split_tests;
use crate::process;

/// A file of the repository, or one that is about to be added to it.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.starts_with("crates/") && self.path.ends_with(".rs")
    }

    /// Everything in it is there for tests: a file or a directory named so.
    fn is_test(&self) -> bool {
        self.path.trim_end_matches(".rs").split('/').any(|part| part == "tests" || part.ends_with("_tests"))
    }

    /// The product's lines, without the tests.
    fn product(&self) -> &str {
        if self.is_test() { "" } else { split_tests(&self.text).0 }
    }

    fn tests(&self) -> &str {
        if self.is_test() { &self.text } else { split_tests(&self.text).1 }
    }
}

type Rule = fn(&[Source]) -> Vec<String>;

const RULES: &[Rule] = &[
    rules::length,
    rules::opening,
    rules::words,
    rules::ways_out,
    rules::machine,
    rules::error_pages,
    rules::codes_by_hand,
    readers::config_keys,
    readers::controls,
    proofs::named_tests,
];

pub fn run(root: &Path) -> Result<(), String> {
    let sources = load(root)?;
    let findings: Vec<String> = RULES.iter().flat_map(|rule| rule(&sources)).collect();
    process::report("tidy", &findings)
}

/// How many tests end before they have tried anything where nobody is root.
pub fn tests_of_root(root: &Path) -> Result<usize, String> {
    Ok(guarded(&load(root)?))
}

fn guarded(sources: &[Source]) -> usize {
    const GUARD: &str = "if !is_root() {\n        return;\n";
    let tests = sources.iter().filter(|source| source.is_rust()).map(Source::tests);
    tests.map(|tests| tests.matches(GUARD).count()).sum()
}

/// What git tracks, and what it would add. Files that are not UTF-8 hold no sources.
fn load(root: &Path) -> Result<Vec<Source>, String> {
    let list = process::read(root, &["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let mut sources = Vec::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        // A tracked file that is deleted and not yet committed is listed and not there.
        let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        sources.push(Source { path: path.to_owned(), text });
    }
    if sources.is_empty() { Err("tidy: git lists no file".to_owned()) } else { Ok(sources) }
}
