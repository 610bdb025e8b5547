//! A server that speaks Chat Completions and says what a test wants a model to say, as badly as it
//! wants. Of the product it is as strict as the vendor: each request must answer every call.
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// What becomes of one request.
pub enum Play {
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, until the client hangs up.
    Hang,
}

pub struct Scripted {
    pub url: String,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Scripted {
    /// `script` is asked with the number of the request, from 0, and its body.
    pub fn start(script: impl Fn(usize, &Value) -> Play + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let (seen, script) = (Arc::clone(&requests), Arc::new(script));
        // Ends with the test's process: nobody connects any more.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                std::thread::spawn(move || answer(stream, &seen, &*script));
            }
        });
        Self { url, requests }
    }

    /// The same answers each time, one after the other, and the last for ever.
    pub fn playing(answers: Vec<Vec<u8>>) -> Self {
        Self::start(move |n, _| Play::Bytes(answers[n.min(answers.len() - 1)].clone()))
    }

    /// The requests that came: head and body.
    pub fn requests(&self) -> Vec<(String, Value)> {
        self.requests.lock().unwrap().clone()
    }

    /// Their heads.
    pub fn heads(&self) -> Vec<String> {
        self.requests().into_iter().map(|(head, _)| head).collect()
    }

    /// Their bodies; each has exactly one answer to every call, in order, and calls whose ids differ.
    pub fn bodies(&self) -> Vec<Value> {
        let bodies: Vec<Value> = self.requests().into_iter().map(|(_, body)| body).collect();
        bodies.iter().for_each(check_pairs);
        bodies
    }

    /// The config of a home whose one agent is asked here. `more` is added to the agent's table.
    pub fn config(&self, more: &str) -> String {
        config("openai", &self.url, more)
    }
}

pub fn config(kind: &str, url: &str, more: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[limits]\nmessages_per_minute = 6000\n[principals.owner]\nrole = \"owner\"\n\
         [providers.p]\nkind = \"{kind}\"\nbase_url = \"{url}\"\napi_key_env = \"MODEL_KEY\"\n\
         [models.default]\nprovider = \"p\"\nname = \"m\"\ncontext_tokens = 32768\nmax_output_tokens = 512\n\
         price_usd_per_mtok = {{ input = 0.1, output = 0.5 }}\n\
         [agents.main]\nmodel = \"default\"\n{more}\n\
         [agents.main.grants]\ntools = [\"read_file\", \"write_file\", \"list_dir\", \"remember\"]\n\
         read = [\"workspace\"]\nwrite = [\"workspace\"]\n"
    )
}

fn answer(stream: TcpStream, seen: &Mutex<Vec<(String, Value)>>, script: &dyn Fn(usize, &Value) -> Play) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
        let line = head[start..].trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push((head, body.clone()));
        seen.len() - 1
    };
    match script(number, &body) {
        Play::Bytes(bytes) => drop(reader.get_mut().write_all(&bytes)),
        Play::Hang => drop(reader.read(&mut [0])),
    }
}

fn check_pairs(body: &Value) {
    let messages = body["messages"].as_array().unwrap();
    let mut at = 0;
    while let Some(message) = messages.get(at) {
        at += 1;
        assert_ne!(message["role"], "tool", "an answer to no call: {message}");
        let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ids: BTreeSet<&str> = calls.iter().map(|call| call["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), calls.len(), "ids that do not differ: {message}");
        for call in calls {
            assert_eq!((&messages[at]["role"], &messages[at]["tool_call_id"]), (&json!("tool"), &call["id"]));
            at += 1;
        }
    }
}

/// A response that is whole when the connection ends.
pub fn response(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

pub fn stream(body: impl AsRef<[u8]>) -> Vec<u8> {
    response("200 OK", "content-type: text/event-stream\r\n", body)
}

pub fn whole(message: &Value, finish: &str, usage: &Value) -> Vec<u8> {
    let body = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": finish }], "usage": usage });
    response("200 OK", "content-type: application/json\r\n", body.to_string())
}

pub fn usage() -> Value {
    json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 })
}

pub fn says(text: &str) -> Vec<u8> {
    whole(&json!({ "role": "assistant", "content": text }), "stop", &usage())
}

/// Calls by (id, name, arguments), without a bill.
pub fn calls(calls: &[(&str, &str, &str)]) -> Vec<u8> {
    let call = |(id, name, arguments): &(&str, &str, &str)| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let calls: Vec<Value> = calls.iter().map(call).collect();
    whole(&json!({ "role": "assistant", "content": null, "tool_calls": calls }), "tool_calls", &Value::Null)
}
