//! Where the calls of an agent have been: what was never reached before is a new place, to a rule and to whoever is asked.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::home::HomeInput;
use crate::limits::REACHED_MAX;
use crate::record::{End, Ended, Record};
use crate::session::{JudgedFacts, Session, Work};
use crate::tool::EffectClass;
use crate::words::{Atom, Kind};

/// Places that an agent has reached; true where a person had said yes to it once.
pub type Places = BTreeMap<String, bool>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    Never,
    /// No person was asked.
    Allowed,
    /// A person had said yes.
    Approved,
}

impl Seen {
    pub const ALL: [Self; 3] = [Self::Never, Self::Allowed, Self::Approved];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Allowed => "allowed",
            Self::Approved => "approved",
        }
    }
}

/// Everywhere that a call leads to: hosts with their ports, URLs, addresses, accounts, and ids and other words of a
/// tool for somebody, which stand for somebody else elsewhere; a tool that sends somewhere that its arguments do not say
/// is a place itself. `None`: it may lead elsewhere too.
#[must_use]
pub fn places(tool: &str, facts: &Facts) -> Option<Vec<String>> {
    let mut places: Vec<String> = facts.destination.iter().map(|to| host(&to.host, to.port)).collect();
    places.extend(facts.network.iter().map(|to| host(&to.host, to.port)));
    if let Some(addressed) = &facts.addressed {
        if addressed.more {
            return None;
        }
        places.extend(addressed.values.iter().filter_map(|Atom(kind, value)| match kind {
            Kind::Email => Some(format!("email {value}")),
            Kind::Account => Some(format!("account {value}")),
            Kind::Url => Some(format!("url {value}")),
            Kind::Host => Some(format!("host {value}")),
            Kind::Id => Some(format!("tool {tool}: id {value}")),
            Kind::QuotedString => Some(format!("tool {tool}: {value}")),
            Kind::Money | Kind::Number | Kind::Path | Kind::Handle | Kind::Words => None,
        }));
    }
    match facts.class {
        EffectClass::Send | EffectClass::Spend if places.is_empty() => places.push(format!("tool {tool}")),
        EffectClass::Read | EffectClass::Write | EffectClass::Execute | EffectClass::Send | EffectClass::Spend => {}
    }
    places.sort();
    places.dedup();
    Some(places)
}

fn host(name: &str, port: u16) -> String {
    format!("host {name}:{port}")
}

/// The least known of them: `None` where one cannot be told, and of nowhere nothing.
pub(crate) fn least(places: Option<&[String]>, reached: &Places) -> Option<Option<Seen>> {
    let seen = |place: &String| match reached.get(place) {
        None => Seen::Never,
        Some(false) => Seen::Allowed,
        Some(true) => Seen::Approved,
    };
    Some(places?.iter().map(seen).min())
}

/// What `record`, not yet applied to `session`, has reached: told when a call ends that was made.
#[must_use]
pub fn reach(session: &Session, record: &Record) -> Option<HomeInput> {
    let Record::Ended(Ended { effect, end: End::Done { .. }, .. }) = record else { return None };
    let Work::Tool { call, judged: Some(judged), .. } = &session.effects.get(effect)?.work else { return None };
    let JudgedFacts { facts, approved, standing, .. } = &**judged;
    let places = places(call.tool.as_deref()?, facts).filter(|places| !places.is_empty())?;
    // A program's yes lets a call go, and makes nobody known.
    let by_person = approved.as_ref().is_some_and(|yes| yes.by_person) || standing.is_some();
    let agent = session.agent.to_string();
    Some(HomeInput::Reach { agent, places, by_person, session: session.id, effect: *effect })
}

/// What of it is new, as far as there is room: of a place that is forgotten a person is asked once more.
pub(crate) fn news(known: Option<&Arc<Places>>, mut places: Vec<String>, by_person: bool) -> Vec<String> {
    let is_known = |place: &String| known.and_then(|known| known.get(place)).is_some_and(|had| *had || !by_person);
    places.retain(|place| !is_known(place));
    let room = REACHED_MAX.saturating_sub(known.map_or(0, |known| known.len()));
    let is_old = |place: &String| known.is_some_and(|known| known.contains_key(place));
    let (old, mut new): (Vec<_>, Vec<_>) = places.into_iter().partition(is_old);
    new.truncate(room);
    [old, new].concat()
}

pub(crate) fn note(known: &mut BTreeMap<String, Arc<Places>>, agent: &str, places: &[String], by_person: bool) {
    let known = Arc::make_mut(known.entry(String::from(agent)).or_default());
    for place in places {
        *known.entry(place.clone()).or_default() |= by_person;
    }
}
