//! Pages that name the tests that hold something must name tests that exist: `crate::test`, in backticks.
use super::Source;
use super::table::PROOFS;

/// Every `crate::test` of the pages is a function among that crate's tests.
pub fn named_tests(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for path in PROOFS {
        let named = sources.iter().find(|source| source.path == *path).map_or(Vec::new(), |page| tests_in(&page.text));
        if named.is_empty() {
            findings.push(format!("{path}: not found, or names no test in a form that tidy knows"));
        }
        let missing = named.iter().filter(|(package, test)| !exists(sources, package, test));
        findings.extend(missing.map(|(package, test)| format!("{path}: there is no test `{package}::{test}`")));
    }
    findings
}

/// (crate, test) of each pair of backticks that holds such a name.
fn tests_in(page: &str) -> Vec<(&str, &str)> {
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let quoted = page.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|text| text.split_once("::"))
        .filter(|(package, test)| is_name(package) && is_name(test))
        .collect()
}

fn exists(sources: &[Source], package: &str, test: &str) -> bool {
    let (under, head) = (format!("crates/{package}/"), format!("fn {test}("));
    sources.iter().any(|source| source.path.starts_with(&under) && source.tests().contains(&head))
}
