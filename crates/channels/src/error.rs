//! The one place where a refusal or a fault becomes an answer: status, code, words, next step.
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use backstay_engine::{EngineError, ImportError};
use backstay_kernel::refusal::{Code, Refusal};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use serde_json::json;

use crate::limits::RETRY_AFTER_S;

/// Why an answer is a no: stable words, each with a status and a page in the error reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The kernel's no.
    Refused(Code),
    Malformed,
    ConfigInvalid,
    ToolsUnsupported,
    NUnsupported,
    LogprobsUnsupported,
    ContentUnsupported,
    LastMessageNotUser,
    Unauthorized,
    Forbidden,
    WrongScope,
    ForeignHost,
    ForeignOrigin,
    NotFound,
    WrongMethod,
    TooSlow,
    KeyReused,
    Erased,
    TooLarge,
    TooManyFailures,
    TooManyMessages,
    TooManyConnections,
    Internal,
    Full,
    Draining,
    Halted,
    Unreadable,
    BackupFailed,
    NotEmpty,
    NotAnExport,
    SessionExists,
    /// Shown text of a stream was withdrawn.
    StreamReset,
    /// What only the command line asks, and is told.
    Query,
    Audit,
    Secrets,
    SecretsFailed,
    LoginFailed,
    ServerFailed,
    Store,
}

impl Why {
    /// All but the kernel's.
    pub const OWN: [Self; 38] = [
        Self::Malformed,
        Self::ConfigInvalid,
        Self::ToolsUnsupported,
        Self::NUnsupported,
        Self::LogprobsUnsupported,
        Self::ContentUnsupported,
        Self::LastMessageNotUser,
        Self::Unauthorized,
        Self::Forbidden,
        Self::WrongScope,
        Self::ForeignHost,
        Self::ForeignOrigin,
        Self::NotFound,
        Self::WrongMethod,
        Self::TooSlow,
        Self::KeyReused,
        Self::Erased,
        Self::TooLarge,
        Self::TooManyFailures,
        Self::TooManyMessages,
        Self::TooManyConnections,
        Self::Internal,
        Self::Full,
        Self::Draining,
        Self::Halted,
        Self::Unreadable,
        Self::BackupFailed,
        Self::NotEmpty,
        Self::NotAnExport,
        Self::SessionExists,
        Self::StreamReset,
        Self::Query,
        Self::Audit,
        Self::Secrets,
        Self::SecretsFailed,
        Self::LoginFailed,
        Self::ServerFailed,
        Self::Store,
    ];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused(code) => code.word(),
            Self::Malformed => "malformed",
            Self::ConfigInvalid => "config_invalid",
            Self::ToolsUnsupported => "tools_unsupported",
            Self::NUnsupported => "n_unsupported",
            Self::LogprobsUnsupported => "logprobs_unsupported",
            Self::ContentUnsupported => "content_unsupported",
            Self::LastMessageNotUser => "last_message_not_user",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::WrongScope => "wrong_scope",
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
            Self::NotFound => "not_found",
            Self::WrongMethod => "wrong_method",
            Self::TooSlow => "too_slow",
            Self::KeyReused => "key_reused",
            Self::Erased => "erased",
            Self::TooLarge => "too_large",
            Self::TooManyFailures => "too_many_failures",
            Self::TooManyMessages => "too_many_messages",
            Self::TooManyConnections => "too_many_connections",
            Self::Internal => "internal",
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Halted => "halted",
            Self::Unreadable => "unreadable",
            Self::BackupFailed => "backup_failed",
            Self::NotEmpty => "not_empty",
            Self::NotAnExport => "not_an_export",
            Self::SessionExists => "session_exists",
            Self::StreamReset => "stream_reset",
            Self::Query => "query",
            Self::Audit => "audit",
            Self::Secrets => "secrets",
            Self::SecretsFailed => "secrets_failed",
            Self::LoginFailed => "login_failed",
            Self::ServerFailed => "server_failed",
            Self::Store => "store",
        }
    }

    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Refused(code) => status_of(code),
            Self::Malformed
            | Self::ConfigInvalid
            | Self::ToolsUnsupported
            | Self::NUnsupported
            | Self::LogprobsUnsupported
            | Self::ContentUnsupported
            | Self::LastMessageNotUser
            | Self::NotAnExport
            | Self::Query
            | Self::Audit
            | Self::Secrets => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::WrongScope | Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::KeyReused | Self::NotEmpty | Self::SessionExists => StatusCode::CONFLICT,
            Self::Erased => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyFailures | Self::TooManyMessages | Self::TooManyConnections => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal | Self::BackupFailed | Self::StreamReset | Self::SecretsFailed | Self::Store => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Full | Self::Draining | Self::Halted | Self::Unreadable | Self::LoginFailed | Self::ServerFailed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::UnknownAgent
        | Code::UnknownPrincipal
        | Code::NoSuchToken
        | Code::NoSuchRoot
        | Code::NoSuchAsk
        | Code::NoSuchQuestion
        | Code::NoSuchDoubt
        | Code::NoSuchSecret
        | Code::NoSuchStanding => StatusCode::NOT_FOUND,
        Code::SessionStopped | Code::HomeFrozen | Code::NotAnApprover | Code::WrongDoor | Code::OnlyOnce => {
            StatusCode::FORBIDDEN
        }
        Code::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        Code::AskClosed | Code::TokenShown => StatusCode::GONE,
        Code::BadArguments => StatusCode::BAD_REQUEST,
        Code::WrongDigest
        | Code::AlreadyApproved
        | Code::NotEditable
        | Code::NothingToStop
        | Code::Stale
        | Code::SecretExists => StatusCode::CONFLICT,
    }
}

/// An answer that is a no.
#[derive(Clone, Debug)]
pub struct Problem {
    pub why: Why,
    pub message: String,
    /// What to do next.
    pub next: String,
    /// Where a later try may do better.
    pub retry_after_s: Option<u64>,
}

impl Problem {
    #[must_use]
    pub fn new(why: Why, message: impl Into<String>, next: impl Into<String>) -> Self {
        let passing = matches!(why.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        Self { why, message: message.into(), next: next.into(), retry_after_s: passing.then_some(RETRY_AFTER_S) }
    }

    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(Why::Malformed, message, "send what docs/reference/http.md describes")
    }

    #[must_use]
    pub fn not_found(what: &str) -> Self {
        let next = match what {
            "call" => "check the address; docs/reference/http.md has them all",
            "request of this turn" => "check the number; `backstay trace` shows the turn's requests",
            _ => "check the id; `backstay sessions list` shows the sessions",
        };
        Self::new(Why::NotFound, format!("there is no such {what}"), next)
    }

    #[must_use]
    pub fn unauthorized() -> Self {
        let message = "this door needs one valid token";
        let next = "send `Authorization: Bearer TOKEN`; the owner makes one with `backstay tokens create`";
        Self::new(Why::Unauthorized, message, next)
    }

    /// Of a call that lasts longer than the leave for it.
    #[must_use]
    pub fn withdrawn() -> Self {
        let message = "the token was revoked, or its principal is not what it was";
        Self::new(Why::Unauthorized, message, "come back with a token that is valid now")
    }

    #[must_use]
    pub fn later(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    #[must_use]
    pub fn draining() -> Self {
        Self::new(Why::Draining, "Backstay is shutting down", "try again when it is back")
    }

    /// A fault whose cause is for the log and not for the caller.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed inside");
        Self::new(Why::Internal, "Backstay has failed to answer this", "look into the log; a retry may help")
    }

    /// The journal could not be written.
    fn halted(cause: &str) -> Self {
        tracing::error!(cause, "the journal cannot be written");
        Self::new(Why::Halted, "the journal cannot be written now; nothing was done", "see `backstay doctor`")
    }

    /// The journal could not be read.
    pub fn unreadable(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "the journal cannot be read");
        Self::new(Why::Unreadable, "the journal cannot be read now", "see `backstay doctor`")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(Why::Refused(refusal.code), refusal.message, refusal.next)
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(refusal) => refusal.into(),
            EngineError::NoSession => Self::not_found("session"),
            EngineError::TooMany { retry_after_s } => {
                let next = "slow down, or raise [limits] messages_per_minute";
                Self::new(Why::TooManyMessages, error.to_string(), next).later(retry_after_s)
            }
            EngineError::KeyReused => Self::new(Why::KeyReused, error.to_string(), "use a fresh key for a new request"),
            EngineError::Full => Self::new(Why::Full, "too many sessions are live", "try again later"),
            EngineError::Draining => Self::draining(),
            EngineError::Halted(cause) => Self::halted(&cause),
            EngineError::Unreadable(cause) => Self::unreadable(&cause),
            EngineError::Internal(cause) => Self::internal(&cause),
        }
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::NotAnExport(_) => {
                let next = "export the session again, and change nothing in the file";
                Self::new(Why::NotAnExport, error.to_string(), next)
            }
            ImportError::Exists(session) => {
                let next = format!("see `backstay sessions show {session}`; nothing was changed");
                Self::new(Why::SessionExists, error.to_string(), next)
            }
            ImportError::Refused(refusal) => refusal.into(),
            ImportError::Halted(cause) => Self::halted(&cause),
        }
    }
}

impl Problem {
    /// `{code, message, next}`.
    #[must_use]
    pub fn shown(&self) -> serde_json::Value {
        json!({ "code": self.why.word(), "message": self.message, "next": self.next })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = answer(&self, &json!({ "error": self.shown() }));
        // So that the OpenAI door can say the same in that door's shape.
        response.extensions_mut().insert(self);
        response
    }
}

fn answer(problem: &Problem, body: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = problem.why.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// OpenAI's shape of the same.
#[must_use]
pub fn in_openai_shape(problem: &Problem) -> serde_json::Value {
    let kind = match problem.why.status() {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    let message = format!("{}; {}", problem.message, problem.next);
    json!({ "error": { "message": message, "type": kind, "param": null, "code": problem.why.word() } })
}

/// Under `/v1`, problems of every layer are said in OpenAI's shape.
pub async fn shape(request: Request<Body>, next: axum::middleware::Next) -> Response {
    let openai = request.uri().path().starts_with("/v1/");
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) if openai => answer(problem, &in_openai_shape(problem)),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_no_has_a_status_and_a_page() {
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for why in Why::OWN.into_iter().chain(Code::ALL.map(Why::Refused)) {
            let status = why.status();
            assert!(status.is_client_error() || status.is_server_error(), "{why:?}");
            let page = std::fs::read_to_string(pages.join(format!("{}.md", why.word()))).unwrap_or_default();
            assert!(page.contains(&format!("HTTP status {}", status.as_u16())), "docs/errors/{}.md", why.word());
        }
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for error in [
            EngineError::Full,
            EngineError::Draining,
            EngineError::Halted("disk".into()),
            EngineError::TooMany { retry_after_s: 7 },
        ] {
            let response = Problem::from(error).into_response();
            assert!(response.headers().contains_key(RETRY_AFTER));
        }
    }

    #[test]
    fn the_cause_of_a_fault_stays_inside() {
        let problem = Problem::from(EngineError::Halted("/secret/path".into()));
        assert!(!problem.message.contains("/secret/path"));
    }
}
