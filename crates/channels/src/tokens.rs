//! Tokens of the API. They are worth what the config gives their principal, for the one thing that they were made
//! for. Only at this machine are they made: a token that could make others would be worth all of them.
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use backstay_engine::NewToken;
use backstay_kernel::home::{Speaks, TokenScope};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{LocalOwner, Owner};
use crate::door::Door;
use crate::error::Problem;
use crate::input::{Input, Keyed, Nothing};
use crate::limits::TOKEN_PREFIX_CHARS;

pub async fn list(_: Owner, State(door): State<Door>) -> Json<Value> {
    let tokens = door.engine.home().state().tokens;
    let item = |token: &backstay_kernel::home::Token| {
        json!({
            "id": token.id,
            "principal": token.principal,
            "speaks": token.speaks,
            "scope": token.scope,
            "created_at": token.created_at,
            "by": token.by,
        })
    };
    Json(json!({ "tokens": tokens.values().map(item).collect::<Vec<_>>() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    principal: String,
    speaks: Speaks,
    scope: TokenScope,
}

pub async fn create(
    owner: LocalOwner,
    State(door): State<Door>,
    key: Keyed,
    Input(new): Input<New>,
) -> Result<Response, Problem> {
    let speaks = format!("{:?}", new.speaks);
    let parts = [new.principal.as_bytes(), speaks.as_bytes(), new.scope.word().as_bytes()];
    let key = door.engine.key(owner.name(), key.for_call("create token", &parts));
    let New { principal, speaks, scope } = new;
    let wanted = NewToken { principal: principal.clone(), speaks, scope, by: owner.name().to_owned() };
    let [token] = door.engine.home().create_tokens(&door.engine.policy(), [wanted], key).await?;
    let id: String = token.chars().take(TOKEN_PREFIX_CHARS).collect();
    let answer = json!({ "token": token, "id": id, "principal": principal, "scope": scope });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

pub async fn revoke(
    owner: Owner,
    State(door): State<Door>,
    Path(id): Path<String>,
    key: Keyed,
    Input(Nothing {}): Input<Nothing>,
) -> Result<Json<Value>, Problem> {
    let key = door.engine.key(owner.name(), key.for_call("revoke token", &[id.as_bytes()]));
    door.engine.home().revoke_token(&id, owner.name(), key).await?;
    Ok(Json(json!({ "id": id, "revoked": true })))
}
