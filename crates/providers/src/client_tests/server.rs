//! A TCP server that plays one prepared answer to every connection, and a call against it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_kernel::id::Millis;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::{Client, Delta, Endpoint, Failed, Kind, Reply, Secret, Timeouts};

pub const KEY: &str = "sk-test-4711";
pub const NOW: Millis = 1_795_234_800_000;
pub const LONG: Duration = Duration::from_secs(60);

/// What the server does after the prepared bytes.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    Close,
    /// Keeps the connection open and says nothing more.
    Hang,
    /// Answers the next request of the connection too; the last write waits for the gate.
    Again,
}

pub struct Server {
    pub url: String,
    /// Every request, head and body.
    pub requests: Arc<Mutex<Vec<String>>>,
    pub connections: Arc<Mutex<usize>>,
    pub gate: Arc<Notify>,
}

impl Server {
    /// `writes` are sent one by one, flushed.
    pub async fn start(writes: Vec<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let gate = Arc::new(Notify::new());
        let (seen, count, opened) = (Arc::clone(&requests), Arc::clone(&connections), Arc::clone(&gate));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                tokio::spawn(answer(stream, writes.clone(), then, Arc::clone(&seen), Arc::clone(&opened)));
            }
        });
        Self { url, requests, connections, gate }
    }
}

async fn answer(
    mut stream: TcpStream,
    writes: Vec<Vec<u8>>,
    then: Then,
    seen: Arc<Mutex<Vec<String>>>,
    gate: Arc<Notify>,
) {
    while let Some(request) = read(&mut stream).await {
        seen.lock().unwrap().push(request);
        for (index, bytes) in writes.iter().enumerate() {
            if matches!(then, Then::Again) && index + 1 == writes.len() {
                gate.notified().await;
            }
            if stream.write_all(bytes).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        match then {
            Then::Close => return,
            Then::Hang => std::future::pending().await,
            Then::Again => {}
        }
    }
}

/// One request with its body; none when the client has gone.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

/// A response with a length.
pub fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub fn json(body: &str) -> Vec<u8> {
    response("200 OK", "content-type: application/json\r\n", body)
}

/// A response that ends with its connection: a cut looks like an end.
pub fn unbounded(kind: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

pub fn sse(body: &str) -> Vec<u8> {
    unbounded("text/event-stream; charset=utf-8", body)
}

pub fn timeouts() -> Timeouts {
    Timeouts { first_byte: LONG, idle: LONG, whole: LONG }
}

pub fn endpoint(kind: Kind, url: &str, timeouts: Timeouts) -> Endpoint {
    Endpoint::new(kind, Some(url), Some(Secret::new(KEY)), timeouts).unwrap()
}

/// What a call ended in, and what it gave out before.
pub struct Played {
    pub result: Result<Reply, Failed>,
    pub text: String,
    pub reasoning: String,
}

pub async fn call(client: &Client, endpoint: &Endpoint) -> Played {
    let (mut text, mut reasoning) = (String::new(), String::new());
    let mut on_delta = |delta| match delta {
        Delta::Text(t) => text.push_str(&t),
        Delta::Reasoning(t) => reasoning.push_str(&t),
    };
    let result = client.call(endpoint, Bytes::from_static(b"{\"x\":1}"), "key-1", NOW, &mut on_delta).await;
    Played { result, text, reasoning }
}

/// One call of `kind` to a server that plays `bytes` and closes.
pub async fn play(kind: Kind, bytes: Vec<u8>) -> Played {
    let server = Server::start(vec![bytes], Then::Close).await;
    call(&Client::new().unwrap(), &endpoint(kind, &server.url, timeouts())).await
}

#[track_caller]
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
