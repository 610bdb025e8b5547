//! What the command line asks of logins: that the code of one be redeemed and what comes of it kept, and that one be
//! given back.
use axum::Json;
use axum::extract::{Path, State};
use backstay_channels::{Problem, Why};
use backstay_kernel::refusal::Code;
use backstay_kernel::url::Url;
use backstay_mcp::Means;
use backstay_mcp::oauth::{Login, Redemption, secret_of};
use serde_json::{Value, json};

use super::desk::{Desk, no_server};
use crate::{logins, secrets};

/// Whoever reaches the desk is the home's own user.
const BY: &str = "owner";

/// `{name, login}`
pub async fn login(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Json(asked): Json<Redemption>,
) -> Result<Json<Value>, Problem> {
    desk.not_frozen()?;
    // A code is redeemed once: what comes of it is kept, also where whoever asked has left.
    let kept = tokio::spawn(async move { desk.redeem(&name, asked).await }).await;
    kept.unwrap_or_else(|error| Err(Problem::internal(&error))).map(Json)
}

/// `{name, revoked, why}`
pub async fn logout(State(desk): State<Desk>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let given = tokio::spawn(async move { desk.give_back(&name).await }).await;
    given.unwrap_or_else(|error| Err(Problem::internal(&error))).map(Json)
}

impl Desk {
    async fn redeem(&self, name: &str, asked: Redemption) -> Result<Value, Problem> {
        let servers = self.world.servers();
        let at = match servers.server(name).map(|server| &server.means) {
            Some(Means::Url(at)) => at,
            Some(Means::Program { .. }) => {
                let message = format!("`{name}` runs here: nobody logs in at it");
                return Err(Problem::new(Why::Malformed, message, "backstay mcp list"));
            }
            None => return Err(no_server(name)),
        };
        if !Url::read(&asked.url).is_ok_and(|url| url == at.url) {
            let message = format!("the config in force has `{name}` at {}", at.url.text());
            let next = format!("backstay reload && backstay mcp login {name}");
            return Err(Problem::new(Why::Refused(Code::Stale), message, next));
        }
        let failed = |why: String| Problem::new(Why::LoginFailed, why, format!("backstay mcp login {name}"));
        let logins = servers.logins();
        let login = logins.redeem(at, asked).await.map_err(failed)?;
        let _turn = logins.turn(name).await;
        self.keep(name, &login).await?;
        self.end_conversations().await;
        Ok(json!({ "name": name, "login": logins::shown(&login, Some(&login.url), logins.now()) }))
    }

    /// They are somebody else's now.
    async fn end_conversations(&self) {
        let servers = self.world.servers();
        let _ = tokio::task::spawn_blocking(move || servers.end_idle()).await;
    }

    /// The record first: the journal may know of a value that was not kept, never the other way round.
    async fn keep(&self, server: &str, login: &Login) -> Result<(), Problem> {
        let (name, home) = (secret_of(server), self.engine.home());
        let value = logins::sealed(login).map_err(|why| Problem::internal(&why))?;
        let version = self.vault.version_for(&name, &value).map_err(secrets::problem)?;
        logins::watch(&self.vault, server, login);
        let replaces = home.state().secrets.contains_key(&name);
        home.keep_secret(&name, &version, replaces, BY).await?;
        let (vault, at) = (self.vault.clone(), self.engine.now());
        let kept = tokio::task::spawn_blocking(move || vault.put(&name, version, at, value)).await;
        kept.map_err(|error| Problem::internal(&error))?.map_err(secrets::problem)
    }

    /// Gone here first, whatever the authorization server says to it.
    async fn give_back(&self, server: &str) -> Result<Value, Problem> {
        let (name, servers) = (secret_of(server), self.world.servers());
        let logins = servers.logins();
        let _turn = logins.turn(server).await;
        let login = logins.of(server);
        let (is_kept, home) = (self.vault.list().contains_key(&name), self.engine.home());
        let is_recorded = home.state().secrets.contains_key(&name);
        if !is_kept && !is_recorded {
            let message = format!("nobody is logged in at `{server}`");
            return Err(Problem::new(Why::Refused(Code::NoSuchSecret), message, "backstay mcp list"));
        }
        if is_kept {
            let vault = self.vault.clone();
            let removed = tokio::task::spawn_blocking(move || vault.remove(&name)).await;
            removed.map_err(|error| Problem::internal(&error))?.map_err(secrets::problem)?;
        }
        if is_recorded {
            home.remove_secret(&secret_of(server), BY).await?;
        }
        self.end_conversations().await;
        let revoked = match (login, servers.server(server).map(|server| &server.means)) {
            (Some(login), Some(Means::Url(at))) => logins.revoke(at, &login).await,
            (Some(_), Some(Means::Program { .. }) | None) => Err("the config has no such server any more".to_owned()),
            (None, _) => Err("there was no token to be given back".to_owned()),
        };
        Ok(json!({ "name": server, "revoked": revoked.is_ok(), "why": revoked.err() }))
    }
}
