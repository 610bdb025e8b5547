//! Information flow: what a session does not do unasked because of what it has seen.
//!
//! Whoever wrote untrusted words may have chosen the values of a call. A value that a person of the task
//! named, whole, was chosen by them; any other is a question for a person, which no rule lifts. And
//! what is told to somebody is known to them: nothing leaves for a place that is not cleared for it.
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::destination::{Audience, HostGrant, Reachable};
use crate::facts::{Access, Facts};
use crate::frame::Frame;
use crate::git::Push;
use crate::id::{EffectId, Millis};
use crate::label::Confidentiality;
use crate::limits::{COMPOSED_BYTES_MAX, DAY_MS};
use crate::policy::{Agent, Policy};
use crate::rule::is_under;
use crate::session::{Session, State, Work};
use crate::tool::{EffectClass, Manifest};
use crate::words::Kind;

mod addressed;
mod choices;
mod known;
mod named;
mod provenance;
mod scope;

pub use addressed::{addressed, folded};
pub use choices::{Choice, choices};
pub use known::{Lists, wanted};
pub use named::{Chosen, Named, Origin, Sources, Tuple, Values, Warrant, named, wants_names};
pub(crate) use named::{is_irreversible, is_sent};
pub use provenance::{Provenance, wants_provenance};
pub use scope::{PLANS, Wish, plan_instructions, read_scope, wants_scope};

/// As what a person names a package: any word of a message may be the name of one.
const PACKAGE: Kind = Kind::QuotedString;

/// Why a call asks whatever the rules allow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// It writes outside of the workspace, at a path that nobody named.
    UnnamedPath,
    /// It sends, spends or names a target by a value that no message of the task names.
    UnnamedTarget,
    /// The person's own words, as far as they were planned, want no such call, or no more of them.
    OutsideScope,
    /// It would tell something to a place that is not cleared for what the session has seen.
    AboveClearance,
    /// The session has seen a secret and untrusted words, and the call leaves the machine.
    SecretLeaves,
    /// What it says holds a link, an address, a number or a name that nobody named.
    StrayPayload,
    /// A command may ask the network for a package that no message of the task names.
    UnnamedPackage,
    /// A command may reach the network, and untrusted words may have composed whatever it sends.
    OpenNetwork,
    /// It writes names by which other programs act.
    ProtectedPath,
    /// It pushes names by which other programs act.
    ActsElsewhere,
    /// The URLs that untrusted words may have composed have taken up their bytes for today.
    UrlBytes,
    /// Somebody who was asked about it has given it other arguments, and no rule asks about these.
    Edited,
}

/// Bytes of a URL and its headers that untrusted words may have composed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composed {
    /// The host as the grant has it: the names below one domain are one.
    pub host: String,
    pub bytes: u64,
}

/// What composed URLs have taken of a day.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    day: u64,
    bytes: u64,
}

impl Spent {
    pub(crate) fn add(&mut self, bytes: u64, at: Millis) {
        *self = Self { day: at / DAY_MS, bytes: self.on(at).saturating_add(bytes) };
    }

    fn on(self, at: Millis) -> u64 {
        if self.day == at / DAY_MS { self.bytes } else { 0 }
    }
}

/// The paths of a call that somebody must have named, by their places in its facts.
fn to_be_named<'f>(session: &Session, facts: &'f Facts, policy: &Policy) -> impl Iterator<Item = (u32, &'f str)> {
    let free = session.label.is_trusted();
    written_outside(facts, policy).filter(move |_| !free)
}

/// The paths outside of the workspace that a call writes, by their places in its facts.
fn written_outside<'f>(facts: &'f Facts, policy: &Policy) -> impl Iterator<Item = (u32, &'f str)> {
    let outside = move |real: &str| policy.workspace.is_empty() || !is_under(real, &policy.workspace);
    let paths = facts.paths.iter().zip(0u32..).filter(|(path, _)| path.access == Access::Write);
    let paths: Vec<_> = paths.filter(|(path, _)| outside(&path.real)).collect();
    paths.into_iter().map(|(path, place)| (place, path.real.as_str()))
}

/// Whether untrusted words must not have chosen its values, whatever paths it writes.
fn chooses(facts: &Facts, has_authority: bool) -> bool {
    let hides = match facts.class {
        // What no fact shows cannot have been named.
        EffectClass::Write | EffectClass::Execute => has_authority,
        EffectClass::Read | EffectClass::Send | EffectClass::Spend => false,
    };
    hides || is_irreversible(facts)
}

/// Where it goes is the operator's word.
fn is_remote(manifest: Option<&Manifest>) -> bool {
    manifest.is_some_and(|manifest| manifest.remote)
}

/// Something of it is told to somebody else.
pub(crate) fn leaves(facts: &Facts) -> bool {
    facts.destination.is_some() || !facts.network.is_empty() || is_sent(facts.class)
}

/// What is sent as it lies in a directory.
fn push(facts: &Facts) -> Option<&Push> {
    facts.git.as_ref()?.push.as_deref()
}

/// What may be told to where a call goes: what nobody speaks of is public.
fn clearance(agent: &Agent, manifest: Option<&Manifest>, facts: &Facts) -> Confidentiality {
    let hosts = &agent.grants.hosts;
    let known = match (&facts.destination, &*facts.network) {
        (Some(_), _) if is_remote(manifest) => manifest.map(|manifest| manifest.audience.clearance()),
        (Some(to), _) => agent.grants.covering(to, facts).into_iter().map(HostGrant::clearance).min(),
        (None, []) => manifest.map(|manifest| manifest.audience.clearance()),
        (None, places) => {
            let is_one = |grant: &&HostGrant| places.iter().any(|place| grant.is_at(&place.host, place.port));
            hosts.iter().filter(is_one).map(HostGrant::clearance).min()
        }
    };
    known.unwrap_or(Confidentiality::Public)
}

/// Who gets to know what the call tells, of each place that it goes to: by the widest of the grants that let it. `None`:
/// of one of them nobody said it.
pub(crate) fn audience(agent: &Agent, manifest: Option<&Manifest>, facts: &Facts) -> Option<Vec<Audience>> {
    let of_tool = || Some(Vec::from([manifest?.audience]));
    let widest = |grants: &mut dyn Iterator<Item = &HostGrant>| grants.map(|grant| grant.audience).max();
    if !leaves(facts) {
        return Some(Vec::new());
    }
    match (&facts.destination, &*facts.network) {
        (Some(_), _) if is_remote(manifest) => of_tool(),
        (Some(to), _) => Some(Vec::from([widest(&mut agent.grants.covering(to, facts).into_iter())?])),
        (None, []) => of_tool(),
        (None, places) => {
            let at = |place: &Reachable| {
                widest(&mut agent.grants.hosts.iter().filter(|grant| grant.is_at(&place.host, place.port)))
            };
            places.iter().map(at).collect()
        }
    }
}

/// What a request takes of the day's bytes: all that it can carry, and where somebody named its URL, its headers. Of a
/// server's call they are its arguments, and none names those but what lets them be sent.
#[must_use]
pub fn composed(
    session: &Session,
    agent: &Agent,
    manifest: Option<&Manifest>,
    facts: &Facts,
    named: &Named,
) -> Option<Composed> {
    let to = facts.destination.as_ref().filter(|_| !session.label.is_trusted())?;
    let remote = is_remote(manifest);
    let is_named = named.warrant.is_some() && (!remote || is_sent(facts.class));
    let bytes = if is_named { u64::from(to.header_bytes) } else { to.url_bytes };
    let granted = || agent.grants.covering(to, facts).first().map(|grant| &grant.host);
    let host = if remote { Some(&*to.host) } else { granted().map(String::as_str) };
    host.filter(|_| bytes > 0).map(|host| Composed { host: host.into(), bytes })
}

/// Whether the day has room for it, beside what is allowed and has not started.
fn has_room(session: &Session, effect: EffectId, composed: &Composed, now: Millis) -> bool {
    let spent = session.composed.get(&composed.host).map_or(0, |spent| spent.on(now));
    let waiting = session.effects.iter().filter(|(other, open)| **other != effect && open.state == State::Ready);
    let waiting = waiting.filter_map(|(_, open)| match &open.work {
        Work::Tool { judged: Some(judged), .. } => judged.composed.as_ref(),
        Work::Tool { judged: None, .. } | Work::Model { .. } => None,
    });
    let waiting = waiting.filter(|other| other.host == composed.host).map(|other| other.bytes);
    waiting.fold(spent.saturating_add(composed.bytes), u64::saturating_add) <= COMPOSED_BYTES_MAX
}

/// Why the call must be asked about, if it must; the gravest reason first.
#[must_use]
pub fn flow(
    session: &Session,
    effect: EffectId,
    tool: Option<&str>,
    facts: &Facts,
    named: &Named,
    frame: &Frame<'_>,
) -> Option<Flow> {
    // What a command sends is what it reads, and nobody looks at that in between.
    let conf = named.reads.map_or(session.label.conf, |reads| reads.max(session.label.conf));
    let (untrusted, sends) = (!session.label.is_trusted(), is_sent(facts.class));
    let agent = frame.policy.agents.get(&session.agent);
    let manifest = tool.and_then(|tool| frame.policy.tools.get(tool));
    let remote = is_remote(manifest);
    if leaves(facts) {
        // A request that only asks carries what its URL can, which is bounded below; of a secret, nothing.
        let is_told = sends || remote || conf == Confidentiality::Secret;
        if untrusted && conf == Confidentiality::Secret {
            return Some(Flow::SecretLeaves);
        }
        if is_told && agent.is_none_or(|agent| conf > clearance(agent, manifest, facts)) {
            return Some(Flow::AboveClearance);
        }
    }
    if facts.paths.iter().any(|path| path.protected) {
        return Some(Flow::ProtectedPath);
    }
    let push = push(facts);
    let acts = push.filter(|push| push.acts).map(|_| Flow::ActsElsewhere);
    if !untrusted && push.is_none() {
        return None;
    }
    let is_named =
        |place| named.origins.iter().any(|origin| origin.path == place && named::is_of_task(session, origin.from));
    let mut paths = to_be_named(session, facts, frame.policy).map(|(place, _)| is_named(place)).peekable();
    let writes_outside = paths.peek().is_some();
    if paths.any(|is_named| !is_named) {
        return Some(Flow::UnnamedPath);
    }
    let has_scope = agent.is_some_and(|agent| agent.scope);
    let stands = |warrant: &Warrant| match (has_scope, named.entry) {
        (false, None) => named::stands(session, effect, warrant),
        // It may rest on a plan, which counts no more.
        (false, Some(_)) => false,
        // A plan says how many calls; no plan says that somebody be paid twice.
        (true, _) if facts.class == EffectClass::Spend => named::stands(session, effect, warrant),
        // The scope says how many times.
        (true, _) => named::is_of_task(session, warrant.from),
    };
    let is_warranted = named.warrant.as_ref().is_some_and(stands);
    // What lies in a directory is trusted by nobody: that it goes somewhere somebody has said.
    if !untrusted {
        return acts.or((!is_warranted).then_some(Flow::UnnamedTarget));
    }
    let chooses = chooses(facts, manifest.is_none_or(Manifest::has_authority));
    if chooses && !is_warranted {
        return Some(Flow::UnnamedTarget);
    }
    let is_inside = !has_scope || named.entry.is_some_and(|entry| scope::is_open(session, effect, entry));
    if (chooses || writes_outside) && !is_inside {
        return Some(Flow::OutsideScope);
    }
    // What a server elsewhere is only asked is bounded below; what it is to keep is sent.
    // Nobody has looked at what is in commits.
    if (sends || remote && facts.class != EffectClass::Read) && (!named.is_clear || push.is_some()) {
        return acts.or(Some(Flow::StrayPayload));
    }
    if !facts.packages.is_empty() && !named.packages.is_some_and(|from| named::is_of_task(session, from)) {
        return Some(Flow::UnnamedPackage);
    }
    if !facts.network.is_empty() {
        return Some(Flow::OpenNetwork);
    }
    let composed = agent.and_then(|agent| composed(session, agent, manifest, facts, named));
    (composed.is_some_and(|composed| !has_room(session, effect, &composed, frame.now))).then_some(Flow::UrlBytes)
}
