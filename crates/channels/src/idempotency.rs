//! `Idempotency-Key` on calls that are no messages: whoever repeats one gets the same answer, also
//! while the first is on its way. What a call leaves in the journal has its key there too, where it
//! outlives the process.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use backstay_kernel::id::{Digest, Millis};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::sync::watch;

use crate::auth::principal_of;
use crate::door::Door;
use crate::error::Problem;
use crate::input::{self, Whole};
use crate::limits::{ANSWER_BYTES_MAX, KEY_CHARS_MAX, KEY_KEPT_MS, KEYS_MAX};
use crate::routes;

#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    body: Bytes,
}

type Outcome = watch::Receiver<Option<Answer>>;

#[derive(Debug)]
struct Slot {
    request: Digest,
    outcome: Outcome,
    expires_at: Millis,
}

/// Keys by (principal, key).
#[derive(Default, Debug)]
pub struct Keys {
    slots: Mutex<HashMap<(String, String), Slot>>,
}

enum Turn {
    First(watch::Sender<Option<Answer>>),
    Later(Outcome),
    Another,
}

impl Keys {
    fn take(&self, name: &(String, String), request: Digest, now: Millis) -> Turn {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(name).filter(|slot| slot.expires_at > now) {
            let failed = slot.outcome.has_changed().is_err() && slot.outcome.borrow().is_none();
            if slot.request != request {
                return Turn::Another;
            }
            if !failed {
                return Turn::Later(slot.outcome.clone());
            }
        }
        if slots.len() >= KEYS_MAX {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.expires_at).map(|(name, _)| name.clone());
            oldest.map(|name| slots.remove(&name));
        }
        let (sender, outcome) = watch::channel(None);
        slots.insert(name.clone(), Slot { request, outcome, expires_at: now.saturating_add(KEY_KEPT_MS) });
        Turn::First(sender)
    }
}

/// The one key of a request.
///
/// # Errors
/// More than one, or one that is no key.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut all = headers.get_all("idempotency-key").iter();
    let Some(value) = all.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= KEY_CHARS_MAX);
    match (text, all.next()) {
        (Some(text), None) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(text.to_owned())),
        _ => {
            Err(Problem::malformed(format!("Idempotency-Key is one header of 1 to {KEY_CHARS_MAX} visible characters")))
        }
    }
}

/// The key of a call on the home as a whole: which call, and all that it says.
///
/// # Errors
/// More than one, or one that is no key.
pub fn of_home(
    door: &Door,
    by: &str,
    headers: &HeaderMap,
    call: &str,
    parts: &[&[u8]],
) -> Result<Option<backstay_engine::Key>, Problem> {
    Ok(door.engine.key(by, key(headers)?.map(|key| (key, input::digest_of(call, parts)))))
}

/// The layer; inside the one that authenticates.
pub async fn once(State(door): State<Door>, request: Request<Body>, next: Next) -> Response {
    let journaled =
        request.extensions().get::<MatchedPath>().is_some_and(|path| routes::keeps_its_own_keys(path.as_str()));
    let principal = principal_of(&request).filter(|_| request.method() == Method::POST && !journaled);
    let Some(principal) = principal.map(str::to_owned) else { return next.run(request).await };
    let key = match key(request.headers()) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    let digest = digest_of(&request);
    let name = (principal, key);
    let mut carried = Some((request, next));
    loop {
        match door.keys.take(&name, digest, door.engine.now()) {
            Turn::Another => return Problem::from(backstay_engine::EngineError::KeyReused).into_response(),
            Turn::Later(mut outcome) => {
                if let Ok(Some(answer)) = outcome.wait_for(Option::is_some).await.map(|found| found.clone()) {
                    return replay(answer);
                }
                // The first has failed in a way that says nothing: be the first.
            }
            Turn::First(sender) => {
                let Some((request, next)) = carried.take() else {
                    return Problem::internal(&"a request ran twice").into_response();
                };
                return run(request, next, sender).await;
            }
        }
    }
}

/// On a task of its own: a caller that hangs up does not stop it half-way.
async fn run(request: Request<Body>, next: Next, sender: watch::Sender<Option<Answer>>) -> Response {
    let done = tokio::spawn(async move {
        let response = next.run(request).await;
        let (parts, body) = response.into_parts();
        let Ok(bytes) = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await else {
            return Problem::internal(&"an answer is too long to be kept").into_response();
        };
        let passing = parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS;
        if !passing {
            let answer = Answer { status: parts.status, body: bytes.clone() };
            sender.send_replace(Some(answer));
        }
        Response::from_parts(parts, Body::from(bytes))
    });
    done.await.unwrap_or_else(|error| Problem::internal(&error).into_response())
}

fn replay(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn digest_of(request: &Request<Body>) -> Digest {
    let body = request.extensions().get::<Whole>().map(|whole| whole.0.clone()).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    Digest::of("backstay call v1", &[path.as_bytes(), &body])
}
