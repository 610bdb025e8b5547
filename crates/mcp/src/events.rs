//! An answer that comes as events, one message each. One that breaks off is taken up again behind its last event, where
//! the server gave that an id and the protocol knows how: nothing that was asked is asked again by it.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backstay_egress::{Coming, Piece};
use backstay_kernel::destination::Method;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use rmcp::model::{RequestId, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::SseError;
use sse_stream::{Sse, SseStream};

use crate::limits::{EVENT_ID_BYTES_MAX, EVENTS_MAX, FRUITLESS_MAX, LINE_BYTES_MAX, RETRY, RETRY_MIN};
use crate::remote::{Remote, Setback};

pub const EVENTS: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

type From = BoxStream<'static, Result<Sse, SseError>>;

pub struct Events {
    remote: Remote,
    /// What it is the answer to.
    request: RequestId,
    /// The fields of a request that takes it up again. Absent in the newer era, which knows none, and in which a
    /// server asks its client nothing that would be answered.
    again: Option<HeaderMap>,
    from: From,
    /// Bytes and events of it, however often it was taken up.
    bytes: Arc<AtomicUsize>,
    events: usize,
    last: Option<HeaderValue>,
    wait: Duration,
    /// Requests to take it up since the last event.
    fruitless: usize,
    is_over: bool,
}

impl Events {
    pub fn new(remote: Remote, request: RequestId, coming: Coming, again: Option<HeaderMap>) -> Self {
        let bytes = Arc::default();
        let from = read(coming, Arc::clone(&bytes));
        Self::reading(remote, request, from, bytes, again)
    }

    fn reading(
        remote: Remote,
        request: RequestId,
        from: From,
        bytes: Arc<AtomicUsize>,
        again: Option<HeaderMap>,
    ) -> Self {
        Self { remote, request, again, from, bytes, events: 0, last: None, wait: RETRY, fruitless: 0, is_over: false }
    }

    /// Up to the answer; where that does not come, to whatever was said before.
    pub fn messages(self) -> From {
        let next = |mut events: Self| async move { Some((Ok(events.next().await?), events)) };
        stream::unfold(self, next).boxed()
    }

    async fn next(&mut self) -> Option<Sse> {
        while !self.is_over {
            let heard = match self.from.next().await {
                Some(Ok(event)) => self.hear(event),
                Some(Err(SseError::Body(_))) if self.bytes.load(Ordering::Relaxed) > LINE_BYTES_MAX => {
                    Err(format!("its answer is longer than {LINE_BYTES_MAX} bytes"))
                }
                Some(Err(SseError::Body(why))) => self.take_up(format!("its answer broke off: {why}")).await,
                Some(Err(why)) => Err(format!("it sent what is no event: {why}")),
                None => self.take_up("its answer ended before it was whole".to_owned()).await,
            };
            match heard {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(why) => {
                    self.remote.give_up(why);
                    self.is_over = true;
                }
            }
        }
        None
    }

    /// The message that is to be heard, without what another client would take it up by.
    fn hear(&mut self, event: Sse) -> Result<Option<Sse>, String> {
        self.events = self.events.saturating_add(1);
        if self.events > EVENTS_MAX {
            return Err(format!("its answer is more than {EVENTS_MAX} events"));
        }
        self.fruitless = 0;
        if let Some(id) = event.id {
            let can_be_sent = (1..=EVENT_ID_BYTES_MAX).contains(&id.len());
            self.last = HeaderValue::from_str(&id).ok().filter(|_| can_be_sent);
        }
        if let Some(retry) = event.retry {
            self.wait = Duration::from_millis(retry).max(RETRY_MIN);
        }
        let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
        let Some(data) = event.data.filter(|_| is_message) else { return Ok(None) };
        let Ok(message) = serde_json::from_str::<ServerJsonRpcMessage>(&data) else { return Ok(None) };
        let is_heard = match &message {
            ServerJsonRpcMessage::Request(_) => self.again.is_some() && self.remote.may_answer(),
            ServerJsonRpcMessage::Notification(_) => {
                self.remote.listen(&message);
                true
            }
            ServerJsonRpcMessage::Response(response) => self.ends_with(Some(&response.id)),
            ServerJsonRpcMessage::Error(error) => self.ends_with(error.id.as_ref()),
        };
        Ok(is_heard.then(|| Sse::default().data(data)))
    }

    /// Whether this is the answer, behind which nothing is waited for. Some servers give a number back as a text.
    fn ends_with(&mut self, answered: Option<&RequestId>) -> bool {
        let is_answer = answered.is_some_and(|id| id.to_string() == self.request.to_string());
        self.is_over |= is_answer;
        is_answer
    }

    /// Asks for what follows the last event, as late and as often as may be; or says why it cannot.
    async fn take_up(&mut self, why: String) -> Result<Option<Sse>, String> {
        let (Some(mut headers), Some(last)) = (self.again.clone(), self.last.clone()) else { return Err(why) };
        headers.insert(LAST_EVENT_ID, last);
        while self.fruitless < FRUITLESS_MAX {
            self.fruitless = self.fruitless.saturating_add(1);
            if self.remote.left()? <= self.wait {
                return Err(format!("{why}; the call's time is over before it wants to be asked again"));
            }
            tokio::time::sleep(self.wait).await;
            match self.remote.ask(Method::Get, &headers, Bytes::new()).await {
                Err(Setback { why, is_final: true, .. }) => return Err(why),
                Err(Setback { is_final: false, .. }) => {}
                Ok(coming) => match coming.head().status {
                    200 if coming.head().content_type().as_deref() == Some(EVENTS) => {
                        self.from = read(coming, Arc::clone(&self.bytes));
                        return Ok(None);
                    }
                    429 | 500..=599 => {}
                    status => return Err(format!("{why}; asked for the rest, it answered {status}")),
                },
            }
        }
        Err(format!("{why}; {FRUITLESS_MAX} requests for the rest brought nothing"))
    }
}

/// The events of one body.
fn read(coming: Coming, bytes: Arc<AtomicUsize>) -> From {
    let pieces = stream::unfold(Some(coming), move |coming| {
        let bytes = Arc::clone(&bytes);
        async move {
            let mut coming = coming?;
            let (piece, rest) = match coming.piece().await {
                Ok(Piece::Bytes(piece)) => (piece, Some(coming)),
                Ok(Piece::End(piece)) => (piece, None),
                Ok(Piece::Broken) => return Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
                Ok(Piece::TooLong) => {
                    bytes.store(usize::MAX, Ordering::Relaxed);
                    return Some((Err(io::ErrorKind::FileTooLarge.into()), None));
                }
                Err(fault) => return Some((Err(io::Error::other(fault)), None)),
            };
            let before = bytes.fetch_add(piece.len(), Ordering::Relaxed);
            let is_short = before.saturating_add(piece.len()) <= LINE_BYTES_MAX;
            Some((is_short.then(|| Bytes::from(piece)).ok_or_else(|| io::ErrorKind::FileTooLarge.into()), rest))
        }
    });
    SseStream::from_bytes_stream(pieces).boxed()
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
