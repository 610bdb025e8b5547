//! What the command line asks of servers: which there are, what one is now, and that it be pinned.
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use backstay_channels::{Door, Problem, Why};
use backstay_engine::Engine;
use backstay_kernel::refusal::Code;
use backstay_kernel::url::Url;
use backstay_mcp::Pin;
use backstay_secrets::Vault;
use backstay_tools::Roots;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{logins, pins};
use crate::config::JOINT;
use crate::world::RealWorld;

pub const SERVERS: &str = "/api/mcp";

#[derive(Clone)]
pub struct Desk {
    pub engine: Engine,
    pub world: Arc<RealWorld>,
    pub vault: Vault,
    door: Door,
}

/// To be merged into a router whose callers are the home's own user.
pub fn router(engine: Engine, world: Arc<RealWorld>, vault: Vault, door: Door) -> Router {
    Router::new()
        .route(SERVERS, get(list))
        .route("/api/mcp/{name}/test", post(test))
        .route("/api/mcp/{name}/pin", post(pin))
        .route("/api/mcp/{name}/login", post(logins::login))
        .route("/api/mcp/{name}/logout", post(logins::logout))
        .with_state(Desk { engine, world, vault, door })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// In whose directories it runs.
    agent: Option<String>,
}

/// `{servers: [{name, command, url, pinned, offered, login}]}`
async fn list(State(desk): State<Desk>) -> Response {
    let (servers, policy) = (desk.world.servers(), desk.engine.policy());
    let server = |server: &backstay_mcp::Server| {
        let prefix = format!("{}{JOINT}", server.name);
        let offered: Vec<&String> = policy.tools.keys().filter(|tool| tool.starts_with(&prefix)).collect();
        let pinned = desk.engine.home().state().pins.contains_key(&server.name);
        let url = server.means.url().map(Url::text);
        let login = servers.logins().of(&server.name);
        let login = login.map(|login| crate::logins::shown(&login, url.as_deref(), servers.logins().now()));
        json!({ "name": server.name, "command": server.means.command(), "url": url, "pinned": pinned, "offered": offered, "login": login })
    };
    Json(json!({ "servers": servers.all().map(server).collect::<Vec<_>>() })).into_response()
}

/// `{pinned, drift, now}`
async fn test(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Json(asked): Json<Asked>,
) -> Result<Response, Problem> {
    let now = desk.describe(&name, asked.agent).await?;
    let before = desk.pinned(&name)?;
    let drift = before.as_ref().and_then(|pin| pin.drift(&now));
    Ok(Json(json!({ "pinned": before.is_some(), "drift": drift, "now": now })).into_response())
}

/// `{drift, now}`: how it differs from what was pinned before.
async fn pin(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Json(asked): Json<Asked>,
) -> Result<Response, Problem> {
    let now = desk.describe(&name, asked.agent).await?;
    let drift = desk.pinned(&name)?.and_then(|pin| pin.drift(&now));
    let text = serde_json::to_string(&now).map_err(|error| Problem::internal(&error))?;
    desk.engine.home().pin(&name, text, "cli").await?;
    desk.door.reload("mcp pin", None).await.map_err(|why| {
        let message = format!("it is pinned, and the config on disk is not in force: {why}");
        Problem::new(Why::ConfigInvalid, message, "backstay config check && backstay reload")
    })?;
    Ok(Json(json!({ "drift": drift, "now": now })).into_response())
}

impl Desk {
    fn pinned(&self, name: &str) -> Result<Option<Pin>, Problem> {
        let read = pins(self.engine.store());
        let mut all: BTreeMap<String, Pin> = read.map_err(|why| Problem::new(Why::Store, why, "backstay doctor"))?;
        Ok(all.remove(name))
    }

    pub fn not_frozen(&self) -> Result<(), Problem> {
        if self.engine.home().switches().frozen {
            let message = "the home is frozen, so nothing is started";
            return Err(Problem::new(Why::Refused(Code::HomeFrozen), message, "backstay unfreeze"));
        }
        Ok(())
    }

    /// Starts the server as an agent's calls would, and looks at it.
    async fn describe(&self, name: &str, agent: Option<String>) -> Result<Pin, Problem> {
        self.not_frozen()?;
        let servers = self.world.servers();
        if servers.server(name).is_none() {
            return Err(no_server(name));
        }
        let agent = agent.or_else(|| self.first_user_of(name)).ok_or_else(|| {
            let message =
                format!("no agent is granted a tool of `{name}`, so nobody knows in whose directories it runs");
            Problem::new(Why::Malformed, message, "name one with --agent")
        })?;
        let roots: Arc<Roots> = self.world.roots_of(&agent).ok_or_else(|| {
            let message = format!("there is no agent `{agent}`");
            Problem::new(Why::NotFound, message, "backstay config show")
        })?;
        let server = name.to_owned();
        let looked = tokio::task::spawn_blocking(move || {
            let hides = |real: &str| roots.hides(real);
            servers.describe(&server, roots.place_of(&server, &hides, &Arc::default()))
        });
        let looked = looked.await.map_err(|error| error.to_string());
        looked
            .and_then(|found| found.map_err(|fault| fault.to_string()))
            .map_err(|why| Problem::new(Why::ServerFailed, why, "mend the server, or its command in the config"))
    }

    fn first_user_of(&self, server: &str) -> Option<String> {
        let prefix = format!("{server}{JOINT}");
        let policy = self.engine.policy();
        let uses = |tools: &[String]| tools.iter().any(|tool| tool.starts_with(&prefix));
        policy.agents.iter().find(|(_, agent)| uses(&agent.grants.tools)).map(|(name, _)| name.clone())
    }
}

pub fn no_server(name: &str) -> Problem {
    Problem::new(Why::NotFound, format!("there is no server `{name}`"), "backstay mcp list")
}

/// A tool as `mcp test` shows it: what it takes, and nothing that it says of its own harmlessness.
pub fn arguments(tool: &Value) -> String {
    let properties = tool.pointer("/schema/properties").and_then(Value::as_object);
    properties.map(|known| known.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default()
}
