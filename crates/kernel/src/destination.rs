//! Where a call goes on the network, and which grant lets it.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::label::Confidentiality;
use crate::rule::{is_below_domain, is_under};
use crate::url::{Scheme, Url};

/// What a request does there. There is no other: `CONNECT`, `TRACE` and made-up methods are never sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub const ALL: [Self; 6] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.word() == word)
    }

    /// It asks and sends nothing but where it goes.
    #[must_use]
    pub fn only_asks(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// One request, as the gate sees it: read from the value that is dialled.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    pub scheme: Scheme,
    /// In the form of [`crate::url::Host`].
    pub host: Box<str>,
    pub port: u16,
    pub method: Method,
    /// Decoded, without the query.
    pub path: Box<str>,
    /// Of the URL and of the headers that the caller chose: what can carry a message out without a body.
    pub url_bytes: u64,
    /// Those of them that are in headers, which a URL that somebody named does not name.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub header_bytes: u32,
}

impl Destination {
    /// `header_bytes`: of the headers that the caller chose.
    #[must_use]
    pub fn of(url: &Url, method: Method, header_bytes: usize) -> Self {
        let bytes = url.text().len().saturating_add(header_bytes);
        Self {
            scheme: url.scheme,
            host: url.host.as_str().into(),
            port: url.port,
            method,
            path: url.path.as_str().into(),
            url_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            header_bytes: u32::try_from(header_bytes).unwrap_or(u32::MAX),
        }
    }
}

/// A place that a command may reach while it runs, as often as it likes: what it asks for there, nobody can name
/// beforehand.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reachable {
    /// In the form of [`crate::url::Host`].
    pub host: String,
    pub port: u16,
    pub methods: Vec<Method>,
    /// It is spoken to sealed: whatever is sent there, nobody sees.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tunnel: bool,
}

impl Reachable {
    /// It is asked, and told nothing but where.
    #[must_use]
    pub fn only_asked(&self) -> bool {
        !self.tunnel && self.methods.iter().all(|method| method.only_asks())
    }
}

/// A place on the network that an agent may reach.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostGrant {
    /// In the form of [`crate::url::Host`], or `*.` and a name: every name below it, and not itself.
    pub host: String,
    pub port: u16,
    pub methods: Vec<Method>,
    /// Decoded; compared by whole segments.
    pub path_prefix: String,
    /// Addresses that are not public, and may be what the name leads to all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_private: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Audience::is_public")]
    pub audience: Audience,
    /// What is secret may go there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secrets: bool,
    /// A command that may reach it speaks to it sealed, and sends whatever it likes: nobody sees what.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tunnel: bool,
}

/// A connection that a call made, as it was.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    pub host: String,
    pub port: u16,
    /// That the host led to, and that was checked.
    pub address: IpAddr,
    /// Bytes on the wire, TLS included.
    pub sent: u64,
    pub received: u64,
    /// The secret that was sent there, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(bytes: &u32) -> bool {
    *bytes == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Who gets to know what is sent somewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Whose agent it is.
    #[serde(rename = "self")]
    Own,
    /// Those whose home it is.
    Home,
    /// People and firms that are known by name.
    Named,
    /// Anybody; what nobody declared.
    #[default]
    Public,
}

impl Audience {
    pub const ALL: [Self; 4] = [Self::Own, Self::Home, Self::Named, Self::Public];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Home => "home",
            Self::Named => "named",
            Self::Public => "public",
        }
    }

    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|audience| audience.word() == word)
    }

    /// How confidential a thing may be that it is told without a person's yes; what is secret, of a host alone that is
    /// said to be told secrets.
    #[must_use]
    pub fn clearance(self) -> Confidentiality {
        match self {
            Self::Public => Confidentiality::Public,
            Self::Own | Self::Home | Self::Named => Confidentiality::Internal,
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_public(&self) -> bool {
        *self == Self::Public
    }
}

impl HostGrant {
    /// How confidential a thing may be that goes there without a person's yes.
    #[must_use]
    pub fn clearance(&self) -> Confidentiality {
        let clearance = self.audience.clearance();
        if self.secrets && clearance > Confidentiality::Public { Confidentiality::Secret } else { clearance }
    }

    /// Whether it speaks of this place, whatever is asked for there.
    #[must_use]
    pub fn is_at(&self, host: &str, port: u16) -> bool {
        let is_host = match self.host.strip_prefix("*.") {
            Some(domain) => host != domain && is_below_domain(host, domain),
            None => self.host == host,
        };
        is_host && self.port == port
    }

    /// Whether it lets a request go there. Clear text passes on the port that is known for it, and within a
    /// network that the grant names addresses of.
    #[must_use]
    pub fn covers(&self, to: &Destination) -> bool {
        let may_be_clear = self.port == Scheme::Http.port() || !self.allow_private.is_empty();
        self.is_at(&to.host, to.port)
            && (may_be_clear || to.scheme == Scheme::Https)
            && self.methods.contains(&to.method)
            && is_under(&to.path, &self.path_prefix)
    }
}
