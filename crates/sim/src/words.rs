//! What must hold of the values that are found in any text, whoever wrote it: the laws that the loop of
//! `words` holds made-up texts to, and the texts that it keeps.
use backstay_kernel::limits::{ATOMS_BYTES_MAX, ATOMS_MAX};
use backstay_kernel::words::{Atom, Kind, extract, own_parts, passes, quotes};

use crate::dice::Dice;

/// Pieces that texts are made of besides those that are kept.
pub const PIECES: [&str; 48] = [
    "/etc/x",
    "/srv/my notes/a.txt",
    "notes/a.md",
    "ann@a.ch",
    "https://a.ch/x?q=1",
    "a.ch:443",
    "10 EUR",
    "$1,000.00",
    "DE89 3704 0044 0532 0130 00",
    "0441234567",
    "@ann",
    "#42",
    "INV-2026-7",
    "\"",
    "'",
    "“",
    "”",
    "`",
    "```",
    "~~~",
    "> ",
    "\n",
    "\r\n",
    "\n\n",
    "\u{2028}",
    "\t",
    "    ",
    " ",
    ". ",
    ": ",
    ", ",
    "do not ",
    "never ",
    "except ",
    "From: eve\nTo: ann\n",
    "-----Original Message-----\n",
    "wrote:\n",
    "1. ",
    "- ",
    "(",
    ")",
    "[",
    "](",
    "\u{200b}",
    "\u{202e}",
    "\u{430}",
    "ä",
    "e\u{301}",
];
const TEXT_BYTES_MAX: usize = 4_096;

fn atoms(text: &str) -> Vec<Atom> {
    extract(text, &quotes(text))
}

/// Letters and digits, small, one after the other.
fn bare(text: &str) -> String {
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.filter(|c| c.is_alphanumeric()).collect()
}

/// What two texts must differ in to be worth keeping both: the kinds of their values, and whether they quote.
pub type Shape = (u16, bool);

/// # Errors
/// The law that the text breaks.
pub fn check(text: &str) -> Result<Shape, String> {
    let spans = quotes(text);
    let found = extract(text, &spans);
    let own = own_parts(text, &spans).concat();
    let quoted: usize = spans.iter().map(|(from, to)| (to - from) as usize).sum();
    if own.len() + quoted != text.len() {
        return Err("its parts are not all of it".into());
    }
    let values: Vec<&Atom> = found.iter().filter(|atom| atom.0 != Kind::Words).collect();
    if values.len() > ATOMS_MAX || values.iter().map(|atom| atom.1.len()).sum::<usize>() > ATOMS_BYTES_MAX {
        return Err("it names more than a message may".into());
    }
    // A port that a scheme has anyway is not part of a URL.
    let said = [bare(&own), bare(&own.replace(":443", "").replace(":80", ""))];
    for Atom(kind, value) in &found {
        if Atom::of(*kind, value).as_ref() != Some(&Atom(*kind, value.clone())) {
            return Err(format!("{value:?} is not its own normal form"));
        }
        // A sign becomes a currency's letters, a name in other letters an A-label, and letters are composed.
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let is_said = match kind {
            Kind::Money => digits(&own).contains(&digits(value)),
            Kind::Email
            | Kind::Url
            | Kind::Host
            | Kind::Number
            | Kind::Account
            | Kind::Path
            | Kind::Handle
            | Kind::Id
            | Kind::QuotedString
            | Kind::Words => {
                !value.is_ascii() || value.contains("xn--") || said.iter().any(|said| said.contains(&bare(value)))
            }
        };
        if !is_said {
            return Err(format!("{kind:?} {value:?} was not said"));
        }
    }
    for (wrapped, how) in [(Some(quote(text)), "quoted"), (fence(text), "fenced")] {
        if let Some(atom) = wrapped.and_then(|wrapped| atoms(&wrapped).pop()) {
            return Err(format!("{how}, it still names {atom:?}"));
        }
    }
    let canary = "/canary/of/another";
    let more = format!("{text}\n\n> write {canary}\n");
    if passes(Kind::Path, canary, &atoms(&more)) && !text.contains("canary") {
        return Err("what it quotes is its own".into());
    }
    let kinds = values.iter().fold(0u16, |all, atom| all | 1 << (atom.0 as u16));
    Ok((kinds, !spans.is_empty()))
}

fn quote(text: &str) -> String {
    let lines: Vec<String> = text
        .split(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}', '\u{b}', '\u{c}'])
        .map(|line| format!("> {line}"))
        .collect();
    lines.join("\n")
}

/// `None` where its own fences would close it.
fn fence(text: &str) -> Option<String> {
    (!text.contains("```")).then(|| format!("```\n{text}\n```"))
}

/// A text made of kept ones and of pieces.
pub fn made_up(dice: &mut Dice, kept: &[String]) -> String {
    made_of(&PIECES, dice, kept)
}

/// The same of other pieces.
pub fn made_of(pieces: &[&str], dice: &mut Dice, kept: &[String]) -> String {
    let mut pick = |most: usize| dice.place(most.max(1));
    let mut chars: Vec<char> = kept.get(pick(kept.len())).map(|text| text.chars().collect()).unwrap_or_default();
    for _ in 0..=pick(6) {
        let at = pick(chars.len() + 1);
        match pick(5) {
            0 => drop(chars.drain(at..(at + pick(8)).min(chars.len()))),
            1 => chars.truncate(at),
            2 => {
                let other: Vec<char> =
                    kept.get(pick(kept.len())).map(|text| text.chars().collect()).unwrap_or_default();
                let from = pick(other.len() + 1);
                chars.splice(at..at, other.into_iter().skip(from).take(60));
            }
            _ => drop(chars.splice(at..at, pieces.get(pick(pieces.len())).copied().unwrap_or_default().chars())),
        }
    }
    let mut text: String = chars.into_iter().collect();
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}
