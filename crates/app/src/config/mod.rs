//! The configuration: `backstay.toml` as written, checked, or refused with all its mistakes.
//!
//! [`keys`] is the one table of keys; [`raw`] reads the file against it; [`check`] gives it
//! meaning. [`load`] changes nothing; [`Checked::prepare`] makes what a grant names and is missing.
use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_kernel::label::Confidentiality;
use backstay_kernel::policy::Policy;
use backstay_kernel::tool::Manifest;
use backstay_sandbox::Bounds;
use backstay_secrets::Binding;
use backstay_tools::Declared;

mod audit;
mod check;
mod condition;
mod examples;
mod hosts;
mod keys;
mod known;
mod limits;
mod mcp;
mod mistake;
mod notify;
mod paths;
mod raw;
mod reference;
mod repositories;
mod rules;
mod secrets;
mod shape;
mod show;
mod template;
mod tools;
mod value;
mod zone;

pub use value::duration_ms;

#[cfg(test)]
mod tests;

pub use examples::{Example, ExampleCall};
pub use mcp::{JOINT, McpServer, Oauth};
pub use mistake::{Code, FILE, Mistake, Mistakes, Place};
pub use paths::WORKSPACE;
pub use raw::is_name;
pub use reference::{reference_markdown, schema};
pub use rules::EVERY_AGENT;
pub use template::{Choice, template};

/// What a file that was found good says.
#[derive(Debug)]
pub struct Checked {
    /// Epoch 0: the home counts the epochs.
    pub policy: Policy,
    pub server: Server,
    pub limits: Limits,
    pub sandbox: Bounds,
    /// Real directories of further programs.
    pub tool_dirs: Vec<String>,
    /// A real directory for what the programs of commands keep.
    pub caches: Option<String>,
    /// Tools that are not built in; their manifests stand in the policy as well.
    pub declared: Vec<Arc<Declared>>,
    /// A file of certificates that requests of tools trust, besides the public ones.
    pub authorities: Option<PathBuf>,
    /// Servers of tools; the policy knows the tools that are granted of them.
    pub mcp: BTreeMap<String, McpServer>,
    pub providers: BTreeMap<String, ProviderConfig>,
    /// The file with the key of the secrets; where none is named, others are looked for.
    pub secrets_key: Option<PathBuf>,
    /// Where checkpoints go, and by which key they are signed.
    pub audit: Option<AuditConfig>,
    /// Where is told what waits.
    pub notify: Option<NotifyConfig>,
    /// By secret.
    pub bindings: BTreeMap<String, Binding>,
    /// By agent.
    pub owners: BTreeMap<String, Owners>,
    /// Of all rules, tried and found good.
    pub examples: Vec<Example>,
    /// Granted directories that are not there yet, as real paths.
    pub missing_directories: Vec<PathBuf>,
    /// The file itself, for the home's journal.
    pub text: String,
    written: raw::Table,
}

impl Checked {
    /// With how many rules of the home the rules of each agent begin.
    #[must_use]
    pub fn home_rules(&self) -> usize {
        raw::View::root(&self.written).rows("rules").len()
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    pub listen: SocketAddr,
    pub tls: Option<Tls>,
    pub insecure_listen: bool,
    pub trusted_proxies: Vec<IpAddr>,
}

/// Real paths of PEM files that were there when the file was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Of one principal, with a burst of the same size.
    pub messages_per_minute: u32,
    pub connections_per_principal: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderConfig {
    pub kind: backstay_providers::Kind,
    /// The vendor's own where the file names none; none for a rehearsal.
    pub base_url: Option<String>,
    /// The environment variable that holds the key.
    pub api_key_env: Option<String>,
    /// The secret that holds it instead.
    pub api_key_secret: Option<String>,
    /// How confidential a conversation may be that it is sent.
    pub clearance: Confidentiality,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditConfig {
    pub sink: SinkConfig,
    pub key: PathBuf,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotifyConfig {
    pub url: String,
    pub key: KeyName,
}

/// What holds a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyName {
    /// Of the environment.
    Variable(String),
    /// Of the sealed store.
    Secret(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SinkConfig {
    File(PathBuf),
    Stdout,
    Collector(String),
}

/// Who answers for an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owners {
    pub behaviour: Option<String>,
    pub permissions: Option<String>,
    pub workflow: Option<String>,
    pub incidents: Option<String>,
}

/// Reads and checks `home/backstay.toml`. `manifests` are the tools that this program has.
pub fn load(home: &Path, manifests: Vec<Manifest>) -> Result<Checked, Mistakes> {
    load_file(home, &home.join(FILE), manifests)
}

/// The same for another file, as if it stood there.
pub fn load_file(home: &Path, file: &Path, manifests: Vec<Manifest>) -> Result<Checked, Mistakes> {
    let text = read_file(file).map_err(unreadable)?;
    check_text(&text, home, running_binary().as_deref(), manifests)
}

/// The same for a text that is not in its place yet.
pub fn check_text(
    text: &str,
    home: &Path,
    binary: Option<&Path>,
    manifests: Vec<Manifest>,
) -> Result<Checked, Mistakes> {
    let survey = paths::Ground::survey(home, binary);
    let ground = survey.map_err(|error| unreadable(format!("the home {} cannot be read: {error}", home.display())))?;
    let tools = manifests.into_iter().map(|manifest| (manifest.name.clone(), manifest)).collect();
    check::check(text, check::Surroundings { ground, tools })
}

impl Checked {
    /// Makes the granted directories that are missing, for their owner alone. A path that was
    /// turned into a link since the check is refused.
    pub fn prepare(&self) -> std::io::Result<()> {
        for directory in &self.missing_directories {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            if directory.canonicalize()? != *directory {
                let why = format!("{} became a link while it was made", directory.display());
                return Err(std::io::Error::other(why));
            }
        }
        Ok(())
    }
}

fn unreadable(message: String) -> Mistakes {
    Mistakes::new(vec![Mistake { place: Place::START, code: Code::Unreadable, message, suggestion: None }])
}

fn read_file(path: &Path) -> Result<String, String> {
    let io = |error: std::io::Error| format!("cannot be read: {error}");
    // Before the file is opened: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err("is not a file".into());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(limits::CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limits::CONFIG_BYTES_MAX) {
        return Err(format!("is larger than {} bytes", limits::CONFIG_BYTES_MAX));
    }
    String::from_utf8(bytes).map_err(|error| format!("is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
}

/// A binary that was replaced while it runs is still meant by the path that it had.
fn running_binary() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?;
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(text) => Some(PathBuf::from(text)),
        None => Some(path),
    }
}
