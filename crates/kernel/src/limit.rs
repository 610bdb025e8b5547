//! Limits of rules: how often, or how much, within a window of time. What would pass one is asked about
//! or denied.
//!
//! A call takes its share when it starts, in the commit of the record that says so, as a model call
//! takes money: sessions that run at once cannot pass a limit together.
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::budget::{Amount, Ceiling, Window, WindowState};
use crate::facts::Tier;
use crate::git::compared;
use crate::money::Money;
use crate::record::Counted;
use crate::rule::{Field, Rule, RuleVerdict};
use crate::subject::{Going, Subject, With};
use crate::words::Kind;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub measure: Measure,
    /// Calls that differ in one of these are counted apart.
    pub per: Vec<Field>,
    /// The calls of all agents that have a limit like it in a rule of this name are counted together.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub of_home: bool,
    /// Windows begin at multiples of this since 1970, in UTC: the hour at its full hour.
    pub window_ms: u64,
    /// The most that one window takes; of amounts in hundredths.
    pub max: u64,
    /// Of amounts: those in any other pass the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    pub over: Over,
}

/// What is added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Count,
    BytesOut,
    UrlBytes,
    /// What a tool is told to pay: money, or a number.
    Amount,
}

impl Measure {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::BytesOut => "bytes_out",
            Self::UrlBytes => "url_bytes",
            Self::Amount => "amount",
        }
    }
}

/// What becomes of a call that would pass the limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    Ask,
    Deny,
}

impl Over {
    #[must_use]
    pub fn verdict(self) -> RuleVerdict {
        match self {
            Self::Ask => RuleVerdict::Ask,
            Self::Deny => RuleVerdict::Deny,
        }
    }
}

/// What a call takes of one limit.
struct Share<'r> {
    rule: &'r Rule,
    limit: &'r Limit,
    /// The row of the ledger and the units; `None` where a fact is missing that says which or how many.
    place: Option<(String, u64)>,
}

/// Of every limit that the call may fall under: where that cannot be told, it does.
fn shares<'r>(rules: &'r [Rule], subject: &Subject<'_>) -> impl Iterator<Item = Share<'r>> {
    let counting = rules.iter().filter(|rule| !rule.limits.is_empty() && rule.may_match(subject));
    counting.flat_map(move |rule| {
        rule.limits.iter().map(move |limit| Share { rule, limit, place: limit.place(&rule.name, subject) })
    })
}

impl Limit {
    fn place(&self, rule: &str, subject: &Subject<'_>) -> Option<(String, u64)> {
        let units = match self.measure {
            Measure::Count => 1,
            Measure::BytesOut => subject.bytes_out?,
            Measure::UrlBytes => match subject.going {
                // How many there will be, nobody knows.
                Going::Unknown | Going::Any(_) => return None,
                Going::Nowhere => 0,
                Going::To(to) => to.url_bytes?,
            },
            Measure::Amount => {
                let amounts = subject.amounts()?;
                let is_other = |money: &Money| money.currency != self.currency;
                if amounts.iter().any(is_other) {
                    return None;
                }
                amounts.iter().fold(0, |sum: u64, money| sum.saturating_add(money.hundredths))
            }
        };
        let (now, measure) = (subject.now?, self.measure.word());
        let agent = if self.of_home { "" } else { subject.agent? };
        let begin = now.checked_div(self.window_ms)?.saturating_mul(self.window_ms);
        let currency = self.currency.as_ref().map(|currency| format!(":{currency}")).unwrap_or_default();
        let mut key = format!("limit:{agent}/{measure}{currency}/{}/{begin}", self.window_ms);
        for field in &self.per {
            key.push_str(&format!("/{}={}", field.word(), subject.word(*field)?));
        }
        // Last, since it is the one part that may hold anything.
        key.push_str(&format!("/{rule}"));
        Some((key, units))
    }

    /// Everything that it looks at.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        let measured = match self.measure {
            Measure::Count => None,
            Measure::BytesOut => Some(Field::BytesOut),
            Measure::UrlBytes => Some(Field::UrlBytes),
            Measure::Amount => Some(Field::Amount),
        };
        self.per.iter().copied().chain(measured)
    }
}

/// The limit that the call would pass, and its rule: one that denies before one that asks.
#[must_use]
pub fn passed<'r>(
    rules: &'r [Rule],
    subject: &Subject<'_>,
    allowance: &[WindowState],
) -> Option<(&'r Limit, &'r Rule)> {
    let fits = |share: &Share<'_>| {
        let Some((key, units)) = &share.place else { return false };
        // A row that nobody has read counts as full (I8).
        let state = allowance.iter().find(|state| state.window.key == *key);
        let used = state.map_or(u64::MAX, |state| state.used.sum().tokens);
        used.saturating_add(*units) <= share.limit.max
    };
    let over = shares(rules, subject).filter(|share| !fits(share));
    over.max_by_key(|share| share.limit.over).map(|share| (share.limit, share.rule))
}

/// What the call takes where it starts; a person's yes to a limit lifts those that ask.
#[must_use]
pub fn counted(rules: &[Rule], subject: &Subject<'_>, is_approved: bool) -> Vec<Counted> {
    let counted = |share: Share<'_>| {
        let (window, units) = share.place?;
        let is_lifted = is_approved && share.limit.over == Over::Ask;
        Some(Counted { window, units, max: (!is_lifted).then_some(share.limit.max) })
    };
    shares(rules, subject).filter_map(counted).collect()
}

/// The rows of the ledger that say whether the call fits.
#[must_use]
pub fn windows(rules: &[Rule], subject: &Subject<'_>) -> Vec<Window> {
    let window = |share: Share<'_>| Some(Window { key: share.place?.0, ceiling: ceiling(Some(share.limit.max)) });
    shares(rules, subject).filter_map(window).collect()
}

/// In the ledger, units of a limit stand where tokens of a budget do.
pub(crate) fn amount(units: u64) -> Amount {
    Amount { tokens: units, micro_usd: 0 }
}

pub(crate) fn ceiling(max: Option<u64>) -> Ceiling {
    Ceiling { tokens: max, micro_usd: None }
}

impl Subject<'_> {
    /// The one word of a field; `None` where it is missing, or is not one word.
    fn word(&self, field: Field) -> Option<String> {
        match field {
            Field::Agent => self.agent.map(str::to_owned),
            Field::Principal => self.principal.map(str::to_owned),
            Field::Role => self.role.map(|role| role.word().to_owned()),
            Field::Channel => self.channel.map(str::to_owned),
            Field::Tool => self.tool.map(str::to_owned),
            Field::Class => self.class.map(|class| class.word().to_owned()),
            Field::LabelConf => self.conf.map(|conf| conf.word().to_owned()),
            Field::LabelIntegrity => self.integrity.map(|integrity| integrity.word().to_owned()),
            Field::Mode => self.mode.map(|mode| mode.word().to_owned()),
            Field::Speaks => self.speaks.map(|speaks| speaks.word().to_owned()),
            Field::Tier => self.tier.map(|tier| tier.map_or("", Tier::word).to_owned()),
            Field::Host => self.going.one(|to| to.host.map(str::to_owned)),
            Field::Port => self.going.one(|to| to.port.map(|port| format!("{port}"))),
            Field::Method => self.going.one(|to| to.method.map(|method| method.word().to_owned())),
            Field::UrlPath => self.going.one(|to| to.path.map(in_key)),
            Field::Repo | Field::Ref => match &self.git {
                With::Unknown | With::Perhaps(_) => None,
                With::None => Some(String::new()),
                With::Repository { repo, .. } if field == Field::Repo => repo.map(|repo| in_key(&compared(repo))),
                With::Repository { refs, .. } => one(refs.as_deref()?),
            },
            Field::Program => one(self.programs.as_deref()?),
            Field::Subcommand => one(self.commands.as_deref()?),
            Field::Audience => one(&self.audience.iter().flatten().map(|who| who.word()).collect::<Vec<_>>())
                .filter(|_| self.audience.is_some()),
            Field::Recipient => one(&self.texts(Kind::Email)?),
            Field::Account => one(&self.texts(Kind::Account)?),
            Field::Path
            | Field::BytesOut
            | Field::Amount
            | Field::Seen
            | Field::Clock
            | Field::Weekday
            | Field::UrlBytes
            | Field::Force
            | Field::Changed
            | Field::Source
            | Field::Provenance
            | Field::Reversible => None,
        }
    }
}

/// Where there is one alone.
fn one(all: &[&str]) -> Option<String> {
    match all {
        [] => Some(String::new()),
        [one] => Some(in_key(one)),
        _ => None,
    }
}

/// There a `/` would end it.
fn in_key(text: &str) -> String {
    text.replace('/', "%2F")
}

impl Rule {
    /// Whether it might speak on this call, whatever is not known of it.
    pub(crate) fn may_match(&self, subject: &Subject<'_>) -> bool {
        let over = self.until.zip(subject.now).is_some_and(|(until, now)| until <= now);
        !over && self.fits_as(RuleVerdict::Deny, subject)
    }
}
