//! What a server says in `WWW-Authenticate` of the token that it wants.
use backstay_egress::Answer;
use http::header::WWW_AUTHENTICATE;

use crate::limits::{SCOPE_BYTES_MAX, SCOPES_MAX};

/// Of the scheme `Bearer`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Challenge {
    pub resource_metadata: Option<String>,
    pub scope: Option<String>,
    pub error: Option<String>,
}

impl Challenge {
    #[must_use]
    pub fn of_answer(answer: &Answer) -> Option<Self> {
        let said = answer.headers.iter().filter(|(name, _)| *name == WWW_AUTHENTICATE.as_str());
        Self::of(said.map(|(_, value)| value.as_str()))
    }

    /// The first one of these headers that asks for a bearer's token.
    pub fn of<'h>(mut headers: impl Iterator<Item = &'h str>) -> Option<Self> {
        headers.find_map(read)
    }
}

/// Scopes that can be asked for, each once; what is none is left out.
#[must_use]
pub fn scopes(text: &str) -> Vec<String> {
    let is_one = |scope: &&str| {
        scope.len() <= SCOPE_BYTES_MAX && scope.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
    };
    let mut out: Vec<String> = Vec::new();
    for scope in text.split_ascii_whitespace().filter(is_one).take(SCOPES_MAX) {
        if !out.iter().any(|known| known == scope) {
            out.push(scope.to_owned());
        }
    }
    out
}

/// A header may hold several challenges, each a scheme with its parameters, all of them between commas.
fn read(header: &str) -> Option<Challenge> {
    let (mut found, mut is_bearer, mut rest) = (None, false, header);
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(end).filter(|(word, _)| !word.is_empty())?;
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let (value, behind) = value_of(value.trim_start())?;
            rest = behind;
            if is_bearer {
                keep(found.get_or_insert_default(), word, value);
            }
        } else {
            // Another scheme begins.
            if is_bearer {
                break;
            }
            is_bearer = word.eq_ignore_ascii_case("bearer");
            if is_bearer {
                found = Some(Challenge::default());
            }
            rest = after;
        }
        if rest.trim_start_matches([' ', '\t', ',']).is_empty() {
            break;
        }
    }
    found
}

fn keep(found: &mut Challenge, name: &str, value: String) {
    let place = match name.to_ascii_lowercase().as_str() {
        "resource_metadata" => &mut found.resource_metadata,
        "scope" => &mut found.scope,
        "error" => &mut found.error,
        _ => return,
    };
    place.get_or_insert(value);
}

/// A word, or a text in quotes; and what stands behind it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = text.split_at_checked(text.find([' ', '\t', ',']).unwrap_or(text.len()))?;
        return Some((word.to_owned(), rest));
    };
    let (mut out, mut is_escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !is_escaped => return Some((out, quoted.get(at + 1..)?)),
            '\\' if !is_escaped => is_escaped = true,
            _ => {
                is_escaped = false;
                out.push(c);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Option<(Option<String>, Option<String>, Option<String>)> {
        Challenge::of([header].into_iter()).map(|found| (found.resource_metadata, found.scope, found.error))
    }

    #[test]
    fn a_challenge_is_found_among_others_and_its_words_are_read_as_they_are_quoted() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of("Bearer error=\"invalid_token\", scope=\"a b\", resource_metadata=\"https://x/.well-known/y\""),
            Some((some("https://x/.well-known/y"), some("a b"), some("invalid_token")))
        );
        assert_eq!(of("Basic realm=\"a, Bearer scope=x\", bearer scope=y"), Some((None, some("y"), None)));
        assert_eq!(of("Negotiate, Bearer"), Some((None, None, None)));
        assert_eq!(of("Bearer scope=\"a\\\"b\", Basic error=\"c\""), Some((None, some("a\"b"), None)));
        assert_eq!(of("Bearer Scope = \"a\" , scope=\"b\""), Some((None, some("a"), None)));
        for none in ["", "Basic realm=\"x\"", "Basic scope=\"a\"", "Bearer scope=\"never closed", ",=,"] {
            assert_eq!(of(none), None, "{none}");
        }
        let two = ["Basic realm=\"x\"", "Bearer scope=\"a\""];
        assert_eq!(Challenge::of(two.into_iter()).unwrap().scope, some("a"));
    }

    #[test]
    fn what_is_no_scope_is_not_asked_for() {
        assert_eq!(scopes(" a:b  c a:b \u{e9} \"q\" back\\slash"), ["a:b", "c"]);
        assert_eq!(scopes(&"x".repeat(SCOPE_BYTES_MAX + 1)), [""; 0]);
        let many: String = (0..=SCOPES_MAX).map(|n| format!("s{n} ")).collect();
        assert_eq!(scopes(&many).len(), SCOPES_MAX);
    }
}
