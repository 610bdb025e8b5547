//! A URL and its host in one form: what is judged and granted is the value that is dialled, so no second
//! parser can read another host out of it. What two readers may read in two ways is refused.
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::limits::URL_BYTES_MAX;
use crate::words::host_label;

/// Why a text is no URL that a request could be sent to; told to whoever wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadUrl {
    #[error("a URL begins with `https://` or `http://`; no other scheme is spoken")]
    Scheme,
    #[error("a URL holds at most {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error("a URL holds no spaces, control characters or backslashes; write them as %XX in its query")]
    Character,
    #[error("a URL holds no user or password")]
    User,
    #[error("the host is no name, no decimal IPv4 address and no IPv6 address in brackets")]
    Host,
    #[error("the port is no number from 1 to 65535")]
    Port,
    #[error("`%` stands before two hexadecimal digits")]
    Escape,
    #[error(
        "the path holds `.` or `..`, an empty part, `;`, or one of these, `/`, `\\` or `%` as %XX: servers differ in how they read it"
    )]
    Path,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A name in lower case and A-labels without a closing dot, a decimal IPv4 address, or an IPv6 address in
/// brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Host(String);

impl Host {
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        const NAME_BYTES_MAX: usize = 253;
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self(format!("[{address}]")));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let labels: Vec<String> = text.split('.').map(host_label).collect::<Option<_>>()?;
        let name = labels.join(".");
        // Some resolvers read `0x7f.1` and `2130706433` as addresses: what ends like a number is one in full.
        if labels.last().is_some_and(|last| is_number(last)) {
            let address: Ipv4Addr = text.parse().ok()?;
            return Some(Self(format!("{address}")));
        }
        (name.len() <= NAME_BYTES_MAX).then_some(Self(name))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address that it is; a name is none until it is looked up.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let inner = self.0.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inner.unwrap_or(&self.0).parse().ok()
    }

    /// It means the machine that asks, and no other: a loopback address, or the name that stands for them.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.address().map_or(self.0 == "localhost", |address| address.is_loopback())
    }
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || label.bytes().all(|b| b.is_ascii_digit())
}

/// `host:port`, the port in full.
///
/// # Errors
/// [`BadUrl::Host`] or [`BadUrl::Port`].
pub fn host_and_port(text: &str) -> Result<(Host, u16), BadUrl> {
    let (host, port) = split(text);
    Ok((Host::read(host).ok_or(BadUrl::Host)?, number(port.ok_or(BadUrl::Port)?)?))
}

/// Behind the last colon, unless that is one of an address.
fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn number(port: &str) -> Result<u16, BadUrl> {
    let is_plain = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    port.parse().ok().filter(|_| is_plain).ok_or(BadUrl::Port)
}

/// A host's name as its owner writes it, where that is not how it is sent. For people: two names may look alike.
#[must_use]
pub fn unicode(host: &str) -> Option<String> {
    let label = |label: &str| label.strip_prefix("xn--").and_then(idna::punycode::decode_to_string);
    let labels: Vec<String> = host.split('.').map(|part| label(part).unwrap_or_else(|| part.into())).collect();
    Some(labels.join(".")).filter(|shown| shown != host)
}

/// Where a request goes, and what it asks for there. Without a fragment, which nobody sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
    /// Decoded.
    pub path: String,
    /// As it is sent.
    query: Option<String>,
}

impl Url {
    /// # Errors
    /// [`BadUrl`]: what is wrong with it.
    pub fn read(text: &str) -> Result<Self, BadUrl> {
        if text.len() > URL_BYTES_MAX {
            return Err(BadUrl::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(BadUrl::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(BadUrl::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).ok_or(BadUrl::Host)?;
        if authority.contains('@') {
            return Err(BadUrl::User);
        }
        let (host, port) = split(authority);
        let port = port.map_or(Ok(scheme.port()), number)?;
        let host = Host::read(host).ok_or(BadUrl::Host)?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(sent_query(query)?)),
            None => (target, None),
        };
        let path = decoded_path(if path.is_empty() { "/" } else { path })?;
        let url = Self { scheme, host, port, path, query };
        // Escapes are longer than what they stand for.
        if url.text().len() > URL_BYTES_MAX { Err(BadUrl::TooLong) } else { Ok(url) }
    }

    /// What stands in a request's first line.
    #[must_use]
    pub fn target(&self) -> String {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@/".contains(&b);
        let mut out = String::new();
        escape(&self.path, is_plain, &mut out);
        if let Some(query) = &self.query {
            out.push('?');
            out.push_str(query);
        }
        out
    }

    /// `host`, with the port where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.host.as_str();
        if self.port == self.scheme.port() { host.to_owned() } else { format!("{host}:{}", self.port) }
    }

    #[must_use]
    pub fn text(&self) -> String {
        format!("{}://{}{}", self.scheme.word(), self.authority(), self.target())
    }
}

fn escape(text: &str, is_plain: impl Fn(u8) -> bool, out: &mut String) {
    for byte in text.bytes() {
        if is_plain(byte) { out.push(char::from(byte)) } else { out.push_str(&format!("%{byte:02X}")) }
    }
}

/// A path decoded once. What a second decoder, a proxy or a server could read as another path is none.
///
/// # Errors
/// [`BadUrl::Path`], or [`BadUrl::Escape`].
pub fn decoded_path(text: &str) -> Result<String, BadUrl> {
    if text.contains([';', '?', '#', '\\']) {
        return Err(BadUrl::Path);
    }
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let read = if byte == b'%' { escaped(rest.next(), rest.next()).ok_or(BadUrl::Escape)? } else { byte };
        if read.is_ascii_control() || (byte == b'%' && matches!(read, b'/' | b'\\' | b'%' | b';')) {
            return Err(BadUrl::Path);
        }
        bytes.push(read);
    }
    let path = String::from_utf8(bytes).map_err(|_| BadUrl::Path)?;
    let mut parts = path.split('/');
    let begins = parts.next() == Some("");
    let parts: Vec<&str> = parts.collect();
    let (last, inner) = parts.split_last().ok_or(BadUrl::Path)?;
    let climbs = parts.iter().any(|part| matches!(*part, "." | ".."));
    if !begins || climbs || inner.iter().any(|part| part.is_empty()) || (last.is_empty() && path.ends_with("//")) {
        return Err(BadUrl::Path);
    }
    Ok(path)
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |b: Option<u8>| char::from(b?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// As it was written, with what no request line may hold as %XX.
fn sent_query(text: &str) -> Result<String, BadUrl> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            escaped(bytes.next(), bytes.next()).ok_or(BadUrl::Escape)?;
        }
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%[]".contains(&b);
    let mut out = String::new();
    escape(text, is_plain, &mut out);
    Ok(out)
}
