//! The file as written: read against the table of keys, with every mistake of its own found at
//! once, defaults filled in, and the place of each value kept.
use std::collections::BTreeMap;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{FREE, Key, Kind, Names, Need, Presence, ROOT, Shape};
use super::limits::NAME_CHARS_MAX;
use super::mistake::{Code, Mistake, Place, quoted};
use super::value::{Reader, Spot, Value};

/// What a key holds; `place` is `None` where the default was taken.
#[derive(Debug)]
pub struct Entry {
    pub place: Option<Place>,
    pub node: Node,
}

#[derive(Debug)]
pub enum Node {
    Value {
        value: Value,
        written: Json,
    },
    Table(Table),
    Rows(Vec<Entry>),
    Absent,
    /// Mistaken or unknown, and reported.
    Wrong,
}

pub type Table = BTreeMap<String, Entry>;

/// Reads the whole document; the table is complete only where there are no mistakes.
#[must_use]
pub fn read(text: &str) -> (Table, Vec<Mistake>) {
    let mut reader = Reader::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = error.span().map_or(Place::START, |span| reader.place(&span));
        reader.mistakes.add(place, Code::Syntax, format!("not TOML: {}", error.message().replace('\n', ", ")));
    }
    let broken = reader.mistakes.is_empty().then(|| reader.table(ROOT, Some(document.get_ref()), Place::START));
    (broken.unwrap_or_default(), reader.mistakes.into_list())
}

type Pair<'a, 'd> = (&'a Spanned<std::borrow::Cow<'d, str>>, &'a Spanned<DeValue<'d>>);

impl Reader<'_> {
    /// `table` is `None` where defaults alone are wanted; `at` is where a missing key is reported.
    fn table(&mut self, keys: &'static [Key], table: Option<&DeTable<'_>>, at: Place) -> Table {
        let mut out = Table::new();
        let mut meant = Vec::new();
        for (key, _) in table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if keys.iter().all(|known| known.name != name) {
                let place = self.place(&key.span());
                meant.extend(self.mistakes.unknown(
                    place,
                    Code::UnknownKey,
                    "key",
                    name,
                    keys.iter().map(|known| known.name),
                ));
                out.insert(name.to_owned(), Entry { place: Some(place), node: Node::Wrong });
            }
        }
        for key in keys {
            let found = table.and_then(|table| table.iter().find(|(name, _)| name.get_ref() == key.name));
            // A misspelt key is one mistake, not a missing key besides.
            let entry = if found.is_none() && meant.contains(&key.name) {
                Entry { place: None, node: Node::Wrong }
            } else {
                self.entry(key, found, at)
            };
            out.insert(key.name.to_owned(), entry);
        }
        out
    }

    fn entry(&mut self, key: &'static Key, found: Option<Pair<'_, '_>>, at: Place) -> Entry {
        let key_place = found.map(|(name, _)| self.place(&name.span()));
        let value_place = found.map(|(_, value)| self.place(&value.span()));
        let value = found.map(|(_, value)| value.get_ref());
        match &key.shape {
            Shape::Value { kind, need, .. } => self.leaf(key.name, *kind, *need, value.zip(value_place), at),
            Shape::Table { keys, presence } => {
                let node = match (value, presence) {
                    (Some(DeValue::Table(table)), _) => {
                        Node::Table(self.table(keys, Some(table), key_place.unwrap_or(at)))
                    }
                    (Some(other), _) => self.not_a_table(key.name, value_place, other),
                    (None, Presence::Filled) => Node::Table(self.table(keys, None, at)),
                    (None, Presence::Optional) => Node::Absent,
                    (None, Presence::Required) => self.missing(key.name, at),
                };
                Entry { place: key_place, node }
            }
            Shape::Named { keys, required, names } => {
                let node = match value {
                    Some(DeValue::Table(table)) if !table.is_empty() || !required => {
                        Node::Table(self.named(keys, *names, table))
                    }
                    None if !required => Node::Table(Table::new()),
                    Some(DeValue::Table(_)) | None => {
                        let message = format!("no table in {}: at least one is needed", quoted(key.name));
                        self.mistakes.add(key_place.unwrap_or(at), Code::MissingKey, message);
                        Node::Wrong
                    }
                    Some(other) => self.not_a_table(key.name, value_place, other),
                };
                Entry { place: key_place, node }
            }
            Shape::Rows { keys, bare } => {
                let wanted = if bare.is_some() { "a list of texts and tables" } else { "a list of tables" };
                let node = match value {
                    Some(DeValue::Array(items)) => self.rows(key.name, keys, *bare, items),
                    Some(other) => {
                        self.wrong_type(key.name, wanted, value_place.unwrap_or(at), other).unwrap_or(Node::Wrong)
                    }
                    None => Node::Rows(Vec::new()),
                };
                Entry { place: key_place, node }
            }
            Shape::FreeOr { keys } => {
                let node = match value {
                    Some(DeValue::String(text)) if text == FREE => {
                        Node::Value { value: Value::Text(FREE.into()), written: Json::from(FREE) }
                    }
                    Some(DeValue::Table(table)) => Node::Table(self.table(keys, Some(table), key_place.unwrap_or(at))),
                    Some(other) => {
                        let wanted = "a table of prices or \"free\"";
                        self.wrong_type(key.name, wanted, value_place.unwrap_or(at), other).unwrap_or(Node::Wrong)
                    }
                    None => self.missing(key.name, at),
                };
                Entry { place: key_place, node }
            }
        }
    }

    fn leaf(&mut self, name: &str, kind: Kind, need: Need, found: Option<(&DeValue<'_>, Place)>, at: Place) -> Entry {
        let place = found.map(|(_, place)| place);
        let node = match (found, need) {
            (Some((value, place)), _) => self.node(name, kind, place, value),
            (None, Need::Required) => self.missing(name, at),
            (None, Need::Optional(_)) => Node::Absent,
            (None, Need::Default(text)) => match DeValue::parse(text) {
                Ok(value) => self.node(name, kind, at, value.get_ref()),
                Err(_) => Node::Wrong,
            },
        };
        Entry { place, node }
    }

    fn node(&mut self, name: &str, kind: Kind, place: Place, value: &DeValue<'_>) -> Node {
        let read = self.value(name, kind, place, value);
        read.map_or(Node::Wrong, |read| Node::Value { value: read, written: json(value) })
    }

    fn named(&mut self, keys: &'static [Key], names: Names, table: &DeTable<'_>) -> Table {
        let mut out = Table::new();
        for (key, value) in table {
            let place = self.place(&key.span());
            let name = key.get_ref().as_ref();
            if names == Names::Own && !is_name(name) {
                let message = format!(
                    "the name {} may hold only a-z, 0-9, `_` and `-`, and {NAME_CHARS_MAX} characters",
                    quoted(name)
                );
                self.mistakes.add(place, Code::BadName, message);
            }
            let node = if let DeValue::Table(table) = value.get_ref() {
                Node::Table(self.table(keys, Some(table), place))
            } else {
                let value_place = self.place(&value.span());
                self.not_a_table(name, Some(value_place), value.get_ref())
            };
            out.insert(name.to_owned(), Entry { place: Some(place), node });
        }
        out
    }

    fn rows(&mut self, name: &str, keys: &'static [Key], bare: Option<&str>, items: &[Spanned<DeValue<'_>>]) -> Node {
        let mut out = Vec::new();
        for item in items {
            let place = self.place(&item.span());
            let node = match (item.get_ref(), bare) {
                (DeValue::Table(table), _) => Node::Table(self.table(keys, Some(table), place)),
                (text @ DeValue::String(_), Some(bare)) => Node::Table(self.bare(keys, bare, place, text)),
                (other, _) => self.not_a_table(name, Some(place), other),
            };
            out.push(Entry { place: Some(place), node });
        }
        Node::Rows(out)
    }

    /// A text that stands for a table with one key.
    fn bare(&mut self, keys: &'static [Key], bare: &str, place: Place, text: &DeValue<'_>) -> Table {
        let mut out = Table::new();
        for key in keys {
            let entry = if let (Shape::Value { kind, need, .. }, true) = (&key.shape, key.name == bare) {
                self.leaf(key.name, *kind, *need, Some((text, place)), place)
            } else {
                self.entry(key, None, place)
            };
            out.insert(key.name.to_owned(), entry);
        }
        out
    }

    fn not_a_table(&mut self, name: &str, place: Option<Place>, value: &DeValue<'_>) -> Node {
        self.wrong_type(name, "a table", place.unwrap_or(Place::START), value).unwrap_or(Node::Wrong)
    }

    fn missing(&mut self, name: &str, at: Place) -> Node {
        self.mistakes.add(at, Code::MissingKey, format!("{} is missing", quoted(name)));
        Node::Wrong
    }
}

/// Table names stand in records, URLs and metrics.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// A value as `show` prints it.
fn json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or(Json::Null, Json::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Json::Null, Json::from),
        DeValue::Boolean(flag) => Json::from(*flag),
        DeValue::Datetime(date) => Json::from(date.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
        }
    }
}

/// Typed looks at one table; `None` means absent, or mistaken and already reported.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub place: Place,
    table: &'a Table,
}

impl<'a> View<'a> {
    #[must_use]
    pub fn root(table: &'a Table) -> Self {
        Self { place: Place::START, table }
    }

    /// No key of this table itself is mistaken, so that what it says is what was meant.
    #[must_use]
    pub fn is_sound(self) -> bool {
        self.table.values().all(|entry| !matches!(entry.node, Node::Wrong))
    }

    /// Where a key stands; where it is not written, where its table does.
    #[must_use]
    pub fn place_of(self, key: &str) -> Place {
        self.table.get(key).and_then(|entry| entry.place).unwrap_or(self.place)
    }

    fn of(entry: &'a Entry, outer: Place) -> Option<Self> {
        match &entry.node {
            Node::Table(table) => Some(Self { place: entry.place.unwrap_or(outer), table }),
            Node::Value { .. } | Node::Rows(_) | Node::Absent | Node::Wrong => None,
        }
    }

    #[must_use]
    pub fn table(self, key: &str) -> Option<Self> {
        Self::of(self.table.get(key)?, self.place)
    }

    /// Tables by their names, in order.
    #[must_use]
    pub fn named(self, key: &str) -> Vec<(&'a str, Self)> {
        let Some(Self { table, place }) = self.table(key) else { return Vec::new() };
        table.iter().filter_map(|(name, entry)| Some((name.as_str(), Self::of(entry, place)?))).collect()
    }

    #[must_use]
    pub fn rows(self, key: &str) -> Vec<Self> {
        match self.table.get(key).map(|entry| &entry.node) {
            Some(Node::Rows(rows)) => rows.iter().filter_map(|row| Self::of(row, self.place)).collect(),
            Some(Node::Value { .. } | Node::Table(_) | Node::Absent | Node::Wrong) | None => Vec::new(),
        }
    }

    fn value(self, key: &str) -> Option<Spot<&'a Value>> {
        let entry = self.table.get(key)?;
        match &entry.node {
            Node::Value { value, .. } => Some(Spot { place: entry.place.unwrap_or(self.place), value }),
            Node::Table(_) | Node::Rows(_) | Node::Absent | Node::Wrong => None,
        }
    }

    #[must_use]
    pub fn text(self, key: &str) -> Option<Spot<&'a str>> {
        let Spot { place, value } = self.value(key)?;
        if let Value::Text(text) = value { Some(Spot { place, value: text }) } else { None }
    }

    #[must_use]
    pub fn texts(self, key: &str) -> Option<Spot<&'a [Spot<String>]>> {
        let Spot { place, value } = self.value(key)?;
        if let Value::Texts(texts) = value { Some(Spot { place, value: texts }) } else { None }
    }

    #[must_use]
    pub fn flag(self, key: &str) -> bool {
        self.said(key) == Some(true)
    }

    /// `None`: neither.
    #[must_use]
    pub fn said(self, key: &str) -> Option<bool> {
        if let Value::Flag(flag) = self.value(key)?.value { Some(*flag) } else { None }
    }

    /// A count, micro-USD or milliseconds, by the key's kind.
    #[must_use]
    pub fn integer(self, key: &str) -> Option<Spot<u64>> {
        let Spot { place, value } = self.value(key)?;
        if let Value::Integer(value) = value { Some(Spot { place, value: *value }) } else { None }
    }

    #[must_use]
    pub fn address(self, key: &str) -> Option<Spot<std::net::SocketAddr>> {
        let Spot { place, value } = self.value(key)?;
        if let Value::Address(value) = value { Some(Spot { place, value: *value }) } else { None }
    }

    #[must_use]
    pub fn addresses(self, key: &str) -> Vec<std::net::IpAddr> {
        let value = self.value(key).map(|spot| spot.value);
        if let Some(Value::Addresses(list)) = value { list.clone() } else { Vec::new() }
    }

    #[must_use]
    pub fn amount(self, key: &str) -> Option<Spot<&'a backstay_kernel::money::Money>> {
        let Spot { place, value } = self.value(key)?;
        if let Value::Amount(amount) = value { Some(Spot { place, value: amount }) } else { None }
    }

    pub fn condition(self, key: &str) -> Option<&'a Spot<backstay_kernel::rule::Test>> {
        let value = self.value(key)?.value;
        if let Value::Condition(condition) = value { Some(condition) } else { None }
    }
}
