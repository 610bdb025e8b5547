//! What a person sees of an action that waits for their yes, besides its arguments and facts: what would run, who
//! chose its values, and how it differs from what was last allowed. The runtime's words alone, never the model's.
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use backstay_engine::ToolCall;
use backstay_kernel::effect::CallRef;
use backstay_kernel::flow::choices;
use backstay_kernel::id::{EffectId, Place, Seq};
use backstay_kernel::record::{Decision, Planned, Record};
use backstay_kernel::session::{JudgedFacts, Session};
use backstay_kernel::words::Atom;
use serde_json::{Value, json};

use crate::door::Door;
use crate::error::Problem;
use crate::limits::SAID_CHARS_MAX;
use crate::waits::CallText;

/// An action and all that is known of it.
pub struct Action<'a> {
    pub state: &'a Session,
    pub effect: EffectId,
    pub judged: &'a JudgedFacts,
    pub text: &'a CallText,
}

impl Door {
    pub(crate) fn card(&self, action: &Action<'_>) -> Result<Value, Problem> {
        let destination = action.judged.facts.destination.as_ref();
        Ok(json!({
            "label": action.state.label,
            "command_line": self.command_line(action),
            "host_unicode": destination.and_then(|to| backstay_kernel::url::unicode(&to.host)),
            "chooses": self.chooses(action)?,
            "last": self.last(action)?,
        }))
    }

    /// What would be started, as its words are.
    fn command_line(&self, Action { state, text, .. }: &Action<'_>) -> Option<String> {
        let principal = state.turn.as_ref().map_or(&state.principal, |turn| &turn.principal);
        let call = ToolCall {
            session: state.id,
            agent: state.agent.clone(),
            principal: principal.clone(),
            tool: text.tool.clone(),
            arguments: text.arguments(),
            halt: Arc::default(),
            as_values: false,
        };
        self.engine.world().command_line(&call)
    }

    /// The values by which it chooses, each with the line of a person's that it stands in.
    fn chooses(&self, Action { state, judged, text, .. }: &Action<'_>) -> Result<Vec<Value>, Problem> {
        let policy = self.engine.policy();
        let Some(manifest) = policy.tools.get(&text.tool) else { return Ok(Vec::new()) };
        let mut messages = Vec::new();
        for said in state.turn.iter().flat_map(|turn| &turn.said) {
            let Some(atoms) = &said.typed.atoms else { continue };
            let atoms = self.bytes(atoms)?.unwrap_or_default();
            messages.push((said.seq, serde_json::from_slice::<Vec<Atom>>(&atoms).unwrap_or_default()));
        }
        let chosen = choices(state, &judged.facts, &policy, (manifest, &text.arguments()), &messages);
        let shown = chosen.into_iter().map(|choice| {
            let said = match choice.said {
                Some(seq) => json!({ "seq": seq, "line": self.line(state, seq, &choice.value)? }),
                None => Value::Null,
            };
            Ok(json!({ "argument": choice.argument, "value": choice.value, "said": said }))
        });
        shown.collect()
    }

    /// The line of a message that a value stands in, or else its first.
    fn line(&self, state: &Session, seq: Seq, value: &str) -> Result<Option<String>, Problem> {
        let mut body = None;
        self.reader.each(state.id, Seq(seq.0.saturating_sub(1)), |placed| {
            if let Record::Admitted(admitted) = &placed.record {
                body = Some(admitted.body);
            } else if let Record::Answered { body: answer, .. } = &placed.record {
                body = Some(*answer);
            }
            Ok::<_, Problem>(ControlFlow::Break(()))
        })?;
        let Some(body) = body else { return Ok(None) };
        let bytes = self.bytes(&body)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let value = value.to_lowercase();
        let has = |line: &&str| line.to_lowercase().contains(&value);
        let line = text.lines().find(has).or_else(|| text.lines().find(|line| !line.trim().is_empty()));
        Ok(line.map(|line| around(line, &value)))
    }

    /// The last call of this tool that somebody allowed in this session, and which arguments are others now.
    fn last(&self, Action { state, effect, text, .. }: &Action<'_>) -> Result<Value, Problem> {
        let mut calls: BTreeMap<EffectId, CallRef> = BTreeMap::new();
        let mut allowed = None;
        self.reader.each(state.id, Seq(0), |placed| {
            if let Record::Planned(Planned::Tool { call, .. }) = &placed.record
                && call.tool.as_deref() == Some(&text.tool)
            {
                calls.insert(placed.seq, call.clone());
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

/// Of a long line, what stands around the value.
fn around(line: &str, value: &str) -> String {
    let at = line.to_lowercase().find(value).map_or(0, |byte| line.chars().take(byte).count());
    let from = at.saturating_sub(SAID_CHARS_MAX / 2);
    let part: String = line.chars().skip(from).take(SAID_CHARS_MAX).collect();
    let (before, after) = (from > 0, line.chars().count() > from + SAID_CHARS_MAX);
    format!("{}{}{}", if before { "…" } else { "" }, part.trim(), if after { "…" } else { "" })
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
    fn a_long_line_is_cut_around_the_value() {
        let line = format!("{} send it to bob@x.test {}", "a ".repeat(200), "b ".repeat(200));
        let shown = around(&line, "bob@x.test");
        assert!(shown.contains("send it to bob@x.test") && shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert!(shown.chars().count() <= SAID_CHARS_MAX + 2);
        assert_eq!(around(" mail bob@x.test ", "bob@x.test"), "mail bob@x.test");
    }

    #[test]
    fn an_argument_that_is_new_gone_or_other_differs() {
        let (before, now) = (json!({ "a": 1, "b": 2, "c": 3 }), json!({ "a": 1, "b": 4, "d": 3 }));
        assert_eq!(differing(&before, &now), ["b", "c", "d"]);
        assert_eq!(differing(&before, &before), Vec::<String>::new());
        assert_eq!(differing(&json!("x"), &before), ["arguments"]);
    }
}
