//! Rules about one file at a time.
use super::Source;
use super::table::{
    ANSWERING, ANSWERS, CODES, EXCEPTIONS, Exception, FILE_LINES_MAX, INLINE_TEST_LINES_MAX, NOT_PRODUCT, UNSAFE,
    UNSAID, WAYS_OUT,
};
use crate::code::code_only;

pub fn length(sources: &[Source]) -> Vec<String> {
    length_with(sources, EXCEPTIONS)
}

pub fn length_with(sources: &[Source], exceptions: &[Exception]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let path = &source.path;
        let lines = source.product().lines().count();
        let row = exceptions.iter().find(|row| row.path == source.path);
        let max = row.map_or(FILE_LINES_MAX, |row| row.lines);
        if lines > max {
            findings.push(format!("{path}: {lines} lines without tests; at most {max}"));
        } else if row.is_some() && lines < max {
            findings.push(format!("{path}: down to {lines} lines; so is its row ({max}), or drop it"));
        }
        let inline = if source.is_test() { 0 } else { source.tests().lines().count() };
        if inline > INLINE_TEST_LINES_MAX {
            findings.push(format!("{path}: {inline} lines of tests; above {INLINE_TEST_LINES_MAX} in their own file"));
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

/// (word of code, whether it may stand in the product, why not where it does)
const WORDS: &[(&str, bool, &str)] = &[
    ("#[ignore", true, "a test that is not run proves nothing"),
    ("thread::sleep", true, "a test waits for an event, not for time"),
    ("time::sleep", true, "a test waits for an event, not for time"),
    ("todo!(", false, "what is missing is not there, or is an issue"),
    ("unimplemented!(", false, "what is missing is not there, or is an issue"),
    ("(unsafe_code)", false, "the lint against `unsafe` is lifted in the files of `UNSAFE` only"),
];

pub fn words(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()).filter(|source| !may_be_unsafe(source)) {
        let (all, tests) = (code_only(&source.text), code_only(source.tests()));
        let broken =
            WORDS.iter().filter(|(word, in_product, _)| (if *in_product { &tests } else { &all }).contains(word));
        findings.extend(broken.map(|(word, _, why)| format!("{}: `{word}`: {why}", source.path)));
    }
    findings
}

/// A name is looked up, and a connection opened, in one place: a second one would forget to check the address.
pub fn ways_out(sources: &[Source]) -> Vec<String> {
    const OPENS: [&str; 4] = ["TcpStream::connect", "UdpSocket", "to_socket_addrs", "lookup_host"];
    let is_free = |path: &str| WAYS_OUT.iter().chain(NOT_PRODUCT).any(|free| path.starts_with(free));
    let is_test = |path: &str| path.split('/').nth(2) == Some("tests");
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust() && !is_free(&source.path) && !is_test(&source.path)) {
        let code = code_only(source.product());
        let found = OPENS.iter().filter(|word| code.contains(*word));
        findings
            .extend(found.map(|word| format!("{}: `{word}`: requests go out by `crates/egress` alone", source.path)));
    }
    findings
}

fn may_be_unsafe(source: &Source) -> bool {
    UNSAFE.iter().any(|path| source.path.starts_with(path))
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

/// Every code that a command or a call may end with has a page that says what it means and what to do.
pub fn error_pages(sources: &[Source]) -> Vec<String> {
    CODES.iter().flat_map(|path| pages_of(sources, path)).collect()
}

fn pages_of(sources: &[Source], path: &str) -> Vec<String> {
    let Some(codes) = sources.iter().find(|source| source.path == path) else {
        return vec![format!("{path}: not found, so no error page was looked for")];
    };
    let mut findings = Vec::new();
    let arms = codes.product().lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""));
    let words: Vec<&str> = arms.filter_map(|(_, word)| word.split('"').next()).collect();
    if words.is_empty() {
        findings.push(format!("{path}: no code found in the match arms of `word`"));
    }
    for word in words {
        let page = format!("docs/errors/{word}.md");
        if !sources.iter().any(|source| source.path == page && !source.text.trim().is_empty()) {
            findings.push(format!("{path}: the code `{word}` has no page {page}"));
        }
    }
    findings
}

/// No error is made by hand, with a code of its own.
pub fn codes_by_hand(sources: &[Source]) -> Vec<String> {
    let answers = |source: &&Source| {
        let path = source.path.as_str();
        ANSWERING.iter().any(|under| path.starts_with(under)) && !ANSWERS.contains(&path)
    };
    let by_hand = sources.iter().filter(answers).filter(|source| source.product().contains("\"code\":"));
    let why = "an error has a code of `Why` or `Cause`, so that it has its page";
    by_hand.map(|source| format!("{}: `\"code\":`: {why}", source.path)).collect()
}
