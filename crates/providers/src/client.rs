//! One attempt at a model call, over one shared connection pool.
//!
//! Nothing here tries twice, follows a redirect or reads a proxy from the environment. The TLS
//! roots are loaded when the first `https` endpoint is called, and not before.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backstay_kernel::effect::FailureClass;
use backstay_kernel::id::Millis;
use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::{Response, redirect, retry};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};

use crate::draft::{Draft, OnDelta};
use crate::endpoint::{Api, Endpoint, Remote, Target};
use crate::limits::{CONNECT_MS, DELIVERY_MS, DRAIN_MS, ERROR_BYTES_MAX, IDLE_CONNECTIONS_MAX, RESPONSE_BYTES_MAX};
use crate::reply::{Delta, Failed, Reply};
use crate::sse::{Event, Parser};
use crate::{anthropic, classify, openai, rehearsal};

/// Present-day form of the Messages API, and the one that every other server of it knows. What is
/// sent here means the same in both.
const ANTHROPIC_VERSION: &str = "2026-10-21";
const ANTHROPIC_VERSION_FIRST: &str = "2023-06-01";

/// The HTTP client could not be built; no TLS with the compiled-in cryptography.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct NoTls(String);

/// The one client of the process. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    plain: reqwest::Client,
    secure: Arc<OnceLock<reqwest::Client>>,
}

impl Client {
    /// # Errors
    /// [`NoTls`] where the HTTP client cannot be built.
    pub fn new() -> Result<Self, NoTls> {
        let plain = build(RootCertStore::empty())?;
        Ok(Self { plain, secure: Arc::new(OnceLock::new()) })
    }

    fn http(&self, scheme: &str) -> Result<&reqwest::Client, NoTls> {
        if scheme == "http" {
            return Ok(&self.plain);
        }
        if let Some(client) = self.secure.get() {
            return Ok(client);
        }
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let client = build(roots)?;
        Ok(self.secure.get_or_init(|| client))
    }

    /// Makes one attempt. `wire` is sent as it is; whether the answer is streamed is said in it.
    /// `idempotency_key` is the same for every attempt at one effect. `now` is the moment of the
    /// call and the base of every relative delay. Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`Failed`], classified; deltas that were given out by then are void.
    pub async fn call(
        &self,
        endpoint: &Endpoint,
        wire: Bytes,
        idempotency_key: &str,
        now: Millis,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, Failed> {
        let remote = match &endpoint.0 {
            Target::Rehearsal => return rehearsal::play(&wire, now, on_delta),
            Target::Remote(remote) => remote,
        };
        let clock = Clock::start(remote, now);
        let attempt = self.attempt(remote, &clock, wire, idempotency_key, on_delta);
        let key = remote.key.as_ref().map(crate::endpoint::Secret::expose);
        attempt.await.map_err(|failed| failed.cleaned(key))
    }

    /// Asks once which models the endpoint offers, by the names that it knows: no text is sent,
    /// and nothing is billed. `now` is as for [`Client::call`].
    ///
    /// # Errors
    /// [`Failed`], classified as for a call.
    pub async fn models(&self, endpoint: &Endpoint, now: Millis) -> Result<Vec<String>, Failed> {
        let remote = match &endpoint.0 {
            Target::Rehearsal => return Ok(vec!["rehearsal".to_owned()]),
            Target::Remote(remote) => remote,
        };
        let clock = Clock::start(remote, now);
        let key = remote.key.as_ref().map(crate::endpoint::Secret::expose);
        self.offered(remote, &clock).await.map_err(|failed| failed.cleaned(key))
    }

    /// Hands a line of JSON to whoever takes such, once. Taken is what is answered with 2xx; the body of the answer is
    /// not read.
    ///
    /// # Errors
    /// It was not taken, or nobody knows.
    pub async fn deliver(&self, url: &str, line: String, headers: &[(&'static str, String)]) -> Result<(), String> {
        let url = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
        let http = self.http(url.scheme()).map_err(|error| error.to_string())?;
        let request = http.post(url).header(CONTENT_TYPE, "application/json").body(line);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let sending = request.send();
        match tokio::time::timeout(Duration::from_millis(DELIVERY_MS), sending).await {
            Err(_) => Err(format!("no answer within {DELIVERY_MS} ms")),
            Ok(Err(error)) => Err(cause(&error)),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(format!("it was answered by {}", answer.status())),
        }
    }

    async fn offered(&self, remote: &Remote, clock: &Clock) -> Result<Vec<String>, Failed> {
        let http =
            self.http(remote.url.scheme()).map_err(|e| Failed::unsendable(FailureClass::Invalid, e.to_string()))?;
        let asking = http.get(remote.models_url()).headers(key_headers(remote)?).send();
        let response = match timeout_at(clock.first_byte, asking).await {
            Err(_) => return Err(clock.late("the first byte")),
            Ok(Err(error)) => return Err(unsent(&error)),
            Ok(Ok(response)) => response,
        };
        if !response.status().is_success() {
            return Err(refused(response, clock).await);
        }
        let mut body = Body::new(response, clock);
        let mut json = Vec::new();
        while let Some(chunk) = body.next().await? {
            json.extend_from_slice(&chunk);
        }
        let answer: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
        let list = answer.get("data").and_then(serde_json::Value::as_array);
        let list = list.ok_or_else(|| Failed::nonsense("what answers there lists no models"))?;
        Ok(list.iter().filter_map(|model| Some(model.get("id")?.as_str()?.to_owned())).collect())
    }

    async fn attempt(
        &self,
        remote: &Remote,
        clock: &Clock,
        wire: Bytes,
        idempotency_key: &str,
        on_delta: OnDelta<'_>,
    ) -> Result<Reply, Failed> {
        let http =
            self.http(remote.url.scheme()).map_err(|e| Failed::unsendable(FailureClass::Invalid, e.to_string()))?;
        let headers = headers(remote, idempotency_key)?;
        let sending = http.post(remote.url.clone()).headers(headers).body(wire).send();
        let response = match timeout_at(clock.first_byte, sending).await {
            Err(_) => return Err(clock.late("the first byte")),
            Ok(Err(error)) => return Err(unsent(&error)),
            Ok(Ok(response)) => response,
        };
        let draft = read(remote.api, response, clock, on_delta).await?;
        Ok(draft.into_reply(idempotency_key))
    }
}

/// Reads an answer whose head has come.
async fn read(api: Api, response: Response, clock: &Clock, on_delta: OnDelta<'_>) -> Result<Draft, Failed> {
    if !response.status().is_success() {
        return Err(refused(response, clock).await);
    }
    if let Some(encoding) = response.headers().get(CONTENT_ENCODING).filter(|e| *e != "identity") {
        return Err(Failed::nonsense(format!("the reply is compressed, which was not asked for: {encoding:?}")));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kind = kind.unwrap_or_default().trim_start().to_ascii_lowercase();
    let mut draft = Draft::default();
    if kind.starts_with("text/event-stream") {
        stream(api, response, clock, &mut draft, on_delta).await?;
    } else {
        whole(api, response, clock, &mut draft, on_delta).await?;
    }
    Ok(draft)
}

fn build(roots: RootCertStore) -> Result<reqwest::Client, NoTls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut tls = tls.map_err(|e| NoTls(e.to_string()))?.with_root_certificates(roots).with_no_client_auth();
    // HTTP/2 would be 300 KB of code for what a pool of connections does as well.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .connect_timeout(Duration::from_millis(CONNECT_MS))
        // A pool with a timeout wakes up for ever; a closed connection is noticed without one.
        .pool_idle_timeout(None)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .user_agent(concat!("backstay/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| NoTls(e.to_string()))
}

/// The deadlines of one attempt.
struct Clock {
    now: Millis,
    began: Instant,
    first_byte: Instant,
    idle: Duration,
    whole: Instant,
}

impl Clock {
    fn start(remote: &Remote, now: Millis) -> Self {
        let began = Instant::now();
        let whole = began + remote.timeouts.whole;
        let first_byte = (began + remote.timeouts.first_byte).min(whole);
        Self { now, began, first_byte, idle: remote.timeouts.idle, whole }
    }

    /// The caller's clock, moved on by what has passed since.
    fn now(&self) -> Millis {
        let passed = Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX);
        self.now.saturating_add(passed)
    }

    fn late(&self, for_what: &str) -> Failed {
        let seconds = self.began.elapsed().as_secs();
        Failed::same_again(format!("timed out after {seconds} s, waiting for {for_what}"), true)
    }
}

/// A body, chunk by chunk, within the deadlines and the size.
struct Body<'a> {
    response: Response,
    clock: &'a Clock,
    begun: bool,
    bytes: usize,
}

impl<'a> Body<'a> {
    fn new(response: Response, clock: &'a Clock) -> Self {
        Self { response, clock, begun: false, bytes: 0 }
    }

    /// The next bytes; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        let deadline =
            if self.begun { (Instant::now() + self.clock.idle).min(self.clock.whole) } else { self.clock.first_byte };
        let chunk = match timeout_at(deadline, self.response.chunk()).await {
            Err(_) if self.begun => return Err(self.clock.late("more of the reply")),
            Err(_) => return Err(self.clock.late("the first byte")),
            Ok(Err(error)) => return Err(Failed::same_again(format!("the reply was cut: {}", cause(&error)), true)),
            Ok(Ok(chunk)) => chunk,
        };
        self.begun = true;
        self.bytes = self.bytes.saturating_add(chunk.as_ref().map_or(0, Bytes::len));
        if self.bytes > RESPONSE_BYTES_MAX {
            return Err(Failed::nonsense(format!("the reply is larger than {RESPONSE_BYTES_MAX} bytes")));
        }
        Ok(chunk)
    }

    /// Reads to the end in the background, so that the connection can be used again.
    fn drain(mut self) {
        let deadline = Instant::now() + Duration::from_millis(DRAIN_MS);
        tokio::spawn(timeout_at(deadline, async move { while let Ok(Some(_)) = self.response.chunk().await {} }));
    }
}

async fn stream(
    api: Api,
    response: Response,
    clock: &Clock,
    draft: &mut Draft,
    on_delta: OnDelta<'_>,
) -> Result<(), Failed> {
    let mut body = Body::new(response, clock);
    let mut parser = Parser::default();
    loop {
        let chunk = match body.next().await {
            Ok(Some(chunk)) => chunk,
            // What comes after the vendor's last word may be lost.
            Ok(None) | Err(_) if draft.finish.is_some() => return Ok(()),
            Ok(None) => return Err(Failed::nonsense("the stream ended before the reply did")),
            Err(failed) => return Err(failed),
        };
        let events = parser.feed(&chunk).map_err(|_| Failed::nonsense("an event of the stream is too long"))?;
        for event in events {
            if absorb(api, &event, clock, draft, on_delta)? {
                body.drain();
                return Ok(());
            }
        }
    }
}

/// Takes in one event. True if it was the last.
fn absorb(api: Api, event: &Event, clock: &Clock, draft: &mut Draft, on_delta: OnDelta<'_>) -> Result<bool, Failed> {
    let data = event.data.as_bytes();
    match api {
        Api::OpenAi if event.data.trim() == "[DONE]" => match draft.finish {
            Some(_) => Ok(true),
            None if draft.text.is_empty() && draft.calls.is_empty() => Err(Failed::nonsense("the stream was empty")),
            None => Ok(true),
        },
        Api::OpenAi => openai::absorb(draft, data, clock.now(), on_delta).map(|_| false),
        Api::Anthropic => {
            let progress = anthropic::absorb(draft, data, clock.now(), on_delta)?;
            Ok(progress == anthropic::Progress::Closed)
        }
    }
}

async fn whole(
    api: Api,
    response: Response,
    clock: &Clock,
    draft: &mut Draft,
    on_delta: OnDelta<'_>,
) -> Result<(), Failed> {
    let mut body = Body::new(response, clock);
    let mut json = Vec::new();
    while let Some(chunk) = body.next().await? {
        json.extend_from_slice(&chunk);
    }
    if json.is_empty() {
        return Err(Failed::nonsense("the reply was empty"));
    }
    match api {
        Api::OpenAi if openai::absorb(draft, &json, clock.now(), on_delta)? => Ok(()),
        Api::OpenAi => Err(Failed::nonsense("the reply holds no choice")),
        Api::Anthropic => anthropic::absorb_whole(draft, &json, clock.now(), on_delta),
    }
}

async fn refused(response: Response, clock: &Clock) -> Failed {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Body::new(response, clock);
    let mut text = Vec::new();
    // The status is the news; a body that is cut or late takes nothing from it.
    while let Ok(Some(chunk)) = body.next().await {
        text.extend_from_slice(&chunk);
        if text.len() > ERROR_BYTES_MAX {
            break;
        }
    }
    text.truncate(ERROR_BYTES_MAX);
    classify::refusal(status, &headers, &text, clock.now())
}

fn headers(remote: &Remote, idempotency_key: &str) -> Result<HeaderMap, Failed> {
    let mut headers = key_headers(remote)?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let key = HeaderValue::from_str(idempotency_key)
        .map_err(|_| Failed::unsendable(FailureClass::Invalid, "the idempotency key is not a header value"))?;
    headers.insert(HeaderName::from_static("idempotency-key"), key);
    Ok(headers)
}

/// What says who asks.
fn key_headers(remote: &Remote) -> Result<HeaderMap, Failed> {
    let mut headers = HeaderMap::new();
    let (name, prefix) = match remote.api {
        Api::OpenAi => (AUTHORIZATION, "Bearer "),
        Api::Anthropic => {
            let version = if remote.is_vendor { ANTHROPIC_VERSION } else { ANTHROPIC_VERSION_FIRST };
            headers.insert(HeaderName::from_static("anthropic-version"), HeaderValue::from_static(version));
            (HeaderName::from_static("x-api-key"), "")
        }
    };
    if let Some(key) = &remote.key {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", key.expose())).map_err(|_| {
            Failed::unsendable(FailureClass::Auth, "the API key holds characters that a header cannot hold")
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn unsent(error: &reqwest::Error) -> Failed {
    if error.is_builder() {
        return Failed::unsendable(FailureClass::Invalid, format!("cannot be sent: {}", cause(error)));
    }
    if error.is_connect() {
        return Failed::same_again(format!("not reached: {}", cause(error)), false);
    }
    Failed::same_again(format!("no answer: {}", cause(error)), true)
}

/// What it comes to in the end, without the URL: the errors around it only say by whom it was met.
fn cause(error: &reqwest::Error) -> String {
    let mut last = std::error::Error::source(error);
    while let Some(inner) = last.and_then(std::error::Error::source) {
        last = Some(inner);
    }
    last.map_or_else(|| "connection failed".to_owned(), ToString::to_string)
}

#[cfg(test)]
#[path = "client_tests/mod.rs"]
mod tests;
