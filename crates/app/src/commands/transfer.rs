//! `sessions export | import`: a conversation leaves its home as lines of JSON and comes into another.
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use backstay_kernel::id::SessionId;
use http_body_util::BodyExt as _;
use serde_json::json;

use super::conversation::{number, text};
use crate::client::Client;
use crate::exit::{Failure, Outcome};
use crate::print::{Out, Tone};

/// What stdin has brought, in the home until it is taken in.
const ARRIVING: &str = "import.partial";

pub async fn export(client: &Client, session: SessionId, out: &Out) -> Outcome<()> {
    let mut lines = client.body(&format!("/api/sessions/{session}/export")).await?;
    while let Some(frame) = lines.frame().await {
        let broke_off = |error| Failure::fault(format!("the export broke off: {error}"));
        if let Ok(bytes) = frame.map_err(broke_off)?.into_data() {
            out.bytes(&bytes);
        }
        if out.is_gone() {
            break;
        }
    }
    Ok(())
}

pub async fn import(client: &Client, file: &Path, out: &Out) -> Outcome<()> {
    let arriving = if file == Path::new("-") { Some(Arriving::from_stdin(client.home())?) } else { None };
    let from = arriving.as_ref().map_or(file, |arriving| &arriving.0);
    let from = std::path::absolute(from).map_err(|error| Failure::io(file, &error))?;
    let done = client.post("/api/sessions/import", &json!({ "from": from })).await?;
    if out.json {
        out.value(&done);
        return Ok(());
    }
    let session = text(&done, "session");
    out.line(&format!("{session}: {} records, each verified; the session is stopped", number(&done, "records")));
    let doubts = number(&done, "doubts");
    if doubts > 0 {
        let what = if doubts == 1 { "1 call is".to_owned() } else { format!("{doubts} calls are") };
        out.talk(
            Tone::Warning,
            &format!("{what} in doubt: the other home may have made it since; see {} doubts", out.command),
        );
    }
    let home = &out.command;
    out.talk(Tone::Dim, &format!("next: {home} resume {session}, then {home} chat --session {session}"));
    Ok(())
}

/// A file of the home that is gone when dropped.
struct Arriving(PathBuf);

impl Arriving {
    fn from_stdin(home: &Path) -> Outcome<Self> {
        if std::io::stdin().is_terminal() {
            let message = "stdin is a terminal, and an export is no text to type";
            return Err(Failure::usage(message, "backstay sessions import FILE, or send the file to stdin"));
        }
        let arriving = Self(home.join(ARRIVING));
        // Left by an import that was cut off.
        let _ = std::fs::remove_file(&arriving.0);
        let failed = |error: std::io::Error| Failure::io(&arriving.0, &error);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&arriving.0);
        let mut file = file.map_err(failed)?;
        let mut stdin = std::io::stdin().lock().take(backstay_channels::IMPORT_BYTES_MAX + 1);
        std::io::copy(&mut stdin, &mut file).and_then(|_| file.flush()).map_err(failed)?;
        Ok(arriving)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
