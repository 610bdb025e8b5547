//! A model request as a list of fragments (I13).
//!
//! What is sent is bytes; what is stored is how to make the same bytes again: literal text and
//! references to bodies. A request names the request that it grew from and the fragments it keeps,
//! so that a turn stores its delta and not its history.
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::id::{BodyRef, Digest, EffectId};

/// A part of a fragment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    Text(String),
    /// The body's bytes as they are.
    Raw(BodyRef),
    /// The body's bytes as the inside of a JSON string, by [`escape`].
    Escaped(BodyRef),
}

/// The stored form of a request: [`Rope::kept`] fragments of `base`, then `added`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rope {
    pub base: Option<EffectId>,
    /// Ranges of the base's fragments, each `[from, to)`.
    pub kept: Vec<(u32, u32)>,
    pub added: Vec<Vec<Piece>>,
}

/// What the journal keeps of one request, in the effect's `started` record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The stored [`Rope`].
    pub rope: BodyRef,
    /// [`digest`] over the digests of the fragments.
    pub digest: Digest,
    pub bytes: u64,
    /// Bytes that the latest billed request of this session had too, from the start.
    pub bytes_unchanged: u64,
}

/// Digest of one fragment's wire bytes.
#[must_use]
pub fn fragment_digest(wire: &[u8]) -> Digest {
    Digest::of("backstay fragment v1", &[wire])
}

/// Digest of a request: over the digests of its fragments, so that it costs the delta.
#[must_use]
pub fn digest<'a>(fragments: impl Iterator<Item = &'a Digest>) -> Digest {
    let parts: Vec<&[u8]> = fragments.map(|d| d.0.as_slice()).collect();
    Digest::of("backstay request v1", &parts)
}

/// Writes `text` as the inside of a JSON string. This function is part of the stored format: it
/// never changes.
pub fn escape(text: &str, out: &mut String) {
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut rest = text;
    // What needs no escape is copied in one piece.
    while let Some((plain, tail)) = rest.bytes().position(is_special).and_then(|at| rest.split_at_checked(at)) {
        out.push_str(plain);
        let mut tail = tail.chars();
        tail.next().into_iter().for_each(|special| escape_one(special, out));
        rest = tail.as_str();
    }
    out.push_str(rest);
}

fn escape_one(special: char, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match special {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        control => {
            out.push_str("\\u00");
            for shift in [4, 0] {
                let digit = usize::try_from((u32::from(control) >> shift) & 15).unwrap_or(0);
                out.push(HEX.get(digit).copied().map_or('0', char::from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_text_is_these_bytes_for_ever() {
        let mut wire = String::new();
        escape("\"a\\\n\r\tb\u{1}\u{8}\u{c}\u{1f}\u{7f}/é\u{2028}😀", &mut wire);
        assert_eq!(wire, "\\\"a\\\\\\n\\r\\tb\\u0001\\u0008\\u000c\\u001f\u{7f}/é\u{2028}😀");
    }

    #[test]
    fn an_escaped_text_reads_back_as_itself() {
        let text: String = (0u8..128).map(char::from).chain("äß漢\u{2028}😀".chars()).collect();
        let mut wire = String::from("\"");
        escape(&text, &mut wire);
        wire.push('"');
        assert_eq!(serde_json::from_str::<String>(&wire).unwrap(), text);
    }
}
