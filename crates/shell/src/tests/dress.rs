//! Commands in another dress: the same to a shell, or the same in a chain or behind a wrapper. The program that runs
//! the corpora makes its sample with this file, too.

/// Draws a number below the bound that it is given.
pub type Draw<'a> = &'a mut dyn FnMut(usize) -> usize;

/// An attack as it might be dressed up: one or two of the changes below.
pub fn mutate(command: &str, draw: Draw<'_>) -> String {
    let mut text = command.to_owned();
    for _ in 0..=draw(2) {
        text = match draw(5) {
            0 => dress(&text, draw),
            1 => blanks(&text, draw),
            2 => chain(&text, draw),
            3 => abbreviate(&text, draw),
            _ => wrap(&text, draw),
        };
    }
    text
}

pub fn insert(text: &str, at: usize, what: &str) -> String {
    format!("{}{what}{}", &text[..at], &text[at..])
}

/// Where in the text stand words of letters, slashes and dashes, quotes or none around them; no number, which
/// may be a descriptor's.
fn words(text: &str) -> Vec<(usize, usize)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, is_part(c)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                let is_alone = matches!(c, ' ' | '\n') && (from == 0 || text[..from].ends_with([' ', '\n']));
                if is_alone && text[from..at].contains(|c: char| !c.is_ascii_digit()) {
                    found.push((from, at));
                }
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// Another dress for a word, and what bash takes off again.
pub fn dress(text: &str, draw: Draw<'_>) -> String {
    let words = words(text);
    if words.is_empty() {
        return format!(" {text}");
    }
    let (from, to) = words[draw(words.len())];
    let word = &text[from..to];
    let middle = word.len() / 2;
    let dressed = match draw(5) {
        0 => format!("'{word}'"),
        1 => format!("\"{word}\""),
        2 => insert(word, middle, "''"),
        3 => insert(word, middle, "\"\""),
        _ => insert(word, middle, "\\"),
    };
    format!("{}{dressed}{}", &text[..from], &text[to..])
}

pub fn blanks(text: &str, draw: Draw<'_>) -> String {
    let spaces: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).collect();
    if spaces.is_empty() {
        return format!("{text} ");
    }
    insert(text, spaces[draw(spaces.len())], ["  ", "\t", " \t "][draw(3)])
}

pub fn chain(text: &str, draw: Draw<'_>) -> String {
    match draw(6) {
        0 => format!("ls; {text}"),
        1 => format!("pwd && {text}"),
        2 => format!("echo start\n{text}"),
        3 => format!("{text}; ls"),
        4 => format!("{text} && pwd"),
        _ => format!("{text} | cat"),
    }
}

/// A long option without its last letter.
fn abbreviate(text: &str, draw: Draw<'_>) -> String {
    let long = words(text).into_iter().filter(|(from, to)| text[*from..*to].starts_with("--") && to - from > 4);
    let long: Vec<_> = long.collect();
    match long.get(draw(long.len())) {
        Some((_, to)) => format!("{}{}", &text[..to - 1], &text[*to..]),
        None => wrap(text, draw),
    }
}

fn wrap(text: &str, draw: Draw<'_>) -> String {
    const WRAPPERS: [&str; 7] = ["timeout 5 ", "nice ", "stdbuf -oL ", "env ", "command ", "xargs ", "nohup "];
    format!("{}{text}", WRAPPERS[draw(WRAPPERS.len())])
}
