//! Money and tokens: reserved before a call starts, settled when its bill is known.
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::id::Millis;
use crate::policy::Policy;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    pub tokens: u64,
    pub micro_usd: u64,
}

impl Amount {
    pub const ZERO: Self = Self { tokens: 0, micro_usd: 0 };

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micro_usd: self.micro_usd.saturating_add(other.micro_usd),
        }
    }

    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            micro_usd: self.micro_usd.saturating_sub(other.micro_usd),
        }
    }
}

/// What an amount may grow to; `None` is "not limited in this unit".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceiling {
    pub tokens: Option<u64>,
    pub micro_usd: Option<u64>,
}

impl Ceiling {
    #[must_use]
    pub fn is_open(self) -> bool {
        self.tokens.is_none() && self.micro_usd.is_none()
    }

    #[must_use]
    pub fn holds(self, amount: Amount) -> bool {
        self.tokens.is_none_or(|most| amount.tokens <= most)
            && self.micro_usd.is_none_or(|most| amount.micro_usd <= most)
    }
}

/// `{usd,tokens}_per_{turn,session,hour,day,month}` of one scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub turn: Ceiling,
    pub session: Ceiling,
    pub hour: Ceiling,
    pub day: Ceiling,
    pub month: Ceiling,
}

/// One row of the ledger: a scope in one calendar window (UTC).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// `agent:main/day/2026-11-21`, say.
    pub key: String,
    pub ceiling: Ceiling,
}

/// A window with what it holds already; the engine reads it from its ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WindowState {
    pub window: Window,
    pub used: Used,
}

/// What stands in one row of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Used {
    /// Billed; what may still be billed for calls that ended without a bill counts as billed.
    pub settled: Amount,
    /// For calls in flight.
    pub reserved: Amount,
}

impl Used {
    #[must_use]
    pub fn sum(self) -> Amount {
        self.settled.plus(self.reserved)
    }
}

/// What `append` does to the ledger, in the same commit as the record that says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LedgerEntry {
    /// Fails the append when `settled + reserved + amount` would pass the ceiling.
    Reserve { key: String, amount: Amount, ceiling: Ceiling },
    /// Takes the reservation back and books the bill, whatever the ceiling.
    Settle { key: String, reserved: Amount, spent: Amount },
}

/// Every window that a call by this agent, for this principal, through this channel must fit in.
#[must_use]
pub fn windows(policy: &Policy, agent: &str, principal: &str, channel: &str, now: Millis) -> Vec<Window> {
    let of_agent = policy.agents.get(agent).map(|a| a.budget).unwrap_or_default();
    let scopes = [
        (String::from("home"), policy.home_budget),
        (format!("agent:{agent}"), of_agent),
        (format!("principal:{principal}"), policy.per_principal),
        (format!("channel:{channel}"), policy.per_channel),
    ];
    let date = Date::of(now);
    let mut out = Vec::new();
    for (scope, budget) in scopes {
        let spans = [
            (budget.hour, format!("hour/{}T{:02}", date.day(), date.hour)),
            (budget.day, format!("day/{}", date.day())),
            (budget.month, format!("month/{:04}-{:02}", date.year, date.month)),
        ];
        for (ceiling, span) in spans.into_iter().filter(|(ceiling, _)| !ceiling.is_open()) {
            out.push(Window { key: format!("{scope}/{span}"), ceiling });
        }
    }
    out
}

/// When the next window may end: all of them end with an hour.
#[must_use]
pub fn next_window_at(now: Millis) -> Millis {
    (now / HOUR_MS).saturating_add(1).saturating_mul(HOUR_MS)
}

const HOUR_MS: u64 = 3_600_000;

/// A civil date in UTC.
struct Date {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
}

impl Date {
    /// Days to civil date, counting from 0000-03-01 in eras of 400 years (146,097 days).
    fn of(at: Millis) -> Self {
        let hours = at / HOUR_MS;
        let days = hours / 24 + 719_468;
        let era_day = days % 146_097;
        let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
        let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
        let march_month = (5 * year_day + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: days / 146_097 * 400 + era_year + u64::from(month <= 2),
            month,
            day: year_day - (153 * march_month + 2) / 5 + 1,
            hour: hours % 24,
        }
    }

    fn day(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// What a provider billed, in classes that do not overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Input tokens that no cache served or took.
    pub uncached: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// The part of `output` that the user never sees.
    pub reasoning: u64,
}

impl Usage {
    #[must_use]
    pub fn input(&self) -> u64 {
        self.uncached.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }
}

/// Micro-USD per million tokens, that is 10⁻¹² USD per token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub input: u64,
    pub cached_input: u64,
    pub cache_write: u64,
    pub output: u64,
}

impl Price {
    /// The bill of a call, rounded up.
    #[must_use]
    pub fn bill(&self, usage: &Usage) -> Amount {
        let parts = [
            (usage.uncached, self.input),
            (usage.cache_read, self.cached_input),
            (usage.cache_write, self.cache_write),
            (usage.output, self.output),
        ];
        Amount { tokens: usage.input().saturating_add(usage.output), micro_usd: cost(&parts) }
    }

    /// The most that a call can cost: all input at its dearest class, all output used.
    #[must_use]
    pub fn most(&self, input_tokens: u64, output_tokens: u64) -> Amount {
        let dearest = self.input.max(self.cached_input).max(self.cache_write);
        let parts = [(input_tokens, dearest), (output_tokens, self.output)];
        Amount { tokens: input_tokens.saturating_add(output_tokens), micro_usd: cost(&parts) }
    }
}

fn cost(parts: &[(u64, u64)]) -> u64 {
    let sum = parts.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum::<u128>();
    u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_calendars() {
        for (at, day) in [
            (0, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (951_868_800_000, "2000-03-01"),
            (1_795_219_199_999, "2026-11-20"),
            (1_795_219_200_000, "2026-11-21"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(Date::of(at).day(), day);
        }
    }

    #[test]
    fn a_bill_is_rounded_up_and_a_reservation_covers_it() {
        let price = Price { input: 1_000_000, cached_input: 100_000, cache_write: 1_250_000, output: 5_000_000 };
        let usage = Usage { uncached: 10, cache_read: 90, cache_write: 1, output: 7, reasoning: 2 };
        assert_eq!(price.bill(&usage), Amount { tokens: 108, micro_usd: 56 });
        let most = price.most(usage.input(), usage.output);
        assert!(most.micro_usd >= 56);
    }
}
