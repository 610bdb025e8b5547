//! Calls that only the command line has, through the local socket or in its own process: they
//! read the whole journal, whoever's it is.
pub mod audit;
pub mod call;
pub mod secrets;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use backstay_channels::{Problem, Why};
use backstay_engine::Engine;
use backstay_sandbox::Tried;
use backstay_store::{Cell, StoreError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::RealWorld;

pub const SQL: &str = "/api/sql";
pub const VERIFY: &str = "/api/audit/verify";
pub const SANDBOX: &str = "/api/sandbox";

/// What the second tier is, before why it is no more.
const ON_COPIES: &str = "every attempt to get out was refused; without namespaces commands work on copies, change no file and have no network";

/// To be merged into a router whose callers are the home's own user.
pub fn router(engine: Engine, world: Arc<RealWorld>) -> Router {
    let held = Router::new().route(SANDBOX, get(sandbox)).with_state(world);
    Router::new().route(SQL, post(sql)).route(VERIFY, get(verify)).with_state(engine).merge(held)
}

/// `{tier, why}`: `unused` where no agent may run a program, so that none is tried for.
async fn sandbox(State(world): State<Arc<RealWorld>>) -> Response {
    let tried = tokio::task::spawn_blocking(move || {
        world.sandbox().map_or(json!({ "tier": "unused", "why": "no agent is granted a program" }), |sandbox| {
            match sandbox.tried() {
                Tried::Full => json!({ "tier": "full", "why": "every attempt to get out was refused" }),
                Tried::Copy(why) => json!({ "tier": "copy", "why": format!("{ON_COPIES}: {why}") }),
                Tried::Off(why) | Tried::Unknown(why) => json!({ "tier": "off", "why": why }),
            }
        })
    });
    Json(tried.await.unwrap_or_else(|error| json!({ "tier": "off", "why": error.to_string() }))).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    query: String,
}

/// `{columns, rows, cut}`; a blob is `{"hex": …}`.
async fn sql(State(engine): State<Engine>, Json(asked): Json<Query>) -> Response {
    let store = engine.store().clone();
    let answer = tokio::task::spawn_blocking(move || store.query(&asked.query)).await;
    answered(answer, |answer| {
        let rows: Vec<Vec<Value>> = answer.rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect();
        json!({ "columns": answer.columns, "rows": rows, "cut": answer.cut })
    })
}

/// `{sound, sessions, entries, records, bodies, erased, windows, keys, memories, fault_count, faults}`.
async fn verify(State(engine): State<Engine>) -> Response {
    let store = engine.store().clone();
    let report = tokio::task::spawn_blocking(move || store.verify()).await;
    answered(report, |report| {
        json!({
            "sound": report.is_sound(),
            "sessions": report.sessions,
            "entries": report.entries,
            "records": report.records,
            "bodies": report.bodies,
            "erased": report.erased,
            "windows": report.windows,
            "keys": report.keys,
            "memories": report.memories,
            "fault_count": report.fault_count,
            "faults": report.faults,
        })
    })
}

fn answered<T>(
    found: Result<Result<T, StoreError>, tokio::task::JoinError>,
    show: impl FnOnce(T) -> Value,
) -> Response {
    match found {
        Ok(Ok(found)) => Json(show(found)).into_response(),
        Ok(Err(StoreError::Query(message))) => {
            let next = "only SELECT is allowed; backstay sql 'SELECT name FROM sqlite_schema' lists tables and views";
            Problem::new(Why::Query, message, next).into_response()
        }
        Ok(Err(error @ StoreError::QuerySlow(_))) => {
            let next = "narrow the query; backstay backup DIR copies the home";
            Problem::new(Why::Query, error.to_string(), next).into_response()
        }
        Ok(Err(error)) => Problem::new(Why::Store, error.to_string(), "backstay doctor").into_response(),
        Err(error) => Problem::internal(&error).into_response(),
    }
}

fn cell(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => json!(number),
        Cell::Real(number) => json!(number),
        Cell::Text(text) => json!(text),
        Cell::Blob(bytes) => {
            json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
    }
}
