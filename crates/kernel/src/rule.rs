//! Rules: under which conditions a granted call is allowed, asked about or denied. Deny wins.
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::clock::{Days, Hours};
use crate::home::Speaks;
use crate::id::Millis;
use crate::limit::Limit;
use crate::limits;
use crate::money::Money;
use crate::policy::Role;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleVerdict {
    Allow,
    Ask,
    Deny,
}

/// What a rule may look at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    Agent,
    Principal,
    Role,
    Channel,
    Tool,
    Class,
    Path,
    BytesOut,
    Recipient,
    Account,
    Amount,
    Host,
    Port,
    Method,
    UrlPath,
    UrlBytes,
    Repo,
    Ref,
    Force,
    Changed,
    Clock,
    Weekday,
    LabelConf,
    LabelIntegrity,
    Mode,
    Seen,
    Speaks,
    Tier,
    Program,
    Subcommand,
    Source,
    Audience,
    Reversible,
    Provenance,
}

impl Field {
    pub const ALL: [Self; 34] = [
        Self::Agent,
        Self::Principal,
        Self::Role,
        Self::Channel,
        Self::Tool,
        Self::Class,
        Self::Path,
        Self::BytesOut,
        Self::Recipient,
        Self::Account,
        Self::Amount,
        Self::Host,
        Self::Port,
        Self::Method,
        Self::UrlPath,
        Self::UrlBytes,
        Self::Repo,
        Self::Ref,
        Self::Force,
        Self::Changed,
        Self::Clock,
        Self::Weekday,
        Self::LabelConf,
        Self::LabelIntegrity,
        Self::Mode,
        Self::Seen,
        Self::Speaks,
        Self::Tier,
        Self::Program,
        Self::Subcommand,
        Self::Source,
        Self::Audience,
        Self::Reversible,
        Self::Provenance,
    ];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Principal => "principal",
            Self::Role => "role",
            Self::Channel => "channel",
            Self::Tool => "tool",
            Self::Class => "class",
            Self::Path => "path",
            Self::BytesOut => "bytes_out",
            Self::Recipient => "recipient",
            Self::Account => "account",
            Self::Amount => "amount",
            Self::Host => "host",
            Self::Port => "port",
            Self::Method => "method",
            Self::UrlPath => "url_path",
            Self::UrlBytes => "url_bytes",
            Self::Repo => "repo",
            Self::Ref => "ref",
            Self::Force => "force",
            Self::Changed => "changed",
            Self::Clock => "clock",
            Self::Weekday => "weekday",
            Self::LabelConf => "label.conf",
            Self::LabelIntegrity => "label.integrity",
            Self::Mode => "mode",
            Self::Seen => "destination.seen",
            Self::Speaks => "speaks",
            Self::Tier => "tier",
            Self::Program => "program",
            Self::Subcommand => "subcommand",
            Self::Source => "source",
            Self::Audience => "audience",
            Self::Reversible => "reversible",
            Self::Provenance => "provenance",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    Equal(String),
    AnyOf(Vec<String>),
    NotIn(Vec<String>),
    /// `*` never crosses `/`, `**` does, `?` is one character but `/`.
    Glob(String),
    /// The directory itself, or anything below it.
    Under(String),
    /// The name itself, or one below it.
    SubdomainOf(String),
    /// One of several values at least matches one of these globs.
    Intersects(Vec<String>),
    /// Each of several values matches one of these globs.
    SubsetOf(Vec<String>),
    /// All of them hold.
    Number(Vec<(Order, u64)>),
    /// All of them hold, of an amount in their currency.
    Amount(Vec<(Order, Money)>),
    Clock(Hours),
    Weekday(Days),
}

impl Test {
    /// The texts, one of which a value must be.
    #[must_use]
    pub fn names(&self) -> Option<&[String]> {
        match self {
            Self::Equal(name) => Some(core::slice::from_ref(name)),
            Self::AnyOf(names) => Some(names),
            Self::NotIn(_)
            | Self::Glob(_)
            | Self::Under(_)
            | Self::SubdomainOf(_)
            | Self::Intersects(_)
            | Self::SubsetOf(_)
            | Self::Number(_)
            | Self::Amount(_)
            | Self::Clock(_)
            | Self::Weekday(_) => None,
        }
    }

    /// The same with its texts in another form, and its globs in theirs; what is about numbers or the time as it is.
    ///
    /// # Errors
    /// The first that a text has.
    pub fn map<E>(
        &self,
        text: impl Fn(&String) -> Result<String, E>,
        glob: impl Fn(&String) -> Result<String, E>,
    ) -> Result<Self, E> {
        Ok(match self {
            Self::Equal(one) => Self::Equal(text(one)?),
            Self::AnyOf(all) => Self::AnyOf(all.iter().map(text).collect::<Result<_, _>>()?),
            Self::NotIn(all) => Self::NotIn(all.iter().map(text).collect::<Result<_, _>>()?),
            Self::Under(one) => Self::Under(text(one)?),
            Self::SubdomainOf(one) => Self::SubdomainOf(text(one)?),
            Self::Glob(one) => Self::Glob(glob(one)?),
            Self::Intersects(all) => Self::Intersects(all.iter().map(glob).collect::<Result<_, _>>()?),
            Self::SubsetOf(all) => Self::SubsetOf(all.iter().map(glob).collect::<Result<_, _>>()?),
            Self::Number(_) | Self::Amount(_) | Self::Clock(_) | Self::Weekday(_) => self.clone(),
        })
    }

    /// Of one text; what is about numbers or the time holds of none.
    #[must_use]
    pub fn holds(&self, value: &str) -> bool {
        match self {
            Self::Equal(wanted) => wanted == value,
            Self::AnyOf(wanted) => wanted.iter().any(|w| w == value),
            Self::NotIn(others) => others.iter().all(|other| other != value),
            Self::Glob(pattern) => glob(pattern.as_bytes(), value.as_bytes()),
            Self::Under(directory) => is_under(value, directory),
            Self::SubdomainOf(domain) => is_below_domain(value, domain),
            Self::Intersects(globs) | Self::SubsetOf(globs) => {
                globs.iter().any(|pattern| glob(pattern.as_bytes(), value.as_bytes()))
            }
            Self::Number(_) | Self::Amount(_) | Self::Clock(_) | Self::Weekday(_) => false,
        }
    }
}

/// How a number stands to the one of the rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    Equal,
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Order {
    #[must_use]
    pub fn holds(self, value: u64, bound: u64) -> bool {
        match self {
            Self::Equal => value == bound,
            Self::Lt => value < bound,
            Self::Lte => value <= bound,
            Self::Gt => value > bound,
            Self::Gte => value >= bound,
        }
    }
}

/// The door of whoever sits at the machine that holds the home.
pub const AT_HOME: &str = "cli";

/// Who may answer an ask, and what makes their yes one.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Approvers {
    #[serde(flatten)]
    pub who: Who,
    /// How many people must say yes. Two and more say it at home alone.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub quorum: u32,
    /// Whoever the turn speaks for is none of them.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub but_requester: bool,
    /// The doors at which a yes counts; none is named: at every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    Roles(Vec<Role>),
    Principals(Vec<String>),
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(quorum: &u32) -> bool {
    *quorum == one()
}

impl From<Who> for Approvers {
    /// One of them, at any door.
    fn from(who: Who) -> Self {
        Self { who, quorum: one(), but_requester: false, channels: Vec::new() }
    }
}

impl Approvers {
    /// Of what no rule speaks of.
    #[must_use]
    pub fn owners() -> Self {
        Who::Roles(Vec::from([Role::Owner])).into()
    }

    /// Where an owner is asked besides: a role that a rule names is a lesser one, and a person that it names
    /// was chosen by an owner.
    #[must_use]
    pub fn and_owner(self) -> Self {
        match self.who {
            Who::Roles(_) => Self { who: Self::owners().who, ..self },
            Who::Principals(_) => self,
        }
    }

    #[must_use]
    pub fn include(&self, principal: &str, role: Role) -> bool {
        match &self.who {
            Who::Roles(roles) => roles.contains(&role),
            Who::Principals(names) => names.iter().any(|name| name == principal),
        }
    }

    /// Adds one person's yes to those that were said, and tells whether they are enough now.
    pub(crate) fn are_enough(&self, yes: &mut Vec<String>, person: &str) -> bool {
        if !yes.iter().any(|said| said == person) {
            yes.push(String::from(person));
        }
        yes.len() >= usize::try_from(self.quorum).unwrap_or(usize::MAX)
    }

    /// Whether a yes counts that is said at this door.
    #[must_use]
    pub fn hear(&self, channel: &str) -> bool {
        let is_named = self.channels.is_empty() || self.channels.iter().any(|named| named == channel);
        is_named && (self.quorum <= one() || channel == AT_HOME)
    }
}

/// What must hold of a call; an empty list holds of every call.
pub type Conditions = BTreeMap<Field, Test>;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub name: String,
    /// Where it stands in `backstay.toml`, from 1.
    pub line: u32,
    pub verdict: RuleVerdict,
    /// All must hold.
    pub when: Conditions,
    /// Where all of these hold, the rule says nothing. Empty: there is no such exception.
    pub unless: Conditions,
    /// From here on the rule is as if it were not there.
    pub until: Option<Millis>,
    /// The operator's words to whoever decides an ask.
    pub reason: Option<String>,
    pub approvers: Approvers,
    /// A yes is theirs to give only as this: by a token that speaks for a person, or at a terminal.
    pub speaks: Option<Speaks>,
    pub expires_ms: u64,
    /// How much of what it matches may happen.
    pub limits: Vec<Limit>,
}

impl Rule {
    /// Without exception or end; where it asks, it asks the owner.
    #[must_use]
    pub fn new(name: impl Into<String>, verdict: RuleVerdict, when: Conditions) -> Self {
        Self {
            name: name.into(),
            line: 0,
            verdict,
            when,
            unless: Conditions::new(),
            until: None,
            reason: None,
            approvers: Approvers::owners(),
            speaks: None,
            expires_ms: limits::ASK_EXPIRES_MS,
            limits: Vec::new(),
        }
    }

    /// What it says of a call that is judged may be another when the call starts: by the hour, by a
    /// switch, or by what others have done since.
    #[must_use]
    pub fn may_change(&self) -> bool {
        let timed = |conditions: &Conditions| {
            [Field::Clock, Field::Weekday, Field::Mode].iter().any(|field| conditions.contains_key(field))
        };
        self.until.is_some() || timed(&self.when) || timed(&self.unless) || !self.limits.is_empty()
    }
}

/// True where `path` is `directory` or lies below it, by whole components.
#[must_use]
pub fn is_under(path: &str, directory: &str) -> bool {
    let directory = directory.strip_suffix('/').unwrap_or(directory);
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// True where `name` is `domain` or a name below it, by whole labels.
#[must_use]
pub fn is_below_domain(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Linear in practice: on a mismatch only the latest star of each kind is widened.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // (pattern place after the star, text place that it has eaten up to)
    type Star = Option<(usize, usize)>;
    let (mut narrow, mut wide): (Star, Star) = (None, None);
    let (mut p, mut t) = (0usize, 0usize);
    loop {
        let rest = pattern.get(p..).unwrap_or_default();
        if rest.starts_with(b"**") {
            p += 2;
            wide = Some((p, t));
            narrow = None;
            continue;
        }
        let matched = match (rest.first(), text.get(t)) {
            (Some(b'*'), _) => {
                p += 1;
                narrow = Some((p, t));
                continue;
            }
            (None, None) => return true,
            (Some(b'?'), Some(c)) => *c != b'/',
            (Some(a), Some(b)) => a == b,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if matched {
            p += 1;
            t += 1;
            continue;
        }
        match (narrow, wide) {
            (Some((after, eaten)), _) if text.get(eaten).is_some_and(|c| *c != b'/') => {
                narrow = Some((after, eaten + 1));
                (p, t) = (after, eaten + 1);
            }
            (_, Some((after, eaten))) if eaten < text.len() => {
                wide = Some((after, eaten + 1));
                narrow = None;
                (p, t) = (after, eaten + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_documented() {
        for (pattern, text, expected) in [
            ("/w/out/**", "/w/out/a/b.md", true),
            ("/w/out/**", "/w/out", false),
            ("/w/*.md", "/w/a.md", true),
            ("/w/*.md", "/w/a/b.md", false),
            ("/w/**/*.md", "/w/a/b/c.md", true),
            ("/w/**/x/*.md", "/w/x/a/x/c.md", true),
            ("/w/?.md", "/w/a.md", true),
            ("/w/?.md", "/w//.md", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbYbZc", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn under_compares_whole_components() {
        assert!(is_under("/w/out", "/w/out"));
        assert!(is_under("/w/out/a", "/w/out/"));
        assert!(!is_under("/w/outside", "/w/out"));
        assert!(!is_under("/w", "/w/out"));
    }

    #[test]
    fn below_a_domain_compares_whole_labels() {
        assert!(is_below_domain("a.test", "a.test") && is_below_domain("x.y.a.test", "a.test"));
        assert!(!is_below_domain("ba.test", "a.test") && !is_below_domain("a.test.evil", "a.test"));
        assert!(!is_below_domain("test", "a.test"));
    }
}
