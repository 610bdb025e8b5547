//! The journal against what was signed of it, and the journal itself, page by page.
use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use backstay_channels::{Problem, Why};
use backstay_engine::Engine;
use backstay_store::{Differs, Span, Store, StoreError, Stored, salt_text};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answered;
use crate::audit::export::{self, Exported, Text};
use crate::audit::line;

pub const CHECKPOINTS: &str = "/api/audit/checkpoints";
pub const SPAN: &str = "/api/audit/span";
pub const ENTRIES: &str = "/api/audit/entries";
/// Faults that are told one by one.
const FAULTS_MAX: usize = 100;
/// Entries of one page.
const PAGE: usize = 200;

#[derive(Clone)]
struct Desk {
    engine: Engine,
    /// The key of this home's own checkpoints.
    public: Option<String>,
}

pub fn router(engine: Engine, public: Option<String>) -> Router {
    let desk = Desk { engine, public };
    let router = Router::new().route(CHECKPOINTS, get(key).post(compare));
    router.route(SPAN, get(span)).route(ENTRIES, get(entries)).with_state(desk)
}

/// `{key}`: null where the home signs nothing.
async fn key(State(desk): State<Desk>) -> Json<Value> {
    Json(json!({ "key": desk.public }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compare {
    from: PathBuf,
    /// Whose signatures count, instead of this home's own key.
    key: Option<String>,
}

/// `{sound, key, checkpoints, ends, newer_records, restored, fault_count, faults}`.
async fn compare(State(desk): State<Desk>, Json(asked): Json<Compare>) -> Response {
    let Some(key) = asked.key.or(desk.public) else {
        let next = "give --key, as `backstay audit key` shows it where the checkpoints were signed";
        return Problem::new(Why::Audit, "this home has no [audit] key, and none was given", next).into_response();
    };
    let text = match std::fs::read_to_string(&asked.from) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("{}: {error}", asked.from.display());
            let next = "give the file that the checkpoints were written to";
            return Problem::new(Why::Audit, message, next).into_response();
        }
    };
    let store = desk.engine.store().clone();
    let compared = tokio::task::spawn_blocking(move || report(&store, &line::chain(&text, &key), &key));
    answered(compared.await, |report| report)
}

fn report(store: &Store, chain: &line::Chain, key: &str) -> Result<Value, StoreError> {
    let mut faults = chain.faults.clone();
    let mut restored = 0u64;
    for ((session, seq), differs) in store.compare(chain.ends.clone())? {
        let lineage = chain.lineages.get(&(session, seq));
        match differs {
            // A restore goes on from its backup, and says so in the journal and in the next checkpoint.
            Differs::Missing if lineage.is_some_and(|lineage| chain.left.contains(lineage)) => restored += 1,
            Differs::Missing => faults.push(format!("the journal has lost {session} up to {}", seq.0)),
            Differs::Other => faults.push(format!("the journal of {session} is another one at {}", seq.0)),
        }
    }
    let newer = store.records_after(chain.entry)?;
    let count = faults.len();
    faults.truncate(FAULTS_MAX);
    Ok(json!({
        "sound": count == 0,
        "key": key,
        "checkpoints": chain.checkpoints,
        "ends": chain.ends.len(),
        "newer_records": newer,
        "restored": restored,
        "fault_count": count,
        "faults": faults,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Moments {
    #[serde(default)]
    from: u64,
    to: Option<u64>,
}

/// `{lineage, first, last}` of what was written between two moments; null where nothing was.
async fn span(State(desk): State<Desk>, Query(asked): Query<Moments>) -> Response {
    let store = desk.engine.store().clone();
    let found = tokio::task::spawn_blocking(move || store.span(asked.from, asked.to));
    let lineage = desk.engine.store().lineage();
    answered(found.await, |span| {
        span.map_or(Value::Null, |Span { first, last }| json!({ "lineage": lineage, "first": first, "last": last }))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    first: u64,
    last: u64,
    #[serde(default)]
    bodies: bool,
}

/// `{entries, next}`: in the order of the file, each with what its hash covers, so that whoever has them can
/// compute the chain anew; with `bodies` also the texts, null where one was erased.
async fn entries(State(desk): State<Desk>, Query(page): Query<Page>) -> Response {
    let store = desk.engine.store().clone();
    let read = tokio::task::spawn_blocking(move || {
        let found = store.entries_of(Span { first: page.first, last: page.last }, PAGE)?;
        let next = found.last().map(|entry| entry.id + 1).filter(|next| *next <= page.last);
        let mut out = Vec::with_capacity(found.len());
        for entry in found {
            let bodies = page.bodies.then(|| texts(&store, &entry.body)).transpose()?;
            let Stored { session, seq, lineage, previous, hash, body: stored, .. } = entry;
            out.push(Exported { session, seq, lineage, previous, hash, stored, bodies });
        }
        Ok((out, next))
    });
    answered(read.await, |(entries, next)| json!({ "entries": entries, "next": next }))
}

/// The texts that an entry refers to, by their numbers.
fn texts(store: &Store, stored: &str) -> Result<BTreeMap<u64, Option<Text>>, StoreError> {
    let mut texts = BTreeMap::new();
    for reference in export::references(&serde_json::from_str(stored).unwrap_or_default()) {
        let sealed = store.sealed(&reference)?;
        let text = match sealed.content() {
            Some((salt, bytes)) => {
                let no_text = |error| StoreError::Corrupt(format!("body {} is no text: {error}", reference.id));
                let text = std::str::from_utf8(bytes).map_err(no_text)?.to_owned();
                Some(Text { salt: salt_text(salt), text })
            }
            None => None,
        };
        texts.insert(reference.id, text);
    }
    Ok(texts)
}
