//! Taking in: what letters and ends mean, and what their senders are told.
use backstay_kernel::Session;
use backstay_kernel::facts::Facts;
use backstay_kernel::flow::{Named as NamedValues, Sources, Tuple, named};
use backstay_kernel::id::{Digest, EffectId, Seq};
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{Mode, Record};
use backstay_kernel::roots;
use backstay_kernel::session::Work;
use backstay_kernel::standing;
use backstay_store::{Admission, NewMemory};

use super::SessionTask;
use super::naming::Asking;
use crate::draft::Draft;
use crate::error::EngineError;
use crate::fold::restore_of;
use crate::live::{Accepted, Asked, Letter, inputs};
use crate::running::{self, Finished};
use crate::world::{ToolEnd, ToolRan};

impl SessionTask {
    /// A session of a restored home says so before anything else happens in it.
    pub(super) fn note_restore(&mut self, policy: &Policy, draft: &mut Draft) {
        if let Some(input) = restore_of(&self.state, self.shared.lineage) {
            let _ = self.decide(input, policy, draft);
        }
    }

    fn exists(&self) -> bool {
        self.state.seq != Seq::default()
    }

    pub(super) fn take(&mut self, letter: Letter, policy: &Policy, draft: &mut Draft) -> Option<Taken> {
        let asked = match letter {
            Letter::Command(asked) => asked,
            Letter::Subscribe(reply) => {
                let _ = reply.send(Ok(self.listeners.subscribe()));
                return None;
            }
            Letter::Look => return None,
            Letter::ModelSlot(slot) => {
                self.slots.model_came(slot);
                return None;
            }
            Letter::ToolSlot(slot) => {
                self.slots.tool_came(slot);
                return None;
            }
        };
        let is_new = !self.exists();
        if is_new && !asked.command.opens() {
            let _ = asked.reply.send(Err(EngineError::NoSession));
            return None;
        }
        let mark = self.bodies.mark();
        for input in inputs(asked.command.clone(), &self.state, self.shared.lineage, &mut self.bodies) {
            if let Err(refusal) = self.decide(input, policy, draft) {
                self.bodies.back_to(mark);
                if is_new {
                    self.state = Session::new(self.state.id);
                    *draft = Draft::new(Seq::default(), self.shared.world.now());
                }
                return Some(Taken { asked, answer: Err(refusal.into()) });
            }
        }
        let accepted = self.became(draft);
        draft.inbox = draft.inbox.take().or_else(|| asked.inbox_row(&accepted));
        Some(Taken { asked, answer: Ok(accepted) })
    }

    /// What the command that was just decided has become.
    fn became(&self, draft: &Draft) -> Accepted {
        let (session, seq) = (self.state.id, self.state.seq);
        let open = self.state.turn.as_ref();
        let turn = match draft.records.last() {
            Some(Record::Admitted(admitted)) if admitted.mode != Mode::Steer => Some(seq),
            // It joins the open turn, or the one that begins next, which may be its own.
            Some(Record::Admitted(_)) => open.filter(|turn| !turn.cancelled).map(|turn| turn.id).or_else(|| {
                let next = self.state.next_in_queue()?;
                Some(self.state.queue.get(next)?.seq)
            }),
            _ => open.map(|turn| turn.id),
        };
        Accepted { session, seq, turn }
    }

    /// Takes in every end that this pass has not seen yet; true where there was one.
    pub(super) fn take_ends(&mut self, policy: &Policy, draft: &mut Draft) -> bool {
        let ends = self.running.take_new();
        let any = !ends.is_empty();
        ends.into_iter().for_each(|finished| self.take_end(finished, policy, draft));
        any
    }

    fn take_end(&mut self, mut finished: Finished, policy: &Policy, draft: &mut Draft) {
        if self.is_of_another_call(finished.key) || self.look_up(&finished, policy, draft) {
            return;
        }
        let known = |tool: &str| {
            policy.agents.get(&self.state.agent).is_some_and(|agent| agent.grants.tools.iter().any(|t| t == tool))
        };
        let jitter = self.shared.world.random() % 1000;
        self.label(&mut finished, policy);
        let (named, planned) = (self.named(&finished, policy), self.planned(&finished, policy));
        let (input, memory) = running::input(finished, &mut self.bodies, &known, jitter, (named, planned));
        let records = draft.records.len();
        // An end is never refused; one that is stale says nothing.
        let _ = self.decide(input, policy, draft);
        if draft.records.len() > records {
            draft.memories.extend(memory.map(|text| NewMemory { principal: self.speaker(), text }));
        }
    }

    /// What was found out about a call says nothing of the one that is in its place since.
    fn is_of_another_call(&self, key: running::Key) -> bool {
        let running::Key::Inspect(id, looked_at) = key else { return false };
        let work = self.state.effects.get(&id).map(|open| &open.work);
        matches!(work, Some(Work::Tool { call, .. }) if call.repeat != looked_at)
    }

    /// What a tool says bears the label of all that it may have read, and a memory that of the session.
    fn label(&self, finished: &mut Finished, policy: &Policy) {
        let (running::Key::Act(id, _), running::End::Tool(ToolEnd { ran, .. })) = (finished.key, &mut finished.end)
        else {
            return;
        };
        if let ToolRan::Done { memory: Some(_), .. } = ran {
            ran.join(self.state.label.said_by_model());
        }
        if let Some(Work::Tool { judged: Some(judged), .. }) = self.state.effects.get(&id).map(|open| &open.work) {
            let read = roots::read(policy.agents.get(&self.state.agent), &judged.facts);
            ran.join(self.shared.home.label(read));
        }
    }

    /// What is known of a call that was looked at, besides its facts.
    fn named(&self, finished: &Finished, policy: &Policy) -> NamedValues {
        let (running::Key::Inspect(id, _), running::End::Inspected(Ok(facts))) = (finished.key, &finished.end) else {
            return NamedValues::default();
        };
        let agent = policy.agents.get(&self.state.agent);
        let sends = !facts.network.is_empty() || facts.git.is_some();
        let reads = sends.then(|| self.shared.home.label(roots::read(agent, facts)).conf);
        NamedValues { reads, arguments: self.arguments(id), ..self.said(id, facts, policy) }
    }

    /// Its arguments by their name, where a standing yes might be to them.
    fn arguments(&self, id: EffectId) -> Option<Digest> {
        let Work::Tool { call, .. } = &self.state.effects.get(&id)?.work else { return None };
        let stands = self.shared.home.standing(&self.state.agent, self.shared.world.now());
        stands.iter().find(|standing| call.tool.as_ref() == Some(&standing.tool))?;
        let (tool, arguments) = self.bodies.call(call).ok()??;
        standing::arguments(&tool, &arguments)
    }

    /// What the messages of the task say of it. What cannot be read names nothing.
    fn said(&self, id: EffectId, facts: &Facts, policy: &Policy) -> NamedValues {
        let Some(asking) = self.asking(id, facts, policy) else { return NamedValues::default() };
        let Asking { tool, manifest, values, messages, is_gated } = &asking;
        let key = |text: &str| self.bodies.call_key(tool, text);
        let chosen = values.choice(facts.class).iter().map(|value| key(value)).collect();
        let tuple = Tuple { tool: key(""), values: chosen };
        let (lists, words) = self.known(id, &asking);
        let wishes = self.wishes(tool);
        let sources = Sources { messages, words: &words, known: Some((*manifest, &lists)), wishes: &wishes };
        let said = named(&self.state, id, facts, policy, (values, &tuple), &sources);
        let provenance = said.provenance.clone().filter(|_| self.has_messages());
        // That a rule looks on changes nothing of what a message is worth.
        NamedValues { provenance, ..if *is_gated { said } else { NamedValues::default() } }
    }

    pub(super) fn speaker(&self) -> String {
        let turn = self.state.turn.as_ref().map(|turn| &turn.principal);
        turn.unwrap_or(&self.state.principal).clone()
    }
}

/// A command that was decided and waits for the commit, a refused one too: it may have been refused
/// for what another of the same commit did.
pub(super) struct Taken {
    asked: Box<Asked>,
    answer: Result<Accepted, EngineError>,
}

impl Taken {
    /// What it rests on is durable.
    pub(super) fn answer(self) {
        let _ = self.asked.reply.send(self.answer);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.answer.is_err()
    }

    pub(super) fn back(self) -> Letter {
        Letter::Command(self.asked)
    }
}

/// The same key and the same body: the same result. Another body: a mistake of the caller.
pub(super) fn answer_duplicate(letters: &mut Vec<Letter>, before: Admission) {
    let keyed = |letter: &Letter| matches!(letter, Letter::Command(asked) if asked.key.is_some());
    let Some(place) = letters.iter().position(keyed) else { return };
    if let Letter::Command(asked) = letters.remove(place) {
        let same = asked.key.is_some_and(|key| key.body == before.body);
        let _ = asked.reply.send(if same { Ok(before.into()) } else { Err(EngineError::KeyReused) });
    }
}

/// Slots and subscriptions are not commands: they stay.
pub(super) fn answer_all(letters: &mut Vec<Letter>, error: &EngineError) {
    for letter in std::mem::take(letters) {
        match letter {
            Letter::Command(asked) => drop(asked.reply.send(Err(error.clone()))),
            other @ (Letter::Subscribe(_) | Letter::Look | Letter::ModelSlot(_) | Letter::ToolSlot(_)) => {
                letters.push(other)
            }
        }
    }
}

/// The journal cannot be read: whoever asks is told so, and nobody may listen to what is not known.
pub(super) fn turn_away(letters: &mut Vec<Letter>, error: &EngineError) {
    answer_all(letters, error);
    for letter in std::mem::take(letters) {
        match letter {
            Letter::Subscribe(reply) => drop(reply.send(Err(error.clone()))),
            // It is looked at in any case, once it can be read.
            Letter::Look => {}
            other @ (Letter::Command(_) | Letter::ModelSlot(_) | Letter::ToolSlot(_)) => letters.push(other),
        }
    }
}
