//! What kind of failure an answer is. The kernel decides from the class alone what happens next.
//!
//! A vendor's code weighs more than its status: a 429 without money behind it is no queue, and a
//! 400 may mean a prompt that is too long, a refusal, or a fault of ours.

use backstay_kernel::effect::FailureClass;
use backstay_kernel::id::Millis;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::delay;
use crate::reply::Failed;

/// No money: no wait helps.
const QUOTA_CODES: &[&str] = &[
    "insufficient_quota",
    "insufficient_balance",
    "insufficient_credits",
    "billing_error",
    "billing_not_active",
    "billing_hard_limit_reached",
    "enforced_spend_limit_reached",
    "exceeded_current_quota_error",
    "payment_required",
];
const QUOTA_PHRASES: &[&str] = &["credit balance is too low", "spending limit", "specified api usage limits"];
const POLICY_CODES: &[&str] = &[
    "content_policy_violation",
    "content_filter",
    "responsibleaipolicyviolation",
    "invalid_prompt",
    "moderation_blocked",
];
const POLICY_PHRASES: &[&str] = &["content filtering policy", "usage polic", "requires moderation"];
const SHRINK_CODES: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size_error",
    "model_context_window_exceeded",
    "request_too_large",
    "string_above_max_length",
];
const SHRINK_PHRASES: &[&str] = &[
    "maximum context length",
    "prompt is too long",
    "exceed context limit",
    "available context size",
    "input token count",
    // A 429 that no wait cures: the request alone is above the limit for a minute.
    "request too large",
];
const AUTH_CODES: &[&str] = &["authentication_error", "permission_error", "invalid_api_key", "unauthorized"];
const WAIT_CODES: &[&str] = &["rate_limit_error", "rate_limit_exceeded", "rate_limit_reached", "resource_exhausted"];
const INVALID_CODES: &[&str] = &["invalid_request_error", "not_found_error", "model_not_found", "invalid_argument"];

/// What an error body says.
struct Said<'a> {
    error: Option<&'a Value>,
    /// `code`, `type` and `status`, in lower case.
    codes: Vec<String>,
    /// In lower case.
    message: String,
}

impl<'a> Said<'a> {
    /// Of `{"error":{…}}`, `[{"error":{…}}]`, `{"error":"…"}`, `{"message":…}`, `{"detail":…}`.
    fn of(body: &'a Value) -> Self {
        let body = body.get(0).unwrap_or(body);
        Self::of_error(body.get("error").filter(|e| !e.is_null()).unwrap_or(body))
    }

    fn of_error(error: &'a Value) -> Self {
        let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_lowercase);
        let codes = ["code", "type", "status"].into_iter().filter_map(text);
        let message = text("message").or_else(|| text("detail")).or_else(|| error.as_str().map(str::to_lowercase));
        Self { error: Some(error), codes: codes.collect(), message: message.unwrap_or_default() }
    }

    fn is(&self, codes: &[&str], phrases: &[&str]) -> bool {
        self.codes.iter().any(|c| codes.contains(&c.as_str())) || phrases.iter().any(|p| self.message.contains(p))
    }

    /// The classes that a code or a phrase tells, whatever the status.
    fn class(&self) -> Option<FailureClass> {
        if self.is(QUOTA_CODES, QUOTA_PHRASES) || self.has_no_quota() {
            Some(FailureClass::Quota)
        } else if self.is(SHRINK_CODES, SHRINK_PHRASES) {
            Some(FailureClass::Shrink)
        } else if self.is(POLICY_CODES, POLICY_PHRASES) {
            Some(FailureClass::Policy)
        } else {
            None
        }
    }

    /// Gemini's word for "this model is not in your plan" is a limit of 0.
    fn has_no_quota(&self) -> bool {
        let limit = self.message.split_once("limit: 0").map(|(_, rest)| rest);
        limit.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
    }
}

/// Classifies an answer that is not a success. `now` is the moment of the answer.
pub(crate) fn refusal(status: u16, headers: &HeaderMap, body: &[u8], now: Millis) -> Failed {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = Said::of(&json);
    let class = by_status(status, &said);
    let asked = delay::asked(headers, now);
    let retry_at = match class {
        FailureClass::RetrySame => asked,
        FailureClass::Wait => {
            asked.or_else(|| said.error.and_then(|e| delay::in_body(e, now))).or_else(|| delay::refilled(headers, now))
        }
        FailureClass::Shrink
        | FailureClass::Auth
        | FailureClass::Quota
        | FailureClass::Policy
        | FailureClass::Invalid => None,
    };
    Failed { class, retry_at, detail: detail(status, headers, &said, body), billed: !(300..500).contains(&status) }
}

fn by_status(status: u16, said: &Said<'_>) -> FailureClass {
    let refused = (400..500).contains(&status);
    match (status, said.class()) {
        (402, _) => FailureClass::Quota,
        (413, _) => FailureClass::Shrink,
        (401, Some(FailureClass::Shrink | FailureClass::Policy) | None) => FailureClass::Auth,
        (_, Some(class)) if refused || class == FailureClass::Shrink => class,
        (403, _) => FailureClass::Auth,
        (429, _) => FailureClass::Wait,
        (408 | 409 | 425, _) => FailureClass::RetrySame,
        // A redirect is not followed: a key goes to the configured host and to no other.
        (300..500, _) => FailureClass::Invalid,
        _ => FailureClass::RetrySame,
    }
}

/// Classifies an error that came in place of, or amid, a successful answer.
pub(crate) fn said_in_reply(error: &Value, now: Millis) -> Failed {
    let said = Said::of_error(error);
    let status = error.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok());
    let class = match (said.class(), status) {
        (Some(class), _) => class,
        (None, Some(status @ 300..)) => by_status(status, &said),
        (None, Some(_) | None) => {
            if said.is(WAIT_CODES, &[]) {
                FailureClass::Wait
            } else if said.is(AUTH_CODES, &[]) {
                FailureClass::Auth
            } else if said.is(INVALID_CODES, &[]) {
                FailureClass::Invalid
            } else {
                FailureClass::RetrySame
            }
        }
    };
    let retry_at = delay::in_body(error, now).filter(|_| class == FailureClass::Wait);
    Failed { class, retry_at, detail: format!("error in the reply: {}", words(&said, &[])), billed: true }
}

fn detail(status: u16, headers: &HeaderMap, said: &Said<'_>, body: &[u8]) -> String {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let mut detail = format!("status {status}: {}", words(said, body));
    if let Some(location) = header("location") {
        detail = format!("status {status}, redirects are not followed: {location}");
    }
    // What a vendor's support asks for first; in front, so that the bound never cuts it.
    match header("request-id").or_else(|| header("x-request-id")) {
        Some(id) => format!("request {id}, {detail}"),
        None => detail,
    }
}

fn words(said: &Said<'_>, body: &[u8]) -> String {
    let original = said.error.and_then(|e| {
        let text = |name: &str| e.get(name).and_then(Value::as_str);
        text("message").or_else(|| text("detail")).or_else(|| e.as_str())
    });
    match original {
        Some(message) if said.codes.is_empty() => message.to_owned(),
        Some(message) => format!("{}: {message}", said.codes.join(", ")),
        None if said.codes.is_empty() => String::from_utf8_lossy(body).into_owned(),
        None => said.codes.join(", "),
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
