//! What waits, as a stream of server-sent events: first all that waits now, then what begins to wait and what ends.
use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse;
use http::Extensions;
use serde_json::json;

use crate::auth::{Operator, Speaker, Standing};
use crate::door::{Closing, Door, closed};
use crate::error::{Problem, Why};
use crate::events::End;
use crate::frames::{self, Frames, Gone};
use crate::notices::{Follower, Notice};

pub async fn stream(
    _: Operator,
    speaker: Speaker,
    State(door): State<Door>,
    extensions: Extensions,
) -> Result<Response, Problem> {
    let place = door.places.stream(speaker.caller())?;
    let (frames, out) = frames::frames(Some(place));
    let feed = Feed { follower: Follower::new(door), waits: BTreeMap::new(), frames };
    tokio::spawn(feed.run(Closing::of(&extensions), speaker.standing().clone()));
    Ok(frames::answer(out))
}

struct Feed {
    follower: Follower,
    /// What the reader knows to wait, by its id.
    waits: BTreeMap<String, Notice>,
    frames: Frames,
}

impl Feed {
    /// Until the reader hangs up, or there is a reason to; the reader is told which.
    async fn run(mut self, closing: Option<Closing>, standing: Standing) {
        let frames = self.frames.clone();
        let end: Result<(), End> = tokio::select! {
            told = self.follow() => told,
            () = frames.closed() => Err(End::Gone),
            () = closed(closing) => Err(End::Problem(Problem::draining())),
            () = standing.withdrawn() => Err(End::Problem(Problem::withdrawn())),
        };
        if let Err(End::Problem(problem)) = end {
            let _: Result<(), Gone> =
                frames.send(sse::Event::default().event("end"), problem.shown().to_string()).await;
        }
    }

    async fn follow(&mut self) -> Result<(), End> {
        loop {
            let now = match self.follower.now().await {
                Ok(now) => now,
                Err(problem) if problem.why == Why::Unreadable => self.waits.values().cloned().collect(),
                Err(problem) => return Err(problem.into()),
            };
            let ended: Vec<String> =
                self.waits.keys().filter(|id| now.iter().all(|notice| notice.id != **id)).cloned().collect();
            for id in ended {
                if let Some(notice) = self.waits.remove(&id) {
                    let kind = notice.kind;
                    let how = self.follower.how(notice).await?;
                    self.tell("ended", json!({ "id": id, "kind": kind, "how": how }).to_string()).await?;
                }
            }
            for notice in &now {
                if !self.waits.contains_key(&notice.id) {
                    self.tell("waits", json!(notice).to_string()).await?;
                    self.waits.insert(notice.id.clone(), notice.clone());
                }
            }
            self.follower.change(&now).await;
        }
    }

    async fn tell(&self, event: &str, data: String) -> Result<(), End> {
        Ok(self.frames.send(sse::Event::default().event(event), data).await?)
    }
}
