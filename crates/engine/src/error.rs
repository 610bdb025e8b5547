//! What can go wrong between a caller and a session.
use backstay_kernel::refusal::Refusal;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("there is no such session")]
    NoSession,
    #[error("too many messages; try again in {retry_after_s} s")]
    TooMany { retry_after_s: u64 },
    #[error("this idempotency key was used with another body")]
    KeyReused,
    #[error("Backstay is full: too many sessions are live")]
    Full,
    #[error("Backstay is shutting down")]
    Draining,
    /// The journal cannot be written now; nothing was done.
    #[error("the journal cannot be written: {0}")]
    Halted(String),
    #[error("the journal cannot be read: {0}")]
    Unreadable(String),
    /// A contradiction inside: a fault of Backstay that fails the session and not the process.
    #[error("internal contradiction: {0}")]
    Internal(String),
}
