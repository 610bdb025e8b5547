//! A call of a tool that a server offers, made where the server may do no more than its agent.
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use backstay_kernel::id::SessionId;
use backstay_kernel::tool::EffectClass;
use backstay_mcp::{Answer, Fault, Servers, Way, Where, Who};
use backstay_sandbox::Reach;
use rustix::fs::OFlags;
use serde_json::{Map, Value};

use crate::fetch::{self, Hosts};
use crate::limits;
use crate::roots::Roots;
use crate::run::{Acted, Ran};
use crate::text::cut;

/// The servers, and the agent that they are called for.
#[derive(Clone, Debug)]
pub struct Serving {
    pub servers: Arc<Servers>,
    pub agent: String,
}

/// A call that could be made now.
#[derive(Debug)]
pub struct ServerCall {
    pub server: String,
    pub tool: String,
    /// With real paths.
    pub arguments: Map<String, Value>,
    pub cwd: String,
    pub timeout: Duration,
    /// Whatever became of it, nothing was done by it.
    pub only_reads: bool,
    /// Where in the answer the id of what it created stands.
    pub creates: Option<String>,
}

impl Roots {
    /// What a server may see and touch for this agent; nothing that can be written, where all that is granted of it
    /// only reads.
    pub(crate) fn reach_of(&self, server: &str) -> Reach {
        let mut reach = self.reach();
        let of_server = self.all_declared().filter(|tool| tool.server() == Some(server));
        if of_server.map(|tool| tool.manifest().class).all(|class| class == EffectClass::Read) {
            reach.write.clear();
        }
        reach
    }

    /// Where it works for this agent, until `halt` is true.
    pub fn place_of<'a>(&self, server: &str, hides: &'a dyn Fn(&str) -> bool, halt: &'a Arc<AtomicBool>) -> Where<'a> {
        let cwd = self.open_read(".", OFlags::DIRECTORY).map_or_else(|_| "/tmp".to_owned(), |(_, real)| real);
        Where { reach: self.reach_of(server), cwd, hides, halt, way: self.way_to(server) }
    }

    /// To one that runs elsewhere; a secret that the operator has bound to its URL goes along, or the login there.
    fn way_to(&self, server: &str) -> Option<Way> {
        let servers = &self.serving()?.servers;
        let url = servers.server(server)?.means.url()?.clone();
        let Hosts { network, credentials, .. } = self.hosts()?.clone();
        let name = format!("mcp.{server}");
        let credential = Arc::new(move |method| fetch::credential(credentials.as_ref(), &name, &url, method));
        Some(Way { network, credential, pass: servers.pass(server) })
    }
}

pub fn serve(
    roots: &Roots,
    (principal, session): (&str, SessionId),
    call: ServerCall,
    as_values: bool,
    halt: &Arc<AtomicBool>,
) -> Acted {
    let Some(serving) = roots.serving() else { return Ran::failed("this agent has no servers").into() };
    let who = Who { agent: serving.agent.clone(), principal: principal.to_owned(), session: session.to_string() };
    let hides = |real: &str| roots.hides(real);
    let place = Where { cwd: call.cwd, ..roots.place_of(&call.server, &hides, halt) };
    let (answer, connections) =
        serving.servers.call(&who, &call.server, &call.tool, call.arguments, &place, call.timeout);
    let acted = match answer {
        Ok(mut answer) => {
            let created = call.creates.as_deref().and_then(|pointer| created(&answer, pointer));
            if as_values && let Some(values) = answer.values.take() {
                answer.text = values;
            }
            Acted { created, ..shown(&answer).into() }
        }
        Err(Fault::NotCalled(why)) => Ran::failed(why).into(),
        Err(Fault::Broken(why)) if call.only_reads => Ran::failed(why).into(),
        Err(Fault::Broken(why)) => {
            tracing::warn!(tool = call.tool, why, "nobody knows whether this call did anything");
            Ran::Unknown.into()
        }
    };
    Acted { connections, ..acted }
}

/// The id of what a call that went well created.
fn created(answer: &Answer, pointer: &str) -> Option<String> {
    let values: Value = serde_json::from_str(answer.values.as_ref().unwrap_or(&answer.text)).ok()?;
    match values.pointer(pointer).filter(|_| !answer.is_error)? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn shown(answer: &Answer) -> Ran {
    let mut all: String = answer.text.chars().map(harmless).collect();
    if answer.is_error {
        all.insert_str(0, "[the tool says that it failed]\n");
    }
    if !answer.quarantined.is_empty() {
        let paths = answer.quarantined.join(", ");
        all.push_str(&format!(
            "\n[the server made or changed names that other programs act on; each was renamed, and is not in use: {paths}]"
        ));
    }
    if all.len() <= limits::TEXT_BYTES_MAX {
        return Ran::Done { text: all, spill: None };
    }
    let half = limits::TEXT_BYTES_MAX / 2;
    let head = cut(&all, half);
    let tail = all.get(all.ceil_char_boundary(all.len().saturating_sub(half))..).unwrap_or_default();
    let missing = all.len().saturating_sub(head.len()).saturating_sub(tail.len());
    let text = format!("{head}\n[{missing} bytes are missing here]\n{tail}");
    let spill = cut(&all, limits::SPILL_BYTES_MAX).as_bytes().to_vec();
    Ran::Done { text, spill: Some(spill) }
}

/// No character of a server's may pass for the runtime's, or steer a terminal.
fn harmless(character: char) -> char {
    if character.is_control() && !matches!(character, '\n' | '\t') { '\u{fffd}' } else { character }
}
