//! What a session has running: started here, awaited here, let go of here. The table outlives a
//! refold of the session, so that an effect that ended while the journal was away is not lost.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backstay_kernel::Permit;
use backstay_kernel::effect::{CallRef, Effect, Failure, FailureClass, Inspection, Outcome, Probed};
use backstay_kernel::facts::{Facts, Invalid};
use backstay_kernel::flow::{Named, Wish};
use backstay_kernel::id::{BodyRef, EffectId, RepeatKey, Seq};
use backstay_kernel::record::{BounceReason, InScope};
use backstay_kernel::{Bounce, Input};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, JoinError, JoinHandle, JoinSet};

use crate::bodies::Bodies;
use crate::limits::DETAIL_BYTES_MAX;
use crate::world::{Delta, ModelCall, ModelFailure, ModelResult, Refused, ToolCall, ToolEnd, ToolRan, World};

/// What runs, and for which start: another start of the same effect is something else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Key {
    /// Of the call with this key: one that was edited is another.
    Inspect(EffectId, RepeatKey),
    Probe(EffectId),
    Act(EffectId, Seq),
}

impl Key {
    /// `None` for what the driver does itself.
    pub fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::Prepare { .. } => None,
            Effect::Inspect { id, call } => Some(Self::Inspect(*id, call.repeat)),
            Effect::Probe { id, .. } => Some(Self::Probe(*id)),
            Effect::Model { id, started, .. } | Effect::Tool { id, started, .. } => Some(Self::Act(*id, *started)),
        }
    }
}

/// How something ended, with its texts not yet sealed.
#[derive(Clone, Debug)]
pub enum End {
    Inspected(Result<Facts, Refused>),
    Probed(Probed),
    Tool(ToolEnd),
    Model(ModelResult),
    /// Past its limit, and it goes on: another end of the same key will come.
    Overdue,
    /// Turned back at the last look: nothing was done.
    Bounced(BounceReason),
    /// What the call says is no longer known: nothing was done.
    NotStarted,
}

#[derive(Clone, Debug)]
pub struct Finished {
    pub key: Key,
    pub end: End,
}

enum Step {
    Ended(Box<Finished>),
    Overdue(Key, JoinHandle<ToolEnd>),
}

pub struct Running {
    world: Arc<dyn World>,
    tasks: JoinSet<Step>,
    table: HashMap<Key, AbortHandle>,
    /// By which tools are told to end.
    halts: HashMap<Key, Arc<AtomicBool>>,
    /// Ended, and not yet in the journal.
    unrecorded: Vec<Finished>,
    /// How many of them the present pass has taken in.
    taken: usize,
}

impl Running {
    pub fn new(world: Arc<dyn World>) -> Self {
        Self {
            world,
            tasks: JoinSet::new(),
            table: HashMap::new(),
            halts: HashMap::new(),
            unrecorded: Vec::new(),
            taken: 0,
        }
    }

    pub fn holds(&self, key: Key) -> bool {
        self.table.contains_key(&key) || self.unrecorded.iter().any(|finished| finished.key == key)
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty() && self.unrecorded.is_empty()
    }

    /// The next end of anything; pending for ever where nothing runs. Safe to cancel.
    pub async fn next(&mut self) -> Finished {
        loop {
            match self.tasks.join_next_with_id().await {
                Some(Ok((_, Step::Ended(finished)))) => {
                    self.table.remove(&finished.key);
                    self.halts.remove(&finished.key);
                    return *finished;
                }
                // It may act at any moment, so it is held until it has ended.
                Some(Ok((_, Step::Overdue(key, work)))) => {
                    let handle = self.tasks.spawn(async move { Step::Ended(Box::new(ran(key, work.await))) });
                    self.table.insert(key, handle);
                    return Finished { key, end: End::Overdue };
                }
                // Let go of, or a panic in an adapter.
                Some(Err(error)) => {
                    let lost = self.table.iter().find(|(_, handle)| handle.id() == error.id());
                    if let Some(key) = lost.map(|(key, _)| *key) {
                        self.table.remove(&key);
                        return Finished { key, end: broken(key) };
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    pub fn keep(&mut self, finished: Finished) {
        self.unrecorded.push(finished);
    }

    pub fn has_unrecorded(&self) -> bool {
        !self.unrecorded.is_empty()
    }

    /// What has ended and was not taken in yet.
    pub fn take_new(&mut self) -> Vec<Finished> {
        let new = self.unrecorded.iter().skip(self.taken).cloned().collect();
        self.taken = self.unrecorded.len();
        new
    }

    /// The journal has what was taken in.
    pub fn recorded(&mut self) {
        self.unrecorded.drain(..self.taken);
        self.taken = 0;
    }

    /// The session was folded anew and ends at `seq`: what belongs to records that did not get
    /// there is dropped (it can only be pure), and everything else is taken in again.
    pub fn refolded(&mut self, seq: Seq) {
        let kept = |key: &Key| match key {
            Key::Inspect(id, _) | Key::Probe(id) => *id <= seq,
            Key::Act(_, started) => *started <= seq,
        };
        self.unrecorded.retain(|finished| kept(&finished.key));
        self.taken = 0;
        self.retain(|key| kept(&key));
    }

    /// Lets go of whatever should no longer run. A tool cannot be stopped in mid-call; what it does
    /// later is stale, and the kernel lets go of none that could be started again.
    pub fn retain(&mut self, open: impl Fn(Key) -> bool) {
        self.table.retain(|key, handle| {
            let keep = open(*key);
            if !keep {
                handle.abort();
            }
            keep
        });
    }

    /// Tells tools to end. One that has no way to hear it goes on.
    pub fn halt(&mut self, is_over: impl Fn(EffectId) -> bool) {
        for (key, halt) in &self.halts {
            if let Key::Act(id, _) = key
                && is_over(*id)
            {
                halt.store(true, Ordering::Release);
            }
        }
    }

    pub fn inspect(&mut self, key: Key, call: ToolCall) {
        let world = Arc::clone(&self.world);
        self.block(key, move || End::Inspected(world.inspect(&call)));
    }

    pub fn probe(&mut self, id: EffectId, call: ToolCall, facts: Facts) {
        let world = Arc::clone(&self.world);
        self.block(Key::Probe(id), move || End::Probed(world.probe(&call, &facts)));
    }

    /// A call that takes longer than `limit` is reported as overdue, and its end when it comes.
    pub fn tool(
        &mut self,
        permit: Permit,
        call: ToolCall,
        facts: Facts,
        slot: Option<OwnedSemaphorePermit>,
        limit: Duration,
    ) {
        let world = Arc::clone(&self.world);
        let key = Key::Act(permit.effect(), permit.started());
        self.halts.insert(key, Arc::clone(&call.halt));
        let mut work = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            world.run_tool(permit, &call, &facts)
        });
        let handle = self.tasks.spawn(async move {
            match tokio::time::timeout(limit, &mut work).await {
                Ok(result) => Step::Ended(Box::new(ran(key, result))),
                Err(_) => Step::Overdue(key, work),
            }
        });
        self.table.insert(key, handle);
    }

    pub fn model(
        &mut self,
        call: ModelCall,
        slot: Option<OwnedSemaphorePermit>,
        on_delta: Box<dyn FnMut(Delta) + Send>,
    ) {
        let key = Key::Act(call.permit.effect(), call.permit.started());
        let reply = self.world.call_model(call, on_delta);
        let handle = self.tasks.spawn(async move {
            let _slot = slot;
            Step::Ended(Box::new(Finished { key, end: End::Model(reply.await) }))
        });
        self.table.insert(key, handle);
    }

    fn block(&mut self, key: Key, work: impl FnOnce() -> End + Send + 'static) {
        let handle = self.tasks.spawn_blocking(move || Step::Ended(Box::new(Finished { key, end: work() })));
        self.table.insert(key, handle);
    }
}

/// The end of a tool's thread. Of one that panicked nobody knows what it had done before.
fn ran(key: Key, result: Result<ToolEnd, JoinError>) -> Finished {
    Finished { key, end: End::Tool(result.unwrap_or(ToolRan::Unknown.into())) }
}

/// What it is to the session that a call was erased before this could be done for it.
pub fn erased(key: Key) -> End {
    match key {
        Key::Inspect(..) => {
            End::Inspected(Err(Refused { why: Invalid::Unreadable, detail: "its arguments were erased".to_owned() }))
        }
        Key::Probe(_) => End::Probed(Probed::Neither),
        Key::Act(..) => End::NotStarted,
    }
}

/// What a panic in an adapter is to the session: an end like any other, so that it is counted.
fn broken(key: Key) -> End {
    let detail = "a fault of Backstay: this adapter panicked; its log says where".to_owned();
    match key {
        Key::Inspect(..) => End::Inspected(Err(Refused { why: Invalid::Unreadable, detail })),
        Key::Probe(_) => End::Probed(Probed::Neither),
        // Panics of tools are met on their own thread.
        Key::Act(..) => {
            End::Model(Err(ModelFailure { class: FailureClass::Invalid, retry_at: None, detail, billed: true }))
        }
    }
}

/// Seals what has ended, and says it as the kernel hears it. The second part is a text to remember
/// in the same commit.
pub fn input(
    finished: Finished,
    bodies: &mut Bodies,
    tools: &dyn Fn(&str) -> bool,
    jitter: u64,
    (named, planned): (Named, Option<Vec<Wish>>),
) -> (Input, Option<String>) {
    let (effect, started) = match finished.key {
        Key::Inspect(id, _) | Key::Probe(id) => (id, Seq(0)),
        Key::Act(id, started) => (id, started),
    };
    let mut connections = Vec::new();
    let (outcome, memory) = match finished.end {
        End::Inspected(found) => {
            let inspection = match found {
                Ok(facts) => Inspection::Facts(facts),
                Err(refused) => {
                    Inspection::Invalid { why: refused.why, detail: bodies.seal(clip(refused.detail).into_bytes()) }
                }
            };
            return (Input::Inspected { effect, inspection, named }, None);
        }
        End::Probed(found) => return (Input::Probed { effect, found }, None),
        End::Tool(ToolEnd { ran, connections: made, created }) => {
            connections = made;
            tool_outcome(ran, created, bodies)
        }
        End::Model(result) => (model_outcome(result, bodies, tools, jitter, planned), None),
        End::Overdue => (Outcome::Overdue, None),
        End::NotStarted => (Outcome::NotStarted, None),
        End::Bounced(reason) => return (Input::Bounced(Bounce { effect, reason }), None),
    };
    (Input::Ended { effect, started, outcome, connections }, memory)
}

fn tool_outcome(ran: ToolRan, created: Option<String>, bodies: &mut Bodies) -> (Outcome, Option<String>) {
    match ran {
        ToolRan::Done { mut text, spill, memory, label } => {
            // The number of what is kept is new each time; a repeated call is one all the same.
            let repeat = bodies.result_key(&text);
            let spill = spill.map(|full| bodies.seal(full));
            if let Some(body) = &spill {
                let BodyRef { id, bytes, .. } = body;
                text.push_str(&format!("\n[the full output, {bytes} bytes, is kept: read_output with id {id}]"));
            }
            let result = bodies.seal(text.into_bytes());
            let created = created.map(|id| bodies.seal(id.into_bytes()));
            (Outcome::Done { result, spill, repeat, label, created }, memory)
        }
        ToolRan::Failed { text, label } => {
            let repeat = bodies.result_key(&text);
            let result = bodies.seal(text.into_bytes());
            (Outcome::Failed { result, repeat, label }, None)
        }
        ToolRan::Unknown => (Outcome::Unknown, None),
    }
}

fn model_outcome(
    result: ModelResult,
    bodies: &mut Bodies,
    tools: &dyn Fn(&str) -> bool,
    jitter: u64,
    planned: Option<Vec<Wish>>,
) -> Outcome {
    let reply = match result {
        Ok(reply) => reply,
        Err(failure) => {
            return Outcome::ModelFailed(Failure {
                class: failure.class,
                retry_at: failure.retry_at,
                detail: bodies.seal(clip(failure.detail).into_bytes()),
                billed: failure.billed,
                jitter_permille: jitter,
            });
        }
    };
    let text = (!reply.text.is_empty()).then(|| bodies.seal(reply.text.into_bytes()));
    if let Some(wishes) = planned {
        let entries = wishes.iter().map(|wish| InScope { tool: wish.tool.clone(), count: wish.count }).collect();
        let body = bodies.seal(serde_json::to_vec(&wishes).unwrap_or_default());
        return Outcome::Scoped { said: text, entries, body, finish: reply.finish, usage: reply.usage };
    }
    let calls = if reply.calls.is_empty() {
        Vec::new()
    } else {
        let stored = bodies.seal(reply.calls_json.into_bytes());
        let calls = reply.calls.iter().zip(0u32..);
        let reference = |(call, index): (&crate::world::RawCall, u32)| CallRef {
            calls: stored,
            index,
            tool: tools(&call.name).then(|| call.name.clone()),
            repeat: bodies.call_key(&call.name, &call.arguments),
        };
        calls.map(reference).collect()
    };
    Outcome::Replied { text, calls, finish: reply.finish, usage: reply.usage }
}

fn clip(mut text: String) -> String {
    if text.len() > DETAIL_BYTES_MAX {
        let end = (0..=DETAIL_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_explanation_is_cut_between_two_characters() {
        assert_eq!(clip(format!("a{}", "ä".repeat(2000))).len(), DETAIL_BYTES_MAX - 1);
        assert_eq!(clip("short".to_owned()), "short");
    }
}
