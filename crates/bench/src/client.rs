//! The load: turns over HTTP, each read to its end, one after the other on as many connections as
//! a case wants. The floor is asked in the same way.
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::floor;
use crate::{Fault, Outcome};

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Plain,
    Reading,
    Writing,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Reading, Self::Writing];

    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Reading => "reading",
            Self::Writing => "writing",
        }
    }

    /// Durable commits of one such turn.
    pub fn commits(self) -> u32 {
        match self {
            Self::Plain => 2,
            Self::Reading => 3,
            Self::Writing => 4,
        }
    }

    /// Commits of so many turns, at most: on a busy machine a read may outlast what a pass waits for it, and
    /// then has a commit of its own. One more of every turn is a fault of the product.
    pub fn commits_most(self, turns: u64) -> u64 {
        let late = if self == Self::Plain { 0 } else { turns / 2 };
        turns * u64::from(self.commits()) + late
    }

    /// What the rehearsal model is told to do.
    fn message(self, worker: usize) -> String {
        match self {
            Self::Plain => "/big 400".to_owned(),
            Self::Reading => "/call read_file {\"path\":\"notes.md\"}\n/then\n/big 400".to_owned(),
            Self::Writing => {
                format!("/call write_file {{\"path\":\"out/{worker}.md\",\"content\":\"written\"}}\n/then\n/big 400")
            }
        }
    }
}

/// What only an operator's token may ask.
pub const STATUS: &str = "/api/status";

/// What `init` has said: a token to talk with, and one to look with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tokens {
    token: String,
    operator_token: String,
}

/// Whom to ask.
#[derive(Clone, Debug)]
pub enum Server {
    Product { address: SocketAddr, tokens: Tokens, agent: &'static str },
    Floor { address: SocketAddr },
}

/// A closed loop: each worker asks again when it has its answer.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub kind: Kind,
    pub workers: usize,
    /// Of each worker.
    pub turns: usize,
    /// Turns before a worker goes on in a new session.
    pub turns_per_session: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub first_token: Duration,
    pub whole: Duration,
}

pub struct Loaded {
    pub timings: Vec<Timing>,
    pub took: Duration,
}

impl Load {
    pub fn run(self, server: &Server) -> Outcome<Loaded> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.drive(server))
    }

    async fn drive(self, server: &Server) -> Outcome<Loaded> {
        let mut connections = Vec::new();
        for _ in 0..self.workers {
            connections.push(Connection::open(server.clone()).await?);
        }
        let began = Instant::now();
        let mut workers = tokio::task::JoinSet::new();
        for (number, connection) in connections.into_iter().enumerate() {
            workers.spawn(self.work(connection, number));
        }
        let mut timings = Vec::new();
        while let Some(ended) = workers.join_next().await {
            timings.extend(ended??);
        }
        Ok(Loaded { timings, took: began.elapsed() })
    }

    async fn work(self, mut connection: Connection, number: usize) -> Outcome<Vec<Timing>> {
        let mut timings = Vec::with_capacity(self.turns);
        for turn in 0..self.turns {
            if turn % self.turns_per_session == 0 {
                connection.session = None;
            }
            timings.push(connection.turn(self.kind, number).await?);
        }
        Ok(timings)
    }
}

pub struct Connection {
    server: Server,
    sender: SendRequest<Full<Bytes>>,
    session: Option<String>,
}

impl Connection {
    pub async fn open(server: Server) -> Outcome<Self> {
        let (Server::Product { address, .. } | Server::Floor { address }) = server;
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { server, sender, session: None })
    }

    pub async fn turn(&mut self, kind: Kind, worker: usize) -> Outcome<Timing> {
        let request = self.request(kind, worker)?;
        let began = Instant::now();
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
        if let Some(session) = response.headers().get("x-backstay-session") {
            self.session = Some(session.to_str()?.to_owned());
        }
        let (mut body, mut first_token, mut text) = (response.into_body(), None, Vec::new());
        while let Some(frame) = body.frame().await {
            text.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
            if first_token.is_none() && holds(&text, b"\"content\":\"x") {
                first_token = Some(began.elapsed());
            }
        }
        let whole = began.elapsed();
        // A turn that waits or fails ends its stream too, and must not be counted.
        let is_whole = holds(&text, b"\"finish_reason\":\"stop\"") && holds(&text, b"data: [DONE]");
        match first_token.filter(|_| is_whole && !holds(&text, b"\"state\":\"waiting\"")) {
            Some(first_token) => Ok(Timing { first_token, whole }),
            None => Err(format!("this is no whole turn:\n{}", String::from_utf8_lossy(&text)).into()),
        }
    }

    fn request(&self, kind: Kind, worker: usize) -> Outcome<Request<Full<Bytes>>> {
        let builder = Request::post(match &self.server {
            Server::Product { .. } => "/v1/chat/completions",
            Server::Floor { .. } => "/turn",
        });
        let builder = builder.header(CONTENT_TYPE, "application/json");
        let (builder, body) = match &self.server {
            Server::Product { address, tokens, agent } => {
                let builder = builder.header(HOST, address.to_string());
                let builder = builder.header(AUTHORIZATION, format!("Bearer {}", tokens.token));
                let message = json!({ "role": "user", "content": kind.message(worker) });
                let body = json!({ "model": agent, "stream": true, "messages": [message] });
                match &self.session {
                    Some(session) => (builder.header("x-backstay-session", session), body.to_string()),
                    None => (builder, body.to_string()),
                }
            }
            Server::Floor { address } => {
                let file = (kind == Kind::Writing).then(|| format!("{worker}.md"));
                let turn = floor::Turn { commits: kind.commits(), file };
                (builder.header(HOST, address.to_string()), serde_json::to_string(&turn)?)
            }
        };
        Ok(builder.body(Full::new(body.into()))?)
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// One call of the product's own API.
pub fn ask(server: &Server, method: &str, path: &str, body: Option<&Value>) -> Outcome<Value> {
    let Server::Product { address, tokens, .. } = server else { return Err("the floor has no API".into()) };
    let token = if path == STATUS { &tokens.operator_token } else { &tokens.token };
    let builder = Request::builder().method(method).uri(path);
    let builder = builder.header(HOST, address.to_string()).header(AUTHORIZATION, format!("Bearer {token}"));
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = builder.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(server.clone()).await?;
        let response = connection.sender.send_request(request).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            Ok(serde_json::from_slice(&bytes)?)
        } else {
            Err(Fault::from(format!("{method} {path}: {status}: {}", String::from_utf8_lossy(&bytes))))
        }
    })
}

pub fn number(value: &Value, name: &str) -> Outcome<u64> {
    value.get(name).and_then(Value::as_u64).ok_or_else(|| format!("no number `{name}` in {value}").into())
}
