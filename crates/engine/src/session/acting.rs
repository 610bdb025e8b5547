//! Letting go out: what should run is started, what should not is let go of. What is not pure is
//! started against the receipt of its `started` record, and nothing without a permit.
use std::sync::Arc;
use std::time::Duration;

use backstay_kernel::effect::{CallRef, Effect};
use backstay_kernel::id::{BodyRef, EffectId};
use backstay_kernel::policy::Policy;
use backstay_kernel::record::BounceReason;
use backstay_kernel::session::{State, Work};
use backstay_kernel::{Input, open_effects, start};
use backstay_store::StoreError;
use tokio::time::{Instant, timeout_at};

use super::{SessionTask, Setback};
use crate::draft::Draft;
use crate::error::EngineError;
use crate::events::Event;
use crate::limits::PURE_HOLD;
use crate::requests::{Target, Unrendered};
use crate::running::{self, Finished, Key};
use crate::world::{ModelCall, ToolCall};

impl SessionTask {
    /// Does what needs no receipt: renders requests, looks at calls, reads. A turn that reads a
    /// file needs no commit of its own for it; what takes longer is not waited for.
    pub(super) async fn do_pure(&mut self, policy: &Policy, draft: &mut Draft) -> Result<(), Setback> {
        let until = Instant::now() + PURE_HOLD;
        // Under another policy nothing starts that this one allows: its reload brings the next pass.
        while self.shared.policy().epoch == policy.epoch {
            let frame = self.frame(policy, &Input::Advance);
            let pure: Vec<Effect> = open_effects(&self.state, &frame).into_iter().filter(Effect::is_pure).collect();
            let mut rendered = false;
            for effect in &pure {
                rendered |= self.start_pure(effect, policy, draft)?;
            }
            // What was turned back at the last look has ended already.
            if rendered | self.take_ends(policy, draft) {
                self.advance(policy, draft)?;
                continue;
            }
            let waiting = pure.iter().filter_map(Key::of).any(|key| self.running.holds(key));
            if !waiting {
                break;
            }
            let Ok(finished) = timeout_at(until, self.running.next()).await else { break };
            self.running.keep(finished);
            self.take_ends(policy, draft);
            self.advance(policy, draft)?;
        }
        Ok(())
    }

    /// True where the state has moved on by it.
    fn start_pure(&mut self, effect: &Effect, policy: &Policy, draft: &mut Draft) -> Result<bool, Setback> {
        if Key::of(effect).is_some_and(|key| self.running.holds(key)) {
            return Ok(false);
        }
        match effect {
            Effect::Prepare { id, model, output_tokens_max, plans } => {
                let target = (model.as_str(), *output_tokens_max, *plans);
                return self.prepare(*id, target, policy, draft);
            }
            Effect::Inspect { id, call } => {
                let key = Key::Inspect(*id, call.repeat);
                if let Some(call) = self.tool_call(key, call)? {
                    self.running.inspect(key, call);
                }
            }
            Effect::Probe { id, call, facts } => {
                if let Some(call) = self.tool_call(Key::Probe(*id), call)? {
                    self.running.probe(*id, call, (**facts).clone());
                }
            }
            Effect::Tool { id, .. } => self.act(*id, effect, policy)?,
            Effect::Model { .. } => {}
        }
        Ok(false)
    }

    /// Renders a request and starts its call, if there is a slot for it.
    fn prepare(
        &mut self,
        id: EffectId,
        (model, output_tokens_max, plans): (&str, u64, bool),
        policy: &Policy,
        draft: &mut Draft,
    ) -> Result<bool, Setback> {
        if !self.slots.take_model(&self.shared.model_slots) {
            return Ok(false);
        }
        // From here on no settlement is missed that the ledger does not show yet.
        self.settlements.mark_unchanged();
        let (records, mark) = (draft.records.len(), self.bodies.mark());
        let world = Arc::clone(&self.shared.world);
        let target = Target { world: &*world, policy, model, output_tokens_max };
        let request = if plans {
            self.prepare_plan(&target, id)
        } else {
            self.requests.prepare(&target, &self.state, &mut self.bodies, id)
        };
        match request {
            Ok(request) => {
                let _ = self.decide(Input::Prepared { effect: id, request }, policy, draft);
            }
            Err(Unrendered::Erased(BodyRef { id: body, .. })) => {
                tracing::warn!(session = %self.state.id, body, "a body that the request needs was erased");
                let _ = self.decide(Input::Erased { effect: id }, policy, draft);
            }
            Err(Unrendered::Unread(error)) => return Err(unreadable(&error)),
        }
        if !self.state.effects.get(&id).is_some_and(|open| matches!(open.state, State::Started { .. })) {
            self.requests.withdrawn(id);
            self.bodies.back_to(mark);
            self.slots.give_back_model();
        }
        Ok(draft.records.len() > records)
    }

    /// Starts what should run and does not; lets go of what runs and should not.
    pub(super) fn reconcile(&mut self, policy: &Policy) -> Result<(), Setback> {
        let frame = self.frame(policy, &Input::Advance);
        let open = open_effects(&self.state, &frame);
        let keys: Vec<Key> = open.iter().filter_map(Key::of).collect();
        self.running.retain(|key| keys.contains(&key));
        self.halt(frame.switches.frozen);
        for effect in open.iter().filter(|effect| !effect.is_pure()) {
            let running = Key::of(effect).is_some_and(|key| self.running.holds(key));
            if !running {
                self.act(effect.id(), effect, policy)?;
            }
        }
        // What holds still waits for a person and not for a slot.
        let ready = !self.state.holds_still(frame.switches)
            && self.state.effects.values().any(|open| open.state == State::Ready);
        if ready {
            self.slots.await_tool(&self.shared.tool_slots);
        } else {
            self.slots.give_back_tool();
        }
        let is_to_look = |effect: &Effect| {
            matches!(effect, Effect::Inspect { .. }) && Key::of(effect).is_some_and(|key| !self.running.holds(key))
        };
        self.looks_again = open.iter().any(is_to_look);
        let wants_model = |effect: &Effect| matches!(effect, Effect::Prepare { .. } | Effect::Model { .. });
        if !open.iter().any(wants_model) {
            self.slots.give_back_model();
        }
        self.requests.retain(|id| self.state.effects.contains_key(&id));
        if self.state.turn.is_none() && self.state.effects.is_empty() {
            self.bodies.forget();
        }
        Ok(())
    }

    /// Ends what runs for a turn that was cancelled, in a session that is stopped or a home that is frozen. How
    /// far it had come is its own to say; where it cannot, nobody knows.
    fn halt(&mut self, frozen: bool) {
        let (state, all) = (&self.state, frozen || self.state.stopped);
        let current = state.turn.as_ref().filter(|turn| !turn.cancelled).map(|turn| turn.id);
        let goes_on = |id| state.effects.get(&id).is_some_and(|open| Some(open.work.turn()) == current);
        self.running.halt(|id| all || !goes_on(id));
    }

    /// The last look, then the act. What is not pure needs the receipt of its `started` (I1).
    fn act(&mut self, id: EffectId, effect: &Effect, policy: &Policy) -> Result<(), Setback> {
        let frame = self.frame(policy, &Input::Advance);
        let permit = match start(&self.state, id, &frame) {
            Ok(permit) => permit,
            Err(bounce) => {
                self.bounce(effect, bounce.reason);
                return Ok(());
            }
        };
        let covered = self.receipt.as_ref().is_some_and(|r| r.covers(self.state.id, permit.started()));
        if !effect.is_pure() && !covered {
            return Ok(());
        }
        match effect {
            Effect::Model { model, .. } => {
                let Some(wire) = self.requests.wire(id) else {
                    self.bounce(effect, BounceReason::Busy);
                    return Ok(());
                };
                // A plan is no word to anybody.
                let listeners = Some(self.listeners.clone()).filter(|_| !self.plans(id));
                let attempt = permit.attempt();
                if let (Some(listeners), true) = (&listeners, attempt > 1) {
                    listeners.tell(Event::Reset { effect: id });
                }
                let on_delta = Box::new(move |delta| {
                    if let Some(listeners) = &listeners {
                        listeners.tell(Event::Delta { effect: id, attempt, delta });
                    }
                });
                let call = ModelCall { permit, model: model.clone(), wire };
                self.running.model(call, self.slots.use_model(), on_delta);
            }
            Effect::Tool { call, pure, .. } => {
                let judged = self.state.effects.get(&id).and_then(|open| match &open.work {
                    Work::Tool { judged, .. } => judged.as_ref(),
                    Work::Model { .. } => None,
                });
                let Some(facts) = judged.map(|judged| judged.facts.clone()) else { return Ok(()) };
                let Some(call) = self.tool_call(Key::Act(id, permit.started()), call)? else { return Ok(()) };
                // What is pure does not wait for one, and takes none that was waited for.
                let all = &self.shared.tool_slots;
                let slot = if *pure { Arc::clone(all).try_acquire_owned().ok() } else { self.slots.use_tool(all) };
                if slot.is_none() && !*pure {
                    self.bounce(effect, BounceReason::Busy);
                    return Ok(());
                }
                let limit = policy.tools.get(&call.tool).map_or(0, |tool| tool.timeout_ms);
                self.running.tool(permit, call, facts, slot, Duration::from_millis(limit));
            }
            Effect::Prepare { .. } | Effect::Inspect { .. } | Effect::Probe { .. } => {}
        }
        Ok(())
    }

    /// Not now, after all: the next pass hears of it.
    fn bounce(&mut self, effect: &Effect, reason: BounceReason) {
        if let Some(key) = Key::of(effect) {
            self.running.keep(Finished { key, end: running::End::Bounced(reason) });
        }
    }

    /// The call that `key` is about; one that was erased has ended with that.
    fn tool_call(&mut self, key: Key, call: &CallRef) -> Result<Option<ToolCall>, Setback> {
        let Some((tool, arguments)) = self.bodies.call(call).map_err(|error| unreadable(&error))? else {
            self.running.keep(Finished { key, end: running::erased(key) });
            return Ok(None);
        };
        let (agent, principal) = (self.state.agent.clone(), self.speaker());
        let (Key::Inspect(id, _) | Key::Probe(id) | Key::Act(id, _)) = key;
        let as_values = self.state.effects.get(&id).is_some_and(|open| open.looks_for.is_some());
        let (session, halt) = (self.state.id, Arc::default());
        Ok(Some(ToolCall { session, agent, principal, tool, arguments, halt, as_values }))
    }
}

/// A body that cannot be read now is waited for: it was not erased.
fn unreadable(error: &StoreError) -> Setback {
    Setback::Failed(EngineError::Unreadable(error.to_string()))
}
