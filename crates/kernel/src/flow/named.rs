//! Which values of a call a person of the task named: found where both can be read, stored as places.
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::known::{self, Lists};
use super::provenance::{Provenance, provenance};
use super::scope::{self, Wish};
use super::{PACKAGE, leaves, push, to_be_named};
use crate::facts::Facts;
use crate::id::{Digest, EffectId, RepeatKey, Seq};
use crate::label::Confidentiality;
use crate::policy::Policy;
use crate::session::{Session, Work};
use crate::tool::{ArgumentRole, EffectClass, Manifest};
use crate::words::{Atom, Kind, is_clear, passes};

/// What a person calls it that commits are sent to a repository.
const PUSH: &str = "push";

/// Where a value of a call was named: the path at this place of its facts, by the message or answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    pub path: u32,
    pub from: Seq,
}

/// One message names every value by which a call chooses who, where, which or how much. It is worth
/// one irreversible call like it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warrant {
    pub from: Seq,
    /// Equal for the same tool.
    pub tuple: RepeatKey,
    /// As in [`Tuple`]. Absent in records of an earlier version, which tell no calls apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<RepeatKey>>,
}

/// By what calls are told apart: the key of the tool, and one for each text of [`Values::choice`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tuple {
    pub tool: RepeatKey,
    pub values: Vec<RepeatKey>,
}

impl Warrant {
    fn of(from: Seq, Tuple { tool, values }: &Tuple) -> Self {
        Self { from, tuple: *tool, values: Some(values.clone()) }
    }

    /// Whether a message is worth only one of the two: one of them chooses nothing that the other does not choose as
    /// well, in whatever form and by whatever argument.
    fn is_like(&self, other: &Self) -> bool {
        let within = |some: &[RepeatKey], all: &[RepeatKey]| some.iter().all(|value| all.contains(value));
        let alike = match (&self.values, &other.values) {
            (Some(one), Some(two)) => self.tuple == other.tuple && (within(one, two) || within(two, one)),
            (None, _) | (_, None) => true,
        };
        self.from == other.from && alike
    }
}

/// What the messages of the task say of a call. Nothing, where nobody looked.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Named {
    pub origins: Vec<Origin>,
    pub warrant: Option<Warrant>,
    /// Its payload holds no link, address, number or name that a message does not.
    pub is_clear: bool,
    /// How confidential all is that it may take in and send, where it has a network of its own.
    pub reads: Option<Confidentiality>,
    /// Its arguments, where somebody has said yes to some of its tool for longer than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Digest>,
    /// The entry of the task's scope that it is inside of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u32>,
    /// The message that names all packages that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Seq>,
    /// Where the values by which it chooses come from, where that was looked at and can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<BTreeSet<Provenance>>,
}

/// All that tells who chose the values of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The atoms of the task's messages, the oldest first.
    pub messages: &'a [(Seq, Vec<Atom>)],
    /// Their words, by their places.
    pub words: &'a [Vec<Atom>],
    pub known: Option<(&'a Manifest, &'a Lists)>,
    /// What was planned of calls of this tool, by their places in the scope.
    pub wishes: &'a [(u32, Wish)],
}

/// The values of a call, as its manifest knows them, in their normal forms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Values {
    /// Of each argument that chooses, or of which nobody can tell it.
    pub(super) choosing: Vec<Choosing>,
    /// What picks one of several things; `None` where it is no text.
    pub(super) selectors: Vec<Option<String>>,
    payload: Vec<String>,
    /// What is done there is the tool's, and no method of a request.
    is_remote: bool,
    pub(super) has_authority: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Choosing {
    /// It is the place of a file, which is a fact of what stays here.
    pub is_path: bool,
    /// `None` where that has no form, or nobody can tell it.
    pub chosen: Option<Chosen>,
}

impl Choosing {
    const UNKNOWN: Self = Self { is_path: false, chosen: None };
}

/// What an argument chooses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    pub argument: String,
    pub atoms: Vec<Atom>,
}

impl Chosen {
    /// What of it has no form of its type is a name, or words: no message names that by itself.
    pub(super) fn has_form(&self) -> bool {
        self.atoms.iter().all(|atom| atom.0 != Kind::Words)
    }

    pub(super) fn is_named(&self, said: &[Atom]) -> bool {
        self.has_form() && self.atoms.iter().all(|atom| passes(atom.0, &atom.1, said))
    }
}

impl Values {
    #[must_use]
    pub fn read(manifest: &Manifest, arguments: &str) -> Self {
        let read = serde_json::from_str::<Map<String, Value>>(arguments).ok();
        let (mut choosing, mut selectors, mut payload) = (Vec::new(), Vec::new(), Vec::new());
        choosing.extend(read.is_none().then_some(Choosing::UNKNOWN));
        let given = read.unwrap_or_default();
        for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
            let role = manifest.arguments.iter().find(|(known, _)| known == name).map(|(_, role)| *role);
            match role {
                Some(ArgumentRole::UpTo(most)) if is_at_most(value, most) => {}
                Some(ArgumentRole::Authority(_) | ArgumentRole::UpTo(_)) => {
                    let found = match role {
                        Some(ArgumentRole::Authority(kind)) => {
                            let of = |text: &str| has_form(kind).then(|| Atom::of(kind, text)).flatten();
                            atoms(value, &|text| of(text).or_else(|| as_words(text)))
                        }
                        _ => exact(Kind::Number, value),
                    };
                    // Whom a message names once is not meant twice.
                    let found = found.filter(|atoms| !repeats(atoms));
                    let chosen = found.map(|atoms| Chosen { argument: name.clone(), atoms });
                    choosing.push(Choosing { is_path: role == Some(ArgumentRole::Authority(Kind::Path)), chosen });
                }
                Some(ArgumentRole::Payload) => texts(value, &mut payload),
                Some(ArgumentRole::Selector) => {
                    let all = value.as_array().map_or(core::slice::from_ref(value), Vec::as_slice);
                    selectors.extend(all.iter().map(scalar));
                }
                None => choosing.push(Choosing::UNKNOWN),
            }
        }
        let (is_remote, has_authority) = (manifest.remote, manifest.has_authority());
        Self { choosing, selectors, payload, is_remote, has_authority }
    }

    /// All by which it chooses; `None` where one of them has no form, or nobody can tell whether it chooses something.
    /// What picks one of several things is named by nothing but what says which.
    #[must_use]
    pub fn authority(&self) -> Option<Vec<&Chosen>> {
        let all = self.choosing.iter().map(|one| one.chosen.as_ref()).collect::<Option<_>>();
        all.filter(|_| self.selectors.is_empty())
    }

    /// What it chooses, a text for each value, in whatever order they are given, how often and for which arguments. Of a
    /// payment nothing: any two of the same tool are like each other.
    #[must_use]
    pub fn choice(&self, class: EffectClass) -> Vec<String> {
        let chosen = self.authority().filter(|_| class != EffectClass::Spend).unwrap_or_default();
        let atoms = chosen.into_iter().flat_map(|chosen| &chosen.atoms);
        let atoms: BTreeSet<_> = atoms.map(|Atom(kind, value)| Atom(*kind, with_scheme(*kind, value))).collect();
        atoms.iter().map(|atom| serde_json::to_string(atom).unwrap_or_default()).collect()
    }
}

fn repeats(atoms: &[Atom]) -> bool {
    atoms.iter().enumerate().any(|(place, atom)| atoms.iter().skip(place + 1).any(|other| other == atom))
}

/// A link that was typed without a scheme is the same place with the one that it gets.
fn with_scheme(kind: Kind, value: &str) -> String {
    if kind == Kind::Url && value.starts_with("//") { format!("https:{value}") } else { value.into() }
}

/// A text or a number, as a text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(format!("{number}")),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A name or words alone are no value: what is known of the argument says for which they stand.
pub(super) fn exact(kind: Kind, value: &Value) -> Option<Vec<Atom>> {
    if has_form(kind) { atoms(value, &|text| Atom::of(kind, text)) } else { None }
}

fn has_form(kind: Kind) -> bool {
    !matches!(kind, Kind::Handle | Kind::Words)
}

/// A text that is no value of its type: as it is, for the plan of the person's words alone.
fn as_words(text: &str) -> Option<Atom> {
    Atom::of(Kind::QuotedString, text).map(|Atom(_, text)| Atom(Kind::Words, text))
}

fn atoms(value: &Value, of: &dyn Fn(&str) -> Option<Atom>) -> Option<Vec<Atom>> {
    match value {
        // Of nothing some programs make everything.
        Value::Array(all) if all.is_empty() => None,
        Value::Array(all) => {
            let all: Option<Vec<_>> = all.iter().map(|one| atoms(one, of)).collect();
            all.map(|all| all.concat())
        }
        Value::String(_) | Value::Number(_) | Value::Null | Value::Bool(_) | Value::Object(_) => {
            of(&scalar(value)?).map(|atom| Vec::from([atom]))
        }
    }
}

/// Whether it is a number from nothing to so many, for every program that might read it: of a text, digits with at
/// most a point and two more.
pub(super) fn is_at_most(value: &Value, most: u64) -> bool {
    if let Value::String(text) = value {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 2 {
            return false;
        }
    }
    let found = exact(Kind::Number, value);
    let Some([Atom(_, number)]) = found.as_deref() else { return false };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_whole = part.bytes().all(|digit| digit == b'0');
    whole.parse().is_ok_and(|whole: u64| whole < most || whole == most && is_whole)
}

fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|one| texts(one, out)),
        Value::Object(all) => all.iter().for_each(|(name, one)| {
            out.push(name.clone());
            texts(one, out);
        }),
        Value::Number(number) => out.push(format!("{number}")),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Whether it matters what the messages of the task name.
#[must_use]
pub fn wants_names(session: &Session, tool: Option<&str>, facts: &Facts, policy: &Policy) -> bool {
    let chooses = tool.and_then(|tool| policy.tools.get(tool)).is_none_or(Manifest::has_authority);
    let untrusted = !session.label.is_trusted() && (leaves(facts) || chooses || facts.stays_done());
    untrusted || push(facts).is_some() || to_be_named(session, facts, policy).next().is_some()
}

/// What the messages say; `tuple`: of these values, by [`Values::choice`].
#[must_use]
pub fn named(
    session: &Session,
    effect: EffectId,
    facts: &Facts,
    policy: &Policy,
    (values, tuple): (&Values, &Tuple),
    sources: &Sources<'_>,
) -> Named {
    let Sources { messages, words, known, wishes } = *sources;
    // What only reads is in no scope, and uses none up.
    let wishes = if facts.class == EffectClass::Read { &[] } else { wishes };
    let origin = |(path, real)| {
        let (from, _) = messages.iter().find(|(_, atoms)| passes(Kind::Path, real, atoms))?;
        Some(Origin { path, from: *from })
    };
    let origins = to_be_named(session, facts, policy).filter_map(origin).collect();
    // What stays here and was given nothing that chooses, chooses nothing; what leaves goes somewhere all the same.
    let may_choose_nothing = !is_irreversible(facts) && !values.is_remote;
    // Whoever names a place to be looked at has not said that something be sent or deleted there.
    let method =
        facts.destination.as_ref().map(|to| to.method).filter(|method| !values.is_remote && !method.only_asks());
    let word = method.map(|method| if facts.git.is_some() { PUSH } else { method.word() });
    let says_what = |words: &[Atom]| word.is_none_or(|word| passes(Kind::Words, word, words));
    let is_said = |chosen: &Chosen, wish: Option<&Wish>, (atoms, words): (&[Atom], &[Atom])| {
        let by_name = |(manifest, lists)| known::is_said(manifest, lists, chosen, words);
        chosen.is_named(atoms) || known.is_some_and(by_name) || wish.is_some_and(|wish| wish.says(chosen, words))
    };
    let is_created =
        |chosen: &Chosen| known.is_some_and(|(manifest, lists)| known::is_created(manifest, lists, chosen));
    let authority = values.authority();
    let names_all = |wish: Option<&Wish>, place: usize, atoms: &[Atom]| {
        let Some(all) = &authority else { return false };
        let of = (atoms, words.get(place).map(Vec::as_slice).unwrap_or_default());
        let (said, unsaid): (Vec<_>, Vec<_>) = all.iter().partition(|chosen| is_said(chosen, wish, of));
        // What the session made is no word of anybody's that something be sent or spent by it; a plan is.
        let wants_it = may_choose_nothing || !said.is_empty() || wish.is_some();
        wants_it && says_what(of.1) && unsaid.into_iter().all(is_created)
    };
    let warrants = |wish: Option<&Wish>| {
        let all = messages.iter().enumerate().filter(|(place, (_, atoms))| names_all(wish, *place, atoms));
        let all: Vec<Warrant> = all.map(|(_, (from, _))| Warrant::of(*from, tuple)).collect();
        all.iter().find(|warrant| !is_spent(session, effect, warrant)).or(all.first()).cloned()
    };
    let (entry, warrant) = inside(session, effect, wishes, warrants, |wish| wish.admits(known, values, words));
    let names_packages = |atoms: &[Atom]| facts.packages.iter().all(|package| passes(PACKAGE, package, atoms));
    let packages = messages.iter().find(|(_, atoms)| !facts.packages.is_empty() && names_packages(atoms));
    let all: Vec<Atom> = messages.iter().flat_map(|(_, atoms)| atoms.iter().cloned()).collect();
    Named {
        origins,
        warrant,
        is_clear: values.payload.iter().all(|text| is_clear(text, &all)),
        reads: None,
        arguments: None,
        entry,
        packages: packages.map(|(from, _)| *from),
        provenance: provenance((session, effect), facts, policy, values, &Sources { messages, words, known, wishes }),
    }
}

/// The entry of the scope that a call is inside of, and what warrants it: the first that does both and has a call left.
fn inside(
    session: &Session,
    effect: EffectId,
    wishes: &[(u32, Wish)],
    warrant: impl Fn(Option<&Wish>) -> Option<Warrant>,
    admits: impl Fn(&Wish) -> bool,
) -> (Option<u32>, Option<Warrant>) {
    let of_it: Vec<_> =
        wishes.iter().filter(|(entry, wish)| scope::is_open(session, effect, *entry) && admits(wish)).collect();
    let warranted = of_it.iter().find_map(|(entry, wish)| Some((*entry, warrant(Some(wish))?)));
    match warranted {
        Some((entry, warrant)) => (Some(entry), Some(warrant)),
        None => (of_it.first().map(|(entry, _)| *entry), warrant(None)),
    }
}

/// It is worth something still: its message is of this task, and no other call had its effect by it.
pub(super) fn stands(session: &Session, effect: EffectId, warrant: &Warrant) -> bool {
    is_of_task(session, warrant.from) && !is_spent(session, effect, warrant)
}

pub(super) fn is_of_task(session: &Session, from: Seq) -> bool {
    session.turn.iter().flat_map(|turn| &turn.said).any(|said| said.seq == from)
}

fn is_spent(session: &Session, effect: EffectId, warrant: &Warrant) -> bool {
    let spent = session.turn.iter().flat_map(|turn| &turn.spent_warrants).any(|spent| spent.is_like(warrant));
    // Another call of the same reply may start first.
    let waits = session.effects.iter().any(|(other, open)| match &open.work {
        Work::Tool { judged: Some(judged), .. } => {
            *other != effect
                && is_irreversible(&judged.facts)
                && judged.named.warrant.as_ref().is_some_and(|other| other.is_like(warrant))
        }
        Work::Tool { judged: None, .. } | Work::Model { .. } => false,
    });
    spent || waits
}

/// What it does stays done: nothing that was told is taken back, nor what is known to be no way back from.
pub(crate) fn is_irreversible(facts: &Facts) -> bool {
    is_sent(facts.class) || facts.stays_done()
}

/// Somebody else gets it.
pub(crate) fn is_sent(class: EffectClass) -> bool {
    match class {
        EffectClass::Send | EffectClass::Spend => true,
        EffectClass::Read | EffectClass::Write | EffectClass::Execute => false,
    }
}
