//! Sessions on their way between homes: written out for whoever may see them, taken in from a file of
//! the home's own user.
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backstay_engine::Export;
use bytes::Bytes;
use futures_core::Stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Extensions, StatusCode};
use rustix::fs::OFlags;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::auth::{LocalOwner, Speaker, Standing};
use crate::door::{Closing, Door, closed};
use crate::error::{Problem, Why};
use crate::input::{Input, OfSession};
use crate::limits::IMPORT_BYTES_MAX;
use crate::places::Place;

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Ends of a body: the next lines, or why there are none.
type Chunk = Result<Bytes, std::io::Error>;

/// The body of an export; one stream of its principal.
struct Chunks {
    chunks: mpsc::Receiver<Chunk>,
    _place: Place,
}

impl Stream for Chunks {
    type Item = Chunk;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        self.chunks.poll_recv(context)
    }
}

pub async fn export(
    speaker: Speaker,
    State(door): State<Door>,
    OfSession(id): OfSession,
    extensions: Extensions,
) -> Result<Response, Problem> {
    door.session_of(&speaker, id).await?;
    let place = door.places.stream(speaker.caller())?;
    let export = door.off_thread(move |door| Ok(door.reader.export(id)?)).await?;
    // One is read while one is sent: whoever reads slowly holds no more.
    let (out, chunks) = mpsc::channel(1);
    tokio::spawn(feed(door, export, out, Closing::of(&extensions), speaker.standing().clone()));
    let mut response = Response::new(Body::from_stream(Chunks { chunks, _place: place }));
    response.headers_mut().insert(CONTENT_TYPE, LINES);
    Ok(response)
}

/// Until the last line, or a reason to break off: a file that breaks off is none, and its header says so.
async fn feed(door: Door, export: Export, out: mpsc::Sender<Chunk>, closing: Option<Closing>, standing: Standing) {
    let problem = tokio::select! {
        told = tell(&door, export, &out) => told.err(),
        () = out.closed() => None,
        () = closed(closing) => Some(Problem::draining()),
        () = standing.withdrawn() => Some(Problem::withdrawn()),
    };
    if let Some(problem) = problem {
        let _ = out.send(Err(std::io::Error::other(problem.message))).await;
    }
}

async fn tell(door: &Door, mut export: Export, out: &mpsc::Sender<Chunk>) -> Result<(), Problem> {
    loop {
        let read = door.off_thread(move |_| Ok((export.next_lines()?, export))).await?;
        let (Some(lines), rest) = read else { return Ok(()) };
        export = rest;
        if out.send(Ok(lines.into())).await.is_err() {
            return Ok(());
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    from: PathBuf,
}

pub async fn import(
    _: LocalOwner,
    speaker: Speaker,
    State(door): State<Door>,
    Input(wanted): Input<Import>,
) -> Result<Response, Problem> {
    if !wanted.from.is_absolute() {
        return Err(Problem::malformed("`from` is an absolute path"));
    }
    let by = speaker.caller().principal.clone();
    let imported = door.off_thread(move |door| Ok(door.engine.import(&read(&wanted.from)?, &by)?)).await?;
    let answer = json!({
        "session": imported.session,
        "records": imported.records,
        "doubts": imported.doubts,
        "stopped": true,
    });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// A plain file, whole. Nothing is waited for: a pipe would be.
fn read(path: &Path) -> Result<String, Problem> {
    const NEXT: &str = "give a file that `backstay sessions export` has written";
    let refuse = |why, message| Problem::new(why, format!("{}: {message}", path.display()), NEXT);
    let failed = |error: std::io::Error| refuse(Why::NotAnExport, error.to_string());
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(refuse(Why::NotAnExport, "not a file".to_owned()));
    }
    if found.len() > IMPORT_BYTES_MAX {
        return Err(refuse(Why::TooLarge, format!("more than {IMPORT_BYTES_MAX} bytes")));
    }
    let mut text = String::new();
    file.take(IMPORT_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
