//! What a person typed: which parts are theirs, and which values they named.
use backstay_kernel::limits::{ATOM_BYTES_MAX, ATOMS_BYTES_MAX, ATOMS_MAX, OWN_PART_CHARS_MAX, QUOTES_MAX};
use backstay_kernel::words::{Atom, Kind, extract, own_parts, passes, quotes};
use proptest::prelude::*;

const ROWS: &str = include_str!("../data/atoms.tsv");

struct Row {
    text: String,
    kind: Kind,
    value: String,
    may: bool,
}

fn plain(escaped: &str) -> String {
    let mut out = String::new();
    let mut rest = escaped;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (c, len) = match after.as_bytes()[0] {
            b'n' => ('\n', 1),
            b'\\' => ('\\', 1),
            _ => {
                let end = after.find('}').unwrap();
                (char::from_u32(u32::from_str_radix(&after[2..end], 16).unwrap()).unwrap(), end + 1)
            }
        };
        out.push(c);
        rest = &after[len..];
    }
    out + rest
}

fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let [text, kind, value, may] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let kind = serde_json::from_str(&format!("\"{kind}\"")).unwrap();
        Row { text: plain(text), kind, value: plain(value), may: may == "yes" }
    };
    ROWS.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

fn atoms(text: &str) -> Vec<Atom> {
    extract(text, &quotes(text))
}

#[test]
fn a_value_passes_only_as_the_whole_of_what_was_named() {
    let rows = rows();
    assert!(rows.len() >= 120, "{}", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| passes(row.kind, &row.value, &atoms(&row.text)) != row.may)
        .map(|row| {
            format!("{:?} {:?} {:?} should be {}: {:?}", row.text, row.kind, row.value, row.may, atoms(&row.text))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What somebody makes of a value that was named.
fn changed(value: &str, how: u8, at: usize, with: char) -> String {
    let mut chars: Vec<char> = value.chars().collect();
    let at = at % (chars.len() + 1);
    match how % 6 {
        0 => chars.insert(at, with),
        1 => drop(chars.drain(at..)),
        2 => drop(chars.drain(..at)),
        3 if at < chars.len() => chars[at] = with,
        4 => {
            let by = at.min(chars.len());
            chars.rotate_left(by);
        }
        _ => chars.insert(at, ' '),
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_made_of_a_named_value_passes_only_where_it_is_the_same_value(
        row in any::<prop::sample::Index>(), how in any::<u8>(), at in 0usize..80,
        with in prop::sample::select("aZ0.,/@:-# \u{200b}\u{202e}\u{430}\u{301}\n".chars().collect::<Vec<_>>()),
    ) {
        let rows: Vec<Row> = rows().into_iter().filter(|row| row.may && row.kind != Kind::Words).collect();
        let row = row.get(&rows);
        let value = changed(&row.value, how, at, with);
        let atoms = atoms(&row.text);
        let same = |kind| Atom::of(kind, &value).is_some_and(|atom| atoms.contains(&atom));
        // Of a host that was named without a scheme.
        let bare = value.strip_prefix("https:").and_then(|bare| Atom::of(Kind::Url, bare));
        let is_same = same(row.kind)
            || (row.kind == Kind::Handle && same(Kind::QuotedString))
            || (row.kind == Kind::Url && bare.is_some_and(|bare| atoms.contains(&bare)));
        prop_assert_eq!(passes(row.kind, &value, &atoms), is_same, "{:?} from {:?}", value, row.value);
        // A normal form is its own: nothing passes twice by being written again.
        for atom in &atoms {
            prop_assert_eq!(Atom::of(atom.0, &atom.1), Some(atom.clone()));
        }
    }

    #[test]
    fn any_text_has_its_parts_and_its_atoms_within_the_limits(
        text in prop::collection::vec(prop::sample::select(vec![
            "> ", "```", "~~~", "\n", "\r", "From: a", "To: b", "wrote:", "/etc/x ", "1,000 EUR ", "\"", "'", "a@b.ch ",
            " ", "\t", "ä", "\u{200b}", "not ", "don't ", "https://a.ch/ ", "-", "1. ", "May ", "DE89 ", "`",
        ]), 0..60),
    ) {
        let text = text.concat();
        let quotes = quotes(&text);
        let mut from = 0;
        for (start, end) in &quotes {
            prop_assert!(from <= *start && start < end && text.is_char_boundary(*start as usize) && text.is_char_boundary(*end as usize));
            from = *end;
        }
        prop_assert!(from as usize <= text.len());
        let own: usize = own_parts(&text, &quotes).iter().map(|part| part.len()).sum();
        let quoted: usize = quotes.iter().map(|(start, end)| (end - start) as usize).sum();
        prop_assert_eq!(own + quoted, text.len());
        let atoms = extract(&text, &quotes);
        let stored = || atoms.iter().filter(|atom| atom.0 != Kind::Words);
        prop_assert!(stored().count() <= ATOMS_MAX);
        prop_assert!(stored().map(|atom| atom.1.len()).sum::<usize>() <= ATOMS_BYTES_MAX);
    }
}

#[test]
fn the_parts_of_a_text_are_told_apart() {
    let long = "a".repeat(OWN_PART_CHARS_MAX + 1);
    let fits = "ä".repeat(OWN_PART_CHARS_MAX);
    for (text, own) in [
        ("", ""),
        ("hello", "hello"),
        ("a\n\nb", "a\n\nb"),
        ("> a\nb\n\nc", "\nc"),
        ("a\n> b", "a\n"),
        ("a\r> b", "a\r"),
        ("a\u{2028}> b", "a\u{2028}"),
        ("  > b\n\nc", "\nc"),
        ("a\n```\nb\n```\nc", "a\nc"),
        ("a\n```sh\nb", "a\n"),
        ("a\n~~~\nb\n~~~\nc", "a\nc"),
        ("a ~~~ b", "a ~~~ b"),
        ("a\nrun ```x``` now\nb", "a\nb"),
        ("a\nsee ```x\ny\nz``` w\nb", "a\nb"),
        ("run `x` now", "run `x` now"),
        ("a\n    code\nb", "a\nb"),
        ("a\n\tcode\nb", "a\nb"),
        ("see this\nFrom: bob\nTo: ann\n\nbody", "see this\n"),
        ("see this\n**From:** bob\n**Sent:** now\nbody", "see this\n"),
        ("Subject: a task\ndo it", "Subject: a task\ndo it"),
        ("a\n```\nFrom: x\nTo: y\n```\nb", "a\nb"),
        ("> a\nFrom: x\nTo: y\n\nb", ""),
        ("fyi\n-----Original Message-----\nx", "fyi\n"),
        ("fyi\n---------- Forwarded message ---------\nx", "fyi\n"),
        ("fyi\nOn Monday Bob wrote:\nx\n\ny", "fyi\n"),
        (long.as_str(), ""),
        (fits.as_str(), fits.as_str()),
    ] {
        assert_eq!(own_parts(text, &quotes(text)).concat(), own, "{text:?}");
    }
    let two = format!("{}\n> q\n\n{}", &fits[2..], "b".repeat(OWN_PART_CHARS_MAX - 1));
    assert_eq!(own_parts(&two, &quotes(&two)).concat().chars().count(), 2 * OWN_PART_CHARS_MAX);
}

#[test]
fn a_part_is_the_more_quoted_the_longer_it_is() {
    let paste = format!("look:\n> x\n\n{}", "word ".repeat(OWN_PART_CHARS_MAX / 5 + 1));
    assert_eq!(own_parts(&paste, &quotes(&paste)), ["look:\n"]);
}

#[test]
fn who_quotes_too_often_quotes_all_that_follows() {
    let text = "> q\n\nmine\n".repeat(QUOTES_MAX + 2);
    let spans = quotes(&text);
    assert_eq!(spans.len(), QUOTES_MAX);
    assert_eq!(spans.last().unwrap().1 as usize, text.len());
    let fits = "> q\n\nmine\n".repeat(QUOTES_MAX - 1);
    assert_eq!(own_parts(&fits, &quotes(&fits)).last(), Some(&"\nmine\n"));
}

#[test]
fn a_message_gives_no_more_atoms_than_its_limits() {
    let stored = |text: &str| {
        let mut atoms = atoms(text);
        atoms.retain(|atom| atom.0 != Kind::Words);
        atoms
    };
    let many: String = (0..ATOMS_MAX + 10).map(|n| format!("/a/{n}\n")).collect();
    assert_eq!(stored(&many).len(), ATOMS_MAX);
    assert!(!passes(Kind::Path, &format!("/a/{}", ATOMS_MAX + 1), &atoms(&many)));
    let name = "x".repeat(ATOM_BYTES_MAX - 1);
    assert!(passes(Kind::Path, &format!("/{name}"), &atoms(&format!("write /{name}"))));
    assert!(!passes(Kind::Path, &format!("/{name}x"), &atoms(&format!("write /{name}x"))));
    let names: Vec<String> = (0..9).map(|n| format!("/{n}{}", "y".repeat(ATOM_BYTES_MAX - 2))).collect();
    let large = stored(&names.join("\n\n> q\n\n"));
    assert_eq!(large.len(), ATOMS_BYTES_MAX / ATOM_BYTES_MAX);
    let talk = "so many words. ".repeat(20);
    let parts: Vec<&str> = (0..30).map(|_| talk.as_str()).collect();
    let last = format!("{}\n\n> q\n\nwrite /srv/a.txt", parts.join("\n\n> q\n\n"));
    assert!(passes(Kind::Path, "/srv/a.txt", &atoms(&last)), "words take no room from values");
}

#[test]
fn spans_that_do_not_fit_their_text_leave_nothing_behind_them() {
    assert_eq!(own_parts("abc", &[(1, 9)]), ["a"]);
    assert!(own_parts("äb", &[(1, 2)]).is_empty());
}

#[test]
fn atoms_are_stored_as_pairs() {
    let stored = serde_json::to_string(&atoms("write /a/b")).unwrap();
    assert_eq!(stored, r#"[["path","/a/b"],["words","write /a/b"]]"#);
}
