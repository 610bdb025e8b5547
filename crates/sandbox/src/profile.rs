//! What a command is given: worked out by the runtime, carried out by the helper without a question.
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::exit;
use crate::guard::Shield;
use crate::list::Simple;
use crate::program::Program;
use crate::run::Bounds;
use crate::stage::Stage;

/// Directories in which programs are looked for, in this order; nobody but the system's owner writes there.
const PATH: [&str; 6] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
/// In a directory of the operator's: where programs are, and where they keep what they need.
const IN_TOOL_DIR: [&str; 2] = ["", "bin"];
const LIBRARIES_IN_TOOL_DIR: [&str; 3] = ["lib", "lib64", "libexec"];
/// Where programs keep what they need, beside the programs themselves.
const LIBRARIES: [&str; 10] = [
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/lib",
    "/usr/local/libexec",
    "/usr/share",
    "/usr/local/share",
    "/usr/include",
    "/usr/local/include",
];
/// Of `/etc` only what programs find each other and their libraries by.
const ETC: [&str; 5] =
    ["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"];
/// On most systems links into `/usr`.
const TOP: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Which of the machine's programs are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Programs {
    All,
    /// By name. No file that the command wrote itself can be executed then.
    Only(Vec<String>),
}

impl Programs {
    /// As a grant names them; `*` is all.
    #[must_use]
    pub fn granted(names: &[String]) -> Self {
        if names.iter().any(|name| name == "*") { Self::All } else { Self::Only(names.to_vec()) }
    }
}

/// Directories of the operator's that a command may reach, as real paths.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    pub read: Vec<String>,
    pub write: Vec<String>,
}

/// One command, as it was judged.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Each a program by its name and its arguments, in the order in which they run.
    pub commands: Vec<Simple>,
    /// What the names of their programs mean, as it was judged.
    pub found: Vec<Program>,
    /// A real path.
    pub cwd: String,
    /// Beside what every command is given.
    pub environment: BTreeMap<String, String>,
    pub programs: Programs,
    pub reach: Reach,
    /// Below a directory that it may write: where programs keep what they fetched for the next command. Nobody outside
    /// acts by a name in it.
    pub caches: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    ReadOnly,
    ReadWrite,
    /// A device node: nothing else may be one.
    Device,
}

/// A part of the machine at its own place in the new root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bind {
    pub from: String,
    pub to: String,
    pub access: Access,
    pub execute: bool,
}

/// What the one process does that the sandbox was made for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    Commands(Vec<Simple>),
    /// Stays, and is told when to work.
    Server {
        argv: Vec<String>,
    },
    /// Tries to get out, and tells on stdout what it could do.
    Probe(crate::probe::Targets),
}

/// What keeps a command from the rest of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Walls {
    /// Namespaces, and a root of its own.
    Namespaces,
    /// That it is a user of its own, and works on copies.
    User,
}

/// What one command is likely to want as the last did, so that a helper can make it before there is one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Base {
    pub walls: Walls,
    /// Whom a helper that was started as root becomes.
    pub uid: Option<u32>,
    /// Whether what the command wrote may be executed.
    pub execute_written: bool,
    /// Of the machine itself, in the order in which they are laid over each other.
    pub binds: Vec<Bind>,
    /// (device, number) of each of them: another file of the same name is another bind.
    found: Vec<(u64, u64)>,
    /// (where, what it says)
    pub links: Vec<(String, String)>,
}

impl Base {
    fn of(programs: &Programs, uid: Option<u32>) -> Self {
        let (mut binds, mut links) = system(programs);
        for device in ["null", "zero", "full", "random", "urandom"] {
            binds.push(bind(&format!("/dev/{device}"), Access::Device, false));
        }
        for (at, says) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
            links.push((format!("/dev/{at}"), format!("/proc/self/fd{says}")));
        }
        links.push(("/dev/ptmx".to_owned(), "pts/ptmx".to_owned()));
        let number = |path: &str| std::fs::metadata(path).map_or((0, 0), |found| (found.dev(), found.ino()));
        let found = binds.iter().map(|bind| number(&bind.from)).collect();
        Self { walls: Walls::Namespaces, uid, execute_written: *programs == Programs::All, binds, found, links }
    }
}

/// The rest, of one command alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// Files and directories of the machine that are its user's already; none of them may be within its reach.
    pub originals: Vec<String>,
    /// The process that must still be there.
    pub parent: i32,
    pub work: Work,
    pub found: Vec<Program>,
    pub cwd: String,
    pub environment: BTreeMap<String, String>,
    /// Over those of its base, in the order in which they are laid over each other.
    pub binds: Vec<Bind>,
    /// Directories and files that are there and show nothing.
    pub masked: Vec<String>,
    pub memory_bytes: u64,
    /// Whom it trusts, in PEM, where it has a way out; otherwise it has no network at all.
    pub certificates: Option<String>,
}

/// One sandbox.
#[derive(Clone, Debug)]
pub struct Plan {
    pub base: Base,
    pub profile: Profile,
}

impl Plan {
    pub fn of(ask: &Ask, work: Work, shield: &Shield, bounds: Bounds, tool_dirs: &[String]) -> Self {
        let all = ask.programs == Programs::All;
        let mut binds = granted(&ask.reach, all);
        // Over a granted directory that holds them: no grant may be written there.
        binds.extend(tools(tool_dirs, &ask.programs));
        for kept in &shield.kept {
            binds.push(bind(
                kept,
                if shield.sealed.contains(kept) { Access::ReadOnly } else { Access::ReadWrite },
                all,
            ));
        }
        let profile = Profile {
            originals: Vec::new(),
            parent: i32::try_from(std::process::id()).unwrap_or(0),
            work,
            found: ask.found.clone(),
            cwd: ask.cwd.clone(),
            environment: all_of(ask, tool_dirs),
            binds,
            masked: shield.masked.clone(),
            memory_bytes: bounds.memory_bytes,
            certificates: None,
        };
        Self { base: Base::of(&ask.programs, bounds.uid), profile }
    }

    /// The same on copies; its binds are those of the copies already.
    pub fn on_copies(mut self, stage: &Stage) -> Self {
        let tmp = stage.tmp();
        self.base.walls = Walls::User;
        self.profile.originals = stage.owned().to_vec();
        self.profile.binds.push(bind(&tmp, Access::ReadWrite, self.base.execute_written));
        self.profile.environment.extend(["HOME", "TMPDIR"].map(|name| (name.to_owned(), tmp.clone())));
        self
    }

    /// The same with a way out.
    pub fn with_exit(mut self, certificates: &str) -> Self {
        self.profile.environment.extend(exit::environment());
        self.profile.certificates = Some(certificates.to_owned());
        self
    }
}

fn bind(path: &str, access: Access, execute: bool) -> Bind {
    Bind { from: path.to_owned(), to: path.to_owned(), access, execute }
}

/// The machine's own directories for programs, and the links that stand beside them.
fn system(programs: &Programs) -> (Vec<Bind>, Vec<(String, String)>) {
    let (mut binds, mut links) = (Vec::new(), Vec::new());
    for top in TOP {
        match std::fs::read_link(top) {
            Ok(says) => links.push((top.to_owned(), says.to_string_lossy().into_owned())),
            // Only where `/usr` does not hold everything: then a top directory is one like those in it.
            Err(_) if Path::new(top).is_dir() && (*programs == Programs::All || !PATH.contains(&top)) => {
                binds.push(bind(top, Access::ReadOnly, true));
            }
            Err(_) => {}
        }
    }
    match programs {
        Programs::All => binds.push(bind("/usr", Access::ReadOnly, true)),
        Programs::Only(names) => {
            let there = LIBRARIES.iter().filter(|path| Path::new(path).is_dir());
            binds.extend(there.map(|path| bind(path, Access::ReadOnly, true)));
            binds.extend(names.iter().filter_map(|name| program(name)));
        }
    }
    binds.extend(ETC.iter().filter(|path| Path::new(path).exists()).map(|path| bind(path, Access::ReadOnly, false)));
    (binds, links)
}

/// Where programs are looked for, in this order.
pub fn path(tool_dirs: &[String]) -> impl Iterator<Item = String> {
    let within = |directory: &String, part: &str| Path::new(directory).join(part).to_string_lossy().into_owned();
    let more = tool_dirs.iter().flat_map(move |directory| IN_TOOL_DIR.map(|part| within(directory, part)));
    let more = more.map(|directory| directory.trim_end_matches('/').to_owned());
    PATH.into_iter().map(str::to_owned).chain(more)
}

/// The operator's own directories for programs: all of them to be read, and to be executed the granted programs
/// with their libraries.
fn tools(directories: &[String], programs: &Programs) -> Vec<Bind> {
    let all = *programs == Programs::All;
    let mut binds: Vec<Bind> = directories.iter().map(|path| bind(path, Access::ReadOnly, all)).collect();
    if let Programs::Only(names) = programs {
        for directory in directories {
            let inside = |part: &&str| Path::new(directory).join(part);
            let libraries = LIBRARIES_IN_TOOL_DIR.iter().map(inside).filter(|path| path.is_dir());
            let libraries = libraries.filter_map(|path| path.to_str().map(|path| bind(path, Access::ReadOnly, true)));
            binds.extend(libraries);
        }
        // Under its real name, to which the links beside it lead.
        let inside = |found: &Path| directories.iter().any(|directory| found.starts_with(directory));
        let at = |directory: String, name: &String| Path::new(&directory).join(name).canonicalize().ok();
        let program = |name: &String| {
            let mut found = path(directories).skip(PATH.len()).filter_map(|directory| at(directory, name));
            found.find(|path| path.is_file() && inside(path))
        };
        let programs = names.iter().filter(|name| is_program(name)).filter_map(program);
        binds.extend(programs.filter_map(|path| path.to_str().map(|path| bind(path, Access::ReadOnly, true))));
    }
    binds
}

fn is_program(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.starts_with('.')
}

/// The file that a name means on this machine, under that name.
fn program(name: &str) -> Option<Bind> {
    if !is_program(name) {
        return None;
    }
    PATH.iter().find_map(|directory| {
        let found = Path::new(directory).join(name);
        let from = found.canonicalize().ok().filter(|path| path.is_file())?;
        let to = Path::new(directory).canonicalize().ok()?.join(name);
        let text = |path: &Path| path.to_str().map(str::to_owned);
        Some(Bind { from: text(&from)?, to: text(&to)?, access: Access::ReadOnly, execute: true })
    })
}

/// The outer before the inner; of one directory granted for both, writing holds.
fn granted(reach: &Reach, execute: bool) -> Vec<Bind> {
    let mut paths: BTreeMap<&str, Access> = reach.read.iter().map(|path| (path.as_str(), Access::ReadOnly)).collect();
    paths.extend(reach.write.iter().map(|path| (path.as_str(), Access::ReadWrite)));
    paths.into_iter().map(|(path, access)| bind(path, access, execute)).collect()
}

/// Where programs keep what they fetch: XDG's variable holds for those that have none of their own.
const CACHES: [(&str, &str); 7] = [
    ("XDG_CACHE_HOME", "xdg"),
    ("CARGO_HOME", "cargo"),
    ("GOCACHE", "go/build"),
    ("GOMODCACHE", "go/mod"),
    ("GRADLE_USER_HOME", "gradle"),
    ("npm_config_cache", "npm"),
    ("PIP_CACHE_DIR", "pip"),
];

fn all_of(ask: &Ask, tool_dirs: &[String]) -> BTreeMap<String, String> {
    let kept =
        ask.caches.iter().flat_map(|caches| CACHES.map(|(name, part)| (name.to_owned(), format!("{caches}/{part}"))));
    ask.environment.clone().into_iter().chain(kept).chain(environment(tool_dirs)).collect()
}

/// All of it: nothing is inherited. The settings of git keep a repository's own from naming programs
/// where they can; they do not make git safe.
fn environment(tool_dirs: &[String]) -> BTreeMap<String, String> {
    const GIT: [(&str, &str); 6] = [
        ("core.fsmonitor", "false"),
        ("core.hooksPath", "/dev/null"),
        ("core.pager", "cat"),
        ("core.sshCommand", "false"),
        ("protocol.ext.allow", "never"),
        ("credential.helper", ""),
    ];
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), value.to_owned());
    };
    set("PATH", &path(tool_dirs).collect::<Vec<_>>().join(":"));
    for (name, value) in [
        ("HOME", "/tmp"),
        ("TMPDIR", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_EDITOR", "true"),
    ] {
        set(name, value);
    }
    set("GIT_CONFIG_COUNT", &GIT.len().to_string());
    for (index, (key, value)) in GIT.iter().enumerate() {
        set(&format!("GIT_CONFIG_KEY_{index}"), key);
        set(&format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    all
}
