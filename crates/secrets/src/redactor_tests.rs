//! No form of a value survives, nothing else is changed, and how a text is cut is of no account.
use proptest::prelude::*;

use super::*;

fn watched(name: &str, value: &str) -> Watched {
    Watched { name: name.into(), version: "0123abcd".into(), value: SecretString::from(value) }
}

fn redactor(values: &[&str]) -> Arc<Redactor> {
    let watched: Vec<Watched> =
        values.iter().zip("abcdefgh".chars()).map(|(value, name)| watched(&name.to_string(), value)).collect();
    Arc::new(Redactor::new(&watched))
}

/// The pieces between the cuts, as they come out, and what comes at the end.
fn streamed(redactor: &Arc<Redactor>, text: &str, cuts: &[usize]) -> (Vec<String>, String, Taken) {
    let mut stream = redactor.stream();
    let (mut out, mut at) = (Vec::new(), 0);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut % (text.len() + 1))).collect();
    cuts.sort_unstable();
    for cut in cuts.into_iter().chain([text.len()]) {
        out.push(stream.push(&text[at..cut]));
        at = cut;
    }
    let end = stream.finish();
    (out, end, stream.taken)
}

/// Marks, by the names in them; no text that is made here holds one by itself.
fn marks(text: &str) -> Taken {
    let names = text.split("[secret:").skip(1).map(|rest| rest.split('#').next().unwrap().to_owned());
    names.fold(Taken::new(), |mut all, name| {
        *all.entry(name).or_default() += 1;
        all
    })
}

/// The slow and plain way: at each place the longest form, from the left.
fn plainly(values: &[&str], text: &str) -> String {
    let all: Vec<(String, char)> = values
        .iter()
        .zip("abcdefgh".chars())
        .flat_map(|(value, name)| forms(value).into_iter().map(move |form| (form, name)))
        .collect();
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let mut longest: Option<&(String, char)> = None;
        for form in all.iter().filter(|(form, _)| rest.starts_with(form.as_str())) {
            if longest.is_none_or(|longest| form.0.len() > longest.0.len()) {
                longest = Some(form);
            }
        }
        let taken = match longest {
            Some((form, name)) => {
                out.push_str(&format!("[secret:{name}#0123]"));
                form.len()
            }
            None => {
                out.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// Values of few letters, so that they overlap and begin like each other.
const VALUE: &str = "[ab\"/ü]{8,12}";

/// Texts of values, of their forms, of parts of them, and of what lies between.
fn mixed(values: Vec<String>) -> impl Strategy<Value = (Vec<String>, String)> {
    let all: Vec<String> = values.iter().flat_map(|value| forms(value)).collect();
    let part = (0..all.len(), 0..40usize, 0..40usize, any::<bool>(), "[ab\"/ü%]{0,4}").prop_map(
        move |(at, from, length, whole, between)| {
            let form = &all[at];
            let from = form.floor_char_boundary(from.min(form.len()));
            let to = form.floor_char_boundary((from + length).min(form.len())).max(from);
            if whole { form.clone() + &between } else { form[from..to].to_owned() + &between }
        },
    );
    (Just(values), proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat()))
}

proptest! {
    #[test]
    fn any_cut_gives_what_the_slow_and_plain_way_gives(
        (values, text) in proptest::collection::vec(VALUE, 1..4).prop_flat_map(mixed),
        cuts in proptest::collection::vec(0..400usize, 0..12),
    ) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let redactor = redactor(&values);
        let plain = plainly(&values, &text);
        let mut taken = Taken::new();
        prop_assert_eq!(redactor.clean(&text, &mut taken), plain.as_str());
        prop_assert_eq!(&taken, &marks(&plain));
        let (pieces, end, taken) = streamed(&redactor, &text, &cuts);
        prop_assert_eq!(taken, marks(&plain));
        prop_assert_eq!(pieces.concat() + &end, plain);
    }

    #[test]
    fn what_holds_no_value_comes_out_as_it_went_in(text in ".{0,200}", cuts in proptest::collection::vec(0..400usize, 0..6)) {
        let redactor = redactor(&["Canary-Value-0123456789"]);
        prop_assert!(matches!(redactor.clean(&text, &mut Taken::new()), Cow::Borrowed(_)));
        let (pieces, end, taken) = streamed(&redactor, &text, &cuts);
        prop_assert_eq!((pieces.concat() + &end, taken), (text, Taken::new()));
    }

    /// After each piece, only an end that a form begins with is held.
    #[test]
    fn nothing_is_held_longer_than_it_must_be(
        (values, text) in proptest::collection::vec(VALUE, 1..3).prop_flat_map(mixed),
    ) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let redactor = redactor(&values);
        let all: Vec<String> = values.iter().flat_map(|value| forms(value)).collect();
        let mut stream = redactor.stream();
        for c in text.chars() {
            stream.push(&c.to_string());
            let held = std::str::from_utf8(&stream.held).unwrap();
            prop_assert!(held.is_empty() || all.iter().any(|form| form.len() > held.len() && form.starts_with(held)), "{held}");
        }
    }

    #[test]
    fn no_form_survives_whatever_stands_around_it(value in "[ -~]{8,60}", before in "[ -~]{0,5}", after in "[ -~]{0,5}") {
        let redactor = redactor(&[&value]);
        let around = |text: &str| format!("{before}{text}{after}");
        for form in forms(&value) {
            let cleaned = redactor.clean(&around(&form), &mut Taken::new()).into_owned();
            prop_assert!(!cleaned.contains(&form) || around("[secret:a#0123]").contains(&form), "{form}: {cleaned}");
        }
    }
}

/// Forms that other programs make, written down here and not computed by the code under test.
#[test]
fn the_forms_are_those_that_programs_make() {
    let redactor = redactor(&["p@ss/w\"ord+é"]);
    for text in [
        "p@ss/w\"ord+é",
        // printf 'p@ss/w"ord+é' | base64, and after one and two bytes more before it
        "cEBzcy93Im9yZCvDqQ==",
        "eHBAc3MvdyJvcmQrw6k=",
        "eHhwQHNzL3cib3JkK8Op",
        "cEBzcy93Im9yZCvDqQ",
        "704073732f77226f72642bc3a9",
        "704073732F77226F72642BC3A9",
        "p%40ss%2Fw%22ord%2B%C3%A9",
        "p%40ss%2fw%22ord%2b%c3%a9",
        "p@ss/w%22ord+%C3%A9",
        "p@ss/w\\\"ord+é",
        "p@ss/w\\\"ord+\\u00e9",
        "p@ss\\/w\\\"ord+\\u00e9",
        "é+dro\"w/ss@p",
        "==QqDvCZy9mI39yczBEc",
        "P@SS/W\"ORD+É",
    ] {
        let cleaned = redactor.clean(text, &mut Taken::new());
        let left = cleaned.replace("[secret:a#0123]", "");
        // Of an encoding that begins elsewhere, the letters that hold bits of something else stay.
        assert!(cleaned.contains("[secret:a#0123]") && left.len() <= 3, "{text}: {cleaned}");
    }
}

#[test]
fn short_values_are_not_looked_for() {
    let redactor = redactor(&["1234567"]);
    assert_eq!(redactor.clean("1234567 12345678", &mut Taken::new()), "1234567 12345678");
}

#[test]
fn two_names_of_one_value_are_the_first() {
    assert_eq!(
        redactor(&["a value of two", "a value of two"]).clean("x a value of two", &mut Taken::new()),
        "x [secret:a#0123]"
    );
}

#[test]
fn a_key_of_many_lines_is_found() {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC".repeat(50);
    let key = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----");
    let redactor = redactor(&[&key]);
    for text in [key.clone(), key.replace('\n', "\r\n"), key.replace('\n', "\\n")] {
        assert_eq!(redactor.clean(&format!("a {text} b"), &mut Taken::new()), "a [secret:a#0123] b");
    }
}
