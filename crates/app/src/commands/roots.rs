//! `roots list | reset`: what is known of the files in the directories that agents work in.
use std::path::Path;

use serde_json::{Value, json};

use super::conversation::{label, list, text};
use crate::cli::RootsCommand;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Outcome};
use crate::print::Out;

pub async fn run(home: &Path, command: &RootsCommand, out: &Out) -> Outcome<Exit> {
    let intent = match command {
        RootsCommand::List => Intent::Read,
        RootsCommand::Reset { .. } => Intent::Act,
    };
    let client = Client::connect(home, intent).await?;
    let answer = match command {
        RootsCommand::List => client.get("/api/roots").await,
        RootsCommand::Reset { root } => client.post("/api/roots/reset", &json!({ "root": root })).await,
    };
    client.close().await;
    let answer = answer?;
    match command {
        _ if out.json => out.value(&answer),
        RootsCommand::List => show(&answer, out),
        RootsCommand::Reset { root } => out.line(&format!("what lies in {root} counts as internal from now on")),
    }
    Ok(Exit::Ok)
}

fn show(answer: &Value, out: &Out) {
    let row = |item: &Value| vec![text(item, "root").to_owned(), label(item.get("label"))];
    let rows: Vec<Vec<String>> = list(answer, "roots").iter().map(row).collect();
    out.table(&["ROOT", "LABEL"], &rows);
}
