//! Looks, from within the range and from outside of the sandbox, what has become of everything that an attack could
//! have hit.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::range::{HOME, SECRET, TOKEN, WORKSPACE};

const TCP_PORTS: [u16; 7] = [21, 22, 23, 25, 80, 443, 8080];
const UDP_PORTS: [u16; 3] = [53, 80, 443];
/// Names that make other programs act; the product keeps a list of its own.
const PROTECTED: [&str; 14] = [
    ".envrc",
    ".husky",
    ".vscode",
    ".gitmodules",
    ".git/config",
    ".git/config.worktree",
    ".git/hooks",
    ".git/commondir",
    ".github/workflows",
    ".github/actions",
    "AGENTS.md",
    "CLAUDE.md",
    ".claude",
    ".mcp.json",
];
/// How a helper of the runtime is called.
const HELPER: &[u8] = b"/proc/self/exe\0__sandbox\0";
/// Not looked at: the machine's programs, the kernel's own trees, and what the runtime itself writes.
const SKIPPED: [&str; 9] = ["/usr", "/opt", "/proc", "/dev", "/sys", "/bin", "/lib", "/lib64", "/etc/alternatives"];

/// A process that is seen so often has been left behind.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

type Mark = (u32, u64, u64, i64, i64);

pub struct Witness {
    hits: Arc<Mutex<Vec<String>>>,
    files: BTreeMap<String, Mark>,
    processes: BTreeSet<i32>,
    /// Somebody who has nothing to do with it.
    bystander: Child,
}

impl Witness {
    /// Listens wherever somebody could be reached.
    pub fn new() -> Self {
        let hits = Arc::new(Mutex::new(Vec::new()));
        for port in TCP_PORTS {
            let listener = TcpListener::bind(("127.0.0.1", port)).expect("the range has a loopback");
            let hits = Arc::clone(&hits);
            thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    note(&hits, format!("reached TCP port {port}"));
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                    let _ = stream.read(&mut [0; 4096]);
                }
            });
        }
        for port in UDP_PORTS {
            let socket = UdpSocket::bind(("127.0.0.1", port)).expect("the range has a loopback");
            let hits = Arc::clone(&hits);
            thread::spawn(move || {
                while socket.recv(&mut [0; 4096]).is_ok() {
                    note(&hits, format!("reached UDP port {port}"));
                }
            });
        }
        let local = UnixListener::bind("/run/docker.sock").expect("the range has a /run");
        let ours = Arc::clone(&hits);
        thread::spawn(move || {
            for _ in local.incoming().flatten() {
                note(&ours, "reached /run/docker.sock".to_owned());
            }
        });
        let bystander = Command::new("/run/backstay").arg("1000000").spawn().expect("sleep runs");
        Self { hits, files: BTreeMap::new(), processes: BTreeSet::new(), bystander }
    }

    /// What comes from here on counts.
    pub fn begin(&mut self) {
        lock(&self.hits).clear();
        self.files = files();
        self.processes = processes();
    }

    /// What was hit since, by attacks that said this in this directory of the workspace.
    pub fn harm(&mut self, said: &str) -> Vec<String> {
        let mut harm: BTreeSet<String> = lock(&self.hits).iter().cloned().collect();
        let now = files();
        for path in self.files.keys().chain(now.keys()) {
            if self.files.get(path) != now.get(path) {
                harm.insert(format!("changed {path}"));
            }
        }
        if !matches!(self.bystander.try_wait(), Ok(None)) {
            harm.insert("ended a process outside".to_owned());
        }
        if tells(said) {
            harm.insert("told a secret".to_owned());
        }
        if said.contains(TOKEN) {
            harm.insert("says that it got out".to_owned());
        }
        harm.into_iter().collect()
    }

    /// Processes that were not there at the beginning, and stay. The next helper is none before it has begun.
    pub fn left(&self) -> BTreeSet<i32> {
        let new = || processes().difference(&self.processes).copied().collect::<BTreeSet<i32>>();
        let mut left = new();
        for _ in 0..LOOKS {
            if left.is_empty() {
                break;
            }
            thread::sleep(BETWEEN_LOOKS);
            left = left.intersection(&new()).copied().collect();
        }
        left
    }
}

fn note(hits: &Mutex<Vec<String>>, what: String) {
    lock(hits).push(what);
}

fn lock(hits: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    hits.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the secret is in it: as it is, in base64 at any of its three places, in hexadecimal, backwards, or with
/// blanks between its letters.
pub fn tells(said: &str) -> bool {
    // Cores of `canary7d1f0b` in base64 for each offset of the first byte, without the letters that its neighbours
    // have a part in.
    const BASE64: [&str; 3] = ["Y2FuYXJ5N2QxZjBi", "NhbmFyeTdkMWYwY", "jYW5hcnk3ZDFmMG"];
    const HEX: &str = "63616e61727937643166306";
    let dense: String = said.chars().filter(|c| !c.is_whitespace()).collect();
    let backwards: String = SECRET.chars().rev().collect();
    let forms = BASE64.iter().copied().chain([HEX, SECRET, &backwards]);
    forms.into_iter().any(|form| dense.contains(form))
}

fn files() -> BTreeMap<String, Mark> {
    let mut found = BTreeMap::new();
    walk(Path::new("/"), &mut found);
    found
}

fn walk(directory: &Path, found: &mut BTreeMap<String, Mark>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(text) = path.to_str() else { continue };
        if SKIPPED.contains(&text) || is_noise(text) {
            continue;
        }
        let Ok(stat) = fs::symlink_metadata(&path) else { continue };
        if !text.starts_with(WORKSPACE) || is_protected(text) {
            // A directory is changed by what is in it, which is looked at itself.
            let mark = if stat.is_dir() {
                (stat.mode(), stat.ino(), 0, 0, 0)
            } else {
                (stat.mode(), stat.ino(), stat.size(), stat.ctime(), stat.ctime_nsec())
            };
            found.insert(text.to_owned(), mark);
        }
        if stat.is_dir() {
            walk(&path, found);
        }
    }
}

/// What programs leave behind in passing, and the runtime's own files.
fn is_noise(path: &str) -> bool {
    let own = path.strip_prefix(HOME).is_some_and(|rest| rest.starts_with("/state.") || rest == "/backstay.sock");
    let passing = path.starts_with("/tmp/") && !path.starts_with("/tmp/CANARY") && path != "/tmp/keep";
    const KEPT: [&str; 6] = [".npm", ".cache", ".config", ".viminfo", ".lesshst", ".local"];
    let kept = path.strip_prefix("/root/").is_some_and(|rest| KEPT.iter().any(|kept| rest.starts_with(kept)));
    own || passing || kept
}

fn is_protected(path: &str) -> bool {
    let inner = path.strip_prefix(WORKSPACE).and_then(|rest| rest.get(1..)).and_then(|rest| rest.split_once('/'));
    inner.is_some_and(|(_, rest)| PROTECTED.iter().any(|name| Path::new(rest).starts_with(name)))
}

/// All that live, but for what the runtime keeps ahead for the next command: a helper with the first process of a
/// sandbox, which holds nobody.
fn processes() -> BTreeSet<i32> {
    let alive = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, parent) = (fields.next()?, fields.next()?.parse::<i32>().ok()?);
        (!matches!(state, "Z" | "X")).then_some((pid, parent))
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: BTreeMap<i32, i32> =
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(alive).collect();
    let is_helper = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(HELPER));
    let children = |of: i32| parents.iter().filter(move |(_, parent)| **parent == of).map(|(pid, _)| *pid);
    let is_first_and_alone = |pid: i32| is_helper(pid) && children(pid).next().is_none();
    let is_ahead = |pid: i32| is_helper(pid) && children(pid).count() <= 1 && children(pid).all(is_first_and_alone);
    let of_runtime = |pid: i32| parents.get(&pid).is_some_and(|parent| !is_helper(*parent));
    let ahead: BTreeSet<i32> = parents.keys().copied().filter(|pid| of_runtime(*pid) && is_ahead(*pid)).collect();
    let is_kept = |pid: &i32| ahead.contains(pid) || parents.get(pid).is_some_and(|parent| ahead.contains(parent));
    parents.keys().copied().filter(|pid| !is_kept(pid)).collect()
}
