//! Opens a home and keeps its doors open: wiring, signals, reload, a clean end.
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backstay_channels::{Auth, Door, Reloaded};
use backstay_engine::{Engine, EngineError, Limits, World};
use backstay_kernel::policy::Policy;
use backstay_kernel::rule::{Field, Rule, RuleVerdict};
use backstay_providers::{Client, Endpoint, Secret, Timeouts};
use backstay_store::{Options, Store, StoreError};
use backstay_tools::Roots;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{self, Checked, Mistakes, WORKSPACE};
use crate::world::{RealWorld, Setup};

/// The socket through which the command line speaks to the running process.
pub const SOCKET: &str = "backstay.sock";

/// What runs gets this long to end after SIGTERM; what has not ended by then goes on after the
/// next start.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Config(#[from] Mistakes),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Setup(String),
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
}

impl OpenError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

/// An open home.
pub struct Opened {
    pub engine: Engine,
    world: Arc<RealWorld>,
    config: Checked,
    home: PathBuf,
}

/// Checks the config, takes the home's lock, and starts its engine.
///
/// # Errors
/// Every mistake of the config; why the journal cannot be opened.
pub async fn open(home: &Path) -> Result<Opened, OpenError> {
    let config = config::load(home, backstay_tools::manifests())?;
    config.prepare().map_err(OpenError::io("making a granted directory"))?;
    let store = Store::open(home, Options::default())?;
    let client = Client::new().map_err(|error| OpenError::Setup(error.to_string()))?;
    let world = Arc::new(RealWorld::new(client, store.clone(), setup(home, &config)?));
    let shared: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
    let limits = Limits { messages_per_minute: config.limits.messages_per_minute };
    let engine = Engine::start(store, shared, config.policy.clone(), &config.text, limits).await?;
    Ok(Opened { engine, world, config, home: home.to_owned() })
}

/// What the config says of the world: endpoints with their keys, directories as descriptors.
fn setup(home: &Path, config: &Checked) -> Result<Setup, OpenError> {
    Ok(Setup { endpoints: endpoints(config)?, roots: roots(home, &config.policy)? })
}

fn endpoints(config: &Checked) -> Result<BTreeMap<String, Endpoint>, OpenError> {
    let mut endpoints = BTreeMap::new();
    for (name, model) in &config.policy.models {
        let Some(provider) = config.providers.get(&model.provider) else { continue };
        let key = match &provider.api_key_env {
            Some(variable) => Some(std::env::var(variable).map_err(|_| {
                OpenError::Setup(format!(
                    "providers.{}: the environment has no `{variable}`; export it and start again",
                    model.provider
                ))
            })?),
            None => None,
        };
        let key = key.as_deref().map(Secret::new);
        let endpoint = Endpoint::new(provider.kind, provider.base_url.as_deref(), key, Timeouts::default());
        let endpoint = endpoint.map_err(|error| OpenError::Setup(format!("providers.{}: {error}", model.provider)))?;
        endpoints.insert(name.clone(), endpoint);
    }
    Ok(endpoints)
}

fn roots(home: &Path, policy: &Policy) -> Result<BTreeMap<String, Arc<Roots>>, OpenError> {
    let workspace = home.join(WORKSPACE);
    let mut roots = BTreeMap::new();
    for (name, agent) in &policy.agents {
        let paths = |granted: &[String]| granted.iter().map(PathBuf::from).collect::<Vec<_>>();
        let opened = Roots::open(&workspace, &paths(&agent.grants.read), &paths(&agent.grants.write));
        let opened = opened.map_err(|error| OpenError::Setup(format!("agents.{name}: {error}")))?;
        roots.insert(name.clone(), Arc::new(opened.hiding(protected(&agent.rules))));
    }
    Ok(roots)
}

/// Paths that a rule denies or asks about: a search that starts above them must not read them,
/// since it was judged by where it starts. The rule's other conditions are not looked at: rather
/// too much is hidden than too little.
fn protected(rules: &[Rule]) -> Vec<backstay_kernel::rule::Test> {
    let strict = rules.iter().filter(|rule| rule.verdict != RuleVerdict::Allow);
    strict.filter_map(|rule| rule.when.get(&Field::Path).cloned()).collect()
}

impl Opened {
    /// The doors of this home; the same for every listener.
    pub fn door(&self) -> Door {
        let reload = {
            let (engine, world, home) = (self.engine.clone(), Arc::clone(&self.world), self.home.clone());
            Arc::new(move |by: String| {
                let (engine, world, home) = (engine.clone(), Arc::clone(&world), home.clone());
                Box::pin(async move { reload(&engine, &world, &home, &by).await }) as backstay_channels::Reloading
            })
        };
        Door::new(self.engine.clone(), self.home.clone(), reload)
    }

    /// Ends cleanly: what runs gets time, the log is emptied, the lock goes.
    pub async fn close(self) {
        self.engine.drain(DRAIN).await;
        if let Err(error) = self.engine.store().close() {
            tracing::error!(%error, "the journal did not close cleanly; the next start reads its log");
        }
    }
}

/// Puts the config on disk in force, or leaves the old one and says why.
async fn reload(engine: &Engine, world: &RealWorld, home: &Path, by: &str) -> Result<Reloaded, String> {
    let checked = config::load(home, backstay_tools::manifests()).map_err(|mistakes| mistakes.to_string())?;
    checked.prepare().map_err(|error| error.to_string())?;
    let setup = setup(home, &checked).map_err(|error| error.to_string())?;
    let limits = Limits { messages_per_minute: checked.limits.messages_per_minute };
    let before = engine.policy().epoch;
    let epoch = engine.reload(checked.policy, &checked.text, by, limits).await.map_err(|error| error.to_string())?;
    world.replace(setup);
    Ok(Reloaded { epoch, changed: epoch != before })
}

/// Serves until it is told to stop.
///
/// # Errors
/// What keeps the home from being opened or its doors from listening.
pub async fn run(home: &Path, ready: impl FnOnce(std::net::SocketAddr)) -> Result<(), OpenError> {
    let opened = open(home).await?;
    let door = opened.door();
    let server = opened.config.server.clone();
    let tcp =
        TcpListener::bind(server.listen).await.map_err(OpenError::io(format!("listening on {}", server.listen)))?;
    let address = tcp.local_addr().map_err(OpenError::io("the listener's address"))?;
    let local = listen_local(home)?;
    let tls = server.tls.as_ref().map(|tls| backstay_channels::tls(&tls.cert, &tls.key)).transpose();
    let tls = tls.map_err(|error| OpenError::Setup(format!("server.tls: {error}")))?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let bearer = Auth::Bearer { listen: address, trusted_proxies: server.trusted_proxies.clone().into() };
    let doors = tokio::spawn(backstay_channels::serve_tcp(
        tcp,
        tls,
        backstay_channels::router(door.clone(), bearer),
        stopped.clone(),
    ));
    let desk = tokio::spawn(backstay_channels::serve_local(
        local,
        backstay_channels::router(door.clone(), Auth::Local).merge(crate::desk::router(opened.engine.clone())),
        stopped,
    ));
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    ready(address);
    wait_for_end(&door).await?;
    tracing::info!("stopping: what runs gets time to end");
    opened.engine.drain(DRAIN).await;
    let _ = stop.send(true);
    let _ = tokio::time::timeout(DRAIN, async { tokio::join!(doors, desk) }).await;
    let _ = std::fs::remove_file(home.join(SOCKET));
    opened.close().await;
    Ok(())
}

/// Only the owner of the home may connect; a file left by a killed process is replaced, since this
/// process holds the lock.
fn listen_local(home: &Path) -> Result<UnixListener, OpenError> {
    let path = home.join(SOCKET);
    let _ = std::fs::remove_file(&path);
    let what = format!("listening on {}", path.display());
    let local = UnixListener::bind(&path).map_err(OpenError::io(what.clone()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(OpenError::io(what))?;
    Ok(local)
}

/// SIGTERM and SIGINT end; SIGHUP reloads.
async fn wait_for_end(door: &Door) -> Result<(), OpenError> {
    let on = |kind| signal(kind).map_err(OpenError::io("waiting for signals"));
    let (mut terminate, mut interrupt, mut hangup) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => match door.reload("SIGHUP").await {
                Ok(reloaded) => tracing::info!(epoch = reloaded.epoch, changed = reloaded.changed, "reloaded"),
                Err(why) => tracing::error!(why, "the config was not reloaded; the old one stays in force"),
            },
        }
    }
}
