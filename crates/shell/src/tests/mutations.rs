//! Thousands of commands made from the corpora, by a fixed seed, and the laws that hold for all of them:
//! an attack in another dress is still no command that runs unseen, and a command that reads as plain has
//! the words that bash would give it.
use super::corpus::shows_a_path;
use super::dress::{blanks, chain, dress, insert, mutate};
use super::oracle::{can_be_asked, hold};
use super::rows::{attacks, benign};
use super::{argv, is_auto};
use crate::{Plain, Reading, read};

const SEED: u64 = 0x0b5e_55ed_5eed_0001;
const PER_ATTACK: usize = 9;
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

const UNSEEN: &[&str] =
    &["\u{200b}", "\u{a0}", "\u{202e}", "\r", "\u{e0041}", "\u{feff}", "\u{7f}", "\u{1b}", "\u{2003}"];

#[test]
fn an_attack_in_another_dress_never_runs_unseen() {
    let mut draw = Draw(SEED);
    let mut made = 0;
    for row in attacks() {
        for _ in 0..PER_ATTACK {
            let text = mutate(&row.command, &mut |bound| draw.below(bound));
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
    assert!(made >= 5_000, "{made}");
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
                    0 => dress(&text, &mut |bound| draw.below(bound)),
                    1 => chain(&blanks(&text, &mut |bound| draw.below(bound)), &mut |bound| draw.below(bound)),
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
                blanks(&dress(&row.command, &mut |bound| draw.below(bound)), &mut |bound| draw.below(bound))
            };
            if let Reading::Plain(after) = read(text.as_bytes()) {
                assert_eq!((argv(&before), before.class()), (argv(&after), after.class()), "{text}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 500, "{compared}");
}
