//! `doubts` and `resolve`: effects that were started and whose outcome nobody knows, and what a
//! person found out about one.
use std::path::Path;

use clap::ValueEnum as _;
use serde_json::{Value, json};

use super::approvals::tell_unreadable;
use super::conversation::{list, text};
use super::turn;
use crate::cli::ResolveArgs;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Outcome};
use crate::print::{Out, Tone, visible_line};

pub async fn list_all(home: &Path, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let found = client.get("/api/doubts").await;
    client.close().await;
    let found = found?;
    if out.json {
        out.value(&found);
        return Ok(Exit::Ok);
    }
    let items = list(&found, "doubts");
    if items.is_empty() && list(&found, "unreadable").is_empty() {
        out.talk(Tone::Dim, "Nothing is in doubt.");
    }
    let command = &out.command;
    for item in items {
        let args = item.get("args").map(Value::to_string).unwrap_or_default();
        out.line(&visible_line(&format!("{}: {} {args}", text(item, "id"), text(item, "tool"))));
        let next = format!("{command} resolve {} done|not-done|retry --note \"how it is known\"", text(item, "id"));
        out.line(&format!("  next: {next}"));
    }
    tell_unreadable(&found, out);
    Ok(Exit::Ok)
}

pub async fn resolve(home: &Path, args: &ResolveArgs, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Act).await?;
    let ended = resolve_with(&client, args, out).await;
    client.close().await;
    ended
}

async fn resolve_with(client: &Client, args: &ResolveArgs, out: &Out) -> Outcome<Exit> {
    let word = args.outcome.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let body = json!({ "outcome": word, "note": args.note });
    let resolved = client.post(&format!("/api/doubts/{}", args.effect), &body).await?;
    if out.json {
        out.value(&resolved);
    } else {
        out.line(&format!("resolved: {word}"));
    }
    turn::go_on(client, text(&resolved, "turn"), out).await
}
