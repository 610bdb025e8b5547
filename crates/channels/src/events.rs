//! The live view of a session as server-sent events: records from the journal, then as they are
//! committed, and between them the text that is being written.
use axum::extract::State;
use axum::response::Response;
use axum::response::sse;
use backstay_engine::{Delta, Event, Placed};
use backstay_kernel::id::{Seq, SessionId};
use http::{Extensions, HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::auth::{Speaker, Standing};
use crate::door::{Closing, Door, closed};
use crate::error::Problem;
use crate::frames::{self, Frames, Gone};
use crate::input::{Asked, OfSession};
use crate::limits::{REPLAY_BYTES_MAX, REPLAY_PAGE};
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
    door.session_of(&speaker, id).await?;
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok().map(Seq));
    let after = resumed.or(from.after).unwrap_or_default();
    let place = door.places.stream(speaker.caller())?;
    let events = door.engine.subscribe(speaker.caller().role, id).await?;
    let (frames, out) = frames::frames(Some(place));
    let feed = Feed { door, session: id, last: after, frames };
    tokio::spawn(feed.run(events, Closing::of(&extensions), speaker.standing().clone()));
    Ok(frames::answer(out))
}

/// Why a stream goes no further.
pub enum End {
    Gone,
    Problem(Problem),
}

impl std::convert::From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl std::convert::From<Problem> for End {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

struct Feed {
    door: Door,
    session: SessionId,
    /// The latest record that was sent.
    last: Seq,
    frames: Frames,
}

impl Feed {
    /// Until the reader hangs up, or there is a reason to; the reader is told which.
    async fn run(mut self, mut events: Receiver<Event>, closing: Option<Closing>, standing: Standing) {
        let frames = self.frames.clone();
        let told = async {
            self.replay().await?;
            loop {
                self.tell(events.recv().await).await?;
            }
        };
        let end: Result<(), End> = tokio::select! {
            told = told => told,
            () = frames.closed() => Err(End::Gone),
            () = closed(closing) => Err(End::Problem(Problem::draining())),
            () = standing.withdrawn() => Err(End::Problem(Problem::withdrawn())),
        };
        if let Err(End::Problem(problem)) = end {
            let _: Result<(), Gone> =
                frames.send(sse::Event::default().event("end"), problem.shown().to_string()).await;
        }
    }

    async fn tell(&mut self, event: Result<Event, RecvError>) -> Result<(), End> {
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
                Ok(self.frames.send(sse::Event::default().event("delta"), data.to_string()).await?)
            }
            Ok(Event::Reset { effect }) => {
                let data = json!({ "effect": effect });
                Ok(self.frames.send(sse::Event::default().event("reset"), data.to_string()).await?)
            }
            Ok(Event::Missed) | Err(RecvError::Lagged(_)) => self.replay().await,
            Err(RecvError::Closed) => Err(Problem::draining().into()),
        }
    }

    /// Sends what the journal has after the latest record that was sent.
    async fn replay(&mut self) -> Result<(), End> {
        loop {
            let (session, last) = (self.session, self.last);
            let page = self.door.off_thread(move |door| Ok(door.reader.records(session, last, REPLAY_PAGE)?));
            let page = page.await?;
            if page.is_empty() {
                return Ok(());
            }
            self.send(page).await?;
        }
    }

    /// Their texts are read as the reader takes them, and not before.
    async fn send(&mut self, mut placed: Vec<Placed>) -> Result<(), End> {
        while !placed.is_empty() {
            let read = self.door.off_thread(move |door| Ok((records::page(door, &placed, REPLAY_BYTES_MAX)?, placed)));
            let (items, mut rest) = read.await?;
            placed = rest.split_off(items.len());
            for (Placed { seq, .. }, item) in rest.into_iter().zip(items) {
                let kind = item.get("kind").and_then(Value::as_str).unwrap_or_default();
                let frame = sse::Event::default().id(seq.0.to_string()).event(kind);
                self.frames.send(frame, item.to_string()).await?;
                self.last = seq;
            }
        }
        Ok(())
    }
}
