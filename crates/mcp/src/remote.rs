//! A server behind a URL: every message is a request of its own to the one URL that the operator named, at an address
//! that was checked. Nothing is sent twice: a session that has ended, a stream that broke off and a redirect are errors.
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backstay_egress::{Answer, Ask, Credential, Fault, Network};
use backstay_kernel::destination::{Connection, HostGrant, Method};
use backstay_kernel::url::Url;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};

use crate::limits::REQUESTS_MAX;
use crate::lines::{Broken, says_changed};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// Of an answer that is a no, what is told of its body.
const SHOWN_BYTES: usize = 256;
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

/// The header that is bound to a request at this URL, or why the request may not be made.
pub type CredentialOf = Arc<dyn Fn(Method) -> Result<Option<Credential>, String> + Send + Sync>;

/// How a server behind a URL is reached.
#[derive(Clone)]
pub struct Way {
    pub network: Network,
    pub credential: CredentialOf,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("network", &self.network).finish_non_exhaustive()
    }
}

/// Where such a server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct At {
    pub url: Url,
    /// This URL and no other.
    pub grant: HostGrant,
}

/// Why there is no answer, in words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

type Failed = StreamableHttpError<NoAnswer>;

#[derive(Clone)]
pub struct Remote {
    at: Arc<At>,
    way: Way,
    /// All that were made since somebody asked.
    connections: Arc<Mutex<Vec<Connection>>>,
    changed: Arc<AtomicBool>,
    broken: Broken,
    /// Somebody waits for what is said; nothing is sent otherwise.
    is_open: Arc<AtomicBool>,
}

/// While somebody waits.
pub struct Open(Arc<AtomicBool>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Remote {
    /// `whole`: how long one request may take.
    pub fn new(at: At, way: Way, whole: Duration, changed: Arc<AtomicBool>) -> Self {
        let way = Way { network: way.network.patient(whole), ..way };
        Self {
            at: Arc::new(at),
            way,
            connections: Arc::default(),
            changed,
            broken: Broken::default(),
            is_open: Arc::default(),
        }
    }

    pub fn take_connections(&self) -> Vec<Connection> {
        std::mem::take(&mut self.made())
    }

    pub fn open(&self) -> Open {
        self.is_open.store(true, Ordering::Release);
        Open(Arc::clone(&self.is_open))
    }

    fn made(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it is not spoken to any more, once there is a reason.
    pub fn why(&self) -> Option<String> {
        self.broken.why()
    }

    fn no(&self, why: String) -> Failed {
        self.broken.set(why.clone());
        StreamableHttpError::Client(NoAnswer(why))
    }

    async fn ask(&self, method: Method, headers: &HeaderMap, body: Bytes) -> Result<Answer, Failed> {
        if !self.is_open.load(Ordering::Acquire) {
            return Err(StreamableHttpError::Client(NoAnswer("nobody waits for it".to_owned())));
        }
        if self.made().len() >= REQUESTS_MAX {
            return Err(self.no(format!("one call of it took more than {REQUESTS_MAX} requests")));
        }
        let credential = (self.way.credential)(method).map_err(|why| self.no(format!("{why}; nothing was sent")))?;
        let At { url, grant } = &*self.at;
        let ask = Ask { url, method, headers, body, idempotency_key: None, credential, grant };
        let made = self.way.network.send(&ask).await;
        self.made().extend(made.connection);
        let answer = made.answer.map_err(|fault| match fault {
            Fault::NotSent(why) => self.no(format!("{why}; nothing was sent")),
            Fault::Lost(why) => self.no(why),
        })?;
        if !answer.is_whole {
            return Err(self.no(format!("its answer broke off, or is longer than {} bytes", answer.body.len())));
        }
        Ok(answer)
    }

    fn sse(&self, body: Vec<u8>) -> BoxStream<'static, Result<Sse, SseError>> {
        let changed = Arc::clone(&self.changed);
        let bytes = stream::once(async move { Ok::<_, std::convert::Infallible>(Bytes::from(body)) });
        let seen = move |event: Result<Sse, SseError>| {
            let text = event.as_ref().ok().and_then(|event| event.data.as_deref());
            let message: Option<ServerJsonRpcMessage> = text.and_then(|text| serde_json::from_str(text).ok());
            if message.as_ref().is_some_and(says_changed) {
                changed.store(true, Ordering::Release);
            }
            // What it asks of us is not answered: each answer would be a request that no call of ours made.
            let asks = matches!(message, Some(ServerJsonRpcMessage::Request(_)));
            std::future::ready((!asks).then_some(event))
        };
        SseStream::from_bytes_stream(bytes).filter_map(seen).boxed()
    }
}

/// What the protocol's own client adds to a request.
fn fields(session: Option<&str>, more: HashMap<HeaderName, HeaderValue>) -> HeaderMap {
    let mut headers: HeaderMap = more.into_iter().collect();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.extend(session.and_then(|session| Some((SESSION, HeaderValue::from_str(session).ok()?))));
    headers
}

impl StreamableHttpClient for Remote {
    type Error = NoAnswer;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _auth: Option<String>,
        more: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let mut headers = fields(session.as_deref(), more);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        let answer = self.ask(Method::Post, &headers, serde_json::to_vec(&message)?.into()).await?;
        let kind = answer.content_type().unwrap_or_default();
        let is_json = kind == JSON;
        if !(200..300).contains(&answer.status) {
            return refused(&message, session.is_some(), &answer, is_json).map_err(|why| self.no(why));
        }
        let given = answer.header(&SESSION).map(str::to_owned);
        let wants_no_answer = !matches!(message, ClientJsonRpcMessage::Request(_));
        match kind.as_str() {
            _ if wants_no_answer || matches!(answer.status, 202 | 204) => Ok(StreamableHttpPostResponse::Accepted),
            EVENTS => Ok(StreamableHttpPostResponse::Sse(self.sse(answer.body), given)),
            JSON => Ok(StreamableHttpPostResponse::Json(serde_json::from_slice(&answer.body)?, given)),
            other => Err(StreamableHttpError::UnexpectedContentType(Some(other.to_owned()))),
        }
    }

    /// Nobody waits for it any more, so nothing is sent: a server forgets who is gone.
    async fn delete_session(
        &self,
        _uri: Arc<str>,
        _session: Arc<str>,
        _auth: Option<String>,
        _more: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        Ok(())
    }

    /// What a server says without being asked is not listened to, and a stream that broke off is not taken up again.
    async fn get_stream(
        &self,
        _uri: Arc<str>,
        _session: Option<Arc<str>>,
        _last: Option<String>,
        _auth: Option<String>,
        _more: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

/// An answer that is a no: one of the protocol's own, or one of HTTP.
fn refused(
    message: &ClientJsonRpcMessage,
    in_session: bool,
    answer: &Answer,
    is_json: bool,
) -> Result<StreamableHttpPostResponse, String> {
    let status = answer.status;
    let why = match status {
        300..=399 => "it leads elsewhere, which is not followed: name that URL in the config".to_owned(),
        401 | 403 => {
            "it wants to know who asks: `backstay secrets set`, and `[secrets.NAME] bind` to its URL".to_owned()
        }
        _ => format!("{:?}", String::from_utf8_lossy(answer.body.get(..SHOWN_BYTES).unwrap_or(&answer.body))),
    };
    if matches!(status, 400..=499) && !matches!(status, 401 | 403) {
        let said = serde_json::from_slice::<ServerJsonRpcMessage>(&answer.body).ok().filter(|_| is_json);
        let said = if let Some(ServerJsonRpcMessage::Error(error)) = said { Some(error) } else { None };
        // A server of the first era does not know what it is asked first, and says so in its own way.
        if let (false, ClientJsonRpcMessage::Request(request)) = (in_session, message)
            && matches!(request.request, ClientRequest::DiscoverRequest(_))
        {
            let unknown = || ErrorData::invalid_request(format!("HTTP {status}: {why}"), None);
            let error = said.map_or_else(unknown, |said| said.error);
            let answer = ServerJsonRpcMessage::error(error, Some(request.id.clone()));
            return Ok(StreamableHttpPostResponse::Json(answer, None));
        }
        if let Some(error) = said {
            return Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(error), None));
        }
    }
    Err(format!("it answered {status}: {why}"))
}
