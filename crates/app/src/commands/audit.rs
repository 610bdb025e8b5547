//! `audit verify`: every page, chain, snapshot and body read again, and the rows beside them compared.
use std::path::Path;

use serde_json::Value;

use super::conversation::{list, number};
use crate::client::{Client, Intent};
use crate::desk;
use crate::exit::{Exit, Outcome};
use crate::print::{Out, Tone};

/// What is said of a whole journal, and no more than was looked at.
const SOUND: &str = "sound: schema, records, texts, and the ledger as the records book it; \
    a key or a memory that is gone is not missed, and what snapshots hold is not covered";

pub async fn verify(home: &Path, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let report = client.get(desk::VERIFY).await;
    client.close().await;
    let report = report?;
    let sound = report.get("sound").and_then(Value::as_bool).unwrap_or_default();
    if out.json {
        out.value(&report);
    } else {
        out.line(&format!(
            "{} sessions, {} entries, {} records, {} bodies ({} erased); {} ledger windows, {} keys, {} memories",
            number(&report, "sessions"),
            number(&report, "entries"),
            number(&report, "records"),
            number(&report, "bodies"),
            number(&report, "erased"),
            number(&report, "windows"),
            number(&report, "keys"),
            number(&report, "memories"),
        ));
        for fault in list(&report, "faults") {
            out.toned(Tone::Warning, &format!("  {}", fault.as_str().unwrap_or_default()));
        }
        let verdict = if sound { SOUND.to_owned() } else { format!("{} faults", number(&report, "fault_count")) };
        out.line(&verdict);
    }
    Ok(if sound { Exit::Ok } else { Exit::Fault })
}
