//! Signatures under what leaves for outside: Ed25519, by a key that HKDF makes of the operator's.
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::key::Key;

const SALT: &[u8] = b"backstay audit v1";
const INFO: &[&[u8]] = &[b"ed25519 seed"];
const SEED_BYTES: usize = 32;

struct Seed;

impl ring::hkdf::KeyType for Seed {
    fn len(&self) -> usize {
        SEED_BYTES
    }
}

/// Signs in the name of a home.
pub struct Signer(Ed25519KeyPair);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.public())
    }
}

impl Signer {
    /// The same for the same key. `None` where the system's cryptography fails.
    #[must_use]
    pub fn new(key: &Key) -> Option<Self> {
        let mut seed = Zeroizing::new([0u8; SEED_BYTES]);
        let prk = Salt::new(HKDF_SHA256, SALT).extract(key.bytes());
        prk.expand(INFO, Seed).ok()?.fill(&mut *seed).ok()?;
        Ed25519KeyPair::from_seed_unchecked(&*seed).ok().map(Self)
    }

    /// By which others verify, in hexadecimal.
    #[must_use]
    pub fn public(&self) -> String {
        hex(self.0.public_key().as_ref())
    }

    /// In hexadecimal.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> String {
        hex(self.0.sign(text).as_ref())
    }
}

/// Whether the holder of the key whose public half is `public` has signed this text.
#[must_use]
pub fn is_signed(public: &str, text: &[u8], signature: &str) -> bool {
    let (Some(public), Some(signature)) = (bytes(public), bytes(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, public).verify(text, &signature).is_ok()
}

/// In hexadecimal, as `sha256sum` prints it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of lower-case digits alone, so that one signature has one spelling.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|c| c.to_digit(16).filter(|_| !c.is_ascii_uppercase()))
        .map(|d| u8::try_from(d?).ok())
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn signer(of: &str) -> Signer {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        std::fs::write(&path, of.repeat(40)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Signer::new(&Key::read(&path).unwrap()).unwrap()
    }

    #[test]
    fn a_text_is_signed_by_its_signer_and_by_nobody_else() {
        let (one, other) = (signer("a"), signer("b"));
        let signature = one.sign(b"text");
        assert!(is_signed(&one.public(), b"text", &signature));
        assert_eq!(one.public(), signer("a").public());
        assert!(!is_signed(&other.public(), b"text", &signature));
        assert!(!is_signed(&one.public(), b"texts", &signature));
        for bad in ["", "0", "zz", &signature[2..], &signature.to_uppercase()] {
            assert!(!is_signed(&one.public(), b"text", bad), "{bad}");
        }
    }
}
