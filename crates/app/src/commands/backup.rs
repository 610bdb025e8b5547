//! `backup DIR`: a verified copy of the journal, with the config beside it, so that `restore`
//! needs nothing else.
use std::path::Path;

use serde_json::json;

use super::conversation::{number, text};
use crate::cli::BackupArgs;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Failure, Outcome};
use crate::home;
use crate::print::Out;

pub async fn run(home: &Path, args: &BackupArgs, out: &Out) -> Outcome<Exit> {
    let to = home::resolve(Some(&args.dir))?;
    if to.starts_with(home) {
        let message = format!("{} lies inside the home", to.display());
        return Err(Failure::usage(message, "give a directory elsewhere, best on another disk"));
    }
    let client = Client::connect(home, Intent::Read).await?;
    let done = client.post("/api/backup", &json!({ "to": to, "workspace": args.workspace })).await;
    client.close().await;
    let done = done?;
    if out.json {
        out.value(&done);
        return Ok(Exit::Ok);
    }
    let files =
        if args.workspace { format!(", {} workspace files", number(&done, "workspace_files")) } else { String::new() };
    out.line(&format!(
        "{}: {} sessions, {} records, records, texts and ledger verified{files}",
        text(&done, "to"),
        number(&done, "sessions"),
        number(&done, "records"),
    ));
    Ok(Exit::Ok)
}
