//! `secrets set | list | rm | rotate`: what agents may use and nobody may see. A value comes in by stdin or
//! by hand, never as an argument: those are shown to every process of the machine.
mod typed;

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use backstay_secrets::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::conversation::{list, text};
use crate::cli::SecretsCommand;
use crate::client::{Client, Intent};
use crate::desk::secrets::SECRETS;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{Out, Tone};
use crate::time;

/// Bytes that are read for a value: more than the longest, so that a longer one is seen to be.
const READ_BYTES_MAX: u64 = 64 * 1024;

pub async fn run(home: &Path, command: &SecretsCommand, out: &Out) -> Outcome<Exit> {
    let value = match command {
        SecretsCommand::Set { name, argv } | SecretsCommand::Rotate { name, argv } => {
            refuse_argument(name, argv)?;
            Some(value_of(name)?)
        }
        SecretsCommand::List | SecretsCommand::Rm { .. } => None,
    };
    // The key that is missing may be the one that comes now, so none is asked for.
    let client = Client::connect(home, Intent::Read).await?;
    let answer = ask(&client, command, value.as_ref()).await;
    client.close().await;
    let answer = answer?;
    if out.json {
        out.value(&answer);
        return Ok(Exit::Ok);
    }
    match command {
        SecretsCommand::List => show(&answer, out),
        SecretsCommand::Set { name, .. } => out.line(&format!("{name} is kept")),
        SecretsCommand::Rotate { name, .. } => out.line(&format!("{name} has another value from now on")),
        SecretsCommand::Rm { name } => out.line(&format!("{name} is gone")),
    }
    Ok(Exit::Ok)
}

async fn ask(client: &Client, command: &SecretsCommand, value: Option<&SecretString>) -> Outcome<Value> {
    let value = value.map(|value| value.expose_secret());
    match command {
        SecretsCommand::List => client.get(SECRETS).await,
        SecretsCommand::Set { name, .. } => {
            client.post(SECRETS, &json!({ "name": name, "value": value, "replaces": false })).await
        }
        SecretsCommand::Rotate { name, .. } => {
            client.post(SECRETS, &json!({ "name": name, "value": value, "replaces": true })).await
        }
        SecretsCommand::Rm { name } if crate::config::is_name(name) => {
            client.post(&format!("{SECRETS}/{name}/remove"), &json!({})).await
        }
        SecretsCommand::Rm { name } => Err(match backstay_mcp::oauth::server_of(name) {
            Some(server) => Failure::usage("this is a login", format!("backstay mcp logout {server}")),
            None => Failure::usage("this is no secret's name", "backstay secrets list"),
        }),
    }
}

/// What was given all the same is known by now to whoever lists processes, and to the shell's history.
fn refuse_argument(name: &str, argv: &[std::ffi::OsString]) -> Outcome<()> {
    if argv.is_empty() {
        return Ok(());
    }
    let message = "a value is never an argument: other processes and the shell's history have seen it";
    Err(Failure::usage(message, format!("draw another value, then: backstay secrets set {name} < FILE")))
}

fn value_of(name: &str) -> Outcome<SecretString> {
    let next = format!("backstay secrets set {name} < FILE");
    let read = if std::io::stdin().is_terminal() { typed::hidden(&format!("value of {name}: ")) } else { piped() };
    let value = read.map_err(|error| Failure::usage(format!("stdin: {error}"), next.clone()))?;
    // The end of a line is the file's, not the value's.
    let plain = value.expose_secret().strip_suffix('\n').unwrap_or(value.expose_secret());
    let plain = plain.strip_suffix('\r').unwrap_or(plain);
    if plain.is_empty() {
        return Err(Failure::usage("no value was given", next));
    }
    Ok(SecretString::from(plain))
}

fn piped() -> std::io::Result<SecretString> {
    let mut value = String::new();
    std::io::stdin().lock().take(READ_BYTES_MAX).read_to_string(&mut value)?;
    Ok(SecretString::from(value))
}

fn show(answer: &Value, out: &Out) {
    let row = |item: &Value| {
        let agents: Vec<&str> = list(item, "agents").iter().filter_map(Value::as_str).collect();
        let at = item.get("at").and_then(Value::as_u64);
        vec![
            text(item, "name").to_owned(),
            text(item, "version").to_owned(),
            text(item, "state").to_owned(),
            at.map(time::stamp).unwrap_or_default(),
            agents.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = list(answer, "secrets").iter().map(row).collect();
    out.table(&["NAME", "VERSION", "STATE", "SET", "AGENTS"], &rows);
    if text(answer, "key").is_empty() && !rows.is_empty() {
        out.talk(Tone::Warning, "They are not open here: this process has no key.");
    }
}
