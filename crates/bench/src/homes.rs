//! Homes to measure: made by the product itself, with a config that limits nothing that is
//! measured. The used one is made once, by turns over HTTP, and kept beneath `target/`.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Outcome;
use crate::cases::Scale;
use crate::client::{Kind, Load, STATUS, Server, Tokens, ask, number};
use crate::process::Process;

pub struct Homes {
    pub binary: PathBuf,
    directory: PathBuf,
    pub scale: Scale,
}

/// A home and how it is served.
pub struct Home {
    binary: PathBuf,
    pub path: PathBuf,
    tokens: Tokens,
}

/// Sessions that write at the same time while the used home is made.
const MAKERS: usize = 50;

impl Homes {
    pub fn new(binary: PathBuf, directory: PathBuf, scale: Scale) -> Outcome<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self { binary, directory, scale })
    }

    /// An empty home, made anew.
    pub fn fresh(&self, name: &str) -> Outcome<Home> {
        let home = self.home(name)?;
        home.configure(None)?;
        Ok(home)
    }

    /// A directory for the floor, made anew.
    pub fn floor(&self) -> Outcome<Command> {
        let path = self.empty("floor")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").arg(path);
        Ok(command)
    }

    /// The used home: made where it is missing, or where this binary cannot open it any more.
    pub fn used(&self) -> Outcome<Home> {
        let name = format!("used-{}", self.scale.sessions);
        let path = self.directory.join(&name);
        let kept = std::fs::read(path.with_extension("tokens")).ok();
        if let Some(tokens) = kept.and_then(|kept| serde_json::from_slice(&kept).ok()) {
            let home = Home { binary: self.binary.clone(), path: path.clone(), tokens };
            home.configure(None)?;
            if home.serve().and_then(Process::stop).is_ok() {
                return Ok(home);
            }
        }
        let home = self.home(&name)?;
        home.configure(None)?;
        self.fill(&home)?;
        std::fs::write(path.with_extension("tokens"), serde_json::to_vec(&home.tokens)?)?;
        Ok(home)
    }

    fn fill(&self, home: &Home) -> Outcome<()> {
        eprintln!("  making a home of {} sessions, once …", self.scale.sessions);
        let process = home.serve()?;
        let server = home.server(&process, "main");
        let per_session = self.scale.turns_per_session;
        let turns = self.scale.sessions / MAKERS * per_session;
        let load = Load { kind: Kind::Reading, workers: MAKERS, turns, turns_per_session: per_session };
        load.run(&server)?;
        process.stop()
    }

    fn home(&self, name: &str) -> Outcome<Home> {
        let path = self.empty(name)?;
        let mut command = Command::new(&self.binary);
        let made = command.arg("init").arg(&path).arg("--json").output()?;
        let tokens = serde_json::from_slice(&made.stdout)?;
        Ok(Home { binary: self.binary.clone(), path, tokens })
    }

    fn empty(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.directory.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Home {
    /// Three agents: the usual one, one with a window that is soon full, and one whose model is
    /// `upstream`, which never answers.
    pub fn configure(&self, upstream: Option<SocketAddr>) -> Outcome<()> {
        let upstream = upstream.map_or_else(|| "127.0.0.1:9".to_owned(), |address| address.to_string());
        std::fs::create_dir_all(self.path.join("workspace/out"))?;
        std::fs::write(self.path.join("workspace/notes.md"), "Sails need mending.\n".repeat(20))?;
        Ok(std::fs::write(self.path.join("backstay.toml"), CONFIG.replace("UPSTREAM", &upstream))?)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--home").arg(&self.path).arg("--json");
        command
    }

    pub fn serve(&self) -> Outcome<Process> {
        Process::start(self.command().arg("serve"))
    }

    pub fn server(&self, process: &Process, agent: &'static str) -> Server {
        Server::Product { address: process.address, tokens: self.tokens.clone(), agent }
    }

    /// The same home under another name, with everything in it.
    pub fn copy(&self, name: &str) -> Outcome<Self> {
        let path = self.path.with_file_name(name);
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        let copied = Command::new("cp").arg("-a").arg(&self.path).arg(&path).status()?;
        if !copied.success() {
            return Err(format!("cp -a {} failed", self.path.display()).into());
        }
        Ok(Self { binary: self.binary.clone(), path, tokens: self.tokens.clone() })
    }
}

/// What the product says that it has done.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    pub commits: u64,
    /// One for each append of a session.
    pub entries: u64,
    pub live: u64,
}

pub fn counters(server: &Server) -> Outcome<Counters> {
    let status = ask(server, "GET", STATUS, None)?;
    let live = status.get("sessions").map_or(Ok(0), |sessions: &Value| number(sessions, "live"))?;
    Ok(Counters { commits: number(&status, "commits")?, entries: number(&status, "entries")?, live })
}

/// Bytes that entries and bodies hold after these ids, and the last ids.
pub fn payload(path: &Path, after: (i64, i64)) -> Outcome<(u64, (i64, i64))> {
    const SQL: &str = "SELECT
        (SELECT coalesce(sum(length(body)), 0) FROM entries WHERE id > ?1)
            + (SELECT coalesce(sum(length(bytes)), 0) FROM bodies WHERE id > ?2),
        (SELECT coalesce(max(id), 0) FROM entries), (SELECT coalesce(max(id), 0) FROM bodies)";
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = rusqlite::Connection::open_with_flags(path.join("state.db"), flags)?;
    Ok(db.query_row(SQL, [after.0, after.1], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?)
}

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"

[limits]
messages_per_minute = 1000000

[principals.owner]
role = "owner"

[providers.rehearsal]
kind = "rehearsal"

[providers.upstream]
kind = "openai"
base_url = "http://UPSTREAM/v1"

[models.default]
provider = "rehearsal"
name = "rehearsal"
price_usd_per_mtok = "free"

[models.short]
provider = "rehearsal"
name = "rehearsal"
context_tokens = 8192
max_output_tokens = 1024
price_usd_per_mtok = "free"

[models.upstream]
provider = "upstream"
name = "upstream"
price_usd_per_mtok = "free"

[agents.main]
model = "default"

[agents.main.grants]
tools = ["read_file", "write_file", "edit_file", "list_dir", "search_files", "remember", "recall", "ask_human"]
read = ["workspace"]
write = ["workspace"]

[agents.main.budget]
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992

[agents.short]
model = "short"

[agents.short.budget]
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992

[agents.upstream]
model = "upstream"

[agents.upstream.budget]
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992

[home.budget]
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992

[budget.per_principal]
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992

[budget.per_channel]
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992
"#;
