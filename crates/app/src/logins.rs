//! Logins at servers of tools, kept with the secrets of the home.
use std::sync::Arc;

use backstay_mcp::oauth::{Keeper, Login, Logins, secret_of, server_of};
use backstay_secrets::{ExposeSecret as _, SecretString, Taken, Vault};
use backstay_tools::Network;
use serde_json::{Value, json};

use crate::world::now;

struct Kept(Vault);

/// Those of this home.
#[must_use]
pub fn of(vault: &Vault, network: Network) -> Logins {
    for name in vault.list().keys().filter_map(|name| server_of(name)) {
        if let Some(login) = read(vault, name) {
            watch(vault, name, &login);
        }
    }
    Logins::new(Arc::new(Kept(vault.clone())), network)
}

/// What is looked for in texts from now on.
pub fn watch(vault: &Vault, server: &str, login: &Login) {
    let values: Vec<SecretString> = login.values().map(SecretString::from).collect();
    vault.watch_last(&format!("{}.token", secret_of(server)), &values);
}

/// As it is sealed.
///
/// # Errors
/// It cannot be written.
pub fn sealed(login: &Login) -> Result<SecretString, String> {
    serde_json::to_string(login).map(SecretString::from).map_err(|error| error.to_string())
}

fn read(vault: &Vault, server: &str) -> Option<Login> {
    let value = vault.value(&secret_of(server))?;
    // What is wrong with it may be part of it.
    let read = serde_json::from_str(value.expose_secret());
    read.inspect_err(|_| tracing::error!(server, "its login cannot be read, so there is none")).ok()
}

impl Keeper for Kept {
    fn login(&self, server: &str) -> Option<Login> {
        read(&self.0, server)
    }

    /// Under the version of the login: what a person agreed to is the same.
    fn renew(&self, server: &str, login: &Login) -> Result<(), String> {
        let name = secret_of(server);
        let version = self.0.list().remove(&name).map(|kept| kept.version);
        let version = version.ok_or_else(|| "nobody is logged in any more".to_owned())?;
        let value = sealed(login)?;
        self.0.version_for(&name, &value).map_err(|error| error.to_string())?;
        watch(&self.0, server, login);
        self.0.put(&name, version, now(), value).map_err(|error| error.to_string())
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.0.value(name).map(|value| value.expose_secret().to_owned())
    }

    fn took(&self, name: &str, forms: u64) {
        self.0.took(&Taken::from([(name.to_owned(), forms)]));
    }

    fn now(&self) -> u64 {
        now()
    }
}

/// What may be told of a login: `{issuer, scopes, until, renews, state}`. `state`: `good`, `ended`, or `elsewhere`, where
/// the server's URL is another now.
#[must_use]
pub fn shown(login: &Login, url: Option<&str>, now: u64) -> Value {
    let state = match url {
        Some(url) if url != login.url => "elsewhere",
        Some(_) | None if login.has_ended(now) => "ended",
        Some(_) | None => "good",
    };
    json!({
        "issuer": login.issuer,
        "scopes": login.scopes,
        "until": login.until,
        "renews": login.refresh.is_some(),
        "state": state,
    })
}
