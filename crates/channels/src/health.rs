//! What monitors ask for: whether the process lives, whether it can do its work, and its numbers.
use axum::Json;
use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::auth::Scraper;
use crate::door::Door;
use crate::error::Problem;
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

pub async fn metrics(_: Scraper, State(door): State<Door>) -> Result<Response, Problem> {
    let text = door.off_thread(|door| door.metrics.read(&door.engine, door.told.get())).await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

/// Counts every answer.
pub async fn count(State(door): State<Door>, request: Request<Body>, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    door.metrics.answered(route, response.status());
    response
}
