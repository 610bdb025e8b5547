//! `mcp list | test | pin | login | logout`: servers of tools, as they are and as they were let in.
mod login;
mod redirect;

use std::path::Path;

pub use login::words;
use serde_json::{Value, json};

use super::conversation::{list, text};
use crate::cli::{McpCommand, ServerArgs};
use crate::client::{Client, Intent};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{Out, Tone};
use crate::servers::desk::{SERVERS, arguments};

pub async fn run(home: &Path, command: &McpCommand, out: &Out) -> Outcome<Exit> {
    if let McpCommand::Login(args) = command {
        return login::run(home, args, out).await;
    }
    // What a server does while it is looked at needs no key of a provider.
    let client = Client::connect(home, Intent::Read).await?;
    let answer = ask(&client, command).await;
    client.close().await;
    let answer = answer?;
    if out.json {
        out.value(&answer);
        return Ok(exit(command, &answer));
    }
    match command {
        McpCommand::List => servers(&answer, out),
        McpCommand::Test(_) => tested(&answer, out),
        McpCommand::Pin(args) => {
            offers(&answer, out);
            if let Some(drift) = answer.get("drift").and_then(Value::as_str) {
                out.talk(Tone::Warning, &format!("since it was last pinned: {drift}"));
            }
            out.line(&format!("{} is pinned as it is now", args.name));
        }
        McpCommand::Login(_) => {}
        McpCommand::Logout { name } => {
            out.line(&format!("{name} is logged out"));
            if let Some(why) = answer.get("why").and_then(Value::as_str) {
                out.talk(Tone::Warning, &format!("its tokens were not given back, and end by themselves: {why}"));
            }
        }
    }
    Ok(exit(command, &answer))
}

/// A server that is other than it was pinned is a no.
fn exit(command: &McpCommand, answer: &Value) -> Exit {
    let is_other = answer.get("drift").is_some_and(|drift| !drift.is_null());
    if matches!(command, McpCommand::Test(_)) && is_other { Exit::Refused } else { Exit::Ok }
}

async fn ask(client: &Client, command: &McpCommand) -> Outcome<Value> {
    match command {
        McpCommand::List => client.get(SERVERS).await,
        McpCommand::Test(args) => post(client, args, "test").await,
        McpCommand::Pin(args) => post(client, args, "pin").await,
        McpCommand::Logout { name } => {
            is_name(name)?;
            client.post(&format!("{SERVERS}/{name}/logout"), &json!({})).await
        }
        McpCommand::Login(_) => Ok(Value::Null),
    }
}

async fn post(client: &Client, args: &ServerArgs, what: &str) -> Outcome<Value> {
    is_name(&args.name)?;
    client.post(&format!("{SERVERS}/{}/{what}", args.name), &json!({ "agent": args.agent })).await
}

fn is_name(name: &str) -> Outcome<()> {
    if crate::config::is_name(name) {
        return Ok(());
    }
    Err(Failure::usage("this is no server's name", "backstay mcp list"))
}

fn servers(answer: &Value, out: &Out) {
    let row = |server: &Value| {
        let names = |key| list(server, key).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
        let pinned = server.get("pinned").and_then(Value::as_bool) == Some(true);
        vec![
            text(server, "name").to_owned(),
            if pinned { "yes" } else { "no" }.to_owned(),
            names("offered"),
            server.get("login").filter(|login| !login.is_null()).map(words).unwrap_or_default(),
            server.get("url").and_then(Value::as_str).map_or_else(|| names("command"), str::to_owned),
        ]
    };
    let rows: Vec<Vec<String>> = list(answer, "servers").iter().map(row).collect();
    out.table(&["NAME", "PINNED", "OFFERED", "LOGIN", "COMMAND OR URL"], &rows);
}

fn tested(answer: &Value, out: &Out) {
    offers(answer, out);
    let pinned = answer.get("pinned").and_then(Value::as_bool) == Some(true);
    match (pinned, answer.get("drift").and_then(Value::as_str)) {
        (false, _) => out.talk(Tone::Dim, "It is not pinned, so no agent is offered its tools."),
        (true, None) => out.talk(Tone::Dim, "It is what was pinned."),
        (true, Some(drift)) => out.talk(Tone::Warning, &format!("It is not what was pinned: {drift}")),
    }
}

/// Everything that a pin covers, for whoever decides on it. All of it is the server's own words.
fn offers(answer: &Value, out: &Out) {
    let now = answer.get("now").unwrap_or(&Value::Null);
    let server = now.get("server").unwrap_or(&Value::Null);
    let (name, version) = (one_line(text(server, "name")), one_line(text(server, "version")));
    out.line(&format!("{name} {version}, protocol {}", one_line(text(now, "protocol"))));
    for (path, digest) in now.get("files").and_then(Value::as_object).into_iter().flatten() {
        out.line(&format!("file {} {}", one_line(path), digest.as_str().unwrap_or_default()));
    }
    if let Some(instructions) = now.get("instructions").and_then(Value::as_str) {
        out.line(&format!("instructions: {}", one_line(instructions.trim())));
    }
    for (name, tool) in now.get("tools").and_then(Value::as_object).into_iter().flatten() {
        let described = one_line(text(tool, "description").trim());
        out.line(&format!("tool {} ({}): {described}", one_line(name), one_line(&arguments(tool))));
    }
}

/// A line of a server's that passes for none of ours: what would end it, or steer a terminal, is written out.
fn one_line(said: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let shown = |c: char| if hides(c) { c.escape_default().to_string() } else { c.to_string() };
    said.chars().map(shown).collect()
}
