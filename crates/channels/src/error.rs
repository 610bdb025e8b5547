//! The one place where a refusal or a fault becomes an answer: status, code, words, next step.
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use backstay_engine::EngineError;
use backstay_kernel::refusal::{Code, Refusal};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use serde_json::json;

use crate::limits::RETRY_AFTER_S;

/// An answer that is a no.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// Stable; has a page in the error reference.
    pub code: &'static str,
    pub message: String,
    /// What to do next.
    pub next: String,
    pub retry_after_s: Option<u64>,
}

impl Problem {
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), next: next.into(), retry_after_s: None }
    }

    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message, "send what docs/reference/http.md describes")
    }

    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"), "check the id")
    }

    #[must_use]
    pub fn forbidden(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message, next)
    }

    #[must_use]
    pub fn unauthorized() -> Self {
        let message = "this door needs one valid token";
        let next = "send `Authorization: Bearer TOKEN`; the owner makes one with `backstay tokens create`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message, next)
    }

    #[must_use]
    pub fn later(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    fn unavailable(code: &'static str, message: &str, next: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message, next).later(RETRY_AFTER_S)
    }

    #[must_use]
    pub fn draining() -> Self {
        Self::unavailable("draining", "Backstay is shutting down", "try again when it is back")
    }

    /// A fault whose cause is for the log and not for the caller.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed inside");
        let next = "look into the log; a retry may help";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Backstay has failed to answer this", next)
    }

    /// The journal could not be read.
    pub fn unreadable(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "the journal cannot be read");
        Self::unavailable("unreadable", "the journal cannot be read now", "see `backstay doctor`")
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::UnknownAgent
        | Code::UnknownPrincipal
        | Code::NoSuchToken
        | Code::NoSuchAsk
        | Code::NoSuchQuestion
        | Code::NoSuchDoubt => StatusCode::NOT_FOUND,
        Code::SessionStopped | Code::HomeFrozen | Code::NotAnApprover => StatusCode::FORBIDDEN,
        Code::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        Code::AskClosed => StatusCode::GONE,
        Code::WrongDigest | Code::NothingToStop | Code::Stale => StatusCode::CONFLICT,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = status_of(refusal.code);
        let problem = Self::new(status, refusal.code.word(), refusal.message, refusal.next);
        if status == StatusCode::TOO_MANY_REQUESTS { problem.later(RETRY_AFTER_S) } else { problem }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(refusal) => refusal.into(),
            EngineError::NoSession => Self::not_found("session"),
            EngineError::TooMany { retry_after_s } => {
                let next = "slow down, or raise [limits] messages_per_minute";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_messages", error.to_string(), next).later(retry_after_s)
            }
            EngineError::KeyReused => {
                let next = "use a fresh key for a new request";
                Self::new(StatusCode::CONFLICT, "key_reused", error.to_string(), next)
            }
            EngineError::Full => Self::unavailable("full", "too many sessions are live", "try again later"),
            EngineError::Draining => Self::draining(),
            EngineError::Halted(cause) => {
                tracing::error!(cause, "the journal cannot be written");
                Self::unavailable("halted", "the journal cannot be written now; nothing was done", "see `backstay doctor`")
            }
            EngineError::Unreadable(cause) => Self::unreadable(&cause),
            EngineError::Internal(cause) => Self::internal(&cause),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = json!({ "code": self.code, "message": self.message, "next": self.next });
        let mut response = answer(&self, &json!({ "error": error }));
        // So that the OpenAI door can say the same in that door's shape.
        response.extensions_mut().insert(self);
        response
    }
}

fn answer(problem: &Problem, body: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = problem.status;
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
    let kind = match problem.status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    let message = format!("{}; {}", problem.message, problem.next);
    json!({ "error": { "message": message, "type": kind, "param": null, "code": problem.code } })
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
    fn every_code_has_a_status_that_is_a_no() {
        for code in Code::ALL {
            assert!(status_of(code).is_client_error(), "{code:?}");
        }
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for error in [EngineError::Full, EngineError::Draining, EngineError::Halted("disk".into()), EngineError::TooMany { retry_after_s: 7 }] {
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
