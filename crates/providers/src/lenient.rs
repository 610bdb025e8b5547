//! JSON as some servers write it: with bytes that are no UTF-8, and with halves of surrogate pairs
//! where a stream was cut inside a character. Both become U+FFFD; anything else that is no JSON
//! stays an error.

use serde::de::DeserializeOwned;

/// Reads what is JSON but for broken characters.
pub(crate) fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(json).or_else(|error| {
        let mended = mend(&String::from_utf8_lossy(json));
        // What is still wrong was wrong before; the first error names its true place.
        serde_json::from_str(&mended).map_err(|_| error)
    })
}

/// Replaces each escaped half of a surrogate pair whose other half is not beside it.
fn mend(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escape)) = rest.find('\\').and_then(|at| rest.split_at_checked(at)) {
        out.push_str(before);
        let taken = match (half(escape), escape.get(6..).and_then(half)) {
            (Some(Half::Leading), Some(Half::Trailing)) => 12,
            (Some(_), _) => {
                out.push_str("\\ufffd");
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            // A backslash and what it escapes, which may be a backslash.
            (None, _) => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (whole, after) = escape.split_at_checked(taken).unwrap_or((escape, ""));
        out.push_str(whole);
        rest = after;
    }
    out.push_str(rest);
    out
}

enum Half {
    Leading,
    Trailing,
}

/// Which half of a pair the `\uXXXX` at the start is, if it is one.
fn half(escape: &str) -> Option<Half> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xD800..0xDC00 => Some(Half::Leading),
        0xDC00..0xE000 => Some(Half::Trailing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(json: &str, text: &str) {
        assert_eq!(from_slice::<String>(json.as_bytes()).unwrap(), text, "{json}");
    }

    #[test]
    fn halves_of_characters_are_replaced_and_whole_ones_kept() {
        check(r#""a\ud83d\ude00b""#, "a😀b");
        check(r#""\ud83d""#, "\u{fffd}");
        check(r#""\uDE00x\uD83D""#, "\u{fffd}x\u{fffd}");
        check(r#""\ud83d\ud83d\ude00\n""#, "\u{fffd}😀\n");
        check(r#""\\ud83d\u00e4\ud83dé\"""#, "\\ud83dä\u{fffd}é\"");
        assert_eq!(from_slice::<String>(b"\"a\xffb\"").unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn what_is_no_json_stays_an_error_and_says_where() {
        for json in ["", "{", "\"\\ud83d", "\"\\", "\"\\u12", "\"\\x\""] {
            let error = from_slice::<String>(json.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), serde_json::from_str::<String>(json).unwrap_err().to_string());
        }
    }

    proptest! {
        #[test]
        fn json_is_left_as_it_is(text in "\\PC{0,20}|[\\\\ud8\"dc0é]{0,20}") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(mend(&json), json.clone());
            prop_assert_eq!(from_slice::<String>(json.as_bytes()).unwrap(), text);
        }

        #[test]
        fn any_bytes_are_survived(json in prop::collection::vec(prop::sample::select(b"\"\\ud8Dc0e\xff\xc3".to_vec()), 0..24)) {
            let _ = from_slice::<String>(&json);
        }
    }
}
