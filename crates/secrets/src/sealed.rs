//! The file of sealed secrets: ChaCha20-Poly1305 under a key that HKDF-SHA256 makes anew for every
//! writing, of the operator's key and a random salt. So no nonce is ever used twice, and the file says
//! nothing but its length.
//!
//! `magic ‖ salt (32) ‖ sealed`; inside, for each secret: name, version and value, each behind its
//! length (u32, little endian), then the time (u64).
use std::collections::BTreeMap;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

const MAGIC: &[u8] = b"backstay secrets v1\n";
const SALT_BYTES: usize = 32;
const INFO: &[&[u8]] = &[b"backstay secrets v1 seal"];

/// One secret as it is kept.
#[derive(Clone)]
pub struct Sealed {
    /// Drawn for each value, so that two values of one name can be told apart without a hash of either.
    pub version: String,
    /// Milliseconds since 1970.
    pub at: u64,
    pub value: SecretString,
}

pub type All = BTreeMap<String, Sealed>;

/// Why bytes do not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shut {
    /// No file of ours, or of a version that this program does not know.
    Foreign,
    /// Another key, or bytes that were changed.
    WrongKey,
}

/// `None` where the system gives no random bytes.
pub fn seal(key: &[u8], all: &All) -> Option<Vec<u8>> {
    let mut salt = [0u8; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).ok()?;
    let mut inside = Zeroizing::new(Vec::with_capacity(length(all)));
    for (name, secret) in all {
        for part in [name.as_str(), &secret.version, secret.value.expose_secret()] {
            inside.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
            inside.extend_from_slice(part.as_bytes());
        }
        inside.extend_from_slice(&secret.at.to_le_bytes());
    }
    let tag = cipher(key, &salt)?.seal_in_place_separate_tag(once(), Aad::from(MAGIC), &mut inside).ok()?;
    Some([MAGIC, &salt, &inside, tag.as_ref()].concat())
}

pub fn open(key: &[u8], file: &[u8]) -> Result<All, Shut> {
    let rest = file.strip_prefix(MAGIC).ok_or(Shut::Foreign)?;
    let (salt, sealed) = rest.split_at_checked(SALT_BYTES).ok_or(Shut::Foreign)?;
    let mut inside = Zeroizing::new(sealed.to_vec());
    let cipher = cipher(key, salt).ok_or(Shut::WrongKey)?;
    let plain = cipher.open_in_place(once(), Aad::from(MAGIC), &mut inside).map_err(|_| Shut::WrongKey)?;
    read(plain).ok_or(Shut::Foreign)
}

/// So that no part of a value stays behind where a buffer grew.
fn length(all: &All) -> usize {
    let of = |(name, secret): (&String, &Sealed)| {
        name.len() + secret.version.len() + secret.value.expose_secret().len() + 3 * size_of::<u32>() + size_of::<u64>()
    };
    all.iter().map(of).sum()
}

fn read(mut rest: &[u8]) -> Option<All> {
    let mut all = All::new();
    while !rest.is_empty() {
        let (name, version, value);
        (name, rest) = text(rest)?;
        (version, rest) = text(rest)?;
        (value, rest) = text(rest)?;
        let (at, after) = rest.split_first_chunk()?;
        rest = after;
        let secret =
            Sealed { version: version.to_owned(), at: u64::from_le_bytes(*at), value: SecretString::from(value) };
        all.insert(name.to_owned(), secret);
    }
    Some(all)
}

fn text(from: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = from.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn cipher(key: &[u8], salt: &[u8]) -> Option<LessSafeKey> {
    let prk = Salt::new(HKDF_SHA256, salt).extract(key);
    let okm = prk.expand(INFO, &CHACHA20_POLY1305).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(okm)))
}

/// The key is never used again.
fn once() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &[u8] = &[7; 32];

    fn one(name: &str, value: &str) -> All {
        let secret = Sealed { version: "0123abcd".to_owned(), at: 5, value: SecretString::from(value) };
        All::from([(name.to_owned(), secret)])
    }

    fn said(all: &All) -> Vec<(String, String, u64, String)> {
        let row = |(name, secret): (&String, &Sealed)| {
            (name.clone(), secret.version.clone(), secret.at, secret.value.expose_secret().to_owned())
        };
        all.iter().map(row).collect()
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_with_its_key_and_with_no_other(values in proptest::collection::btree_map("[a-z]{1,9}", ".{0,40}", 0..5)) {
            let all: All = values.iter().flat_map(|(name, value)| one(name, value)).collect();
            let file = seal(KEY, &all).unwrap();
            prop_assert_eq!(said(&open(KEY, &file).unwrap()), said(&all));
            prop_assert_eq!(open(&[8; 32], &file).err(), Some(Shut::WrongKey));
        }
    }

    #[test]
    fn every_byte_counts() {
        let file = seal(KEY, &one("crm", "a value that is secret")).unwrap();
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(open(KEY, &changed).is_err(), "byte {at}");
            assert!(open(KEY, &file[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn no_two_writings_are_alike_and_none_shows_a_name_or_a_value() {
        let all = one("crm", "a value that is secret");
        let (first, second) = (seal(KEY, &all).unwrap(), seal(KEY, &all).unwrap());
        assert_ne!(first[MAGIC.len()..], second[MAGIC.len()..]);
        for needle in [&b"crm"[..], b"value", b"0123abcd"] {
            assert!(!first.windows(needle.len()).any(|window| window == needle));
        }
    }
}
