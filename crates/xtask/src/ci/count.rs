//! How many tests passed and failed, read from what a step prints.
use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
}

impl Count {
    pub fn plus(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// A step counts its tests; one that has none, or failed before it counted, counts as one.
pub fn of_step(passed: bool, tests: Option<Count>) -> Count {
    match (passed, tests) {
        (true, Some(tests)) => tests,
        (true, None) => Count { passed: 1, failed: 0 },
        (false, tests) => {
            let Count { passed, failed } = tests.unwrap_or(Count { passed: 0, failed: 0 });
            Count { passed, failed: failed.max(1) }
        }
    }
}

/// Nextest's summary, `Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 0 skipped`, or
/// a line that is nothing but `7 passed, 2 failed`.
pub fn in_line(line: &str) -> Option<Count> {
    let line = line.trim();
    let list = if line.starts_with("Summary [") { line.split_once(" run: ")?.1 } else { line };
    let mut count = Count { passed: 0, failed: 0 };
    let mut has_passed = false;
    for part in list.split(", ") {
        // `(1 slow)`, or the rest of `(1 slow, 1 flaky)`.
        let part = part.split(" (").next().unwrap_or_default();
        let (number, word) = part.split_once(' ')?;
        let Ok(number) = number.parse::<u64>() else { return None };
        match word.trim_end_matches(')') {
            "passed" => {
                count.passed += number;
                has_passed = true;
            }
            "failed" | "timed out" | "exec failed" => count.failed += number,
            "skipped" | "slow" | "flaky" | "leaky" => {}
            _ => return None,
        }
    }
    has_passed.then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_summaries_only() {
        let read = |line| in_line(line).map(|count| (count.passed, count.failed));
        assert_eq!(read("     Summary [   0.1s] 12 tests run: 12 passed, 0 skipped"), Some((12, 0)));
        assert_eq!(
            read("     Summary [   9.1s] 9 tests run: 6 passed (1 slow, 1 leaky), 1 failed, 2 timed out, 3 skipped"),
            Some((6, 3))
        );
        assert_eq!(read("7 passed, 2 failed"), Some((7, 2)));
        assert_eq!(read("test result: ok. 7 passed; 0 failed"), None);
        assert_eq!(read("2 failed"), None);
        assert_eq!(read("then 7 passed, 2 failed"), None);
        assert_eq!(read(""), None);
    }
}
