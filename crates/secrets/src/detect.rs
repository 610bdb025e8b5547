//! What looks like a credential that nobody has told us of. A hit changes no text and stops nothing: it says
//! that the text is secret, so that whoever has read it asks before it sends anything out.
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexSet};

use crate::rules::RULES;

/// One kind of credential.
#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    pub pattern: &'static str,
    /// Texts that it finds, each made up.
    #[cfg(test)]
    finds: &'static [&'static str],
    /// Texts that look like it and are none.
    #[cfg(test)]
    leaves: &'static [&'static str],
}

impl Rule {
    /// The examples are tested, and no part of the program.
    pub const fn new(
        name: &'static str,
        pattern: &'static str,
        finds: &'static [&'static str],
        leaves: &'static [&'static str],
    ) -> Self {
        #[cfg(not(test))]
        let _ = (finds, leaves);
        Self {
            name,
            pattern,
            #[cfg(test)]
            finds,
            #[cfg(test)]
            leaves,
        }
    }
}

/// A value that is assigned to something with a telling name.
const ASSIGNED: &str = r#"(?i-u)(?:api[_-]?key|secret|token|passw(?:or)?d|pwd|credentials?|private[_-]?key)["']?[ \t]{0,4}[:=]{1,2}[ \t]{0,4}["']?([A-Za-z0-9+/_=.-]{20,200})"#;
/// Name of the rule that looks at assignments.
const ENTROPY: &str = "high-entropy";
/// Millibits a character: words and paths have fewer than 3,900, random letters and digits more than 4,100.
const MILLIBITS_MIN: u64 = 4_000;

struct Detector {
    known: RegexSet,
    assigned: Regex,
}

/// The first rule that finds something; `None` where nothing looks like a credential.
#[must_use]
pub fn detect(text: &[u8]) -> Option<&'static str> {
    let detector = detector()?;
    if let Some(at) = detector.known.matches(text).iter().next() {
        return RULES.get(at).map(|rule| rule.name);
    }
    let found = |captures: regex::bytes::Captures<'_>| captures.get(1).is_some_and(|value| is_random(value.as_bytes()));
    detector.assigned.captures_iter(text).any(found).then_some(ENTROPY)
}

/// Made when the first text comes; a test makes it too, so that a pattern that cannot be is found there.
fn detector() -> Option<&'static Detector> {
    static DETECTOR: OnceLock<Option<Detector>> = OnceLock::new();
    let made = || {
        let known = RegexSet::new(RULES.iter().map(|rule| rule.pattern)).ok()?;
        Some(Detector { known, assigned: Regex::new(ASSIGNED).ok()? })
    };
    DETECTOR.get_or_init(made).as_ref()
}

/// Digits and letters of both kinds without a pattern, and no mere number, digest or UUID.
fn is_random(value: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| value.iter().any(is);
    let is_digest = value.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && !is_digest && millibits(value) >= MILLIBITS_MIN
}

/// Shannon's entropy of the bytes, in thousandths of a bit per byte.
fn millibits(value: &[u8]) -> u64 {
    let mut counts = [0u32; 256];
    for byte in value {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    // n·log2(n) − Σ c·log2(c), by n.
    let weighed = |count: u32| u64::from(count) * log2_millibits(count);
    let all: u64 = counts.iter().filter(|count| **count > 0).map(|count| weighed(*count)).sum();
    weighed(length).saturating_sub(all) / u64::from(length.max(1))
}

/// The logarithm in thousandths, without floats: bit by bit, squaring the rest.
fn log2_millibits(number: u32) -> u64 {
    let whole = number.max(1).ilog2();
    let mut rest = u64::from(number.max(1)) << (30 - whole);
    let mut fraction = 0u64;
    for _ in 0..16 {
        rest = (rest * rest) >> 30;
        fraction <<= 1;
        if rest >= 2 << 30 {
            rest >>= 1;
            fraction |= 1;
        }
    }
    u64::from(whole) * 1000 + ((fraction * 1000) >> 16)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn every_rule_finds_its_examples_and_leaves_what_looks_like_them() {
        assert!(RULES.len() >= 30);
        for rule in RULES {
            let one = Regex::new(rule.pattern).unwrap();
            assert!(!rule.finds.is_empty() && !rule.leaves.is_empty(), "{}", rule.name);
            for text in rule.finds {
                assert!(one.is_match(text.as_bytes()), "{}: {text}", rule.name);
                assert_eq!(detect(format!("x = \"{text}\"\n").as_bytes()), Some(rule.name), "{text}");
            }
            for text in rule.leaves {
                assert_eq!(detect(text.as_bytes()), None, "{}: {text}", rule.name);
            }
        }
    }

    #[test]
    fn an_assigned_value_counts_when_it_is_random() {
        for text in [
            "API_KEY=q7Xv2LkP9zRt4WmB8nYc",
            "\"secret\": \"hG5+tT8/qLm2Zx9Kc4Vb7Np1\"",
            "password: 'u8Fq-3Kd_Zp0.Wx7Lm5Rt'",
        ] {
            assert_eq!(detect(text.as_bytes()), Some(ENTROPY), "{text}");
        }
        for text in [
            "token = \"aaaaaaaaaaaaaaaaaaaaaaaa\"",
            "secret = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b\"",
            "api_key: 550e8400-e29b-41d4-a716-446655440000",
            "password = os.environ.get(\"PASSWORD\")",
            "private_key = /etc/backstay/secrets.key.path",
            "sha512-q7Xv2LkP9zRt4WmB8nYcq7Xv2LkP9zRt4WmB8nYc",
        ] {
            assert_eq!(detect(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn entropy_is_what_it_is() {
        for (text, millibits_of) in [("aaaa", 0), ("abab", 1000), ("abcd", 2000), ("aab", 918), ("abcdefgh", 3000)] {
            let found = millibits(text.as_bytes());
            assert!(found.abs_diff(millibits_of) <= 1, "{text}: {found}");
        }
    }

    /// Numbers without a seed from outside: the same texts in every run.
    fn noise() -> impl Iterator<Item = u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        })
    }

    #[test]
    fn of_lock_files_digests_and_ids_none_is_taken_for_a_credential() {
        let mut texts = vec![
            include_str!("../../../Cargo.lock").to_owned(),
            include_str!("detect.rs").split("#[cfg(test)]").next().unwrap().to_owned(),
        ];
        let mut numbers = noise();
        let mut hex = |digits: usize| -> String {
            let all: String = numbers.by_ref().take(digits / 16 + 1).map(|number| format!("{number:016x}")).collect();
            all[..digits].to_owned()
        };
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for n in 0..2_000 {
            let digest = hex(128);
            let base64: String = digest
                .bytes()
                .zip(digest.bytes().skip(1))
                .map(|(a, b)| char::from(letters[usize::from(a ^ b.rotate_left(3)) % 64]))
                .take(86)
                .collect();
            let (uuid, sha) = (hex(32), hex(40));
            let mut text = String::new();
            writeln!(
                text,
                "      \"resolved\": \"https://r.test/package-{n}.tgz\",\n      \"integrity\": \"sha512-{base64}==\","
            )
            .unwrap();
            writeln!(text, "commit {sha}\n{} *package-{n}.tar.gz", hex(64)).unwrap();
            writeln!(
                text,
                "id: {}-{}-4{}-a{}-{}",
                &uuid[..8],
                &uuid[8..12],
                &uuid[12..15],
                &uuid[15..18],
                &uuid[18..30]
            )
            .unwrap();
            writeln!(text, "token: {sha}\netag = \"{}\"\nsk-{n} xox{n} AIza{n} eyJhbGciOiJub25lIn0", hex(32)).unwrap();
            texts.push(text);
        }
        let bytes: usize = texts.iter().map(String::len).sum();
        let taken: Vec<&str> = texts.iter().filter_map(|text| detect(text.as_bytes())).collect();
        assert!(bytes > 800_000 && taken.is_empty(), "{} of {bytes} bytes: {taken:?}", taken.len());
    }
}
