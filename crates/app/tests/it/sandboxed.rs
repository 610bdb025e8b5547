//! A home whose agent may run commands, and what becomes of one.
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::place::{Place, Served};

/// Whom commands become where the tests run as root: somebody who owns nothing else.
pub const NOBODYS_UID: u32 = 20_000;

/// What the model was told of the latest call.
pub const LATEST: &str = "SELECT CAST(body(CAST(id AS INTEGER)) AS TEXT) FROM (\
                          SELECT COALESCE(data ->> '$.end.done.result.id', data ->> '$.end.failed.result.id', \
                          data ->> '$.verdict.invalid.detail.id') AS id, at FROM v_records \
                          WHERE id IS NOT NULL ORDER BY at DESC LIMIT 1)";

pub struct Sandboxed {
    pub place: Place,
}

impl Sandboxed {
    /// `programs` as a list in TOML; `sandbox` are lines of its table.
    pub fn home(programs: &str, sandbox: &str) -> Self {
        let place = Place::with_home();
        let granted = format!("[\"run_command\", \"write_file\", \"read_output\"]\nprograms = {programs}");
        let config: Vec<String> = place
            .config()
            .lines()
            .map(|line| if line.starts_with("tools = ") { format!("tools = {granted}") } else { line.to_owned() })
            .collect();
        let uid = if is_root() { format!("uid = {NOBODYS_UID}\n") } else { String::new() };
        let free = if sandbox.contains("free_disk_mib") { "" } else { "free_disk_mib = 0\n" };
        place.write_config(&format!(
            "{}\n[limits]\nmessages_per_minute = 100000\n[sandbox]\n{uid}{free}{sandbox}\n",
            config.join("\n")
        ));
        let home = Self { place };
        home.own(&home.workspace());
        home
    }

    /// Commands become somebody else from here on, where the tests run as root.
    pub fn become_user(&self, uid: u32) {
        let config = self.place.config();
        let lines = config
            .lines()
            .map(|line| if line.starts_with("uid = ") { format!("uid = {uid}") } else { line.to_owned() });
        self.place.write_config(&lines.collect::<Vec<_>>().join("\n"));
    }

    pub fn workspace(&self) -> PathBuf {
        self.place.home().join("workspace")
    }

    /// With something in its environment.
    pub fn serve_with(&self, name: &str, value: &str) -> Served {
        let mut command = self.place.command(&["serve", "--json"]);
        command.env(name, value);
        Place::served(command)
    }

    /// Takes everything out of the workspace.
    pub fn empty(&self) {
        for entry in std::fs::read_dir(self.workspace()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// Gives something in the workspace to whom commands run as.
    pub fn own(&self, path: &Path) {
        if is_root() {
            let owner = Some(NOBODYS_UID);
            std::os::unix::fs::lchown(path, owner, owner).unwrap();
            if path.is_dir() && !path.is_symlink() {
                std::fs::read_dir(path).unwrap().for_each(|entry| self.own(&entry.unwrap().path()));
            }
        }
    }

    /// What the model is told: the tool's result, or the words of a refusal.
    pub fn run(&self, command: &str) -> Value {
        self.call(&json!({ "command": command }))
    }

    pub fn call(&self, arguments: &Value) -> Value {
        self.place.run(&["run", &format!("/call run_command {arguments}")]).expect(0);
        self.latest()
    }

    /// The result of the latest call.
    pub fn latest(&self) -> Value {
        let text = self.latest_text();
        // Behind it the runtime may say where the full output is.
        let line = text.lines().next().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|_| Value::from(text))
    }

    /// The same as the model reads it.
    pub fn latest_text(&self) -> String {
        let found = self.place.run(&["sql", LATEST, "--json"]).json(0);
        found["rows"][0][0].as_str().unwrap_or_else(|| panic!("{found}")).to_owned()
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// How many processes of this machine have `word` in their command line.
pub fn processes_with(word: &str) -> usize {
    let named = |pid: &Path| std::fs::read(pid.join("cmdline")).is_ok_and(|line| find(&line, word.as_bytes()));
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let own = PathBuf::from(format!("/proc/{}", std::process::id()));
    all.filter(|path| *path != own && named(path)).count()
}

fn find(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}
