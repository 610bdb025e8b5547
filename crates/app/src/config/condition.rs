//! Conditions of rules as they are written: a scalar, a list, or a table of operators, each only
//! where it can mean something.
use backstay_kernel::clock::{Days, Hours, Weekday, Zone};
use backstay_kernel::money::Money;
use backstay_kernel::rule::{Order, Test};
use toml::de::{DeTable, DeValue};

use super::keys::{Kind, On, WEEKDAYS};
use super::limits;
use super::mistake::{Code, Place, quoted};
use super::value::{AMOUNT, Reader, Spot};
use super::zone::zone;

const MINUTES: u16 = 24 * 60;

/// The operators of a table; what may stand alone is not among them.
const fn operators(on: On) -> &'static [&'static str] {
    match on {
        On::Words => &["glob", "not_in"],
        On::Paths => &["glob", "under", "not_in", "intersects", "subset_of"],
        On::Hosts => &["not_in", "subdomain_of"],
        On::Segments => &["glob", "under", "not_in"],
        On::Number | On::Amount => &["lt", "lte", "gt", "gte"],
        On::Values => &["glob", "not_in", "intersects", "subset_of"],
        On::Clock => &["between", "tz"],
        On::Flag | On::Weekday => &[],
    }
}

/// The forms, for messages and for the reference page.
#[must_use]
pub const fn words(on: On) -> &'static str {
    match on {
        On::Words => "text, list of texts, `{ glob = \"…\" }` or `{ not_in = […] }`",
        On::Paths => {
            "text, list of texts, `{ glob = \"…\" }`, `{ under = \"…\" }`, `{ not_in = […] }`, `{ intersects = […] }` or `{ subset_of = […] }`"
        }
        On::Hosts => "text, list of texts, `{ subdomain_of = \"…\" }` or `{ not_in = […] }`",
        On::Segments => "text, list of texts, `{ glob = \"…\" }`, `{ under = \"…\" }` or `{ not_in = […] }`",
        On::Number => "whole number, or `{ … }` with one or two of `lt`, `lte`, `gt` and `gte`",
        On::Amount => "text, or `{ … }` with one or two of `lt`, `lte`, `gt` and `gte`, each such as `\"50.00 EUR\"`",
        On::Values => {
            "text, list of texts, `{ glob = \"…\" }`, `{ not_in = […] }`, `{ intersects = […] }` or `{ subset_of = […] }`"
        }
        On::Flag => "true or false",
        On::Clock => "`{ between = [\"08:00\", \"18:00\"], tz = \"Europe/Zurich\" }`",
        On::Weekday => "`mon`, `tue`, `wed`, `thu`, `fri`, `sat` or `sun`, or a list of these",
    }
}

impl Reader<'_> {
    pub fn condition(&mut self, name: &str, on: On, place: Place, value: &DeValue<'_>) -> Option<Test> {
        match (on, value) {
            (On::Weekday, DeValue::String(_) | DeValue::Array(_)) => self.weekdays(name, place, value),
            (On::Amount, DeValue::String(text)) => {
                let amount = self.or_bad(name, AMOUNT, place, text, Money::read(text))?;
                Some(Test::Amount(vec![(Order::Equal, amount)]))
            }
            (On::Words | On::Paths | On::Hosts | On::Segments | On::Values, DeValue::String(text)) => {
                Some(Test::Equal(text.to_string()))
            }
            (On::Words | On::Paths | On::Hosts | On::Segments | On::Values, DeValue::Array(_)) => {
                self.list(name, place, value).map(Test::AnyOf)
            }
            (On::Flag, DeValue::Boolean(flag)) => Some(Test::Equal(flag.to_string())),
            (On::Number, DeValue::Integer(_)) => {
                let number = self.count(name, 0, limits::INTEGER_MAX, place, value)?;
                Some(Test::Number(vec![(Order::Equal, number)]))
            }
            (
                On::Words | On::Paths | On::Hosts | On::Segments | On::Number | On::Amount | On::Values | On::Clock,
                DeValue::Table(table),
            ) => self.operators(name, on, place, table),
            _ => self.wrong_type(name, words(on), place, value),
        }
    }

    fn list(&mut self, name: &str, place: Place, value: &DeValue<'_>) -> Option<Vec<String>> {
        let texts = self.texts(name, Kind::Name, place, value)?;
        if texts.is_empty() {
            let message = format!("the list of {} is empty, which says nothing", quoted(name));
            self.mistakes.add(place, Code::BadValue, message);
            return None;
        }
        Some(texts.into_iter().map(|spot| spot.value).collect())
    }

    /// In UTC, until the rule is known to name a zone.
    fn weekdays(&mut self, name: &str, place: Place, value: &DeValue<'_>) -> Option<Test> {
        let day = |word: &str| WEEKDAYS.iter().zip(Weekday::ALL).find(|(known, _)| **known == word).map(|(_, day)| day);
        let named = if let DeValue::String(text) = value {
            vec![Spot { place, value: text.to_string() }]
        } else {
            self.texts(name, Kind::Choice(WEEKDAYS), place, value)?
        };
        let mut days = Vec::new();
        for Spot { place, value } in &named {
            match day(value) {
                Some(day) => days.push(day),
                None => {
                    self.mistakes.unknown(*place, Code::BadValue, "day", value, WEEKDAYS.iter().copied());
                    return None;
                }
            }
        }
        if days.is_empty() {
            return self.list(name, place, value).and(None);
        }
        Some(Test::Weekday(Days { days, zone: Zone::utc() }))
    }

    fn operators(&mut self, name: &str, on: On, place: Place, table: &DeTable<'_>) -> Option<Test> {
        let known = operators(on);
        if let Some(key) = table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            let at = self.place(&key.span());
            self.mistakes.unknown(at, Code::UnknownKey, "operator", key.get_ref(), known.iter().copied());
            return None;
        }
        let mut found = Vec::new();
        for (key, value) in table {
            found.push((key.get_ref().as_ref(), self.place(&value.span()), value.get_ref()));
        }
        match (on, found.as_slice()) {
            (On::Number, [_] | [_, _]) => {
                let max = limits::INTEGER_MAX;
                self.bounds(&found, |reader, word, place, value| reader.count(word, 0, max, place, value))
                    .map(Test::Number)
            }
            (On::Amount, [_] | [_, _]) => self.bounds(&found, Self::amount).map(Test::Amount),
            (On::Clock, _) => self.hours(place, &found),
            (_, [(word, at, value)]) => match *word {
                "glob" => Some(Test::Glob(self.text_of(word, *at, value)?.to_owned())),
                "under" => Some(Test::Under(self.text_of(word, *at, value)?.to_owned())),
                "subdomain_of" => Some(Test::SubdomainOf(self.text_of(word, *at, value)?.to_owned())),
                "not_in" => self.list(word, *at, value).map(Test::NotIn),
                "intersects" => self.list(word, *at, value).map(Test::Intersects),
                _ => self.list(word, *at, value).map(Test::SubsetOf),
            },
            _ => {
                let message = format!("{} must be {}", quoted(name), words(on));
                self.mistakes.add(place, Code::BadValue, message);
                None
            }
        }
    }

    fn amount(&mut self, name: &str, place: Place, value: &DeValue<'_>) -> Option<Money> {
        let text = self.text_of(name, place, value)?;
        self.or_bad(name, AMOUNT, place, text, Money::read(text))
    }

    fn bounds<T>(
        &mut self,
        found: &[(&str, Place, &DeValue<'_>)],
        read: impl Fn(&mut Self, &str, Place, &DeValue<'_>) -> Option<T>,
    ) -> Option<Vec<(Order, T)>> {
        let mut out = Vec::new();
        for (word, place, value) in found {
            let order = match *word {
                "lt" => Order::Lt,
                "lte" => Order::Lte,
                "gt" => Order::Gt,
                _ => Order::Gte,
            };
            out.push((order, read(self, word, *place, value)?));
        }
        Some(out)
    }

    fn hours(&mut self, place: Place, found: &[(&str, Place, &DeValue<'_>)]) -> Option<Test> {
        let of =
            |wanted: &str| found.iter().find(|(word, ..)| *word == wanted).map(|(_, place, value)| (*place, *value));
        let Some((at, value)) = of("between") else {
            self.mistakes.add(place, Code::MissingKey, "`between` is missing");
            return None;
        };
        let times = self.texts("between", Kind::Name, at, value)?;
        let read: Vec<u16> = times.iter().filter_map(|time| minute(&time.value)).collect();
        let (&[from, until], 2) = (read.as_slice(), times.len()) else {
            let message =
                "`between` must be two times of day such as [\"08:00\", \"18:00\"]; the last may be \"24:00\"";
            self.mistakes.add(at, Code::BadValue, message);
            return None;
        };
        if from == until || from == MINUTES {
            self.mistakes.add(at, Code::BadValue, "`between` holds no time: it begins where it ends");
            return None;
        }
        let Some((at, value)) = of("tz") else {
            return Some(Test::Clock(Hours { from, until, zone: Zone::utc() }));
        };
        let named = self.text_of("tz", at, value)?.to_owned();
        let Some(zone) = zone(&named) else {
            let message = format!("unknown time zone {}", quoted(&named));
            let out = "name one of the zones below /usr/share/zoneinfo such as \"Europe/Zurich\"; where there are none, install `tzdata`";
            self.mistakes.suggest(at, Code::UnknownName, message, out);
            return None;
        };
        Some(Test::Clock(Hours { from, until, zone }))
    }
}

/// `HH:MM` as minutes since midnight.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60).then_some(hours * 60 + minutes).filter(|minute| *minute <= MINUTES)
}
