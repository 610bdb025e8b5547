//! Directories that agents work in, and the labels that sessions have given them.
use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Operator, Owner};
use crate::door::Door;
use crate::error::Problem;
use crate::input::{Input, Keyed};

pub async fn list(_: Operator, State(door): State<Door>) -> Json<Value> {
    let (policy, raised) = (door.engine.policy(), door.engine.home().state().roots);
    let grants = policy.agents.values().map(|agent| &agent.grants);
    let granted = grants.flat_map(|grants| grants.read.iter().chain(&grants.write)).map(String::as_str);
    let all: BTreeSet<&str> = granted.chain(raised.iter().map(|(root, _)| root)).collect();
    let item = |root: &&str| json!({ "root": root, "label": raised.label(root), "raised": raised.get(root).is_some() });
    Json(json!({ "roots": all.iter().map(item).collect::<Vec<_>>() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    root: String,
}

pub async fn reset(
    owner: Owner,
    State(door): State<Door>,
    key: Keyed,
    Input(Reset { root }): Input<Reset>,
) -> Result<Json<Value>, Problem> {
    let key = door.engine.key(owner.name(), key.for_call("reset root", &[root.as_bytes()]));
    door.engine.home().reset_root(&root, owner.name(), owner.speaks(), key).await?;
    Ok(Json(json!({ "root": root, "reset": true })))
}
