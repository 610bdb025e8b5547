//! Which authorization server a server names, and what that says of itself. Whoever is logged in looks, and a person
//! is shown what was found; nothing of it is followed by the runtime.
use backstay_kernel::destination::Method;
use backstay_kernel::url::Url;
use serde::Deserialize;
use serde_json::json;

use super::bounds::{Body, Bounds};
use super::challenge::{Challenge, scopes};
use crate::remote::At;

const RESOURCE: &str = "oauth-protected-resource";
const SERVER: &str = "oauth-authorization-server";
const OPENID: &str = "openid-configuration";
/// Only with it does a server of OpenID hand out what renews a token.
const OFFLINE: &str = "offline_access";

/// What there is to log in with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    pub issuer: String,
    /// What a token is asked for, in the server's own words.
    pub resource: String,
    pub scopes: Vec<String>,
    pub authorization: Url,
    pub token: Url,
    pub registration: Option<Url>,
    pub revocation: Option<Url>,
    /// How a client may prove who it is, where that is said.
    pub proofs: Option<Vec<String>>,
    /// A client may be named by the URL of a document about it.
    pub takes_documents: bool,
    /// What it answers bears its name.
    pub names_itself: bool,
    pub renews: bool,
}

/// RFC 9728.
#[derive(Deserialize)]
struct Resource {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    scopes_supported: Option<Vec<String>>,
}

/// RFC 8414, and OpenID Connect Discovery.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    registration_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    grant_types_supported: Option<Vec<String>>,
    scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    client_id_metadata_document_supported: bool,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// `wanted`: scopes in place of those that the server names. `issuer`: which authorization server, where it names
/// several.
///
/// # Errors
/// What is missing or does not fit together, in words.
pub async fn discover(
    bounds: &Bounds,
    at: &At,
    wanted: Option<&[String]>,
    issuer: Option<&str>,
) -> Result<Found, String> {
    let challenge = challenge(bounds, at).await?;
    let named = challenge.as_ref().and_then(|challenge| challenge.resource_metadata.as_deref());
    let resource = resource(bounds, at, named).await?;
    // Servers of the first revision are their own authorization servers, and say nothing of a resource.
    let (base, is_named) = match &resource {
        Some(resource) => (chosen(&resource.authorization_servers, issuer)?, true),
        None if challenge.is_some() => (origin(&at.url), false),
        None => return Err("it asks for no token, and names no authorization server".to_owned()),
    };
    let metadata = metadata(bounds, &base, is_named).await?;
    if !metadata.code_challenge_methods_supported.iter().flatten().any(|method| method == "S256") {
        return Err(format!(
            "the authorization server {base} does not say that it checks PKCE by S256, so a code could be stolen"
        ));
    }
    let of_resource = resource.as_ref().and_then(|resource| resource.scopes_supported.as_deref());
    let asked = challenge.and_then(|challenge| challenge.scope);
    let optional = |what, text: &Option<String>| text.as_deref().map(|text| bounds.url(what, text)).transpose();
    Ok(Found {
        resource: resource.as_ref().map_or_else(|| at.url.text(), |resource| resource.resource.clone()),
        scopes: scopes_of(wanted, asked.as_deref(), of_resource, &metadata),
        authorization: bounds.url("authorization endpoint", &metadata.authorization_endpoint)?,
        token: bounds.url("token endpoint", &metadata.token_endpoint)?,
        registration: optional("registration endpoint", &metadata.registration_endpoint)?,
        revocation: optional("revocation endpoint", &metadata.revocation_endpoint)?,
        takes_documents: metadata.client_id_metadata_document_supported,
        names_itself: metadata.authorization_response_iss_parameter_supported,
        renews: metadata.grant_types_supported.as_ref().is_none_or(|types| types.iter().any(|t| t == "refresh_token")),
        proofs: metadata.token_endpoint_auth_methods_supported,
        issuer: metadata.issuer,
    })
}

/// What a server says to whoever comes without a token. The request is one that changes nothing, and that servers ask a
/// token for who greet everybody.
async fn challenge(bounds: &Bounds, at: &At) -> Result<Option<Challenge>, String> {
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    let body = Body::Json(list.to_string().into_bytes());
    let coming = bounds.open(&at.url, Method::Post, body, None, &mut drop).await?;
    let is_asked = coming.head().status == 401;
    Ok(is_asked.then(|| Challenge::of_answer(coming.head()).unwrap_or_default()))
}

/// What is said of the server as something that tokens are for: where it says, or at the places that are known for it.
async fn resource(bounds: &Bounds, at: &At, named: Option<&str>) -> Result<Option<Resource>, String> {
    if let Some(named) = named {
        let url = bounds.url("`resource_metadata`", named)?;
        let found = bounds.document::<Resource>(&url).await?;
        let found = found.map_err(|status| format!("{} answered {status}, where it says what it is", url.text()))?;
        return fitting(found, at).map(Some);
    }
    let path = at.url.path.trim_end_matches('/');
    let root = format!("{}/.well-known/{RESOURCE}", origin(&at.url));
    let mut places = vec![format!("{root}{path}"), root];
    places.dedup();
    for place in places {
        if let Ok(found) = bounds.document::<Resource>(&bounds.url("place", &place)?).await? {
            return fitting(found, at).map(Some);
        }
    }
    Ok(None)
}

/// A token is for what its server stands at or below, and for nothing of anybody else's.
fn fitting(found: Resource, at: &At) -> Result<Resource, String> {
    let is_it = |named: &Url| {
        let (path, of) = (at.url.path.trim_end_matches('/'), named.path.trim_end_matches('/'));
        let is_below = path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        origin(named) == origin(&at.url) && is_below
    };
    if Url::read(&found.resource).is_ok_and(|named| is_it(&named)) {
        return Ok(found);
    }
    Err(format!("it says that its tokens are for {:?}, which is not {}", found.resource, at.url.text()))
}

fn chosen(named: &[String], wanted: Option<&str>) -> Result<String, String> {
    let found = match wanted {
        Some(wanted) => named.iter().find(|named| is_same(named, wanted)),
        None => named.first(),
    };
    found.cloned().ok_or_else(|| match wanted {
        Some(wanted) => format!("it names no authorization server {wanted:?}, but {named:?}"),
        None => "it names no authorization server".to_owned(),
    })
}

/// Of the first place that has it. What is said there must be said of whom it was looked for.
async fn metadata(bounds: &Bounds, base: &str, is_named: bool) -> Result<Metadata, String> {
    let url = bounds.url("authorization server", base)?;
    let (root, path) = (origin(&url), url.path.trim_end_matches('/'));
    let mut places = vec![format!("{root}/.well-known/{SERVER}{path}"), format!("{root}/.well-known/{OPENID}{path}")];
    if !path.is_empty() {
        places.push(format!("{root}{path}/.well-known/{OPENID}"));
    }
    let mut tried = Vec::new();
    for place in places {
        match bounds.document::<Metadata>(&bounds.url("place", &place)?).await? {
            Ok(found) if is_named && !is_same(&found.issuer, base) => {
                return Err(format!("{place} speaks for {:?}, and not for {base:?}", found.issuer));
            }
            // Nobody has named it: it is whoever answers at the server itself.
            Ok(found) if !Url::read(&found.issuer).is_ok_and(|issuer| origin(&issuer) == root) => {
                return Err(format!("{place} speaks for {:?}, which is elsewhere", found.issuer));
            }
            Ok(found) => return Ok(found),
            Err(status) => tried.push(format!("{place} answered {status}")),
        }
    }
    Err(format!("the authorization server says nothing of itself: {}", tried.join(", ")))
}

/// The least that is wanted: what a person says, else what the server asks for now, else what it says is needed. With
/// what lets a token be renewed, where that is known.
fn scopes_of(
    wanted: Option<&[String]>,
    asked: Option<&str>,
    of_resource: Option<&[String]>,
    metadata: &Metadata,
) -> Vec<String> {
    let mut out = match (wanted, asked, of_resource) {
        (Some(wanted), _, _) => wanted.to_vec(),
        (None, Some(asked), _) => scopes(asked),
        (None, None, Some(all)) => scopes(&all.join(" ")),
        (None, None, None) => Vec::new(),
    };
    let is_known = metadata.scopes_supported.iter().flatten().any(|scope| scope == OFFLINE);
    if is_known && !out.is_empty() && !out.iter().any(|scope| scope == OFFLINE) {
        out.push(OFFLINE.to_owned());
    }
    out
}

pub fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme.word(), url.authority())
}

/// The same name in whatever spelling of a URL.
pub fn is_same(one: &str, other: &str) -> bool {
    matches!((Url::read(one), Url::read(other)), (Ok(one), Ok(other)) if one == other)
}
