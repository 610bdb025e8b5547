//! `config show`: every key with its value, and with `--origin` where the value comes from.
use serde_json::{Map, Value as Json};

use super::Checked;
use super::mistake::FILE;
use super::raw::{Entry, Node, Table};

impl Checked {
    /// The file with all defaults, keys in order. With `origin`, every value is
    /// `{"value": …, "origin": "backstay.toml:LINE" or "default"}`. Keys that are absent and have
    /// no default are left out.
    #[must_use]
    pub fn show(&self, origin: bool) -> Json {
        table(&self.written, origin)
    }
}

fn table(table: &Table, origin: bool) -> Json {
    let of = |(name, entry): (&String, &Entry)| Some((name.clone(), node(entry, origin)?));
    Json::Object(table.iter().filter_map(of).collect())
}

fn node(entry: &Entry, origin: bool) -> Option<Json> {
    match &entry.node {
        Node::Value { written, .. } if origin => {
            let from = entry.place.map_or_else(|| "default".to_owned(), |place| format!("{FILE}:{}", place.line));
            let pair = [("value".to_owned(), written.clone()), ("origin".to_owned(), Json::from(from))];
            Some(Json::Object(Map::from_iter(pair)))
        }
        Node::Value { written, .. } => Some(written.clone()),
        Node::Table(inner) => Some(table(inner, origin)),
        Node::Rows(rows) => Some(rows.iter().filter_map(|row| node(row, origin)).collect()),
        Node::Absent | Node::Wrong => None,
    }
}
