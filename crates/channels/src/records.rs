//! Records as the doors show them: place, time, kind and the record itself, and beside it the
//! texts that it refers to.
use backstay_engine::Placed;
use backstay_kernel::record::Record;
use serde_json::{Map, Value, json};

use crate::door::Door;
use crate::error::Problem;

/// The first of these records whose texts have `bytes_max` together, and at least one.
pub fn page(door: &Door, placed: &[Placed], bytes_max: usize) -> Result<Vec<Value>, Problem> {
    let mut bytes = 0;
    let fits = |placed: &&Placed| {
        let own: usize =
            placed.record.texts().iter().map(|body| usize::try_from(body.bytes).unwrap_or(usize::MAX)).sum();
        let first = bytes == 0;
        bytes = own.saturating_add(bytes).max(1);
        first || bytes <= bytes_max
    };
    placed.iter().take_while(fits).map(|placed| item(door, placed)).collect()
}

/// `{seq, at, kind, body, texts?}`; `texts` by the number of the body, null where it is erased.
pub fn item(door: &Door, placed: &Placed) -> Result<Value, Problem> {
    let (kind, body) = split(&placed.record);
    let mut item = json!({ "seq": placed.seq.0, "at": placed.at, "kind": kind, "body": body });
    if let (Record::Judged(judged), Some(fields)) = (&placed.record, item.as_object_mut()) {
        fields.insert("disposition".into(), json!(judged.verdict.disposition().word()));
    }
    let bodies = placed.record.texts();
    if let Some(fields) = item.as_object_mut().filter(|_| !bodies.is_empty()) {
        let mut texts = Map::new();
        for body in &bodies {
            texts.insert(body.id.to_string(), json!(door.text(body)?));
        }
        fields.insert("texts".into(), Value::Object(texts));
    }
    Ok(item)
}

/// The kind of a record and what it says, from its stored form `{kind: body}`.
pub fn split(record: &Record) -> (String, Value) {
    match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields.into_iter().next().unwrap_or_default(),
        Ok(other) => (other.as_str().unwrap_or_default().to_owned(), Value::Null),
        Err(_) => (String::new(), Value::Null),
    }
}
