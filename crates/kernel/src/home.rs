//! The home is a stream of its own: config epochs, tokens, switches, restores.
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::frame::Switches;
use crate::id::{BodyRef, Digest, EffectId, Millis, Seq, SessionId};
use crate::label::{Confidentiality, Label, Source};
use crate::limits::STANDING_MAX;
use crate::mode::{Modes, Scope, WorkMode};
use crate::policy::Role;
use crate::reached::{self, Places};
use crate::refusal::{Code, Refusal};
use crate::roots::Roots;
use crate::standing::Standing;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HomeRecord {
    /// Another config is in force: its text, what changed, and who brought it.
    Config {
        epoch: u64,
        text: BodyRef,
        diff: Option<BodyRef>,
        by: String,
    },
    TokenCreated(Token),
    TokenRevoked {
        id: String,
        by: String,
    },
    Frozen {
        by: String,
        why: FreezeReason,
    },
    Unfrozen {
        by: String,
    },
    /// An agent, a door or the home does more or less from now on.
    ModeSet {
        scope: Scope,
        mode: WorkMode,
        by: String,
    },
    /// An operator has let a server of tools in, as it was then: what it offers is a new policy.
    Pinned {
        epoch: u64,
        server: String,
        pin: BodyRef,
        by: String,
    },
    /// It is other than it was: it is let in no longer.
    Unpinned {
        epoch: u64,
        server: String,
        why: BodyRef,
        by: String,
    },
    /// The home goes on from a backup.
    Restored {
        old: u64,
        new: u64,
    },
    /// What a call of a session leaves in a directory bears this label from now on.
    RootRaised {
        root: String,
        label: Label,
        session: SessionId,
        effect: EffectId,
    },
    /// An owner vouches for what lies in a directory.
    RootReset {
        root: String,
        /// What it was raised to.
        before: Label,
        by: String,
    },
    /// A secret has a value, its first or another. The value lies in the sealed store alone.
    SecretKept {
        name: String,
        version: String,
        by: String,
    },
    SecretRemoved {
        name: String,
        by: String,
    },
    /// A person has said yes to one exact call for longer than once.
    StandingGranted(Standing),
    StandingRevoked {
        id: String,
        by: String,
    },
    /// A call of an agent has reached places that it had not, or not with a person's yes.
    Reached {
        agent: String,
        places: Vec<String>,
        by_person: bool,
        session: SessionId,
        effect: EffectId,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreezeReason {
    Operator,
    Restored,
}

/// Whether a person or a program holds the token; only a person's word is an approval on a door
/// that asks for one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaks {
    Human,
    Program,
}

impl Speaks {
    pub const ALL: [Self; 2] = [Self::Human, Self::Program];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Program => "program",
        }
    }

    /// Who said what two said one after the other: a program as soon as one of them is. `None`: nobody knows.
    #[must_use]
    pub fn of_both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(Self::Program), _) | (_, Some(Self::Program)) => Some(Self::Program),
            (Some(Self::Human), Some(Self::Human)) => Some(Self::Human),
            (None, _) | (_, None) => None,
        }
    }
}

/// What a token is for, one thing each: whoever finds the one that a chat uses can neither say yes nor stop anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
    /// To talk to agents. A token from before there were scopes is one of these.
    #[default]
    Chat,
    /// To see, and change nothing.
    Observe,
    /// To see what waits for a yes, and to answer it.
    Approve,
    /// To stop, let go on, settle and set.
    Operate,
}

impl TokenScope {
    pub const ALL: [Self; 4] = [Self::Chat, Self::Observe, Self::Approve, Self::Operate];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Operate => "operate",
        }
    }

    fn is_chat(&self) -> bool {
        *self == Self::Chat
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The first characters of the token, by which it is named.
    pub id: String,
    /// SHA-256 of the token; it is drawn from 256 bits, so no slow hash is needed.
    pub hash: Digest,
    pub principal: String,
    pub speaks: Speaks,
    #[serde(default, skip_serializing_if = "TokenScope::is_chat")]
    pub scope: TokenScope,
    pub created_at: Millis,
    pub by: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Home {
    pub seq: Seq,
    pub epoch: u64,
    pub config: Option<BodyRef>,
    pub tokens: BTreeMap<String, Token>,
    /// What was pinned of servers of tools, by their names.
    pub pins: BTreeMap<String, BodyRef>,
    pub frozen: Option<FreezeReason>,
    pub modes: Modes,
    pub lineage: u64,
    pub roots: Roots,
    /// Names of secrets, each with the version of its value.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Yeses for longer than once, by the asks that they were said to.
    #[serde(default)]
    pub standing: BTreeMap<String, Standing>,
    /// Where the calls of each agent have been.
    #[serde(default)]
    pub reached: BTreeMap<String, Arc<Places>>,
}

/// Of whatever lies anywhere after a restore: sessions that the backup does not know may have put it there.
const UNKNOWN: Label = Label { conf: Confidentiality::Secret, ..Label::of(Source::Elsewhere) };

impl Home {
    #[must_use]
    pub fn switches(&self) -> Switches {
        Switches { frozen: self.frozen.is_some(), ..Switches::default() }
    }

    /// The principal that a presented token belongs to.
    #[must_use]
    pub fn holder(&self, presented: &str) -> Option<&Token> {
        let hash = token_hash(presented);
        self.tokens.values().find(|token| token.hash == hash)
    }
}

#[must_use]
pub fn token_hash(token: &str) -> Digest {
    Digest::of("backstay token v1", &[token.as_bytes()])
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HomeInput {
    Config {
        text: BodyRef,
        diff: Option<BodyRef>,
        by: String,
    },
    CreateTokens {
        tokens: Vec<Token>,
        known: BTreeMap<String, Role>,
    },
    RevokeToken {
        id: String,
        by: String,
    },
    Freeze {
        by: String,
    },
    Unfreeze {
        by: String,
    },
    SetMode {
        scope: Scope,
        mode: WorkMode,
        by: String,
    },
    Pin {
        server: String,
        pin: BodyRef,
        by: String,
    },
    Unpin {
        server: String,
        why: BodyRef,
        by: String,
    },
    Restored {
        old: u64,
        new: u64,
    },
    RaiseRoot {
        root: String,
        label: Label,
        session: SessionId,
        effect: EffectId,
    },
    ResetRoot {
        root: String,
        by: String,
        speaks: Speaks,
    },
    /// `replaces`: the name is there already, as whoever asks must know.
    KeepSecret {
        name: String,
        version: String,
        replaces: bool,
        by: String,
    },
    RemoveSecret {
        name: String,
        by: String,
    },
    GrantStanding(Standing),
    RevokeStanding {
        id: String,
        by: String,
    },
    Reach {
        agent: String,
        places: Vec<String>,
        by_person: bool,
        session: SessionId,
        effect: EffectId,
    },
}

/// # Errors
/// A [`Refusal`] where what was asked for is not to be had.
pub fn decide(home: &Home, input: HomeInput) -> Result<Vec<HomeRecord>, Refusal> {
    match input {
        HomeInput::Config { text, .. } if home.config == Some(text) => Ok(Vec::new()),
        HomeInput::Config { text, diff, by } => {
            Ok(Vec::from([HomeRecord::Config { epoch: home.epoch + 1, text, diff, by }]))
        }
        HomeInput::CreateTokens { tokens, known } => {
            if let Some(token) = tokens.iter().find(|token| !known.contains_key(&token.principal)) {
                return Err(Refusal::new(
                    Code::UnknownPrincipal,
                    alloc::format!("there is no principal `{}`", token.principal),
                    alloc::format!("add [principals.{}] to backstay.toml", token.principal),
                ));
            }
            Ok(tokens.into_iter().map(HomeRecord::TokenCreated).collect())
        }
        HomeInput::RevokeToken { id, by } if home.tokens.contains_key(&id) => {
            Ok(Vec::from([HomeRecord::TokenRevoked { id, by }]))
        }
        HomeInput::RevokeToken { id, .. } => Err(Refusal::new(
            Code::NoSuchToken,
            alloc::format!("there is no token `{id}`"),
            "see `backstay tokens list`",
        )),
        HomeInput::Freeze { .. } if home.frozen.is_some() => Ok(Vec::new()),
        HomeInput::Freeze { by } => Ok(Vec::from([HomeRecord::Frozen { by, why: FreezeReason::Operator }])),
        HomeInput::Unfreeze { .. } if home.frozen.is_none() => Ok(Vec::new()),
        HomeInput::Unfreeze { by } => Ok(Vec::from([HomeRecord::Unfrozen { by }])),
        HomeInput::SetMode { scope, mode, .. } if home.modes.get(&scope) == mode => Ok(Vec::new()),
        HomeInput::SetMode { scope, mode, by } => Ok(Vec::from([HomeRecord::ModeSet { scope, mode, by }])),
        HomeInput::Pin { server, pin, .. } if home.pins.get(&server) == Some(&pin) => Ok(Vec::new()),
        HomeInput::Pin { server, pin, by } => {
            Ok(Vec::from([HomeRecord::Pinned { epoch: home.epoch + 1, server, pin, by }]))
        }
        HomeInput::Unpin { server, .. } if !home.pins.contains_key(&server) => Ok(Vec::new()),
        HomeInput::Unpin { server, why, by } => {
            Ok(Vec::from([HomeRecord::Unpinned { epoch: home.epoch + 1, server, why, by }]))
        }
        HomeInput::Restored { old, new } => Ok(Vec::from([
            HomeRecord::Restored { old, new },
            HomeRecord::Frozen { by: String::from("restore"), why: FreezeReason::Restored },
        ])),
        HomeInput::RaiseRoot { root, label, session, effect } => {
            let was = home.roots.whole(&root);
            let label = home.roots.get(&root).unwrap_or(Label::ROOT).join(label);
            let raised = HomeRecord::RootRaised { root, label, session, effect };
            Ok(if label.is_graver_than(was) { Vec::from([raised]) } else { Vec::new() })
        }
        HomeInput::ResetRoot { root, by, speaks } => reset_root(home, root, by, speaks),
        HomeInput::KeepSecret { name, replaces: false, .. } if home.secrets.contains_key(&name) => Err(Refusal::new(
            Code::SecretExists,
            alloc::format!("there is a secret `{name}` already"),
            alloc::format!("backstay secrets rotate {name}"),
        )),
        HomeInput::KeepSecret { name, replaces: true, .. } if !home.secrets.contains_key(&name) => {
            Err(no_such_secret(&name))
        }
        HomeInput::KeepSecret { name, version, by, .. } => {
            Ok(Vec::from([HomeRecord::SecretKept { name, version, by }]))
        }
        HomeInput::RemoveSecret { name, .. } if !home.secrets.contains_key(&name) => Err(no_such_secret(&name)),
        HomeInput::RemoveSecret { name, by } => Ok(Vec::from([HomeRecord::SecretRemoved { name, by }])),
        HomeInput::GrantStanding(standing) => grant_standing(home, standing),
        HomeInput::RevokeStanding { id, by } => revoke_standing(home, id, by),
        HomeInput::Reach { agent, places, by_person, session, effect } => {
            let places = reached::news(home.reached.get(&agent), places, by_person);
            let record = HomeRecord::Reached { agent, places: places.clone(), by_person, session, effect };
            Ok(if places.is_empty() { Vec::new() } else { Vec::from([record]) })
        }
    }
}

fn reset_root(home: &Home, root: String, by: String, speaks: Speaks) -> Result<Vec<HomeRecord>, Refusal> {
    let Some(before) = home.roots.get(&root) else {
        return Err(Refusal::new(
            Code::NoSuchRoot,
            alloc::format!("nothing has raised the label of `{root}`"),
            "see `backstay roots list`",
        ));
    };
    if speaks != Speaks::Human {
        return Err(Refusal::new(
            Code::NotAnApprover,
            "only a person vouches for files, and this is a program's word",
            "do it at a terminal, or with a token made by `backstay tokens create --principal NAME --speaks human --scope operate`",
        ));
    }
    Ok(Vec::from([HomeRecord::RootReset { root, before, by }]))
}

fn grant_standing(home: &Home, standing: Standing) -> Result<Vec<HomeRecord>, Refusal> {
    if home.standing.contains_key(&standing.id) {
        return Ok(Vec::new());
    }
    if home.standing.values().filter(|other| other.until > standing.at).count() >= STANDING_MAX {
        return Err(Refusal::new(
            Code::OnlyOnce,
            alloc::format!("{STANDING_MAX} yeses stand already, more than anybody keeps in view"),
            "backstay approvals standing, and revoke what nobody needs",
        ));
    }
    Ok(Vec::from([HomeRecord::StandingGranted(standing)]))
}

fn revoke_standing(home: &Home, id: String, by: String) -> Result<Vec<HomeRecord>, Refusal> {
    if home.standing.contains_key(&id) {
        return Ok(Vec::from([HomeRecord::StandingRevoked { id, by }]));
    }
    let message = alloc::format!("no yes to `{id}` stands");
    Err(Refusal::new(Code::NoSuchStanding, message, "see `backstay approvals standing`"))
}

fn no_such_secret(name: &str) -> Refusal {
    Refusal::new(Code::NoSuchSecret, alloc::format!("there is no secret `{name}`"), "see `backstay secrets list`")
}

pub fn apply(home: &mut Home, record: &HomeRecord) {
    home.seq = home.seq.next();
    match record {
        HomeRecord::Config { epoch, text, .. } => {
            home.epoch = *epoch;
            home.config = Some(*text);
        }
        HomeRecord::TokenCreated(token) => {
            home.tokens.insert(token.id.clone(), token.clone());
        }
        HomeRecord::TokenRevoked { id, .. } => {
            home.tokens.remove(id);
        }
        HomeRecord::Frozen { why, .. } => home.frozen = Some(*why),
        HomeRecord::Unfrozen { .. } => home.frozen = None,
        HomeRecord::ModeSet { scope, mode, .. } => home.modes.set(scope, *mode),
        HomeRecord::Pinned { epoch, server, pin, .. } => {
            home.epoch = *epoch;
            home.pins.insert(server.clone(), *pin);
        }
        HomeRecord::Unpinned { epoch, server, .. } => {
            home.epoch = *epoch;
            home.pins.remove(server);
        }
        HomeRecord::Restored { new, .. } => {
            home.lineage = *new;
            home.roots.put("/", UNKNOWN);
            // As a yes to an ask, it holds under one lineage.
            home.standing.clear();
        }
        HomeRecord::RootRaised { root, label, .. } => home.roots.put(root, *label),
        HomeRecord::RootReset { root, .. } => home.roots.reset(root),
        HomeRecord::SecretKept { name, version, .. } => {
            home.secrets.insert(name.clone(), version.clone());
        }
        HomeRecord::SecretRemoved { name, .. } => {
            home.secrets.remove(name);
        }
        HomeRecord::StandingGranted(standing) => {
            home.standing.retain(|_, other| other.until > standing.at);
            home.standing.insert(standing.id.clone(), standing.clone());
        }
        HomeRecord::StandingRevoked { id, .. } => {
            home.standing.remove(id);
        }
        HomeRecord::Reached { agent, places, by_person, .. } => {
            reached::note(&mut home.reached, agent, places, *by_person);
        }
    }
}
