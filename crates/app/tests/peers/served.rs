//! A home with its own server, for as long as the value lives.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::tokens::Tokens;

pub struct Served {
    child: Child,
    pub home: tempfile::TempDir,
    pub url: String,
    pub token: String,
    tokens: Tokens,
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn python() -> Command {
    let python = root().join(".setup/python/bin/python");
    assert!(python.exists(), "the peers are not installed: run `cargo xtask setup`");
    Command::new(python)
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn backstay(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstay"));
    command.arg("--home").arg(home);
    for key in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "BACKSTAY_HOME"] {
        command.env_remove(key);
    }
    command
}

/// Ends the process and waits for it, whatever the test did.
pub struct Peer(pub Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until somebody listens.
pub fn wait_for(port: u16, peer: &mut Child) {
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nothing listens on {port}");
        assert!(peer.try_wait().unwrap().is_none(), "the peer on {port} has ended");
        std::thread::yield_now();
    }
}

impl Served {
    /// `provider`: the tables `[providers.p]` and `[models.default]`, or `None` for the rehearsal.
    pub fn start(provider: Option<&str>, environment: &[(&str, &str)]) -> Self {
        Self::start_with(&["read_file", "write_file", "list_dir"], provider, environment)
    }

    /// The same with these tools granted.
    pub fn start_with(tools: &[&str], provider: Option<&str>, environment: &[(&str, &str)]) -> Self {
        Self::begin(environment, |port| config(port, tools, provider))
    }

    /// With the rehearsal, and this behind the config.
    pub fn start_and(tools: &[&str], environment: &[(&str, &str)], more: &str) -> Self {
        Self::begin(environment, |port| config(port, tools, None) + more)
    }

    fn begin(environment: &[(&str, &str)], config: impl Fn(u16) -> String) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("home");
        let made = backstay(&path).args(["init", "--json"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        std::fs::write(path.join("backstay.toml"), config(port)).unwrap();
        let mut command = backstay(&path);
        command.arg("serve").envs(environment.iter().copied()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut log = child.stderr.take().unwrap();
        wait_for(port, &mut child);
        // Somebody must read what it says.
        std::thread::spawn(move || {
            let mut sink = Vec::new();
            let _ = log.read_to_end(&mut sink);
        });
        let tokens = Tokens::of("program", || backstay(&path));
        let token = tokens.chat.clone();
        Self { child, home, url: format!("http://127.0.0.1:{port}"), token, tokens }
    }

    /// A call of the native API; the body of the answer.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> serde_json::Value {
        self.request("POST", path, &body.to_string())
    }

    pub fn get(&self, path: &str) -> serde_json::Value {
        self.request("GET", path, "")
    }

    fn request(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.tokens.of_call(path),
            body.len()
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        let mut length = None;
        while reader.read_line(&mut line).unwrap() > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse::<usize>().ok();
            }
            line.clear();
        }
        let mut answer = vec![0; length.unwrap_or(0)];
        match length {
            Some(_) => reader.read_exact(&mut answer).unwrap(),
            None => drop(reader.read_to_end(&mut answer).unwrap()),
        }
        serde_json::from_slice(&answer).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&answer)))
    }

    /// Sends a message to a new session and waits for the end of its turn.
    pub fn turn(&self, text: &str) -> serde_json::Value {
        self.ended(&self.say(text).1)
    }

    /// Sends a message to a new session; the session and the turn.
    pub fn say(&self, text: &str) -> (String, String) {
        let session = self.post("/api/sessions", &serde_json::json!({ "agent": "main" }));
        let session = session["session"].as_str().unwrap().to_owned();
        let message = serde_json::json!({ "text": text });
        let said = self.post(&format!("/api/sessions/{session}/messages"), &message);
        (session, said["turn"].as_str().unwrap().to_owned())
    }

    /// How the turn stands when it has ended.
    pub fn ended(&self, turn: &str) -> serde_json::Value {
        let until = Instant::now() + Duration::from_secs(150);
        loop {
            let view = self.get(&format!("/api/turns/{turn}"));
            if view["state"] == "ended" {
                return view;
            }
            assert!(Instant::now() < until, "the turn does not end: {view}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(port: u16, tools: &[&str], provider: Option<&str>) -> String {
    let rehearsal = "[providers.p]\nkind = \"rehearsal\"\n[models.default]\nprovider = \"p\"\nname = \"rehearsal\"\ncontext_tokens = 100000\nmax_output_tokens = 4096\nprice_usd_per_mtok = \"free\"\n";
    format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[limits]\nmessages_per_minute = 6000\n[principals.owner]\nrole = \"owner\"\n{}\n[agents.main]\nmodel = \"default\"\ninstructions = \"You are a careful assistant.\"\n[agents.main.grants]\ntools = {tools:?}\nread = [\"workspace\"]\nwrite = [\"workspace\"]\n",
        provider.unwrap_or(rehearsal)
    )
}
