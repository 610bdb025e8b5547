//! A server behind a URL: every message is a request of its own to the one URL that the operator named, at an address
//! that was checked, while somebody waits for it. No message is sent twice: a session that has ended and a redirect are
//! errors, and so is an answer that broke off and could not be taken up again.
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backstay_egress::{Answer, Ask, Coming, Credential, Fault, Network};
use backstay_kernel::destination::{Connection, HostGrant, Method};
use backstay_kernel::url::Url;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, ProtocolVersion, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::Sse;

use crate::events::{EVENTS, Events};
use crate::limits::{ASKED_MAX, LINE_BYTES_MAX, REQUESTS_MAX};
use crate::lines::{Broken, says_changed};
use crate::oauth::{Challenge, Made, Pass, Token, locked, scopes};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Of an answer that is a no, what is told of its body.
const SHOWN_BYTES: usize = 256;
const JSON: &str = "application/json";

/// The header that is bound to a request at this URL, or why the request may not be made.
pub type CredentialOf = Arc<dyn Fn(Method) -> Result<Option<Credential>, String> + Send + Sync>;

/// How a server behind a URL is reached.
#[derive(Clone)]
pub struct Way {
    pub network: Network,
    pub credential: CredentialOf,
    /// What goes along where somebody has logged in.
    pub pass: Option<Pass>,
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

/// Why a request has no answer.
pub struct Setback {
    pub why: String,
    /// Another would have none either.
    pub is_final: bool,
    /// The server has heard nothing of it, or said that it takes nothing.
    is_unsent: bool,
}

impl Setback {
    fn unsent(why: &str) -> Self {
        Self { why: format!("{why}; nothing was sent"), is_final: true, is_unsent: true }
    }
}

#[derive(Clone)]
pub struct Remote {
    at: Arc<At>,
    way: Way,
    /// All that were made since somebody asked.
    connections: Made,
    changed: Arc<AtomicBool>,
    broken: Broken,
    /// Where it is broken: what was asked last was not done, for certain.
    undone: Arc<AtomicBool>,
    /// Nothing is sent without one.
    waits: Arc<Mutex<Option<Waits>>>,
}

/// Somebody who waits for what is said.
struct Waits {
    until: Instant,
    halt: Arc<AtomicBool>,
    /// By the server, and answered.
    asked: usize,
}

/// While somebody waits.
pub struct Open(Arc<Mutex<Option<Waits>>>);

impl Drop for Open {
    fn drop(&mut self) {
        locked(&self.0).take();
    }
}

impl Remote {
    pub fn new(at: At, way: Way, changed: Arc<AtomicBool>) -> Self {
        let way = Way { network: way.network.taking(LINE_BYTES_MAX), ..way };
        Self {
            at: Arc::new(at),
            way,
            connections: Arc::default(),
            changed,
            broken: Broken::default(),
            undone: Arc::default(),
            waits: Arc::default(),
        }
    }

    /// Those that are still open with what went over them until now.
    pub fn take_connections(&self) -> Vec<Connection> {
        std::mem::take(&mut *locked(&self.connections)).iter().map(|reached| reached()).collect()
    }

    /// Somebody waits until then, or until `halt` is true.
    pub fn open(&self, until: Instant, halt: &Arc<AtomicBool>) -> Open {
        *locked(&self.waits) = Some(Waits { until, halt: Arc::clone(halt), asked: 0 });
        Open(Arc::clone(&self.waits))
    }

    /// How long somebody still waits, or why nothing is sent any more.
    pub fn left(&self) -> Result<Duration, String> {
        let waits = locked(&self.waits);
        let waits = waits.as_ref().ok_or("nobody waits for it")?;
        if waits.halt.load(Ordering::Acquire) {
            return Err("it was stopped".to_owned());
        }
        let left = waits.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err("it took too long".to_owned()) } else { Ok(left) }
    }

    /// Whether something that the server asks is answered, though only by a no.
    pub fn may_answer(&self) -> bool {
        let mut waits = locked(&self.waits);
        let Some(waits) = waits.as_mut() else { return false };
        waits.asked = waits.asked.saturating_add(1);
        waits.asked <= ASKED_MAX
    }

    /// It may say that what it offers has changed.
    pub fn listen(&self, message: &ServerJsonRpcMessage) {
        if says_changed(message) {
            self.changed.store(true, Ordering::Release);
        }
    }

    /// Why it is not spoken to any more, once there is a reason.
    pub fn why(&self) -> Option<String> {
        self.broken.why()
    }

    /// Whatever the reason, nothing was done by what was asked last.
    pub fn is_undone(&self) -> bool {
        self.undone.load(Ordering::Acquire)
    }

    pub fn give_up(&self, why: String) {
        self.broken.set(why);
    }

    fn no(&self, why: String) -> Failed {
        self.give_up(why.clone());
        StreamableHttpError::Client(NoAnswer(why))
    }

    /// One request, if one may be made now; once more with another token, where the server says that it did nothing for
    /// want of one.
    pub async fn ask(&self, method: Method, headers: &HeaderMap, body: Bytes) -> Result<Coming, Setback> {
        self.may_send()?;
        let Some(pass) = &self.way.pass else { return self.send(method, headers, body, None).await };
        let unsent = |why: String| Setback::unsent(&why);
        let token = pass.token(&self.connections).await.map_err(unsent)?;
        let coming = self.send(method, headers, body.clone(), token.as_ref()).await?;
        let Some(token) = token.filter(|_| coming.head().status == 401) else { return Ok(coming) };
        self.may_send()?;
        let token = pass.renewed(token.access(), &self.connections).await.map_err(unsent)?;
        self.send(method, headers, body, Some(&token)).await
    }

    /// Whether anything may be sent now, and for how long somebody waits for it.
    fn may_send(&self) -> Result<Duration, Setback> {
        let no = |why| Setback { why, is_final: true, is_unsent: true };
        let left = self.left().map_err(no)?;
        if locked(&self.connections).len() < REQUESTS_MAX {
            return Ok(left);
        }
        Err(no(format!("one call of it took more than {REQUESTS_MAX} requests")))
    }

    async fn send(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Bytes,
        token: Option<&Token>,
    ) -> Result<Coming, Setback> {
        let left = self.may_send()?;
        let bound = (self.way.credential)(method).map_err(|why| Setback::unsent(&why))?;
        let credential = match (bound, token) {
            (Some(bound), Some(token)) => {
                let (bound, login) = (bound.secret, &token.credential.secret);
                return Err(Setback::unsent(&format!(
                    "the secret `{bound}` and the login `{login}` are both for this"
                )));
            }
            (bound, token) => bound.or_else(|| token.map(|token| token.credential.clone())),
        };
        let At { url, grant } = &*self.at;
        let ask = Ask { url, method, headers, body, idempotency_key: None, credential, grant };
        let network = self.way.network.clone().patient(left);
        let opened = network.open(&ask, &mut |reached| locked(&self.connections).push(reached)).await;
        opened.map_err(|fault| match fault {
            Fault::NotSent(why) => Setback { is_final: false, ..Setback::unsent(&why) },
            Fault::Lost(why) => Setback { why, is_final: false, is_unsent: false },
        })
    }

    /// What to do about a server that does not know who asks, or lets them do less.
    fn unknown(&self, answer: &Answer) -> String {
        const BOUND: &str =
            "`backstay secrets set`, and `[secrets.NAME] bind` to its URL with `tools = \"mcp.SERVER\"`";
        let Some(pass) = &self.way.pass else { return format!("it wants to know who asks: {BOUND}") };
        let challenge = Challenge::of_answer(answer).unwrap_or_default();
        if answer.status == 403 && challenge.error.as_deref() == Some("insufficient_scope") {
            let wanted = scopes(&format!("{} {}", pass.scopes().join(" "), challenge.scope.unwrap_or_default()));
            // It is put into a command, and is the server's words.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '_' | '-' | '/' | '*' | '+');
            let wanted: Vec<String> = wanted.into_iter().filter(|scope| scope.chars().all(is_plain)).collect();
            return pass.again(
                "it wants more than its login allows",
                Some(&wanted).filter(|all| !all.is_empty()).map(Vec::as_slice),
            );
        }
        if pass.is_there() {
            return pass.again("it does not take the login", None);
        }
        format!("{}, or {BOUND}", pass.again("it wants to know who asks", None))
    }

    async fn whole(&self, coming: Coming) -> Result<Answer, String> {
        let answer = coming.whole().await.map_err(|fault| fault.to_string())?;
        if !answer.is_whole {
            return Err(format!("its answer broke off, or is longer than {LINE_BYTES_MAX} bytes"));
        }
        Ok(answer)
    }
}

/// What the protocol's own client adds to a request.
fn fields(session: Option<&str>, more: HashMap<HeaderName, HeaderValue>) -> HeaderMap {
    let mut headers: HeaderMap = more.into_iter().collect();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.extend(session.and_then(|session| Some((SESSION, HeaderValue::from_str(session).ok()?))));
    headers
}

/// Those of a request that takes the answer to this one up again. The newer era knows no such request.
fn again(headers: &HeaderMap, given: Option<&str>) -> Option<HeaderMap> {
    let is_newer = |version: &HeaderValue| version.as_bytes() >= ProtocolVersion::NO_INITIALIZE.as_str().as_bytes();
    if headers.get(VERSION).is_some_and(is_newer) {
        return None;
    }
    let kept = |name: HeaderName| headers.get(&name).map(|value| (name, value.clone()));
    let mut again: HeaderMap = [kept(SESSION), kept(VERSION)].into_iter().flatten().collect();
    again.insert(ACCEPT, HeaderValue::from_static(EVENTS));
    if let Some(session) = given.and_then(|session| HeaderValue::from_str(session).ok()) {
        again.insert(SESSION, session);
    }
    Some(again)
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
        // Whether a server hears what it asked us is its own affair, and not what a call of ours ends by.
        let is_answer = matches!(message, ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_));
        let is_request = matches!(message, ClientJsonRpcMessage::Request(_));
        let no = |why| if is_answer { StreamableHttpError::Client(NoAnswer(why)) } else { self.no(why) };
        let undone = |is_undone| self.undone.fetch_or(is_request && is_undone, Ordering::AcqRel);
        let sent = self.ask(Method::Post, &headers, serde_json::to_vec(&message)?.into()).await;
        let coming = sent.map_err(|setback| {
            undone(setback.is_unsent);
            no(setback.why)
        })?;
        let (kind, status) = (coming.head().content_type().unwrap_or_default(), coming.head().status);
        let given = coming.head().header(&SESSION).map(str::to_owned);
        if let (200..=299, EVENTS, ClientJsonRpcMessage::Request(request)) = (status, kind.as_str(), &message) {
            let again = again(&headers, given.as_deref());
            let events = Events::new(self.clone(), request.id.clone(), coming, again);
            return Ok(StreamableHttpPostResponse::Sse(events.messages(), given));
        }
        let answer = self.whole(coming).await.map_err(no)?;
        let is_json = kind == JSON;
        if matches!(status, 401 | 403) {
            undone(true);
            return Err(no(format!("it answered {status}: {}", self.unknown(&answer))));
        }
        if !(200..300).contains(&status) {
            return refused(&message, session.is_some(), &answer, is_json).map_err(no);
        }
        let wants_no_answer = !is_request;
        match kind.as_str() {
            _ if wants_no_answer || matches!(status, 202 | 204) => Ok(StreamableHttpPostResponse::Accepted),
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

    /// What a server says without being asked is not listened to; what broke off is taken up where it is read.
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
        _ => format!("{:?}", String::from_utf8_lossy(answer.body.get(..SHOWN_BYTES).unwrap_or(&answer.body))),
    };
    if matches!(status, 400..=499) {
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
