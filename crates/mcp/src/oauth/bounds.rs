//! Where requests about a login may go, and how one is made.
use std::net::IpAddr;

use backstay_egress::{Answer, Ask, Coming, Credential, Network, Reached};
use backstay_kernel::destination::{Audience, HostGrant, Method};
use backstay_kernel::url::{Scheme, Url};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;

use crate::limits::{DOCUMENT_BYTES_MAX, DOCUMENT_TIME};
use crate::remote::At;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Over TLS, to addresses that are public or were allowed for the server itself; in clear text to this machine, where
/// the server itself is spoken to so.
#[derive(Clone, Debug)]
pub struct Bounds {
    network: Network,
    allow_private: Vec<IpAddr>,
    in_clear: bool,
}

/// Takes the connection as soon as there is one.
pub type Sink<'a> = &'a mut (dyn FnMut(Reached) + Send);

/// What is sent.
pub enum Body {
    Nothing,
    Json(Vec<u8>),
    Form(String),
}

impl Bounds {
    #[must_use]
    pub fn of(network: Network, at: &At) -> Self {
        Self {
            network: network.taking(DOCUMENT_BYTES_MAX).patient(DOCUMENT_TIME),
            allow_private: at.grant.allow_private.clone(),
            in_clear: at.url.scheme == Scheme::Http && at.url.host.is_here(),
        }
    }

    /// Whether a token of this server may go in clear text, to this machine.
    pub fn in_clear(&self) -> bool {
        self.in_clear
    }

    /// A URL that somebody else has written, as it may be asked.
    ///
    /// # Errors
    /// It is none, or in clear text to another machine.
    pub fn url(&self, what: &str, text: &str) -> Result<Url, String> {
        let url = Url::read(text).map_err(|bad| format!("its {what} {text:?} is not used: {bad}"))?;
        if url.scheme == Scheme::Https || (self.in_clear && url.host.is_here()) {
            return Ok(url);
        }
        Err(format!("its {what} {text:?} is not used: it is in clear text"))
    }

    /// One request, to this URL and no other: a redirect is an answer.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn open(
        &self,
        url: &Url,
        method: Method,
        body: Body,
        credential: Option<Credential>,
        sink: Sink<'_>,
    ) -> Result<Coming, String> {
        let grant = HostGrant {
            host: url.host.as_str().to_owned(),
            port: url.port,
            methods: vec![method],
            path_prefix: url.path.clone(),
            allow_private: self.allow_private.clone(),
            audience: Audience::default(),
            secrets: false,
            tunnel: false,
        };
        let mut headers = HeaderMap::from_iter([(ACCEPT, JSON)]);
        let body = match body {
            Body::Nothing => Bytes::new(),
            Body::Json(body) => {
                // Servers of tools want to see both, whatever they are asked.
                headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
                headers.insert(CONTENT_TYPE, JSON);
                body.into()
            }
            Body::Form(body) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                body.into_bytes().into()
            }
        };
        let ask = Ask { url, method, headers: &headers, body, idempotency_key: None, credential, grant: &grant };
        self.network.open(&ask, sink).await.map_err(|fault| fault.to_string())
    }

    /// The same, up to the end of the answer.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn ask(
        &self,
        url: &Url,
        method: Method,
        body: Body,
        credential: Option<Credential>,
        sink: Sink<'_>,
    ) -> Result<Answer, String> {
        let coming = self.open(url, method, body, credential, sink).await?;
        let answer = coming.whole().await.map_err(|fault| fault.to_string())?;
        if !answer.is_whole {
            return Err(format!(
                "the answer of {} broke off, or is longer than {DOCUMENT_BYTES_MAX} bytes",
                url.text()
            ));
        }
        Ok(answer)
    }

    /// A document that says what somebody is, or the status of an answer that is none.
    ///
    /// # Errors
    /// There is no answer, or it is not such a document.
    pub async fn document<T: DeserializeOwned>(&self, url: &Url) -> Result<Result<T, u16>, String> {
        let answer = self.ask(url, Method::Get, Body::Nothing, None, &mut drop).await?;
        if answer.status != 200 {
            return Ok(Err(answer.status));
        }
        let read = serde_json::from_slice(&answer.body);
        read.map(Ok).map_err(|error| format!("what {} says is not such a document: {error}", url.text()))
    }
}

/// Names and values as a form has them, and the query of a URL.
#[must_use]
pub fn form(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{}={}", escaped(name), escaped(value));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// Everything that is not plain, as %XX.
#[must_use]
pub fn escaped(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
