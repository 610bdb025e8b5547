//! Why a secret cannot be kept or had. No text here holds a value.
use std::path::PathBuf;

use crate::limits::{KEY_BYTES_MAX, KEY_BYTES_MIN, SECRETS_MAX, VALUE_BYTES_MAX, VALUE_BYTES_MIN};

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{} may be read by others than its owner: chmod 600 {}", path.display(), path.display())]
    Open { path: PathBuf },
    #[error("{} belongs to user {owner}, neither to the user of this process nor to root", path.display())]
    Foreign { path: PathBuf, owner: u32 },
    #[error(
        "the key in {from} has fewer than {KEY_BYTES_MIN} or more than {KEY_BYTES_MAX} bytes: make one with `head -c 32 /dev/urandom | base64`"
    )]
    BadKey { from: String },
    #[error("{} is not a file of sealed secrets, or of a newer version", path.display())]
    NotSealed { path: PathBuf },
    #[error("{} does not open with the key from {from}: it is another key, or the file was changed", path.display())]
    WrongKey { path: PathBuf, from: String },
    #[error("there is no key to seal secrets with: set [home] secrets_key to a file outside of the home")]
    NoKey,
    #[error("the secrets of this home are not open here: {0}")]
    Shut(String),
    #[error("a secret has {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} bytes of UTF-8 without NUL")]
    BadValue,
    #[error("a home keeps {SECRETS_MAX} secrets at most")]
    TooMany,
    #[error("the system gives no random bytes")]
    NoRandom,
}

impl SecretError {
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Io { path: path.to_owned(), error }
    }
}
