//! Secrets at the desk: names for whoever looks, values inwards only, and every change in the journal
//! before it is made.
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use backstay_channels::{Problem, Why};
use backstay_engine::Engine;
use backstay_secrets::{SecretError, SecretString, Vault};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::secrets;

pub const SECRETS: &str = "/api/secrets";
const REMOVE: &str = "/api/secrets/{name}/remove";

/// Whoever reaches the desk is the home's own user.
const BY: &str = "owner";

struct Desk {
    engine: Engine,
    vault: Vault,
    /// From the record to the file: two changes of one name must not change places between them.
    changing: Mutex<()>,
}

pub fn router(engine: Engine, vault: Vault) -> Router {
    let desk = Arc::new(Desk { engine, vault, changing: Mutex::default() });
    Router::new().route(SECRETS, get(list).post(keep)).route(REMOVE, post(remove)).with_state(desk)
}

/// `{key, secrets: [{name, version, at, state, agents}]}`. `state`: `kept`; `missing` where the journal
/// knows of a value that the store has not, or has another of; `unrecorded` the other way round.
async fn list(State(desk): State<Arc<Desk>>) -> Json<Value> {
    let (recorded, kept, policy) = (desk.engine.home().state().secrets, desk.vault.list(), desk.engine.policy());
    let mut names: Vec<&String> = recorded.keys().chain(kept.keys()).collect();
    names.sort();
    names.dedup();
    let item = |name: &&String| {
        let (record, value) = (recorded.get(*name), kept.get(*name));
        let state = match (record, value) {
            (Some(record), Some(value)) if *record == value.version => "kept",
            (Some(_), _) => "missing",
            (None, _) => "unrecorded",
        };
        let has = |secrets: &[String]| secrets.iter().any(|granted| granted == *name);
        let agents = policy.agents.iter().filter(|(_, agent)| has(&agent.grants.secrets)).map(|(agent, _)| agent);
        json!({
            "name": name,
            "version": record.or(value.map(|value| &value.version)),
            "at": value.map(|value| value.at),
            "state": state,
            "agents": agents.collect::<Vec<_>>(),
        })
    };
    let key = desk.vault.key_source().map(ToString::to_string);
    Json(json!({ "key": key, "secrets": names.iter().map(item).collect::<Vec<_>>() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    value: String,
    /// Whether the name is there already.
    replaces: bool,
}

async fn keep(
    State(desk): State<Arc<Desk>>,
    Json(New { name, value, replaces }): Json<New>,
) -> Result<Response, Problem> {
    if !crate::config::is_name(&name) {
        let message = "a secret's name has a-z, 0-9, `_` and `-`, and 64 characters at most";
        return Err(Problem::new(Why::Secrets, message, "backstay secrets set crm-token"));
    }
    let value = SecretString::from(value);
    let version = desk.vault.version_for(&name, &value).map_err(secrets::problem)?;
    let _changing = desk.changing.lock().await;
    desk.engine.home().keep_secret(&name, &version, replaces, BY).await?;
    let (at, answer) = (desk.engine.now(), json!({ "name": name, "version": version }));
    off_thread(&desk, move |vault| vault.put(&name, version, at, value)).await?;
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

async fn remove(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let _changing = desk.changing.lock().await;
    let is_recorded = desk.engine.home().state().secrets.contains_key(&name);
    let is_kept = desk.vault.list().contains_key(&name);
    if is_kept {
        let name = name.clone();
        off_thread(&desk, move |vault| vault.remove(&name)).await?;
    }
    if is_recorded || !is_kept {
        desk.engine.home().remove_secret(&name, BY).await?;
    }
    Ok(Json(json!({ "name": name, "removed": true })))
}

async fn off_thread(
    desk: &Desk,
    work: impl FnOnce(&Vault) -> Result<(), SecretError> + Send + 'static,
) -> Result<(), Problem> {
    let vault = desk.vault.clone();
    let done = tokio::task::spawn_blocking(move || work(&vault)).await;
    done.map_err(|error| Problem::internal(&error))?.map_err(secrets::problem)
}
