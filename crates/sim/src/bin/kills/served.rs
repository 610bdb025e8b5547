//! A process that serves a home, and a client that speaks to it as any other would: over HTTP, with
//! a key for every command, again until it is acknowledged.
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::house::House;

/// Longer than a turn on a loaded machine; past it the process hangs.
const ANSWER: Duration = Duration::from_secs(30);
/// Tries of a command that is answered "not now", and the pause between two: ten seconds, twenty
/// times what the runtime waits before it tries a disk again.
const TRIES: u32 = 400;
const PAUSE: Duration = Duration::from_millis(25);

/// Why a client stops: nobody answers any more, or the answer is a no.
#[derive(Debug)]
pub enum Why {
    Lost(String),
    Refused(u16, Value),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "lost: {why}"),
            Self::Refused(status, body) => write!(f, "{status} {body}"),
        }
    }
}

pub type Said<T> = Result<T, Why>;

fn lost(error: std::io::Error) -> Why {
    Why::Lost(error.to_string())
}

pub struct Served {
    child: Child,
    group: Pid,
    /// Where it listens.
    pub address: String,
}

impl Served {
    /// `before`: the tracer, if there is one.
    ///
    /// # Errors
    /// How it ended before it listened.
    pub fn start(house: &House, before: &[String]) -> Result<Self, ExitStatus> {
        let mut command = house.command(before, &["serve", "--json"]);
        let log = std::fs::File::options().create(true).append(true).open(house.path().join("serve.log"));
        let log = log.expect("a log");
        let mut child =
            command.process_group(0).stdout(Stdio::piped()).stderr(log).stdin(Stdio::null()).spawn().expect("a server");
        let group = Pid::from_child(&child);
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        let told = BufReader::new(out).read_line(&mut line).unwrap_or(0);
        if told == 0 {
            return Err(child.wait().expect("it was not waited for before"));
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        Ok(Self { child, group, address: text(&said, "listen") })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(mut self) {
        self.end(Signal::KILL);
    }

    /// As an operator stops it.
    pub fn stop(mut self) -> ExitStatus {
        self.end(Signal::TERM).expect("it was not waited for before")
    }

    fn end(&mut self, signal: Signal) -> Option<ExitStatus> {
        // With a tracer or a time limit around it the server is not the child itself.
        let _ = kill_process_group(self.group, signal);
        self.child.wait().ok()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end(Signal::KILL);
        }
    }
}

/// The way in.
#[derive(Clone, Debug)]
pub enum Door {
    /// The socket of the home's own user.
    Local(PathBuf),
    /// The same, for a person who types.
    Terminal(PathBuf),
    Tcp {
        address: String,
        token: String,
    },
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

impl Door {
    pub fn local(home: &Path) -> Self {
        Self::Local(home.join("backstay.sock"))
    }

    pub fn at_terminal(home: &Path) -> Self {
        Self::Terminal(home.join("backstay.sock"))
    }

    fn connect(&self) -> Said<Box<dyn Wire>> {
        match self {
            Self::Local(path) | Self::Terminal(path) => {
                let stream = UnixStream::connect(path).map_err(lost)?;
                stream.set_read_timeout(Some(ANSWER)).map_err(lost)?;
                Ok(Box::new(stream))
            }
            Self::Tcp { address, .. } => {
                let stream = TcpStream::connect(address).map_err(lost)?;
                stream.set_read_timeout(Some(ANSWER)).map_err(lost)?;
                Ok(Box::new(stream))
            }
        }
    }

    /// Sends a request and reads the head of its answer.
    fn ask(&self, method: &str, path: &str, key: Option<&str>, body: &str) -> Said<(u16, BufReader<Box<dyn Wire>>)> {
        let (host, speaker) = match self {
            Self::Local(_) => ("localhost", String::new()),
            Self::Terminal(_) => ("localhost", "X-Backstay-Speaks: human\r\n".to_owned()),
            Self::Tcp { address, token } => (address.as_str(), format!("Authorization: Bearer {token}\r\n")),
        };
        let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{speaker}{key}Content-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = self.connect()?;
        stream.write_all(head.as_bytes()).map_err(lost)?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).map_err(lost)?;
        let status = line.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        let cut = || Why::Lost(format!("the answer to {method} {path} was cut"));
        let status = status.ok_or_else(cut)?;
        while line.trim_end() != "" {
            line.clear();
            if reader.read_line(&mut line).map_err(lost)? == 0 {
                return Err(cut());
            }
        }
        Ok((status, reader))
    }

    /// One try.
    pub fn call(&self, method: &str, path: &str, key: Option<&str>, body: &Value) -> Said<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, mut reader) = self.ask(method, path, key, &body)?;
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).map_err(lost)?;
        let answer = serde_json::from_slice(&answer).map_err(|error| Why::Lost(format!("half an answer: {error}")))?;
        if (200..300).contains(&status) { Ok(answer) } else { Err(Why::Refused(status, answer)) }
    }

    /// Tries until it is not "not now" any more.
    fn insist(&self, method: &str, path: &str, key: Option<&str>, body: &Value) -> Said<Value> {
        let mut tries = 1;
        loop {
            match self.call(method, path, key, body) {
                Err(Why::Refused(429 | 503, _)) if tries < TRIES => std::thread::sleep(PAUSE),
                other => return other,
            }
            tries += 1;
        }
    }

    pub fn get(&self, path: &str) -> Said<Value> {
        self.insist("GET", path, None, &Value::Null)
    }

    pub fn post(&self, path: &str, key: &str, body: &Value) -> Said<Value> {
        self.insist("POST", path, Some(key), body)
    }

    pub fn open_session(&self, key: &str) -> Said<String> {
        Ok(text(&self.post("/api/sessions", key, &json!({ "agent": "main" }))?, "session"))
    }

    /// Gives the turn.
    pub fn say(&self, session: &str, key: &str, words: &str) -> Said<String> {
        let said = self.post(&format!("/api/sessions/{session}/messages"), key, &json!({ "text": words }))?;
        Ok(text(&said, "turn"))
    }

    /// The turn when it has ended or waits for a person. Looks again at every event of its session.
    pub fn settle(&self, turn: &str) -> Said<Value> {
        let session = turn.split('.').next().unwrap_or_default();
        let (status, events) = self.ask("GET", &format!("/api/sessions/{session}/events?after=0"), None, "")?;
        if status != 200 {
            return Err(Why::Refused(status, Value::Null));
        }
        let mut lines = events.lines();
        loop {
            let now = self.get(&format!("/api/turns/{turn}"))?;
            let waits = ["approval", "question", "doubt"].contains(&text(&now, "wait").as_str());
            if text(&now, "state") == "ended" || waits {
                return Ok(now);
            }
            loop {
                let line = lines.next().ok_or_else(|| Why::Lost("the events ended".to_owned()))?.map_err(lost)?;
                if line.starts_with("event: ") && line != "event: delta" {
                    break;
                }
            }
        }
    }
}

pub fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}
