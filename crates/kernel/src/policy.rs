//! The checked configuration: what the kernel is told of agents, models, grants, rules and money.
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::budget::{Budget, Price};
use crate::destination::{Destination, HostGrant};
use crate::facts::Facts;
use crate::git::GitGrant;
use crate::id::Digest;
use crate::label::Confidentiality;
use crate::rules::Rules;
use crate::tool::Manifest;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Owner,
    Operator,
    Approver,
    User,
    Metrics,
}

impl Role {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::User => "user",
            Self::Metrics => "metrics",
        }
    }
}

/// One epoch of the policy. Everything by name, in order, so that two readings are equal bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Counts the policies that this home has had: configs, and servers of tools that were let in or taken out.
    pub epoch: u64,
    /// Of everything else in it, so that a verdict says which policy it is of in any home.
    pub digest: Digest,
    /// The real directory in which an agent works, and whose files it may write whatever it has seen.
    #[serde(default)]
    pub workspace: String,
    pub principals: BTreeMap<String, Role>,
    /// The doors at which a principal has its role, where it has not at every one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub doors: BTreeMap<String, Vec<String>>,
    pub agents: BTreeMap<String, Agent>,
    pub models: BTreeMap<String, Model>,
    pub tools: BTreeMap<String, Manifest>,
    pub home_budget: Budget,
    pub per_principal: Budget,
    pub per_channel: Budget,
}

impl Policy {
    /// What a principal is at a door.
    #[must_use]
    pub fn role(&self, principal: &str, channel: &str) -> Option<Role> {
        let doors = self.doors.get(principal);
        let may = doors.is_none_or(|doors| doors.iter().any(|door| door == channel));
        self.principals.get(principal).copied().filter(|_| may)
    }

    /// The same policy with its digest, as the configuration hands it out.
    #[must_use]
    pub fn sealed(self) -> Self {
        let bare = Self { epoch: 0, digest: Digest::default(), ..self };
        let text = serde_json::to_string(&bare).unwrap_or_default();
        Self { digest: Digest::of("backstay policy v1", &[text.as_bytes()]), ..bare }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Name in [`Policy::models`].
    pub model: String,
    pub instructions: String,
    pub grants: Grants,
    pub rules: Rules,
    pub budget: Budget,
    pub caps: Caps,
    pub in_doubt: InDoubt,
    /// What a person's own words do not want done asks, once the session has seen untrusted words.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub scope: bool,
}

/// What an agent may ever reach. An absent grant is a no that no rule can lift.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    pub tools: Vec<String>,
    /// Real, absolute directories.
    pub read: Vec<String>,
    pub write: Vec<String>,
    /// Names of programs that commands may start, or `*`.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Where requests may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostGrant>,
    /// Repositories that its typed tools speak with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub git: Vec<GitGrant>,
    /// Names of secrets whose bindings hold for this agent's requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

impl Grants {
    /// What lets such a call go there: of one that speaks with a repository, grants of repositories alone.
    #[must_use]
    pub fn covering(&self, to: &Destination, facts: &Facts) -> Vec<&HostGrant> {
        match &facts.git {
            Some(git) => self.git.iter().filter(|grant| grant.covers(to, git)).map(|grant| &grant.at).collect(),
            None => self.hosts.iter().filter(|grant| grant.covers(to)).collect(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Model calls in one turn.
    pub steps: u32,
    pub tool_calls: u32,
    /// Working time of one turn; named waits do not count.
    pub wall_ms: u64,
    /// Asks that one session may open in an hour; the next one waits.
    pub asks_per_hour: u32,
}

/// What becomes of an unsafe effect whose outcome is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InDoubt {
    Ask,
    AssumeDone,
    AssumeNotDone,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub provider: String,
    /// How confidential a conversation may be that the provider is sent.
    pub clearance: Confidentiality,
    /// The name that the provider knows.
    pub name: String,
    pub context_tokens: u64,
    pub max_output_tokens: u64,
    pub price: Price,
}
