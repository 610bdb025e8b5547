//! `status`: the home at a glance, and every session that waits, with the command that moves it.
use std::path::Path;

use serde_json::{Value, json};

use super::approvals::tell_unreadable;
use super::conversation::{list, number, text};
use crate::client::{Client, Intent};
use crate::desk;
use crate::exit::{Exit, Outcome};
use crate::print::{Out, Tone, visible_line};

/// Bytes in a mebibyte.
const MIB: u64 = 1024 * 1024;

pub async fn run(home: &Path, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let found = look(&client, home).await;
    client.close().await;
    let status = found?;
    if out.json {
        out.value(&status);
    } else {
        show(&status, out);
    }
    Ok(Exit::Ok)
}

/// The API's status, and beside it whether a process serves the home, and the open questions.
async fn look(client: &Client, home: &Path) -> Outcome<Value> {
    let mut status = client.get("/api/status").await?;
    let questions = client.get("/api/questions").await?;
    let sandbox = client.get(desk::SANDBOX).await?;
    if let Some(fields) = status.as_object_mut() {
        fields.insert("home".to_owned(), json!(home));
        fields.insert("sandbox".to_owned(), sandbox);
        fields.insert("running".to_owned(), json!(client.is_running()));
        fields.insert("questions".to_owned(), json!(list(&questions, "questions")));
        fields.insert("unreadable".to_owned(), json!(list(&questions, "unreadable")));
        if !client.is_running() {
            // This command's own process takes nothing in; the home itself is at rest.
            fields.insert("draining".to_owned(), json!(false));
        }
    }
    Ok(status)
}

fn show(status: &Value, out: &Out) {
    let command = &out.command;
    let flag = |field: &str| status.get(field).and_then(Value::as_bool).unwrap_or_default();
    let running = match (flag("running"), flag("draining")) {
        (true, false) => "running",
        (true, true) => "shutting down",
        (false, _) => "not running",
    };
    let frozen = if flag("frozen") { ", frozen" } else { "" };
    out.line(&format!("home      {}: {running}{frozen}", text(status, "home")));
    tell_unreadable(status, out);
    let sessions = status.get("sessions").unwrap_or(&Value::Null);
    out.line(&format!("sessions  {}, {} in memory", number(sessions, "total"), number(sessions, "live")));
    let free = number(status, "free_bytes") / MIB;
    let full = match status.get("days_until_full").and_then(Value::as_u64) {
        Some(days) => format!("full in {days} days at this week's growth"),
        None => "days until full unknown".to_owned(),
    };
    out.line(&format!(
        "journal   {}, {} MiB, {free} MiB free, {full}",
        text(status, "journal"),
        number(status, "db_bytes").div_ceil(MIB)
    ));
    let sandbox = status.get("sandbox").unwrap_or(&Value::Null);
    match text(sandbox, "tier") {
        "unused" => {}
        "full" => out.line("sandbox   full: every attempt to get out was refused"),
        "copy" => out.toned(Tone::Warning, &format!("sandbox   copy: {}", visible_line(text(sandbox, "why")))),
        _ => {
            out.toned(Tone::Warning, &format!("sandbox   off, no command runs: {}", visible_line(text(sandbox, "why"))))
        }
    }
    if let Some(telling) = status.get("notify").filter(|telling| telling.is_object()) {
        let untold = number(telling, "untold");
        match telling.get("last_error").and_then(Value::as_str) {
            Some(why) => {
                let why = visible_line(why);
                out.toned(Tone::Warning, &format!("notify    {untold} not told yet: {why}   next: {command} doctor"));
            }
            None => out.line(&format!("notify    {} told", number(telling, "sent"))),
        }
    }
    waits(status, out);
    for switched in list(status, "modes") {
        let (words, option) = match switched.get("scope") {
            Some(Value::Object(fields)) => fields.iter().next().map_or_else(Default::default, |(kind, name)| {
                let name = visible_line(name.as_str().unwrap_or_default());
                (format!("{kind} {name}"), format!(" --{kind} {name}"))
            }),
            _ => ("the home".to_owned(), String::new()),
        };
        let mode = text(switched, "mode").replace('_', " ");
        let line = format!("mode      {mode} for {words}: only reading   next: {command} mode normal{option}");
        out.toned(Tone::Warning, &line);
    }
    if flag("frozen") {
        out.toned(Tone::Warning, &format!("frozen    nothing starts   next: {command} unfreeze"));
    }
}

/// Who is asked for what.
fn waits(status: &Value, out: &Out) {
    let command = &out.command;
    let waits = status.get("waits").unwrap_or(&Value::Null);
    let (approvals, parked) = (number(waits, "approvals"), number(waits, "parked"));
    let doubts = number(waits, "doubts");
    let questions = list(status, "questions");
    if approvals + parked + doubts == 0 && questions.is_empty() {
        out.line("waits     nobody is asked for anything");
    }
    if approvals > 0 {
        out.toned(Tone::Warning, &format!("waits     {approvals} for a yes   next: {command} approvals"));
    }
    if parked > 0 {
        out.line(&format!("waits     {parked} to be asked about later   see: {command} approvals"));
    }
    if doubts > 0 {
        out.toned(Tone::Warning, &format!("waits     {doubts} in doubt   next: {command} doubts"));
    }
    for question in questions {
        let (id, asked) = (text(question, "id"), visible_line(text(question, "text")));
        out.toned(Tone::Warning, &format!("waits     a question: {asked}   next: {command} answer {id} \"TEXT\""));
    }
}
