//! What a command asks for, read once into the value that is held to its grants and then sent: nothing of what it
//! wrote is passed on as it stands.
use backstay_kernel::destination::{Destination, HostGrant, Method};
use backstay_kernel::url::{BadUrl, Host, Scheme, Url, host_and_port};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, USER_AGENT,
};

use super::Refused;
use super::head::Head;
use crate::limits::{HEADER_BYTES_MAX, PUT_BYTES_MAX};

/// They say what is asked for and in what form. What could carry a credential, name another host or another
/// method, or change what is spoken is not among them, and is left out.
const PASSED: [HeaderName; 14] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    HeaderName::from_static("git-protocol"),
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    USER_AGENT,
];

/// One request that is granted.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
    pub method: Method,
    /// What stands in the request's first line.
    pub target: String,
    pub headers: HeaderMap,
    pub body_bytes: usize,
    /// Bytes that the command chose, beside the body.
    pub composed: u64,
}

/// Where a command wants to speak to without anybody between.
///
/// # Errors
/// It names no place, or two.
pub fn connected(head: &Head) -> Result<(Host, u16), Refused> {
    let read = host_and_port(&head.target);
    let (host, port) = read.map_err(|error| Refused::new(400, error.to_string()))?;
    is_of(head, &host, port)?;
    if head.length()? > 0 {
        return Err(Refused::new(400, "CONNECT carries no body"));
    }
    Ok((host, port))
}

/// What a command asks for: within a connection to one host, or of the proxy by a whole URL.
///
/// # Errors
/// Why it is not passed on.
pub fn asked(head: &Head, within: Option<(&Host, u16)>, open: &[HostGrant]) -> Result<Wanted, Refused> {
    let method = Method::read(&head.method);
    let method = method.ok_or_else(|| Refused::new(405, format!("{} is no method that is sent", head.method)))?;
    let url = match within {
        Some((host, port)) if head.target.starts_with('/') => {
            format!("https://{}:{port}{}", host.as_str(), head.target)
        }
        None if head.target.starts_with("http://") => head.target.clone(),
        Some(_) => return Err(Refused::new(400, "within a connection a request names a path")),
        None => return Err(Refused::new(400, "a proxy is asked by CONNECT, or for a whole URL of `http`")),
    };
    if url.contains('#') {
        return Err(Refused::new(400, "a request names no fragment"));
    }
    let (url, target) = read(&url, open)?;
    is_of(head, &url.host, url.port)?;
    let to = Destination::of(&url, method, 0);
    if !open.iter().any(|grant| grant.covers(&to)) {
        return Err(not_granted(&format!("{} {}", method.word(), url.text())));
    }
    let body_bytes = head.length()?;
    if method.only_asks() && body_bytes > 0 {
        return Err(Refused::new(400, format!("{} carries no body", method.word())));
    }
    if body_bytes > PUT_BYTES_MAX {
        return Err(Refused::new(413, format!("a body holds at most {PUT_BYTES_MAX} bytes")));
    }
    let headers = passed(head)?;
    let length = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len().saturating_add(value.len());
    let composed = headers.iter().map(length).fold(target.len(), usize::saturating_add);
    let composed = u64::try_from(composed).unwrap_or(u64::MAX);
    let (scheme, host, port) = (url.scheme, url.host, url.port);
    Ok(Wanted { scheme, host, port, method, target, headers, body_bytes, composed })
}

/// The URL, and how its path and query are sent. A path that two servers could read in two ways goes only where
/// every path is granted, as it was written.
fn read(text: &str, open: &[HostGrant]) -> Result<(Url, String), Refused> {
    match Url::read(text) {
        Ok(url) => Ok((url.clone(), url.target())),
        Err(BadUrl::Path) => {
            let (scheme, rest) = text.split_once("://").unwrap_or_default();
            let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let url =
                Url::read(&format!("{scheme}://{authority}/")).map_err(|error| Refused::new(400, error.to_string()))?;
            let mut of_host = open.iter().filter(|grant| grant.is_at(url.host.as_str(), url.port));
            if of_host.any(|grant| grant.path_prefix != "/") {
                return Err(Refused::new(403, BadUrl::Path.to_string()));
            }
            Ok((url, target.to_owned()))
        }
        Err(error) => Err(Refused::new(400, error.to_string())),
    }
}

/// Whatever else the head says of the host, it says the same.
fn is_of(head: &Head, host: &Host, port: u16) -> Result<(), Refused> {
    let Some(said) = head.field("host") else { return Ok(()) };
    let is_same = match host_and_port(said) {
        Ok((other, other_port)) => other == *host && other_port == port,
        Err(_) => Host::read(said).is_some_and(|other| other == *host),
    };
    if is_same { Ok(()) } else { Err(Refused::new(400, "`host` names another host than the request")) }
}

fn passed(head: &Head) -> Result<HeaderMap, Refused> {
    let mut out = HeaderMap::new();
    for (name, value) in &head.fields {
        let Some(known) = PASSED.into_iter().find(|known| known.as_str() == name) else { continue };
        if value.len() > HEADER_BYTES_MAX {
            return Err(Refused::new(431, format!("`{name}` holds at most {HEADER_BYTES_MAX} bytes")));
        }
        let value = HeaderValue::from_str(value).map_err(|error| Refused::new(400, error.to_string()))?;
        out.append(known, value);
    }
    Ok(out)
}

pub fn not_granted(what: &str) -> Refused {
    Refused::new(403, format!("{what} is not among what this command may reach"))
}
