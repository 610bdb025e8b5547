//! `stop`, `resume`, `freeze`, `unfreeze`, `reload`: one call each, and a word about it.
use std::path::Path;

use backstay_kernel::id::SessionId;
use serde_json::{Value, json};

use super::conversation::{list, number};
use crate::client::{Client, Intent};
use crate::exit::{Exit, Outcome};
use crate::print::Out;

/// What is switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    Stop(SessionId),
    Resume(SessionId),
    Freeze,
    Unfreeze,
    Reload,
}

pub async fn run(home: &Path, switch: Switch, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Act).await?;
    let answer = client.post(&path(switch), &json!({})).await;
    client.close().await;
    let answer = answer?;
    if out.json {
        out.value(&answer);
    } else {
        out.line(&words(switch, &answer));
    }
    Ok(Exit::Ok)
}

fn path(switch: Switch) -> String {
    match switch {
        Switch::Stop(session) => format!("/api/sessions/{session}/stop"),
        Switch::Resume(session) => format!("/api/sessions/{session}/resume"),
        Switch::Freeze => "/api/home/freeze".to_owned(),
        Switch::Unfreeze => "/api/home/unfreeze".to_owned(),
        Switch::Reload => "/api/reload".to_owned(),
    }
}

fn words(switch: Switch, answer: &Value) -> String {
    match switch {
        Switch::Stop(session) => format!("{session} is stopped: nothing starts in it, and it takes no messages"),
        Switch::Resume(session) => format!("{session} goes on"),
        Switch::Freeze => "the home is frozen: nothing starts in it".to_owned(),
        Switch::Unfreeze => "the home goes on".to_owned(),
        Switch::Reload if answer.get("changed").and_then(Value::as_bool).unwrap_or_default() => {
            let late: Vec<&str> = list(answer, "needs_restart").iter().filter_map(Value::as_str).collect();
            let late = if late.is_empty() { String::new() } else { format!("; after a restart: {}", late.join(", ")) };
            format!("config {} is in force{late}", number(answer, "epoch"))
        }
        Switch::Reload => format!("nothing has changed: config {} stays in force", number(answer, "epoch")),
    }
}
