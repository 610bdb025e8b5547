//! Servers of tools in this home: what was pinned of each, and which of their tools that puts in force.
use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_engine::Engine;
use backstay_mcp::oauth::Logins;
use backstay_mcp::{Pin, Server, Servers};
use backstay_sandbox::Sandbox;
use backstay_store::Store;
use backstay_tools::{Declared, Schema};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use crate::config::{Checked, JOINT, McpServer};
use crate::world::RealWorld;

pub mod desk;
mod logins;

/// What was pinned, by server. A pin that cannot be read is none.
///
/// # Errors
/// The journal cannot be read.
pub fn pins(store: &Store) -> Result<BTreeMap<String, Pin>, String> {
    let read = |(server, text): (String, Vec<u8>)| match serde_json::from_slice(&text) {
        Ok(pin) => Some((server, pin)),
        Err(error) => {
            tracing::error!(server, %error, "its pin cannot be read, so it is not pinned");
            None
        }
    };
    Ok(backstay_engine::pins(store)?.into_iter().filter_map(read).collect())
}

/// Puts the tools of pinned servers in force, and takes those of all others out of the policy.
pub fn complete(config: &mut Checked, pins: &BTreeMap<String, Pin>) {
    let mut declared = Vec::new();
    for (server, written) in &config.mcp {
        for tool in written.tools.keys() {
            let name = format!("{server}{JOINT}{tool}");
            config.policy.tools.remove(&name);
            match offered(server, tool, written, pins.get(server)) {
                Ok(tool) => {
                    config.policy.tools.insert(name, tool.manifest().clone());
                    declared.push(Arc::new(tool));
                }
                Err(why) => tracing::warn!(tool = name, why, "a tool is not offered"),
            }
        }
    }
    if !config.mcp.is_empty() {
        config.policy = std::mem::take(&mut config.policy).sealed();
        config.declared.extend(declared);
    }
}

/// The tool as it was pinned.
///
/// # Errors
/// Why no agent is offered it, in words.
pub fn offered(server: &str, tool: &str, written: &McpServer, pin: Option<&Pin>) -> Result<Declared, String> {
    let pin = pin.ok_or_else(|| format!("its server is not pinned: backstay mcp pin {server}"))?;
    let known = pin.tools.get(tool).ok_or_else(|| "its server has no such tool".to_owned())?;
    let terms = written.tools.get(tool).ok_or_else(|| "no agent is granted it".to_owned())?;
    let schema = Schema::read(&known.schema.to_string()).map_err(|why| format!("its schema cannot be used: {why}"))?;
    let is_argument = |name: &&String| schema.properties().iter().any(|known| known.name == **name);
    if let Some(name) = terms.roles.keys().find(|name| !is_argument(name)) {
        return Err(format!("the config gives a role to `{name}`, which is no argument of it"));
    }
    let name = format!("{server}{JOINT}{tool}");
    let pinned = serde_json::to_vec(pin).unwrap_or_default();
    Ok(Declared::of_server(
        &name,
        (server, tool, written.means.url()),
        &known.description,
        terms.clone(),
        schema,
        &pinned,
    ))
}

/// A server that is other than it was pinned, how, and whom to tell that it is let in no longer.
pub type Drift = (String, String, oneshot::Sender<()>);
pub type Drifts = UnboundedSender<Drift>;

/// All of them, ready to be started.
pub fn servers(
    config: &Checked,
    pins: &BTreeMap<String, Pin>,
    sandbox: &Arc<Sandbox>,
    logins: Logins,
    drifts: Drifts,
) -> Arc<Servers> {
    let on_drift = move |server: &str, why: &str| {
        let (told, done) = oneshot::channel();
        if drifts.send((server.to_owned(), why.to_owned(), told)).is_ok() {
            let _ = done.blocking_recv();
        }
    };
    let server = |(name, written): (&String, &McpServer)| Server {
        name: name.clone(),
        means: written.means.clone(),
        pin: pins.get(name).cloned(),
    };
    let all = config.mcp.iter().map(server).collect();
    Arc::new(Servers::new(Handle::current(), Arc::clone(sandbox), all, logins, Box::new(on_drift)))
}

/// Takes the tools of servers away that are other than they were pinned, and ends all servers that nobody waits for
/// while the home is frozen.
pub async fn tend(engine: Engine, world: Arc<RealWorld>, mut drifted: UnboundedReceiver<Drift>) {
    let mut changes = engine.home().changes();
    loop {
        tokio::select! {
            drift = drifted.recv() => {
                let Some((server, why, told)) = drift else { return };
                tracing::error!(server, why, "a server is not what was pinned; its tools are taken away");
                if let Err(error) = engine.unpin(&server, why).await {
                    tracing::error!(server, %error, "that cannot be recorded; a restart would let it in again");
                }
                let _ = told.send(());
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                if engine.home().switches().frozen {
                    let servers = world.servers();
                    tokio::task::spawn_blocking(move || servers.end_idle());
                }
            }
        }
    }
}
