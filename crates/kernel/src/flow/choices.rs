//! What a call chooses and who said so, for the person who is asked about it.
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use serde_json::{Map, Value};

use super::named::{exact, is_at_most};
use super::to_be_named;
use crate::facts::Facts;
use crate::id::Seq;
use crate::policy::Policy;
use crate::session::Session;
use crate::tool::{ArgumentRole, Manifest};
use crate::words::{Atom, Kind, passes};

/// A value by which a call chooses who, where, which or how much.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Absent for a path, which is a fact and need not be an argument.
    pub argument: Option<String>,
    /// As the model wrote it; a path as it is.
    pub value: String,
    /// The message or answer of the task that names it, whole.
    pub said: Option<Seq>,
}

/// Every value that chooses, as far as the manifest tells; `messages` as for [`super::named`]. That a value is there does
/// not make the call one that is wanted: whoever is asked says that.
#[must_use]
pub fn choices(
    session: &Session,
    facts: &Facts,
    policy: &Policy,
    (manifest, arguments): (&Manifest, &str),
    messages: &[(Seq, Vec<Atom>)],
) -> Vec<Choice> {
    let given: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    let said = |kind, value: &str| messages.iter().find(|(_, atoms)| passes(kind, value, atoms)).map(|(seq, _)| *seq);
    let mut all = Vec::new();
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let role = manifest.arguments.iter().find(|(known, _)| known == name).map(|(_, role)| *role);
        let kind = match role {
            Some(ArgumentRole::Payload) => continue,
            Some(ArgumentRole::UpTo(most)) if is_at_most(value, most) => continue,
            Some(ArgumentRole::UpTo(_)) => Some(Kind::Number),
            Some(ArgumentRole::Authority(kind)) => Some(kind),
            Some(ArgumentRole::Selector) | None => None,
        };
        for one in parts(value) {
            let atoms = kind.and_then(|kind| exact(kind, one)).unwrap_or_default();
            let said = atoms.iter().map(|atom| said(atom.0, &atom.1)).next().flatten();
            let value = one.as_str().map_or_else(|| one.to_string(), ToOwned::to_owned);
            all.push(Choice { argument: Some(name.clone()), value, said });
        }
    }
    let path =
        |(_, real): (u32, &str)| Choice { argument: None, value: real.to_string(), said: said(Kind::Path, real) };
    all.extend(to_be_named(session, facts, policy).map(path));
    all
}

fn parts(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| Vec::from([value]), |all| all.iter().collect())
}
