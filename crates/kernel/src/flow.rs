//! Information flow: what a session that has seen untrusted words does not do unasked.
//!
//! Whoever wrote such words may have chosen the values of a call. A value that a person of the task
//! named, whole, was chosen by them; any other is a question for a person, which no rule lifts.
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::facts::{Access, Facts};
use crate::id::Seq;
use crate::policy::Policy;
use crate::rule::is_under;
use crate::session::Session;
use crate::tool::{ArgumentRole, EffectClass};
use crate::words::{Atom, Kind, passes};

/// Where a value of a call was named: the path at this place of its facts, by the message or answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    pub path: u32,
    pub from: Seq,
}

/// Why a call asks whatever the rules allow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// It writes outside of the workspace, at a path that nobody named.
    UnnamedPath,
    /// It sends, spends or names a target by a value that no fact shows.
    UnnamedTarget,
}

/// The paths of a call that somebody must have named, by their places in its facts.
fn to_be_named<'f>(session: &Session, facts: &'f Facts, policy: &Policy) -> impl Iterator<Item = (u32, &'f str)> {
    let free = session.label.is_trusted();
    let outside = move |real: &str| policy.workspace.is_empty() || !is_under(real, &policy.workspace);
    let paths = facts.paths.iter().zip(0u32..).filter(|(path, _)| path.access == Access::Write);
    let paths: Vec<_> = paths.filter(|(path, _)| !free && outside(&path.real)).collect();
    paths.into_iter().map(|(path, place)| (place, path.real.as_str()))
}

/// Whether it matters what the messages of the task name.
#[must_use]
pub fn wants_names(session: &Session, facts: &Facts, policy: &Policy) -> bool {
    to_be_named(session, facts, policy).next().is_some()
}

/// Which of the values were named, and where first; `named`: the atoms of the messages of the task.
#[must_use]
pub fn origins(session: &Session, facts: &Facts, policy: &Policy, named: &[(Seq, Vec<Atom>)]) -> Vec<Origin> {
    let origin = |(path, real)| {
        let (from, _) = named.iter().find(|(_, atoms)| passes(Kind::Path, real, atoms))?;
        Some(Origin { path, from: *from })
    };
    to_be_named(session, facts, policy).filter_map(origin).collect()
}

/// Why the call must be asked about, if it must. An origin counts only where it is of this task.
#[must_use]
pub fn flow(session: &Session, tool: Option<&str>, facts: &Facts, origins: &[Origin], policy: &Policy) -> Option<Flow> {
    let is_of_task = |seq| session.turn.iter().flat_map(|turn| &turn.named).any(|named| named.seq == seq);
    let is_named = |place| origins.iter().any(|origin| origin.path == place && is_of_task(origin.from));
    if to_be_named(session, facts, policy).any(|(place, _)| !is_named(place)) {
        return Some(Flow::UnnamedPath);
    }
    // What no fact shows cannot have been named.
    let is_shown = |role: &ArgumentRole| {
        *role == ArgumentRole::Authority(Kind::Path) || !matches!(role, ArgumentRole::Authority(_))
    };
    let manifest = tool.and_then(|tool| policy.tools.get(tool));
    let all_shown = manifest.is_some_and(|manifest| manifest.arguments.iter().all(|(_, role)| is_shown(role)));
    let stays = match facts.class {
        EffectClass::Read | EffectClass::Write | EffectClass::Execute => all_shown,
        EffectClass::Send | EffectClass::Spend => false,
    };
    (!stays && !session.label.is_trusted()).then_some(Flow::UnnamedTarget)
}
