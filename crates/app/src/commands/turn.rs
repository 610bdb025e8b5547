//! What is said about a turn, by whichever command follows it: its progress, its waits, its end.
use backstay_kernel::limits::ATTEMPTS_MAX;
use serde_json::Value;

use super::conversation::{Conversation, Retry, Seen, list, text};
use crate::client::Client;
use crate::config;
use crate::exit::{Exit, Outcome};
use crate::limits;
use crate::print::{Out, Tone, short};
use crate::time;

/// Calls and retries, on stderr.
pub fn progress(client: &Client, seen: &Seen, out: &Out) {
    let cut = |text: &str| short(text.trim(), limits::PROGRESS_CHARS_MAX);
    match seen {
        Seen::Called { tool, args } => out.talk(Tone::Dim, &format!("· {tool} {}", cut(args))),
        Seen::Became { tool, how, text } => {
            out.talk(Tone::Dim, format!("· {tool}: {how}. {}", cut(text)).trim_end());
        }
        Seen::Retried(retry) => {
            // The first of a call, and the first of the long wait after all tries.
            let is_first = retry.failed <= 1 || retry.is_long && retry.failed <= u64::from(ATTEMPTS_MAX);
            out.pass(is_first, &format!("· {}: {}", waiting(client, retry), cut(&retry.why)));
        }
        Seen::Held(why) => out.pass(true, &format!("· {why} (Ctrl-C ends the turn)")),
        Seen::Text(_)
        | Seen::Withdrawn
        | Seen::Said
        | Seen::MayWait
        | Seen::Settled { .. }
        | Seen::Ended
        | Seen::Nothing => {}
    }
}

/// What a model call waits for, until when, and what a person can do about it.
fn waiting(client: &Client, retry: &Retry) -> String {
    let model = if retry.model.is_empty() { "the model" } else { &retry.model };
    let place = place_of(client, &retry.model).map(|place| format!(" at {place}")).unwrap_or_default();
    let attempt = match retry.failed {
        0 => String::new(),
        failed if retry.is_long => format!("{failed} attempts failed; "),
        failed => format!("attempt {} of {ATTEMPTS_MAX}; ", failed.saturating_add(1)),
    };
    let until = time::clock(retry.not_before);
    format!("waiting for {model}{place} until {until}Z ({attempt}Ctrl-C ends the turn)")
}

/// Provider and address of a model, as the config on disk has them now.
fn place_of(client: &Client, model: &str) -> Option<String> {
    let checked = config::load(client.home(), backstay_tools::manifests()).ok()?;
    let name = &checked.policy.models.get(model)?.provider;
    let url = checked.providers.get(name)?.base_url.as_deref();
    Some(url.map_or_else(|| name.clone(), |url| format!("{name}, {url}")))
}

/// Follows a turn until it has ended or waits; what is seen on the way goes to stderr.
///
/// # Errors
/// The API's no, or a stream that does not come back.
pub async fn follow(client: &Client, talk: &mut Conversation<'_>, out: &Out) -> Outcome<Value> {
    loop {
        let standing = talk.standing().await?;
        if matches!(text(&standing, "state"), "ended" | "waiting") {
            // The journal is ahead of the stream: what led there is still on its way.
            let latest = talk.latest().await?;
            while !talk.has_seen(latest) {
                progress(client, &talk.next().await?, out);
            }
            return Ok(standing);
        }
        // Only these can change how it stands.
        loop {
            let seen = talk.next().await?;
            progress(client, &seen, out);
            match seen {
                Seen::MayWait | Seen::Became { .. } | Seen::Settled { .. } | Seen::Ended => break,
                Seen::Retried(retry) if retry.is_long => break,
                Seen::Retried(_)
                | Seen::Held(_)
                | Seen::Called { .. }
                | Seen::Text(_)
                | Seen::Withdrawn
                | Seen::Said
                | Seen::Nothing => {}
            }
        }
    }
}

/// Says what a turn waits for, and the command that moves it.
pub fn tell_wait(standing: &Value, out: &Out) {
    let command = &out.command;
    let (id, turn) = (text(standing, "id"), text(standing, "turn"));
    let session = text(standing, "session");
    let until = until(standing);
    let model = format!("waits for the model's API{until}; a process that serves the home goes on by itself");
    let parked = format!(
        "waits to ask for a yes: this session asked as often as it may for now{until}; a process that serves the home asks then"
    );
    let (what, next) = match text(standing, "wait") {
        "approval" => ("waits for a yes", format!("{command} approve {id}   (or: {command} deny {id})")),
        "question" => ("waits for your answer", format!("{command} answer {id} \"TEXT\"")),
        "doubt" => (
            "has an effect whose outcome nobody knows",
            format!("{command} resolve {id} done|not-done|retry --note \"how it is known\""),
        ),
        "parked" => (parked.as_str(), format!("{command} chat --session {session}   (or: {command} serve)")),
        "frozen" => ("stands still, since the home is frozen", format!("{command} unfreeze")),
        _ => (model.as_str(), format!("{command} chat --session {session}   (or: {command} serve)")),
    };
    out.talk(Tone::Warning, &format!("The turn {turn} {what}.\n  next: {next}"));
}

/// ` until 2026-11-21 06:00:00Z` of a session or a turn whose wait ends by itself.
#[must_use]
pub fn until(waits: &Value) -> String {
    match waits.get("until").and_then(Value::as_u64) {
        Some(until) => format!(" until {}", time::stamp(until)),
        None => String::new(),
    }
}

/// Says how a turn ended, where it did not end as it should, and what of it was not done.
pub async fn tell_end(client: &Client, standing: &Value, out: &Out) -> Exit {
    let completion = standing.get("completion").unwrap_or(&Value::Null);
    for (field, what) in [("refused", "refused"), ("not_started", "not started"), ("in_doubt", "in doubt")] {
        let calls: Vec<String> = list(completion, field).iter().map(call).collect();
        if !calls.is_empty() {
            out.talk(Tone::Warning, &format!("({what}: {})", calls.join(", ")));
        }
    }
    let reason = standing.get("reason").map(reason).unwrap_or_default();
    let exit = exit_of(&reason);
    if reason == "claimed" && text(standing, "reply").trim().is_empty() {
        out.talk(Tone::Warning, "(the model said nothing)");
    }
    if reason == "stopped_by_user" {
        out.talk(Tone::Dim, "(the turn was ended before its reply)");
    } else if exit != Exit::Ok {
        out.talk(Tone::Warning, &format!("(the turn ended early: {})", reason.replace('_', " ")));
        if let Some(next) = next(&reason, standing, out) {
            out.talk(Tone::Dim, &format!("next: {next}"));
        }
        if matches!(reason.as_str(), "auth" | "invalid" | "quota" | "policy" | "provider_unavailable") {
            blame(client, text(standing, "turn"), &reason, out).await;
        }
    }
    exit
}

/// Says what the provider said, and where its no can be mended. A trace that cannot be read hides
/// no end of a turn.
async fn blame(client: &Client, turn: &str, reason: &str, out: &Out) {
    let trace = client.get(&format!("/api/turns/{turn}/trace")).await.unwrap_or_default();
    let failed = list(&trace, "decided").iter().rev().find(|item| item.pointer("/body/end/model_failed").is_some());
    let said = failed.and_then(|item| item.get("texts")?.as_object()?.values().next()?.as_str()).unwrap_or_default();
    let requests = trace.get("saw").map(|saw| list(saw, "requests")).unwrap_or_default();
    let model = requests.last().map(|request| text(request, "model")).unwrap_or_default();
    if !said.is_empty() {
        let place = place_of(client, model).map(|place| format!(" at {place}")).unwrap_or_default();
        let said = short(said.trim(), limits::TRACE_CHARS_MAX);
        out.talk(Tone::Warning, &format!("  {model}{place}: {said}"));
    }
    let command = &out.command;
    let next = match reason {
        "auth" => format!("{command} doctor --providers; {}", key_of(client, model)),
        "invalid" => format!("check [models.{model}] name in backstay.toml; {command} doctor --providers"),
        _ => format!("{command} trace {turn}"),
    };
    out.talk(Tone::Warning, &format!("  next: {next}"));
}

/// Where the key of a model's provider comes from.
fn key_of(client: &Client, model: &str) -> String {
    let variable = || {
        let checked = config::load(client.home(), backstay_tools::manifests()).ok()?;
        let provider = &checked.policy.models.get(model)?.provider;
        checked.providers.get(provider)?.api_key_env.clone()
    };
    match variable() {
        Some(variable) => format!("the key is the one in `{variable}` of the process that serves the home"),
        None => "name the key's variable as api_key_env under [providers]".to_owned(),
    }
}

fn call(item: &Value) -> String {
    let paths: Vec<&str> = list(item, "paths").iter().filter_map(Value::as_str).collect();
    format!("{} {}", text(item, "tool"), paths.join(" ")).trim_end().to_owned()
}

/// `claimed`, or for example `cap steps`.
#[must_use]
pub fn reason(reason: &Value) -> String {
    match reason {
        Value::String(word) => word.clone(),
        Value::Object(fields) => {
            let words = fields.iter().map(|(kind, which)| format!("{kind} {}", which.as_str().unwrap_or_default()));
            words.collect::<Vec<_>>().join(", ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => String::new(),
    }
}

/// What makes room again, where the turn or the conversation was at its end.
fn next(reason: &str, standing: &Value, out: &Out) -> Option<String> {
    let home = &out.command;
    let session = text(standing, "turn").split_once('.').map_or("", |(session, _)| session);
    Some(match reason {
        "context_blocked" => format!("begin a new session ({home} chat), or raise context_tokens of [models.NAME]"),
        "clearance" => format!("begin a new session ({home} chat), or raise clearance of [providers.NAME]"),
        "output_limit" => "ask for a shorter reply, or raise max_output_tokens of [models.NAME]".to_owned(),
        "cap steps" | "cap tool_calls" | "cap wall" => {
            format!("{home} chat --session {session} to go on, or raise [agents.NAME.caps]")
        }
        "denials" => format!(
            "{home} chat --session {session} to say what is wanted instead; after twenty in all, {home} resume {session} first"
        ),
        "cap turn_budget" | "cap session_budget" | "cap shared_budget" => format!("{home} budget"),
        _ => return None,
    })
}

fn exit_of(reason: &str) -> Exit {
    match reason {
        "claimed" => Exit::Ok,
        "provider_unavailable" => Exit::Waiting,
        "auth" | "invalid" => Exit::Usage,
        _ => Exit::Refused,
    }
}

/// Goes on with a turn in this process, where no other one would: an answer is worth little if
/// nothing comes of it.
///
/// # Errors
/// The API's no.
pub async fn go_on(client: &Client, turn: &str, out: &Out) -> Outcome<Exit> {
    let Some((session, _)) = turn.split_once('.') else { return Ok(Exit::Ok) };
    let standing = client.get(&format!("/api/turns/{turn}")).await?;
    if text(&standing, "wait") == "frozen" {
        tell_wait(&standing, out);
        return Ok(Exit::Waiting);
    }
    if client.is_running() {
        let see = format!("The running process goes on with the turn; see: {} trace {turn}", out.command);
        out.talk(Tone::Dim, &see);
        return Ok(Exit::Ok);
    }
    out.talk(Tone::Dim, "The home is not running, so this command goes on with the turn.");
    let mut talk = Conversation::follow(client, session.to_owned(), Some(turn.to_owned())).await?;
    let standing = follow(client, &mut talk, out).await?;
    Ok(finish(client, &standing, out).await)
}

/// The reply, or what the turn waits for.
pub async fn finish(client: &Client, standing: &Value, out: &Out) -> Exit {
    if text(standing, "state") == "waiting" {
        tell_wait(standing, out);
        return Exit::Waiting;
    }
    let reply = text(standing, "reply");
    if !out.json && !reply.is_empty() {
        out.line(reply);
    }
    tell_end(client, standing, out).await
}
