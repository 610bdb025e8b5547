//! `backstay` alone: what to do next in the state that it finds.
use std::path::Path;

use serde_json::{Value, json};

use crate::client::Client;
use crate::exit::{Exit, Outcome};
use crate::home::{self, Found};
use crate::print::{Out, Tone};

/// A command and what it is for.
type Hint = (String, &'static str);

pub async fn run(home: &Path, out: &Out) -> Outcome<Exit> {
    let command = home::command(home);
    let with = |rest: &str, why: &'static str| (format!("{command} {rest}"), why);
    let (state, hints) = match home::look(home) {
        Found::Nothing => (
            "none",
            vec![
                with("quickstart", "make a home there, with a rehearsal model or the one you have a key for, and talk"),
                ("backstay init DIR".to_owned(), "make a home elsewhere"),
            ],
        ),
        Found::Part => {
            ("part", vec![with("doctor", "see what is missing"), with("init", "go on with an `init` that was cut off")])
        }
        Found::Home => match Client::running(home).await? {
            Some(client) => ("running", running(&client, &command).await?),
            None => (
                "stopped",
                vec![
                    with("chat", "talk to the agent"),
                    with("run \"TASK\"", "do one task"),
                    with("serve", "open the HTTP API and keep working"),
                    with("doctor", "look for what is wrong"),
                ],
            ),
        },
    };
    if out.json {
        let next: Vec<Value> = hints.iter().map(|(command, why)| json!({ "command": command, "why": why })).collect();
        out.value(&json!({ "home": home, "state": state, "next": next }));
        return Ok(Exit::Ok);
    }
    let words = match state {
        "none" => "there is no home there yet",
        "part" => "this is not a whole home",
        "running" => "running",
        _ => "not running",
    };
    out.line(&format!("{}: {words}", home.display()));
    let width = hints.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    hints.iter().for_each(|(command, why)| out.line(&format!("  {command:width$}  {why}")));
    out.toned(Tone::Dim, "All commands: backstay --help");
    Ok(Exit::Ok)
}

/// What waits for a person comes first.
async fn running(client: &Client, command: &str) -> Outcome<Vec<Hint>> {
    let status = client.get("/api/status").await?;
    let mut hints = Vec::new();
    for (kind, rest, why) in [
        ("approvals", "approvals", "actions wait for a yes or a no"),
        ("questions", "status", "questions wait for an answer"),
        ("doubts", "doubts", "effects have an outcome that nobody knows"),
    ] {
        if status.pointer(&format!("/waits/{kind}")).and_then(Value::as_u64).unwrap_or_default() > 0 {
            hints.push((format!("{command} {rest}"), why));
        }
    }
    hints.push((format!("{command} chat"), "talk to the agent"));
    hints.push((format!("{command} status"), "see what runs and what waits"));
    Ok(hints)
}
