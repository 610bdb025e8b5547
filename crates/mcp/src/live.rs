//! One running server: its process in the sandbox, and the conversation with it.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use backstay_sandbox::{Held, Sandbox, Stop};
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, ClientResult, ErrorCode, ErrorData,
    Implementation, JsonObject, PaginatedRequestParams, ProtocolVersion, ServerNotification, ServerRequest,
};
use rmcp::service::{
    ClientLifecycleMode, NotificationContext, RequestContext, RunningService, Service, ServiceError,
    serve_client_with_lifecycle,
};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::files;
use crate::limits::{ENDING, LOOK, OFFERS_MAX, START, STDERR_BYTES_MAX};
use crate::lines::{Broken, Lines};
use crate::pin::{Pin, PinnedTool};
use crate::servers::{Fault, Server, Where};
use crate::shown::Answer;

pub struct Live {
    service: RunningService<RoleClient, Refusing>,
    held: Held,
    broken: Broken,
    stderr: Arc<Mutex<Vec<u8>>>,
    changed: Arc<AtomicBool>,
    /// Ends it where nobody calls it.
    timer: Option<AbortHandle>,
}

/// A client that offers a server nothing: no model, no questions to a person, no list of directories.
struct Refusing;

impl Service<RoleClient> for Refusing {
    async fn handle_request(
        &self,
        request: ServerRequest,
        _context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        if matches!(request, ServerRequest::PingRequest(_)) {
            return Ok(ClientResult::empty(()));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "this client gives servers nothing", None))
    }

    async fn handle_notification(
        &self,
        _notification: ServerNotification,
        _context: NotificationContext<RoleClient>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn get_info(&self) -> ClientConfig {
        let own = Implementation::new("backstay", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), own)
    }
}

impl Live {
    /// Starts a server, which then works.
    pub fn start(runtime: &Handle, sandbox: &Sandbox, server: &Server, place: &Where<'_>) -> Result<Self, Fault> {
        let until = Instant::now() + START;
        let not_started =
            |why: String| Fault::NotCalled(format!("the server `{}` cannot be started: {why}", server.name));
        let found = sandbox.find(server.command.first()).map_err(not_started)?;
        let mut held = sandbox
            .hold(&server.ask(place, found), until, place.hides, place.halt)
            .map_err(|fault| not_started(fault.to_string()))?;
        let (broken, changed, stderr) = (Broken::default(), Arc::new(AtomicBool::new(false)), Arc::default());
        let service = runtime.block_on(async {
            let pipes = held.pipes().ok_or_else(|| "it has no pipes".to_owned())?;
            let io = |error: std::io::Error| error.to_string();
            let read = Receiver::from_owned_fd(pipes.stdout).map_err(io)?;
            let write = Sender::from_owned_fd(pipes.stdin).map_err(io)?;
            tokio::spawn(keep_end(Receiver::from_owned_fd(pipes.stderr).map_err(io)?, Arc::clone(&stderr)));
            let lines = Lines::new(read, write, broken.clone(), Arc::clone(&changed));
            let lifecycle = ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::LATEST],
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            };
            let greeted = serve_client_with_lifecycle(Refusing, lines, lifecycle);
            watched(&held, until, place.halt, greeted).await?.map_err(|error| error.to_string())
        });
        match service {
            Ok(service) => Ok(Self { service, held, broken, stderr, changed, timer: None }),
            Err(why) => {
                let why = reason(&mut held, &broken, &stderr, &why);
                Err(Fault::NotCalled(format!("the server `{}` did not start: {why}", server.name)))
            }
        }
    }

    /// What there is to pin.
    pub fn describe(
        &self,
        runtime: &Handle,
        sandbox: &Sandbox,
        server: &Server,
        halt: &AtomicBool,
    ) -> Result<Pin, String> {
        let files = files::digests(sandbox, &server.command)?;
        self.changed.store(false, Ordering::Release);
        let until = Instant::now() + START;
        let said = runtime.block_on(watched(&self.held, until, halt, self.offers()))?;
        let (tools, prompts, templates) = said.map_err(|error| error.to_string())?;
        let peer = self.service.peer_info().ok_or_else(|| "it did not say what it is".to_owned())?;
        Ok(Pin {
            command: server.command.clone(),
            environment: server.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            files,
            protocol: peer.protocol_version.to_string(),
            server: serde_json::to_value(&peer.server_info).unwrap_or_default(),
            instructions: peer.instructions.clone(),
            tools,
            prompts,
            templates,
        })
    }

    async fn offers(&self) -> Result<Offers, ServiceError> {
        let mut all: Offers = Default::default();
        let capabilities = self.service.peer_info().map(|info| info.capabilities.clone()).unwrap_or_default();
        let mut cursor = None;
        while all.0.len() < OFFERS_MAX {
            let page = self.service.list_tools(Some(page(cursor))).await?;
            all.0.extend(page.tools.into_iter().map(|tool| pinned(serde_json::to_value(tool).unwrap_or_default())));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        while capabilities.prompts.is_some() && all.1.len() < OFFERS_MAX {
            let page = self.service.list_prompts(Some(page(cursor))).await?;
            all.1
                .extend(page.prompts.into_iter().map(|prompt| named(serde_json::to_value(prompt).unwrap_or_default())));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        while capabilities.resources.is_some() && all.2.len() < OFFERS_MAX {
            let page = self.service.list_resource_templates(Some(page(cursor))).await?;
            let templates = page.resource_templates.into_iter();
            all.2.extend(templates.map(|template| named(serde_json::to_value(template).unwrap_or_default())));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// It said that what it offers has changed.
    pub fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// By this timer, and by no other.
    pub fn ends(&mut self, timer: AbortHandle) {
        if let Some(before) = self.timer.replace(timer) {
            before.abort();
        }
    }

    pub fn work(&mut self, until: Instant, place: &Where<'_>) -> Result<Option<()>, backstay_sandbox::Fault> {
        self.held.work(until, place.hides, place.halt)
    }

    pub fn rest(&mut self, place: &Where<'_>) -> Result<Vec<String>, backstay_sandbox::Fault> {
        self.held.rest(place.hides)
    }

    /// One call of a tool. After an error the server is not to be spoken to again.
    pub fn call(
        &mut self,
        runtime: &Handle,
        tool: &str,
        arguments: JsonObject,
        until: Instant,
        halt: &AtomicBool,
    ) -> Result<Answer, String> {
        let asked = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let answered = runtime.block_on(watched(&self.held, until, halt, self.service.call_tool_once(asked)));
        let why = match answered {
            Ok(Ok(CallToolResponse::Complete(result))) => return Ok(Answer::of(&result)),
            Ok(Ok(CallToolResponse::InputRequired(_))) => {
                return Ok(refused("it asks for further input, which it is not given"));
            }
            Ok(Ok(_)) => return Ok(refused("it answers later, which is not waited for")),
            Ok(Err(ServiceError::McpError(error))) => {
                return Ok(refused(&format!("{} ({})", error.message, error.code.0)));
            }
            Ok(Err(error)) => error.to_string(),
            // It is at work, and ended here.
            Err(why) => return Err(why),
        };
        Err(reason(&mut self.held, &self.broken, &self.stderr, &why))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.timer.iter().for_each(AbortHandle::abort);
    }
}

fn refused(why: &str) -> Answer {
    let text = format!("the server did not do it: {why}");
    Answer { text, values: None, is_error: true, quarantined: Vec::new() }
}

type Offers = (BTreeMap<String, PinnedTool>, BTreeMap<String, Value>, BTreeMap<String, Value>);

fn page(cursor: Option<String>) -> PaginatedRequestParams {
    PaginatedRequestParams::default().with_cursor(cursor)
}

fn name_of(said: &Value) -> String {
    said.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn named(said: Value) -> (String, Value) {
    (name_of(&said), said)
}

fn pinned(mut said: Value) -> (String, PinnedTool) {
    let name = name_of(&said);
    let mut take = |key| said.as_object_mut().and_then(|said| said.remove(key)).unwrap_or_default();
    let description = take("description").as_str().unwrap_or_default().to_owned();
    let (schema, annotations) = (take("inputSchema"), take("annotations"));
    (name, PinnedTool { description, schema, annotations, more: said })
}

/// The words for whoever is told; whoever asks has no more use for the server.
fn reason(held: &mut Held, broken: &Broken, stderr: &Mutex<Vec<u8>>, why: &str) -> String {
    // Its pipes may close a moment before it has ended.
    let why = broken.why().or_else(|| held.ended(ENDING)).unwrap_or_else(|| why.to_owned());
    held.end();
    let said = stderr.lock().unwrap_or_else(PoisonError::into_inner);
    let said: String = String::from_utf8_lossy(&said).trim().chars().map(harmless).collect();
    if said.is_empty() { why } else { format!("{why}; it said: {said}") }
}

/// No character of a server's may pass for the runtime's, or steer a terminal.
fn harmless(character: char) -> char {
    if character.is_control() && character != '\n' { '\u{fffd}' } else { character }
}

/// What is done, or why nothing more is to be expected of it: time, a stop, memory or disk.
async fn watched<T>(
    held: &Held,
    until: Instant,
    halt: &AtomicBool,
    done: impl Future<Output = T>,
) -> Result<T, String> {
    let takes = || match held.takes_too_much()? {
        Stop::Disk => Some("less was left free on the disk than `[sandbox] free_disk_mib`"),
        Stop::Memory | Stop::Time | Stop::Halt => {
            Some("it took more memory than `[sandbox] memory_mib`, or the machine had none left")
        }
    };
    in_time(until, halt, takes, done).await.map_err(str::to_owned)
}

/// What is done, or why it is not: the time is over, it was stopped, or there is a `reason` of another kind.
pub async fn in_time<T>(
    until: Instant,
    halt: &AtomicBool,
    reason: impl Fn() -> Option<&'static str>,
    done: impl Future<Output = T>,
) -> Result<T, &'static str> {
    let mut done = std::pin::pin!(done);
    loop {
        match tokio::time::timeout(LOOK, &mut done).await {
            Ok(done) => return Ok(done),
            Err(_) if halt.load(Ordering::Acquire) => return Err("it was stopped"),
            Err(_) if Instant::now() >= until => return Err("it took too long"),
            Err(_) => {
                if let Some(why) = reason() {
                    return Err(why);
                }
            }
        }
    }
}

/// Reads all that a server says beside its messages, and keeps the end of it.
async fn keep_end(mut from: Receiver, kept: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0u8; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let over = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..over);
    }
}
