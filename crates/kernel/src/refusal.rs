//! A correct "no": a stable code, a sentence for the user, the next step.
use alloc::string::String;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    /// What to do next: a command or a line of config, where there is one.
    pub next: String,
}

/// Every code has a page in the error reference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Code {
    UnknownAgent,
    UnknownPrincipal,
    NoSuchToken,
    NoSuchRoot,
    TokenShown,
    SessionStopped,
    HomeFrozen,
    QueueFull,
    NoSuchAsk,
    AskClosed,
    WrongDigest,
    NotAnApprover,
    WrongDoor,
    AlreadyApproved,
    NotEditable,
    BadArguments,
    NoSuchQuestion,
    NoSuchDoubt,
    NothingToStop,
    Stale,
    SecretExists,
    NoSuchSecret,
    OnlyOnce,
    NoSuchStanding,
}

impl Code {
    pub const ALL: [Self; 24] = [
        Self::UnknownAgent,
        Self::UnknownPrincipal,
        Self::NoSuchToken,
        Self::NoSuchRoot,
        Self::TokenShown,
        Self::SessionStopped,
        Self::HomeFrozen,
        Self::QueueFull,
        Self::NoSuchAsk,
        Self::AskClosed,
        Self::WrongDigest,
        Self::NotAnApprover,
        Self::WrongDoor,
        Self::AlreadyApproved,
        Self::NotEditable,
        Self::BadArguments,
        Self::NoSuchQuestion,
        Self::NoSuchDoubt,
        Self::NothingToStop,
        Self::Stale,
        Self::SecretExists,
        Self::NoSuchSecret,
        Self::OnlyOnce,
        Self::NoSuchStanding,
    ];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownAgent => "unknown_agent",
            Self::UnknownPrincipal => "unknown_principal",
            Self::NoSuchToken => "no_such_token",
            Self::NoSuchRoot => "no_such_root",
            Self::TokenShown => "token_shown",
            Self::SessionStopped => "session_stopped",
            Self::HomeFrozen => "home_frozen",
            Self::QueueFull => "queue_full",
            Self::NoSuchAsk => "no_such_approval",
            Self::AskClosed => "approval_closed",
            Self::WrongDigest => "wrong_digest",
            Self::NotAnApprover => "not_an_approver",
            Self::WrongDoor => "wrong_door",
            Self::AlreadyApproved => "already_approved",
            Self::NotEditable => "not_editable",
            Self::BadArguments => "bad_arguments",
            Self::NoSuchQuestion => "no_such_question",
            Self::NoSuchDoubt => "no_such_doubt",
            Self::NothingToStop => "nothing_to_stop",
            Self::Stale => "stale",
            Self::SecretExists => "secret_exists",
            Self::NoSuchSecret => "no_such_secret",
            Self::OnlyOnce => "only_once",
            Self::NoSuchStanding => "no_such_standing",
        }
    }
}

impl Refusal {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code, message: message.into(), next: next.into() }
    }
}
