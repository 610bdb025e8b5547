//! From the file as written to what the program uses: names that must exist, doors that must be
//! safe, grants that must not reach the home's own files.
use std::collections::BTreeMap;
use std::path::PathBuf;

use backstay_kernel::budget::{Budget, Ceiling, Price};
use backstay_kernel::id::Digest;
use backstay_kernel::label::Confidentiality;
use backstay_kernel::policy::{Agent, Caps, Grants, InDoubt, Model, Policy, Role};
use backstay_kernel::rule::is_under;
use backstay_kernel::tool::Manifest;
use backstay_providers::{Endpoint, Kind, Timeouts};
use backstay_sandbox::Bounds;

use super::examples::Example;
use super::mistake::{Code, Collector, Mistakes, Place, quoted};
use super::paths::{Ground, Real};
use super::raw::{self, View};
use super::rules;
use super::value::Spot;
use super::{Checked, Limits, Owners, ProviderConfig, Server, Tls};

/// Everything that a check may look at besides the text.
#[derive(Debug)]
pub struct Surroundings {
    pub ground: Ground,
    pub tools: BTreeMap<String, Manifest>,
}

/// What checks share; `mistakes` is all that they write.
pub struct Checker<'a> {
    pub root: View<'a>,
    pub ground: Ground,
    /// By name: the built-in ones, and then the declared ones too.
    pub tools: BTreeMap<String, Manifest>,
    pub principals: BTreeMap<String, Role>,
    pub doors: BTreeMap<String, Vec<String>>,
    pub mistakes: Collector,
    pub examples: Vec<Example>,
    missing: Vec<PathBuf>,
}

/// All mistakes of the file, its own and those of its meaning, or what it says.
pub fn check(text: &str, surroundings: Surroundings) -> Result<Checked, Mistakes> {
    let (written, mut mistakes) = raw::read(text);
    let Surroundings { ground, tools } = surroundings;
    let mut checker = Checker {
        root: View::root(&written),
        ground,
        tools,
        principals: BTreeMap::new(),
        doors: BTreeMap::new(),
        mistakes: Collector::default(),
        examples: Vec::new(),
        missing: Vec::new(),
    };
    checker.open_up();
    // The server comes next: its key file is ground that no grant may reach.
    let server = checker.server();
    let secrets_key = checker.secrets_key();
    let (audit, notify) = (checker.audit(), checker.notify());
    (checker.principals, checker.doors) = (checker.principals(), checker.doors());
    let bindings = checker.bindings();
    let providers = checker.providers();
    let models = checker.models(&providers);
    let declared = checker.declared_tools();
    let mcp = checker.servers();
    let agents = checker.agents(&models);
    let (tool_dirs, caches, owners) = (checker.tool_dirs(&agents), checker.caches(&agents), checker.owners());
    let (home_budget, shared) =
        (checker.root.table("home").and_then(|home| home.table("budget")), checker.root.table("budget"));
    let policy = Policy {
        epoch: 0,
        digest: Digest::default(),
        workspace: checker.ground.real(super::WORKSPACE).map(|real| real.path).unwrap_or_default(),
        principals: checker.principals.clone(),
        doors: checker.doors.clone(),
        agents,
        models,
        tools: std::mem::take(&mut checker.tools),
        home_budget: budget(home_budget),
        per_principal: budget(shared.and_then(|shared| shared.table("per_principal"))),
        per_channel: budget(shared.and_then(|shared| shared.table("per_channel"))),
    };
    let authorities = checker.root.table("network").and_then(|network| checker.file(network, "ca"));
    let sandbox = sandbox(checker.root.table("sandbox"));
    let (examples, missing_directories) = (std::mem::take(&mut checker.examples), std::mem::take(&mut checker.missing));
    mistakes.extend(checker.mistakes.into_list());
    match server {
        Some(server) if mistakes.is_empty() => {
            let text = text.to_owned();
            Ok(Checked {
                policy: policy.sealed(),
                server,
                limits: limits(checker.root.table("limits")),
                sandbox,
                tool_dirs,
                caches,
                declared,
                authorities,
                mcp,
                providers,
                secrets_key,
                audit,
                notify,
                bindings,
                owners,
                examples,
                missing_directories,
                text,
                written,
            })
        }
        Some(_) | None => Err(Mistakes::new(mistakes)),
    }
}

fn limits(table: Option<View<'_>>) -> Limits {
    let limit = |key| small(table.and_then(|limits| limits.integer(key)));
    Limits {
        messages_per_minute: limit("messages_per_minute"),
        connections_per_principal: limit("connections_per_principal"),
    }
}

impl<'a> Checker<'a> {
    fn server(&mut self) -> Option<Server> {
        let server = self.root.table("server")?;
        let tls = server.table("tls").and_then(|tls| {
            let cert = self.file(tls, "cert");
            let key = self.file(tls, "key");
            Some(Tls { cert: cert?, key: key? })
        });
        let insecure_listen = server.flag("insecure_listen");
        let listen = server.address("listen")?;
        if !listen.value.ip().is_loopback() && server.table("tls").is_none() && !insecure_listen {
            let message = format!("`listen` = `{}` is open to the network in clear text", listen.value);
            let out = "set `tls`, or `insecure_listen = true` where a proxy adds it";
            self.mistakes.suggest(listen.place, Code::InsecureListen, message, out);
        }
        Some(Server {
            listen: listen.value,
            tls,
            insecure_listen,
            trusted_proxies: server.addresses("trusted_proxies"),
        })
    }

    /// An existing file that from here on no agent may reach.
    pub fn file(&mut self, table: View<'a>, key: &str) -> Option<PathBuf> {
        let written = table.text(key)?;
        let real = self.real(key, &written)?;
        if real.missing || !std::path::Path::new(&real.path).is_file() {
            let message = format!("{}: there is no file {}", quoted(key), quoted(written.value));
            self.mistakes.add(written.place, Code::BadPath, message);
            return None;
        }
        self.ground.protect(&real);
        Some(real.path.into())
    }

    fn open_up(&mut self) {
        let agents = self.root.named("agents");
        let grants = agents.iter().filter_map(|(_, agent)| agent.table("grants")?.texts("write"));
        let written: Vec<&str> = grants.flat_map(|spot| spot.value).map(|spot| spot.value.as_str()).collect();
        self.ground.open_up(written.into_iter());
    }

    pub fn real(&mut self, key: &str, written: &Spot<&str>) -> Option<Real> {
        match self.ground.real(written.value) {
            Ok(real) => Some(real),
            Err(problem) => {
                let message = format!("{}: the path {} {problem}", quoted(key), quoted(written.value));
                self.mistakes.add(written.place, Code::BadPath, message);
                None
            }
        }
    }

    fn principals(&self) -> BTreeMap<String, Role> {
        let role_of = |(name, table): (&str, View<'_>)| Some((name.to_owned(), role(table.text("role")?.value)?));
        self.root.named("principals").into_iter().filter_map(role_of).collect()
    }

    fn doors(&self) -> BTreeMap<String, Vec<String>> {
        let named = |doors: &[Spot<String>]| doors.iter().map(|door| door.value.clone()).collect();
        let of = |(name, table): (&str, View<'_>)| Some((name.to_owned(), named(table.texts("channels")?.value)));
        self.root.named("principals").into_iter().filter_map(of).collect()
    }

    fn providers(&mut self) -> BTreeMap<String, ProviderConfig> {
        let mut out = BTreeMap::new();
        for (name, table) in self.root.named("providers") {
            let Some(kind) = table.text("kind").and_then(|kind| provider_kind(kind.value)) else { continue };
            let (url, key, secret) = (table.text("base_url"), table.text("api_key_env"), table.text("api_key_secret"));
            let written = url.as_ref().map(|url| url.value);
            let base_url = written.or(default_base_url(kind));
            if let Err(problem) = Endpoint::new(kind, base_url, None, Timeouts::default()) {
                // What is wrong with a URL may be a password in it: the text does not repeat it.
                let place = url.as_ref().map_or(table.place, |url| url.place);
                self.mistakes.add(place, Code::BadValue, problem.to_string());
            }
            if let (Kind::Rehearsal, Some(key)) = (kind, key.as_ref().or(secret.as_ref())) {
                let message = "the rehearsal model is part of the program and takes no key";
                self.mistakes.add(key.place, Code::NotUsed, message);
            }
            if let Some(secret) = &secret {
                self.own_secret(secret, key.is_some().then_some(["api_key_env", "api_key_secret"]));
            }
            let config = ProviderConfig {
                kind,
                base_url: base_url.map(str::to_owned),
                api_key_env: key.map(|name| name.value.to_owned()),
                api_key_secret: secret.map(|name| name.value.to_owned()),
                clearance: table.text("clearance").map_or(Confidentiality::Public, |word| confidentiality(word.value)),
            };
            out.insert(name.to_owned(), config);
        }
        out
    }

    /// `false` where the name was reported as unknown.
    pub fn known(&mut self, what: &str, section: &str, name: &Spot<&str>) -> bool {
        let names = self.root.named(section);
        let good = names.iter().any(|(known, _)| *known == name.value);
        if !good {
            self.mistakes.unknown(
                name.place,
                Code::UnknownName,
                what,
                name.value,
                names.iter().map(|(known, _)| *known),
            );
        }
        good
    }

    fn models(&mut self, providers: &BTreeMap<String, ProviderConfig>) -> BTreeMap<String, Model> {
        let mut out = BTreeMap::new();
        for (name, table) in self.root.named("models") {
            let provider = table.text("provider");
            if let Some(provider) = &provider
                && !providers.contains_key(provider.value)
            {
                self.known("provider", "providers", provider);
            }
            let (context, output) = (table.integer("context_tokens"), table.integer("max_output_tokens"));
            if let (Some(context), Some(output)) = (&context, &output)
                && output.value >= context.value
            {
                let message = format!(
                    "`max_output_tokens` ({}) leaves no room for input in `context_tokens` ({})",
                    output.value, context.value
                );
                self.mistakes.add(output.place, Code::BadValue, message);
            }
            let of = provider.as_ref().and_then(|provider| providers.get(provider.value));
            let text = |key| table.text(key).map(|spot| spot.value.to_owned()).unwrap_or_default();
            let number = |spot: Option<Spot<u64>>| spot.map_or(0, |spot| spot.value);
            let model = Model {
                provider: text("provider"),
                clearance: of.map_or(Confidentiality::Public, |provider| provider.clearance),
                name: text("name"),
                context_tokens: number(context),
                max_output_tokens: number(output),
                price: price(table),
            };
            out.insert(name.to_owned(), model);
        }
        out
    }

    fn agents(&mut self, models: &BTreeMap<String, Model>) -> BTreeMap<String, Agent> {
        let mut out = BTreeMap::new();
        let home = rules::of_home(self);
        for (name, table) in self.root.named("agents") {
            let model = table.text("model");
            if let Some(model) = &model
                && !models.contains_key(model.value)
            {
                self.known("model", "models", model);
            }
            let text = |key| table.text(key).map(|spot| spot.value.to_owned()).unwrap_or_default();
            let agent = Agent {
                model: text("model"),
                instructions: text("instructions"),
                grants: self.grants(table.table("grants")),
                rules: rules::of_agent(self, name, table, &home).into(),
                budget: budget(table.table("budget")),
                caps: caps(table.table("caps")),
                in_doubt: in_doubt(table.text("in_doubt").map_or("", |spot| spot.value)),
                scope: table.flag("scope"),
            };
            out.insert(name.to_owned(), agent);
        }
        out
    }

    fn owners(&self) -> BTreeMap<String, Owners> {
        let of = |(name, table): (&str, View<'_>)| {
            let owner = |key| table.table("owners")?.text(key).map(|spot| spot.value.to_owned());
            let owners = Owners {
                behaviour: owner("behaviour"),
                permissions: owner("permissions"),
                workflow: owner("workflow"),
                incidents: owner("incidents"),
            };
            (name.to_owned(), owners)
        };
        self.root.named("agents").into_iter().map(of).collect()
    }

    fn grants(&mut self, table: Option<View<'a>>) -> Grants {
        let Some(table) = table else { return Grants::default() };
        let tools = table.texts("tools").map_or(&[][..], |spot| spot.value);
        for tool in tools {
            self.known_tool(tool.place, &tool.value);
        }
        Grants {
            tools: unique(tools.iter().map(|tool| tool.value.clone())),
            read: self.directories(table, "read"),
            write: self.directories(table, "write"),
            programs: self.programs(table),
            hosts: self.hosts(table),
            git: self.repositories(table),
            secrets: self.granted_secrets(table),
        }
    }

    fn programs(&mut self, table: View<'a>) -> Vec<String> {
        let written = table.texts("programs").map_or(&[][..], |spot| spot.value);
        for Spot { place, value } in written {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
            if value != "*" && (value.is_empty() || value.starts_with(['.', '-']) || !value.chars().all(allowed)) {
                let message = format!("`programs`: {} is not the name of a program", quoted(value));
                self.mistakes.suggest(*place, Code::BadValue, message, "a name without `/`, such as `git`, or `*`");
            }
        }
        unique(written.iter().map(|spot| spot.value.clone()))
    }

    /// Real directories of the operator's programs, which nobody may write.
    fn tool_dirs(&mut self, agents: &BTreeMap<String, Agent>) -> Vec<String> {
        let Some(table) = self.root.table("sandbox") else { return Vec::new() };
        let written = table.texts("tool_dirs").map_or(&[][..], |spot| spot.value);
        let mut out = Vec::new();
        for Spot { place, value } in written {
            let Some(real) = self.real("tool_dirs", &Spot { place: *place, value: value.as_str() }) else { continue };
            let overlaps = |other: &String| is_under(other, &real.path) || is_under(&real.path, other);
            let writer = agents.iter().find(|(_, agent)| agent.grants.write.iter().any(overlaps));
            if let Some(own) = self.ground.reaches(&real.path) {
                let message = format!("`tool_dirs`: {} reaches the home's own files ({})", quoted(value), quoted(own));
                self.mistakes.add(*place, Code::OwnFiles, message);
            } else if let Some((agent, _)) = writer {
                let message = format!("`tool_dirs`: the agent {} may write to {}", quoted(agent), quoted(value));
                let out = "keep programs where no agent writes";
                self.mistakes.suggest(*place, Code::BadPath, message, out);
            } else if real.missing || !std::path::Path::new(&real.path).is_dir() || is_the_systems(&real.path) {
                let message = format!("`tool_dirs`: there is no directory {} to keep programs in", quoted(value));
                self.mistakes.add(*place, Code::BadPath, message);
            } else {
                out.push(real.path);
            }
        }
        unique(out.into_iter())
    }

    /// It has a label and a lock by the directory that it lies in, and must not be that: names there stay protected.
    fn caches(&mut self, agents: &BTreeMap<String, Agent>) -> Option<String> {
        let written = self.root.table("sandbox")?.text("caches")?;
        let real = self.real("caches", &written)?;
        let below = |root: &String| *root != real.path && is_under(&real.path, root);
        let of = |agent: &Agent| agent.grants.write.iter().any(below);
        let is_root = agents.values().any(|agent| {
            let grants = [&agent.grants.read, &agent.grants.write];
            grants.into_iter().flatten().any(|root| is_under(root, &real.path))
        });
        if is_root || !agents.values().any(of) {
            let message = format!("`caches`: {} lies in no directory that an agent may write", quoted(written.value));
            let out = "a directory of its own below one of `grants.write`, such as `workspace/.caches`";
            self.mistakes.suggest(written.place, Code::BadPath, message, out);
            return None;
        }
        Some(real.path)
    }

    pub fn known_tool(&mut self, place: Place, name: &str) {
        if !self.tools.contains_key(name) && !self.no_such_server(place, name) {
            let known = self.tools.keys().map(String::as_str);
            self.mistakes.unknown(place, Code::UnknownName, "tool", name, known);
        }
    }

    fn directories(&mut self, table: View<'a>, key: &str) -> Vec<String> {
        let mut out = Vec::new();
        for Spot { place, value } in table.texts(key).map_or(&[][..], |spot| spot.value) {
            let written = Spot { place: *place, value: value.as_str() };
            let Some(real) = self.real(key, &written) else { continue };
            if let Some(own) = self.ground.reaches(&real.path) {
                let message =
                    format!("{}: {} reaches the home's own files ({})", quoted(key), quoted(value), quoted(own));
                let out = "grant `workspace`, a directory in it, or one outside of the home";
                self.mistakes.suggest(*place, Code::OwnFiles, message, out);
            } else if is_the_systems(&real.path) {
                let message = format!(
                    "{}: {} lies in procfs or sysfs, by which the system shows itself, this process and its keys",
                    quoted(key),
                    quoted(value)
                );
                self.mistakes.add(*place, Code::BadPath, message);
            } else if !real.missing
                && !self.ground.is_below_open(&real.path)
                && !std::path::Path::new(&real.path).is_dir()
            {
                let message = format!("{}: {} is not a directory", quoted(key), quoted(value));
                self.mistakes.add(*place, Code::BadPath, message);
            } else {
                if real.missing {
                    self.missing.push(PathBuf::from(&real.path));
                }
                out.push(real.path);
            }
        }
        unique(out.into_iter())
    }
}

/// What `statfs` says of sysfs: SYSFS_MAGIC in the system's headers.
const SYSFS_MAGIC: rustix::fs::FsWord = 0x6265_6572;

/// Whether a path lies, or would, in procfs or sysfs.
fn is_the_systems(path: &str) -> bool {
    let system = std::path::Path::new(path).ancestors().find_map(|there| rustix::fs::statfs(there).ok());
    system.is_some_and(|system| matches!(system.f_type, rustix::fs::PROC_SUPER_MAGIC | SYSFS_MAGIC))
}

/// In the order of the file, each once.
pub fn unique(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for item in items {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}

/// The reader has bounded the number already.
fn small(spot: Option<Spot<u64>>) -> u32 {
    spot.and_then(|spot| u32::try_from(spot.value).ok()).unwrap_or(0)
}

#[must_use]
pub fn role(word: &str) -> Option<Role> {
    let all = [Role::Owner, Role::Operator, Role::Approver, Role::User, Role::Metrics];
    all.into_iter().find(|role| role.word() == word)
}

/// The words that the table of keys lets stand.
fn confidentiality(word: &str) -> Confidentiality {
    match word {
        "secret" => Confidentiality::Secret,
        "internal" => Confidentiality::Internal,
        _ => Confidentiality::Public,
    }
}

fn provider_kind(word: &str) -> Option<Kind> {
    match word {
        "openai" => Some(Kind::OpenAi),
        "anthropic" => Some(Kind::Anthropic),
        "rehearsal" => Some(Kind::Rehearsal),
        _ => None,
    }
}

fn default_base_url(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::OpenAi | Kind::OpenAiCompatible => Some("https://api.openai.com/v1"),
        Kind::Anthropic | Kind::AnthropicCompatible => Some("https://api.anthropic.com"),
        Kind::Rehearsal => None,
    }
}

fn in_doubt(word: &str) -> InDoubt {
    match word {
        "assume_done" => InDoubt::AssumeDone,
        "assume_not_done" => InDoubt::AssumeNotDone,
        _ => InDoubt::Ask,
    }
}

fn sandbox(table: Option<View<'_>>) -> Bounds {
    const MIB: u64 = 1 << 20;
    let of = |key| table.and_then(|table| table.integer(key));
    let bytes = |key| of(key).map_or(0, |spot: Spot<u64>| spot.value.saturating_mul(MIB));
    Bounds {
        uid: of("uid").and_then(|spot| u32::try_from(spot.value).ok()),
        memory_bytes: bytes("memory_mib"),
        free_bytes: bytes("free_disk_mib"),
    }
}

fn price(model: View<'_>) -> Price {
    // The text "free" is no table: every class costs nothing.
    let Some(table) = model.table("price_usd_per_mtok") else { return Price::default() };
    let of = |key| table.integer(key).map(|spot| spot.value);
    let input = of("input").unwrap_or(0);
    Price {
        input,
        cached_input: of("cached_input").unwrap_or(input),
        cache_write: of("cache_write").unwrap_or(input),
        output: of("output").unwrap_or(0),
    }
}

fn caps(table: Option<View<'_>>) -> Caps {
    let of = |key| table.and_then(|table| table.integer(key));
    Caps {
        steps: small(of("steps")),
        tool_calls: small(of("tool_calls")),
        wall_ms: of("wall").map_or(0, |spot| spot.value),
        asks_per_hour: small(of("asks_per_hour")),
    }
}

fn budget(table: Option<View<'_>>) -> Budget {
    let of = |key: &str| table.and_then(|table| table.integer(key)).map(|spot| spot.value);
    let ceiling = |usd, tokens| Ceiling { tokens: of(tokens), micro_usd: of(usd) };
    Budget {
        turn: ceiling("usd_per_turn", "tokens_per_turn"),
        session: ceiling("usd_per_session", "tokens_per_session"),
        hour: ceiling("usd_per_hour", "tokens_per_hour"),
        day: ceiling("usd_per_day", "tokens_per_day"),
        month: ceiling("usd_per_month", "tokens_per_month"),
    }
}
