//! One request and its answer, on a connection of its own.
use std::time::Duration;

use backstay_kernel::destination::{Connection, Destination, HostGrant, Method};
use backstay_kernel::url::{Scheme, Url};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{HeaderName, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::dial::{Network, Times};
use crate::headers::{is_shown, texts};
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};

/// What is asked for, as it was judged.
#[derive(Debug)]
pub struct Ask<'a> {
    pub url: &'a Url,
    pub method: Method,
    /// As [`crate::chosen`] let them pass.
    pub headers: &'a HeaderMap,
    pub body: Bytes,
    /// The same for every attempt at one effect, where it does more than ask.
    pub idempotency_key: Option<&'a str>,
    /// A header that the operator has bound to exactly this request; it is never sent in clear text.
    pub credential: Option<Credential>,
    /// What lets it.
    pub grant: &'a HostGrant,
}

/// A header with a secret in it. Nothing of an answer that repeats the secret is handed on.
#[derive(Clone, Debug)]
pub struct Credential {
    /// What the secret is called where it would be seen.
    pub secret: String,
    pub header: HeaderName,
    /// Marked as sensitive.
    pub value: HeaderValue,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    /// All that are texts.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub is_whole: bool,
}

impl Answer {
    /// Those that say something to whoever asked.
    pub fn shown(&self) -> impl Iterator<Item = &(String, String)> {
        self.headers.iter().filter(|(name, _)| is_shown(name))
    }

    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name.as_str()).map(|(_, value)| value.as_str())
    }

    /// Without its parameters, in lower case.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        let value = self.header(&CONTENT_TYPE)?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// No byte of the request left.
    #[error("{0}")]
    NotSent(String),
    /// It may have arrived, as a whole.
    #[error("{0}")]
    Lost(String),
}

/// How a request ended, and the connection that was made for it.
#[derive(Debug)]
pub struct Made {
    pub answer: Result<Answer, Fault>,
    pub connection: Option<Connection>,
}

impl Network {
    /// Makes the request and waits for its end; not to be called on a thread that drives other futures.
    #[must_use]
    pub fn ask(&self, ask: &Ask<'_>) -> Made {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return not_sent(format!("no runtime for this call: {error}")),
        };
        let made = runtime.block_on(self.send(ask));
        // A lookup that hangs holds nobody.
        runtime.shutdown_background();
        made
    }

    /// The same on the caller's runtime, where all of it ends with the future.
    pub async fn send(&self, ask: &Ask<'_>) -> Made {
        if ask.credential.is_some() && ask.url.scheme != Scheme::Https {
            return not_sent("a secret is not sent in clear text".to_owned());
        }
        let request = match request(ask) {
            Ok(request) => request,
            Err(why) => return not_sent(why),
        };
        // The gate has said so already; what is dialled is held to it once more.
        if !ask.grant.covers(&Destination::of(ask.url, ask.method, 0)) {
            return not_sent(format!("{} {} is not what was granted", ask.method.word(), ask.url.text()));
        }
        let dialled = match self.in_time(self.dial(&ask.url.host, ask.url.port, ask.grant)).await {
            Ok(dialled) => dialled,
            Err(why) => return not_sent(why),
        };
        let (stream, connection) = dialled.open();
        let Times { head, whole, .. } = self.times;
        let most = self.body_bytes_max;
        let answer = match ask.url.scheme {
            Scheme::Http => timeout(whole, spoken(stream, request, head, most)).await,
            Scheme::Https => match self.in_time(self.seal(stream, &ask.url.host)).await {
                Ok(sealed) => timeout(whole, spoken(sealed, request, head, most)).await,
                Err(why) => Ok(Err(Fault::NotSent(why))),
            },
        };
        let late = |_| Err(Fault::Lost(format!("no whole answer within {} s", whole.as_secs())));
        let mut answer = answer.unwrap_or_else(late);
        let mut connection = connection();
        if let Some(credential) = &ask.credential {
            connection.secret = Some(credential.secret.clone());
            if let Ok(answer) = &mut answer {
                redact(answer, credential);
            }
        }
        Made { answer, connection: Some(connection) }
    }
}

fn not_sent(why: String) -> Made {
    Made { answer: Err(Fault::NotSent(why)), connection: None }
}

fn request(ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::builder().method(ask.method.word()).uri(ask.url.target());
    if let Some(headers) = request.headers_mut() {
        headers.extend(ask.headers.clone());
        let host = HeaderValue::from_str(&ask.url.authority()).map_err(|error| error.to_string())?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("backstay/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(key) = ask.idempotency_key {
            let key = HeaderValue::from_str(key).map_err(|error| error.to_string())?;
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
    }
    let request = request.body(Full::new(ask.body.clone())).map_err(|error| format!("cannot be sent: {error}"));
    let mut request = request?;
    // Last, so that nothing of the caller's stands in its place.
    if let Some(credential) = &ask.credential {
        request.headers_mut().insert(credential.header.clone(), credential.value.clone());
    }
    Ok(request)
}

/// HTTP/1.1 with a server, whose answers begin with heads of a bounded size.
pub async fn speaking<S>(stream: S) -> Result<http1::SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_header_size(HEAD_BYTES_MAX).max_headers(HEAD_FIELDS_MAX);
    let hands = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = hands.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn spoken<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    head: Duration,
    body_bytes_max: usize,
) -> Result<Answer, Fault>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut sender = speaking(stream).await.map_err(Fault::NotSent)?;
    let answer = timeout(head, sender.send_request(request)).await;
    let late = |_| Fault::Lost(format!("no answer within {} s", head.as_secs()));
    let answer = answer.map_err(late)?.map_err(|error| Fault::Lost(format!("no answer: {error}")))?;
    let (parts, body) = answer.into_parts();
    let (body, is_whole) = read(body, body_bytes_max).await;
    Ok(Answer { status: parts.status.as_u16(), headers: texts(&parts.headers), body, is_whole })
}

/// Takes the secret out of whatever repeats it, and the beginning of one where the body was cut off. What a server
/// has changed (encoded, split, reversed) it does not know.
fn redact(answer: &mut Answer, credential: &Credential) {
    let whole = credential.value.as_bytes();
    // `Bearer VALUE` is given back as VALUE too.
    let bare = whole.rsplit(|byte| *byte == b' ').next().unwrap_or(whole);
    let shown = format!("[secret:{}]", credential.secret);
    for value in [whole, bare] {
        answer.body = without(&answer.body, value, shown.as_bytes());
        for (_, field) in &mut answer.headers {
            *field = String::from_utf8_lossy(&without(field.as_bytes(), value, shown.as_bytes())).into_owned();
        }
    }
    if !answer.is_whole {
        let begun =
            (1..bare.len()).rev().find(|length| bare.get(..*length).is_some_and(|part| answer.body.ends_with(part)));
        answer.body.truncate(answer.body.len().saturating_sub(begun.unwrap_or(0)));
    }
}

fn without(text: &[u8], value: &[u8], shown: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        match rest.strip_prefix(value).filter(|_| !value.is_empty()) {
            Some(behind) => {
                out.extend_from_slice(shown);
                rest = behind;
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

/// As much of it as is taken; the status is the news, and a body that is cut takes nothing from it.
async fn read(mut body: Incoming, bytes_max: usize) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (out, false) };
        let Ok(data) = frame.into_data() else { continue };
        let room = bytes_max.saturating_sub(out.len());
        out.extend_from_slice(data.get(..room).unwrap_or(&data));
        if data.len() > room {
            return (out, false);
        }
    }
    (out, true)
}
