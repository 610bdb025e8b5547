//! The canonical text of a plain command. It is made from the argv and its variables, so that a person never reads
//! words that are not the ones which run.
use crate::{Joint, Plain, Redirect, Simple, Stream, Variable, Word};

pub fn of(plain: &Plain) -> String {
    let mut out = String::new();
    for command in &plain.commands {
        out.push_str(match command.joint {
            Joint::First => "",
            Joint::Then => "; ",
            Joint::And => " && ",
            Joint::Or => " || ",
            Joint::Pipe => " | ",
        });
        simple(command, &mut out);
    }
    out
}

fn simple(command: &Simple, out: &mut String) {
    for Variable { name, value } in &command.variables {
        // No form of a value has room for what would need quotes.
        out.push_str(&format!("{name}={value} "));
    }
    for (at, word) in command.argv.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        push_word(word, out);
    }
    for redirect in &command.redirects {
        match redirect {
            Redirect::Input(path) => push_target(" < ", path, out),
            Redirect::Output { stream: Stream::Output, is_append: false, path } => push_target(" > ", path, out),
            Redirect::Output { stream: Stream::Output, is_append: true, path } => push_target(" >> ", path, out),
            Redirect::Output { stream: Stream::Errors, is_append: false, path } => push_target(" 2> ", path, out),
            Redirect::Output { stream: Stream::Errors, is_append: true, path } => push_target(" 2>> ", path, out),
            Redirect::ErrorsToOutput => out.push_str(" 2>&1"),
        }
    }
}

/// A word of no glob, as a shell would have to be given it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let mut out = String::new();
    push_quoted(word, &mut out);
    out
}

fn push_target(operator: &str, path: &str, out: &mut String) {
    out.push_str(operator);
    push_quoted(path, out);
}

fn push_word(word: &Word, out: &mut String) {
    if word.is_glob { out.push_str(&word.text) } else { push_quoted(&word.text, out) }
}

/// Within single quotes everything stands for itself but the quote.
fn push_quoted(text: &str, out: &mut String) {
    let is_safe = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | ',' | '+' | '@' | '%' | '=' | '^')
    };
    if !text.is_empty() && text.chars().all(is_safe) {
        out.push_str(text);
        return;
    }
    out.push('\'');
    for (at, part) in text.split('\'').enumerate() {
        if at > 0 {
            out.push_str("'\\''");
        }
        out.push_str(part);
    }
    out.push('\'');
}
