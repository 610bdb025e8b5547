//! To what a secret may be sent: one header of requests to one host, port, path, list of methods and list of query
//! keys, over TLS, by the tools that are named, for agents that are granted it. Everything is compared exactly;
//! whatever is not sure is a no.
use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::vault::Vault;

/// `[secrets.NAME] bind`, found good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// A name in lower case, as certificates name it.
    pub host: String,
    pub port: u16,
    /// In upper case; at least one.
    pub methods: Vec<String>,
    /// Begins with `/`; whole segments of the path are compared.
    pub path_prefix: String,
    /// The keys that a query may have, as they stand on the wire. None: there is no query.
    pub query: Vec<String>,
    /// Who makes such requests: names of tools, and `mcp.NAME` of servers.
    pub tools: Vec<String>,
    /// In lower case.
    pub header: String,
    /// Stands before the value: `Bearer` makes `Bearer VALUE`.
    pub scheme: Option<String>,
}

/// Why a binding is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadBinding {
    #[error(
        "`host` must be a name in lower case (Punycode where it is not ASCII) that a TLS certificate can be for: no scheme, no wildcard, no address"
    )]
    Host,
    #[error("`port` 80 is for requests without TLS, which never carry a secret")]
    Port,
    #[error("`method` must name methods in capitals, such as \"GET\"")]
    Method,
    #[error(
        "`path_prefix` must begin with `/` and hold whole segments: no `%`, `?`, `#`, `;`, `\\`, `//`, `.` or `..`"
    )]
    Path,
    #[error(
        "`path_prefix` is where one POST makes many calls (GraphQL, batches), which no binding tells apart: bind the paths of single calls, or `method = \"GET\"`"
    )]
    TakesMany,
    #[error(
        "`query` must name keys as they stand in a URL: letters, digits and `-._~$[]:@,`, and no two that differ in their case alone"
    )]
    Query,
    #[error("`tools` must name at least one")]
    Tools,
    #[error(
        "`header` must be the name of a header that a server reads credentials from: not one of the connection, of the body or of who is asked"
    )]
    Header,
    #[error("`scheme` must be one word, such as \"Bearer\"")]
    Scheme,
}

/// Headers that say how a message is carried or understood, or whom it is for; a secret in them would go astray
/// or change what is asked.
const NOT_FOR_SECRETS: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

impl Binding {
    /// # Errors
    /// The first part that is not good.
    pub fn checked(self) -> Result<Self, BadBinding> {
        let is_token = |text: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            !text.is_empty() && text.bytes().all(good)
        };
        if !is_host(&self.host) {
            return Err(BadBinding::Host);
        }
        if self.port == 80 {
            return Err(BadBinding::Port);
        }
        let is_method = |method: &String| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if self.methods.is_empty() || !self.methods.iter().all(is_method) {
            return Err(BadBinding::Method);
        }
        if self.path_prefix.contains('%') || segments(&self.path_prefix).is_none() {
            return Err(BadBinding::Path);
        }
        if self.methods.iter().any(|method| takes_many(method, &self.path_prefix)) {
            return Err(BadBinding::TakesMany);
        }
        let keys: Vec<&str> = self.query.iter().map(String::as_str).collect();
        if !are_clear(&keys) {
            return Err(BadBinding::Query);
        }
        if self.tools.is_empty() {
            return Err(BadBinding::Tools);
        }
        let header = self.header.to_ascii_lowercase();
        if !is_token(&header) || NOT_FOR_SECRETS.contains(&header.as_str()) || header.starts_with("x-forwarded-") {
            return Err(BadBinding::Header);
        }
        if self.scheme.as_deref().is_some_and(|scheme| !is_token(scheme)) {
            return Err(BadBinding::Scheme);
        }
        Ok(Self { header, ..self })
    }

    fn is_for(&self, request: &Request<'_>) -> bool {
        let (Some(prefix), Some(path)) = (segments(&self.path_prefix), segments(request.path)) else { return false };
        let named: Vec<&String> = prefix.iter().filter(|segment| !segment.is_empty()).collect();
        request.tls
            && self.host == request.host
            && self.port == request.port
            && self.methods.iter().any(|method| method == request.method)
            && path.iter().zip(&named).filter(|(of, wanted)| of == *wanted).count() == named.len()
    }

    /// # Errors
    /// Why such a request does not carry it all the same.
    fn lets(&self, secret: &str, request: &Request<'_>) -> Result<(), NotGiven> {
        let secret = || secret.to_owned();
        if takes_many(request.method, request.path) {
            return Err(NotGiven::TakesMany(secret()));
        }
        let keys = keys(request.query);
        if !are_clear(&keys) {
            return Err(NotGiven::Unclear(secret()));
        }
        let unlisted = keys.into_iter().find(|key| !self.query.iter().any(|listed| listed == key));
        unlisted.map_or(Ok(()), |key| Err(NotGiven::Key(secret(), key.to_owned())))
    }
}

/// The keys of a query; one that is none, where a server that takes a `;` for a `&` finds others.
fn keys(query: &str) -> Vec<&str> {
    match query {
        "" => Vec::new(),
        _ if query.contains(';') => vec![""],
        _ => query.split('&').map(|pair| pair.split('=').next().unwrap_or_default()).collect(),
    }
}

/// Every server reads the same ones out of it: each stands for itself, and is there once, in whatever case.
fn are_clear(keys: &[&str]) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~$[]:@,".contains(&byte);
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(is_plain);
    let is_first = |place: usize, key: &str| keys.iter().take(place).all(|other| !other.eq_ignore_ascii_case(key));
    keys.iter().enumerate().all(|(place, key)| is_key(key) && is_first(place, key))
}

/// Whether it may be many calls in one, whatever its body says: a path cannot tell them apart.
fn takes_many(method: &str, path: &str) -> bool {
    let is_one = |segment: &String| {
        let name = segment.split('.').next().unwrap_or_default();
        ["graphql", "batch", "$batch"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    method == "POST" && segments(path).is_some_and(|segments| segments.iter().any(is_one))
}

/// A request as it is going to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// The certificate was verified for `host`.
    pub tls: bool,
    /// In its normal form: lower case, Punycode, no dot at the end.
    pub host: &'a str,
    pub port: u16,
    /// In capitals.
    pub method: &'a str,
    /// From its `/` to before a `?`, as it stands on the wire.
    pub path: &'a str,
    /// What stands behind the `?`; empty where there is none.
    pub query: &'a str,
    /// What makes it, as [`Binding::tools`] names it.
    pub tool: &'a str,
}

/// A header to be set on one request, in place of any of that name that the caller wrote.
#[derive(Clone, Debug)]
pub struct Header {
    /// The secret's name, for the record.
    pub secret: String,
    pub name: String,
    pub value: SecretString,
}

/// Why a request that a binding is for gets no header, and so must not be sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotGiven {
    #[error("the secret `{0}` is bound to this request and has no value: backstay secrets set {0}")]
    NoValue(String),
    #[error("the secrets `{0}` and `{1}` are both bound to this request: narrow the binding of one")]
    Ambiguous(String, String),
    #[error(
        "the secret `{0}` is bound to this request, and not for `{1}`: an operator adds \"{1}\" to `tools` in `[secrets.{0}] bind`, or narrows that"
    )]
    Tool(String, String),
    #[error(
        "the secret `{0}` goes with no query that has the key `{1}`: leave it out, or an operator adds \"{1}\" to `query` in `[secrets.{0}] bind`"
    )]
    Key(String, String),
    #[error(
        "the secret `{0}` goes with no query that servers read in more than one way: write each key once and as it is, with no `%`, `+` or `;`"
    )]
    Unclear(String),
    #[error(
        "the secret `{0}` is sent nowhere where one POST makes many calls (GraphQL, batches): use the paths of single calls"
    )]
    TakesMany(String),
}

/// The secrets that one agent is granted, by what they are bound to.
#[derive(Clone, Debug)]
pub struct Credentials {
    vault: Vault,
    bound: Arc<BTreeMap<String, Binding>>,
}

impl Credentials {
    /// `granted` are names of `bindings`; one that is not bound is no credential.
    #[must_use]
    pub fn new(vault: Vault, bindings: &BTreeMap<String, Binding>, granted: &[String]) -> Self {
        let bound = granted.iter().filter_map(|name| Some((name.clone(), bindings.get(name)?.clone()))).collect();
        Self { vault, bound: Arc::new(bound) }
    }

    /// Where what is taken out of an answer is counted.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The header that the operator has bound to exactly this request. To be asked for once more for
    /// every redirect, and after the gate: a header is no leave to send.
    ///
    /// # Errors
    /// A binding is for this request and cannot be kept.
    pub fn header(&self, request: &Request<'_>) -> Result<Option<Header>, NotGiven> {
        let all: Vec<_> = self.bound.iter().filter(|(_, binding)| binding.is_for(request)).collect();
        let Some((secret, _)) = all.first() else { return Ok(None) };
        let mut bound = all.iter().filter(|(_, binding)| binding.tools.iter().any(|tool| tool == request.tool));
        let Some((secret, binding)) = bound.next() else {
            return Err(NotGiven::Tool((*secret).clone(), request.tool.to_owned()));
        };
        if let Some((other, _)) = bound.next() {
            return Err(NotGiven::Ambiguous((*secret).clone(), (*other).clone()));
        }
        binding.lets(secret, request)?;
        let value = self.vault.value(secret).ok_or_else(|| NotGiven::NoValue((*secret).clone()))?;
        let value = match &binding.scheme {
            Some(scheme) => SecretString::from(format!("{scheme} {}", value.expose_secret())),
            None => value,
        };
        Ok(Some(Header { secret: (*secret).clone(), name: binding.header.clone(), value }))
    }
}

/// A name that a certificate can be for; an address is none.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(good) && !label.starts_with('-') && !label.ends_with('-')
    };
    let has_letters = text.rsplit('.').next().is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(is_label) && has_letters
}

/// The segments behind each `/`, decoded once; `None` where servers differ on what the path means.
fn segments(path: &str) -> Option<Vec<String>> {
    let mut rest = path.strip_prefix('/')?.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?;
        // A separator that is hidden, or an escape of an escape.
        if b"/\\;%?#".contains(&value) {
            return None;
        }
        plain.push(value);
    }
    let plain = String::from_utf8(plain).ok()?;
    if plain.contains(|c: char| c.is_control() || matches!(c, '\\' | ';' | '?' | '#')) || path.contains("//") {
        return None;
    }
    let segments: Vec<String> = plain.split('/').map(str::to_owned).collect();
    (!segments.iter().any(|segment| matches!(segment.as_str(), "." | ".."))).then_some(segments)
}

#[cfg(test)]
#[path = "binding_tests.rs"]
mod tests;
