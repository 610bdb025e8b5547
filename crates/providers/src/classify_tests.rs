//! Error answers as vendors give them, one row each, and the class that each must have.

use FailureClass::{Auth, Invalid, Policy, Quota, RetrySame, Shrink, Wait};

use super::*;

const NOW: Millis = 1_000_000;

#[track_caller]
fn check(status: u16, body: &str, class: FailureClass) {
    let failed = refusal(status, &HeaderMap::new(), body.as_bytes(), NOW);
    assert_eq!(failed.class, class, "{status} {body}");
    assert_eq!(failed.billed, !(300..500).contains(&status), "{status}");
    assert!(failed.detail.contains(&status.to_string()));
}

#[test]
fn every_status_has_its_class() {
    for status in [408, 409, 425, 500, 501, 502, 503, 504, 520, 529, 599] {
        check(status, "", RetrySame);
    }
    for status in [401, 403] {
        check(status, "", Auth);
    }
    for status in [300, 301, 302, 307, 308, 400, 404, 405, 410, 415, 422, 451] {
        check(status, "<html>nginx</html>", Invalid);
    }
    check(402, "", Quota);
    check(413, "", Shrink);
    check(429, "", Wait);
    check(429, "not json", Wait);
}

#[test]
fn money_is_no_queue() {
    check(
        429,
        r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        Quota,
    );
    check(
        429,
        r#"{"type":"error","error":{"type":"rate_limit_error","code":"enforced_spend_limit_reached","message":"x"}}"#,
        Quota,
    );
    check(
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
        Quota,
    );
    check(
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01."}}"#,
        Quota,
    );
    check(403, r#"{"error":"Your team has reached its monthly spending limit."}"#, Quota);
    check(
        402,
        r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#,
        Quota,
    );
    check(
        429,
        r#"[{"error":{"code":429,"message":"Quota exceeded for metric: free_tier_requests, limit: 0, model: x","status":"RESOURCE_EXHAUSTED"}}]"#,
        Quota,
    );
}

#[test]
fn a_queue_is_no_lack_of_money() {
    check(
        429,
        r#"{"error":{"message":"Rate limit reached for gpt-x on requests per min (RPM): Limit 3","type":"requests","code":"rate_limit_exceeded"}}"#,
        Wait,
    );
    check(
        429,
        r#"[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details. limit: 0.5","status":"RESOURCE_EXHAUSTED"}}]"#,
        Wait,
    );
    check(429, r#"{"error":{"message":"Quota exceeded, limit: 05"}}"#, Wait);
}

#[test]
fn too_long_is_to_be_shrunk() {
    check(
        400,
        r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        Shrink,
    );
    check(
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 200001 tokens > 200000 maximum"}}"#,
        Shrink,
    );
    check(
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 9 + 9 > 10"}}"#,
        Shrink,
    );
    check(
        413,
        r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
        Shrink,
    );
    check(
        400,
        r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","code":400}"#,
        Shrink,
    );
    check(
        500,
        r#"{"error":{"code":500,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
        Shrink,
    );
    check(
        400,
        r#"{"error":{"message":"The input token count (9) exceeds the maximum number of tokens allowed (8).","status":"INVALID_ARGUMENT"}}"#,
        Shrink,
    );
    check(
        429,
        r#"{"error":{"message":"Request too large for gpt-x on tokens per min (TPM): Limit 30000, Requested 45000.","type":"tokens","code":"rate_limit_exceeded"}}"#,
        Shrink,
    );
}

#[test]
fn a_refused_content_is_policy() {
    check(
        400,
        r#"{"error":{"code":"content_filter","message":"The response was filtered","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
        Policy,
    );
    check(400, r#"{"error":{"code":"content_policy_violation","message":"no"}}"#, Policy);
    check(
        400,
        r#"{"error":{"code":"invalid_prompt","message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy."}}"#,
        Policy,
    );
    check(
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
        Policy,
    );
    check(403, r#"{"error":{"code":403,"message":"x requires moderation on y. Your input was flagged"}}"#, Policy);
}

#[test]
fn our_faults_and_keys() {
    check(
        400,
        r#"{"error":{"message":"max_tokens is too large: 99999. This model supports at most 4096 completion tokens","code":null}}"#,
        Invalid,
    );
    check(404, r#"{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}"#, Invalid);
    check(401, r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#, Auth);
    check(403, r#"{"type":"error","error":{"type":"permission_error","message":"no"}}"#, Auth);
    // What only a 4xx may say, a fault of the server may not.
    check(500, r#"{"error":{"message":"x","code":"insufficient_quota"}}"#, RetrySame);
}

#[test]
fn delays_are_found_where_the_class_uses_them() {
    let header = |name: &'static str, value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    };
    let at = |status, headers: &HeaderMap, body: &str| refusal(status, headers, body.as_bytes(), NOW).retry_at;
    let gemini = r#"[{"error":{"code":429,"message":"x","details":[{"@type":"RetryInfo","retryDelay":"3s"}]}}]"#;
    let none = HeaderMap::new();
    assert_eq!(at(429, &header("retry-after", "2"), gemini), Some(NOW + 2_000));
    assert_eq!(at(429, &none, gemini), Some(NOW + 3_000));
    assert_eq!(at(429, &header("x-ratelimit-reset-tokens", "6m0s"), ""), Some(NOW + 360_000));
    assert_eq!(at(503, &header("retry-after", "2"), ""), Some(NOW + 2_000));
    assert_eq!(at(503, &header("x-ratelimit-reset-tokens", "6m0s"), ""), None);
    assert_eq!(at(401, &header("retry-after", "2"), ""), None);
    assert_eq!(at(429, &none, ""), None);
}

#[test]
fn the_detail_names_the_request_and_the_redirect() {
    let mut headers = HeaderMap::new();
    headers.insert("request-id", "req_7".parse().unwrap());
    let body = br#"{"error":{"type":"api_error","message":"Broken"}}"#;
    let failed = refusal(500, &headers, body, NOW);
    assert_eq!(failed.detail, "request req_7, status 500: api_error: Broken");
    headers.insert("location", "https://elsewhere/".parse().unwrap());
    let failed = refusal(302, &headers, b"", NOW);
    assert!(failed.detail.ends_with("redirects are not followed: https://elsewhere/"));
}

#[test]
fn errors_inside_a_successful_answer() {
    let class = |text: &str| said_in_reply(&serde_json::from_str(text).unwrap(), NOW).class;
    assert_eq!(class(r#"{"type":"overloaded_error","message":"Overloaded"}"#), RetrySame);
    assert_eq!(class(r#"{"type":"rate_limit_error","message":"x"}"#), Wait);
    assert_eq!(class(r#"{"type":"authentication_error","message":"x"}"#), Auth);
    assert_eq!(class(r#"{"type":"invalid_request_error","message":"x"}"#), Invalid);
    assert_eq!(class(r#"{"type":"invalid_request_error","message":"prompt is too long"}"#), Shrink);
    assert_eq!(class(r#"{"code":502,"message":"provider disconnected"}"#), RetrySame);
    assert_eq!(class(r#"{"code":429,"message":"slow down"}"#), Wait);
    assert_eq!(class(r#"{"code":"insufficient_quota"}"#), Quota);
    assert_eq!(class(r#""something""#), RetrySame);
    assert!(said_in_reply(&Value::Null, NOW).billed);
}

proptest::proptest! {
    #[test]
    fn any_error_body_is_survived(status in 300u16..1000, body in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
        let _ = refusal(status, &HeaderMap::new(), &body, NOW);
    }
}
