//! `stop`, `resume`, `freeze`, `unfreeze`, `mode`, `reload`: one call each, and a word about it.
use std::path::Path;

use backstay_kernel::id::SessionId;
use backstay_kernel::mode::WorkMode;
use serde_json::{Value, json};

use super::conversation::{list, number};
use crate::cli::{ModeArgs, ModeName, StopArgs};
use crate::client::{Client, Intent};
use crate::exit::{Exit, Outcome};
use crate::print::Out;

/// What is switched.
#[derive(Clone, Debug)]
pub enum Switch {
    Stop(StopArgs),
    Resume(SessionId),
    Freeze,
    Unfreeze,
    Mode(ModeArgs),
    Reload,
}

pub async fn run(home: &Path, switch: Switch, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Act).await?;
    let answer = client.post(&path(&switch), &body(&switch)).await;
    client.close().await;
    let answer = answer?;
    if out.json {
        out.value(&answer);
    } else {
        out.line(&words(&switch, &answer));
    }
    Ok(Exit::Ok)
}

fn body(switch: &Switch) -> Value {
    match switch {
        Switch::Mode(args) => {
            let mode = ("mode".to_owned(), json!(mode(args.mode).word()));
            scope(args.agent.as_deref(), args.channel.as_deref()).chain([mode]).collect()
        }
        Switch::Stop(args) => {
            let all = args.all.then(|| ("all".to_owned(), json!(true)));
            scope(args.agent.as_deref(), args.channel.as_deref()).chain(all).collect()
        }
        Switch::Resume(_) | Switch::Freeze | Switch::Unfreeze | Switch::Reload => json!({}),
    }
}

fn scope<'a>(agent: Option<&'a str>, channel: Option<&'a str>) -> impl Iterator<Item = (String, Value)> + 'a {
    let named = [("agent", agent), ("channel", channel)];
    named.into_iter().filter_map(|(key, name)| Some((key.to_owned(), json!(name?))))
}

fn mode(name: ModeName) -> WorkMode {
    match name {
        ModeName::Normal => WorkMode::Normal,
        ModeName::DryRun => WorkMode::DryRun,
        ModeName::ReadOnly => WorkMode::ReadOnly,
    }
}

fn path(switch: &Switch) -> String {
    match switch {
        Switch::Stop(StopArgs { session: Some(session), .. }) => format!("/api/sessions/{session}/stop"),
        Switch::Stop(_) => "/api/home/stop".to_owned(),
        Switch::Resume(session) => format!("/api/sessions/{session}/resume"),
        Switch::Freeze => "/api/home/freeze".to_owned(),
        Switch::Unfreeze => "/api/home/unfreeze".to_owned(),
        Switch::Mode(_) => "/api/home/mode".to_owned(),
        Switch::Reload => "/api/reload".to_owned(),
    }
}

fn words(switch: &Switch, answer: &Value) -> String {
    match switch {
        Switch::Stop(StopArgs { session: Some(session), .. }) => stopped(&session.to_string()),
        Switch::Stop(_) => {
            let sessions = list(answer, "stopped").iter().filter_map(Value::as_str).map(stopped);
            let sessions: Vec<String> = sessions.collect();
            if sessions.is_empty() { "nothing goes on there".to_owned() } else { sessions.join("\n") }
        }
        Switch::Resume(session) => format!("{session} goes on"),
        Switch::Freeze => "the home is frozen: nothing starts in it".to_owned(),
        Switch::Unfreeze => "the home goes on".to_owned(),
        Switch::Mode(args) => {
            let whose = match (&args.agent, &args.channel) {
                (Some(agent), _) => format!("agent `{agent}`"),
                (None, Some(channel)) => format!("what comes in by `{channel}`"),
                (None, None) => "the home".to_owned(),
            };
            let what = match args.mode {
                ModeName::Normal => "does whatever its grants and rules allow",
                ModeName::DryRun => "makes no call that does more than read, and says what it would have done",
                ModeName::ReadOnly => "makes no call that does more than read",
            };
            format!("{whose} {what}")
        }
        Switch::Reload if answer.get("changed").and_then(Value::as_bool).unwrap_or_default() => {
            let late: Vec<&str> = list(answer, "needs_restart").iter().filter_map(Value::as_str).collect();
            let late = if late.is_empty() { String::new() } else { format!("; after a restart: {}", late.join(", ")) };
            format!("config {} is in force{late}", number(answer, "epoch"))
        }
        Switch::Reload => format!("nothing has changed: config {} stays in force", number(answer, "epoch")),
    }
}

fn stopped(session: &str) -> String {
    format!("{session} is stopped: nothing starts in it, and it takes no messages")
}
