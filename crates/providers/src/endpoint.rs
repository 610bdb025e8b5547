//! Where a model is reached, with which key, and how long one may wait for it.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::limits::{FIRST_BYTE_MS, IDLE_MS, WHOLE_MS};

/// The kind of API that is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Chat Completions as OpenAI itself serves it. In a config, which knows no other word, any
    /// server that speaks it: [`Endpoint::new`] tells them apart.
    OpenAi,
    /// Chat Completions as everybody else serves it.
    OpenAiCompatible,
    /// Anthropic Messages, in the same way.
    Anthropic,
    AnthropicCompatible,
    /// The script in this binary; rendered as for [`Kind::OpenAiCompatible`].
    Rehearsal,
}

/// A value that no log, record or error shows, and that is wiped from memory when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    #[must_use]
    pub fn new(value: &str) -> Self {
        // A line break at the end is what a shell or an editor left behind.
        Self(SecretString::from(value.trim()))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How long an attempt may take. Connecting has its own, fixed limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From the start to the first byte of the answer's body.
    pub first_byte: Duration,
    /// Between two chunks.
    pub idle: Duration,
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_millis(FIRST_BYTE_MS),
            idle: Duration::from_millis(IDLE_MS),
            whole: Duration::from_millis(WHOLE_MS),
        }
    }
}

/// Why a base URL cannot be used; for whoever wrote it into the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadEndpoint {
    #[error("this kind of provider needs a `base_url`")]
    UrlMissing,
    #[error("the rehearsal model is part of the program and takes no `base_url`")]
    UrlUseless,
    #[error("`base_url` is not a URL")]
    NotUrl,
    #[error("`base_url` must begin with `http://` or `https://`")]
    Scheme,
    #[error("`base_url` must not hold a user, a password, a query or a fragment")]
    Extras,
}

/// Ends of the hosts, regional ones included, where OpenAI's models are served by OpenAI or Azure.
const OPENAI_HOSTS: &[&str] = &["api.openai.com", ".openai.azure.com"];
const ANTHROPIC_HOSTS: &[&str] = &["api.anthropic.com"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Api {
    OpenAi,
    Anthropic,
}

#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub api: Api,
    /// Whether a host of the API's own vendor is called: it speaks the latest form, and everybody
    /// else the one that all know.
    pub is_vendor: bool,
    /// The full address of the call.
    pub url: Url,
    pub key: Option<Secret>,
    pub timeouts: Timeouts,
}

impl Remote {
    /// Where the same API lists its models.
    pub fn models_url(&self) -> Url {
        let mut url = self.url.clone();
        let call = match self.api {
            Api::OpenAi => "/chat/completions",
            Api::Anthropic => "/messages",
        };
        let base = url.path().strip_suffix(call).unwrap_or_default().to_owned();
        url.set_path(&format!("{base}/models"));
        url
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Rehearsal,
    Remote(Remote),
}

/// A checked place to send requests to.
#[derive(Clone, Debug)]
pub struct Endpoint(pub(crate) Target);

impl Endpoint {
    /// `base_url` is what the vendors' own clients call so: `https://api.openai.com/v1`,
    /// `https://api.anthropic.com`; none for the rehearsal model.
    ///
    /// # Errors
    /// [`BadEndpoint`] where the URL is missing, useless, or not one that can be called.
    pub fn new(
        kind: Kind,
        base_url: Option<&str>,
        key: Option<Secret>,
        timeouts: Timeouts,
    ) -> Result<Self, BadEndpoint> {
        let (api, path) = match kind {
            Kind::Rehearsal if base_url.is_some() => return Err(BadEndpoint::UrlUseless),
            Kind::Rehearsal => return Ok(Self(Target::Rehearsal)),
            Kind::OpenAi | Kind::OpenAiCompatible => (Api::OpenAi, "/chat/completions"),
            Kind::Anthropic | Kind::AnthropicCompatible => (Api::Anthropic, "/v1/messages"),
        };
        let base = checked(base_url.ok_or(BadEndpoint::UrlMissing)?)?;
        let base = base.as_str().trim_end_matches('/');
        // Both spellings of Anthropic's base are in use; neither may call `/v1/v1/messages`.
        let base = match api {
            Api::OpenAi => base,
            Api::Anthropic => base.strip_suffix("/v1").unwrap_or(base),
        };
        let url = Url::parse(&format!("{base}{path}")).map_err(|_| BadEndpoint::NotUrl)?;
        let hosts = match api {
            Api::OpenAi => OPENAI_HOSTS,
            Api::Anthropic => ANTHROPIC_HOSTS,
        };
        let is_vendor = url.host_str().is_some_and(|host| hosts.iter().any(|end| host.ends_with(end)));
        Ok(Self(Target::Remote(Remote { api, is_vendor, url, key, timeouts })))
    }

    /// The same place with this key.
    #[must_use]
    pub fn keyed(self, key: Secret) -> Self {
        match self.0 {
            Target::Rehearsal => self,
            Target::Remote(remote) => Self(Target::Remote(Remote { key: Some(key), ..remote })),
        }
    }

    /// How requests to this place are written.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Target::Rehearsal => Kind::Rehearsal,
            Target::Remote(remote) => match (remote.api, remote.is_vendor) {
                (Api::OpenAi, true) => Kind::OpenAi,
                (Api::OpenAi, false) => Kind::OpenAiCompatible,
                (Api::Anthropic, true) => Kind::Anthropic,
                (Api::Anthropic, false) => Kind::AnthropicCompatible,
            },
        }
    }
}

/// Whether lines may be handed to a collector there: over TLS, or to this machine itself.
#[must_use]
pub fn is_collector(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let is_here = url.host_str().is_some_and(|host| matches!(host, "127.0.0.1" | "[::1]"));
    let has_user = !url.username().is_empty() || url.password().is_some();
    !has_user && url.fragment().is_none() && (url.scheme() == "https" || (url.scheme() == "http" && is_here))
}

fn checked(text: &str) -> Result<Url, BadEndpoint> {
    let url = Url::parse(text).map_err(|_| BadEndpoint::NotUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadEndpoint::Scheme);
    }
    let user = !url.username().is_empty() || url.password().is_some();
    if user || url.query().is_some() || url.fragment().is_some() {
        return Err(BadEndpoint::Extras);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(kind: Kind, base: &str) -> Result<String, BadEndpoint> {
        match Endpoint::new(kind, Some(base), None, Timeouts::default())?.0 {
            Target::Rehearsal => Ok(String::new()),
            Target::Remote(remote) => Ok(remote.url.to_string()),
        }
    }

    #[test]
    fn no_attempt_waits_for_longer_than_an_operator_would() {
        let Timeouts { first_byte, idle, whole } = Timeouts::default();
        assert!(idle < first_byte && first_byte < whole && whole <= Duration::from_secs(600));
    }

    #[test]
    fn the_address_is_the_vendors() {
        let chat = Ok("https://api.openai.com/v1/chat/completions".to_owned());
        assert_eq!(url(Kind::OpenAi, "https://api.openai.com/v1"), chat);
        assert_eq!(url(Kind::OpenAi, "https://api.openai.com/v1/"), chat);
        let messages = Ok("https://api.anthropic.com/v1/messages".to_owned());
        assert_eq!(url(Kind::Anthropic, "https://api.anthropic.com"), messages);
        assert_eq!(url(Kind::Anthropic, "https://api.anthropic.com/v1/"), messages);
    }

    #[test]
    fn vendors_are_told_from_servers_that_are_compatible() {
        let kind = |kind, base| Endpoint::new(kind, Some(base), None, Timeouts::default()).unwrap().kind();
        for base in
            ["https://api.openai.com/v1", "https://eu.api.openai.com/v1", "https://a.openai.azure.com/openai/v1"]
        {
            assert_eq!(kind(Kind::OpenAi, base), Kind::OpenAi, "{base}");
        }
        for base in ["http://127.0.0.1:8080/v1", "https://api.openai.com.example/v1", "https://openai.azure.com.a/v1"] {
            assert_eq!(kind(Kind::OpenAi, base), Kind::OpenAiCompatible, "{base}");
        }
        assert_eq!(kind(Kind::Anthropic, "https://api.anthropic.com/v1"), Kind::Anthropic);
        assert_eq!(kind(Kind::Anthropic, "https://api.openai.com"), Kind::AnthropicCompatible);
        let rehearsal = Endpoint::new(Kind::Rehearsal, None, None, Timeouts::default()).unwrap();
        assert_eq!(rehearsal.kind(), Kind::Rehearsal);
    }

    #[test]
    fn models_are_listed_beside_the_calls() {
        let listed = |kind, base: &str| match Endpoint::new(kind, Some(base), None, Timeouts::default()).unwrap().0 {
            Target::Remote(remote) => remote.models_url().to_string(),
            Target::Rehearsal => String::new(),
        };
        assert_eq!(listed(Kind::OpenAi, "http://a:1/v1/"), "http://a:1/v1/models");
        assert_eq!(listed(Kind::OpenAi, "http://a/x/v2"), "http://a/x/v2/models");
        assert_eq!(listed(Kind::Anthropic, "https://a"), "https://a/v1/models");
    }

    #[test]
    fn a_bad_base_url_is_named() {
        assert_eq!(url(Kind::OpenAi, "localhost"), Err(BadEndpoint::NotUrl));
        assert_eq!(url(Kind::OpenAi, "ftp://a/v1"), Err(BadEndpoint::Scheme));
        assert_eq!(url(Kind::OpenAi, "http://me:pw@a/v1"), Err(BadEndpoint::Extras));
        assert_eq!(url(Kind::Anthropic, "http://a/?key=1"), Err(BadEndpoint::Extras));
        assert_eq!(url(Kind::Rehearsal, "http://a"), Err(BadEndpoint::UrlUseless));
        let none = Endpoint::new(Kind::OpenAi, None, None, Timeouts::default());
        assert_eq!(none.err(), Some(BadEndpoint::UrlMissing));
    }

    #[test]
    fn debug_output_hides_the_key() {
        let key = Some(Secret::new("sk-very-secret"));
        let endpoint = Endpoint::new(Kind::OpenAi, Some("http://a"), key, Timeouts::default()).unwrap();
        assert!(!format!("{endpoint:?}").contains("very"));
    }
}
