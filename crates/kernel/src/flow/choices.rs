//! What a call chooses and who said so, for the person who is asked about it.
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use serde_json::{Map, Value};

use super::named::{Named, exact, is_at_most};
use super::{PACKAGE, to_be_named};
use crate::facts::Facts;
use crate::id::Seq;
use crate::policy::Policy;
use crate::session::Session;
use crate::tool::{ArgumentRole, Manifest};
use crate::words::{Atom, Kind, passes};

/// A value by which a call chooses who, where, which or how much.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Absent for a path, and `package` for a package: those are facts and need not be an argument.
    pub argument: Option<String>,
    /// As the model wrote it; a path as it is.
    pub value: String,
    /// How often the argument has it.
    pub times: usize,
    /// All that must be named for it to be.
    pub atoms: Vec<Atom>,
    /// The message or answer of the task that names all of it.
    pub said: Option<Seq>,
    /// It was not spelled out there: a name that is known to stand for it was said, or this session made it.
    pub is_by_name: bool,
}

/// Every value that chooses, as far as the manifest tells, equal ones of an argument once; `messages` as for
/// [`super::named`]. That a value is there does not make the call one that is wanted: whoever is asked says that.
///
/// Names were looked up when the call was judged, and are not again: they count where one message named all.
#[must_use]
pub fn choices(
    session: &Session,
    (facts, named): (&Facts, &Named),
    policy: &Policy,
    (manifest, arguments): (&Manifest, &str),
    messages: &[(Seq, Vec<Atom>)],
) -> Vec<Choice> {
    let given: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
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
        for (one, times) in parts(value) {
            let atoms = kind.and_then(|kind| exact(kind, one)).unwrap_or_default();
            let value = one.as_str().map_or_else(|| one.to_string(), ToOwned::to_owned);
            let spelled = said(&atoms, messages);
            // Or the plan of the task gives the argument words of the message.
            let is_known = named.entry.is_some() || manifest.known.iter().any(|(known, _)| known == name);
            let said = spelled.or(named.warrant.as_ref().filter(|_| is_known).map(|warrant| warrant.from));
            let is_by_name = spelled.is_none() && said.is_some();
            all.push(Choice { argument: Some(name.clone()), value, times, atoms, said, is_by_name });
        }
    }
    let mut add = |argument: Option<&str>, kind: Kind, value: &str| {
        let atoms: Vec<Atom> = Atom::of(kind, value).into_iter().collect();
        let (argument, said) = (argument.map(ToOwned::to_owned), said(&atoms, messages));
        all.push(Choice { argument, value: value.to_owned(), times: 1, atoms, said, is_by_name: false });
    };
    to_be_named(session, facts, policy).for_each(|(_, real)| add(None, Kind::Path, real));
    facts.packages.iter().for_each(|name| add(Some("package"), PACKAGE, name));
    all
}

/// The first message that names every one of them.
fn said(atoms: &[Atom], messages: &[(Seq, Vec<Atom>)]) -> Option<Seq> {
    let names_all = |said: &[Atom]| !atoms.is_empty() && atoms.iter().all(|atom| passes(atom.0, &atom.1, said));
    messages.iter().find(|(_, said)| names_all(said)).map(|(seq, _)| *seq)
}

/// Each value of a list once, with how often it is there, in the order of the list.
fn parts(value: &Value) -> Vec<(&Value, usize)> {
    let Some(list) = value.as_array() else { return Vec::from([(value, 1)]) };
    let mut times: BTreeMap<String, (usize, &Value, usize)> = BTreeMap::new();
    for (place, one) in list.iter().enumerate() {
        times.entry(one.to_string()).or_insert((place, one, 0)).2 += 1;
    }
    let mut parts: Vec<_> = times.into_values().collect();
    parts.sort_by_key(|(place, ..)| *place);
    parts.into_iter().map(|(_, one, times)| (one, times)).collect()
}
