//! To what a secret may be sent: one header of requests to one host, port, path and list of methods,
//! over TLS, for agents that are granted it. Everything is compared exactly; whatever is not sure is a
//! no.
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

    /// The header that the operator has bound to exactly this request. To be asked for once more for
    /// every redirect, and after the gate: a header is no leave to send.
    ///
    /// # Errors
    /// A binding is for this request and cannot be kept.
    pub fn header(&self, request: &Request<'_>) -> Result<Option<Header>, NotGiven> {
        let mut bound = self.bound.iter().filter(|(_, binding)| binding.is_for(request));
        let Some((secret, binding)) = bound.next() else { return Ok(None) };
        if let Some((other, _)) = bound.next() {
            return Err(NotGiven::Ambiguous(secret.clone(), other.clone()));
        }
        let value = self.vault.value(secret).ok_or_else(|| NotGiven::NoValue(secret.clone()))?;
        let value = match &binding.scheme {
            Some(scheme) => SecretString::from(format!("{scheme} {}", value.expose_secret())),
            None => value,
        };
        Ok(Some(Header { secret: secret.clone(), name: binding.header.clone(), value }))
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
