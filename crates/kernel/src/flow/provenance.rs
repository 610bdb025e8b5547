//! Where the values come from by which a call chooses, as rules look at it: each for itself, whatever the session has
//! seen. That a value is a person's own is no wish that something be done with it.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use super::named::{Chosen, Sources, Values};
use super::{PACKAGE, chooses, known, leaves, written_outside};
use crate::facts::Facts;
use crate::id::EffectId;
use crate::policy::Policy;
use crate::rule::{Field, Rule};
use crate::session::Session;
use crate::subject::Subject;
use crate::tool::Known;
use crate::words::{Atom, Kind, passes};

/// Of one value, the first of these that it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// It stands, whole, in a person's own words of the task.
    Person,
    /// The operator wrote it, and for which of the person's words it stands.
    Config,
    /// A person said the name that a list of its server has for it.
    Listed,
    /// A person said words that the plan of the task gives to its argument.
    Plan,
    /// This session created it.
    Created,
    /// None of these: it was read somewhere, or is the model's own.
    Unknown,
}

impl Provenance {
    pub const ALL: [Self; 6] = [Self::Person, Self::Config, Self::Listed, Self::Plan, Self::Created, Self::Unknown];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Config => "config",
            Self::Listed => "listed",
            Self::Plan => "plan",
            Self::Created => "created",
            Self::Unknown => "unknown",
        }
    }

    fn of(known: &Known) -> Self {
        match known {
            Known::Listed(_) => Self::Config,
            Known::Listing(_) => Self::Listed,
            Known::Created(_) => Self::Created,
        }
    }
}

/// Whether a rule may look at it, of such a call and at whatever time.
#[must_use]
pub fn wants_provenance(session: &Session, tool: Option<&str>, facts: &Facts, policy: &Policy) -> bool {
    let agent = policy.agents.get(&session.agent).filter(|agent| agent.rules.look_at(Field::Provenance));
    let subject = Subject { agent: Some(&session.agent), tool, ..Subject::of_facts(facts) };
    let looks = |rule: &&Rule| rule.looks_at(Field::Provenance) && rule.may_match(&subject);
    agent.is_some_and(|agent| agent.rules.near(&subject).iter().any(looks))
}

/// Those of all values that choose; `None` where nobody can tell which there are.
pub(super) fn provenance(
    (session, effect): (&Session, EffectId),
    facts: &Facts,
    policy: &Policy,
    values: &Values,
    sources: &Sources<'_>,
) -> Option<BTreeSet<Provenance>> {
    if facts.is_opaque() {
        return None;
    }
    let typed = |is: bool| if is { Provenance::Person } else { Provenance::Unknown };
    let is_said = |kind: Kind, text: &str| sources.messages.iter().any(|(_, atoms)| passes(kind, text, atoms));
    // Whatever stays here and can be mended is chosen by the paths that it writes, and looks at what was granted.
    let reaches = chooses(facts, values.has_authority) || leaves(facts);
    let choosing = values.choosing.iter().filter(|one| reaches || !one.is_path);
    let chosen = choosing.flat_map(|one| match &one.chosen {
        Some(chosen) => each(chosen, sources),
        None => Vec::from([Provenance::Unknown]),
    });
    // What picks one of several things has no form of its own, but where it is a place.
    let selectors = values.selectors.iter().filter(|_| reaches);
    let selected = selectors.map(|text| typed(text.as_ref().is_some_and(|text| is_said(Kind::Url, text))));
    let paths = written_outside(facts, policy).map(|(_, real)| typed(is_said(Kind::Path, real)));
    let packages = facts.packages.iter().map(|package| typed(is_said(PACKAGE, package)));
    let all = chosen.chain(selected).chain(paths).chain(packages);
    // What the runtime looks up was written by the operator, all of it.
    let is_lookup = session.effects.get(&effect).is_some_and(|open| open.looks_for.is_some());
    Some(all.map(|one| if is_lookup { Provenance::Config } else { one }).collect())
}

/// Of the values of one argument. A name says all that it chooses or nothing, so that it is looked at as a whole.
fn each(chosen: &Chosen, sources: &Sources<'_>) -> Vec<Provenance> {
    let Sources { messages, words, known, wishes } = *sources;
    let said_by = |said| known.and_then(|(manifest, lists)| known::said_by(manifest, lists, chosen, said));
    let is_planned = |said: &Vec<_>| wishes.iter().any(|(_, wish)| wish.says(chosen, said));
    let by_name = words.iter().find_map(|said| said_by(said)).map(Provenance::of);
    let by_name = by_name.or_else(|| words.iter().any(is_planned).then_some(Provenance::Plan));
    let of = |atom: &Atom| {
        let one = Chosen { argument: chosen.argument.clone(), atoms: Vec::from([atom.clone()]) };
        let is_created = |(manifest, lists)| known::is_created(manifest, lists, &one);
        if messages.iter().any(|(_, atoms)| one.is_named(atoms)) {
            return Provenance::Person;
        }
        by_name.unwrap_or(if known.is_some_and(is_created) { Provenance::Created } else { Provenance::Unknown })
    };
    chosen.atoms.iter().map(of).collect()
}
