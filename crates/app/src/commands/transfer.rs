//! `sessions export | import`: a conversation leaves its home as lines of JSON and comes into another.
use std::fs::{File, TryLockError};
use std::io::{IsTerminal as _, Read as _};
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
    let from = arriving.as_ref().map_or(file, |arriving| &arriving.path);
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

/// A file of the home that is gone when dropped, locked against another import until then.
struct Arriving {
    path: PathBuf,
    _lock: File,
}

impl Arriving {
    fn from_stdin(home: &Path) -> Outcome<Self> {
        if std::io::stdin().is_terminal() {
            let message = "stdin is a terminal, and an export is no text to type";
            return Err(Failure::usage(message, "backstay sessions import FILE, or send the file to stdin"));
        }
        let path = home.join(ARRIVING);
        let failed = |error: std::io::Error| Failure::io(&path, &error);
        // One that was cut off has left its bytes, and no lock.
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Failure::arriving(&path),
            TryLockError::Error(error) => failed(error),
        })?;
        file.set_len(0).map_err(failed)?;
        let mut stdin = std::io::stdin().lock().take(backstay_channels::IMPORT_BYTES_MAX + 1);
        std::io::copy(&mut stdin, &mut file).map_err(failed)?;
        Ok(Self { path, _lock: file })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
