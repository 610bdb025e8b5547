//! One API, two ways to it: the socket of the running process, or, where none runs, the same
//! router in this process under the home's own lock.
use std::io::{ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Body;
use backstay_channels::Auth;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tower::ServiceExt as _;

use crate::cause::Cause;
use crate::events::Events;
use crate::exit::{Exit, Failure, Outcome};
use crate::home;
use crate::limits;
use crate::opening::{Keys, OpenError};
use crate::serve;

/// What a command is going to do, which decides what a home that it opens itself may start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Only look: nothing of the home is set going, and no key is needed.
    Read,
    /// Only look, and find what would keep the home from acting.
    Check,
    /// What was cut off goes on too, as after any start.
    Act,
}

pub enum Client {
    /// Path of the running process's socket.
    Running(PathBuf),
    Local(Box<Local>),
}

pub struct Local {
    home: PathBuf,
    opened: serve::Opened,
    door: backstay_channels::Door,
    router: Router,
}

/// What goes with a call.
#[derive(Clone, Copy, Default)]
struct With<'a> {
    token: Option<&'a str>,
    key: Option<&'a str>,
}

impl Client {
    /// # Errors
    /// No home, a config with mistakes, or a process that holds the home and does not answer.
    pub async fn connect(home: &Path, intent: Intent) -> Outcome<Self> {
        home::require(home)?;
        let until = tokio::time::Instant::now() + limits::BUSY_WAIT;
        loop {
            if let Some(running) = Self::running(home).await? {
                return Ok(running);
            }
            match Self::open(home, intent).await {
                // Another command is at work, or the process is about to listen.
                Err(failure) if failure.exit == Exit::Busy && tokio::time::Instant::now() < until => {
                    tokio::time::sleep(limits::BUSY_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// The process that serves the home, if there is one. A socket file that nobody listens on was
    /// left by a process that was killed, and says nothing.
    ///
    /// # Errors
    /// The socket is there and this user may not use it.
    pub async fn running(home: &Path) -> Outcome<Option<Self>> {
        let path = home.join(serve::SOCKET);
        match UnixStream::connect(&path).await {
            Ok(_) => Ok(Some(Self::Running(path))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) => Err(Failure::io(&path, &error)),
        }
    }

    async fn open(home: &Path, intent: Intent) -> Outcome<Self> {
        let keys = match intent {
            Intent::Read => Keys::IfThere,
            Intent::Check | Intent::Act => Keys::Needed,
        };
        let opened = serve::open(home, keys).await?;
        if intent != Intent::Act {
            // Before the first session could be woken: its tasks find the home at rest.
            opened.engine.drain(std::time::Duration::ZERO).await;
        }
        let door = opened.door(None);
        let calls = backstay_channels::router(door.clone(), Auth::Local);
        let router = calls.merge(opened.desk(&door));
        Ok(Self::Local(Box::new(Local { home: home.to_owned(), opened, door, router })))
    }

    /// Where the config lies.
    #[must_use]
    pub fn home(&self) -> &Path {
        match self {
            Self::Running(socket) => socket.parent().unwrap_or(socket),
            Self::Local(local) => &local.home,
        }
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        match self {
            Self::Running(_) => true,
            Self::Local(_) => false,
        }
    }

    /// # Errors
    /// The API's no, or a connection that broke.
    pub async fn get(&self, path: &str) -> Outcome<Value> {
        self.get_as(None, path).await
    }

    /// As the principal of this token; without one as the home's own user.
    ///
    /// # Errors
    /// The API's no, or a connection that broke.
    pub async fn get_as(&self, token: Option<&str>, path: &str) -> Outcome<Value> {
        self.answer(Method::GET, path, &Value::Null, With { token, key: None }).await
    }

    /// # Errors
    /// The API's no, or a connection that broke.
    pub async fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.post_as(None, path, body).await
    }

    /// As the principal of this token; without one as the home's own user.
    ///
    /// # Errors
    /// The API's no, or a connection that broke.
    pub async fn post_as(&self, token: Option<&str>, path: &str, body: &Value) -> Outcome<Value> {
        self.answer(Method::POST, path, body, With { token, key: None }).await
    }

    /// The same, at most once for the key.
    ///
    /// # Errors
    /// The API's no, or a connection that broke.
    pub async fn post_keyed(&self, path: &str, body: &Value, key: Option<&str>) -> Outcome<Value> {
        self.answer(Method::POST, path, body, With { token: None, key }).await
    }

    /// The answer's bytes as they are.
    ///
    /// # Errors
    /// The API's no, or a connection that broke.
    pub async fn bytes(&self, path: &str) -> Outcome<Vec<u8>> {
        whole(self.body(path).await?).await
    }

    /// An answer that is taken piece by piece.
    ///
    /// # Errors
    /// The API's no, or a connection that broke.
    pub async fn body(&self, path: &str) -> Outcome<Body> {
        let response = self.send(Method::GET, path, &Value::Null, With::default()).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(failure(response).await)
    }

    /// A stream of server-sent events.
    ///
    /// # Errors
    /// The API's no, or a connection that broke.
    pub async fn stream(&self, path: &str) -> Outcome<Events> {
        Ok(Events::new(self.body(path).await?))
    }

    /// Lets what this process has started come to an end, and gives the home back.
    pub async fn close(self) {
        match self {
            Self::Running(_) => {}
            Self::Local(local) => {
                // A stream that was dropped may still be reading.
                local.door.shut().await;
                local.opened.close().await;
            }
        }
    }

    async fn answer(&self, method: Method, path: &str, body: &Value, with: With<'_>) -> Outcome<Value> {
        let response = self.send(method, path, body, with).await?;
        if !response.status().is_success() {
            return Err(failure(response).await);
        }
        let bytes = whole(response.into_body()).await?;
        if bytes.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_slice(&bytes).map_err(|error| Failure::fault(format!("the answer is no JSON: {error}")))
    }

    async fn send(&self, method: Method, path: &str, body: &Value, with: With<'_>) -> Outcome<Response<Body>> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .header(backstay_channels::SPEAKS, if std::io::stdin().is_terminal() { "human" } else { "program" });
        let request = match with.key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        };
        let request = match with.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let request = request.body(Body::from(bytes)).map_err(|error| Failure::fault(error.to_string()))?;
        match self {
            Self::Running(socket) => over_socket(socket, request).await,
            Self::Local(local) => match local.router.clone().oneshot(request).await {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            },
        }
    }
}

async fn over_socket(socket: &Path, request: Request<Body>) -> Outcome<Response<Body>> {
    let gone = |why: String| {
        let message = format!("the process that serves the home went away: {why}");
        Failure::new(Cause::Gone, message, "backstay serve; what was under way goes on there")
    };
    let stream = UnixStream::connect(socket).await.map_err(|error| gone(error.to_string()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| gone(error.to_string()))?;
    // Ends with the response's last byte, or when that is dropped.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| gone(error.to_string()))?;
    Ok(response.map(Body::new))
}

async fn whole(body: Body) -> Outcome<Vec<u8>> {
    let body = Limited::new(body, limits::ANSWER_BYTES_MAX).collect().await;
    body.map(|body| body.to_bytes().to_vec()).map_err(|error| Failure::fault(format!("the answer broke off: {error}")))
}

async fn failure(response: Response<Body>) -> Failure {
    let status = response.status();
    let body = whole(response.into_body()).await.unwrap_or_default();
    Failure::of_answer(status, &serde_json::from_slice(&body).unwrap_or(Value::Null))
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Config(mistakes) => {
                Self::new(Cause::Config, mistakes.to_string(), "mend backstay.toml; backstay config check")
            }
            OpenError::Setup(message) => Self::new(Cause::Setup, message, "backstay doctor"),
            OpenError::Store(error) => error.into(),
            OpenError::Engine(error) => error.into(),
            OpenError::Io { error: ref why, .. }
                if matches!(why.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable) =>
            {
                let next = "stop what listens there, or change [server] listen in backstay.toml";
                Self::new(Cause::Listen, error.to_string(), next)
            }
            OpenError::Io { .. } => Self::fault(error.to_string()),
        }
    }
}
