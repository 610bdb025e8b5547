//! What a person of the small world types, what its mail chooses, and what the gate is told of both: by the kernel's
//! own reading, as the engine has it done.
use std::collections::BTreeMap;

use backstay_kernel::Input;
use backstay_kernel::effect::{CallRef, Inspection};
use backstay_kernel::facts::Facts;
use backstay_kernel::flow::{Lists, Named, Sources, Tuple, Values, Wish, named, wanted, wants_names};
use backstay_kernel::id::{Digest, EffectId, RepeatKey, Seq};
use backstay_kernel::policy::Policy;
use backstay_kernel::session::{ScopeEntry, Session};
use backstay_kernel::standing;
use backstay_kernel::tool::{Manifest, Name};
use backstay_kernel::words::{Atom, Kind as Form, extract};

use super::moves::body;
use super::scope::{Kind, Scope, Unasked};

/// Every message of a person: with addresses, or with a name on the list.
const ADDRESSES: &str = "Read it, then write to ann@corp.example and bob@corp.example";
const NAME: &str = "Read it, then write to \"Ann\"";

#[derive(Debug)]
pub struct Words {
    unasked: Unasked,
    /// The words of a message, and of these what is stored.
    words: Vec<Atom>,
    atoms: Vec<Atom>,
}

impl Words {
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        let words = extract(if scope.unasked == Unasked::Listed { NAME } else { ADDRESSES }, &[]);
        let atoms = words.iter().filter(|atom| atom.0 != Form::Words).cloned().collect();
        Self { unasked: scope.unasked, words, atoms }
    }

    #[must_use]
    pub fn are_typed(&self) -> bool {
        self.unasked != Unasked::Never
    }

    fn arguments(&self, kind: Kind) -> &'static str {
        match (kind, self.unasked) {
            (Kind::Mail, Unasked::Listed) => "{\"to\":\"7\"}",
            (Kind::Mail, _) => "{\"to\":\"ann@corp.example\"}",
            // To the same in another form.
            (Kind::Letter, Unasked::Named) => "{\"cc\":[\"ann@corp.example\"]}",
            (Kind::Letter, Unasked::PlannedTo) => "{\"to\":\"ann@corp.example\",\"cc\":\"bob@corp.example\"}",
            (Kind::Letter, _) => "{\"to\":\"bob@corp.example\"}",
            (Kind::Shell | Kind::Read | Kind::Post | Kind::Write | Kind::List, _) => "{}",
        }
    }

    /// By this name a standing yes knows the call.
    #[must_use]
    pub fn name(&self, kind: Kind) -> Option<Digest> {
        standing::arguments(kind.name(), self.arguments(kind))
    }

    /// What came of a look at the call: first what is to be looked up for it, where that may decide, then what it is.
    #[must_use]
    pub fn inspected(
        &self,
        session: &Session,
        (effect, kind): (EffectId, Kind),
        policy: &Policy,
        stands: bool,
    ) -> (Option<Input>, Input) {
        let facts = Facts::new(kind.class(), Vec::new());
        let arguments = self.name(kind).filter(|_| stands);
        let manifest = policy.tools.get(kind.name()).filter(|_| self.are_typed());
        let asking = manifest.filter(|_| wants_names(session, Some(kind.name()), &facts, policy));
        let (look_up, said) = match asking {
            Some(manifest) => self.said(session, (effect, kind), &facts, (policy, manifest)),
            None => (None, Named::default()),
        };
        let named = Named { arguments, ..said };
        (look_up, Input::Inspected { effect, inspection: Inspection::Facts(facts), named })
    }

    fn said(
        &self,
        session: &Session,
        (effect, kind): (EffectId, Kind),
        facts: &Facts,
        (policy, manifest): (&Policy, &Manifest),
    ) -> (Option<Input>, Named) {
        let values = Values::read(manifest, self.arguments(kind));
        let said = session.turn.iter().flat_map(|turn| &turn.said);
        let messages: Vec<(Seq, Vec<Atom>)> = said.map(|said| (said.seq, self.atoms.clone())).collect();
        let words = vec![self.words.clone(); messages.len()];
        let found = session.effects.get(&effect).map(|open| open.found.as_slice()).unwrap_or_default();
        let has_list = found.iter().any(|found| found.list.is_some());
        let lists = Lists { names: has_list.then(|| (0, list())).into_iter().collect(), created: Vec::new() };
        let wants_list = !wanted(manifest, &values, &messages, (&lists, &words)).is_empty();
        let wishes = self.wishes(session, kind);
        let sources = Sources { messages: &messages, words: &words, known: Some((manifest, &lists)), wishes: &wishes };
        let tuple = tuple(kind, &values.choice(kind.class()));
        let named = named(session, effect, facts, policy, (&values, &tuple), &sources);
        (wants_list.then(|| Input::LookUp { effect, calls: vec![lookup()] }), named)
    }

    /// What the scope has of calls of this tool.
    fn wishes(&self, session: &Session, kind: Kind) -> Vec<(u32, Wish)> {
        let entries = session.turn.iter().flat_map(|turn| turn.scope.entries.iter().zip(0u32..));
        let of_tool = entries.filter(|(entry, _)| entry.tool == kind.name());
        let to = (self.unasked == Unasked::PlannedTo).then(|| ("to".to_owned(), vec!["ann@corp.example".to_owned()]));
        let arguments: BTreeMap<_, _> = to.into_iter().collect();
        let wish = |entry: &ScopeEntry| {
            let (tool, arguments) = (entry.tool.clone(), arguments.clone());
            Wish { tool, count: entry.count, arguments }
        };
        of_tool.map(|(entry, number)| (number, wish(entry))).collect()
    }
}

fn tuple(kind: Kind, values: &[String]) -> Tuple {
    let key = |text: &str| {
        let mut key = [0; 8];
        key.iter_mut().zip(Digest::of("value", &[text.as_bytes()]).0).for_each(|(to, from)| *to = from);
        RepeatKey(key)
    };
    Tuple { tool: key(kind.name()), values: values.iter().map(|value| key(value)).collect() }
}

fn lookup() -> CallRef {
    CallRef { calls: body(600), index: 0, tool: Some(Kind::List.name().to_owned()), repeat: Kind::List.key() }
}

/// What it answers.
fn list() -> Vec<Name> {
    let name = |(name, value): (&str, &str)| Name { name: name.to_owned(), value: value.to_owned() };
    [("Ann", "7"), ("Bob", "8")].map(name).to_vec()
}
