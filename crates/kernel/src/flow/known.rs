//! Values that a person named by something else than their own form: by a name for which they stand on a list, or
//! by having had them made in this session.
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::named::{Chosen, Values, scalar};
use crate::id::Seq;
use crate::limits::LISTED_MAX;
use crate::tool::{Known, Listing, Manifest, Name};
use crate::words::{Atom, Kind, Manner, Mentions, glance, is_named, passes};

/// What is known besides a person's words, once it has been looked up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lists {
    /// By their place among what the manifest knows; one that could not be had is empty.
    pub names: Vec<(usize, Vec<Name>)>,
    /// Ids of what this session created, each with the tool that did.
    pub created: Vec<(String, String)>,
}

/// The lists that would decide of a call whether one of these messages names all by which it chooses; none, where
/// one does without them, or could not with them. `known` is what is known without them; `words` are those of the
/// messages, by their places.
#[must_use]
pub fn wanted<'m>(
    manifest: &'m Manifest,
    values: &Values,
    messages: &[(Seq, Vec<Atom>)],
    (known, words): (&Lists, &[Vec<Atom>]),
) -> Vec<&'m Listing> {
    let mut out: Vec<&Listing> = Vec::new();
    let Some(chosen) = values.authority() else { return out };
    for ((_, atoms), words) in messages.iter().zip(words) {
        let is_open = |chosen: &&Chosen| {
            !chosen.is_named(atoms) && !is_said(manifest, known, chosen, words) && !is_created(manifest, known, chosen)
        };
        let open: Vec<&Chosen> = chosen.iter().copied().filter(is_open).collect();
        if !open.iter().all(|chosen| chosen.has_form()) {
            continue;
        }
        if open.is_empty() {
            return Vec::new();
        }
        let of = |chosen: &&Chosen| listings(manifest, chosen).collect::<Vec<_>>();
        let lists: Vec<Vec<&Listing>> = open.iter().map(of).collect();
        if lists.iter().all(|lists| !lists.is_empty()) {
            let new: Vec<&Listing> = lists.concat().into_iter().filter(|listing| !out.contains(listing)).collect();
            out.extend(new);
        }
    }
    out
}

fn listings<'m>(manifest: &'m Manifest, chosen: &Chosen) -> impl Iterator<Item = &'m Listing> {
    let of = manifest.known.iter().filter(move |(argument, _)| *argument == chosen.argument);
    of.filter_map(|(_, known)| if let Known::Listing(listing) = known { Some(&**listing) } else { None })
}

/// Whether the message chose these values of an argument by names for which they are known to stand.
pub fn is_said(manifest: &Manifest, lists: &Lists, chosen: &Chosen, said: &[Atom]) -> bool {
    said_by(manifest, lists, chosen, said).is_some()
}

/// By what it chose them so.
pub fn said_by<'m>(manifest: &'m Manifest, lists: &Lists, chosen: &Chosen, said: &[Atom]) -> Option<&'m Known> {
    if !chosen.has_form() {
        return None;
    }
    let says = |place: usize, known: &Known| match known {
        Known::Listed(names) => stand_for(names, Manner::Plain, chosen, said),
        Known::Listing(listing) => {
            let manner = if listing.unquoted { Manner::Named } else { Manner::Signed(listing.sign) };
            let found = lists.names.iter().find(|(of, _)| *of == place);
            found.is_some_and(|(_, names)| stand_for(names, manner, chosen, said))
        }
        Known::Created(_) => false,
    };
    let known = manifest.known.iter().enumerate().filter(|(_, (argument, _))| *argument == chosen.argument);
    known.map(|(place, (_, known))| (place, known)).find(|(place, known)| says(*place, known)).map(|(_, known)| known)
}

/// Whether each of these values is what the session itself made. Nobody said that anything be done with it.
pub fn is_created(manifest: &Manifest, lists: &Lists, chosen: &Chosen) -> bool {
    if !chosen.has_form() {
        return false;
    }
    let is_by = |tools: &[String], atom: &Atom| {
        let same = |(tool, id): &(String, String)| tools.contains(tool) && Atom::of(atom.0, id).as_ref() == Some(atom);
        lists.created.iter().any(same)
    };
    let known = manifest.known.iter().filter(|(argument, _)| *argument == chosen.argument);
    known.into_iter().any(|(_, known)| match known {
        Known::Created(tools) => !chosen.atoms.is_empty() && chosen.atoms.iter().all(|atom| is_by(tools, atom)),
        Known::Listed(_) | Known::Listing(_) => false,
    })
}

/// Whether `name` is one of those that are known to stand for this value of an argument.
pub(super) fn is_called(manifest: &Manifest, lists: &Lists, argument: &str, atom: &Atom, name: &str) -> bool {
    let bare = |name: &str| Atom::of(Kind::Words, name.strip_prefix(['@', '#']).unwrap_or(name));
    let is_it = |entry: &Name| {
        Atom::of(atom.0, &entry.value).as_ref() == Some(atom)
            && bare(name).is_some_and(|name| bare(&entry.name) == Some(name))
    };
    let known = manifest.known.iter().enumerate().filter(|(_, (of, _))| of == argument);
    known.into_iter().any(|(place, (_, known))| match known {
        Known::Listed(names) => names.iter().any(is_it),
        Known::Listing(_) => lists.names.iter().any(|(of, names)| *of == place && names.iter().any(is_it)),
        Known::Created(_) => false,
    })
}

/// All that the message says of the list, each by one name alone, is exactly what was chosen.
fn stand_for(names: &[Name], manner: Manner, chosen: &Chosen, said: &[Atom]) -> bool {
    let mut names: Vec<&Name> = names.iter().collect();
    names.sort();
    names.dedup();
    // Where strangers name themselves, whoever else is said in whatever form may be the one who was meant.
    let is_strangers = matches!(manner, Manner::Signed(_));
    let mentions = Mentions::of(if is_strangers { said } else { &[] });
    let is_meant =
        |entry: &&&Name| is_named(&entry.name, manner, said) || mentions.has(&entry.name) || mentions.has(&entry.value);
    let meant: Vec<&&Name> = names.iter().filter(is_meant).collect();
    let alike = |one: &Name, other: &Name| one != other && glance(&one.name) == glance(&other.name);
    let is_alone = |entry: &&&Name| !names.iter().any(|other| alike(entry, other));
    let stands = |atom: &Atom| {
        let mut same = names.iter().filter(|entry| Atom::of(atom.0, &entry.value).as_ref() == Some(atom));
        let is_said = |entry: &&Name| is_named(&entry.name, manner, said);
        // The operator may have several words for a value; a second name for one that somebody listed is a trap.
        if manner == Manner::Plain {
            return same.any(is_said);
        }
        let only = same.next().filter(|_| same.next().is_none());
        only.is_some_and(is_said)
    };
    let unnamed: Vec<&Atom> = chosen.atoms.iter().filter(|atom| !passes(atom.0, &atom.1, said)).collect();
    let is_chosen =
        |entry: &&&Name| chosen.atoms.iter().any(|atom| Atom::of(atom.0, &entry.value).as_ref() == Some(atom));
    let names_another = is_strangers && said.iter().any(|atom| could_be(atom, chosen) && !chosen.atoms.contains(atom));
    !names_another
        && !unnamed.is_empty()
        && unnamed.into_iter().all(stands)
        && meant.iter().all(is_alone)
        && meant.iter().all(is_chosen)
}

/// Whether it is a value in the form of what was chosen: whoever says one has chosen without a name. An id or a text
/// in quotes may be anything; of those the ones that stand on the list count.
fn could_be(atom: &Atom, chosen: &Chosen) -> bool {
    let is_any = matches!(atom.0, Kind::Id | Kind::QuotedString);
    !is_any && chosen.atoms.iter().any(|of| of.0 == atom.0)
}

impl Listing {
    /// The names of a list as the tool gave it; `None` where it is none, or holds anything that is not understood: that
    /// might be a second one of a name.
    #[must_use]
    pub fn names(&self, text: &str) -> Option<Vec<Name>> {
        let result: Value = serde_json::from_str(text).ok()?;
        let list = result.pointer(&self.list)?.as_array().filter(|list| list.len() <= LISTED_MAX)?;
        let of = |entry: &Value, pointer: &str| scalar(entry.pointer(pointer)?);
        list.iter().map(|entry| Some(Name { name: of(entry, &self.name)?, value: of(entry, &self.value)? })).collect()
    }
}
