//! How the runtime works, in one file.
//!
//! One task owns a session. It takes what has come in, lets the kernel decide until the kernel is
//! silent, appends everything in one commit, and only then lets anything leave: replies, events,
//! effects. What should run follows from the state, not from what just happened; so a process that
//! was killed goes on through these same lines, and there is no recovery path.
use std::sync::Arc;
use std::time::Duration;

use backstay_kernel::effect::{CallRef, Effect};
use backstay_kernel::frame::{Frame, Slots};
use backstay_kernel::id::{BodyRef, Digest, EffectId, Millis, Seq, SessionId};
use backstay_kernel::limits::ADVANCES_MAX;
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{BounceReason, Mode, Record};
use backstay_kernel::session::Work;
use backstay_kernel::{Head, Input, Session, apply, budget, decide, head, open_effects, start};
use backstay_store::{AppendError, Durable, StoreError};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::bodies::Bodies;
use crate::draft::Draft;
use crate::engine::Shared;
use crate::error::EngineError;
use crate::events::Event;
use crate::limits::{DISK_RETRY, EVENTS_MAX, LINGER, PURE_HOLD};
use crate::live::{Accepted, Asked, Letter, inputs};
use crate::requests::{Requests, Target};
use crate::running::{self, Finished, Key, Running};
use crate::world::{ModelCall, ToolCall};

pub struct SessionTask {
    shared: Arc<Shared>,
    state: Session,
    /// Proof that everything folded into `state` is on disk.
    receipt: Option<Durable>,
    entries_since_snapshot: u64,
    bodies: Bodies,
    requests: Requests,
    running: Running,
    model_slot: Option<OwnedSemaphorePermit>,
    waits_for_slot: bool,
    mailbox: mpsc::Receiver<Letter>,
    own_address: mpsc::WeakSender<Letter>,
    events: broadcast::Sender<Event>,
}

/// Why a pass could not be finished.
enum Setback {
    /// The journal has moved on or a budget is used up: fold again, decide again.
    Again,
    /// The message of this pass was admitted before.
    Duplicate(Accepted, Digest),
    /// The journal cannot be written now.
    Halted(String),
}

impl SessionTask {
    pub fn new(
        shared: Arc<Shared>,
        id: SessionId,
        mailbox: mpsc::Receiver<Letter>,
        own_address: mpsc::WeakSender<Letter>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            state: Session::new(id),
            receipt: None,
            entries_since_snapshot: 0,
            bodies: Bodies::new(shared.store.clone(), id)?,
            requests: Requests::default(),
            running: Running::new(Arc::clone(&shared.world)),
            model_slot: None,
            waits_for_slot: false,
            mailbox,
            own_address,
            events: broadcast::Sender::new(EVENTS_MAX),
            shared,
        })
    }

    /// Lives until the session has had nothing to do for a while.
    pub async fn run(mut self) {
        let mut letters = Vec::new();
        self.refold(&mut letters).await;
        loop {
            match self.pass(&mut letters).await {
                Ok(()) => {
                    if letters.is_empty() && !self.wait(&mut letters).await {
                        return;
                    }
                    continue;
                }
                Err(Setback::Again) => {}
                Err(Setback::Duplicate(before, body)) => answer_duplicate(&mut letters, before, body),
                Err(Setback::Halted(why)) => {
                    tracing::error!(session = %self.state.id, why, "the journal cannot be written; this session waits for it");
                    answer_all(&mut letters, &EngineError::Halted(why));
                    tokio::time::sleep(DISK_RETRY).await;
                }
            }
            self.refold(&mut letters).await;
        }
    }

    /// Waits for a letter, an end or a moment; false where it is time to leave memory.
    async fn wait(&mut self, letters: &mut Vec<Letter>) -> bool {
        if self.running.has_unrecorded() {
            return true;
        }
        let head = head(&self.state);
        let now = self.shared.world.now();
        let wake_at = self.wake_at(&head, now);
        let linger = Instant::now() + LINGER;
        let wake = wake_at.map(|at| Instant::now() + Duration::from_millis(at.saturating_sub(now)));
        let idle = self.running.is_empty() && !head.open;
        let until = match wake {
            Some(wake) if !idle || wake < linger => wake,
            _ => linger,
        };
        tokio::select! {
            letter = self.mailbox.recv() => match letter {
                Some(letter) => letters.push(letter),
                None => return false,
            },
            finished = self.running.next() => self.running.keep(finished),
            () = sleep_until(until) => {
                let leave = idle && wake.is_none_or(|wake| wake > Instant::now());
                if leave && self.events.receiver_count() == 0 {
                    self.mailbox.close();
                    self.shared.left(self.state.id, head.wake_at);
                }
            }
        }
        while let Ok(letter) = self.mailbox.try_recv() {
            letters.push(letter);
        }
        true
    }

    fn wake_at(&self, head: &Head, now: Millis) -> Option<Millis> {
        let policy = self.shared.policy();
        let wall_ms = policy.agents.get(&self.state.agent).map(|agent| agent.caps.wall_ms);
        let wall_at = wall_ms.and_then(|wall| backstay_kernel::open::wall_at(&self.state, wall, now));
        head.wake_at.into_iter().chain(wall_at).min()
    }

    /// Inputs → (decide → apply)* → append → let go out.
    async fn pass(&mut self, letters: &mut Vec<Letter>) -> Result<(), Setback> {
        let policy = self.shared.policy();
        let mut draft = Draft::new(self.state.seq, self.shared.world.now());
        let mut accepted = Vec::new();
        self.note_restore(&policy, &mut draft);
        while let Some(letter) = draft.next_letter(letters) {
            if let Some(yes) = self.take(letter, &policy, &mut draft) {
                accepted.push(yes);
            }
        }
        for finished in self.running.unrecorded() {
            self.take_end(finished, &policy, &mut draft);
        }
        self.advance(&policy, &mut draft);
        self.do_pure(&policy, &mut draft).await;
        if let Err(setback) = self.append(draft).await {
            // Nothing has left; the callers' commands are tried again or answered with the reason.
            letters.extend(accepted.into_iter().map(Taken::back));
            return Err(setback);
        }
        self.running.recorded();
        self.requests.committed();
        for taken in accepted {
            let _ = taken.asked.reply.send(Ok(taken.accepted));
        }
        self.reconcile(&policy);
        Ok(())
    }

    /// A session of a restored home says so before anything else happens in it.
    fn note_restore(&mut self, policy: &Policy, draft: &mut Draft) {
        let (old, new) = (self.state.lineage, self.shared.lineage);
        if self.exists() && old != new {
            let _ = self.decide(Input::Lineage { old, new }, policy, draft);
        }
    }

    fn exists(&self) -> bool {
        self.state.seq != Seq::default()
    }

    fn take(&mut self, letter: Letter, policy: &Policy, draft: &mut Draft) -> Option<Taken> {
        let asked = match letter {
            Letter::Command(asked) => asked,
            Letter::Subscribe(reply) => {
                let _ = reply.send(self.events.subscribe());
                return None;
            }
            Letter::Look => return None,
            Letter::Slot(slot) => {
                self.waits_for_slot = false;
                self.model_slot = Some(slot);
                return None;
            }
        };
        if !self.exists() && !asked.command.opens() {
            let _ = asked.reply.send(Err(EngineError::NoSession));
            return None;
        }
        for input in inputs(asked.command.clone(), self.shared.lineage, &mut self.bodies) {
            if let Err(refusal) = self.decide(input, policy, draft) {
                let _ = asked.reply.send(Err(refusal.into()));
                return None;
            }
        }
        let seq = self.state.seq;
        draft.inbox = draft.inbox.take().or_else(|| asked.inbox_row(seq));
        let open = self.state.turn.as_ref().map(|turn| turn.id);
        // A message begins the turn of its own number, unless it joins the open one.
        let turn = match draft.records.last() {
            Some(Record::Admitted(admitted)) if admitted.mode != Mode::Steer => Some(seq),
            _ => open.or(Some(seq)),
        };
        let accepted = Accepted { session: self.state.id, seq, turn };
        Some(Taken { asked, accepted })
    }

    fn take_end(&mut self, finished: Finished, policy: &Policy, draft: &mut Draft) {
        let known = |tool: &str| {
            policy.agents.get(&self.state.agent).is_some_and(|agent| agent.grants.tools.iter().any(|t| t == tool))
        };
        let jitter = self.shared.world.random() % 1000;
        let (input, memory) = running::input(finished, &mut self.bodies, &known, jitter);
        let records = draft.records.len();
        // An end is never refused; one that is stale says nothing.
        let _ = self.decide(input, policy, draft);
        if draft.records.len() > records {
            draft.memory = memory.map(|text| (self.speaker(), text)).or(draft.memory.take());
        }
    }

    fn speaker(&self) -> String {
        let turn = self.state.turn.as_ref().map(|turn| &turn.principal);
        turn.unwrap_or(&self.state.principal).clone()
    }

    fn decide(
        &mut self,
        input: Input,
        policy: &Policy,
        draft: &mut Draft,
    ) -> Result<(), backstay_kernel::refusal::Refusal> {
        let frame = self.frame(policy, &input);
        let records = decide(&self.state, input, &frame)?;
        for record in records {
            draft.note(&self.state, &record, &frame.allowance);
            apply(&mut self.state, &record);
            draft.records.push(record);
        }
        Ok(())
    }

    fn frame<'a>(&self, policy: &'a Policy, input: &Input) -> Frame<'a> {
        let now = self.shared.world.now();
        // Only the start of a model call looks at the ledger.
        let allowance = if matches!(input, Input::Prepared { .. }) {
            let channel = self.state.turn.as_ref().map_or(&self.state.channel, |t| &t.channel);
            let windows = budget::windows(policy, &self.state.agent, &self.speaker(), channel, now);
            self.shared.used(windows)
        } else {
            Vec::new()
        };
        Frame {
            now,
            boot: self.shared.boot,
            policy,
            switches: self.shared.switches(),
            slots: Slots {
                model: u32::from(self.model_slot.is_some()),
                tool: u32::try_from(self.shared.tool_slots.available_permits()).unwrap_or(u32::MAX),
            },
            allowance,
        }
    }

    /// Lets the kernel move on until it has no more to say.
    fn advance(&mut self, policy: &Policy, draft: &mut Draft) {
        for _ in 0..ADVANCES_MAX {
            let records = draft.records.len();
            let _ = self.decide(Input::Advance, policy, draft);
            if draft.records.len() == records {
                return;
            }
        }
        tracing::error!(session = %self.state.id, "the kernel did not come to rest");
    }

    /// Does what needs no receipt: renders requests, looks at calls, reads. A turn that reads a
    /// file needs no commit of its own for it; what takes longer is not waited for.
    async fn do_pure(&mut self, policy: &Policy, draft: &mut Draft) {
        let until = Instant::now() + PURE_HOLD;
        loop {
            let frame = self.frame(policy, &Input::Advance);
            let pure: Vec<Effect> = open_effects(&self.state, &frame).into_iter().filter(Effect::is_pure).collect();
            let mut rendered = false;
            for effect in &pure {
                rendered |= self.start_pure(effect, policy, draft);
            }
            if rendered {
                self.advance(policy, draft);
                continue;
            }
            let waiting = pure.iter().filter_map(Key::of).any(|key| self.running.holds(key));
            if !waiting {
                return;
            }
            let Ok(finished) = timeout_at(until, self.running.next()).await else { return };
            self.running.keep(finished.clone());
            self.take_end(finished, policy, draft);
            self.advance(policy, draft);
        }
    }

    /// True where the state has moved on by it.
    fn start_pure(&mut self, effect: &Effect, policy: &Policy, draft: &mut Draft) -> bool {
        if Key::of(effect).is_some_and(|key| self.running.holds(key)) {
            return false;
        }
        match effect {
            Effect::Prepare { id, model, output_tokens_max } => {
                return self.prepare(*id, model, *output_tokens_max, policy, draft);
            }
            Effect::Inspect { id, call } => {
                if let Some(call) = self.tool_call(call) {
                    self.running.inspect(*id, call);
                }
            }
            Effect::Probe { id, call, facts } => {
                if let Some(call) = self.tool_call(call) {
                    self.running.probe(*id, call, facts.clone());
                }
            }
            Effect::Tool { id, .. } => self.act(*id, effect, policy),
            Effect::Model { .. } => {}
        }
        false
    }

    /// Renders a request and starts its call, if there is a slot for it.
    fn prepare(
        &mut self,
        id: EffectId,
        model: &str,
        output_tokens_max: u64,
        policy: &Policy,
        draft: &mut Draft,
    ) -> bool {
        if self.model_slot.is_none() && !self.take_model_slot() {
            return false;
        }
        let target = Target { world: &*self.shared.world, policy, model, output_tokens_max };
        let request = self.requests.prepare(&target, &self.state, &mut self.bodies, id);
        let records = draft.records.len();
        match request {
            Ok(request) => {
                let _ = self.decide(Input::Prepared { effect: id, request }, policy, draft);
            }
            Err(BodyRef { id: body, .. }) => {
                tracing::error!(session = %self.state.id, body, "a body that the request needs was erased");
                let _ = self.decide(Input::Cancel { turn: None, by: "runtime".into() }, policy, draft);
            }
        }
        let started = draft.records.len() > records;
        if !started {
            self.requests.withdrawn();
        }
        started
    }

    fn take_model_slot(&mut self) -> bool {
        self.model_slot = Arc::clone(&self.shared.model_slots).try_acquire_owned().ok();
        if self.model_slot.is_none() && !self.waits_for_slot {
            self.waits_for_slot = true;
            let (slots, address) = (Arc::clone(&self.shared.model_slots), self.own_address.clone());
            tokio::spawn(async move {
                if let (Ok(slot), Some(address)) = (slots.acquire_owned().await, address.upgrade()) {
                    let _ = address.send(Letter::Slot(slot)).await;
                }
            });
        }
        self.model_slot.is_some()
    }

    /// Every tool slot is taken by other sessions: look again when one is free.
    fn look_when_free(&self) {
        let (slots, address) = (Arc::clone(&self.shared.tool_slots), self.own_address.clone());
        tokio::spawn(async move {
            let free = slots.acquire_owned().await;
            drop(free);
            if let Some(address) = address.upgrade() {
                let _ = address.send(Letter::Look).await;
            }
        });
    }

    /// One commit for all of it; without it nothing was decided.
    async fn append(&mut self, draft: Draft) -> Result<(), Setback> {
        if draft.records.is_empty() {
            return Ok(());
        }
        let head = head(&self.state);
        let snapshot = self.entries_since_snapshot >= crate::limits::SNAPSHOT_EVERY;
        let bodies = self.bodies.take_sealed().map_err(|error| Setback::Halted(error.to_string()))?;
        let (append, committed) = draft.into_append(&self.state, &head, bodies, snapshot);
        match self.shared.append(append).await {
            Ok(receipt) => {
                self.receipt = Some(receipt);
                self.entries_since_snapshot = if snapshot { 0 } else { self.entries_since_snapshot + 1 };
                self.shared.wake_at(head.wake_at);
                self.shared.count(&committed);
                let _ = self.events.send(committed);
                Ok(())
            }
            Err(AppendError::Duplicate { session, seq, body }) => {
                Err(Setback::Duplicate(Accepted { session, seq, turn: Some(seq) }, body))
            }
            Err(AppendError::Stale { .. } | AppendError::Budget { .. }) => Err(Setback::Again),
            Err(error @ AppendError::Store(_)) => Err(Setback::Halted(error.to_string())),
        }
    }

    /// Starts what should run and does not; lets go of what runs and should not.
    fn reconcile(&mut self, policy: &Policy) {
        let frame = self.frame(policy, &Input::Advance);
        let open = open_effects(&self.state, &frame);
        let keys: Vec<Key> = open.iter().filter_map(Key::of).collect();
        self.running.retain(|key| keys.contains(&key));
        for effect in open.iter().filter(|effect| !effect.is_pure()) {
            let running = Key::of(effect).is_some_and(|key| self.running.holds(key));
            if !running {
                self.act(effect.id(), effect, policy);
            }
        }
        if self.running.is_empty() && self.shared.tool_slots.available_permits() == 0 {
            self.look_when_free();
        }
        self.requests.retain(|id| self.state.effects.contains_key(&id));
        if self.state.turn.is_none() && self.state.effects.is_empty() {
            self.bodies.forget();
            self.model_slot = None;
        }
    }

    /// The last look, then the act. What is not pure needs the receipt of its `started` (I1).
    fn act(&mut self, id: EffectId, effect: &Effect, policy: &Policy) {
        let frame = self.frame(policy, &Input::Advance);
        let permit = match start(&self.state, id, &frame) {
            Ok(permit) => permit,
            Err(bounce) => return self.bounce(effect, bounce.reason),
        };
        let covered = self.receipt.as_ref().is_some_and(|r| r.covers(self.state.id, permit.started()));
        if !effect.is_pure() && !covered {
            return;
        }
        match effect {
            Effect::Model { model, .. } => {
                let Some(wire) = self.requests.wire(id) else {
                    return self.bounce(effect, BounceReason::Busy);
                };
                let (events, attempt) = (self.events.clone(), permit.attempt());
                if attempt > 1 {
                    let _ = events.send(Event::Reset { effect: id });
                }
                let on_delta = Box::new(move |delta| {
                    let _ = events.send(Event::Delta { effect: id, attempt, delta });
                });
                let call = ModelCall { permit, model: model.clone(), wire };
                self.running.model(call, self.model_slot.take(), on_delta);
            }
            Effect::Tool { call, pure, .. } => {
                let judged = self.state.effects.get(&id).and_then(|open| match &open.work {
                    Work::Tool { judged, .. } => judged.as_ref(),
                    Work::Model { .. } => None,
                });
                let (Some(call), Some(judged)) = (self.tool_call(call), judged) else { return };
                let slots = Arc::clone(&self.shared.tool_slots);
                let slot = if *pure { None } else { slots.try_acquire_owned().ok() };
                let limit = policy.tools.get(&call.tool).map_or(0, |tool| tool.timeout_ms);
                self.running.tool(permit, call, judged.facts.clone(), slot, Duration::from_millis(limit));
            }
            Effect::Prepare { .. } | Effect::Inspect { .. } | Effect::Probe { .. } => {}
        }
    }

    /// Not now, after all: the next pass hears of it.
    fn bounce(&mut self, effect: &Effect, reason: BounceReason) {
        if let Some(key) = Key::of(effect) {
            self.running.keep(Finished { key, end: running::End::Bounced(reason) });
        }
    }

    fn tool_call(&self, call: &CallRef) -> Option<ToolCall> {
        let (tool, arguments) = self.bodies.call(call)?;
        let (agent, principal) = (self.state.agent.clone(), self.speaker());
        Some(ToolCall { session: self.state.id, agent, principal, tool, arguments })
    }

    /// Folds the session from the journal; tries until that works, and says so to whoever asks.
    async fn refold(&mut self, letters: &mut Vec<Letter>) {
        loop {
            match self.shared.load(self.state.id).await {
                Ok(folded) => {
                    self.state = folded.state;
                    self.receipt = folded.receipt;
                    self.entries_since_snapshot = folded.entries_since_snapshot;
                    self.bodies.reset();
                    self.requests.withdrawn();
                    return;
                }
                Err(why) => {
                    tracing::error!(session = %self.state.id, why, "the journal cannot be read");
                    answer_all(letters, &EngineError::Unreadable(why));
                    tokio::time::sleep(DISK_RETRY).await;
                    while let Ok(letter) = self.mailbox.try_recv() {
                        letters.push(letter);
                    }
                }
            }
        }
    }
}

/// A command that was decided and waits for its commit.
struct Taken {
    asked: Box<Asked>,
    accepted: Accepted,
}

impl Taken {
    fn back(self) -> Letter {
        Letter::Command(self.asked)
    }
}

/// The same key and the same body: the same result. Another body: a mistake of the caller.
fn answer_duplicate(letters: &mut Vec<Letter>, before: Accepted, body: Digest) {
    let keyed = |letter: &Letter| matches!(letter, Letter::Command(asked) if asked.key.is_some());
    let Some(place) = letters.iter().position(keyed) else { return };
    if let Letter::Command(asked) = letters.remove(place) {
        let same = asked.key.is_some_and(|key| key.body == body);
        let _ = asked.reply.send(if same { Ok(before) } else { Err(EngineError::KeyReused) });
    }
}

fn answer_all(letters: &mut Vec<Letter>, error: &EngineError) {
    for letter in letters.drain(..) {
        if let Letter::Command(asked) = letter {
            let _ = asked.reply.send(Err(error.clone()));
        }
    }
}
