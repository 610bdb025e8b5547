//! Follows one turn to its reply, its wait, or the end of this process. Only what belongs to this
//! turn is told: a session may work on another one first.
use std::collections::BTreeSet;

use backstay_engine::{Delta, Event, TurnState};
use backstay_kernel::budget::Usage;
use backstay_kernel::id::{BodyRef, EffectId, Place, Seq};
use backstay_kernel::record::{Completion, End, Planned, Record, StopReason, TurnEnded};
use backstay_kernel::{Head, Session, Wait};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::words;
use crate::door::Door;
use crate::error::Problem;
use crate::waits::{self, Kind, question_of};

/// What there is to tell next.
#[derive(Debug)]
pub enum Step {
    Text {
        effect: EffectId,
        text: String,
    },
    /// What was told of this effect does not count any more.
    Withdrawn {
        effect: EffectId,
    },
    Paused(Pause),
    Ended(Finished),
}

/// The turn waits for somebody.
#[derive(Clone, Debug)]
pub struct Pause {
    /// Its name.
    pub wait: &'static str,
    /// What is waited for, where it has a name.
    pub id: Option<Place>,
    pub words: String,
}

#[derive(Clone, Debug)]
pub struct Finished {
    pub reason: StopReason,
    /// In the model's words, if it had any.
    pub reply: Option<String>,
    /// The model call that gave it, where this process saw it.
    pub effect: Option<EffectId>,
    pub completion: Completion,
}

pub struct Follow {
    door: Door,
    place: Place,
    events: Receiver<Event>,
    /// Of the home, where a freeze lets nothing go on.
    changes: watch::Receiver<()>,
    /// Model calls of the turn whose every event was heard.
    heard: BTreeSet<EffectId>,
    last_reply: Option<EffectId>,
    usage: Usage,
    /// Everything since the message was heard.
    complete: bool,
    /// To be told before anything new.
    first: Option<Step>,
}

impl Follow {
    /// A turn that was just begun, heard from before its message.
    #[must_use]
    pub fn fresh(door: &Door, place: Place, events: Receiver<Event>) -> Self {
        Self {
            door: door.clone(),
            place,
            events,
            changes: door.engine.home().changes(),
            heard: BTreeSet::new(),
            last_reply: None,
            usage: Usage::default(),
            complete: true,
            first: None,
        }
    }

    /// A turn that may be anywhere.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn attach(door: &Door, place: Place, events: Receiver<Event>) -> Result<Self, Problem> {
        let mut follow = Self { complete: false, ..Self::fresh(door, place, events) };
        follow.first = follow.look().await?;
        Ok(follow)
    }

    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// # Errors
    /// The journal cannot be read, or the session is gone with the process.
    pub async fn next(&mut self) -> Result<Step, Problem> {
        if let Some(step) = self.first.take() {
            return Ok(step);
        }
        loop {
            let event = tokio::select! {
                event = self.events.recv() => event,
                Ok(()) = self.changes.changed() => {
                    if let Some(step) = self.look_if_frozen().await? {
                        return Ok(step);
                    }
                    continue;
                }
            };
            let step = match event {
                Ok(Event::Committed { first, records, head, .. }) => self.committed(first, &records, &head).await?,
                Ok(Event::Delta { effect, delta: Delta::Text(text), .. }) if self.heard.contains(&effect) => {
                    Some(Step::Text { effect, text })
                }
                Ok(Event::Reset { effect }) if self.heard.contains(&effect) => Some(Step::Withdrawn { effect }),
                Ok(Event::Delta { .. } | Event::Reset { .. }) => None,
                Ok(Event::Missed) | Err(RecvError::Lagged(_)) => {
                    self.complete = false;
                    self.heard.clear();
                    self.look().await?
                }
                Err(RecvError::Closed) => return Err(Problem::draining()),
            };
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// What the turn's model calls were billed.
    pub async fn usage(&self) -> Result<Usage, Problem> {
        if self.complete {
            return Ok(self.usage);
        }
        let place = self.place;
        let read = self.door.off_thread(move |door| {
            let mut own = BTreeSet::new();
            let mut usage = Usage::default();
            for placed in door.turn(place)?.view.records {
                if let Record::Planned(Planned::Model { turn, .. } | Planned::Scope { turn, .. }) = &placed.record
                    && *turn == place.seq
                {
                    own.insert(placed.seq);
                }
                if let Record::Ended(ended) = &placed.record
                    && own.contains(&ended.effect)
                {
                    usage = plus(usage, &ended.end);
                }
            }
            Ok(usage)
        });
        read.await
    }

    /// Where the journal says that the turn stands.
    async fn look(&self) -> Result<Option<Step>, Problem> {
        let place = self.place;
        let looked = self.door.off_thread(move |door| {
            let view = door.turn(place)?.view;
            if let TurnState::Ended(reason) = view.state {
                let finished = finish(door, reason, view.reply.as_ref(), None, view.completion)?;
                return Ok(Some(Step::Ended(finished)));
            }
            Ok(pause(door, &door.fold(place.session)?, place.seq)?.map(Step::Paused))
        });
        looked.await
    }

    async fn look_if_frozen(&self) -> Result<Option<Step>, Problem> {
        if self.door.engine.home().switches().frozen { self.look().await } else { Ok(None) }
    }

    /// Notes what a record says of this turn; returns its end.
    fn take<'a>(&mut self, seq: Seq, record: &'a Record) -> Option<&'a TurnEnded> {
        if let Record::Planned(Planned::Model { turn, .. } | Planned::Scope { turn, .. }) = record
            && *turn == self.place.seq
        {
            self.heard.insert(seq);
        }
        if let Record::Ended(ended) = record
            && self.heard.contains(&ended.effect)
        {
            self.usage = plus(self.usage, &ended.end);
            let replied = matches!(ended.end, End::Replied { .. });
            self.last_reply = if replied { Some(ended.effect) } else { self.last_reply };
        }
        let Record::TurnEnded(ended) = record else { return None };
        (ended.turn == self.place.seq).then_some(ended)
    }

    async fn committed(&mut self, first: Seq, records: &[Record], head: &Head) -> Result<Option<Step>, Problem> {
        for (seq, record) in (first.0..).map(Seq).zip(records) {
            if let Some(ended) = self.take(seq, record) {
                let (ended, effect) = (ended.clone(), self.last_reply);
                let read =
                    move |door: &Door| finish(door, ended.reason, ended.reply.as_ref(), effect, ended.completion);
                return Ok(Some(Step::Ended(self.door.rows_of(self.place.session, read).await?)));
            }
        }
        // Beside what waits for a person, a call that an earlier turn has left may run.
        if !head.people && !matches!(head.wait, Wait::Provider | Wait::Stopped) {
            return self.look_if_frozen().await;
        }
        let place = self.place;
        let paused = self.door.off_thread(move |door| pause(door, &door.fold(place.session)?, place.seq));
        Ok(paused.await?.map(Step::Paused))
    }
}

fn finish(
    door: &Door,
    reason: StopReason,
    reply: Option<&BodyRef>,
    effect: Option<EffectId>,
    completion: Completion,
) -> Result<Finished, Problem> {
    let reply = reply.map(|reply| door.text(reply)).transpose()?.flatten().filter(|text| !text.is_empty());
    Ok(Finished { reason, reply, effect, completion })
}

fn plus(sum: Usage, end: &End) -> Usage {
    let End::Replied { usage: Some(usage), .. } = end else { return sum };
    Usage {
        uncached: sum.uncached.saturating_add(usage.uncached),
        cache_read: sum.cache_read.saturating_add(usage.cache_read),
        cache_write: sum.cache_write.saturating_add(usage.cache_write),
        output: sum.output.saturating_add(usage.output),
        reasoning: sum.reasoning.saturating_add(usage.reasoning),
    }
}

/// What the turn waits for, in words.
fn pause(door: &Door, state: &Session, turn: Seq) -> Result<Option<Pause>, Problem> {
    if state.stopped && state.queue.iter().any(|waiting| waiting.seq == turn) {
        return Ok(Some(Pause { wait: Wait::Stopped.word(), id: None, words: words::stopped(state.id) }));
    }
    let (waiting, frozen) = waits::of_turn_here(door, state, turn);
    let Some(waiting) = waiting else {
        return Ok(frozen.then(|| Pause { wait: waits::FROZEN, id: None, words: words::frozen() }));
    };
    let call = door.call_of(state, waiting.effect)?.0;
    let words = match waiting.kind {
        Kind::Approval { .. } => words::approval(&call.tool, waiting.place()),
        Kind::Question => question_of(&call),
        Kind::Doubt => words::doubt(&call.tool, waiting.place()),
        Kind::Parked { .. } => words::parked(&call.tool),
        Kind::Provider { .. } => words::provider(),
    };
    Ok(Some(Pause { wait: waiting.wait().word(), id: Some(waiting.place()), words }))
}
