//! Whether the process lives, and whether it can do its work.
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use crate::door::Door;
use crate::limits::RETRY_AFTER_S;

pub async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

/// Asked without a token, so the reasons are words and no details.
pub async fn ready(State(door): State<Door>) -> Response {
    let mut reasons = Vec::new();
    if door.engine.is_draining() {
        reasons.push("draining");
    }
    if door.engine.store().writable().is_err() {
        reasons.push("the journal cannot be written");
    }
    let mut response = Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })).into_response();
    if !reasons.is_empty() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    }
    response
}
