//! Whom a call reaches and how much it is, as rules look at it: the values of its arguments whose kinds say so.
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value};

use super::named::exact;
use crate::facts::Addressed;
use crate::tool::{ArgumentRole, EffectClass, Manifest};
use crate::words::{Atom, Kind};

/// Of a call of this class, which may be more than its tool's. There may be others in an argument that is not declared,
/// or in a form that is none of its kind's; `None` where nothing is said of anybody.
#[must_use]
pub fn addressed(manifest: &Manifest, class: EffectClass, arguments: &str) -> Option<Addressed> {
    let Ok(given) = serde_json::from_str::<Map<String, Value>>(arguments) else {
        return Some(Addressed { values: Vec::new(), more: true });
    };
    let (mut values, mut more) = (Vec::new(), false);
    // What is looked at or kept by an id is nobody who is told anything.
    let reaches = match class {
        EffectClass::Send | EffectClass::Spend => true,
        EffectClass::Read | EffectClass::Write | EffectClass::Execute => false,
    };
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let kind = match manifest.arguments.iter().find(|(known, _)| known == name).map(|(_, role)| *role) {
            Some(ArgumentRole::UpTo(_)) => Kind::Number,
            Some(ArgumentRole::Authority(kind)) => kind,
            Some(ArgumentRole::Selector) => {
                // Equal texts pick different things by different arguments.
                values.extend(reaches.then(|| Atom(Kind::QuotedString, format!("{name} {value}"))));
                continue;
            }
            Some(ArgumentRole::Payload) => continue,
            None => {
                more = true;
                continue;
            }
        };
        more |= matches!(kind, Kind::Money | Kind::Number) && !is_plain(value);
        match (kind, exact(kind, value).map(|found| found.into_iter().map(folded).collect::<Vec<_>>())) {
            (Kind::Email | Kind::Account | Kind::Money | Kind::Number | Kind::Url | Kind::Host, Some(found)) => {
                values.extend(found);
            }
            (Kind::Id, Some(found)) if reaches => values.extend(found),
            // A name is somebody's, and a text of which no more was declared may be anything.
            (
                Kind::Email
                | Kind::Account
                | Kind::Money
                | Kind::Number
                | Kind::Url
                | Kind::Host
                | Kind::Handle
                | Kind::Words
                | Kind::QuotedString,
                _,
            ) => more = true,
            (Kind::Id, None) => more |= reaches,
            // A path is a fact of its own.
            (Kind::Id, Some(_)) | (Kind::Path, _) => {}
        }
    }
    // A program may read fewer digits.
    more |= values.iter().any(|Atom(kind, value)| *kind == Kind::Account && value.starts_with('0'));
    (more || !values.is_empty()).then_some(Addressed { values, more })
}

/// As rules compare it: no provider of mail tells people from each other by the case of a letter.
#[must_use]
pub fn folded(Atom(kind, value): Atom) -> Atom {
    if kind == Kind::Email { Atom(kind, value.to_lowercase()) } else { Atom(kind, value) }
}

/// Whether every program reads the same amount: digits, at most a point and two more, and a currency. What parts
/// thousands for one parts the fraction for another.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Array(all) => all.iter().all(is_plain),
        Value::String(text) => {
            let has_comma = text.contains(',');
            let places =
                text.split_once('.').map_or(0, |(_, part)| part.bytes().take_while(u8::is_ascii_digit).count());
            !has_comma && places <= 2
        }
        Value::Number(_) => true,
        Value::Null | Value::Bool(_) | Value::Object(_) => false,
    }
}
