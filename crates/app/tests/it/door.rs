//! A served home and its HTTP door, as a program on the other side sees it, with all that the
//! process says.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::place::Place;
use crate::tokens::Tokens;

pub struct Door {
    child: Child,
    address: String,
    tokens: Tokens,
    log: Option<JoinHandle<Vec<u8>>>,
}

/// An answer: status, the whole text with its head, and the body where it is JSON.
pub struct Answer {
    pub status: u16,
    pub text: String,
    pub json: Value,
}

impl Door {
    /// Serves the home of `place`.
    pub fn serve(place: &Place, environment: &[(&str, &str)]) -> Self {
        Self::serve_to("program", place, environment)
    }

    /// To a `human` or a `program`.
    pub fn serve_to(speaks: &str, place: &Place, environment: &[(&str, &str)]) -> Self {
        let mut command = place.command(&["serve", "--json"]);
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut said = Vec::new();
            stderr.read_to_end(&mut said).unwrap();
            said
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it does not serve: {line}"));
        let address = said["listen"].as_str().unwrap().to_owned();
        Self { child, address, tokens: Tokens::of(speaks, || place.command(&[])), log: Some(log) }
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call_with("", method, path, body)
    }

    /// The same with more header lines.
    pub fn call_with(&self, headers: &str, method: &str, path: &str, body: &Value) -> Answer {
        let mut stream = self.send(headers, method, path, body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer { status: head[9..12].parse().unwrap(), json: serde_json::from_str(body).unwrap_or_default(), text }
    }

    /// Asks, and does not wait for the answer.
    pub fn send(&self, headers: &str, method: &str, path: &str, body: &Value) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (body, address, token) = (body.to_string(), &self.address, self.tokens.of_call(path));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &Value::Null)
    }

    /// The first message of a new session; the session and the turn.
    pub fn say(&self, text: &str) -> (String, String) {
        let made = self.call("POST", "/api/sessions", &json!({ "agent": "main" }));
        let session = made.json["session"].as_str().unwrap().to_owned();
        let turn = self.say_in(&session, text);
        (session, turn)
    }

    /// The turn of a further message.
    pub fn say_in(&self, session: &str, text: &str) -> String {
        let said = self.call("POST", &format!("/api/sessions/{session}/messages"), &json!({ "text": text }));
        assert_eq!(said.status, 202, "{}", said.text);
        said.json["turn"].as_str().unwrap().to_owned()
    }

    /// All events of a session, deltas included, up to the end of its turn.
    pub fn events_until_ended(&self, session: &str) -> String {
        let stream = self.send("", "GET", &format!("/api/sessions/{session}/events?after=0"), &Value::Null);
        let (mut lines, mut all) = (BufReader::new(stream), String::new());
        while !all.contains("turn_ended") {
            assert!(lines.read_line(&mut all).unwrap() > 0, "{all}");
        }
        all
    }

    /// How the turn stands when it has ended.
    pub fn ended(&self, turn: &str) -> Value {
        loop {
            let view = self.get(&format!("/api/turns/{turn}")).json;
            if view["state"] == "ended" {
                return view;
            }
            std::thread::yield_now();
        }
    }

    /// The process's own id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// As a crash would: no handler runs.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop and waits; what it said on stderr.
    pub fn stop(mut self) -> Vec<u8> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
