//! Names of things: sessions, effects, turns, digests, bodies.
use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};

/// Milliseconds since the Unix epoch, as the engine's one clock gave them.
pub type Millis = u64;

/// A drawn number that tells one run of the process from every other; 53 bits, so that it is an
/// exact JSON integer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boot(pub u64);

/// A record's place in its session's journal, counted from 1; 0 is "before the first".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// An effect is named by the seq of its `planned` record, a turn by that of the message that
/// began it: so a message knows its turn before the turn begins.
pub type EffectId = Seq;
pub type TurnId = Seq;

/// Eighty random bits, written as sixteen characters of base 32. All zero names the home's stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SessionId(pub [u8; 10]);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl SessionId {
    /// The stream of the home itself: config epochs, tokens, switches.
    pub const HOME: Self = Self([0; 10]);

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 16 {
            return None;
        }
        let mut id = [0u8; 10];
        for (half, chunk) in id.chunks_mut(5).zip(bytes.chunks(8)) {
            let mut bits: u64 = 0;
            for character in chunk {
                let digit = ALPHABET.iter().position(|a| a == character)?;
                bits = (bits << 5) | u64::try_from(digit).ok()?;
            }
            half.copy_from_slice(bits.to_be_bytes().get(3..)?);
        }
        Some(Self(id))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for half in self.0.chunks(5) {
            let bits = half.iter().fold(0u64, |bits, byte| (bits << 8) | u64::from(*byte));
            for place in (0..8).rev() {
                let digit = usize::try_from((bits >> (place * 5)) & 31).unwrap_or(0);
                let character = ALPHABET.get(digit).copied().unwrap_or(b'0');
                write!(f, "{}", char::from(character))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a session id"))
    }
}

/// A place in a session as the outside names it: `SESSION.SEQ`, for turns, effects and approvals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Place {
    pub session: SessionId,
    pub seq: Seq,
}

impl Place {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (session, seq) = text.split_once('.')?;
        let plain = !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit());
        let seq = plain.then(|| seq.parse().ok())??;
        Some(Self { session: SessionId::parse(session)?, seq: Seq(seq) })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.session, self.seq.0)
    }
}

/// SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes `parts` under a `domain`, each part preceded by its length, so that no two different
    /// lists of parts ever hash the same bytes.
    #[must_use]
    pub fn of(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in core::iter::once(&domain.as_bytes()).chain(parts) {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            hash.update(length.to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return None;
        }
        let mut out = [0u8; 32];
        for (byte, pair) in out.iter_mut().zip(bytes.chunks(2)) {
            for digit in pair {
                *byte = (*byte << 4) | hex_value(*digit)?;
            }
        }
        Some(Self(out))
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a SHA-256 in hexadecimal"))
    }
}

/// Where a free text or an outside identifier lies. Records hold these and never the text, so that
/// a body can be erased while the chain still verifies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyRef {
    /// The body's number in the home.
    pub id: u64,
    /// SHA-256(salt ‖ bytes).
    pub digest: Digest,
    /// Length of the plain bytes.
    pub bytes: u32,
}

/// First eight bytes of HMAC-SHA-256(the session's key, canonical bytes), computed outside the
/// kernel: equal keys mean an equal call or an equal result, and nothing more can be learnt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RepeatKey(pub [u8; 8]);

impl Serialize for RepeatKey {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&format_args!("{:016x}", u64::from_be_bytes(self.0)))
    }
}

impl<'de> Deserialize<'de> for RepeatKey {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let plain = text.len() == 16 && text.bytes().all(|b| hex_value(b).is_some());
        let value = plain.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        value.map(|v| Self(v.to_be_bytes())).ok_or_else(|| D::Error::custom("not a repeat key"))
    }
}
