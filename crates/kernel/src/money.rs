//! Amounts as rules compare them and limits add them up: in hundredths, and only with amounts of the same currency.
use alloc::borrow::ToOwned;
use alloc::string::String;
use serde::{Deserialize, Serialize};

use crate::words::{Atom, Kind};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Of a unit of the currency, whatever the places that it is written with.
    pub hundredths: u64,
    /// `None`: a number alone, whose currency the tool knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl Money {
    /// `50.00 EUR` in any spelling that is an atom, or a number alone.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Self::of(&Atom::of(Kind::Money, text).or_else(|| Atom::of(Kind::Number, text))?)
    }

    /// `None` of anything else, and of what is less than nothing or finer than a hundredth.
    #[must_use]
    pub fn of(Atom(kind, text): &Atom) -> Option<Self> {
        let (number, currency) = match kind {
            Kind::Money => text.split_once(' ').map(|(number, currency)| (number, Some(currency.to_owned())))?,
            Kind::Number => (text.as_str(), None),
            Kind::Email
            | Kind::Url
            | Kind::Host
            | Kind::Account
            | Kind::Path
            | Kind::Handle
            | Kind::Id
            | Kind::QuotedString
            | Kind::Words => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let part = match part.trim_end_matches('0').as_bytes() {
            [] => 0,
            [tens @ b'0'..=b'9'] => u64::from(tens - b'0') * 10,
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => u64::from(tens - b'0') * 10 + u64::from(ones - b'0'),
            _ => return None,
        };
        let hundredths = whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(part)?;
        Some(Self { hundredths, currency })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("50.00 EUR", Some((5_000, Some("EUR")))),
            ("€0.5", Some((50, Some("EUR")))),
            ("1,234.05 USD", Some((123_405, Some("USD")))),
            ("100", Some((10_000, None))),
            ("100.50", Some((10_050, None))),
            ("0.001", None),
            ("0.010", None),
            ("-5", None),
            ("1e3", None),
            ("5 EUR and more", None),
            ("184467440737095517", None),
        ] {
            let read = Money::read(text);
            let read = read.as_ref().map(|money| (money.hundredths, money.currency.as_deref()));
            assert_eq!(read, expected, "{text}");
        }
    }
}
