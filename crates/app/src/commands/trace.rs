//! `trace [TURN]`: the three columns of a turn, saw, decided, touched; or one of its requests as it
//! was sent.
use std::collections::BTreeMap;
use std::path::Path;

use backstay_kernel::id::SessionId;
use serde_json::{Value, json};

use super::conversation::{
    PATHS_SHOWN_MAX, connections, destination, label, list, number, origins, packages, reachable, reason, repository,
    text,
};
use crate::cause::Cause;
use crate::cli::TraceArgs;
use crate::client::{Client, Intent};
use crate::desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::limits::{PAGE, TRACE_CHARS_MAX};
use crate::print::{Out, Tone, short, visible_line};
use crate::time;

pub async fn run(home: &Path, args: &TraceArgs, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let shown = shown(&client, args, out).await;
    client.close().await;
    shown.map(|()| Exit::Ok)
}

async fn shown(client: &Client, args: &TraceArgs, out: &Out) -> Outcome<()> {
    let turn = match args.turn {
        Some(turn) => turn.to_string(),
        None => latest(client).await?,
    };
    match args.as_sent {
        Some(number) => as_sent(client, &turn, number, out).await,
        None => show(client, &turn, out).await,
    }
}

/// The turn that was begun last in the session in which something happened last.
async fn latest(client: &Client) -> Outcome<String> {
    let query = format!(
        "SELECT session_name(session), seq FROM heads WHERE session_name(session) <> '{}' ORDER BY updated_at DESC LIMIT 100",
        SessionId::HOME
    );
    let found = client.post(desk::SQL, &json!({ "query": query })).await?;
    for row in list(&found, "rows") {
        let session = row.get(0).and_then(Value::as_str).unwrap_or_default();
        let mut until = row.get(1).and_then(Value::as_u64).unwrap_or_default();
        while until > 0 {
            let after = until.saturating_sub(PAGE);
            if let Some(message) = begun(client, session, after, until).await? {
                return Ok(format!("{session}.{message}"));
            }
            until = after;
        }
    }
    Err(Failure::new(Cause::NoTurn, "no turn has begun in this home yet", "backstay run \"hello\""))
}

/// The message of the turn that was begun last among these records. A page of long texts ends early.
async fn begun(client: &Client, session: &str, mut after: u64, until: u64) -> Outcome<Option<u64>> {
    let mut message = None;
    while after < until {
        let limit = until - after;
        let page = client.get(&format!("/api/sessions/{session}/records?after={after}&limit={limit}")).await?;
        let begun = list(&page, "records").iter().rev().find(|record| text(record, "kind") == "turn_started");
        message = begun.and_then(|record| record.pointer("/body/messages")?.as_array()?.last()?.as_u64()).or(message);
        let Some(next) = page.get("next").and_then(Value::as_u64) else { break };
        after = next;
    }
    Ok(message)
}

/// The bytes go out as they were sent, also with `--json`: they are JSON.
async fn as_sent(client: &Client, turn: &str, number: u32, out: &Out) -> Outcome<()> {
    let bytes = client.bytes(&format!("/api/turns/{turn}/trace?as_sent={number}")).await?;
    out.bytes(&bytes);
    Ok(())
}

/// # Errors
/// The API's no.
pub async fn show(client: &Client, turn: &str, out: &Out) -> Outcome<()> {
    let trace = client.get(&format!("/api/turns/{turn}/trace")).await?;
    if out.json {
        out.value(&trace);
        return Ok(());
    }
    out.toned(Tone::Strong, &format!("turn {turn} of agent {}: {}", text(&trace, "agent"), text(&trace, "state")));
    let labels = trace.get("label").unwrap_or(&Value::Null);
    let (before, after) = (label(labels.get("before")), label(labels.get("after")));
    if !before.is_empty() && before == after {
        out.line(&format!("  label: {before}"));
    } else if !before.is_empty() {
        out.line(&format!("  label: {before} -> {after}"));
    }
    saw(trace.get("saw").unwrap_or(&Value::Null), out);
    out.toned(Tone::Strong, "decided");
    list(&trace, "decided").iter().for_each(|item| decided(item, out));
    out.toned(Tone::Strong, "touched");
    let settled: BTreeMap<u64, &str> = list(&trace, "decided").iter().filter_map(settled).collect();
    for item in list(&trace, "touched") {
        let effect = text(item, "id").rsplit('.').next().and_then(|seq| seq.parse::<u64>().ok());
        touched(item, effect.and_then(|effect| settled.get(&effect).copied()).unwrap_or("open"), out);
    }
    Ok(())
}

/// A call that came to its end without a start.
fn settled(item: &Value) -> Option<(u64, &'static str)> {
    let body = item.get("body")?;
    let how = match (text(item, "kind"), variant(body.get("verdict")).0) {
        ("answered", _) => "answered by a person",
        ("judged", "deny" | "invalid" | "blocked" | "too_many") => "refused",
        ("decided", _) if text(body, "decision") != "approve" => "refused",
        _ => return None,
    };
    Some((number(body, "effect"), how))
}

fn cut(text: &str) -> String {
    short(text.trim(), TRACE_CHARS_MAX)
}

fn saw(saw: &Value, out: &Out) {
    out.toned(Tone::Strong, "saw");
    for item in list(saw, "messages") {
        let trust = label(item.get("label"));
        let who = format!("{} by {}", text(item, "principal"), text(item, "channel"));
        out.line(&format!("  {}  {who} ({trust}): {}", time::clock(number(item, "at")), cut(text(item, "text"))));
    }
    for item in list(saw, "requests") {
        let fresh = number(item, "bytes").saturating_sub(number(item, "bytes_unchanged"));
        out.line(&format!(
            "  {}  request {} to {}: {} bytes, {fresh} of them new",
            time::clock(number(item, "at")),
            number(item, "number"),
            text(item, "model"),
            number(item, "bytes"),
        ));
    }
}

fn decided(item: &Value, out: &Out) {
    let body = item.get("body").unwrap_or(&Value::Null);
    let said = match text(item, "kind") {
        "judged" => {
            let (verdict, inside) = variant(body.get("verdict"));
            let why = match verdict {
                "invalid" => format!("{} {}", text(inside, "why").replace('_', " "), list_texts(item)),
                _ => reason(inside.get("by"), body.get("grounds")) + &origins(body.get("facts"), body.get("grounds")),
            };
            let disposition = text(item, "disposition");
            format!("call {}: {disposition}: {}, {why}", number(body, "effect"), verdict.replace('_', " "))
        }
        "decided" if text(body, "decision") == "expire" => format!("call {}: expired", number(body, "effect")),
        "decided" => format!("call {}: {} by {}", number(body, "effect"), text(body, "decision"), text(body, "by")),
        "edited" => {
            format!("call {}: edited by {}, to be judged anew", number(body, "effect"), text(body, "by"))
        }
        "ended" => {
            let (end, inside) = variant(body.get("end"));
            let words = list_texts(item);
            match end {
                "model_failed" => format!("the model failed ({}): {words}", text(inside, "class").replace('_', " ")),
                end => format!("the model {end} ({}): {words}", variant(inside.get("finish")).0),
            }
        }
        "scoped" => scope(body),
        "connected" => format!("call {} reached {}", number(body, "effect"), connections(body)),
        "turn_ended" => format!("the turn ended: {}", super::turn::reason(body.get("reason").unwrap_or(&Value::Null))),
        kind => format!("{} {}", kind.replace('_', " "), cut(&list_texts(item))),
    };
    let said = cut(said.trim_end_matches([',', ' ']));
    out.line(&format!("  {}  {said}", time::clock(number(item, "at"))));
}

/// Which calls the person's words want, as they were planned.
fn scope(body: &Value) -> String {
    let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let entry = |entry: &Value| format!("{} {}", text(entry, "tool"), times(number(entry, "count")));
    let entries: Vec<String> = list(body, "entries").iter().map(entry).collect();
    match entries.as_slice() {
        [] => "the task's scope: nothing".to_owned(),
        entries => format!("the task's scope: {}", entries.join(", ")),
    }
}

fn list_texts(item: &Value) -> String {
    let texts = item.get("texts").and_then(Value::as_object);
    let texts: Vec<&str> = texts.into_iter().flatten().filter_map(|(_, text)| text.as_str()).collect();
    texts.join(" ")
}

/// The name of an enum's variant, and what stands in it.
fn variant(value: Option<&Value>) -> (&str, &Value) {
    match value {
        Some(Value::Object(fields)) => fields.iter().next().map_or(("", &Value::Null), |(name, inside)| (name, inside)),
        Some(Value::String(name)) => (name, &Value::Null),
        _ => ("", &Value::Null),
    }
}

/// `settled`: what became of it if it has no end of its own.
fn touched(item: &Value, settled: &str, out: &Out) {
    let facts = item.get("facts").unwrap_or(&Value::Null);
    let paths: Vec<&str> = list(facts, "paths").iter().map(|path| text(path, "real")).collect();
    let end = item.get("end").unwrap_or(&Value::Null);
    let outcome = if end.is_null() { settled } else { text(end, "outcome") };
    let class = match (text(item, "class"), text(facts, "tier")) {
        ("", _) => String::new(),
        (class, "") => format!(" ({class})"),
        (class, tier) => format!(" ({class}, in the sandbox: {tier})"),
    };
    let starts = match list(item, "starts").len() {
        0 => String::new(),
        1 => ", started once".to_owned(),
        more => format!(", started {more} times"),
    };
    let mut places: Vec<String> = paths
        .into_iter()
        .map(str::to_owned)
        .chain(destination(facts))
        .chain(repository(facts, PATHS_SHOWN_MAX))
        .chain(reachable(facts))
        .chain(packages(facts))
        .map(|place| visible_line(&place))
        .collect();
    // Granted to be read and to be written.
    places.dedup();
    let what =
        format!("  {}  {}{class}: {outcome}{starts}  {}", text(item, "id"), text(item, "tool"), places.join(" "));
    out.line(what.trim_end());
    for edit in list(item, "edits") {
        let before = edit.get("args_before").unwrap_or(&Value::Null);
        out.line(&format!("      before {} edited it: {}", visible_line(text(edit, "by")), cut(&before.to_string())));
    }
    if let Some(args) = item.get("args") {
        out.line(&format!("      asked: {}", cut(&args.to_string())));
    }
    if !text(end, "result").is_empty() {
        out.line(&format!("      result ({}): {}", label(end.get("label")), cut(&came_of(text(end, "result")))));
    }
}

/// Of a command how it ended and what it complained of, before what it said.
fn came_of(result: &str) -> String {
    let ran: Option<Value> = serde_json::from_str(result).ok();
    let Some((ran, code)) = ran.as_ref().and_then(|ran| Some((ran, ran.get("exit_code")?.as_i64()?))) else {
        return result.to_owned();
    };
    format!("exit {code} {}{}", text(ran, "stderr"), text(ran, "stdout"))
}
