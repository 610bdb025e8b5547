//! What a person sees of an action that waits for their yes, besides its arguments and facts: what would run, who
//! chose its values, and how it differs from what was last allowed. The runtime's words alone, never the model's.
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use backstay_engine::ToolCall;
use backstay_kernel::effect::CallRef;
use backstay_kernel::flow::{Choice, choices};
use backstay_kernel::id::{EffectId, Place, Seq};
use backstay_kernel::reached::places;
use backstay_kernel::record::{Decision, Planned, Record};
use backstay_kernel::session::{JudgedFacts, Session};
use backstay_kernel::words::{Atom, passes};
use serde_json::{Map, Value, json};

use crate::door::Door;
use crate::error::Problem;
use crate::limits::{CHOICES_MAX, LAST_RECORDS_MAX};
use crate::pieces::pieces;
use crate::waits::CallText;

/// An action and all that is known of it.
pub struct Action<'a> {
    pub state: &'a Session,
    pub effect: EffectId,
    pub judged: &'a JudgedFacts,
    pub text: &'a CallText,
}

impl Door {
    /// A part that cannot be made is not there; the rest of the action is shown all the same.
    pub(crate) fn card(&self, action: &Action<'_>) -> Map<String, Value> {
        let destination = action.judged.facts.destination.as_ref();
        let mut card = Map::new();
        let mut add = |key: &str, made: Result<Value, Problem>| match made {
            Ok(value) => drop(card.insert(key.to_owned(), value)),
            Err(problem) => {
                let session = action.state.id;
                tracing::error!(%session, key, problem = problem.message, "an approval is shown without a part of it");
            }
        };
        add("label", Ok(json!(action.state.label)));
        add("command_line", Ok(json!(self.command_line(action))));
        add("host_unicode", Ok(json!(destination.and_then(|to| backstay_kernel::url::unicode(&to.host)))));
        match self.chooses(action) {
            Ok((shown, left_out)) => {
                add("chooses", Ok(json!(shown)));
                add("left_out", Ok(left_out));
            }
            Err(problem) => add("chooses", Err(problem)),
        }
        add("provenance", Ok(json!(action.judged.named.provenance)));
        add("first_time", Ok(json!(self.first_time(action))));
        add("last", self.last(action));
        card
    }

    /// Places to which it leads and no call of the agent has; `None` where it may lead elsewhere too.
    fn first_time(&self, Action { state, judged, text, .. }: &Action<'_>) -> Option<Vec<String>> {
        let reached = self.engine.home().reached(&state.agent);
        let mut places = places(&text.tool, &judged.facts)?;
        places.retain(|place| !reached.contains_key(place));
        Some(places)
    }

    /// What would be started, as its words are.
    fn command_line(&self, Action { state, text, .. }: &Action<'_>) -> Option<String> {
        self.engine.world().command_line(&tool_call(state, text.tool.clone(), text.arguments()))
    }

    /// The values by which it chooses, each with the line of a person's that it stands in: what nobody named first, and
    /// of many only some. With them, how many are left out.
    fn chooses(&self, Action { state, judged, text, .. }: &Action<'_>) -> Result<(Vec<Value>, Value), Problem> {
        let policy = self.engine.policy();
        let Some(manifest) = policy.tools.get(&text.tool) else { return Ok((Vec::new(), Value::Null)) };
        let mut messages = Vec::new();
        for said in state.turn.iter().flat_map(|turn| &turn.said) {
            let Some(atoms) = &said.typed.atoms else { continue };
            let atoms = self.bytes(atoms)?.unwrap_or_default();
            messages.push((said.seq, serde_json::from_slice::<Vec<Atom>>(&atoms).unwrap_or_default()));
        }
        let mut shown =
            choices(state, (&judged.facts, &judged.named), &policy, (manifest, &text.arguments()), &messages);
        shown.sort_by_key(|choice| choice.said.is_some());
        let rest = shown.split_off(CHOICES_MAX.min(shown.len()));
        let unnamed = rest.iter().filter(|choice| choice.said.is_none()).count();
        let left_out = json!({ "unnamed": unnamed, "named": rest.len() - unnamed });
        let lines = self.lines(state, &shown)?;
        let shown = shown.into_iter().zip(lines).map(|(choice, line)| {
            let said = choice.said.map(|seq| json!({ "seq": seq, "line": line, "by_name": choice.is_by_name }));
            json!({ "argument": choice.argument, "value": choice.value, "times": choice.times, "said": said })
        });
        Ok((shown.collect(), left_out))
    }

    /// For each of them the line that names it, where one does. Each message is read once.
    fn lines(&self, state: &Session, shown: &[Choice]) -> Result<Vec<Option<String>>, Problem> {
        let mut lines = vec![None; shown.len()];
        for said in state.turn.iter().flat_map(|turn| &turn.said) {
            let wants = |choice: &Choice| choice.said == Some(said.seq) && !choice.is_by_name;
            if !shown.iter().any(wants) {
                continue;
            }
            let text = self.text(&said.body)?.unwrap_or_default();
            for piece in pieces(&text) {
                let atoms = piece.atoms(&said.typed.quotes);
                for (choice, line) in shown.iter().zip(&mut lines).filter(|(choice, _)| wants(choice)) {
                    if line.is_none() && choice.atoms.iter().all(|atom| passes(atom.0, &atom.1, &atoms)) {
                        *line = Some(piece.shown());
                    }
                }
            }
        }
        Ok(lines)
    }

    /// The last call of this tool that somebody allowed in this session, as far as its newest records tell, and which
    /// arguments are others now.
    fn last(&self, Action { state, effect, text, .. }: &Action<'_>) -> Result<Value, Problem> {
        let mut calls: BTreeMap<EffectId, CallRef> = BTreeMap::new();
        let mut allowed = None;
        let newest = Seq(state.seq.0.saturating_sub(LAST_RECORDS_MAX));
        self.reader.each(state.id, newest, |placed| {
            if let Record::Planned(Planned::Tool { call, .. }) = &placed.record
                && call.tool.as_deref() == Some(&text.tool)
            {
                calls.insert(placed.seq, call.clone());
            } else if let Record::Edited { effect, call, .. } = &placed.record
                && let Some(edited) = calls.get_mut(effect)
            {
                edited.clone_from(call);
            } else if let Record::Decided { effect: of, decision: Decision::Approve, .. } = placed.record
                && of != *effect
                && let Some(call) = calls.remove(&of)
            {
                allowed = Some((of, call));
            }
            Ok::<_, Problem>(ControlFlow::Continue(()))
        })?;
        let Some((of, call)) = allowed else { return Ok(Value::Null) };
        let before = self.call_text(&call)?;
        let differs = differing(&before.args, &text.args);
        Ok(json!({ "id": Place { session: state.id, seq: of }.to_string(), "differs": differs }))
    }
}

/// A call of the open turn of this session, as its tool is shown it.
pub fn tool_call(state: &Session, tool: String, arguments: String) -> ToolCall {
    let principal = state.turn.as_ref().map_or(&state.principal, |turn| &turn.principal);
    ToolCall {
        session: state.id,
        agent: state.agent.clone(),
        principal: principal.clone(),
        tool,
        arguments,
        halt: Arc::default(),
        as_values: false,
    }
}

/// Names of the arguments that are not equal in both.
fn differing(before: &Value, now: &Value) -> Vec<String> {
    let (Some(before), Some(now)) = (before.as_object(), now.as_object()) else {
        return if before == now { Vec::new() } else { vec!["arguments".to_owned()] };
    };
    let names: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != now.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_that_is_new_gone_or_other_differs() {
        let (before, now) = (json!({ "a": 1, "b": 2, "c": 3 }), json!({ "a": 1, "b": 4, "d": 3 }));
        assert_eq!(differing(&before, &now), ["b", "c", "d"]);
        assert_eq!(differing(&before, &before), Vec::<String>::new());
        assert_eq!(differing(&json!("x"), &before), ["arguments"]);
    }
}
