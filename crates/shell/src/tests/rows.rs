//! The rows of the corpora. The program that runs them reads them with this file, too.

pub struct Row {
    pub group: String,
    pub expected: String,
    pub command: String,
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
