//! The key that seals the store, and where it comes from: never from the home that it protects.
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretSlice};
use zeroize::Zeroizing;

use crate::environment;
use crate::error::SecretError;
use crate::limits::{KEY_BYTES_MAX, KEY_BYTES_MIN};

/// The name of systemd's credential: `LoadCredential=` or `LoadCredentialEncrypted=`.
pub const CREDENTIAL: &str = "backstay-secrets-key";
/// The variable for machines that have nothing better; wiped once it is read.
pub const ENVIRONMENT_KEY: &str = "BACKSTAY_SECRETS_KEY";

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    Credential(PathBuf),
    File(PathBuf),
    Environment,
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(path) => write!(f, "systemd's credential {}", path.display()),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment => write!(f, "${ENVIRONMENT_KEY}"),
        }
    }
}

/// Without `Debug` or `Serialize` of its bytes; wiped when dropped.
#[derive(Clone)]
pub struct Key {
    bytes: SecretSlice<u8>,
    pub source: KeySource,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(from {})", self.source)
    }
}

impl Key {
    /// The first that is there: systemd's credential, the file that the config names, the environment.
    ///
    /// # Errors
    /// It is there and cannot be used; the next one is not tried then.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, SecretError> {
        let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        if let Some(path) = directory.map(|directory| directory.join(CREDENTIAL)).filter(|path| path.exists()) {
            // systemd grants the file to the service's user by an access list, whose mask looks like
            // the rights of a group.
            let bytes = read(&path, 0o007)?;
            return Self::new(bytes, KeySource::Credential(path)).map(Some);
        }
        if let Some(path) = file {
            return Self::read(path).map(Some);
        }
        let Some(value) = environment::take(ENVIRONMENT_KEY) else { return Ok(None) };
        let bytes = Zeroizing::new(value.expose_secret().as_bytes().to_vec());
        Self::new(bytes, KeySource::Environment).map(Some)
    }

    /// A key from a file that nobody but its owner may read.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        Self::new(read(path, 0o077)?, KeySource::File(path.to_owned()))
    }

    fn new(mut bytes: Zeroizing<Vec<u8>>, source: KeySource) -> Result<Self, SecretError> {
        // What an editor or a shell leaves at the end is not meant.
        while bytes.last().is_some_and(u8::is_ascii_whitespace) {
            bytes.pop();
        }
        if bytes.len() < KEY_BYTES_MIN {
            return Err(SecretError::BadKey { from: source.to_string() });
        }
        Ok(Self { bytes: SecretSlice::from(bytes.to_vec()), source })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.expose_secret()
    }
}

/// `shut`: bits of the mode that must not be set. What was opened is what is looked at.
fn read(path: &Path, shut: u32) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let file = File::open(path).map_err(SecretError::io(path))?;
    let found = file.metadata().map_err(SecretError::io(path))?;
    let owner = found.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(SecretError::Foreign { path: path.to_owned(), owner });
    }
    if found.mode() & shut != 0 {
        return Err(SecretError::Open { path: path.to_owned() });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(KEY_BYTES_MAX).unwrap_or(0)));
    file.take(KEY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(SecretError::io(path))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > KEY_BYTES_MAX) {
        return Err(SecretError::BadKey { from: path.display().to_string() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let content = "k".repeat(KEY_BYTES_MIN);
        for mode in [0o640, 0o604, 0o660, 0o622, 0o610] {
            let (_kept, path) = file(&content, mode);
            assert!(matches!(Key::find(Some(&path)), Err(SecretError::Open { .. })), "{mode:o}");
        }
        let (_kept, path) = file(&content, 0o600);
        assert_eq!(Key::find(Some(&path)).unwrap().unwrap().source, KeySource::File(path));
    }

    #[test]
    fn a_password_is_no_key() {
        for (content, good) in [("short\n", false), (&"k".repeat(KEY_BYTES_MIN), true), (&"k".repeat(5000), false)] {
            let (_kept, path) = file(content, 0o400);
            let found = Key::find(Some(&path));
            assert_eq!(found.is_ok(), good);
            assert!(good || matches!(found, Err(SecretError::BadKey { .. })));
        }
        let (_kept, path) = file(&format!("{}\n\n", "k".repeat(KEY_BYTES_MIN - 1)), 0o400);
        assert!(Key::find(Some(&path)).is_err(), "what an editor leaves at the end counts for nothing");
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let (_kept, path) = file(&"Canary-Key-".repeat(4), 0o600);
        assert!(!format!("{:?}", Key::find(Some(&path)).unwrap().unwrap()).contains("Canary"));
    }
}
