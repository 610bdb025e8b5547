//! Values of the file: how each kind is written, read exactly (no floats), and bounded.
use std::net::{IpAddr, SocketAddr};

use backstay_kernel::money::Money;
use backstay_kernel::rule::Test;
use toml::de::DeValue;

use super::keys::Kind;
use super::mistake::{Code, Collector, Place, list, quoted};
use super::{condition, limits};

/// A value with where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spot<T> {
    pub place: Place,
    pub value: T,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Text(String),
    Texts(Vec<Spot<String>>),
    Flag(bool),
    /// A count, micro-USD or milliseconds, by the key's kind.
    Integer(u64),
    Amount(Money),
    Address(SocketAddr),
    Addresses(Vec<IpAddr>),
    Condition(Spot<Test>),
}

/// Reads values of one document.
pub struct Reader<'d> {
    /// Byte offsets at which lines begin.
    lines: Vec<usize>,
    text: &'d str,
    pub mistakes: Collector,
}

/// What an amount is, for messages and for the reference page.
pub const AMOUNT: &str = "an amount such as \"50.00 EUR\" or, without a currency, \"50\"";

type Span = std::ops::Range<usize>;

impl<'d> Reader<'d> {
    #[must_use]
    pub fn new(text: &'d str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { lines: std::iter::once(0).chain(breaks).collect(), text, mistakes: Collector::default() }
    }

    #[must_use]
    pub fn place(&self, span: &Span) -> Place {
        let line = self.lines.partition_point(|begin| *begin <= span.start).max(1);
        let begin = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(begin..span.start).unwrap_or_default();
        Place { line, column: before.chars().count() + 1 }
    }

    /// `None` where a mistake was collected.
    pub fn value(&mut self, name: &str, kind: Kind, place: Place, value: &DeValue<'_>) -> Option<Value> {
        match kind {
            Kind::Text | Kind::Name | Kind::Path | Kind::Url | Kind::Variable | Kind::Choice(_) => {
                let text = self.text_of(name, place, value)?;
                self.scalar(name, kind, place, text).map(Value::Text)
            }
            Kind::Names | Kind::Paths => self.texts(name, Kind::Name, place, value).map(Value::Texts),
            Kind::Texts => self.texts(name, Kind::Text, place, value).map(Value::Texts),
            Kind::OneOrNames => self.one_or_texts(name, Kind::Name, place, value).map(Value::Texts),
            Kind::Choices(words) => self.one_or_texts(name, Kind::Choice(words), place, value).map(Value::Texts),
            Kind::Flag => {
                let DeValue::Boolean(flag) = value else {
                    return self.wrong_type(name, "true or false", place, value);
                };
                Some(Value::Flag(*flag))
            }
            Kind::Count { min, max } => self.count(name, min, max, place, value).map(Value::Integer),
            Kind::Usd => self.usd(name, place, value).map(Value::Integer),
            Kind::Most { max } => {
                let DeValue::String(text) = value else {
                    return self.count(name, 0, max, place, value).map(Value::Integer);
                };
                self.or_bad(name, AMOUNT, place, text, Money::read(text)).map(Value::Amount)
            }
            Kind::Duration => {
                let text = self.text_of(name, place, value)?;
                let read = duration_ms(text).filter(|ms| (1..=limits::DURATION_MS_MAX).contains(ms));
                self.or_bad(name, "a duration such as \"30s\", \"10m\", \"2h\" or \"1d\"", place, text, read)
                    .map(Value::Integer)
            }
            Kind::Address => {
                let text = self.text_of(name, place, value)?;
                self.or_bad(
                    name,
                    "an IP address with a port such as \"127.0.0.1:7717\"",
                    place,
                    text,
                    text.parse().ok(),
                )
                .map(Value::Address)
            }
            Kind::IpAddresses => self.addresses(name, place, value).map(Value::Addresses),
            Kind::Moment => self.moment(name, place, value).map(Value::Integer),
            Kind::Condition(on) => {
                self.condition(name, on, place, value).map(|value| Value::Condition(Spot { place, value }))
            }
        }
    }

    fn scalar(&mut self, name: &str, kind: Kind, place: Place, text: &str) -> Option<String> {
        let good = match kind {
            Kind::Name | Kind::Path => {
                self.or_bad(name, "a text that is not empty", place, text, (!text.trim().is_empty()).then_some(()))
            }
            Kind::Choice(words) => self.choice(name, words, place, text),
            // What is wrong here may be a secret, so the message does not repeat it.
            Kind::Variable => {
                let good = is_variable(text);
                if !good {
                    let message =
                        format!("{} must be the name of an environment variable, never the key itself", quoted(name));
                    self.mistakes.suggest(
                        place,
                        Code::BadValue,
                        message,
                        "letters, digits and `_`, such as \"MODEL_KEY\"",
                    );
                }
                good.then_some(())
            }
            Kind::Text
            | Kind::Url
            | Kind::Names
            | Kind::OneOrNames
            | Kind::Texts
            | Kind::Choices(_)
            | Kind::Flag
            | Kind::Count { .. }
            | Kind::Usd
            | Kind::Most { .. }
            | Kind::Duration
            | Kind::Address
            | Kind::IpAddresses
            | Kind::Paths
            | Kind::Moment
            | Kind::Condition(_) => Some(()),
        };
        good.map(|()| text.to_owned())
    }

    fn choice(&mut self, name: &str, words: &'static [&'static str], place: Place, text: &str) -> Option<()> {
        if words.contains(&text) {
            return Some(());
        }
        let what = format!("value for {}:", quoted(name));
        self.mistakes.unknown(place, Code::BadValue, &what, text, words.iter().copied());
        None
    }

    fn one_or_texts(&mut self, name: &str, each: Kind, place: Place, value: &DeValue<'_>) -> Option<Vec<Spot<String>>> {
        let DeValue::String(text) = value else { return self.texts(name, each, place, value) };
        Some(vec![Spot { place, value: self.scalar(name, each, place, text)? }])
    }

    pub fn texts(&mut self, name: &str, each: Kind, place: Place, value: &DeValue<'_>) -> Option<Vec<Spot<String>>> {
        let DeValue::Array(items) = value else {
            return self.wrong_type(name, "a list of texts", place, value);
        };
        let mut out = Some(Vec::new());
        for item in items.iter() {
            let place = self.place(&item.span());
            let read = self.text_of(name, place, item.get_ref()).and_then(|text| self.scalar(name, each, place, text));
            match (read, &mut out) {
                (Some(value), Some(list)) => list.push(Spot { place, value }),
                (_, out) => *out = None,
            }
        }
        out
    }

    fn addresses(&mut self, name: &str, place: Place, value: &DeValue<'_>) -> Option<Vec<IpAddr>> {
        let texts = self.texts(name, Kind::Name, place, value)?;
        let mut out = Some(Vec::new());
        for Spot { place, value } in texts {
            let read = self.or_bad(name, "IP addresses such as \"10.0.0.1\"", place, &value, value.parse().ok());
            match (read, &mut out) {
                (Some(address), Some(list)) => list.push(address),
                (_, out) => *out = None,
            }
        }
        out
    }

    pub fn count(&mut self, name: &str, min: u64, max: u64, place: Place, value: &DeValue<'_>) -> Option<u64> {
        let DeValue::Integer(written) = value else {
            return self.wrong_type(name, "a whole number", place, value);
        };
        let read = u64::from_str_radix(written.as_str(), written.radix()).ok();
        let wanted = format!("a whole number from {min} to {max}");
        self.or_bad(name, &wanted, place, written.as_str(), read.filter(|n| (min..=max).contains(n)))
    }

    fn usd(&mut self, name: &str, place: Place, value: &DeValue<'_>) -> Option<u64> {
        let whole = value.as_integer().filter(|written| written.radix() == 10).map(|written| written.as_str());
        let Some(text) = whole.or(value.as_float().map(|written| written.as_str())) else {
            return self.wrong_type(name, "USD, a decimal number such as 1.25", place, value);
        };
        let read = micro_usd(text).filter(|micro| *micro <= limits::MICRO_USD_MAX);
        self.or_bad(name, "USD, a decimal number with at most six places such as 1.25", place, text, read)
    }

    fn moment(&mut self, name: &str, place: Place, value: &DeValue<'_>) -> Option<u64> {
        let wanted = "a moment with its offset from UTC such as 2026-11-21T09:30:00Z";
        let DeValue::Datetime(written) = value else {
            return self.wrong_type(name, wanted, place, value);
        };
        let written = written.to_string();
        let read = written.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
        self.or_bad(name, wanted, place, &written, read)
    }

    pub fn text_of<'v>(&mut self, name: &str, place: Place, value: &'v DeValue<'_>) -> Option<&'v str> {
        let DeValue::String(text) = value else {
            return self.wrong_type(name, "a text", place, value);
        };
        Some(text.as_ref())
    }

    pub fn wrong_type<T>(&mut self, name: &str, wanted: &str, place: Place, value: &DeValue<'_>) -> Option<T> {
        let message = format!("{} must be {wanted}, not {}", quoted(name), type_word(value));
        self.mistakes.add(place, Code::WrongType, message);
        None
    }

    pub fn or_bad<T>(&mut self, name: &str, wanted: &str, place: Place, written: &str, read: Option<T>) -> Option<T> {
        if read.is_none() {
            let message = format!("{} must be {wanted}, not {}", quoted(name), quoted(written));
            self.mistakes.add(place, Code::BadValue, message);
        }
        read
    }
}

fn type_word(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Decimal USD as micro-USD, exactly; exponents, signs and a seventh place are refused.
#[must_use]
pub fn micro_usd(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let micro: u64 = format!("{fraction:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micro)
}

/// `30s`, `10m`, `2h`, `1d` as milliseconds.
#[must_use]
pub fn duration_ms(text: &str) -> Option<u64> {
    let at = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (number, unit) = text.split_at(at);
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| number.parse::<u64>().ok())??.checked_mul(unit_ms)
}

pub fn is_variable(text: &str) -> bool {
    let body = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    body && !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// The words of a kind, for the reference page and for the schema.
#[must_use]
pub fn kind_words(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Name => "text, not empty".into(),
        Kind::Names | Kind::Texts => "list of texts".into(),
        Kind::OneOrNames => "text, or list of texts".into(),
        Kind::Choice(words) => list(words),
        Kind::Choices(words) => format!("{}, or a list of them", list(words)),
        Kind::Flag => "true or false".into(),
        Kind::Count { min, max } => format!("whole number, {min} to {max}"),
        Kind::Most { max } => format!("whole number, 0 to {max}, or {AMOUNT}"),
        Kind::Usd => "USD, at most six decimal places".into(),
        Kind::Duration => "duration: \"30s\", \"10m\", \"2h\", \"1d\"".into(),
        Kind::Address => "IP address with port".into(),
        Kind::IpAddresses => "list of IP addresses".into(),
        Kind::Url => "http or https URL".into(),
        Kind::Variable => "name of an environment variable".into(),
        Kind::Path => "path".into(),
        Kind::Paths => "list of directories".into(),
        Kind::Moment => "moment with its offset from UTC".into(),
        Kind::Condition(on) => condition::words(on).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_exactly() {
        for (text, expected) in [
            ("0.1", Some(100_000)),
            ("5", Some(5_000_000)),
            ("1.000001", Some(1_000_001)),
            ("3.", Some(3_000_000)),
            ("1.0000001", None),
            ("1e3", None),
            ("-1.0", None),
            ("nan", None),
            (".5", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(micro_usd(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_have_one_unit() {
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("2h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("m", None),
            ("10", None),
            ("1h30m", None),
            ("-1s", None),
            ("10µ", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(duration_ms(text), expected, "{text}");
        }
    }
}
