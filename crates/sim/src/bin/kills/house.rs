//! A directory with a home in it, made once for a scenario and copied for every cut.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Not copied but linked: the runtime never writes into it, it makes it or gives it up whole.
const BALLAST: &str = "state.ballast";
/// In the directory beside the home: the session in which a scenario speaks.
const SESSION: &str = "session";
/// Keys that would make `init` choose another model than the rehearsal.
const FOREIGN: [&str; 3] = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "BACKSTAY_HOME"];

pub struct House {
    binary: PathBuf,
    directory: TempDir,
}

impl House {
    pub fn empty(binary: &Path) -> Self {
        Self::below(binary, &std::env::temp_dir())
    }

    pub fn below(binary: &Path, parent: &Path) -> Self {
        let parent = parent.canonicalize().expect("a directory for homes");
        let directory = tempfile::Builder::new().prefix("kills-").tempdir_in(parent).expect("a directory for a home");
        Self { binary: binary.to_owned(), directory }
    }

    /// Makes a home whose door takes any free port and any number of messages. Gives the token to talk with.
    pub fn init(&self) -> String {
        let made: serde_json::Value = serde_json::from_slice(&self.ok(&["init", "--json"])).expect("JSON");
        let path = self.home().join("backstay.toml");
        let config = fs::read_to_string(&path).expect("a config");
        let limits = "[limits]\nmessages_per_minute = 1000000\n\n[server]\nlisten = \"127.0.0.1:0\"";
        let config = config.replace("[server]\nlisten = \"127.0.0.1:7717\"", limits);
        assert!(config.contains(limits), "the config that `init` writes has changed");
        fs::write(&path, config).expect("the config is written");
        made.get("token").and_then(|token| token.as_str()).expect("a token").to_owned()
    }

    pub fn copy(&self) -> Self {
        let copy = Self::below(&self.binary, self.directory.path().parent().expect("a parent"));
        copy_tree(self.path(), copy.path()).expect("the house is copied");
        copy
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub fn session(&self) -> String {
        fs::read_to_string(self.path().join(SESSION)).expect("the scenario has a session")
    }

    pub fn keep_session(&self, session: &str) {
        fs::write(self.path().join(SESSION), session).expect("the session is kept");
    }

    /// `before`: programs that run the binary, such as a tracer.
    pub fn command(&self, before: &[String], arguments: &[&str]) -> Command {
        let binary = self.binary.display().to_string();
        let mut line = before.to_vec();
        line.extend([binary, "--home".to_owned(), self.home().display().to_string()]);
        line.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut words = line.iter();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        for key in FOREIGN {
            command.env_remove(key);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(&[], arguments).output().expect("the binary runs")
    }

    /// What it said, where it must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        output.stdout
    }
}

/// For a message: how a command ended and what it complained of.
pub fn said(output: &Output) -> String {
    format!("{} {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
}

/// The exit code, of those that are documented; anything else is a crash.
///
/// # Errors
/// How it crashed.
pub fn civil(output: &Output) -> Result<i32, String> {
    let is_panic = String::from_utf8_lossy(&output.stderr).contains("panicked at");
    match output.status.code() {
        Some(code @ 0..=6) if !is_panic => Ok(code),
        _ => Err(format!("crashed: {}", said(output))),
    }
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            fs::create_dir(&target)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
            copy_tree(&entry.path(), &target)?;
        } else if entry.file_name() == BALLAST {
            fs::hard_link(entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
