//! What operators do with the home as a whole.
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use backstay_engine::{Command, Epoch};
use backstay_kernel::budget::{Ceiling, Used, windows};
use backstay_kernel::home::HomeRecord;
use backstay_kernel::id::SessionId;
use backstay_kernel::mode::{Scope, WorkMode};
use backstay_kernel::refusal::{Code, Refusal};
use backstay_kernel::rule::AT_HOME;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{LocalOwner, Operator};
use crate::door::Door;
use crate::error::{Problem, Why};
use crate::input::{Asked, Input, Keyed, Nothing};
use crate::limits::{EPOCHS_DEFAULT, EPOCHS_MAX};
use crate::waits::{self, Kind};
use crate::{openai, workspace};

/// What a backup brings along from the home.
const CONFIG: &str = "backstay.toml";
/// As it is: the key that opens it lies elsewhere.
const SEALED: &str = "secrets.sealed";
const WORKSPACE: &str = "workspace";

pub async fn freeze(
    operator: Operator,
    State(door): State<Door>,
    key: Keyed,
    _: Input<Nothing>,
) -> Result<Json<Value>, Problem> {
    set_frozen(&door, true, operator.name(), key).await
}

pub async fn unfreeze(
    operator: Operator,
    State(door): State<Door>,
    key: Keyed,
    _: Input<Nothing>,
) -> Result<Json<Value>, Problem> {
    set_frozen(&door, false, operator.name(), key).await
}

async fn set_frozen(door: &Door, frozen: bool, by: &str, key: Keyed) -> Result<Json<Value>, Problem> {
    let call = if frozen { "freeze" } else { "unfreeze" };
    let key = door.engine.key(by, key.for_call(call, &[]));
    door.engine.freeze(frozen, by, key).await?;
    Ok(Json(json!({ "frozen": frozen })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    mode: WorkMode,
    agent: Option<String>,
    channel: Option<String>,
}

/// The doors that a message can come in by.
const CHANNELS: [&str; 3] = [AT_HOME, "api", openai::CHANNEL];

/// How much an agent, a door or, where neither is named, the whole home does from now on.
pub async fn set_mode(
    operator: Operator,
    State(door): State<Door>,
    key: Keyed,
    Input(wanted): Input<Mode>,
) -> Result<Json<Value>, Problem> {
    let Mode { mode, agent, channel } = wanted;
    let scope = scope_of(agent, channel)?;
    if mode != WorkMode::Normal {
        is_known(&door, &scope)?;
    }
    let named = json!(scope).to_string();
    let key = door.engine.key(operator.name(), key.for_call("mode", &[named.as_bytes(), mode.word().as_bytes()]));
    door.engine.set_mode(scope.clone(), mode, operator.name(), key).await?;
    Ok(Json(json!({ "scope": scope, "mode": mode })))
}

fn scope_of(agent: Option<String>, channel: Option<String>) -> Result<Scope, Problem> {
    match (agent, channel) {
        (None, None) => Ok(Scope::Home),
        (Some(agent), None) => Ok(Scope::Agent(agent)),
        (None, Some(channel)) if !CHANNELS.contains(&channel.as_str()) => {
            let known = CHANNELS.join("`, `");
            Err(Problem::malformed(format!("there is no door `{channel}`; known are `{known}`")))
        }
        (None, Some(channel)) => Ok(Scope::Channel(channel)),
        (Some(_), Some(_)) => Err(Problem::malformed("give `agent` or `channel`, not both")),
    }
}

fn is_known(door: &Door, scope: &Scope) -> Result<(), Problem> {
    match scope {
        Scope::Agent(name) if !door.engine.policy().agents.contains_key(name) => {
            Err(Refusal::new(Code::UnknownAgent, "there is no such agent", "see `backstay config show`").into())
        }
        Scope::Home | Scope::Agent(_) | Scope::Channel(_) => Ok(()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whose {
    agent: Option<String>,
    channel: Option<String>,
    #[serde(default)]
    all: bool,
}

impl Whose {
    /// A body that is empty, or that a mistake left empty, names nothing.
    fn scope(self) -> Result<Scope, Problem> {
        match (self.agent, self.channel, self.all) {
            (None, None, false) => Err(Problem::malformed("say whose work ends: give `agent`, `channel` or `all`")),
            (None, None, true) => Ok(Scope::Home),
            (agent, channel, false) => scope_of(agent, channel),
            (_, _, true) => Err(Problem::malformed("give `agent`, `channel` or `all`, not several")),
        }
    }
}

/// Stops each session of an agent, of a door or of all, in which something goes on or waits.
pub async fn stop(
    operator: Operator,
    State(door): State<Door>,
    Input(whose): Input<Whose>,
) -> Result<Json<Value>, Problem> {
    let scope = whose.scope()?;
    let of = scope.clone();
    let found = door.off_thread(move |door| going_on(door, &of)).await?;
    // An agent that the config has no more may be at work still.
    if found.is_empty() {
        is_known(&door, &scope)?;
    }
    // On a task of its own: a caller that hangs up does not stop it half-way.
    let stopping = tokio::spawn(async move { stop_each(&door, &operator, found).await });
    let stopped = stopping.await.map_err(|error| Problem::internal(&error))??;
    Ok(Json(json!({ "scope": scope, "stopped": stopped })))
}

/// All of them are told, also where one cannot be.
async fn stop_each(door: &Door, operator: &Operator, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, Problem> {
    let (mut stopped, mut failed) = (Vec::new(), None);
    for session in sessions {
        let by = operator.name().to_owned();
        match door.engine.command(operator.caller(), session, Command::Stop { by }, None).await {
            Ok(_) => stopped.push(session),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(stopped),
    }
}

/// What came in by another door than the session was opened by is of that other, as for the modes of work.
fn going_on(door: &Door, scope: &Scope) -> Result<Vec<SessionId>, Problem> {
    let mut found = Vec::new();
    for row in door.sessions_going_on()? {
        let is_of = match scope {
            Scope::Home => true,
            Scope::Agent(name) => row.agent == *name,
            Scope::Channel(name) => {
                let state = door.fold(row.session)?;
                state.turn.as_ref().map_or(&state.channel, |turn| &turn.channel) == name
            }
        };
        if is_of {
            found.push(row.session);
        }
    }
    Ok(found)
}

pub async fn reload(
    operator: Operator,
    State(door): State<Door>,
    key: Keyed,
    _: Input<Nothing>,
) -> Result<Json<Value>, Problem> {
    let key = door.engine.key(operator.name(), key.for_call("reload", &[]));
    // Another process did it: nothing waits for a restart any more.
    if let Some(HomeRecord::Config { epoch, .. }) = door.engine.home().said(key.as_ref())? {
        return Ok(Json(json!({ "epoch": epoch, "changed": true, "needs_restart": [] })));
    }
    let reloaded = door.reload(operator.name(), key).await.map_err(|mistakes| {
        Problem::new(Why::ConfigInvalid, mistakes, "mend backstay.toml; the old config stays in force")
    })?;
    let (epoch, changed, restart) = (reloaded.epoch, reloaded.changed, reloaded.needs_restart);
    Ok(Json(json!({ "epoch": epoch, "changed": changed, "needs_restart": restart })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    before: Option<u64>,
    limit: Option<usize>,
}

/// Which configs were in force, the latest first: since when, by whom, and what each has changed.
pub async fn epochs(_: Operator, State(door): State<Door>, Asked(page): Asked<Before>) -> Result<Json<Value>, Problem> {
    let limit = page.limit.unwrap_or(EPOCHS_DEFAULT).clamp(1, EPOCHS_MAX);
    let found = door.off_thread(move |door| {
        let epochs = door.reader.epochs(page.before.unwrap_or(u64::MAX), limit)?;
        let next = epochs.last().map(|last| last.epoch).filter(|last| *last > 1);
        let item = |epoch: &Epoch| {
            let diff = epoch.diff.as_ref().map(|diff| door.text(diff)).transpose()?.flatten();
            Ok(json!({ "epoch": epoch.epoch, "at": epoch.at, "by": epoch.by, "diff": diff }))
        };
        let items = epochs.iter().map(item).collect::<Result<Vec<_>, Problem>>()?;
        Ok(json!({ "epochs": items, "next": next }))
    });
    Ok(Json(found.await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    to: PathBuf,
    #[serde(default)]
    workspace: bool,
}

pub async fn backup(
    _: LocalOwner,
    State(door): State<Door>,
    Input(wanted): Input<Backup>,
) -> Result<Json<Value>, Problem> {
    if !wanted.to.is_absolute() {
        return Err(Problem::malformed("`to` is an absolute directory"));
    }
    let done = door.off_thread(move |door| {
        const NEXT: &str = "choose an empty directory with room";
        if std::fs::read_dir(&wanted.to).is_ok_and(|mut entries| entries.next().is_some()) {
            let message = format!("{} is not empty; a backup overwrites nothing", wanted.to.display());
            return Err(Problem::new(Why::NotEmpty, message, NEXT));
        }
        // The store would speak of its own files.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&wanted.to).map_err(|error| {
            Problem::new(Why::BackupFailed, format!("{} cannot be made: {error}", wanted.to.display()), NEXT)
        })?;
        let beside = || {
            workspace::copy_file(&door.home.join(CONFIG), &wanted.to.join(CONFIG))?;
            if door.home.join(SEALED).exists() {
                workspace::copy_file(&door.home.join(SEALED), &wanted.to.join(SEALED))?;
            }
            let (from, to) = (door.home.join(WORKSPACE), wanted.to.join(WORKSPACE));
            wanted.workspace.then(|| workspace::copy(&from, &to)).transpose()
        };
        let made = door.engine.store().backup(&wanted.to, beside);
        let (report, files) = made.map_err(|error| Problem::new(Why::BackupFailed, error.to_string(), NEXT))?;
        Ok(json!({
            "to": wanted.to,
            "sessions": report.sessions,
            "entries": report.entries,
            "records": report.records,
            "bodies": report.bodies,
            "workspace_files": files,
        }))
    });
    Ok(Json(done.await?))
}

pub async fn status(_: Operator, State(door): State<Door>) -> Result<Json<Value>, Problem> {
    let live = door.engine.live_sessions();
    let found = door.off_thread(move |door| {
        let store = door.engine.store();
        let stats = store.stats().map_err(|error| Problem::unreadable(&error))?;
        let (home, now) = (door.engine.home().state(), door.engine.now());
        let growth = store.growth(now).map_err(|error| Problem::unreadable(&error))?;
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "epoch": home.epoch,
            "frozen": home.frozen.is_some(),
            "modes": home.modes.iter().map(|(scope, mode)| json!({ "scope": scope, "mode": mode })).collect::<Vec<_>>(),
            "draining": door.engine.is_draining(),
            "sessions": { "live": live, "total": stats.sessions.saturating_sub(1) },
            "waits": waits_counted(door)?,
            "notify": door.told.get(),
            "db_bytes": stats.db_bytes,
            "wal_bytes": stats.wal_bytes,
            "free_bytes": stats.free_bytes,
            "growth_bytes_per_day": growth.map(|growth| growth.bytes_per_day),
            "days_until_full": growth.and_then(|growth| growth.days_until_full),
            "journal": store.writable().err().map_or_else(|| "writable".to_owned(), |error| error.to_string()),
            "commits": stats.commits,
            "entries": stats.entries,
            "now": now,
        }))
    });
    Ok(Json(found.await?))
}

fn waits_counted(door: &Door) -> Result<Value, Problem> {
    let (mut approvals, mut parked, mut questions, mut doubts) = (0, 0, 0, 0);
    for row in door.sessions_with_waits()? {
        for waiting in waits::of_session(&door.fold(row.session)?, door.engine.now()) {
            match waiting.kind {
                Kind::Approval { .. } => approvals += 1,
                Kind::Parked { .. } => parked += 1,
                Kind::Question => questions += 1,
                Kind::Doubt => doubts += 1,
                Kind::Provider { .. } => {}
            }
        }
    }
    Ok(json!({ "approvals": approvals, "parked": parked, "questions": questions, "doubts": doubts }))
}

/// Every window that some agent's call for some principal through some door must fit in.
pub async fn budget(_: Operator, State(door): State<Door>) -> Result<Json<Value>, Problem> {
    let found = door.off_thread(move |door| {
        let (policy, now) = (door.engine.policy(), door.engine.now());
        let mut ceilings: BTreeMap<String, Ceiling> = BTreeMap::new();
        for agent in policy.agents.keys() {
            for principal in policy.principals.keys() {
                for channel in CHANNELS {
                    let all = windows(&policy, agent, principal, channel, now);
                    ceilings.extend(all.into_iter().map(|window| (window.key, window.ceiling)));
                }
            }
        }
        let keys: Vec<String> = ceilings.keys().cloned().collect();
        let used = door.engine.store().ledger(&keys).map_err(|error| Problem::unreadable(&error))?;
        let item = |((window, ceiling), used): ((&String, &Ceiling), Used)| {
            json!({ "window": window, "used": used.sum(), "reserved": used.reserved, "limit": ceiling })
        };
        let items: Vec<Value> = ceilings.iter().zip(used).map(item).collect();
        Ok(json!({ "windows": items }))
    });
    Ok(Json(found.await?))
}
