//! The floor: the least program that makes as many durable commits over HTTP as a turn does, and
//! nothing else. What the product takes beyond it is what its promises cost.
//!
//! One thread writes with the journal's settings and shares each flush among all that wait; one
//! thread serves. Its only statement inserts one row.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use futures_core::Stream;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::{Fault, Outcome};

/// Bytes of one row: about what the product stores in one commit.
const ROW_BYTES: usize = 2048;
/// As the product's writer: appends in one commit.
const BATCH_MAX: usize = 256;

/// What one turn costs: its commits, and a file where a tool writes one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    pub commits: u32,
    pub file: Option<String>,
}

type Done = oneshot::Sender<()>;

struct Shared {
    rows: std::sync::mpsc::Sender<Done>,
    directory: PathBuf,
}

/// Serves until it is killed; says on stdout where.
pub fn serve(directory: &Path) -> Outcome<()> {
    let db = open(&directory.join("floor.db"))?;
    let (rows, waiting) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if let Err(error) = write(&db, &waiting) {
            eprintln!("the floor cannot write: {error}");
        }
    });
    let shared = Arc::new(Shared { rows, directory: directory.to_owned() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("{}", serde_json::json!({ "listen": listener.local_addr()?.to_string() }));
        let router = axum::Router::new().route("/turn", post(turn)).with_state(shared);
        let builder = hyper::server::conn::http1::Builder::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            tokio::spawn(builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
        }
    })
}

/// The journal's settings.
fn open(path: &Path) -> Outcome<Connection> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "page_size", 4096)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", 512)?;
    db.pragma_update(None, "secure_delete", true)?;
    db.execute_batch("CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")?;
    Ok(db)
}

fn write(db: &Connection, waiting: &std::sync::mpsc::Receiver<Done>) -> rusqlite::Result<()> {
    let row = vec![b'x'; ROW_BYTES];
    let run = |sql: &str| db.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(drop);
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter().take(BATCH_MAX - 1));
        run("BEGIN IMMEDIATE")?;
        for _ in &batch {
            db.prepare_cached("INSERT INTO rows(body) VALUES(?1)")?.execute([&row])?;
        }
        run("COMMIT")?;
        for done in batch {
            // Who asked may be gone.
            let _ = done.send(());
        }
    }
    Ok(())
}

/// Commits once, answers its first token, commits the rest, answers its end.
async fn turn(State(shared): State<Arc<Shared>>, Json(turn): Json<Turn>) -> axum::response::Response {
    let (frames, out) = mpsc::channel(4);
    tokio::spawn(async move {
        let ended = work(&shared, &turn, &frames).await;
        if let Err(error) = ended {
            eprintln!("the floor failed: {error}");
        }
    });
    let answer = axum::response::Response::new(Body::from_stream(Frames(out)));
    let (mut parts, body) = answer.into_parts();
    parts.headers.insert("content-type", http::HeaderValue::from_static("text/event-stream"));
    axum::response::Response::from_parts(parts, body)
}

async fn work(shared: &Arc<Shared>, turn: &Turn, frames: &mpsc::Sender<Bytes>) -> Outcome<()> {
    commit(shared).await?;
    // A turn's text comes with its last model call.
    for number in 2..=turn.commits {
        if number == turn.commits {
            frames.send(Bytes::from_static(b"data: {\"content\":\"x\"}\n\n")).await?;
        }
        if let Some(name) = turn.file.as_ref().filter(|_| number == 4) {
            let path = shared.directory.join(name);
            tokio::task::spawn_blocking(move || replace(&path)).await??;
        }
        commit(shared).await?;
    }
    frames.send(Bytes::from_static(b"data: {\"finish_reason\":\"stop\"}\n\ndata: [DONE]\n\n")).await?;
    Ok(())
}

async fn commit(shared: &Shared) -> Outcome<()> {
    let (done, committed) = oneshot::channel();
    shared.rows.send(done).map_err(|_| Fault::from("the writer has ended"))?;
    Ok(committed.await?)
}

/// Replaces a file so that a crash leaves the old one or the new one.
fn replace(path: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    let directory = path.parent().unwrap_or(Path::new("."));
    let beside = path.with_extension("new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(b"written")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    std::fs::File::open(directory)?.sync_all()
}

struct Frames(mpsc::Receiver<Bytes>);

impl Stream for Frames {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}
