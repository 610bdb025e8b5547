//! Rules about one file at a time.
use super::Source;
use super::table::{CODES, EXCEPTIONS, Exception, FILE_LINES_MAX, INLINE_TEST_LINES_MAX, UNSAFE_UNDER, UNSAID};
use crate::code::code_only;

pub fn length(sources: &[Source]) -> Vec<String> {
    length_with(sources, EXCEPTIONS)
}

pub fn length_with(sources: &[Source], exceptions: &[Exception]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let lines = source.product().lines().count();
        let exception = exceptions.iter().find(|row| row.path == source.path);
        match exception {
            None if lines > FILE_LINES_MAX => {
                findings.push(format!("{}: {lines} lines without tests; at most {FILE_LINES_MAX}", source.path));
            }
            Some(row) if lines > row.lines => {
                findings
                    .push(format!("{}: grew from {} to {lines} lines; an exception only shrinks", row.path, row.lines));
            }
            Some(row) if lines < row.lines => {
                findings.push(format!("{}: has {lines} lines; lower its row ({}), or drop it", row.path, row.lines));
            }
            None | Some(_) => {}
        }
        let inline = if source.is_test() { 0 } else { source.tests().lines().count() };
        if inline > INLINE_TEST_LINES_MAX {
            findings.push(format!(
                "{}: {inline} lines of tests; more than {INLINE_TEST_LINES_MAX} get their own file",
                source.path
            ));
        }
    }
    for row in exceptions {
        if row.reason.is_empty() || !sources.iter().any(|source| source.path == row.path) {
            findings.push(format!("{}: its exception has no file or no reason", row.path));
        }
    }
    findings
}

/// A file begins with why it exists.
pub fn opening(sources: &[Source]) -> Vec<String> {
    let silent = sources.iter().filter(|source| source.is_rust() && !source.text.starts_with("//! "));
    silent.map(|source| format!("{}: does not begin with `//!` and why it exists", source.path)).collect()
}

/// Tests run, all of them, and wait for events rather than for time.
pub fn tests(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let code = code_only(source.tests());
        for (word, why) in [
            ("#[ignore", "a test that is not run proves nothing"),
            ("thread::sleep", "a test waits for an event, not for time"),
            ("time::sleep", "a test waits for an event, not for time"),
        ] {
            if code.contains(word) {
                findings.push(format!("{}: `{word}`: {why}", source.path));
            }
        }
    }
    findings
}

pub fn unfinished(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let code = code_only(&source.text);
        for word in ["todo!(", "unimplemented!("].into_iter().filter(|word| code.contains(word)) {
            findings.push(format!("{}: `{word}`", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            let comment = line.trim_start().strip_prefix("//").unwrap_or_default();
            if ["TODO", "FIXME", "XXX"].iter().any(|word| comment.contains(word)) && !comment.contains('#') {
                findings.push(format!(
                    "{}:{}: a comment that promises work names its issue (#123)",
                    source.path,
                    number + 1
                ));
            }
        }
    }
    findings
}

pub fn confined_unsafe(sources: &[Source]) -> Vec<String> {
    let elsewhere = sources.iter().filter(|source| source.is_rust() && !source.path.starts_with(UNSAFE_UNDER));
    let unsafe_ones = elsewhere.filter(|source| {
        let code = code_only(&source.text);
        code.contains("(unsafe_code)") || code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe")
    });
    unsafe_ones.map(|source| format!("{}: `unsafe` stands under {UNSAFE_UNDER} only", source.path)).collect()
}

pub fn machine(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for (head, tail) in UNSAID {
        let word = format!("{head}{tail}");
        for source in sources {
            for (number, line) in source.text.lines().enumerate().filter(|(_, line)| contains_whole(line, &word)) {
                findings.push(format!("{}:{}: says `{word}`: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    findings
}

/// A path counts only from its root: `/a/b/` does not stand in `/home/a/b/` for this purpose.
fn contains_whole(line: &str, word: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '}');
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        !word.starts_with('/') || !before.is_some_and(continues)
    })
}

/// Every code of a refusal has a page that says what it means and what to do.
pub fn error_pages(sources: &[Source]) -> Vec<String> {
    let Some(codes) = sources.iter().find(|source| source.path == CODES) else {
        return vec![format!("{CODES}: not found, so no error page was looked for")];
    };
    let mut findings = Vec::new();
    let arms = codes.product().lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""));
    let words: Vec<&str> = arms.filter_map(|(_, word)| word.split('"').next()).collect();
    if words.is_empty() {
        findings.push(format!("{CODES}: no code found in the match arms of `word`"));
    }
    for word in words {
        let page = format!("docs/errors/{word}.md");
        if !sources.iter().any(|source| source.path == page && !source.text.trim().is_empty()) {
            findings.push(format!("{CODES}: the code `{word}` has no page {page}"));
        }
    }
    findings
}
