//! A login: who asks, what a person is sent to, and what comes back of it.
use backstay_kernel::destination::Method;
use backstay_kernel::url::Url;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::bounds::{Body, Bounds, form};
use super::discover::{Found, is_same};
use super::token::{Client, Key, Proof, told};

/// Bytes of randomness in what nobody may guess: 256 bits.
const DRAWN_BYTES: usize = 32;
const NAME: &str = "Backstay";

/// What is drawn anew for each login.
#[derive(Clone)]
pub struct Drawn {
    pub state: String,
    /// Whoever redeems the code shows it; until then only its digest is known.
    pub verifier: String,
}

impl Drawn {
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Self, String> {
        let draw = || {
            let mut bytes = [0u8; DRAWN_BYTES];
            getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
            Ok::<_, String>(BASE64_URL_SAFE_NO_PAD.encode(bytes))
        };
        Ok(Self { state: draw()?, verifier: draw()? })
    }
}

/// A client that the operator has registered, as the config names it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Registered {
    pub id: Option<String>,
    /// The name of the secret that proves it.
    pub secret: Option<String>,
    /// The URL of a document about this client.
    pub document: Option<String>,
}

/// What the code of a login is redeemed with; the rest of it stays with whoever keeps tokens.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redemption {
    /// Of the server that was logged in to.
    pub url: String,
    pub issuer: String,
    pub resource: String,
    pub token: String,
    pub revocation: Option<String>,
    pub scopes: Vec<String>,
    pub client: Client,
    pub redirect: String,
    pub code: String,
    pub verifier: String,
}

/// Why there is no client to ask as.
#[derive(Debug)]
pub enum NoClient {
    /// A person registers it there, and tells the config of it.
    NotRegistered(String),
    Failed(String),
}

/// Who this is to the authorization server: whom the operator has registered, else the URL of a document, where that is
/// taken, else whom the server registers now.
///
/// # Errors
/// It is to be neither known beforehand nor registered now.
pub async fn client(
    bounds: &Bounds,
    found: &Found,
    registered: &Registered,
    redirect: &str,
) -> Result<Client, NoClient> {
    if let Some(id) = &registered.id {
        let key = registered.secret.clone().map(Key::Kept);
        return Ok(Client { id: id.clone(), proof: proof(found, key).map_err(NoClient::Failed)? });
    }
    if let Some(document) = registered.document.as_ref().filter(|_| found.takes_documents) {
        return Ok(Client { id: document.clone(), proof: Proof::None });
    }
    let Some(registration) = &found.registration else {
        return Err(NoClient::NotRegistered("the authorization server registers nobody by itself".to_owned()));
    };
    register(bounds, found, registration, redirect).await
}

/// RFC 7591.
#[derive(Deserialize)]
struct Given {
    client_id: String,
    client_secret: Option<String>,
    token_endpoint_auth_method: Option<String>,
}

async fn register(bounds: &Bounds, found: &Found, at: &Url, redirect: &str) -> Result<Client, NoClient> {
    let mut asked = json!({
        "client_name": NAME,
        "redirect_uris": [redirect],
        "response_types": ["code"],
        "grant_types": if found.renews { vec!["authorization_code", "refresh_token"] } else { vec!["authorization_code"] },
        "application_type": "native",
    });
    if let Some(asked) = asked.as_object_mut() {
        let known = |word: &&&str| found.proofs.iter().flatten().any(|proof| proof == **word);
        let method = ["none", "client_secret_basic", "client_secret_post"].iter().find(known);
        asked.extend(method.map(|method| ("token_endpoint_auth_method".to_owned(), (*method).into())));
        if !found.scopes.is_empty() {
            asked.insert("scope".to_owned(), found.scopes.join(" ").into());
        }
    }
    let body = Body::Json(asked.to_string().into_bytes());
    let answer = bounds.ask(at, Method::Post, body, None, &mut drop).await.map_err(NoClient::Failed)?;
    if !matches!(answer.status, 200 | 201) {
        let why = format!("the authorization server did not register this client: {}", told(&answer, &[]));
        let is_no = matches!(answer.status, 400..=499);
        return Err(if is_no { NoClient::NotRegistered(why) } else { NoClient::Failed(why) });
    }
    let unread = |error| format!("what the authorization server registered cannot be read: {error}");
    let given: Given = serde_json::from_slice(&answer.body).map_err(unread).map_err(NoClient::Failed)?;
    let key = given.client_secret.map(Key::Given);
    let proof = match (given.token_endpoint_auth_method.as_deref(), key) {
        (Some("none"), _) => Proof::None,
        (Some("client_secret_basic"), Some(key)) => Proof::Basic(key),
        (Some("client_secret_post"), Some(key)) => Proof::Post(key),
        (Some(other), _) => {
            return Err(NoClient::Failed(format!("the authorization server wants a proof of another kind: {other:?}")));
        }
        (None, key) => proof(found, key).map_err(NoClient::Failed)?,
    };
    Ok(Client { id: given.client_id, proof })
}

/// Of what a server takes; where it does not say, it takes what the protocol has first.
fn proof(found: &Found, key: Option<Key>) -> Result<Proof, String> {
    let takes = |word: &str| found.proofs.as_ref().is_none_or(|proofs| proofs.iter().any(|proof| proof == word));
    match key {
        Some(key) if takes("client_secret_basic") => Ok(Proof::Basic(key)),
        Some(key) if takes("client_secret_post") => Ok(Proof::Post(key)),
        None => Ok(Proof::None),
        Some(_) if takes("none") => Ok(Proof::None),
        Some(_) => Err("the authorization server takes no proof by a secret".to_owned()),
    }
}

/// What a person opens.
#[must_use]
pub fn address(found: &Found, client: &Client, drawn: &Drawn, redirect: &str) -> String {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&drawn.verifier));
    let scopes = found.scopes.join(" ");
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", &client.id),
        ("redirect_uri", redirect),
        ("state", &drawn.state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("resource", &found.resource),
    ];
    if !scopes.is_empty() {
        fields.push(("scope", &scopes));
    }
    if found.scopes.iter().any(|scope| scope == "offline_access") {
        // OpenID has it so that nobody is asked for it unawares.
        fields.push(("prompt", "consent"));
    }
    let url = found.authorization.text();
    format!("{url}{}{}", if url.contains('?') { '&' } else { '?' }, form(&fields))
}

/// What a browser came back with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Returned {
    Code(String),
    /// It is of another login, or of nobody's: whoever waits goes on waiting.
    Foreign(&'static str),
    /// The authorization server says no.
    Refused(String),
}

/// `query`: of the URL that the browser was sent to.
#[must_use]
pub fn returned(query: &str, found: &Found, drawn: &Drawn) -> Returned {
    let fields: Vec<(String, String)> = query.split('&').filter_map(field).collect();
    let all = |name: &str| fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
    let one = |name: &str| {
        let all: Vec<&str> = all(name);
        <[&str; 1]>::try_from(all).ok().map(|[value]| value)
    };
    if one("state") != Some(drawn.state.as_str()) {
        return Returned::Foreign("its `state` is not of this login");
    }
    let issuers: Vec<&str> = all("iss");
    let is_theirs = issuers.iter().all(|issuer| is_same(issuer, &found.issuer)) && issuers.len() <= 1;
    if !is_theirs || (found.names_itself && issuers.is_empty()) {
        return Returned::Foreign("it is of another authorization server");
    }
    match (one("error"), one("code")) {
        (Some(error), _) => {
            let why = one("error_description").unwrap_or_default();
            Returned::Refused(format!("the authorization server says {error:?} {why:?}"))
        }
        (None, Some(code)) if !code.is_empty() => Returned::Code(code.to_owned()),
        (None, _) => Returned::Foreign("it holds no code"),
    }
}

fn field(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Some((decoded(name)?, decoded(value)?))
}

fn decoded(text: &str) -> Option<String> {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}
