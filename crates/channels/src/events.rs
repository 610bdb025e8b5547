//! The live view of a session as server-sent events: records from the journal, then as they are
//! committed, and between them the text that is being written.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use backstay_engine::{Delta, Event, Placed};
use backstay_kernel::id::{Seq, SessionId};
use futures_core::Stream;
use http::{Extensions, HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::auth::Speaker;
use crate::door::{Closing, Door, closed};
use crate::error::Problem;
use crate::input::{Asked, OfSession};
use crate::limits::{FRAMES_MAX, HEARTBEAT, REPLAY_PAGE};
use crate::records;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    after: Option<Seq>,
}

pub async fn stream(
    speaker: Speaker,
    State(door): State<Door>,
    OfSession(id): OfSession,
    headers: HeaderMap,
    extensions: Extensions,
    Asked(from): Asked<From>,
) -> Result<Response, Problem> {
    door.session_of(&speaker, id)?;
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok().map(Seq));
    let after = resumed.or(from.after).unwrap_or_default();
    let events = door.engine.subscribe(id).await?;
    let (frames, out) = mpsc::channel(FRAMES_MAX);
    let feed = Feed { door, session: id, last: after, frames };
    tokio::spawn(feed.run(events, Closing::of(&extensions)));
    Ok(answer(out))
}

/// A stream of frames as an answer that says now and then that it is alive.
pub fn answer(frames: mpsc::Receiver<sse::Event>) -> Response {
    Sse::new(Frames(frames)).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response()
}

struct Frames(mpsc::Receiver<sse::Event>);

impl Stream for Frames {
    type Item = Result<sse::Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// The reader has hung up.
struct Gone;

struct Feed {
    door: Door,
    session: SessionId,
    /// The latest record that was sent.
    last: Seq,
    frames: mpsc::Sender<sse::Event>,
}

impl Feed {
    async fn run(mut self, mut events: Receiver<Event>, closing: Option<Closing>) {
        let mut end = std::pin::pin!(closed(closing));
        let frames = self.frames.clone();
        let told = async {
            self.replay().await?;
            loop {
                self.tell(events.recv().await).await?;
            }
        };
        let _: Option<Result<(), Gone>> = tokio::select! {
            told = told => Some(told),
            () = frames.closed() => None,
            () = &mut end => None,
        };
    }

    async fn tell(&mut self, event: Result<Event, RecvError>) -> Result<(), Gone> {
        match event {
            Ok(Event::Committed { at, first, records, .. }) => {
                // The receiver is older than the replay: what that has sent is not sent again.
                let placed = (first.0..).map(Seq).zip(records.iter());
                let new: Vec<Placed> = placed
                    .filter(|(seq, _)| *seq > self.last)
                    .map(|(seq, record)| Placed { seq, at, record: record.clone() })
                    .collect();
                self.send(new).await
            }
            Ok(Event::Delta { effect, delta, .. }) => {
                let (kind, text) = match delta {
                    Delta::Text(text) => ("text", text),
                    Delta::Reasoning(text) => ("reasoning", text),
                };
                let data = json!({ "effect": effect, "kind": kind, "text": text });
                self.frame(sse::Event::default().event("delta").data(data.to_string())).await
            }
            Ok(Event::Reset { effect }) => {
                let data = json!({ "effect": effect });
                self.frame(sse::Event::default().event("reset").data(data.to_string())).await
            }
            Err(RecvError::Lagged(_)) => self.replay().await,
            Err(RecvError::Closed) => Err(Gone),
        }
    }

    /// Sends what the journal has after the latest record that was sent.
    async fn replay(&mut self) -> Result<(), Gone> {
        loop {
            let (session, last) = (self.session, self.last);
            let page = self.door.off_thread(move |door| Ok(door.reader.records(session, last, REPLAY_PAGE)?));
            let page = page.await.map_err(|_| Gone)?;
            if page.is_empty() {
                return Ok(());
            }
            self.send(page).await?;
        }
    }

    async fn send(&mut self, placed: Vec<Placed>) -> Result<(), Gone> {
        let items = self.door.off_thread(move |door| {
            placed
                .iter()
                .map(|placed| Ok((placed.seq, records::item(door, placed)?)))
                .collect::<Result<BTreeMap<Seq, Value>, Problem>>()
        });
        for (seq, item) in items.await.map_err(|_| Gone)? {
            let kind = item.get("kind").and_then(Value::as_str).unwrap_or_default();
            let frame = sse::Event::default().id(seq.0.to_string()).event(kind).data(item.to_string());
            self.frame(frame).await?;
            self.last = seq;
        }
        Ok(())
    }

    async fn frame(&self, frame: sse::Event) -> Result<(), Gone> {
        self.frames.send(frame).await.map_err(|_| Gone)
    }
}
