//! Every call there is, in one table, and the layers that all of them pass.
use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use backstay_kernel::home::TokenScope;
use http::Method;

use crate::auth::{Auth, authenticate, in_scope};
use crate::door::Door;
use crate::error::{Problem, Why, shape};
use crate::{
    admin, approvals, doubts, events, health, idempotency, input, openai, roots, sessions, standing, tokens, trace,
    transfer, turns, watch,
};

/// Whose token it must be; enforced by the type of the handler's caller, stated here for those who read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    Nobody,
    /// Any principal but a scraper; what they see is theirs, or everything for operators.
    Speaker,
    Operator,
    Owner,
    /// The home's own user, through the local socket.
    LocalOwner,
    Scraper,
}

pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// The tokens that it takes: those with one of these scopes.
    pub scopes: &'static [TokenScope],
    pub needs: Needs,
    handler: fn() -> MethodRouter<Door>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.needs)
    }
}

const fn read(path: &'static str, scopes: Scopes, needs: Needs, handler: fn() -> MethodRouter<Door>) -> Route {
    Route { method: Method::GET, path, scopes, needs, handler }
}

const fn act(path: &'static str, scopes: Scopes, needs: Needs, handler: fn() -> MethodRouter<Door>) -> Route {
    Route { method: Method::POST, path, scopes, needs, handler }
}

type Scopes = &'static [TokenScope];

// What is done is for one scope each; what is only seen may be for several.
const CHAT: Scopes = &[TokenScope::Chat];
const OBSERVE: Scopes = &[TokenScope::Observe];
const APPROVE: Scopes = &[TokenScope::Approve];
const OPERATE: Scopes = &[TokenScope::Operate];
const SESSIONS: Scopes = &[TokenScope::Chat, TokenScope::Observe, TokenScope::Operate];
const TURNS: Scopes = &[TokenScope::Chat, TokenScope::Observe];
const HOME: Scopes = &[TokenScope::Observe, TokenScope::Operate];

const MESSAGES: &str = "/api/sessions/{id}/messages";
const COMPLETIONS: &str = "/v1/chat/completions";

pub static ROUTES: [Route; 43] = [
    read("/live", &[], Needs::Nobody, || get(health::live)),
    read("/ready", &[], Needs::Nobody, || get(health::ready)),
    read("/metrics", OBSERVE, Needs::Scraper, || get(health::metrics)),
    act("/api/sessions", CHAT, Needs::Speaker, || post(sessions::open)),
    read("/api/sessions", SESSIONS, Needs::Speaker, || get(sessions::list)),
    read("/api/sessions/{id}", SESSIONS, Needs::Speaker, || get(sessions::one)),
    act(MESSAGES, CHAT, Needs::Speaker, || post(sessions::say)),
    read("/api/sessions/{id}/events", TURNS, Needs::Speaker, || get(events::stream)),
    read("/api/sessions/{id}/records", TURNS, Needs::Speaker, || get(sessions::records)),
    read("/api/sessions/{id}/export", OBSERVE, Needs::Speaker, || get(transfer::export)),
    act("/api/sessions/import", OPERATE, Needs::LocalOwner, || post(transfer::import)),
    act("/api/sessions/{id}/stop", OPERATE, Needs::Speaker, || post(sessions::stop)),
    act("/api/sessions/{id}/resume", OPERATE, Needs::Speaker, || post(sessions::resume)),
    read("/api/turns/{id}", TURNS, Needs::Speaker, || get(turns::one)),
    read("/api/turns/{id}/trace", OBSERVE, Needs::Speaker, || get(trace::one)),
    act("/api/turns/{id}/cancel", CHAT, Needs::Speaker, || post(turns::cancel)),
    read("/api/approvals", APPROVE, Needs::Speaker, || get(approvals::list)),
    read("/api/approvals/{id}", APPROVE, Needs::Speaker, || get(approvals::one)),
    act("/api/approvals/{id}", APPROVE, Needs::Speaker, || post(approvals::decide)),
    act("/api/approvals/{id}/edit", APPROVE, Needs::Speaker, || post(approvals::edit)),
    read("/api/standing", APPROVE, Needs::Speaker, || get(standing::list)),
    act("/api/standing/{id}/revoke", APPROVE, Needs::Speaker, || post(standing::revoke)),
    read("/api/questions", CHAT, Needs::Speaker, || get(approvals::questions)),
    act("/api/questions/{id}", CHAT, Needs::Speaker, || post(approvals::answer)),
    read("/api/doubts", HOME, Needs::Speaker, || get(doubts::list)),
    act("/api/doubts/{id}", OPERATE, Needs::Operator, || post(doubts::resolve)),
    read("/api/waits", HOME, Needs::Operator, || get(watch::stream)),
    act("/api/home/freeze", OPERATE, Needs::Operator, || post(admin::freeze)),
    act("/api/home/unfreeze", OPERATE, Needs::Operator, || post(admin::unfreeze)),
    act("/api/home/stop", OPERATE, Needs::Operator, || post(admin::stop)),
    act("/api/home/mode", OPERATE, Needs::Operator, || post(admin::set_mode)),
    read("/api/status", HOME, Needs::Operator, || get(admin::status)),
    read("/api/budget", HOME, Needs::Operator, || get(admin::budget)),
    read("/api/epochs", HOME, Needs::Operator, || get(admin::epochs)),
    act("/api/reload", OPERATE, Needs::Operator, || post(admin::reload)),
    act("/api/backup", OPERATE, Needs::LocalOwner, || post(admin::backup)),
    read("/api/roots", HOME, Needs::Operator, || get(roots::list)),
    act("/api/roots/reset", OPERATE, Needs::Owner, || post(roots::reset)),
    read("/api/tokens", OPERATE, Needs::Owner, || get(tokens::list)),
    act("/api/tokens", OPERATE, Needs::LocalOwner, || post(tokens::create)),
    act("/api/tokens/{id}/revoke", OPERATE, Needs::Owner, || post(tokens::revoke)),
    read("/v1/models", CHAT, Needs::Speaker, || get(openai::models)),
    act(COMPLETIONS, CHAT, Needs::Speaker, || post(openai::chat)),
];

/// Messages keep their keys in the journal; the answer to any other call is kept for its key.
fn is_once(route: &Route) -> bool {
    route.method == Method::POST && route.path != MESSAGES && route.path != COMPLETIONS
}

/// All calls, for a listener that knows its callers by `auth`.
pub fn router(door: Door, auth: Auth) -> Router {
    let (mut open, mut closed) = (Router::new(), Router::new());
    for route in &ROUTES {
        let mut handler = (route.handler)();
        if is_once(route) {
            handler = handler.layer(from_fn_with_state(door.clone(), idempotency::once));
        }
        let side = if route.needs == Needs::Nobody {
            &mut open
        } else {
            // Above the kept answers: what one token was told is not for one with another scope.
            handler = handler.route_layer(from_fn_with_state(route.scopes, in_scope));
            &mut closed
        };
        *side = std::mem::take(side).route(route.path, handler);
    }
    // The last layer is the first to see a request.
    let closed = closed
        .fallback(no_such_call)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(input::read))
        .layer(from_fn_with_state((door.clone(), auth), authenticate))
        .layer(from_fn(shape));
    let count = from_fn_with_state(door.clone(), health::count);
    open.merge(closed).layer(count).layer(from_fn(input::small_head)).layer(from_fn(input::one_length)).with_state(door)
}

async fn no_such_call(State(_): State<Door>) -> Problem {
    Problem::not_found("call")
}

async fn wrong_method() -> Problem {
    let next = "see docs/reference/http.md";
    Problem::new(Why::WrongMethod, "this call has another method", next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_every_call_and_who_may_make_it() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/http.md");
        let page = std::fs::read_to_string(page).unwrap();
        for route in &ROUTES {
            let who = match route.needs {
                Needs::Nobody => "anybody",
                Needs::Speaker if route.path.starts_with("/api/approvals/") && route.method == Method::POST => {
                    "its approvers"
                }
                Needs::Speaker => "speaker",
                Needs::Operator => "operator",
                Needs::Owner => "owner",
                Needs::LocalOwner => "local",
                Needs::Scraper => "owner, metrics",
            };
            let scopes: Vec<&str> = route.scopes.iter().map(|scope| scope.word()).collect();
            let scopes = if scopes.is_empty() { "none".to_owned() } else { scopes.join(", ") };
            let row = format!("| `{} {}` | {scopes} | {who}", route.method, route.path);
            assert!(page.contains(&row), "{row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `GET") || line.starts_with("| `POST"));
        assert_eq!(rows.count(), ROUTES.len());
    }
}
