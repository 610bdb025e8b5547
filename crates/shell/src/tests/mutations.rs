//! Thousands of commands made from the corpora, by a fixed seed, and the laws that hold for all of them:
//! an attack in another dress is still no command that runs unseen, and a command that reads as plain has
//! the words that bash would give it.
use super::corpus::{attacks, benign, shows_a_path};
use super::oracle::{can_be_asked, hold};
use super::{argv, is_auto};
use crate::{Plain, Reading, read};

const SEED: u64 = 0x0b5e_55ed_5eed_0001;
const PER_ATTACK: usize = 6;
const PER_BENIGN: usize = 16;

/// SplitMix64: the next state and the number drawn from it.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// A place between two characters.
    fn place(&mut self, text: &str) -> usize {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        places[self.below(places.len())]
    }
}

fn insert(text: &str, at: usize, what: &str) -> String {
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
fn dress(text: &str, draw: &mut Draw) -> String {
    let words = words(text);
    if words.is_empty() {
        return format!(" {text}");
    }
    let (from, to) = words[draw.below(words.len())];
    let word = &text[from..to];
    let middle = word.len() / 2;
    let dressed = match draw.below(5) {
        0 => format!("'{word}'"),
        1 => format!("\"{word}\""),
        2 => insert(word, middle, "''"),
        3 => insert(word, middle, "\"\""),
        _ => insert(word, middle, "\\"),
    };
    format!("{}{dressed}{}", &text[..from], &text[to..])
}

fn blanks(text: &str, draw: &mut Draw) -> String {
    let spaces: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).collect();
    if spaces.is_empty() {
        return format!("{text} ");
    }
    insert(text, spaces[draw.below(spaces.len())], draw.of(&["  ", "\t", " \t "]))
}

fn chain(text: &str, draw: &mut Draw) -> String {
    match draw.below(6) {
        0 => format!("ls; {text}"),
        1 => format!("pwd && {text}"),
        2 => format!("echo start\n{text}"),
        3 => format!("{text}; ls"),
        4 => format!("{text} && pwd"),
        _ => format!("{text} | cat"),
    }
}

/// A long option without its last letter.
fn abbreviate(text: &str, draw: &mut Draw) -> String {
    let long = words(text).into_iter().filter(|(from, to)| text[*from..*to].starts_with("--") && to - from > 4);
    let long: Vec<_> = long.collect();
    match long.get(draw.below(long.len())) {
        Some((_, to)) => format!("{}{}", &text[..to - 1], &text[*to..]),
        None => wrap(text, draw),
    }
}

fn wrap(text: &str, draw: &mut Draw) -> String {
    let wrapper = draw.of(&["timeout 5 ", "nice ", "stdbuf -oL ", "env ", "command ", "xargs ", "nohup "]);
    format!("{wrapper}{text}")
}

const UNSEEN: &[&str] =
    &["\u{200b}", "\u{a0}", "\u{202e}", "\r", "\u{e0041}", "\u{feff}", "\u{7f}", "\u{1b}", "\u{2003}"];

#[test]
fn an_attack_in_another_dress_never_runs_unseen() {
    let mut draw = Draw(SEED);
    let mut made = 0;
    for row in attacks() {
        for _ in 0..PER_ATTACK {
            let mut text = row.command.clone();
            for _ in 0..=draw.below(2) {
                text = match draw.below(5) {
                    0 => dress(&text, &mut draw),
                    1 => blanks(&text, &mut draw),
                    2 => chain(&text, &mut draw),
                    3 => abbreviate(&text, &mut draw),
                    _ => wrap(&text, &mut draw),
                };
            }
            let reading = read(text.as_bytes());
            let is_seen = matches!(&reading, Reading::Plain(plain) if shows_a_path(plain));
            assert!(!is_auto(&reading) || is_seen, "`{}` as `{text}`: {reading:?}", row.command);
            made += 1;
        }
        let at = draw.place(&row.command);
        let text = insert(&row.command, at, draw.of(UNSEEN));
        assert!(matches!(read(text.as_bytes()), Reading::Refused(_)), "{text:?}");
        made += 1;
    }
    assert!(made >= 4_000, "{made}");
}

/// What bash gives a meaning, and a few characters that it does not.
const MARKS: &[&str] = &[
    "$", "`", "\"", "'", "\\", "*", "?", "[", "]", "{", "}", "(", ")", "~", "!", "#", "&", "|", ";", "<", ">", "=",
    ":", ",", " ", "\t", "\n", "-", "@", "%", "^", "+", "é", "''", "\"\"", "\\ ", "\\\"", "\\\n", "$(", "&&", "||",
    "a",
];

#[test]
fn a_benign_command_that_stays_plain_has_the_words_of_bash() {
    let mut draw = Draw(SEED ^ 1);
    let mut made = 0;
    let mut plains: Vec<(String, Plain)> = Vec::new();
    for row in benign() {
        for round in 0..PER_BENIGN {
            let mut text = row.command.clone();
            for _ in 0..=draw.below(2) {
                text = match round % 4 {
                    0 => dress(&text, &mut draw),
                    1 => chain(&blanks(&text, &mut draw), &mut draw),
                    _ => {
                        let at = draw.place(&text);
                        insert(&text, at, draw.of(MARKS))
                    }
                };
            }
            made += 1;
            if let Reading::Plain(plain) = read(text.as_bytes())
                && can_be_asked(&plain)
            {
                plains.push((text, plain));
            }
        }
    }
    assert!(made >= 4_500 && plains.len() >= 1_000, "{} of {made} are plain", plains.len());
    hold(&plains);
}

#[test]
fn a_dress_changes_nothing_but_whether_it_is_plain() {
    let mut draw = Draw(SEED ^ 2);
    let mut compared = 0;
    for row in benign() {
        let Reading::Plain(before) = read(row.command.as_bytes()) else { continue };
        for _ in 0..4 {
            // Within quotes a blank is a part of the word.
            let is_quoted = row.command.contains(['\'', '"', '\\']);
            let text = if is_quoted {
                format!(" {} ", row.command)
            } else {
                blanks(&dress(&row.command, &mut draw), &mut draw)
            };
            if let Reading::Plain(after) = read(text.as_bytes()) {
                assert_eq!((argv(&before), before.class()), (argv(&after), after.class()), "{text}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 500, "{compared}");
}
