//! How a home is opened, and why it is not: what everything that has a part in opening one says to whoever asked.
use backstay_engine::EngineError;
use backstay_store::StoreError;

use crate::config::Mistakes;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Config(#[from] Mistakes),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Setup(String),
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
}

impl OpenError {
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

/// Which keys a home is opened with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// Calls may be made: a provider's key that is missing is said before anything is.
    Needed,
    /// And whoever is to be told is: that key too.
    Served,
    /// Nothing is set going, so that whoever looks needs no secret.
    IfThere,
}
