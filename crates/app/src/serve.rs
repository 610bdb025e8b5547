//! Opens a home and keeps its doors open: wiring, signals, reload, a clean end.
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use backstay_channels::{Auth, Door, Listening, Reloaded, ServerConfig};
use backstay_engine::{Engine, EngineError, Key, Limits, World};
use backstay_kernel::policy::Agent;
use backstay_kernel::rule::{Field, Rule, RuleVerdict};
use backstay_mcp::oauth::Logins;
use backstay_mcp::{Pin, Servers};
use backstay_providers::{Client, Endpoint, Timeouts};
use backstay_sandbox::{Sandbox, Tier};
use backstay_secrets::{Binding, Credentials, Vault};
use backstay_store::{Options, Store};
use backstay_tools::{Commands, Declared, Hosts, Network, Roots, RootsError, Serving};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::audit::Keeper;
use crate::config::{self, AuditConfig, Checked, NotifyConfig, Server, WORKSPACE};
use crate::log;
use crate::notify::{Address, Teller};
use crate::opening::{Keys, OpenError};
use crate::secrets;
use crate::world::{RealWorld, Setup};
use crate::{heap, logins, servers};

/// The socket through which the command line speaks to the running process.
pub const SOCKET: &str = "backstay.sock";

/// Where the sandbox is tried; there for as long as that takes.
const SCRATCH: &str = "sandbox.test";

/// What runs gets this long to end after SIGTERM, and connections with their reads as long again; what
/// has not ended by then goes on after the next start.
const DRAIN: Duration = Duration::from_secs(10);

/// Files that a serving process wants to hold open: both listeners' connections, and as many again
/// for model calls, tools and the journal.
const DESCRIPTORS: u64 = 4096;

/// An open home.
pub struct Opened {
    pub engine: Engine,
    world: Arc<RealWorld>,
    config: Checked,
    keys: Keys,
    drifts: servers::Drifts,
    logins: Logins,
    home: PathBuf,
    vault: Vault,
    audit: Option<Arc<Keeper>>,
    notify: Option<Address>,
}

/// Checks the config, takes the home's lock, and starts its engine.
///
/// # Errors
/// Every mistake of the config; why the journal cannot be opened.
pub async fn open(home: &Path, keys: Keys) -> Result<Opened, OpenError> {
    let mut config = config::load(home, backstay_tools::manifests())?;
    config.prepare().map_err(OpenError::io("making a granted directory"))?;
    // Before the journal's threads begin: variables are wiped while nobody else reads them.
    let vault = secrets::open(home, &config, keys)?;
    log::guard(&vault);
    let endpoints = endpoints(&config, &vault, keys)?;
    let client = Client::new().map_err(|error| OpenError::Setup(error.to_string()))?;
    let notify = Address::new(&config, &vault, keys, &client)?;
    let store = Store::open(home, Options::default())?;
    let pins = servers::pins(&store).map_err(EngineError::Unreadable)?;
    servers::complete(&mut config, &pins);
    let (drifts, drifted) = tokio::sync::mpsc::unbounded_channel();
    let collector = client.clone();
    let logins = logins::of(&vault, network(&config)?);
    let setup = setup(home, &config, &vault, endpoints, &pins, (&drifts, &logins))?;
    let world = Arc::new(RealWorld::new(client, store.clone(), vault.clone(), setup));
    let shared: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
    let limits = Limits { messages_per_minute: config.limits.messages_per_minute };
    let engine = Engine::start(store, shared, config.policy.clone(), &config.text, limits).await?;
    tokio::spawn(servers::tend(engine.clone(), Arc::clone(&world), drifted));
    let audit = Keeper::new(home, &config, engine.clone(), collector, &vault)?;
    Ok(Opened { engine, world, config, keys, drifts, logins, home: home.to_owned(), vault, audit, notify })
}

/// What the config says of the world: endpoints with their keys, directories as descriptors.
fn setup(
    home: &Path,
    config: &Checked,
    vault: &Vault,
    endpoints: BTreeMap<String, Endpoint>,
    pins: &BTreeMap<String, Pin>,
    (drifts, logins): (&servers::Drifts, &Logins),
) -> Result<Setup, OpenError> {
    let sandbox = Arc::new(sandbox(home.join(SCRATCH), config));
    let network = network(config)?;
    let servers = servers::servers(config, pins, &sandbox, logins.by(network.clone()), drifts.clone());
    let around = Around { sandbox: Arc::clone(&sandbox), network, secrets: Some((vault, &config.bindings)) };
    let roots = roots(home, config, &around, &servers)?;
    let is_used = !config.mcp.is_empty() || roots.values().any(|roots| roots.commands().is_some());
    let key_secrets = secrets::keys_by_model(config);
    Ok(Setup { endpoints, key_secrets, roots, sandbox: is_used.then_some(sandbox), servers })
}

fn endpoints(config: &Checked, vault: &Vault, keys: Keys) -> Result<BTreeMap<String, Endpoint>, OpenError> {
    let mut endpoints = BTreeMap::new();
    for (name, model) in &config.policy.models {
        let Some(provider) = config.providers.get(&model.provider) else { continue };
        let key = match (secrets::provider_key(&model.provider, provider, Some(vault)), keys) {
            (Ok(key), _) => key,
            (Err(_), Keys::IfThere) => None,
            (Err(missing), Keys::Needed | Keys::Served) => return Err(OpenError::Setup(missing)),
        };
        let endpoint = Endpoint::new(provider.kind, provider.base_url.as_deref(), key, Timeouts::default());
        let endpoint = endpoint.map_err(|error| OpenError::Setup(format!("providers.{}: {error}", model.provider)))?;
        endpoints.insert(name.clone(), endpoint);
    }
    Ok(endpoints)
}

fn sandbox(scratch: PathBuf, config: &Checked) -> Sandbox {
    Sandbox::new(scratch, config.sandbox).with_tool_dirs(config.tool_dirs.clone()).with_caches(config.caches.clone())
}

/// The way out for tools. Where this process listens none of them goes.
///
/// # Errors
/// The certificates that the config names cannot be read.
pub fn network(config: &Checked) -> Result<Network, OpenError> {
    let named = |path: &PathBuf, why: &dyn std::fmt::Display| {
        OpenError::Setup(format!("network.ca: {}: {why}", path.display()))
    };
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| named(path, &error));
    let authorities = config.authorities.as_ref().map(read).transpose()?;
    let network = Network::new(authorities.as_deref(), vec![config.server.listen]);
    network.map_err(|error| {
        config.authorities.as_ref().map_or_else(|| OpenError::Setup(error.to_string()), |path| named(path, &error))
    })
}

/// What the tools of every agent share.
struct Around<'a> {
    sandbox: Arc<Sandbox>,
    network: Network,
    /// Absent for whoever only looks.
    secrets: Option<(&'a Vault, &'a BTreeMap<String, Binding>)>,
}

fn roots(
    home: &Path,
    config: &Checked,
    around: &Around<'_>,
    servers: &Arc<Servers>,
) -> Result<BTreeMap<String, Arc<Roots>>, OpenError> {
    let of = |(name, agent): (&String, &Agent)| {
        let opened = roots_of(home, config, agent, around);
        let opened = opened.map_err(|error| OpenError::Setup(format!("agents.{name}: {error}")))?;
        let serving = Serving { servers: Arc::clone(servers), agent: name.clone() };
        Ok((name.clone(), Arc::new(opened.serving_by(serving))))
    };
    config.policy.agents.iter().map(of).collect()
}

/// The same for somebody who only wants to know what a call would be, beside whoever serves the home.
///
/// # Errors
/// A granted directory cannot be opened.
pub fn roots_to_look(home: &Path, config: &Checked, agent: &Agent) -> Result<Roots, RootsError> {
    let scratch = home.join(format!("{SCRATCH}.{}", std::process::id()));
    let sandbox = Arc::new(sandbox(scratch, config));
    roots_of(home, config, agent, &Around { sandbox, network: Network::default(), secrets: None })
}

/// What the tools of one agent may open, and run.
///
/// # Errors
/// A granted directory cannot be opened.
fn roots_of(home: &Path, config: &Checked, agent: &Agent, around: &Around<'_>) -> Result<Roots, RootsError> {
    let paths = |granted: &[String]| granted.iter().map(PathBuf::from).collect::<Vec<_>>();
    let opened = Roots::open(&home.join(WORKSPACE), &paths(&agent.grants.read), &paths(&agent.grants.write))?;
    for path in opened.void() {
        tracing::error!(path = %path.display(), "a grant is void: a file or a link lies where the directory was");
    }
    let opened = opened.guarding(home)?.hiding(protected(&agent.rules));
    let opened = opened.reaching(Hosts {
        network: around.network.clone(),
        granted: agent.grants.hosts.clone(),
        repositories: agent.grants.git.clone(),
        credentials: around
            .secrets
            .map(|(vault, bindings)| Credentials::new(vault.clone(), bindings, &agent.grants.secrets)),
    });
    let programs = agent.grants.programs.clone();
    let is_granted = |tool: &&Arc<Declared>| agent.grants.tools.contains(&tool.manifest().name);
    let declared: Vec<_> = config.declared.iter().filter(is_granted).map(Arc::clone).collect();
    let is_program = |tool: &String| config.policy.tools.get(tool).is_some_and(|manifest| manifest.program.is_some());
    if programs.is_empty() && declared.is_empty() && !agent.grants.tools.iter().any(is_program) {
        return Ok(opened);
    }
    Ok(opened.declaring(declared).commanding(Commands { sandbox: Arc::clone(&around.sandbox), programs }))
}

/// Paths that a rule denies or asks about: a search that starts above them must not read them,
/// since it was judged by where it starts. The rule's other conditions are not looked at: rather
/// too much is hidden than too little.
fn protected(rules: &[Rule]) -> Vec<backstay_kernel::rule::Test> {
    let strict = rules.iter().filter(|rule| rule.verdict != RuleVerdict::Allow);
    strict.filter_map(|rule| rule.when.get(&Field::Path).cloned()).collect()
}

impl Opened {
    /// The doors of this home; the same for every listener. A reload reads `certificate` again too.
    pub fn door(&self, certificate: Option<Certificate>) -> Door {
        let reload = Arc::new(Reload {
            engine: self.engine.clone(),
            world: Arc::clone(&self.world),
            vault: self.vault.clone(),
            home: self.home.clone(),
            bound: Bound::of(&self.config),
            keys: self.keys,
            drifts: self.drifts.clone(),
            logins: self.logins.clone(),
            certificate,
            reading: tokio::sync::Mutex::new(()),
        });
        let reload: backstay_channels::Reload = Arc::new(move |by: String, key| {
            let reload = Arc::clone(&reload);
            Box::pin(async move { reload.run(&by, key).await })
        });
        let connections = self.config.limits.connections_per_principal;
        let door = Door::new(self.engine.clone(), self.home.clone(), connections, reload);
        door.protecting(backstay_sandbox::is_protected)
    }

    /// What only the command line is told.
    pub fn desk(&self, door: &Door) -> Router {
        let public = self.audit.as_ref().map(|audit| audit.public());
        let audit = crate::desk::audit::router(self.engine.clone(), public);
        let secrets = crate::desk::secrets::router(self.engine.clone(), self.vault.clone());
        let (engine, world) = (self.engine.clone(), Arc::clone(&self.world));
        let servers = servers::desk::router(engine, world, self.vault.clone(), door.clone());
        crate::desk::router(self.engine.clone(), Arc::clone(&self.world))
            .merge(secrets)
            .merge(audit)
            .merge(servers)
            .merge(crate::desk::call::router(self.engine.clone()))
    }

    /// Ends cleanly: what runs gets time, the log is emptied, the lock goes.
    pub async fn close(self) {
        self.engine.drain(DRAIN).await;
        self.close_journal();
    }

    /// The same for a home that was served. What did not end in its time is not given a second one:
    /// whoever stops the process kills it after a while.
    async fn leave(self, doors: impl Future, reads: impl Future) {
        self.engine.drain(DRAIN).await;
        let until = Instant::now() + DRAIN;
        let _ = timeout_at(until, doors).await;
        let _ = std::fs::remove_file(self.home.join(SOCKET));
        let _ = timeout_at(until, reads).await;
        if let Some(audit) = &self.audit
            && let Ok(Err(why)) = timeout_at(until, audit.checkpoint()).await
        {
            tracing::warn!(why, "the last checkpoint is handed over after the next start");
        }
        self.close_journal();
    }

    fn close_journal(&self) {
        if let Err(error) = self.engine.store().close() {
            tracing::error!(%error, "the journal did not close cleanly; the next start reads its log");
        }
    }
}

/// The certificate that the listener shows, with its key.
pub type Certificate = watch::Sender<Arc<ServerConfig>>;

/// Puts the config on disk in force while the process runs.
struct Reload {
    engine: Engine,
    world: Arc<RealWorld>,
    vault: Vault,
    home: PathBuf,
    bound: Bound,
    keys: Keys,
    drifts: servers::Drifts,
    logins: Logins,
    certificate: Option<Certificate>,
    /// One at a time, so that policy and world are of the same file.
    reading: tokio::sync::Mutex<()>,
}

impl Reload {
    /// All of it, or the old one stays and the reason is told.
    async fn run(&self, by: &str, key: Option<Key>) -> Result<Reloaded, String> {
        let _reading = self.reading.lock().await;
        let mut checked =
            config::load(&self.home, backstay_tools::manifests()).map_err(|mistakes| mistakes.to_string())?;
        checked.prepare().map_err(|error| error.to_string())?;
        let pins = servers::pins(self.engine.store())?;
        servers::complete(&mut checked, &pins);
        let endpoints = endpoints(&checked, &self.vault, self.keys).map_err(|error| error.to_string())?;
        let setup = setup(&self.home, &checked, &self.vault, endpoints, &pins, (&self.drifts, &self.logins))
            .map_err(|error| error.to_string())?;
        let tls = tls(&checked.server).map_err(|error| error.to_string())?;
        let limits = Limits { messages_per_minute: checked.limits.messages_per_minute };
        let needs_restart = self.bound.needs_restart(&checked);
        let before = self.engine.policy().epoch;
        let epoch = self.engine.reload(checked.policy, &checked.text, by, key, limits).await;
        let epoch = epoch.map_err(|error| error.to_string())?;
        self.world.replace(setup);
        if let (Some(certificate), Some(tls)) = (&self.certificate, tls) {
            certificate.send_replace(tls);
        }
        Ok(Reloaded {
            epoch,
            changed: epoch != before,
            needs_restart,
            connections_per_principal: checked.limits.connections_per_principal,
        })
    }
}

/// What is read once.
#[derive(Clone)]
struct Bound {
    server: Server,
    secrets_key: Option<PathBuf>,
    audit: Option<AuditConfig>,
    notify: Option<NotifyConfig>,
}

impl Bound {
    fn of(config: &Checked) -> Self {
        let (server, secrets_key) = (config.server.clone(), config.secrets_key.clone());
        Self { server, secrets_key, audit: config.audit.clone(), notify: config.notify.clone() }
    }

    /// Keys that have another value now.
    fn needs_restart(&self, now: &Checked) -> Vec<&'static str> {
        let keys = [
            ("server.listen", self.server.listen != now.server.listen),
            ("server.tls", self.server.tls.is_some() != now.server.tls.is_some()),
            ("server.trusted_proxies", self.server.trusted_proxies != now.server.trusted_proxies),
            ("home.secrets_key", self.secrets_key != now.secrets_key),
            ("audit", self.audit != now.audit),
            ("notify", self.notify != now.notify),
        ];
        keys.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }
}

fn tls(server: &Server) -> Result<Option<Arc<ServerConfig>>, OpenError> {
    let read = server.tls.as_ref().map(|tls| backstay_channels::tls(&tls.cert, &tls.key)).transpose();
    read.map_err(|error| OpenError::Setup(format!("server.tls: {error}")))
}

/// Serves until it is told to stop.
///
/// # Errors
/// What keeps the home from being opened or its doors from listening.
pub async fn run(home: &Path, ready: impl FnOnce(std::net::SocketAddr)) -> Result<(), OpenError> {
    allow_descriptors();
    // Before anybody could be told that this process listens: a signal that comes early would kill it.
    let signals = Signals::catch()?;
    let mut opened = open(home, Keys::Served).await?;
    let server = opened.config.server.clone();
    let certificate = tls(&server)?.map(Certificate::new);
    let shown = certificate.as_ref().map(watch::Sender::subscribe);
    let door = opened.door(certificate);
    let tcp =
        TcpListener::bind(server.listen).await.map_err(OpenError::io(format!("listening on {}", server.listen)))?;
    let address = tcp.local_addr().map_err(OpenError::io("the listener's address"))?;
    let local = listen_local(home)?;
    let (stop, stopped) = watch::channel(false);
    let trusted_proxies: Arc<[_]> = server.trusted_proxies.into();
    let bearer = Auth::Bearer { listen: address, trusted_proxies: Arc::clone(&trusted_proxies) };
    let router = backstay_channels::router(door.clone(), bearer);
    let listening = Listening { tls: shown, trusted_proxies, router, stopped: stopped.clone() };
    tokio::spawn(heap::watch(opened.engine.clone()));
    if let Some(audit) = &opened.audit {
        tokio::spawn(Arc::clone(audit).run());
    }
    if let Some(address) = opened.notify.take() {
        tokio::spawn(Teller::new(address, home, door.clone()).run());
    }
    let doors = tokio::spawn(backstay_channels::serve_tcp(tcp, listening));
    let desk = tokio::spawn(backstay_channels::serve_local(
        local,
        backstay_channels::router(door.clone(), Auth::Local).merge(opened.desk(&door)),
        stopped,
    ));
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    ready(address);
    if let Some(sandbox) = opened.world.sandbox() {
        // The first command need not wait for it, nor the listener.
        tokio::task::spawn_blocking(move || {
            match sandbox.holds() {
                Ok(Tier::Full) => tracing::info!("the sandbox holds: commands run in it"),
                Ok(Tier::Copy) => tracing::warn!("there are no namespaces: commands run as another user, on copies"),
                Err(why) => tracing::error!(why, "no command is run"),
            }
            for path in sandbox.renamed() {
                tracing::warn!(path, "a command that was cut off had made this name; it is not in use");
            }
        });
    }
    signals.wait_for_end(&door).await;
    tracing::info!("stopping: what runs gets time to end");
    let doors = async {
        let _ = stop.send(true);
        tokio::join!(doors, desk)
    };
    opened.leave(doors, door.shut()).await;
    Ok(())
}

/// A full listener and a full set of tools hold more files open than many systems allow at first:
/// the journal must not be the one that is refused.
fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "few files may be open at a time; see `ulimit -n`");
        }
    }
}

/// Only the owner of the home may connect; a socket left by a killed process is replaced, since this
/// process holds the lock. Anything else under its name is somebody's, and stays.
fn listen_local(home: &Path) -> Result<UnixListener, OpenError> {
    let path = home.join(SOCKET);
    match std::fs::symlink_metadata(&path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(OpenError::Setup(format!("{} is no socket: move it away", path.display())));
        }
        Ok(_) | Err(_) => drop(std::fs::remove_file(&path)),
    }
    let what = format!("listening on {}", path.display());
    let local = UnixListener::bind(&path).map_err(OpenError::io(what.clone()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(OpenError::io(what))?;
    Ok(local)
}

/// SIGTERM and SIGINT end; SIGHUP reloads. They are caught from the moment that this is made.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> Result<Self, OpenError> {
        let on = |kind| signal(kind).map_err(OpenError::io("waiting for signals"));
        let (terminate, interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: on(SignalKind::hangup())? })
    }

    async fn wait_for_end(mut self, door: &Door) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => match door.reload("SIGHUP", None).await {
                    Ok(done) => {
                        let restart = done.needs_restart.join(", ");
                        tracing::info!(epoch = done.epoch, changed = done.changed, needs_restart = restart, "reloaded");
                    }
                    Err(why) => tracing::error!(why, "the config was not reloaded; the old one stays in force"),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use backstay_engine::{Caller, Submission};
    use backstay_kernel::policy::Role;
    use backstay_kernel::record::Mode;

    use super::*;
    use backstay_kernel::home::Speaks;

    const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
[principals.owner]
role = "owner"
[providers.p]
kind = "openai"
base_url = "http://ADDRESS/v1"
[models.default]
provider = "p"
name = "m"
context_tokens = 32768
max_output_tokens = 512
price_usd_per_mtok = { input = 0.1, output = 0.5 }
[agents.main]
model = "default"
"#;

    /// A model that never answers, a connection that stays, a read that does not come back.
    #[tokio::test]
    async fn a_stop_gives_nothing_a_second_time_to_end() {
        let home = tempfile::tempdir().unwrap();
        let model = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = model.local_addr().unwrap().to_string();
        std::fs::write(home.path().join(config::FILE), CONFIG.replace("ADDRESS", &address)).unwrap();
        drop(Store::create(home.path(), Options::default()).unwrap());
        let opened = open(home.path(), Keys::Needed).await.unwrap();
        let owner =
            Caller { principal: "owner".into(), role: Role::Owner, channel: "cli".into(), speaks: Speaks::Program };
        let (agent, text) = ("main".into(), "hi".into());
        let message = Submission { session: None, agent, mode: Mode::Queue, quoted: Vec::new(), text, key: None };
        opened.engine.submit(&owner, message).await.unwrap();
        let _hangs = model.accept().await.unwrap();
        tokio::time::pause();
        let since = Instant::now();
        opened.leave(pending::<()>(), pending::<()>()).await;
        let took = since.elapsed();
        assert!(took >= 2 * DRAIN && took < 2 * DRAIN + Duration::from_secs(1), "{took:?}");
        Store::open(home.path(), Options::default()).unwrap().close().unwrap();
    }
}
