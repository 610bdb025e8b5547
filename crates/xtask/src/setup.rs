//! Installs what the tests need beyond cargo: tools, and peers that somebody else wrote. Everything comes
//! by ordinary package clients at pinned versions; what is there already is left alone.
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use crate::process;

/// Where the peers are installed; git ignores it and `rm -r` is a clean start.
const DIRECTORY: &str = ".setup";
const PYTHON: &str = ".setup/python/bin/python";

/// A program that the checks call.
struct Tool {
    name: &'static str,
    probe: &'static [&'static str],
    install: Install,
}

enum Install {
    /// A package from crates.io and the version that is installed where there is none.
    Cargo(&'static str),
    /// A package of the distribution; its name is the tool's.
    Apt,
    /// Not installed here, since a machine has its own way to it.
    ByHand(&'static str),
}

const TOOLS: &[Tool] = &[
    Tool { name: "git", probe: &["git", "--version"], install: Install::ByHand("any version") },
    Tool {
        name: "python3",
        probe: &["python3", "-c", "import venv"],
        install: Install::ByHand("3.10 or later, with venv"),
    },
    Tool { name: "npm", probe: &["npm", "--version"], install: Install::ByHand("with Node.js 20 or later") },
    Tool { name: "strace", probe: &["strace", "-V"], install: Install::Apt },
    Tool { name: "cargo-nextest", probe: &["cargo", "nextest", "--version"], install: Install::Cargo("0.9.143") },
    Tool { name: "cargo-deny", probe: &["cargo", "deny", "--version"], install: Install::Cargo("0.20.2") },
];

/// Packages of one language, in a directory of their own.
struct Peers {
    name: &'static str,
    directory: &'static str,
    /// Files that decide what is installed; the stamp is their text, so that any change installs anew.
    pins: &'static [&'static str],
    probe: &'static [&'static str],
    install: fn(&Path) -> Result<(), String>,
}

const PEERS: &[Peers] = &[
    Peers {
        name: "python peers",
        directory: "python",
        pins: &["tests/peers/requirements.txt"],
        probe: &[PYTHON, "-c", "import openai, anthropic, xllamacpp"],
        install: install_python,
    },
    Peers {
        name: "node peers",
        directory: "node",
        pins: &["tests/peers/package.json", "tests/peers/package-lock.json"],
        probe: &[".setup/node/node_modules/.bin/llmock", "--help"],
        install: install_node,
    },
];

pub fn run(root: &Path) -> Result<(), String> {
    fs::create_dir_all(root.join(DIRECTORY)).map_err(|e| format!("{DIRECTORY}: {e}"))?;
    // Everything that is missing is named at once.
    let tools = TOOLS.iter().map(|tool| timed(tool.name, || ensure_tool(root, tool)));
    let missing: Vec<String> = tools.filter_map(Result::err).collect();
    process::report("setup", &missing)?;
    let peers = PEERS.iter().map(|peers| timed(peers.name, || ensure_peers(root, peers)));
    let failed: Vec<String> = peers.filter_map(Result::err).collect();
    process::report("setup", &failed)
}

/// Says what was done and how long it took; nothing where nothing was to do.
fn timed(name: &str, ensure: impl FnOnce() -> Result<bool, String>) -> Result<(), String> {
    let start = Instant::now();
    let installed = ensure().map_err(|e| format!("setup: {name}: {e}"))?;
    if installed {
        println!("setup: {name}: installed in {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Whether it had to be installed.
fn ensure_tool(root: &Path, tool: &Tool) -> Result<bool, String> {
    if process::works(root, tool.probe) {
        return Ok(false);
    }
    println!("setup: {}: missing", tool.name);
    match tool.install {
        Install::Cargo(version) => {
            process::run(root, &["cargo", "install", "--locked", tool.name, "--version", version])?;
        }
        Install::Apt if process::read(root, &["id", "-u"])?.trim() == "0" => {
            process::run(root, &["apt-get", "update", "-qq"])?;
            process::run(root, &["apt-get", "install", "-y", "-qq", "--no-install-recommends", tool.name])?;
        }
        Install::Apt => {
            return Err(format!("missing, and only root may install it: `sudo apt-get install {}`", tool.name));
        }
        Install::ByHand(version) => return Err(format!("missing: install it ({version}) and run this again")),
    }
    if process::works(root, tool.probe) {
        Ok(true)
    } else {
        Err(format!("installed, but `{}` fails", tool.probe.join(" ")))
    }
}

/// Whether they had to be installed.
fn ensure_peers(root: &Path, peers: &Peers) -> Result<bool, String> {
    let mut pins = String::new();
    for path in peers.pins {
        pins.push_str(&process::file(root, path)?);
    }
    let directory = root.join(DIRECTORY).join(peers.directory);
    let stamp = root.join(DIRECTORY).join(format!("{}.pins", peers.directory));
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == pins) && process::works(root, peers.probe) {
        return Ok(false);
    }
    println!("setup: {}: installing", peers.name);
    // Without its stamp, an installation that was cut off is begun anew.
    let fresh = || {
        if stamp.exists() {
            fs::remove_file(&stamp)?;
        }
        if directory.exists() { fs::remove_dir_all(&directory) } else { Ok(()) }
    };
    fresh().map_err(|e| format!("{}: {e}", directory.display()))?;
    (peers.install)(root)?;
    if !process::works(root, peers.probe) {
        return Err(format!("installed, but `{}` fails", peers.probe.join(" ")));
    }
    fs::write(&stamp, pins).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(true)
}

fn install_python(root: &Path) -> Result<(), String> {
    process::run(root, &["python3", "-m", "venv", ".setup/python"])?;
    // No resolving and no compiling: the pins name every package, and each has a wheel.
    let pip = &["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"];
    process::run(root, &[&[PYTHON], pip.as_slice(), &["-r", "tests/peers/requirements.txt"]].concat())
}

fn install_node(root: &Path) -> Result<(), String> {
    let directory = root.join(DIRECTORY).join("node");
    let copy = |name: &str| fs::copy(root.join("tests/peers").join(name), directory.join(name));
    fs::create_dir_all(&directory)
        .and_then(|()| copy("package.json"))
        .and_then(|_| copy("package-lock.json"))
        .map_err(|e| format!("{}: {e}", directory.display()))?;
    // The lock's hashes decide what is accepted; packages run nothing while they are installed.
    process::run(&directory, &["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"])
}

/// Becomes the server, so that a signal to this process is a signal to it. Returns only if it cannot.
pub fn real_model(root: &Path, port: &[&str]) -> Result<(), String> {
    if !root.join(PYTHON).exists() {
        return Err("the python peers are not installed: `cargo xtask setup`".to_owned());
    }
    let line = [&[PYTHON, "tests/peers/real_model.py"], port].concat();
    Err(process::command(root, &line).stdin(Stdio::null()).exec().to_string())
}
