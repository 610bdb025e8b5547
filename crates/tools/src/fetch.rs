//! `http_request` and `web_fetch`: one request to a granted host, and what came back. A redirect is an answer:
//! where it leads is another call, judged as any other.
use std::fmt::Write as _;

use backstay_egress::{Answer, Ask, BODY_BYTES_MAX, Credential, Fault, Made, Network, Took};
use backstay_kernel::destination::{Connection, Destination, HostGrant, Method};
use backstay_kernel::facts::{Facts, Invalid};
use backstay_kernel::git::GitGrant;
use backstay_kernel::id::Digest;
use backstay_kernel::label::{Label, Source};
use backstay_kernel::tool::EffectClass;
use backstay_kernel::url::{Scheme, Url};
use backstay_secrets::{Credentials, ExposeSecret as _, Request, Taken};
use http::HeaderName;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use serde_json::{Map, Value};

use crate::arguments::HttpRequest;
use crate::command::harmless;
use crate::limits;
use crate::prepare::{Action, Prepared, Refused};
use crate::roots::Roots;
use crate::run::{Acted, Ran};
use crate::text::{cut, plain};

/// Where an agent's requests may go, and how they get there.
#[derive(Clone, Debug)]
pub struct Hosts {
    pub network: Network,
    /// As its grants name them.
    pub granted: Vec<HostGrant>,
    /// Repositories that its typed tools speak with, as its grants name them.
    pub repositories: Vec<GitGrant>,
    /// What the operator has bound to some of its requests; absent for whoever only looks.
    pub credentials: Option<Credentials>,
}

/// A request that could be made now.
#[derive(Debug)]
pub struct Sent {
    url: Url,
    method: Method,
    headers: HeaderMap,
    body: String,
    grant: HostGrant,
    form: Form,
}

/// How the model is told of the answer.
#[derive(Clone, Copy, Debug)]
enum Form {
    Json,
    Page,
}

impl Form {
    fn tool(self) -> &'static str {
        match self {
            Self::Json => "http_request",
            Self::Page => "web_fetch",
        }
    }
}

pub fn request(roots: &Roots, call: HttpRequest) -> Result<Prepared, Refused> {
    let method = Method::read(&call.method).ok_or_else(|| {
        let known = Method::ALL.map(Method::word).join(", ");
        bad(format!("`method`: `{}` is none of {known}", plain(&call.method)))
    })?;
    let body = call.body.unwrap_or_default();
    if method.only_asks() && !body.is_empty() {
        return Err(bad(format!("`body`: {} carries none; use POST", method.word())));
    }
    let fields = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (headers, header_bytes) =
        backstay_egress::chosen(fields).map_err(|error| bad(format!("`headers`: {error}")))?;
    prepared(roots, method, &call.url, headers, header_bytes, body, Form::Json)
}

pub fn page(roots: &Roots, url: &str) -> Result<Prepared, Refused> {
    prepared(roots, Method::Get, url, HeaderMap::new(), 0, String::new(), Form::Page)
}

fn bad(detail: String) -> Refused {
    Refused::new(Invalid::BadArguments, detail)
}

fn prepared(
    roots: &Roots,
    method: Method,
    url: &str,
    headers: HeaderMap,
    header_bytes: usize,
    body: String,
    form: Form,
) -> Result<Prepared, Refused> {
    let url = Url::read(url).map_err(|error| bad(format!("`url`: {error}")))?;
    let to = Destination::of(&url, method, header_bytes);
    let granted = roots.hosts().map_or(&[][..], |hosts| &hosts.granted);
    let Some(grant) = granted.iter().find(|grant| grant.covers(&to)).cloned() else {
        return Err(Refused::new(Invalid::OutsideGrants, not_granted(&url, method)));
    };
    // Whatever does more than ask is sent, whether it has a body or not.
    let class = if method.only_asks() { EffectClass::Read } else { EffectClass::Send };
    let bytes_out = Some(u64::try_from(body.len()).unwrap_or(u64::MAX));
    // What other requests do there nobody knows.
    let reversible = (method == Method::Delete).then_some(false);
    let facts = Facts { destination: Some(to), reversible, bytes_out, ..Facts::new(class, Vec::new()) };
    Ok(Prepared { facts, action: Action::Send(Box::new(Sent { url, method, headers, body, grant, form })) })
}

/// What an operator would write.
fn not_granted(url: &Url, method: Method) -> String {
    let place = format!("{}:{}", url.host.as_str(), url.port);
    let line = if method.only_asks() {
        format!("\"{place}\"")
    } else {
        format!("{{ host = \"{place}\", methods = [\"{}\"] }}", method.word())
    };
    format!(
        "{} {}://{place}{} is not granted; nothing was sent. An operator allows it by {line} in `hosts` of this agent's grants",
        method.word(),
        url.scheme.word(),
        plain(&url.path)
    )
}

pub fn send(key: &Digest, roots: &Roots, sent: &Sent) -> Acted {
    let Some(hosts) = roots.hosts() else { return Ran::failed("this agent is granted no hosts").into() };
    let mut headers = sent.headers.clone();
    if !sent.body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        let is_json = serde_json::from_str::<Value>(&sent.body).is_ok();
        let kind = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    let credential = match credential(hosts.credentials.as_ref(), sent.form.tool(), &sent.url, sent.method) {
        Ok(credential) => credential,
        Err(why) => return Ran::failed(format!("{why}; nothing was sent")).into(),
    };
    let key = key.to_string();
    let Made { answer, connection } = hosts.network.ask(&Ask {
        url: &sent.url,
        method: sent.method,
        headers: &headers,
        body: sent.body.clone().into(),
        idempotency_key: (!sent.method.only_asks()).then_some(&key),
        credential,
        grant: &sent.grant,
    });
    let ran = match answer {
        Ok(answer) => match sent.form {
            Form::Json => told(&answer),
            Form::Page => read(&sent.url, &answer),
        },
        // Whoever only asked has done nothing by it.
        Err(Fault::Lost(_)) if !sent.method.only_asks() => Ran::Unknown,
        Err(fault @ (Fault::NotSent(_) | Fault::Lost(_))) => Ran::failed(fault.to_string()),
    };
    let connections: Vec<Connection> = connection.into_iter().collect();
    // What lies on no public address is not for everybody.
    let is_public = sent.grant.allow_private.is_empty();
    let label = if is_public { Label::NOTHING } else { Label::of(Source::Tool) };
    Acted { ran, connections, label, created: None }
}

/// The header that is bound to this very request of this tool. A request that one is bound to is not sent without it.
pub fn credential(
    credentials: Option<&Credentials>,
    tool: &str,
    url: &Url,
    method: Method,
) -> Result<Option<Credential>, String> {
    let target = url.target();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let request = Request {
        tls: url.scheme == Scheme::Https,
        host: url.host.as_str(),
        port: url.port,
        method: method.word(),
        path,
        query,
        tool,
    };
    let bound = credentials.map_or(Ok(None), |credentials| credentials.header(&request));
    let (Some(bound), Some(credentials)) = (bound.map_err(|error| error.to_string())?, credentials) else {
        return Ok(None);
    };
    let header = HeaderName::from_bytes(bound.name.as_bytes()).map_err(|error| error.to_string())?;
    let value = HeaderValue::from_str(bound.value.expose_secret());
    let mut value = value.map_err(|_| format!("the secret `{}` holds what no header can hold", bound.secret))?;
    value.set_sensitive(true);
    let (vault, name) = (credentials.vault().clone(), bound.secret.clone());
    let took = Took::new(move |forms| vault.took(&Taken::from([(name.clone(), forms)])));
    Ok(Some(Credential { secret: bound.secret, header, value, here: false, took }))
}

/// An answer as data.
fn told(answer: &Answer) -> Ran {
    let headers: Map<String, Value> =
        answer.shown().map(|(name, value)| (name.clone(), Value::from(line(value)))).collect();
    let (body, spill) = match text(answer) {
        Ok(body) => shown(body),
        Err(why) => (why, None),
    };
    let mut said = Map::from_iter([
        ("status".to_owned(), answer.status.into()),
        ("headers".to_owned(), headers.into()),
        ("body".to_owned(), body.into()),
    ]);
    said.extend(note(answer).map(|note| ("note".to_owned(), note.into())));
    Ran::Done { text: Value::Object(said).to_string(), spill }
}

/// An answer as a page to be read.
fn read(url: &Url, answer: &Answer) -> Ran {
    let kind = answer.content_type().unwrap_or_else(|| "no type".to_owned());
    let mut out = format!("{} {} {}\n", answer.status, line(&kind), url.text());
    if let Some(note) = note(answer) {
        let _ = writeln!(out, "[{note}]");
    }
    let is_page = matches!(kind.as_str(), "text/html" | "application/xhtml+xml");
    let body = text(answer).map(|text| if is_page { backstay_egress::text_of_html(&text) } else { text });
    let (body, spill) = body.map_or_else(|why| (why, None), shown);
    let _ = write!(out, "\n{body}");
    Ran::Done { text: out, spill }
}

/// What else there is to know of it.
fn note(answer: &Answer) -> Option<String> {
    if let (300..=399, Some(location)) = (answer.status, answer.header(&LOCATION)) {
        return Some(format!("not followed: it leads to {}; a call of its own goes there", line(location)));
    }
    let read = answer.body.len();
    (!answer.is_whole).then(|| {
        if read >= BODY_BYTES_MAX {
            format!("the body is longer; its first {read} bytes were read")
        } else {
            format!("the body broke off after {read} bytes")
        }
    })
}

/// The body, where it is text, without what could steer a terminal.
fn text(answer: &Answer) -> Result<String, String> {
    let bytes = &answer.body;
    let is_binary = bytes.get(..limits::BINARY_LOOK_BYTES).unwrap_or(bytes).contains(&0);
    if is_binary {
        let kind = answer.content_type().unwrap_or_default();
        return Err(format!("[{} bytes that are no text ({})]", bytes.len(), line(&kind)));
    }
    Ok(String::from_utf8_lossy(bytes).chars().map(harmless).collect())
}

fn line(text: &str) -> String {
    plain(text).clone()
}

/// As much as a result may hold, and all of it beside where that is not all.
fn shown(text: String) -> (String, Option<Vec<u8>>) {
    if text.len() <= limits::TEXT_BYTES_MAX {
        return (text, None);
    }
    let part = cut(&text, limits::TEXT_BYTES_MAX);
    let said = format!("{part}\n[{} of {} bytes are shown]", part.len(), text.len());
    let mut all = text;
    all.truncate(all.floor_char_boundary(limits::SPILL_BYTES_MAX));
    (said, Some(all.into_bytes()))
}
