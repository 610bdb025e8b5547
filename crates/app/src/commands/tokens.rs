//! `tokens create | list | revoke`: who may use the HTTP API.
use std::path::Path;

use clap::ValueEnum as _;
use serde_json::{Value, json};

use super::conversation::{list, number, text};
use crate::cli::TokensCommand;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{Out, Tone};
use crate::time;

pub async fn run(home: &Path, command: &TokensCommand, out: &Out) -> Outcome<Exit> {
    let intent = match command {
        TokensCommand::List => Intent::Read,
        TokensCommand::Create { .. } | TokensCommand::Revoke { .. } => Intent::Act,
    };
    let client = Client::connect(home, intent).await?;
    let answer = ask(&client, command).await;
    client.close().await;
    let answer = answer?;
    show_answer(command, &answer, out);
    if let (TokensCommand::Create { .. }, true) = (command, out.is_gone()) {
        let unseen = format!("The token was made and nobody saw it.\n  next: {} tokens revoke ", out.command);
        out.talk(Tone::Warning, &(unseen + text(&answer, "id")));
    }
    Ok(Exit::Ok)
}

fn show_answer(command: &TokensCommand, answer: &Value, out: &Out) {
    if out.json {
        return out.value(answer);
    }
    match command {
        TokensCommand::List => show(answer, out),
        TokensCommand::Create { .. } => {
            out.line(text(answer, "token"));
            out.talk(Tone::Dim, "It is shown only now.");
        }
        TokensCommand::Revoke { id } => out.line(&format!("{id} is worth nothing from now on")),
    }
}

async fn ask(client: &Client, command: &TokensCommand) -> Outcome<Value> {
    match command {
        TokensCommand::List => client.get("/api/tokens").await,
        TokensCommand::Create { principal, speaks, scope } => {
            let speaks = speaks.to_possible_value().map(|value| value.get_name().to_owned());
            let scope = scope.to_possible_value().map(|value| value.get_name().to_owned());
            client.post("/api/tokens", &json!({ "principal": principal, "speaks": speaks, "scope": scope })).await
        }
        TokensCommand::Revoke { id } if id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            client.post(&format!("/api/tokens/{id}/revoke"), &json!({})).await
        }
        TokensCommand::Revoke { .. } => Err(Failure::usage("this is no token's id", "backstay tokens list")),
    }
}

fn show(answer: &Value, out: &Out) {
    let row = |item: &Value| {
        vec![
            text(item, "id").to_owned(),
            text(item, "principal").to_owned(),
            text(item, "speaks").to_owned(),
            text(item, "scope").to_owned(),
            time::stamp(number(item, "created_at")),
            text(item, "by").to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = list(answer, "tokens").iter().map(row).collect();
    out.table(&["ID", "PRINCIPAL", "SPEAKS", "SCOPE", "CREATED", "BY"], &rows);
}
