//! One running server: its process in the sandbox, and the conversation with it.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use backstay_kernel::destination::Connection;
use backstay_kernel::url::Url;
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
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::files;
use crate::limits::{ENDING, LOOK, OFFERS_MAX, PAGES_MAX, STDERR_BYTES_MAX};
use crate::lines::{Broken, Lines};
use crate::pin::{Pin, PinnedTool};
use crate::remote::{At, Remote};
use crate::servers::{Fault, Means, Server, Where};
use crate::shown::Answer;

pub struct Live {
    service: RunningService<RoleClient, Refusing>,
    end: End,
    changed: Arc<AtomicBool>,
    /// Ends it where nobody calls it.
    timer: Option<AbortHandle>,
}

/// Who is at the other end.
enum End {
    Process(Box<Process>),
    Url(Box<Remote>),
}

struct Process {
    held: Held,
    broken: Broken,
    stderr: Arc<Mutex<Vec<u8>>>,
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
        // What a greeting of the older era names; the newer says its version with each request.
        ClientConfig::new(ClientCapabilities::default(), own)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

impl Live {
    /// Starts a server, which then works, until then at the latest.
    /// `made`: takes the connections of one that runs elsewhere.
    pub fn start(
        runtime: &Handle,
        sandbox: &Sandbox,
        server: &Server,
        place: &Where<'_>,
        until: Instant,
        made: &mut Vec<Connection>,
    ) -> Result<Self, Fault> {
        match &server.means {
            Means::Program { command, environment } => {
                Self::run(runtime, sandbox, server, (command, environment), place, until)
            }
            Means::Url(at) => Self::reach(runtime, server, at, place, until, made),
        }
    }

    /// One that runs elsewhere.
    fn reach(
        runtime: &Handle,
        server: &Server,
        at: &At,
        place: &Where<'_>,
        until: Instant,
        made: &mut Vec<Connection>,
    ) -> Result<Self, Fault> {
        let name = &server.name;
        let not_reached =
            |why: String| Fault::NotCalled(format!("the server `{name}` cannot be spoken to: {}", one_line(&why)));
        let way = place.way.clone().ok_or_else(|| not_reached("there is no way out".to_owned()))?;
        let changed = Arc::new(AtomicBool::new(false));
        let greet = |lifecycle| {
            let remote = Remote::new(at.clone(), way.clone(), Arc::clone(&changed));
            let mut config = StreamableHttpClientTransportConfig::with_uri(at.url.text());
            config.reinit_on_expired_session = false;
            let _open = remote.open(until, place.halt);
            let service = runtime.block_on(async {
                let transport = StreamableHttpClientTransport::with_client(remote.clone(), config);
                let greeted = serve_client_with_lifecycle(Refusing, transport, lifecycle);
                let greeted = in_time(until, place.halt, || None, greeted).await.map_err(str::to_owned)?;
                greeted.map_err(|error| error.to_string())
            });
            (service, remote)
        };
        let (mut service, mut remote) = greet(lifecycle());
        made.extend(remote.take_connections());
        // Servers of the older era answer a question that they do not know in any way there is.
        if service.is_err() && remote.why().is_none() {
            (service, remote) = greet(ClientLifecycleMode::Initialize);
            made.extend(remote.take_connections());
        }
        let service = service.map_err(|why| not_reached(remote.why().unwrap_or(why)))?;
        Ok(Self { service, end: End::Url(Box::new(remote)), changed, timer: None })
    }

    fn run(
        runtime: &Handle,
        sandbox: &Sandbox,
        server: &Server,
        (command, environment): (&[String], &BTreeMap<String, String>),
        place: &Where<'_>,
        until: Instant,
    ) -> Result<Self, Fault> {
        let not_started =
            |why: String| Fault::NotCalled(format!("the server `{}` cannot be started: {why}", server.name));
        let found = sandbox.find(command.first()).map_err(not_started)?;
        let mut held = sandbox
            .hold(&server.ask(command, environment, place, found), until, place.hides, place.halt)
            .map_err(|fault| not_started(fault.to_string()))?;
        let (broken, changed, stderr) = (Broken::default(), Arc::new(AtomicBool::new(false)), Arc::default());
        let service = runtime.block_on(async {
            let pipes = held.pipes().ok_or_else(|| "it has no pipes".to_owned())?;
            let io = |error: std::io::Error| error.to_string();
            let read = Receiver::from_owned_fd(pipes.stdout).map_err(io)?;
            let write = Sender::from_owned_fd(pipes.stdin).map_err(io)?;
            tokio::spawn(keep_end(Receiver::from_owned_fd(pipes.stderr).map_err(io)?, Arc::clone(&stderr)));
            let lines = Lines::new(read, write, broken.clone(), Arc::clone(&changed));
            let greeted = serve_client_with_lifecycle(Refusing, lines, lifecycle());
            watched(&held, until, place.halt, greeted).await?.map_err(|error| error.to_string())
        });
        match service {
            Ok(service) => {
                let end = End::Process(Box::new(Process { held, broken, stderr }));
                Ok(Self { service, end, changed, timer: None })
            }
            Err(why) => {
                let why = Process { held, broken, stderr }.reason(&why);
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
        until: Instant,
        halt: &Arc<AtomicBool>,
    ) -> Result<Pin, String> {
        let files = files::of(sandbox, &server.means)?;
        self.changed.store(false, Ordering::Release);
        let said = runtime.block_on(self.watched(until, halt, self.offers()))?;
        let (tools, prompts, templates) = said.map_err(|error| error.to_string())?;
        let peer = self.service.peer_info().ok_or_else(|| "it did not say what it is".to_owned())?;
        Ok(Pin {
            command: server.means.command().to_vec(),
            url: server.means.url().map(Url::text),
            environment: server.means.environment().map(|(name, value)| format!("{name}={value}")).collect(),
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
        // Each by its own pages; a server that has no end is looked at as far as this.
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let page = self.service.list_tools(Some(page(cursor))).await?;
            all.0.extend(page.tools.into_iter().map(|tool| pinned(serde_json::to_value(tool).unwrap_or_default())));
            cursor = page.next_cursor.filter(|_| all.0.len() < OFFERS_MAX);
            if cursor.is_none() {
                break;
            }
        }
        let mut cursor = None;
        for _ in 0..if capabilities.prompts.is_some() { PAGES_MAX } else { 0 } {
            let page = self.service.list_prompts(Some(page(cursor))).await?;
            let prompts = page.prompts.into_iter();
            all.1.extend(prompts.map(|prompt| named(serde_json::to_value(prompt).unwrap_or_default())));
            cursor = page.next_cursor.filter(|_| all.1.len() < OFFERS_MAX);
            if cursor.is_none() {
                break;
            }
        }
        let mut cursor = None;
        for _ in 0..if capabilities.resources.is_some() { PAGES_MAX } else { 0 } {
            let page = self.service.list_resource_templates(Some(page(cursor))).await?;
            let templates = page.resource_templates.into_iter();
            all.2.extend(templates.map(|template| named(serde_json::to_value(template).unwrap_or_default())));
            cursor = page.next_cursor.filter(|_| all.2.len() < OFFERS_MAX);
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
        match &mut self.end {
            End::Process(process) => process.held.work(until, place.hides, place.halt),
            End::Url(_) => Ok(Some(())),
        }
    }

    pub fn rest(&mut self, place: &Where<'_>) -> Result<Vec<String>, backstay_sandbox::Fault> {
        match &mut self.end {
            End::Process(process) => process.held.rest(place.hides),
            End::Url(_) => Ok(Vec::new()),
        }
    }

    /// Those that were made for what was just said.
    pub fn connections(&self) -> Vec<Connection> {
        if let End::Url(remote) = &self.end { remote.take_connections() } else { Vec::new() }
    }

    async fn watched<T>(
        &self,
        until: Instant,
        halt: &Arc<AtomicBool>,
        done: impl Future<Output = T>,
    ) -> Result<T, String> {
        match &self.end {
            End::Process(process) => watched(&process.held, until, halt, done).await,
            End::Url(remote) => {
                let _open = remote.open(until, halt);
                in_time(until, halt, || None, done).await.map_err(str::to_owned)
            }
        }
    }

    /// One call of a tool. After an error the server is not to be spoken to again; the call was made, unless it says so.
    pub fn call(
        &mut self,
        runtime: &Handle,
        tool: &str,
        arguments: JsonObject,
        until: Instant,
        halt: &Arc<AtomicBool>,
    ) -> Result<Answer, Unanswered> {
        let asked = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let answered = runtime.block_on(self.watched(until, halt, self.service.call_tool_once(asked)));
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
            Err(why) => return Err(Unanswered { why, is_undone: false }),
        };
        Err(match &mut self.end {
            End::Process(process) => Unanswered { why: process.reason(&why), is_undone: false },
            End::Url(remote) => {
                Unanswered { why: one_line(&remote.why().unwrap_or(why)), is_undone: remote.is_undone() }
            }
        })
    }
}

/// Why a call has no answer.
pub struct Unanswered {
    pub why: String,
    /// Nothing was done by it, for certain.
    pub is_undone: bool,
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

/// A server of the newer era is asked what it is; one that does not know that is greeted as those before it.
fn lifecycle() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::LATEST],
        legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
    }
}

impl Process {
    /// The words for whoever is told; whoever asks has no more use for the server.
    fn reason(&mut self, why: &str) -> String {
        // Its pipes may close a moment before it has ended.
        let why = self.broken.why().or_else(|| self.held.ended(ENDING)).unwrap_or_else(|| why.to_owned());
        self.held.end();
        let said = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let said: String = String::from_utf8_lossy(&said).trim().chars().map(harmless).collect();
        if said.is_empty() { why } else { format!("{why}; it said: {said}") }
    }
}

/// Nothing of a server's words can look like a line of ours.
fn one_line(said: &str) -> String {
    said.chars().map(|character| if character == '\n' { ' ' } else { harmless(character) }).collect()
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
