//! The plan of a task's scope: what the model that makes it is shown, and what is kept of it.
use backstay_kernel::flow::{Wish, plan_instructions, read_scope};
use backstay_kernel::id::EffectId;
use backstay_kernel::policy::Policy;
use backstay_kernel::request::Request;
use backstay_kernel::session::{ScopeEntry, Work};
use backstay_kernel::words::own_parts;

use super::SessionTask;
use crate::requests::{Target, Unrendered};
use crate::running::{End, Finished, Key};

impl SessionTask {
    /// Whether this is a model call that plans the scope of the task.
    pub(super) fn plans(&self, id: EffectId) -> bool {
        self.state.effects.get(&id).is_some_and(|open| matches!(open.work, Work::Model { plans: true, .. }))
    }

    /// The request of one: the tools, and the person's own words.
    pub(super) fn prepare_plan(&mut self, target: &Target<'_>, effect: EffectId) -> Result<Request, Unrendered> {
        let mut texts = Vec::new();
        // Of what is said while it is under way there will be another one.
        for said in self.state.turn.iter().flat_map(|turn| turn.said.iter().take(turn.scope.planned)) {
            let bytes = self.bodies.get(&said.body).map_err(Unrendered::Unread)?;
            let bytes = bytes.ok_or(Unrendered::Erased(said.body))?;
            let own = own_parts(&String::from_utf8_lossy(&bytes), &said.typed.quotes).join("\n");
            texts.push(self.bodies.seal(own.into_bytes()));
        }
        let (agent, turn) = (target.policy.agents.get(&self.state.agent), &self.state.turn);
        let earlier = turn.as_ref().map_or(0, |turn| turn.scope.earlier);
        let instructions = agent.map(|agent| plan_instructions(agent, target.policy, earlier)).unwrap_or_default();
        self.requests.prepare_plan(target, &self.state.agent, (instructions, texts), &mut self.bodies, effect)
    }

    /// What counts of a plan that has come.
    pub(super) fn planned(&self, finished: &Finished, policy: &Policy) -> Option<Vec<Wish>> {
        let (Key::Act(id, _), End::Model(Ok(reply))) = (finished.key, &finished.end) else { return None };
        let agent = policy.agents.get(&self.state.agent);
        let (mut words, planned) = (self.words(), self.state.turn.as_ref().map_or(0, |turn| turn.scope.planned));
        words.truncate(planned);
        let read = || agent.map(|agent| read_scope(&reply.text, agent, policy, &words)).unwrap_or_default();
        self.plans(id).then(read)
    }

    /// What was planned of calls of this tool in this task; what cannot be read is not.
    pub(super) fn wishes(&self, tool: &str) -> Vec<(u32, Wish)> {
        let entries = self.state.turn.iter().flat_map(|turn| turn.scope.entries.iter().zip(0u32..));
        let wish = |(entry, number): (&ScopeEntry, u32)| {
            let bytes = self.bodies.get(&entry.body).ok().flatten()?;
            let all: Vec<Wish> = serde_json::from_slice(&bytes).ok()?;
            Some((number, all.into_iter().nth(usize::try_from(entry.place).ok()?)?))
        };
        entries.filter(|(entry, _)| entry.tool == tool).filter_map(wish).collect()
    }
}
