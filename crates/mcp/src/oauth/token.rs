//! What a token endpoint is asked, and what it gives.
use backstay_egress::{Answer, Credential, Took};
use backstay_kernel::destination::Method;
use backstay_kernel::url::Url;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bounds::{Body, Bounds, Sink, escaped, form};
use super::challenge::scopes;
use crate::limits::TOKEN_BYTES_MAX;

/// Of what somebody says for people, characters.
const SAID_CHARS_MAX: usize = 200;
/// Fields that are shown to nobody.
const SECRET: [&str; 4] = ["code", "code_verifier", "refresh_token", "token"];

/// Who asks.
#[derive(Clone, Serialize, Deserialize)]
pub struct Client {
    pub id: String,
    pub proof: Proof,
}

/// How it proves that.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    None,
    Basic(Key),
    Post(Key),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// By the server, when it registered the client.
    Given(String),
    /// The name of a secret of the operator's.
    Kept(String),
}

impl Proof {
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::None => None,
            Self::Basic(key) | Self::Post(key) => Some(key),
        }
    }
}

/// What came of it. Nothing here is shown to anybody.
pub struct Tokens {
    pub access: String,
    pub refresh: Option<String>,
    pub seconds: Option<u64>,
    pub scopes: Option<Vec<String>>,
}

/// Why there are none.
pub enum NoTokens {
    /// What was shown is worth nothing any more.
    Ended(String),
    Failed(String),
}

impl NoTokens {
    pub fn why(self) -> String {
        match self {
            Self::Ended(why) | Self::Failed(why) => why,
        }
    }
}

/// RFC 6749.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    expires_in: Option<Value>,
    refresh_token: Option<String>,
    scope: Option<String>,
}

/// A client at an endpoint, with what proves it where something does.
pub struct Asker<'c> {
    pub bounds: Bounds,
    pub endpoint: Url,
    pub client: &'c Client,
    pub key: Option<String>,
}

impl Asker<'_> {
    pub async fn tokens(&self, fields: &[(&str, &str)], sink: Sink<'_>) -> Result<Tokens, NoTokens> {
        let answer = self.posted(fields, sink).await?;
        let bad = |why: &str| NoTokens::Failed(format!("what {} gave is no token: {why}", self.endpoint.text()));
        // What does not fit could hold what it gave.
        let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| bad("it is not read"))?;
        if !granted.token_type.eq_ignore_ascii_case("bearer") {
            return Err(bad("it is not a bearer's"));
        }
        let is_one =
            |token: &str| (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        if !is_one(&granted.access_token) || !granted.refresh_token.as_deref().is_none_or(is_one) {
            return Err(bad("it holds what no header can hold, or too much"));
        }
        let seconds = granted.expires_in.and_then(|said| said.as_u64().or_else(|| said.as_str()?.parse().ok()));
        Ok(Tokens {
            access: granted.access_token,
            refresh: granted.refresh_token,
            seconds,
            scopes: granted.scope.as_deref().map(scopes),
        })
    }

    /// One form, and the answer that is a yes to it. A no is told without what was sent.
    pub async fn posted(&self, fields: &[(&str, &str)], sink: Sink<'_>) -> Result<Answer, NoTokens> {
        let secrets = fields.iter().filter(|(name, _)| SECRET.contains(name)).map(|(_, value)| *value);
        let hidden: Vec<&str> = secrets.chain(self.key.as_deref()).collect();
        let answer = self.sent(fields, sink).await.map_err(NoTokens::Failed)?;
        if answer.status == 200 {
            return Ok(answer);
        }
        let why = format!("{} {}", self.endpoint.text(), told(&answer, &hidden));
        let is_ended = error_of(&answer).as_deref() == Some("invalid_grant");
        Err(if is_ended { NoTokens::Ended(why) } else { NoTokens::Failed(why) })
    }

    async fn sent(&self, fields: &[(&str, &str)], sink: Sink<'_>) -> Result<Answer, String> {
        let id = self.client.id.as_str();
        let mut fields = fields.to_vec();
        let mut credential = None;
        match (&self.client.proof, self.key.as_deref()) {
            (Proof::None, _) => fields.push(("client_id", id)),
            (Proof::Post(_), Some(key)) => fields.extend([("client_id", id), ("client_secret", key)]),
            (Proof::Basic(_), Some(key)) => {
                let pair = BASE64_STANDARD.encode(format!("{}:{}", escaped(id), escaped(key)));
                let mut value = HeaderValue::from_str(&format!("Basic {pair}")).map_err(|error| error.to_string())?;
                value.set_sensitive(true);
                let (secret, here) = ("client".to_owned(), self.bounds.in_clear());
                credential = Some(Credential { secret, header: AUTHORIZATION, value, here, took: Took::default() });
            }
            (Proof::Post(_) | Proof::Basic(_), None) => return Err("what proves this client is gone".to_owned()),
        }
        self.bounds.ask(&self.endpoint, Method::Post, Body::Form(form(&fields)), credential, sink).await
    }
}

/// What an answer that is a no says, but for what repeats something that was sent.
pub fn told(answer: &Answer, hidden: &[&str]) -> String {
    let said = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let word = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    let why = format!("{} {}", word("error"), word("error_description"));
    let repeats = hidden.iter().any(|hidden| why.contains(hidden));
    let shown: String = if repeats { String::new() } else { why.trim().chars().take(SAID_CHARS_MAX).collect() };
    let elsewhere = if matches!(answer.status, 300..=399) { ", which leads elsewhere and is not followed" } else { "" };
    let said = if shown.is_empty() { String::new() } else { format!(" and says {shown:?}") };
    format!("answered {}{elsewhere}{said}", answer.status)
}

fn error_of(answer: &Answer) -> Option<String> {
    serde_json::from_slice::<Value>(&answer.body).ok()?.get("error")?.as_str().map(str::to_owned)
}
