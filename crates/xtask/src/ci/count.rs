//! How many tests passed and failed, read from what a step prints.
use std::fmt;

#[derive(Clone, Copy)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl Count {
    /// A step counts its tests; one that has none, or failed before it counted, counts as one.
    pub fn of_step(passed: bool, tests: Option<Self>) -> Self {
        match (passed, tests) {
            (true, Some(tests)) => tests,
            (true, None) => Self { passed: 1, failed: 0 },
            (false, Some(tests)) => Self { failed: tests.failed.max(1), ..tests },
            (false, None) => Self { passed: 0, failed: 1 },
        }
    }

    /// Nextest's summary, `Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 0 skipped`,
    /// or a line that is nothing but `7 passed, 2 failed`.
    pub fn in_line(line: &str) -> Option<Self> {
        let line = line.trim();
        let list = if line.starts_with("Summary [") { line.split_once(" run: ")?.1 } else { line };
        let mut passed = None;
        let mut failed = 0;
        for part in list.split(", ") {
            let (number, word) = part.split_once(' ')?;
            let number: u64 = number.parse().ok()?;
            // `7 passed (1 slow, 1 leaky)` comes in two parts.
            match word.split(" (").next()?.trim_end_matches(')') {
                "passed" => passed = Some(number),
                "failed" | "timed out" | "exec failed" => failed += number,
                "skipped" | "slow" | "flaky" | "leaky" => {}
                _ => return None,
            }
        }
        passed.map(|passed| Self { passed, failed })
    }
}
