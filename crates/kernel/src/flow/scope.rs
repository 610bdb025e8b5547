//! The scope of a task: which calls the person's own words want made.
//!
//! That a value stands in a message is no wish that something be done with it. A model is shown the tools and the
//! person's words, and nothing else of the session, so that nobody else's words reach it; what it plans is cut down to
//! what the agent is granted and what stands in these words. The gate asks about whatever is not in it.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::known::{self, Lists};
use super::named::{Chosen, Values, scalar};
use crate::id::EffectId;
use crate::limits::{SCOPE_CALLS_MAX, SCOPE_ENTRIES_MAX};
use crate::policy::{Agent, Policy};
use crate::session::{Session, Turn, Work};
use crate::tool::{ArgumentRole, Manifest};
use crate::words::{Atom, Kind, Manner, is_named, passes};

/// How the instructions of a model that plans begin, by which the rehearsal model knows them.
pub const PLANS: &str = "Plan the calls of tools that a person asks for.";

/// Calls of one tool that the person's words want.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    pub tool: String,
    pub count: u32,
    /// What these arguments may be, as the words have it; nothing, where they have nothing of what was planned. Where
    /// none is there, they are what a message names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, Vec<String>>,
}

/// Whether a model is to plan before the task goes on: the person has said something that no plan is made of, and what
/// the session has seen makes it matter.
#[must_use]
pub fn wants_scope(session: &Session, turn: &Turn, agent: &Agent) -> bool {
    agent.scope && !session.label.is_trusted() && turn.scope.planned < turn.said.len()
}

/// What the model that plans is told, with the names and schemas of the tools: the person's words come after it. The
/// first `earlier` of their messages have their plan.
#[must_use]
pub fn plan_instructions(agent: &Agent, policy: &Policy, earlier: usize) -> String {
    let granted = agent.grants.tools.iter().filter_map(|tool| policy.tools.get(tool));
    let tool = |manifest: &Manifest| {
        let mut schema: Value = serde_json::from_str(&manifest.schema).unwrap_or_default();
        silence(&mut schema);
        json!({ "name": manifest.name, "parameters": schema }).to_string()
    };
    let tools: Vec<String> = granted.map(tool).collect();
    let earlier = match earlier {
        0 => String::new(),
        earlier => format!(
            "For the first {earlier} of the person's messages there is a plan already. Plan only what the later ones ask for beyond that.\n"
        ),
    };
    format!(
        "{PLANS} You call none of them, and do nothing else.\n\
         You are shown the tools of an assistant, and then what the person has said to it. Say which tools the assistant \
         has to call to do what the person asks, how many times at most, and for the arguments that choose who, where, \
         which or how much the values that stand in the person's words, exactly as they stand there. Leave out an \
         argument whose value the person does not say, and a tool that the person did not ask to have used.\n{earlier}\
         Answer with one JSON object and nothing else:\n\
         {{\"tools\":[{{\"name\":\"NAME\",\"count\":1,\"arguments\":{{\"ARGUMENT\":[\"VALUE\"]}}}}]}}\n\
         The tools:\n[{}]",
        tools.join(",\n")
    )
}

/// What of a schema says which arguments there are, and nothing in words.
const SAID_OF_ARGUMENTS: [&str; 12] = [
    "type",
    "properties",
    "required",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
    "enum",
    "additionalProperties",
    "$ref",
    "$defs",
    "definitions",
];

/// Takes out of a schema what its maker says besides: those words are another's, and the plan is of the person's alone.
fn silence(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(silence),
        Value::Object(all) => {
            all.retain(|key, _| SAID_OF_ARGUMENTS.contains(&key.as_str()));
            for (key, value) in all.iter_mut() {
                match (key.as_str(), value) {
                    ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                        named.values_mut().for_each(silence)
                    }
                    ("enum" | "required", _) => {}
                    (_, value) => silence(value),
                }
            }
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

#[derive(Deserialize)]
struct Plan {
    tools: Vec<Planned>,
}

#[derive(Deserialize)]
struct Planned {
    name: String,
    count: u32,
    #[serde(default)]
    arguments: BTreeMap<String, Value>,
}

/// What of a plan counts: tools that the agent is granted, and values that stand in the words. `words`: those of each
/// message. Nothing, where the plan is not understood, or nobody said a word.
#[must_use]
pub fn read_scope(text: &str, agent: &Agent, policy: &Policy, words: &[Vec<Atom>]) -> Vec<Wish> {
    // Models like to put a fence around it.
    let object = text.find('{').zip(text.rfind('}')).and_then(|(from, to)| text.get(from..=to));
    let plan: Option<Plan> = object.and_then(|object| serde_json::from_str(object).ok());
    let tools = plan.filter(|plan| plan.tools.len() <= SCOPE_ENTRIES_MAX && words.iter().any(|said| !said.is_empty()));
    let wish = |planned: Planned| {
        let granted = agent.grants.tools.contains(&planned.name) && planned.count > 0;
        let manifest = policy.tools.get(&planned.name).filter(|_| granted)?;
        let kept = |(argument, value): (String, Value)| Some((kept(manifest, &argument, &value, words)?, argument));
        let arguments = planned.arguments.into_iter().filter_map(kept).map(|(values, argument)| (argument, values));
        let count = planned.count.min(SCOPE_CALLS_MAX);
        Some(Wish { tool: planned.name, count, arguments: arguments.collect() })
    };
    tools.into_iter().flat_map(|plan| plan.tools).filter_map(wish).collect()
}

/// The values of a plan for an argument that chooses, as far as they stand in the words; `None`, where the plan says
/// none, or the argument chooses nothing.
fn kept(manifest: &Manifest, argument: &str, planned: &Value, words: &[Vec<Atom>]) -> Option<Vec<String>> {
    let role = manifest.arguments.iter().find(|(known, _)| known == argument).map(|(_, role)| *role);
    let kind = match role? {
        ArgumentRole::Authority(kind) => kind,
        ArgumentRole::UpTo(_) => Kind::Number,
        ArgumentRole::Selector | ArgumentRole::Payload => return None,
    };
    let all = match planned {
        Value::Null => return None,
        Value::Array(all) if all.is_empty() => return None,
        Value::Array(all) => all.as_slice(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Object(_) => core::slice::from_ref(planned),
    };
    let has_names = is_text(kind) || manifest.known.iter().any(|(known, _)| known == argument);
    let stands = |value: &String| {
        let is_name = has_names || Atom::of(kind, value).is_none();
        let in_one = |said: &Vec<Atom>| passes(kind, value, said) || is_name && is_named(value, Manner::Plain, said);
        words.iter().any(in_one)
    };
    Some(all.iter().filter_map(scalar).filter(stands).collect())
}

/// A name or a text, which is no value of a form of its own.
fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::QuotedString | Kind::Handle | Kind::Words)
}

/// Whether the plan's value is just this one.
fn is_it(value: &str, atom: &Atom) -> bool {
    let kind = if is_text(atom.0) { Kind::QuotedString } else { atom.0 };
    Atom::of(kind, value).is_some_and(|planned| planned.1 == atom.1)
}

impl Wish {
    /// Whether it is of such a call: where the plan says what an argument may be, it is that, or a name that the plan
    /// says is known to stand for it. Whoever plans what some may be plans the others to be absent, or what the session
    /// made, or what a name of the words stands for: that they have a value itself is no wish that it be there.
    pub(super) fn admits(&self, known: Option<(&Manifest, &Lists)>, values: &Values, words: &[Vec<Atom>]) -> bool {
        let of = |chosen: &Chosen| {
            let Some(planned) = self.arguments.get(&chosen.argument) else {
                let is_known = |(manifest, lists)| {
                    let stands = |said: &[Atom]| chosen.atoms.iter().any(|atom| passes(atom.0, &atom.1, said));
                    let by_name = |said: &Vec<Atom>| !stands(said) && known::is_said(manifest, lists, chosen, said);
                    known::is_created(manifest, lists, chosen) || words.iter().any(by_name)
                };
                return self.arguments.is_empty() || known.is_some_and(is_known);
            };
            let is_planned = |atom: &Atom| {
                let is_named = |value: &str| {
                    known.is_some_and(|(manifest, lists)| {
                        known::is_called(manifest, lists, &chosen.argument, atom, value)
                    })
                };
                planned.iter().any(|value| is_it(value, atom) || is_named(value))
            };
            chosen.atoms.iter().all(is_planned)
        };
        match values.authority() {
            Some(all) => all.into_iter().all(of),
            // Nobody can tell what it chooses.
            None => self.arguments.is_empty(),
        }
    }

    /// Whether the plan gives the argument just these values, and the message has them as its own words: that is the
    /// consent which the words alone are not.
    pub(super) fn says(&self, chosen: &Chosen, said: &[Atom]) -> bool {
        let Some(planned) = self.arguments.get(&chosen.argument) else { return false };
        let is_said = |atom: &Atom| {
            let by_plan = || {
                let mut planned = planned.iter().filter(|value| is_text(atom.0) && is_it(value, atom));
                planned.any(|value| is_named(value, Manner::Plain, said))
            };
            atom.0 != Kind::Words && passes(atom.0, &atom.1, said) || by_plan()
        };
        !chosen.atoms.is_empty() && chosen.atoms.iter().all(is_said)
    }
}

/// Whether the entry of the task's scope has a call left for this effect: what has started has taken one for good, and
/// another call of the same reply may start first.
pub(crate) fn is_open(session: &Session, effect: EffectId, entry: u32) -> bool {
    let place = usize::try_from(entry).unwrap_or(usize::MAX);
    let Some(open) = session.turn.as_ref().and_then(|turn| turn.scope.entries.get(place)) else { return false };
    let waits = session.effects.iter().filter(|(other, open_effect)| match &open_effect.work {
        Work::Tool { judged: Some(judged), .. } => {
            **other != effect && judged.named.entry == Some(entry) && !open.taken.contains(other)
        }
        Work::Tool { judged: None, .. } | Work::Model { .. } => false,
    });
    let taken = open.taken.iter().filter(|other| **other != effect).count() + waits.count();
    open.taken.contains(&effect) || u32::try_from(taken).is_ok_and(|taken| taken < open.count)
}
