//! What a request brings: a body of bounded size, read in bounded time, and what it says as typed
//! fields. An unknown field is a mistake, so that nobody believes to have claimed something by it.
use std::future::poll_fn;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use backstay_kernel::id::{Digest, Place, SessionId};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Problem, Why};
use crate::limits::{BODY_BYTES_MAX, BODY_TIME_MAX, HEAD_BYTES_MAX, KEY_CHARS_MAX};

/// The bytes of the body as they came.
#[derive(Clone, Debug)]
pub struct Whole(pub Bytes);

/// A chunked request may have told a second length, which the HTTP library has dropped; to a proxy that
/// goes by that one, what follows it is another request. So nothing more is taken from its connection.
pub async fn one_length(request: Request<Body>, next: Next) -> Response {
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    if is_chunked {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The HTTP library bounds what it buffers, which is up to twice as much as a head may have.
pub async fn small_head(request: Request<Body>, next: Next) -> Response {
    if bytes_of_head(&request) > HEAD_BYTES_MAX {
        return StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response();
    }
    next.run(request).await
}

/// As it was sent, but for space that does not count.
fn bytes_of_head(request: &Request<Body>) -> usize {
    let first = request.method().as_str().len() + request.uri().to_string().len() + "  HTTP/1.1\r\n".len();
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    first + fields.sum::<usize>() + "\r\n".len()
}

/// Reads the body of a POST before anything else looks at it.
pub async fn read(request: Request<Body>, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let told = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return too_large().into_response();
    }
    match tokio::time::timeout(BODY_TIME_MAX, collect(body)).await {
        Ok(Ok(bytes)) => {
            parts.extensions.insert(Whole(bytes.clone()));
            next.run(Request::from_parts(parts, Body::from(bytes))).await
        }
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => {
            let next = "send the whole request at once";
            Problem::new(Why::TooSlow, "the body did not come in time", next).into_response()
        }
    }
}

async fn collect(body: Body) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = poll_fn(|context| Pin::new(&mut chunks).poll_next(context)).await {
        let chunk = chunk.map_err(|error| Problem::malformed(format!("the body broke off: {error}")))?;
        if whole.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

fn too_large() -> Problem {
    let message = format!("a body may have {BODY_BYTES_MAX} bytes");
    Problem::new(Why::TooLarge, message, "send less")
}

/// The body as JSON; none at all is an empty object.
#[derive(Debug)]
pub struct Input<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Problem> {
        let whole = request.extensions().get::<Whole>().map(|whole| whole.0.clone()).unwrap_or_default();
        let bytes: &[u8] = if whole.is_empty() { b"{}" } else { &whole };
        // An array would do for the JSON library: the fields by their position, so that none is named.
        if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(Problem::malformed("the body is not a JSON object"));
        }
        serde_json::from_slice(bytes).map(Self).map_err(|error| Problem::malformed(error.to_string()))
    }
}

/// The query's fields.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(fields)| Self(fields)).map_err(|error| Problem::malformed(error.body_text()))
    }
}

/// A session named in the path.
#[derive(Debug)]
pub struct OfSession(pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for OfSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = named(parts, state).await?;
        SessionId::parse(&named).map(Self).ok_or_else(|| Problem::not_found("session"))
    }
}

/// A turn or an effect named in the path.
#[derive(Debug)]
pub struct At(pub Place);

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = named(parts, state).await?;
        Place::parse(&named).map(Self).ok_or_else(|| Problem::not_found("id"))
    }
}

async fn named<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(text)| text).map_err(|_| Problem::not_found("id"))
}

/// For calls that have nothing to say beyond their path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The `Idempotency-Key` of a request, if it has one.
#[derive(Debug)]
pub struct Keyed(Option<String>);

impl<S: Sync> FromRequestParts<S> for Keyed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

impl Keyed {
    /// # Errors
    /// More than one, or one that is no key.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut all = headers.get_all("idempotency-key").iter();
        let Some(value) = all.next() else { return Ok(Self(None)) };
        let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= KEY_CHARS_MAX);
        match (text, all.next()) {
            (Some(text), None) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(Some(text.to_owned()))),
            _ => {
                let what = format!("Idempotency-Key is one header of 1 to {KEY_CHARS_MAX} visible characters");
                Err(Problem::malformed(what))
            }
        }
    }

    #[must_use]
    pub fn text(self) -> Option<String> {
        self.0
    }

    /// The key with what it stands for: which call, and all that it says.
    #[must_use]
    pub fn for_call(self, call: &str, parts: &[&[u8]]) -> Option<(String, Digest)> {
        self.0.map(|key| (key, digest_of(call, parts)))
    }
}

#[must_use]
pub fn digest_of(call: &str, parts: &[&[u8]]) -> Digest {
    let all: Vec<&[u8]> = std::iter::once(call.as_bytes()).chain(parts.iter().copied()).collect();
    Digest::of("backstay call v1", &all)
}
