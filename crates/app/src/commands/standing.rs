//! `approvals standing | revoke`: calls that somebody said yes to for longer than once.
use std::path::Path;

use backstay_kernel::id::Place;
use serde_json::{Value, json};

use super::conversation::{list, number, text};
use crate::client::{Client, Intent};
use crate::exit::{Exit, Outcome};
use crate::print::{Out, Tone};
use crate::time;

pub async fn list_all(home: &Path, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let answer = client.get("/api/standing").await;
    client.close().await;
    let answer = answer?;
    if out.json {
        out.value(&answer);
    } else {
        show(&answer, out);
    }
    Ok(Exit::Ok)
}

pub async fn revoke(home: &Path, id: Place, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Act).await?;
    let answer = client.post(&format!("/api/standing/{id}/revoke"), &json!({})).await;
    client.close().await;
    let answer = answer?;
    if out.json {
        out.value(&answer);
    } else {
        out.line(&format!("the call of {id} is asked about again"));
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
