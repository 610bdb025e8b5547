//! `approvals standing | revoke`: calls that somebody said yes to for longer than once.
use std::path::Path;

use serde_json::{Value, json};

use super::conversation::{list, number, text};
use crate::cli::ApprovalsCommand;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Outcome};
use crate::print::{Out, Tone};
use crate::time;

pub async fn run(home: &Path, command: &ApprovalsCommand, out: &Out) -> Outcome<Exit> {
    let intent = match command {
        ApprovalsCommand::Standing => Intent::Read,
        ApprovalsCommand::Revoke { .. } => Intent::Act,
    };
    let client = Client::connect(home, intent).await?;
    let answer = match command {
        ApprovalsCommand::Standing => client.get("/api/standing").await,
        ApprovalsCommand::Revoke { id } => client.post(&format!("/api/standing/{id}/revoke"), &json!({})).await,
    };
    client.close().await;
    let answer = answer?;
    match command {
        _ if out.json => out.value(&answer),
        ApprovalsCommand::Standing => show(&answer, out),
        ApprovalsCommand::Revoke { id } => out.line(&format!("the call of {id} is asked about again")),
    }
    Ok(Exit::Ok)
}

fn show(answer: &Value, out: &Out) {
    let items = list(answer, "standing");
    if items.is_empty() {
        return out.talk(Tone::Dim, "No yes stands for longer than once.");
    }
    let row = |item: &Value| {
        let words = ["id", "agent", "principal", "tool", "rule", "by"].map(|field| text(item, field).to_owned());
        words.into_iter().chain([time::stamp(number(item, "until"))]).collect()
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    out.table(&["ID", "AGENT", "FOR", "TOOL", "RULE", "YES OF", "UNTIL"], &rows);
}
