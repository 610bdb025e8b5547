//! The other side: what it is asked, over requests that are pinned to the one repository, and how its answers are read.
//! A redirect is not followed, whatever it says is bounded, and none of its words reaches a terminal as it is.
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backstay_egress::{Answer, Ask, Fault, Made};
use backstay_kernel::destination::{Connection, HostGrant, Method};
use backstay_kernel::git::is_id;
use backstay_kernel::url::Url;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};

use super::packets::{DELIMITER, FLUSH, Garbled, Packet, Packets, line};
use crate::fetch::{Hosts, credential};
use crate::limits::{GIT_PACK_BYTES_MAX, GIT_REFS_BYTES_MAX, GIT_REQUEST_MS, GIT_SAID_BYTES_MAX};
use crate::text::{cut, plain};

const OTHER_NAMES: &str = "it names its objects by SHA-256, which is not spoken here";
/// Where a ref stands that is not there.
const NOWHERE: &str = "0000000000000000000000000000000000000000";

/// What a repository is asked for over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    Upload,
    Receive,
}

impl Service {
    fn word(self) -> &'static str {
        match self {
            Self::Upload => "git-upload-pack",
            Self::Receive => "git-receive-pack",
        }
    }
}

/// Why it did not say what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsaid {
    #[error("{0}")]
    Failed(String),
    /// What was asked for may have been done.
    #[error("{0}")]
    Lost(String),
    /// Nobody was asked: the call was stopped before.
    #[error("its session was stopped")]
    Stopped,
}

impl From<Garbled> for Unsaid {
    fn from(garbled: Garbled) -> Self {
        Self::Failed(garbled.to_string())
    }
}

/// A repository that is spoken with, and the connections that were made for it.
pub struct Remote<'a> {
    /// Which speaks with it.
    tool: &'static str,
    hosts: &'a Hosts,
    url: &'a Url,
    at: &'a HostGrant,
    /// From then on nothing more is sent, and no secret.
    halt: &'a AtomicBool,
    pub connections: Vec<Connection>,
}

impl<'a> Remote<'a> {
    pub fn new(tool: &'static str, hosts: &'a Hosts, url: &'a Url, at: &'a HostGrant, halt: &'a AtomicBool) -> Self {
        Self { tool, hosts, url, at, halt, connections: Vec::new() }
    }

    /// What it begins with.
    pub fn greets(&mut self, service: Service) -> Result<Vec<u8>, Unsaid> {
        let word = service.word();
        let mut headers = HeaderMap::new();
        if service == Service::Upload {
            headers.insert(HeaderName::from_static("git-protocol"), HeaderValue::from_static("version=2"));
        }
        let expects = format!("application/x-{word}-advertisement");
        let path = format!("info/refs?service={word}");
        let asked =
            Asked { path, method: Method::Get, headers, body: Vec::new(), expects, bytes_max: GIT_REFS_BYTES_MAX };
        self.ask(asked)
    }

    /// What it answers to this, `bytes_max` at most.
    pub fn says(&mut self, service: Service, body: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, Unsaid> {
        let word = service.word();
        let mut headers = HeaderMap::new();
        if service == Service::Upload {
            headers.insert(HeaderName::from_static("git-protocol"), HeaderValue::from_static("version=2"));
        }
        for (name, kind) in [(CONTENT_TYPE, "request"), (ACCEPT, "result")] {
            let value = HeaderValue::from_str(&format!("application/x-{word}-{kind}"));
            headers.extend(value.map(|value| (name, value)));
        }
        let expects = format!("application/x-{word}-result");
        self.ask(Asked { path: word.to_owned(), method: Method::Post, headers, body, expects, bytes_max })
    }

    fn ask(&mut self, asked: Asked) -> Result<Vec<u8>, Unsaid> {
        if self.halt.load(Ordering::Acquire) {
            return Err(Unsaid::Stopped);
        }
        let Asked { path, method, headers, body, expects, bytes_max } = asked;
        let url = Url::read(&format!("{}/{path}", self.url.text()));
        let url = url.map_err(|error| Unsaid::Failed(error.to_string()))?;
        // Exactly this request, whatever the grant lets beside it.
        let grant = HostGrant { methods: vec![method], path_prefix: url.path.clone(), ..self.at.clone() };
        let credentials = self.hosts.credentials.as_ref();
        let credential = credential(credentials, self.tool, &url, method).map_err(Unsaid::Failed)?;
        let network = self.hosts.network.clone().patient(Duration::from_millis(GIT_REQUEST_MS));
        let network = network.taking(bytes_max);
        let body = body.into();
        let ask = Ask { url: &url, method, headers: &headers, body, idempotency_key: None, credential, grant: &grant };
        let Made { answer, connection } = network.ask(&ask);
        self.connections.extend(connection);
        let answer = answer.map_err(|fault| match fault {
            Fault::NotSent(why) => Unsaid::Failed(why),
            Fault::Lost(why) => Unsaid::Lost(why),
        })?;
        told(answer, &expects, bytes_max)
    }

    /// The ids of these refs, of those that are there.
    pub fn lists(&mut self, names: &[String]) -> Result<Vec<(String, String)>, Unsaid> {
        capable(&self.greets(Service::Upload)?)?;
        let mut body = Vec::new();
        line(&mut body, "command=ls-refs\n");
        body.extend_from_slice(DELIMITER);
        for name in names {
            line(&mut body, &format!("ref-prefix {name}\n"));
        }
        body.extend_from_slice(FLUSH);
        let said = self.says(Service::Upload, body, GIT_REFS_BYTES_MAX)?;
        let mut found = Vec::new();
        for packet in Packets(&said) {
            let Some(text) = packet?.text() else { continue };
            let text = spoken(text)?;
            let mut words = text.split(' ');
            if let (Some(id), Some(name)) = (words.next(), words.next())
                && is_id(id)
                && names.iter().any(|wanted| wanted == name)
            {
                found.push((name.to_owned(), id.to_owned()));
            }
        }
        Ok(found)
    }

    /// Where all of its refs stand.
    pub fn stands(&mut self) -> Result<Stands, Unsaid> {
        Stands::read(&self.greets(Service::Receive)?)
    }

    /// Moves a ref that stands at `old`, and no other; `pack` is what it does not have of `new`.
    pub fn moves(&mut self, name: &str, old: Option<&str>, new: &str, pack: &[u8]) -> Result<(), Moved> {
        let mut body = Vec::new();
        line(&mut body, &format!("{} {new} {name}\0report-status", old.unwrap_or(NOWHERE)));
        body.extend_from_slice(FLUSH);
        body.extend_from_slice(pack);
        let said = self.says(Service::Receive, body, GIT_REFS_BYTES_MAX).map_err(Moved::Maybe)?;
        let mut is_moved = false;
        for packet in Packets(&said) {
            let Some(text) = packet.map_err(|garbled| Moved::Maybe(garbled.into()))?.text() else { continue };
            let text = spoken(text).map_err(Moved::Maybe)?;
            match text.split_once(' ') {
                Some(("unpack", "ok")) => {}
                Some(("ok", moved)) => is_moved |= moved == name,
                Some(("unpack" | "ng", why)) => return Err(Moved::No(format!("it says: {}", shown(why.as_bytes())))),
                Some(_) | None => return Err(Moved::Maybe(Garbled.into())),
            }
        }
        if is_moved { Ok(()) } else { Err(Moved::Maybe(Garbled.into())) }
    }

    /// A pack of what `wants` are and `has` are not, as its parts.
    pub fn packs(&mut self, wants: &[&str], has: &[&str]) -> Result<Vec<u8>, Unsaid> {
        let mut body = Vec::new();
        line(&mut body, "command=fetch\n");
        body.extend_from_slice(DELIMITER);
        for option in ["no-progress\n", "ofs-delta\n"] {
            line(&mut body, option);
        }
        wants.iter().for_each(|id| line(&mut body, &format!("want {id}\n")));
        has.iter().for_each(|id| line(&mut body, &format!("have {id}\n")));
        line(&mut body, "done\n");
        body.extend_from_slice(FLUSH);
        let said = self.says(Service::Upload, body, GIT_PACK_BYTES_MAX)?;
        let mut packets = Packets(&said);
        loop {
            match packets.next().ok_or(Garbled)?? {
                Packet::Line(b"packfile\n") => break,
                Packet::Line(text) => drop(spoken(text)?),
                Packet::Flush | Packet::Delimiter | Packet::End => {}
            }
        }
        let mut pack = Vec::new();
        for packet in packets {
            let Packet::Line(bytes) = packet? else { continue };
            match bytes.split_first() {
                Some((1, data)) => pack.extend_from_slice(data),
                Some((2, _)) => {}
                Some((3, why)) => return Err(Unsaid::Failed(format!("it says: {}", shown(why)))),
                Some(_) | None => return Err(Garbled.into()),
            }
        }
        Ok(pack)
    }
}

/// One request.
struct Asked {
    /// Below the repository's URL.
    path: String,
    method: Method,
    headers: HeaderMap,
    body: Vec<u8>,
    /// The type of the answer.
    expects: String,
    /// Of it.
    bytes_max: usize,
}

/// What an answer says, where it is one of git's protocol.
fn told(answer: Answer, expects: &str, bytes_max: usize) -> Result<Vec<u8>, Unsaid> {
    let kind = answer.content_type().unwrap_or_default();
    let why = match answer.status {
        200 if kind != expects => {
            format!("it is no repository that speaks git's protocol over HTTP: it answers with `{}`", plain(&kind))
        }
        200 if answer.is_whole => return Ok(answer.body),
        200 if answer.body.len() >= bytes_max => {
            return Err(Unsaid::Lost(format!("it says more than {bytes_max} bytes")));
        }
        200 => return Err(Unsaid::Lost("its answer broke off".to_owned())),
        300..=399 => {
            let location = answer.header(&LOCATION).unwrap_or_default();
            format!("it leads to `{}`, which is not followed: name that URL", plain(cut(location, GIT_SAID_BYTES_MAX)))
        }
        401 | 403 => format!(
            "it answers {}: an operator binds a secret to this repository (`[secrets.NAME] bind`, methods GET and POST), or the one that is bound lacks a right",
            answer.status
        ),
        status => format!("it answers {status}"),
    };
    Err(Unsaid::Failed(why))
}

/// Where all refs stand, as a repository says before it is sent something.
pub struct Stands(Vec<(String, String)>);

impl Stands {
    fn read(greeting: &[u8]) -> Result<Self, Unsaid> {
        let mut found = Vec::new();
        for packet in Packets(greeting) {
            let Some(text) = packet?.text() else { continue };
            let text = spoken(text)?;
            let (text, capabilities) = text.split_once('\0').unwrap_or((&text, ""));
            let format = capabilities.split(' ').find_map(|one| one.strip_prefix("object-format="));
            if format.is_some_and(|format| format != "sha1") {
                return Err(Unsaid::Failed(OTHER_NAMES.to_owned()));
            }
            if let Some((id, name)) = text.split_once(' ').filter(|(id, _)| is_id(id)) {
                found.push((name.to_owned(), id.to_owned()));
            }
        }
        Ok(Self(found))
    }

    pub fn id(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, id)| id.as_str())
    }

    /// A branch or a tag stands there. Under other names a server keeps what strangers sent it, such as `refs/pull`.
    pub fn has(&self, id: &str) -> bool {
        let is_own = |name: &str| name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
        self.0.iter().any(|(name, known)| known == id && is_own(name))
    }
}

/// Why a ref is not where it was to be moved.
pub enum Moved {
    No(String),
    /// Nobody has said what became of it.
    Maybe(Unsaid),
}

/// What fetching needs of it: the second version of the protocol, and names of 20 bytes.
fn capable(greeting: &[u8]) -> Result<(), Unsaid> {
    let mut is_second = false;
    for packet in Packets(greeting) {
        let Some(text) = packet?.text() else { continue };
        let text = spoken(text)?;
        is_second |= text == "version 2";
        if text.strip_prefix("object-format=").is_some_and(|format| format != "sha1") {
            return Err(Unsaid::Failed(OTHER_NAMES.to_owned()));
        }
    }
    let old = "it does not speak version 2 of git's protocol (git 2.18 or later does)";
    if is_second { Ok(()) } else { Err(Unsaid::Failed(old.to_owned())) }
}

/// A line as a text, unless it says what went wrong.
fn spoken(line: &[u8]) -> Result<Cow<'_, str>, Unsaid> {
    match line.strip_prefix(b"ERR ") {
        Some(why) => Err(Unsaid::Failed(format!("it says: {}", shown(why)))),
        None => Ok(String::from_utf8_lossy(line)),
    }
}

/// Words of the other side's, for a person or a model to read.
fn shown(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    plain(cut(text.trim(), GIT_SAID_BYTES_MAX))
}
