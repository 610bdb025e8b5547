//! `sessions list | show | export | import`: conversations, and the way from home to home.
use std::path::Path;

use backstay_kernel::id::SessionId;
use serde_json::Value;

use super::conversation::{list, number, text};
use super::transfer;
use crate::cli::SessionsCommand;
use crate::client::{Client, Intent};
use crate::exit::{Exit, Outcome};
use crate::print::{Out, short};
use crate::time;

/// Characters of a title in the list.
const TITLE_CHARS_MAX: usize = 40;

pub async fn run(home: &Path, command: &SessionsCommand, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let done = match command {
        SessionsCommand::List { limit, after } => list_some(&client, *limit, *after, out).await,
        SessionsCommand::Show(args) => show(&client, args.session, out).await,
        SessionsCommand::Export(args) => transfer::export(&client, args.session, out).await,
        SessionsCommand::Import { file } => transfer::import(&client, file, out).await,
    };
    client.close().await;
    done.map(|()| Exit::Ok)
}

async fn list_some(client: &Client, limit: u64, after: Option<SessionId>, out: &Out) -> Outcome<()> {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    let found = client.get(&format!("/api/sessions?limit={limit}{after}")).await?;
    if out.json {
        out.value(&found);
        return Ok(());
    }
    let row = |item: &Value| {
        let wait = text(item, "wait");
        vec![
            text(item, "session").to_owned(),
            if wait.is_empty() { text(item, "state").to_owned() } else { wait.to_owned() },
            text(item, "agent").to_owned(),
            text(item, "principal").to_owned(),
            time::stamp(number(item, "updated_at")),
            short(text(item, "title"), TITLE_CHARS_MAX),
        ]
    };
    let rows: Vec<Vec<String>> = list(&found, "sessions").iter().map(row).collect();
    out.table(&["SESSION", "STATE", "AGENT", "PRINCIPAL", "LATEST", "TITLE"], &rows);
    Ok(())
}

async fn show(client: &Client, session: SessionId, out: &Out) -> Outcome<()> {
    let found = client.get(&format!("/api/sessions/{session}")).await?;
    if out.json {
        out.value(&found);
        return Ok(());
    }
    let spend = found.get("spend").unwrap_or(&Value::Null);
    for (name, value) in [
        ("session", text(&found, "session").to_owned()),
        ("title", text(&found, "title").to_owned()),
        ("agent", text(&found, "agent").to_owned()),
        ("principal", format!("{} by {}", text(&found, "principal"), text(&found, "channel"))),
        ("state", format!("{} {}", text(&found, "state"), text(&found, "wait"))),
        ("turn", text(&found, "turn").to_owned()),
        ("records", number(&found, "seq").to_string()),
        ("label", super::conversation::label(found.get("label"))),
        ("opened", time::stamp(number(&found, "opened_at"))),
        ("latest", time::stamp(number(&found, "updated_at"))),
        ("spent", format!("{} tokens, {}", number(spend, "tokens"), super::budget::usd(number(spend, "micro_usd")))),
    ] {
        if !value.trim().is_empty() {
            out.line(&format!("{name:<9}  {}", value.trim_end()));
        }
    }
    Ok(())
}
