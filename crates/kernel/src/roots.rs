//! Directories that sessions share: what one leaves there, another reads under the label that it had.
//!
//! The label is that of a whole root, so nothing loses it by being moved, committed or built. A raise is
//! in the home's journal before the call that is its reason starts; only a person lowers one again.
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::facts::{Access, Facts};
use crate::id::EffectId;
use crate::label::Label;
use crate::policy::{Agent, Policy};
use crate::record::{Ended, Record, Started};
use crate::rule::is_under;
use crate::session::{Session, Work};

/// What was raised above [`Label::ROOT`], by the directory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roots(BTreeMap<String, Label>);

impl Roots {
    /// Of what is read at `path` or below it.
    #[must_use]
    pub fn label(&self, path: &str) -> Label {
        let touches = |root: &str| is_under(path, root) || is_under(root, path);
        let raised = self.0.iter().filter(|(root, _)| touches(root));
        raised.fold(Label::ROOT, |all, (_, label)| all.join(*label))
    }

    /// Of all that lies in `root`: what was raised for a directory within it says nothing of the rest.
    pub(crate) fn whole(&self, root: &str) -> Label {
        let holding = self.0.iter().filter(|(raised, _)| is_under(root, raised));
        holding.fold(Label::ROOT, |all, (_, label)| all.join(*label))
    }

    #[must_use]
    pub fn get(&self, root: &str) -> Option<Label> {
        self.0.get(root).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Label)> {
        self.0.iter().map(|(root, label)| (root.as_str(), *label))
    }

    pub(crate) fn put(&mut self, root: &str, label: Label) {
        self.0.insert(root.to_owned(), label);
    }

    pub(crate) fn reset(&mut self, root: &str) {
        self.0.remove(root);
    }
}

/// All that a call may take in: of a command, whatever its sandbox leaves open, not what it is
/// understood to read.
pub fn read<'a>(agent: Option<&'a Agent>, facts: &'a Facts) -> impl Iterator<Item = &'a str> {
    // What speaks with a repository is shown the objects that it names, and nothing else.
    let runs = facts.git.is_none() && (!facts.programs.is_empty() || facts.more_paths);
    let open = agent.filter(|_| runs).into_iter();
    let open = open.flat_map(|agent| agent.grants.read.iter().chain(&agent.grants.write));
    facts.paths.iter().map(|path| &path.real).chain(open).map(String::as_str)
}

/// What a call may leave behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raise {
    pub effect: EffectId,
    /// Granted directories that it may write in.
    pub roots: Vec<String>,
    /// Of the session.
    pub label: Label,
    /// Where it may take in more.
    pub reads: Vec<String>,
}

/// What `record`, not yet applied to `session`, may leave behind. Told when the call starts, and again
/// when it ends: what it could read may have been raised in between, and what it writes in reset.
#[must_use]
pub fn raise(session: &Session, record: &Record, policy: &Policy) -> Option<Raise> {
    let (Record::Started(Started { effect, .. }) | Record::Ended(Ended { effect, .. })) = record else { return None };
    let Work::Tool { judged: Some(judged), .. } = &session.effects.get(effect)?.work else { return None };
    let agent = policy.agents.get(&session.agent)?;
    let written = judged.facts.paths.iter().filter(|path| path.access == Access::Write);
    let mut roots: Vec<String> = written.filter_map(|path| root_of(agent, &path.real)).collect();
    roots.sort();
    roots.dedup();
    let reads = read(Some(agent), &judged.facts).map(ToOwned::to_owned).collect();
    (!roots.is_empty()).then(|| Raise { effect: *effect, roots, label: session.label.said_by_model(), reads })
}

/// The smallest directory that is granted for writing and holds it.
fn root_of(agent: &Agent, real: &str) -> Option<String> {
    let holding = agent.grants.write.iter().filter(|root| is_under(real, root));
    holding.max_by_key(|root| root.len()).cloned()
}
