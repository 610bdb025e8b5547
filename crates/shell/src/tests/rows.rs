//! The rows of the corpora. The program that runs them reads them with this file, too.

pub struct Row {
    pub group: String,
    pub expected: String,
    pub command: String,
}

/// What is to become of a benign command, without a rule that says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// Run as its words stand, without a question.
    Auto,
    /// Run in the sandbox alone, with no more of the network than its call names, without a question.
    Sandboxed,
    /// A person's to decide, or held where it finds nothing of what it is after; never run by its words.
    Ask,
}

impl Outcome {
    /// By what a row says that its command is.
    pub fn of(expected: &str) -> Self {
        match expected {
            "read" | "write" => Self::Auto,
            "execute" | "opaque" => Self::Sandboxed,
            "ask" => Self::Ask,
            other => panic!("no benign command is `{other}`"),
        }
    }
}

pub fn rows(text: &str) -> Vec<Row> {
    let mut group = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            group = name.to_owned();
        } else if let Some((expected, command)) = line.split_once(' ').filter(|_| !line.starts_with('#')) {
            rows.push(Row { group: group.clone(), expected: expected.to_owned(), command: unescape(command) });
        }
    }
    rows
}

/// `⏎` is a newline, `<U+200B>` that character, `<x16384>` as many letters.
fn unescape(text: &str) -> String {
    let text = text.replace('⏎', "\n");
    let mut parts = text.split("<U+");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('>').expect("a code ends");
        let code = u32::from_str_radix(code, 16).expect("a number");
        out.push(char::from_u32(code).expect("a character"));
        out.push_str(rest);
    }
    match out.split_once("<x").and_then(|(head, rest)| Some((head, rest.split_once('>')?))) {
        Some((head, (count, tail))) if count.parse::<usize>().is_ok() => {
            format!("{head}{}{tail}", "x".repeat(count.parse().expect("a number")))
        }
        _ => out,
    }
}

pub fn benign() -> Vec<Row> {
    rows(include_str!("../../corpora/benign.txt"))
}

pub fn attacks() -> Vec<Row> {
    rows(include_str!("../../corpora/attacks.txt"))
}
