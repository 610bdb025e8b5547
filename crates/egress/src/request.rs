//! One request and its answer, on a connection of its own.
use std::fmt;
use std::sync::Arc;
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
use tokio::time::{Instant, timeout, timeout_at};

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
    /// A header that the operator has bound to exactly this request.
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
    /// It may go to this machine in clear text; to any other it goes sealed.
    pub here: bool,
    pub took: Took,
}

/// Is told how often a secret was taken out of an answer, or of a field of its head.
#[derive(Clone, Default)]
pub struct Took(Option<Arc<dyn Fn(u64) + Send + Sync>>);

impl Took {
    #[must_use]
    pub fn new(tell: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }
}

impl fmt::Debug for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Took")
    }
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

/// Tells what went over a connection until now.
pub type Reached = Box<dyn Fn() -> Connection + Send>;

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
        let mut reached = None;
        let answer = match self.open(ask, &mut |made| reached = Some(made)).await {
            Ok(coming) => coming.whole().await,
            Err(fault) => Err(fault),
        };
        Made { answer, connection: reached.map(|connection: Reached| connection()) }
    }

    /// The same until the answer begins. `reached` is given the connection as soon as there is one: what went over it
    /// can be told at any time, however the request ends.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn open(&self, ask: &Ask<'_>, reached: &mut (dyn FnMut(Reached) + Send)) -> Result<Coming, Fault> {
        let is_sealed = ask.url.scheme == Scheme::Https;
        let goes_here = |credential: &Credential| credential.here && ask.url.host.is_here();
        if ask.credential.as_ref().is_some_and(|credential| !is_sealed && !goes_here(credential)) {
            return Err(Fault::NotSent("a secret is not sent in clear text".to_owned()));
        }
        let request = request(ask).map_err(Fault::NotSent)?;
        // The gate has said so already; what is dialled is held to it once more.
        if !ask.grant.covers(&Destination::of(ask.url, ask.method, 0)) {
            return Err(Fault::NotSent(format!("{} {} is not what was granted", ask.method.word(), ask.url.text())));
        }
        let dialled = self.in_time(self.dial(&ask.url.host, ask.url.port, ask.grant)).await.map_err(Fault::NotSent)?;
        let (stream, connection) = dialled.open();
        let secret = ask.credential.as_ref().map(|credential| credential.secret.clone());
        reached(Box::new(move || Connection { secret: secret.clone(), ..connection() }));
        let Times { head, whole, .. } = self.times;
        let (until, late) = (Instant::now() + whole, late(whole));
        let answer = match ask.url.scheme {
            Scheme::Http => timeout_at(until, answered(stream, request, head)).await,
            Scheme::Https => {
                let sealed = self.in_time(self.seal(stream, &ask.url.host)).await.map_err(Fault::NotSent)?;
                timeout_at(until, answered(sealed, request, head)).await
            }
        };
        let (parts, body) = answer.map_err(|_| late.clone())??.into_parts();
        let mut headers = texts(&parts.headers);
        for (_, field) in &mut headers {
            *field = String::from_utf8_lossy(&Clean::new(ask.credential.as_ref()).all(field.as_bytes())).into_owned();
        }
        let head = Answer { status: parts.status.as_u16(), headers, body: Vec::new(), is_whole: false };
        let clean = Clean::new(ask.credential.as_ref());
        Ok(Coming { head, body, room: Some(self.body_bytes_max), clean, until, late })
    }
}

fn late(whole: Duration) -> Fault {
    Fault::Lost(format!("no whole answer within {} s", whole.as_secs()))
}

/// An answer whose body is taken as it comes, without the secret that was sent.
pub struct Coming {
    head: Answer,
    body: Incoming,
    /// Bytes of it that are still taken; absent once there were more.
    room: Option<usize>,
    clean: Clean,
    until: Instant,
    late: Fault,
}

/// What comes next of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// The last of it.
    End(Vec<u8>),
    /// It broke off.
    Broken,
    /// More of it is not taken.
    TooLong,
}

impl fmt::Debug for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coming").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Coming {
    /// The answer without its body.
    #[must_use]
    pub fn head(&self) -> &Answer {
        &self.head
    }

    /// Waits for what comes next; after an end of whatever kind nothing does.
    ///
    /// # Errors
    /// The time of the request is over.
    pub async fn piece(&mut self) -> Result<Piece, Fault> {
        loop {
            let Some(room) = self.room else { return Ok(Piece::TooLong) };
            let frame = timeout_at(self.until, self.body.frame()).await.map_err(|_| self.late.clone())?;
            let data = match frame {
                None => return Ok(Piece::End(self.clean.end())),
                Some(Err(_)) => return Ok(Piece::Broken),
                Some(Ok(frame)) => frame.into_data(),
            };
            let Ok(data) = data else { continue };
            let taken = data.get(..room).unwrap_or(&data);
            self.room = room.checked_sub(data.len());
            return Ok(Piece::Bytes(self.clean.take(taken)));
        }
    }

    /// As much of it as is taken; the status is the news, and a body that is cut takes nothing from it.
    ///
    /// # Errors
    /// The time of the request is over.
    pub async fn whole(mut self) -> Result<Answer, Fault> {
        loop {
            match self.piece().await? {
                Piece::Bytes(bytes) => self.head.body.extend(bytes),
                Piece::End(bytes) => {
                    self.head.body.extend(bytes);
                    return Ok(Answer { is_whole: true, ..self.head });
                }
                Piece::Broken | Piece::TooLong => return Ok(self.head),
            }
        }
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

async fn answered<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    head: Duration,
) -> Result<http::Response<Incoming>, Fault>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut sender = speaking(stream).await.map_err(Fault::NotSent)?;
    let answer = timeout(head, sender.send_request(request)).await;
    let late = |_| Fault::Lost(format!("no answer within {} s", head.as_secs()));
    answer.map_err(late)?.map_err(|error| Fault::Lost(format!("no answer: {error}")))
}

/// Takes the secret out of whatever repeats it, however that is cut into pieces, and holds back what may be the
/// beginning of one: where the text breaks off, nobody sees it. What a server has changed (encoded, split, reversed)
/// it does not know.
struct Clean {
    credential: Option<Credential>,
    held: Vec<u8>,
    /// Values that were taken out.
    taken: u64,
}

impl Clean {
    fn new(credential: Option<&Credential>) -> Self {
        Self { credential: credential.cloned(), held: Vec::new(), taken: 0 }
    }

    /// What can be shown now.
    fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        let Some(credential) = &self.credential else { return piece.to_vec() };
        let whole = credential.value.as_bytes();
        // `Bearer VALUE` is given back as VALUE too.
        let bare = whole.rsplit(|byte| *byte == b' ').next().unwrap_or(whole);
        let values = [whole, bare].map(|value| Some(value).filter(|value| !value.is_empty()));
        let shown = format!("[secret:{}]", credential.secret);
        self.held.extend_from_slice(piece);
        let (mut out, mut rest) = (Vec::with_capacity(self.held.len()), self.held.as_slice());
        while let Some((byte, after)) = rest.split_first() {
            let mut values = values.iter().flatten();
            if let Some(behind) = values.clone().find_map(|value| rest.strip_prefix(*value)) {
                out.extend_from_slice(shown.as_bytes());
                self.taken += 1;
                rest = behind;
            } else if values.any(|value| value.starts_with(rest)) {
                break;
            } else {
                out.push(*byte);
                rest = after;
            }
        }
        self.held = rest.to_vec();
        out
    }

    /// What was held back, now that nothing follows.
    fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn all(mut self, text: &[u8]) -> Vec<u8> {
        let mut out = self.take(text);
        out.extend(self.end());
        out
    }
}

/// However far the answer was read.
impl Drop for Clean {
    fn drop(&mut self) {
        if let Some(Credential { took: Took(Some(tell)), .. }) = &self.credential
            && self.taken > 0
        {
            tell(self.taken);
        }
    }
}
