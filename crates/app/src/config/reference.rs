//! What is published of the table of keys: the JSON Schema and the reference page.
use serde_json::{Map, Value as Json, json};

use super::keys::{FREE, Key, Kind, Names, Need, On, Presence, ROOT, Shape, WEEKDAYS};
use super::limits::NAME_CHARS_MAX;
use super::value::kind_words;

/// JSON Schema (2020-12) of `backstay.toml`, for editors. What only the check can know (names that
/// must exist, real paths) is not in it.
#[must_use]
pub fn schema() -> Json {
    let Json::Object(mut out) = schema_of(ROOT) else { return Json::Null };
    out.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    out.insert("title".into(), "backstay.toml".into());
    Json::Object(out)
}

fn schema_of(keys: &[Key]) -> Json {
    let properties: Map<String, Json> = keys.iter().map(|key| (key.name.to_owned(), schema_of_key(key))).collect();
    let required: Vec<&str> = keys.iter().filter(|key| is_required(key)).map(|key| key.name).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn is_required(key: &Key) -> bool {
    match &key.shape {
        Shape::Value { need, .. } => matches!(need, Need::Required),
        Shape::Table { presence, .. } => *presence == Presence::Required,
        Shape::Named { required, .. } => *required,
        Shape::Rows { .. } => false,
        Shape::FreeOr { .. } => true,
    }
}

fn schema_of_key(key: &Key) -> Json {
    let mut out = match &key.shape {
        Shape::Value { kind, need, .. } => {
            let mut out = schema_of_kind(*kind);
            if let (Need::Default(text), Some(out)) = (need, out.as_object_mut()) {
                out.insert("default".into(), default_json(text));
            }
            out
        }
        Shape::Table { keys, .. } => schema_of(keys),
        Shape::Named { keys, names: Names::Foreign, .. } => {
            json!({ "type": "object", "additionalProperties": schema_of(keys) })
        }
        Shape::Named { keys, required, names: Names::Own } => json!({
            "type": "object",
            "minProperties": u8::from(*required),
            "propertyNames": { "pattern": format!("^[a-z0-9_-]{{1,{NAME_CHARS_MAX}}}$") },
            "additionalProperties": schema_of(keys),
        }),
        Shape::Rows { keys, bare: None } => json!({ "type": "array", "items": schema_of(keys) }),
        Shape::Rows { keys, bare: Some(_) } => {
            json!({ "type": "array", "items": { "anyOf": [{ "type": "string", "minLength": 1 }, schema_of(keys)] } })
        }
        Shape::FreeOr { keys } => json!({ "anyOf": [{ "const": FREE }, schema_of(keys)] }),
    };
    if let Some(out) = out.as_object_mut() {
        out.insert("description".into(), key.doc.into());
    }
    out
}

fn schema_of_kind(kind: Kind) -> Json {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Name | Kind::Path => json!({ "type": "string", "minLength": 1 }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Names | Kind::Paths | Kind::IpAddresses => {
            json!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
        }
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::OneOrNames => {
            let one = json!({ "type": "string", "minLength": 1 });
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
        Kind::Choices(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "array", "items": { "enum": words }, "minItems": 1 }] })
        }
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Most { max } => {
            json!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": max }, { "type": "string" }] })
        }
        Kind::Usd => json!({ "type": "number", "minimum": 0 }),
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+[smhd]$" }),
        Kind::Address => json!({ "type": "string" }),
        Kind::Url => json!({ "type": "string", "pattern": "^https?://" }),
        Kind::Variable => json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }),
        // TOML's date-time; editors that read TOML as JSON see its text.
        Kind::Moment => json!({ "type": "string" }),
        Kind::Condition(on) => schema_of_condition(on),
    }
}

fn schema_of_condition(on: On) -> Json {
    let text = json!({ "type": "string" });
    let texts = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let number = json!({ "type": "integer", "minimum": 0 });
    let table = |of: &[(&str, &Json)], required: &[&str]| {
        let properties: Map<String, Json> =
            of.iter().map(|(key, shape)| ((*key).to_owned(), (*shape).clone())).collect();
        json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required, "minProperties": 1 })
    };
    let one = |key: &str, shape: &Json| table(&[(key, shape)], &[key]);
    match on {
        On::Words => json!({ "anyOf": [text, texts, one("glob", &text), one("not_in", &texts)] }),
        On::Hosts => json!({ "anyOf": [text, texts, one("subdomain_of", &text), one("not_in", &texts)] }),
        On::Segments => {
            json!({ "anyOf": [text, texts, one("glob", &text), one("under", &text), one("not_in", &texts)] })
        }
        On::Values => json!({ "anyOf": [
            text, texts, one("glob", &text), one("not_in", &texts), one("intersects", &texts), one("subset_of", &texts),
        ] }),
        On::Amount => {
            let bounds = table(&[("lt", &text), ("lte", &text), ("gt", &text), ("gte", &text)], &[]);
            json!({ "anyOf": [text, bounds] })
        }
        On::Paths => json!({ "anyOf": [
            text, texts, one("glob", &text), one("under", &text),
            one("not_in", &texts), one("intersects", &texts), one("subset_of", &texts),
        ] }),
        On::Flag => json!({ "type": "boolean" }),
        On::Number => {
            let bounds = table(&[("lt", &number), ("lte", &number), ("gt", &number), ("gte", &number)], &[]);
            json!({ "anyOf": [number, bounds] })
        }
        On::Clock => {
            let times = json!({ "type": "array", "items": { "type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$" }, "minItems": 2, "maxItems": 2 });
            table(&[("between", &times), ("tz", &text)], &["between"])
        }
        On::Weekday => {
            let day = json!({ "enum": WEEKDAYS });
            json!({ "anyOf": [day, { "type": "array", "items": day, "minItems": 1 }] })
        }
    }
}

fn default_json(text: &str) -> Json {
    // Defaults are texts, numbers, flags and empty lists, which JSON writes as TOML does.
    serde_json::from_str(text).unwrap_or(Json::Null)
}

/// The page `docs/reference/config.md`.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# backstay.toml\n\n\
         <!-- Generated from the table of keys; do not edit. -->\n\n\
         Unknown keys are errors. All mistakes are reported at once, with line and column: \
         `backstay config check`.\n\
         Paths are absolute or relative to the home. Names of tables are `[a-z0-9_-]+`; `NAME` stands for one.\n",
    );
    section(&mut out, "", ROOT);
    out
}

/// Read by the same table of keys as an agent's.
const HOME_RULES: &str = "rules[]";

fn section(out: &mut String, path: &str, keys: &[Key]) {
    let values: Vec<&Key> = keys.iter().filter(|key| matches!(key.shape, Shape::Value { .. })).collect();
    if !values.is_empty() {
        out.push_str("\n| key | value | when absent | what it does |\n|---|---|---|---|\n");
    }
    for key in values {
        let Shape::Value { kind, need, example } = &key.shape else { continue };
        let absent = match need {
            Need::Required => "an error".to_owned(),
            Need::Default(text) => format!("`{text}`"),
            Need::Optional(words) => (*words).to_owned(),
        };
        let row = format!("| `{}` | {}, such as `{example}` | {absent} | {} |\n", key.name, kind_words(*kind), key.doc);
        out.push_str(&row);
    }
    for key in keys {
        let inner = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let (heading, keys, note) = match &key.shape {
            Shape::Value { .. } => continue,
            Shape::Table { keys, presence } => {
                let note = match presence {
                    Presence::Filled => "",
                    Presence::Optional => " Optional.",
                    Presence::Required => " Required.",
                };
                (inner, keys, note)
            }
            Shape::Named { keys, .. } => (format!("{inner}.NAME"), keys, ""),
            Shape::Rows { keys, bare: None } => (format!("{inner}[]"), keys, " A list of tables."),
            Shape::Rows { keys, bare: Some(_) } => (format!("{inner}[]"), keys, " A list of texts and tables."),
            Shape::FreeOr { keys } => (inner, keys, " Required."),
        };
        out.push_str(&format!("\n## {heading}\n\n{}{note}\n", key.doc));
        if heading == HOME_RULES {
            out.push_str("\nTheir keys are those of `agents.NAME.rules[]`.\n");
            continue;
        }
        section(out, &heading, keys);
    }
}
