//! Installs what the tests need beyond cargo: tools, and peers that somebody else wrote. Everything comes
//! by ordinary package clients at pinned versions; what is there already is left alone.
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::Instant;

use crate::process;

/// Where the peers and their stamps lie; git ignores it, and `rm -r` is a clean start.
const DIRECTORY: &str = ".setup";
const PYTHON: &str = ".setup/python/bin/python";

type Line = &'static [&'static str];

struct Need {
    name: &'static str,
    /// Ends well where the need is met.
    probe: Line,
    /// Files that decide what is installed. Their text is the stamp, so that any change installs anew.
    pins: &'static [&'static str],
    install: &'static [Line],
    /// What a person does where `install` cannot.
    by_hand: &'static str,
}

const NEEDS: &[Need] = &[
    tool("python3", &["python3", "-c", "import ensurepip, venv"], &[], "install Python 3.11 or later, with venv"),
    tool("openssl", &["openssl", "version"], &[], "install openssl"),
    tool("npm", &["npm", "--version"], &[], "install Node.js 20 or later, with npm"),
    tool(
        "strace",
        &["strace", "-V"],
        &[&["apt-get", "update", "-qq"], &["apt-get", "install", "-y", "-qq", "--no-install-recommends", "strace"]],
        "as root: `apt-get install strace`",
    ),
    tool(
        "cargo-nextest",
        &["cargo", "nextest", "--version"],
        &[&["cargo", "install", "--locked", "cargo-nextest", "--version", "0.9.143"]],
        "`cargo install --locked cargo-nextest`",
    ),
    tool(
        "cargo-deny",
        &["cargo", "deny", "--version"],
        &[&["cargo", "install", "--locked", "cargo-deny", "--version", "0.20.2"]],
        "`cargo install --locked cargo-deny`",
    ),
    Need {
        name: "python",
        probe: &[PYTHON, "-c", "import openai, anthropic, standardwebhooks, xllamacpp"],
        pins: &["tests/peers/requirements.txt"],
        install: &[
            &["rm", "-rf", ".setup/python"],
            &["python3", "-m", "venv", ".setup/python"],
            // No resolving and no compiling: the pins name every package, and each has a wheel.
            &[PYTHON, "-m", "pip", "install", "-q", "--no-deps", "-r", "tests/peers/requirements.txt"],
        ],
        by_hand: "is the package index reachable?",
    },
    Need {
        name: "node",
        probe: &[".setup/node/node_modules/.bin/llmock", "--help"],
        pins: &["tests/peers/package.json", "tests/peers/package-lock.json"],
        install: &[
            &["rm", "-rf", ".setup/node"],
            &["mkdir", "-p", ".setup/node"],
            &["cp", "tests/peers/package.json", "tests/peers/package-lock.json", ".setup/node"],
            // The lock's hashes decide what is accepted; packages run nothing while they are installed.
            &["npm", "ci", "--prefix", ".setup/node", "--ignore-scripts", "--no-audit", "--no-fund"],
        ],
        by_hand: "is the package index reachable?",
    },
    Need {
        name: "mcp",
        probe: &["test", "-d", ".setup/mcp/node_modules/@modelcontextprotocol/server-memory"],
        pins: &["tests/peers/mcp/package.json", "tests/peers/mcp/package-lock.json"],
        install: &[
            &["rm", "-rf", ".setup/mcp"],
            &["mkdir", "-p", ".setup/mcp"],
            &["cp", "tests/peers/mcp/package.json", "tests/peers/mcp/package-lock.json", ".setup/mcp"],
            &["npm", "ci", "--prefix", ".setup/mcp", "--ignore-scripts", "--no-audit", "--no-fund"],
        ],
        by_hand: "is the package index reachable?",
    },
];

const AGENTDOJO_PYTHON: &str = ".setup/agentdojo/bin/python";

/// Not among those of the tests: some 300 MB of wheels, for one benchmark.
const AGENTDOJO: Need = Need {
    name: "agentdojo",
    probe: &[AGENTDOJO_PYTHON, "-c", "import agentdojo.task_suite.load_suites"],
    pins: &["tests/agentdojo/requirements.txt"],
    install: &[
        &["rm", "-rf", ".setup/agentdojo"],
        &["python3", "-m", "venv", ".setup/agentdojo"],
        &[AGENTDOJO_PYTHON, "-m", "pip", "install", "-q", "--no-deps", "-r", "tests/agentdojo/requirements.txt"],
    ],
    by_hand: "is the package index reachable?",
};

const fn tool(name: &'static str, probe: Line, install: &'static [Line], by_hand: &'static str) -> Need {
    Need { name, probe, pins: &[], install, by_hand }
}

/// Meets every need, and names all that it could not meet.
pub fn run(root: &Path) -> Result<(), String> {
    fs::create_dir_all(root.join(DIRECTORY)).map_err(|e| format!("{DIRECTORY}: {e}"))?;
    let unmet = NEEDS.iter().filter_map(|need| {
        let why = meet(root, need).err()?;
        Some(format!("setup: {}: {why}; {}", need.name, need.by_hand))
    });
    process::report("setup", &unmet.collect::<Vec<_>>())
}

/// Installs AgentDojo where it is missing; the Python that has it.
pub fn agentdojo(root: &Path) -> Result<&'static str, String> {
    fs::create_dir_all(root.join(DIRECTORY)).map_err(|e| format!("{DIRECTORY}: {e}"))?;
    meet(root, &AGENTDOJO).map_err(|why| format!("setup: agentdojo: {why}; {}", AGENTDOJO.by_hand))?;
    Ok(AGENTDOJO_PYTHON)
}

fn meet(root: &Path, need: &Need) -> Result<(), String> {
    let texts: Result<Vec<String>, String> = need.pins.iter().map(|path| process::file(root, path)).collect();
    let pins = texts?.concat();
    let stamp = root.join(DIRECTORY).join(format!("{}.pins", need.name));
    let is_stamped = need.pins.is_empty() || fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == pins);
    if is_stamped && process::works(root, need.probe) {
        return Ok(());
    }
    let start = Instant::now();
    println!("setup: {}: missing or out of date", need.name);
    need.install.iter().try_for_each(|line| process::run(root, line))?;
    if !process::works(root, need.probe) {
        return Err(format!("`{}` does not work", need.probe.join(" ")));
    }
    println!("setup: {}: installed in {:.1} s", need.name, start.elapsed().as_secs_f64());
    // Last, so that an installation that was cut off is begun anew.
    if need.pins.is_empty() { Ok(()) } else { fs::write(&stamp, pins).map_err(|e| format!("{}: {e}", stamp.display())) }
}

/// Becomes the server, so that a signal to this process is a signal to it. Returns only if it cannot.
pub fn real_model(root: &Path, port: &[&str]) -> Result<(), String> {
    let line = [&[PYTHON, "tests/peers/real_model.py"], port].concat();
    let error = process::command(root, &line).exec();
    Err(format!("{PYTHON}: {error}; `cargo xtask setup` installs it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_met_once_and_again_when_its_pins_change() {
        let root = process::root().unwrap().join("target/xtask-setup-test");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join(DIRECTORY)).unwrap();
        let need = Need {
            name: "planted",
            probe: &["test", "-e", "installed"],
            pins: &["pins"],
            install: &[&["sh", "-c", "echo x >> installed"]],
            by_hand: "",
        };
        let installs = || fs::read_to_string(root.join("installed")).unwrap().lines().count();
        for (pins, expected) in [("1", 1), ("1", 1), ("2", 2)] {
            fs::write(root.join("pins"), pins).unwrap();
            meet(&root, &need).unwrap();
            assert_eq!(installs(), expected);
        }
        let broken = Need { install: &[], probe: &["false"], ..need };
        assert!(meet(&root, &broken).unwrap_err().contains("does not work"));
    }
}
