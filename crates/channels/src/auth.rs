//! Who is calling. Names and roles come from the home's tokens and the policy, or from the local
//! socket's peer; nothing that a request says of itself counts. A handler cannot be written
//! without a caller: the types here are its parameters, and only this file makes them.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use backstay_engine::Caller;
use backstay_kernel::home::{Speaks, TokenScope};
use backstay_kernel::policy::Role;
use backstay_kernel::rule::AT_HOME;
use http::header::{AUTHORIZATION, CONNECTION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request};

use crate::crowd::Stranger;
use crate::door::Door;
use crate::error::{Problem, Why};
use crate::guard::Failed;
use crate::limits::{TOKEN_CHARS_MAX, TOKEN_PREFIX_CHARS};
use crate::origin;
use crate::places::{self, Seat};

/// At the local socket: `human` or `program`.
pub const SPEAKS: &str = "x-backstay-speaks";

/// The door of the HTTP API.
const API: &str = "api";

/// How a listener knows its callers.
#[derive(Clone, Debug)]
pub enum Auth {
    /// By token, from anywhere; there is no exemption for the own machine.
    Bearer { listen: SocketAddr, trusted_proxies: Arc<[IpAddr]> },
    /// The process of the home's own user: the listener has checked the peer, or there is none
    /// because the call comes from within.
    Local,
}

/// The other end of the connection, as the listener saw it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

#[derive(Clone)]
struct Authenticated {
    caller: Caller,
    standing: Standing,
}

/// By what a caller was let in; a call that lasts asks again and again whether it still holds.
#[derive(Clone, Debug)]
pub enum Standing {
    /// The home's own user.
    Local,
    Token {
        door: Door,
        id: String,
        role: Role,
        scope: TokenScope,
        channel: &'static str,
    },
}

impl Standing {
    fn holds(&self) -> bool {
        let Self::Token { door, id, role, channel, .. } = self else { return true };
        let token = door.engine.home().token(id);
        token.is_some_and(|token| door.engine.policy().role(&token.principal, channel) == Some(*role))
    }

    /// Ends when the token is revoked, or its principal gone or given another role.
    pub async fn withdrawn(&self) {
        if let Self::Token { door, .. } = self {
            let mut changes = door.engine.home().changes();
            while self.holds() {
                if changes.changed().await.is_err() {
                    break;
                }
            }
            return;
        }
        std::future::pending().await
    }
}

/// Anybody but a scraper of metrics.
#[derive(Clone, Debug)]
pub struct Speaker(Caller, Standing);

/// An owner or an operator.
#[derive(Debug)]
pub struct Operator(Caller);

/// An owner.
#[derive(Debug)]
pub struct Owner(Caller);

/// An owner who sits at this machine.
#[derive(Debug)]
pub struct LocalOwner(Caller);

/// Who may read the metrics.
#[derive(Debug)]
pub struct Scraper(());

impl Speaker {
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.0
    }

    /// The same caller at another door.
    #[must_use]
    pub fn at(&self, channel: &str) -> Caller {
        Caller { channel: channel.to_owned(), ..self.0.clone() }
    }

    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.1
    }

    /// Whether a person speaks, or a program.
    #[must_use]
    pub fn speaks(&self) -> Speaks {
        self.0.speaks
    }

    /// Everything in the home is theirs to see; not with a token that is there to talk.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        operates(self.0.role) && !matches!(self.1, Standing::Token { scope: TokenScope::Chat, .. })
    }
}

impl Operator {
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.0
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.principal
    }
}

impl Owner {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.principal
    }

    /// Whether a person speaks, or a program.
    #[must_use]
    pub fn speaks(&self) -> Speaks {
        self.0.speaks
    }
}

impl LocalOwner {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.principal
    }
}

fn operates(role: Role) -> bool {
    match role {
        Role::Owner | Role::Operator => true,
        Role::Approver | Role::User | Role::Metrics => false,
    }
}

fn authenticated(parts: &Parts) -> Result<&Authenticated, Problem> {
    parts.extensions.get::<Authenticated>().ok_or_else(Problem::unauthorized)
}

/// Once it has passed [`authenticate`]: who asks, and by what they were let in: what one of them was answered is not for another.
pub fn asker_of(request: &Request<Body>) -> Option<String> {
    let Authenticated { caller, standing } = request.extensions().get::<Authenticated>()?;
    let by = match standing {
        Standing::Local => "at the machine",
        Standing::Token { scope, .. } => scope.word(),
    };
    Some(format!("{} {by} {:?}", caller.principal, caller.speaks))
}

fn refused(role: Role, wanted: &str) -> Problem {
    Problem::new(
        Why::Forbidden,
        format!("this call is for {wanted}, and this token's principal is `{}`", role.word()),
        "ask the home's owner",
    )
}

impl<S: Sync> FromRequestParts<S> for Speaker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Authenticated { caller, standing } = authenticated(parts)?;
        match caller.role {
            Role::Owner | Role::Operator | Role::Approver | Role::User => Ok(Self(caller.clone(), standing.clone())),
            Role::Metrics => Err(refused(caller.role, "people and programs")),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = &authenticated(parts)?.caller;
        if operates(caller.role) { Ok(Self(caller.clone())) } else { Err(refused(caller.role, "operators")) }
    }
}

impl<S: Sync> FromRequestParts<S> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = &authenticated(parts)?.caller;
        if caller.role == Role::Owner { Ok(Self(caller.clone())) } else { Err(refused(caller.role, "the owner")) }
    }
}

impl<S: Sync> FromRequestParts<S> for LocalOwner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let found = authenticated(parts)?;
        if matches!(found.standing, Standing::Local) && found.caller.role == Role::Owner {
            return Ok(Self(found.caller.clone()));
        }
        let next = "run the command on the machine that holds the home";
        Err(Problem::new(Why::Forbidden, "this call is for the home's own user, at the machine that holds it", next))
    }
}

impl<S: Sync> FromRequestParts<S> for Scraper {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = &authenticated(parts)?.caller;
        match caller.role {
            Role::Owner | Role::Metrics => Ok(Self(())),
            Role::Operator | Role::Approver | Role::User => Err(refused(caller.role, "the roles owner and metrics")),
        }
    }
}

/// The outermost layer of every door but `/live` and `/ready`.
pub async fn authenticate(State((door, auth)): State<(Door, Auth)>, request: Request<Body>, next: Next) -> Response {
    let found = match &auth {
        Auth::Local => at_home(&door, request.headers()),
        Auth::Bearer { listen, trusted_proxies } => by_token(&door, &request, *listen, trusted_proxies),
    };
    match found {
        Ok(found) => admit(&door, request, found, next).await,
        Err(Stop { after, problem }) => {
            tokio::time::sleep(after).await;
            problem.into_response()
        }
    }
}

/// Beneath [`authenticate`]: whether the caller's token was made for this call. The home's own user needs no token.
pub async fn in_scope(State(scopes): State<&'static [TokenScope]>, request: Request<Body>, next: Next) -> Response {
    match request.extensions().get::<Authenticated>().map(|found| &found.standing) {
        None => Problem::unauthorized().into_response(),
        Some(Standing::Token { scope, .. }) if !scopes.contains(scope) => out_of(*scope, scopes).into_response(),
        Some(Standing::Local | Standing::Token { .. }) => next.run(request).await,
    }
}

fn out_of(scope: TokenScope, wanted: &[TokenScope]) -> Problem {
    let words: Vec<&str> = wanted.iter().map(|scope| scope.word()).collect();
    Problem::new(
        Why::WrongScope,
        format!("this call is for tokens with the scope {}, and this one's is `{}`", words.join(" or "), scope.word()),
        format!(
            "another token: `backstay tokens create --principal NAME --speaks human|program --scope {}`",
            words.first().copied().unwrap_or_default()
        ),
    )
}

/// Lets a caller in where there is a place for its connection, or, where the connection is a
/// proxy's or there is none, for this one call.
async fn admit(door: &Door, mut request: Request<Body>, found: Authenticated, next: Next) -> Response {
    let (seat, stranger) = (request.extensions_mut().remove::<Seat>(), request.extensions_mut().remove::<Stranger>());
    let place = match (&found.standing, seat) {
        (Standing::Local, _) => Ok(None),
        (Standing::Token { .. }, Some(seat)) => seat.sit(&door.places, &found.caller).map(|()| None),
        (Standing::Token { .. }, None) => door.places.connection(&found.caller).map(Some),
    };
    let place = match place {
        Ok(place) => place,
        Err(problem) => {
            // It is a stranger's connection still, or nobody's: it must not stay.
            let mut response = problem.into_response();
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
    };
    if let Some(stranger) = stranger {
        stranger.known();
    }
    request.extensions_mut().insert(found);
    let response = next.run(request).await;
    match place {
        Some(place) => places::holding(response, place),
        None => response,
    }
}

/// A no, and how long it is held back.
struct Stop {
    after: Duration,
    problem: Problem,
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self { after: Duration::ZERO, problem }
    }
}

/// The command line says whether it sits at a terminal. Whoever has this socket owns the home; a token says which of
/// its people sits there.
fn at_home(door: &Door, headers: &HeaderMap) -> Result<Authenticated, Stop> {
    if headers.contains_key(AUTHORIZATION) {
        let found = bearer(headers).and_then(|token| holder(door, token, AT_HOME));
        return found.ok_or_else(|| Problem::unauthorized().into());
    }
    let is_human = headers.get(SPEAKS).is_some_and(|value| value == "human");
    let speaks = if is_human { Speaks::Human } else { Speaks::Program };
    let caller = Caller { principal: "owner".into(), role: Role::Owner, channel: AT_HOME.into(), speaks };
    Ok(Authenticated { caller, standing: Standing::Local })
}

fn by_token(
    door: &Door,
    request: &Request<Body>,
    listen: SocketAddr,
    proxies: &[IpAddr],
) -> Result<Authenticated, Stop> {
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    let behind_proxy = proxies.contains(&peer);
    origin::check(request.headers(), listen, behind_proxy)?;
    let presented = bearer(request.headers());
    if let Some(found) = presented.and_then(|token| holder(door, token, API)) {
        return Ok(found);
    }
    let address = if behind_proxy { forwarded(request.headers(), proxies).unwrap_or(peer) } else { peer };
    let prefix = presented.map(|token| token.chars().take(TOKEN_PREFIX_CHARS).collect());
    door.metrics.auth_failures.inc();
    match door.guard.failed(address, prefix, door.engine.now()) {
        Failed::After(after) => Err(Stop { after, problem: Problem::unauthorized() }),
        Failed::Blocked { retry_after_s } => {
            let (message, next) = ("too many wrong credentials from here", "wait, then use a valid token");
            Err(Problem::new(Why::TooManyFailures, message, next).later(retry_after_s).into())
        }
    }
}

/// The one token that is presented; two credentials are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let plain = !token.is_empty() && token.len() <= TOKEN_CHARS_MAX && token.bytes().all(|b| b.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && plain).then_some(token)
}

/// A token is worth what the policy gives its principal now; nothing where that one is gone.
fn holder(door: &Door, token: &str, channel: &'static str) -> Option<Authenticated> {
    let token = door.engine.home().holder(token)?;
    let role = door.engine.policy().role(&token.principal, channel)?;
    let caller = Caller { principal: token.principal, role, channel: channel.to_owned(), speaks: token.speaks };
    let standing = Standing::Token { door: door.clone(), id: token.id, role, scope: token.scope, channel };
    Some(Authenticated { caller, standing })
}

/// The nearest address that is not a trusted proxy's; what stands before it anybody may have
/// written.
fn forwarded(headers: &HeaderMap, proxies: &[IpAddr]) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
    let chain: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    let addresses = chain.iter().rev().map_while(|text| text.trim().parse::<IpAddr>().ok());
    addresses.into_iter().find(|address| !proxies.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn exactly_one_bearer_token_is_a_credential() {
        let get = |pairs: &[(&'static str, &str)]| bearer(&headers(pairs)).map(str::to_owned);
        assert_eq!(get(&[("authorization", "Bearer bks_1")]).as_deref(), Some("bks_1"));
        assert_eq!(get(&[("authorization", "bearer bks_1")]).as_deref(), Some("bks_1"));
        assert_eq!(get(&[("authorization", "Bearer bks_1"), ("authorization", "Bearer bks_1")]), None);
        assert_eq!(get(&[("authorization", "Basic bks_1")]), None);
        assert_eq!(get(&[("authorization", "Bearer bks_1 bks_2")]), None);
        assert_eq!(get(&[("authorization", "Bearer ")]), None);
        assert_eq!(get(&[]), None);
    }

    #[test]
    fn only_what_trusted_proxies_added_is_believed() {
        let proxies: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let get = |value: &str| forwarded(&headers(&[("x-forwarded-for", value)]), &proxies);
        assert_eq!(get("1.1.1.1, 203.0.113.9, 10.0.0.2"), Some([203, 0, 113, 9].into()));
        assert_eq!(get("203.0.113.9"), Some([203, 0, 113, 9].into()));
        assert_eq!(get("203.0.113.9, nonsense"), None);
        assert_eq!(get("10.0.0.2"), None);
    }
}
