//! `config check | show | schema`: what stands in backstay.toml, without opening the home.
use std::path::Path;

use serde_json::Value;

use crate::cli::ConfigCommand;
use crate::config;
use crate::exit::{Exit, Outcome};
use crate::home::{self, Found};
use crate::print::Out;

pub fn run(home: &Path, command: &ConfigCommand, out: &Out) -> Outcome<Exit> {
    match command {
        ConfigCommand::Schema => {
            let schema = config::schema();
            let text = if out.json { schema.to_string() } else { format!("{schema:#}") };
            out.line(&text);
            return Ok(Exit::Ok);
        }
        ConfigCommand::Check | ConfigCommand::Show { .. } => {}
    }
    match home::look(home) {
        Found::Nothing | Found::Unconfigured => home::require(home)?,
        Found::Part | Found::Home => {}
    }
    let checked = match config::load(home, backstay_tools::manifests()) {
        Ok(checked) => checked,
        Err(mistakes) if out.json => {
            out.value(&mistakes.to_json());
            return Ok(Exit::Usage);
        }
        Err(mistakes) => {
            out.line(&mistakes.to_string());
            return Ok(Exit::Usage);
        }
    };
    match command {
        ConfigCommand::Check if out.json => {
            out.value(&serde_json::json!({ "file": config::FILE, "count": 0, "mistakes": [] }));
        }
        ConfigCommand::Check => out.line(&format!("{}: no mistakes", home.join(config::FILE).display())),
        ConfigCommand::Show { origin } if out.json => out.value(&checked.show(*origin)),
        ConfigCommand::Show { origin } => show(&checked.show(*origin), *origin, &mut Vec::new(), out),
        ConfigCommand::Schema => {}
    }
    Ok(Exit::Ok)
}

/// One line for every value, `agents.main.caps.steps = 100`, with its origin behind it.
fn show(value: &Value, origin: bool, path: &mut Vec<String>, out: &Out) {
    let leaf = value.as_object().filter(|fields| origin && fields.len() == 2);
    if let Some((inner, from)) = leaf.and_then(|fields| Some((fields.get("value")?, fields.get("origin")?.as_str()?))) {
        out.line(&format!("{} = {inner}  # {from}", path.join(".")));
        return;
    }
    let mut go = |name: String, inner: &Value| {
        path.push(name);
        show(inner, origin, path, out);
        path.pop();
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| go(name.clone(), inner)),
        Value::Array(rows) if rows.iter().any(Value::is_object) => {
            rows.iter().enumerate().for_each(|(number, row)| go(number.to_string(), row));
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.line(&format!("{} = {value}", path.join(".")));
        }
    }
}
