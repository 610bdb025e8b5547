//! The frames of one event stream on their way to its reader. Few wait at a time, and few bytes: a
//! slow reader makes its own stream wait, and nobody else.
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::limits::{FRAME_BYTES_MAX, FRAMES_MAX, HEARTBEAT};
use crate::places::Place;

/// The reader has hung up.
#[derive(Debug)]
pub struct Gone;

/// Where frames go in.
#[derive(Clone, Debug)]
pub struct Frames {
    out: mpsc::Sender<(Event, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// Where they come out; one stream of its principal.
#[derive(Debug)]
pub struct Out {
    frames: mpsc::Receiver<(Event, OwnedSemaphorePermit)>,
    _place: Option<Place>,
}

/// A stream that holds `place`, where it has one, until it ends.
#[must_use]
pub fn frames(place: Option<Place>) -> (Frames, Out) {
    let (out, frames) = mpsc::channel(FRAMES_MAX);
    let room = Arc::new(Semaphore::new(bytes(FRAME_BYTES_MAX)));
    (Frames { out, room }, Out { frames, _place: place })
}

fn bytes(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Frames {
    /// Waits for room. A frame larger than all of it goes alone.
    ///
    /// # Errors
    /// The reader has hung up.
    pub async fn send(&self, frame: Event, data: String) -> Result<(), Gone> {
        let weight = u32::try_from(data.len()).unwrap_or(u32::MAX).min(FRAME_BYTES_MAX);
        let room = tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(weight) => room.map_err(|_| Gone)?,
            () = self.out.closed() => return Err(Gone),
        };
        self.out.send((frame.data(data), room)).await.map_err(|_| Gone)
    }

    pub async fn closed(&self) {
        self.out.closed().await;
    }
}

impl Stream for Out {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_recv(context).map(|frame| frame.map(|(event, _room)| Ok(event)))
    }
}

/// The stream as an answer that says now and then that it is alive.
pub fn answer(out: Out) -> Response {
    Sse::new(out).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_slow_reader_is_bounded_in_bytes() {
        let (sender, mut out) = frames(None);
        let large = "x".repeat(bytes(FRAME_BYTES_MAX) * 2);
        sender.send(Event::default(), large.clone()).await.unwrap();
        let second = tokio::time::timeout(HEARTBEAT, sender.send(Event::default(), "small".into()));
        assert!(second.await.is_err(), "there is no room beside the large one");
        let next = poll_fn(|context| Pin::new(&mut out).poll_next(context)).await;
        assert!(next.is_some());
        sender.send(Event::default(), large).await.unwrap();
        drop(out);
        assert!(sender.send(Event::default(), "late".into()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_slow_reader_is_bounded_in_frames() {
        let (sender, _out) = frames(None);
        for _ in 0..FRAMES_MAX {
            sender.send(Event::default(), "x".into()).await.unwrap();
        }
        let one_more = tokio::time::timeout(HEARTBEAT, sender.send(Event::default(), "x".into()));
        assert!(one_more.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_says_now_and_then_that_it_is_alive() {
        let (_sender, out) = frames(None);
        let mut body = answer(out).into_body().into_data_stream();
        let begun = tokio::time::Instant::now();
        let comment = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await.unwrap().unwrap();
        assert!(comment.starts_with(b":"), "{comment:?}");
        assert_eq!(begun.elapsed(), std::time::Duration::from_secs(15));
    }
}
