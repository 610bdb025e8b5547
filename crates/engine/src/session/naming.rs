//! What is read to know who chose the values of a call: the messages of the task, what this session created, and
//! lists that are looked up first.
use backstay_kernel::Input;
use backstay_kernel::effect::CallRef;
use backstay_kernel::facts::Facts;
use backstay_kernel::flow::{Lists, Values, wanted, wants_names, wants_provenance};
use backstay_kernel::id::{BodyRef, EffectId, Seq};
use backstay_kernel::policy::Policy;
use backstay_kernel::session::{Created, Found, Said, Work};
use backstay_kernel::tool::{Known, Listing, Manifest, Name};
use backstay_kernel::words::{Atom, extract};
use serde_json::json;

use super::SessionTask;
use crate::draft::Draft;
use crate::running::{End, Finished, Key};

/// A call of which it matters who chose its values.
pub(super) struct Asking<'p> {
    pub tool: String,
    pub manifest: &'p Manifest,
    pub values: Values,
    /// What the messages of the task name, the oldest first; what cannot be read names nothing.
    pub messages: Vec<(Seq, Vec<Atom>)>,
    /// To the gate; else to a rule alone.
    pub is_gated: bool,
}

impl SessionTask {
    pub(super) fn asking<'p>(&self, id: EffectId, facts: &Facts, policy: &'p Policy) -> Option<Asking<'p>> {
        let Work::Tool { call, .. } = &self.state.effects.get(&id)?.work else { return None };
        let manifest = call.tool.as_ref().and_then(|tool| policy.tools.get(tool));
        let (session, tool) = (&self.state, call.tool.as_deref());
        let is_gated = wants_names(session, tool, facts, policy);
        let manifest = manifest.filter(|_| is_gated || wants_provenance(session, tool, facts, policy))?;
        let (tool, arguments) = self.bodies.call(call).ok().flatten()?;
        let values = Values::read(manifest, &arguments);
        Some(Asking { tool, manifest, values, messages: self.messages(), is_gated })
    }

    fn messages(&self) -> Vec<(Seq, Vec<Atom>)> {
        let atoms = |said: &Said| {
            let bytes = self.bodies.get(&said.typed.atoms?).ok().flatten()?;
            serde_json::from_slice::<Vec<Atom>>(&bytes).ok()
        };
        let messages = self.state.turn.iter().flat_map(|turn| &turn.said);
        messages.map(|said| (said.seq, atoms(said).unwrap_or_default())).collect()
    }

    /// The words of each of them, which are stored in its text alone.
    pub(super) fn words(&self) -> Vec<Vec<Atom>> {
        let words = |said: &Said| {
            let bytes = self.bodies.get(&said.body).ok().flatten()?;
            Some(extract(std::str::from_utf8(&bytes).ok()?, &said.typed.quotes))
        };
        let messages = self.state.turn.iter().flat_map(|turn| &turn.said);
        messages.map(|said| words(said).unwrap_or_default()).collect()
    }

    /// Whether every message of the task is there: of one that is not, nobody can tell what it names.
    pub(super) fn has_messages(&self) -> bool {
        let is_there = |body: &BodyRef| self.bodies.get(body).is_ok_and(|bytes| bytes.is_some());
        let mut messages = self.state.turn.iter().flat_map(|turn| &turn.said);
        messages.all(|said| is_there(&said.body) && said.typed.atoms.iter().all(is_there))
    }

    /// Has looked up first what the call that was looked at is to be judged by; true where something is.
    pub(super) fn look_up(&mut self, finished: &Finished, policy: &Policy, draft: &mut Draft) -> bool {
        let (Key::Inspect(effect, _), End::Inspected(Ok(facts))) = (finished.key, &finished.end) else { return false };
        let Some(asking) = self.asking(effect, facts, policy).filter(|asking| !asking.manifest.known.is_empty()) else {
            return false;
        };
        let (lists, words) = self.known(effect, &asking);
        let listings = wanted(asking.manifest, &asking.values, &asking.messages, (&lists, &words));
        if listings.is_empty() {
            return false;
        }
        let mark = self.bodies.mark();
        let calls = listings.into_iter().map(|listing| self.lookup(effect, listing)).collect();
        let records = draft.records.len();
        let _ = self.decide(Input::LookUp { effect, calls }, policy, draft);
        if draft.records.len() == records {
            self.bodies.back_to(mark);
        }
        draft.records.len() > records
    }

    fn lookup(&mut self, of: EffectId, listing: &Listing) -> CallRef {
        let function = json!({ "name": listing.tool, "arguments": listing.arguments });
        let calls = json!([{ "id": "lookup", "type": "function", "function": function }]).to_string();
        let repeat = self.lookup_key(of, listing);
        CallRef { calls: self.bodies.seal(calls.into_bytes()), index: 0, tool: Some(listing.tool.clone()), repeat }
    }

    /// Of one call alone: that another one looks the same up is no repetition.
    fn lookup_key(&self, of: EffectId, listing: &Listing) -> backstay_kernel::id::RepeatKey {
        self.bodies.call_key(&listing.tool, &format!("{} {}", of.0, listing.arguments))
    }

    /// What is known of a call's values besides what the messages name by itself, and the words of these.
    pub(super) fn known(&self, id: EffectId, asking: &Asking<'_>) -> (Lists, Vec<Vec<Atom>>) {
        let known = &asking.manifest.known;
        let found = self.state.effects.get(&id).map(|open| open.found.as_slice()).unwrap_or_default();
        let names = known.iter().enumerate().filter_map(|(place, (_, known))| match known {
            Known::Listing(listing) => Some((place, self.list(id, listing, found)?)),
            Known::Listed(_) | Known::Created(_) => None,
        });
        let id = |created: &Created| {
            let bytes = self.bodies.get(&created.id).ok().flatten()?;
            Some((created.tool.clone(), String::from_utf8(bytes.to_vec()).ok()?))
        };
        let lists = Lists { names: names.collect(), created: self.state.created.iter().filter_map(id).collect() };
        (lists, self.words())
    }

    fn list(&self, id: EffectId, listing: &Listing, found: &[Found]) -> Option<Vec<Name>> {
        let key = self.lookup_key(id, listing);
        let list = found.iter().find(|found| found.lookup == key)?.list?;
        let bytes = self.bodies.get(&list).ok().flatten()?;
        listing.names(std::str::from_utf8(&bytes).ok()?)
    }
}
