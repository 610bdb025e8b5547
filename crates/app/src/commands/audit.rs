//! `audit`: every page, chain, snapshot and body read again, and the rows beside them compared; the journal
//! against what was signed of it; the journal itself, for others to keep.
use std::path::Path;

use backstay_kernel::id::Place;
use serde_json::{Value, json};

use super::conversation::{list, number, text};
use crate::cli::AuditCommand;
use crate::client::{Client, Intent};
use crate::desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{Out, Tone};

/// What is said of a whole journal, and no more than was looked at.
const SOUND: &str = "sound: schema, records, texts, and the ledger as the records book it; \
    a key or a memory that is gone is not missed, and what snapshots hold is not covered";

pub async fn run(home: &Path, command: &AuditCommand, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let done = match command {
        AuditCommand::Verify { checkpoints, key } => verify(&client, checkpoints.as_deref(), key.as_deref(), out).await,
        AuditCommand::Key => key(&client, out).await,
        AuditCommand::Show { call } => show_call(&client, *call, out).await,
        AuditCommand::Export { from, to, bodies } => export(&client, (*from, *to), *bodies, out).await,
    };
    client.close().await;
    done
}

async fn key(client: &Client, out: &Out) -> Outcome<Exit> {
    let answer = client.get(desk::audit::CHECKPOINTS).await?;
    if out.json {
        out.value(&answer);
        return Ok(Exit::Ok);
    }
    match answer.get("key").and_then(Value::as_str) {
        Some(key) => out.line(key),
        None => return Err(Failure::usage("this home signs nothing", "set [audit] sink and key in backstay.toml")),
    }
    Ok(Exit::Ok)
}

async fn show_call(client: &Client, call: Place, out: &Out) -> Outcome<Exit> {
    let row = client.get(&format!("{}/{call}", desk::call::CALL)).await?;
    if out.json {
        out.value(&row);
        return Ok(Exit::Ok);
    }
    for (name, value) in row.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        out.line(&format!("{name:<12}  {value}"));
    }
    Ok(Exit::Ok)
}

async fn export(client: &Client, span: (Option<u64>, Option<u64>), bodies: bool, out: &Out) -> Outcome<Exit> {
    let mut show = |entry: &Value| {
        out.value(entry);
        !out.is_gone()
    };
    each(client, span, bodies, &mut show).await?;
    Ok(Exit::Ok)
}

/// Every entry of the span, a page at a time, until `take` has seen enough; the moment of an entry stands in it.
pub async fn each(
    client: &Client,
    span: (Option<u64>, Option<u64>),
    bodies: bool,
    take: &mut dyn FnMut(&Value) -> bool,
) -> Outcome<()> {
    let (from, to) = (span.0.unwrap_or(0), span.1.unwrap_or(u64::MAX));
    let mut after = 0;
    loop {
        let page = client.get(&format!("{}?after={after}&bodies={bodies}", desk::audit::ENTRIES)).await?;
        for entry in list(&page, "entries") {
            let stored: Value = serde_json::from_str(text(entry, "stored")).unwrap_or_default();
            if (from..to).contains(&number(&stored, "at")) && !take(entry) {
                return Ok(());
            }
        }
        match page.get("next").and_then(Value::as_u64) {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

async fn verify(client: &Client, checkpoints: Option<&Path>, key: Option<&str>, out: &Out) -> Outcome<Exit> {
    let mut report = client.get(desk::VERIFY).await?;
    let signed = match checkpoints {
        Some(file) => {
            let from = std::path::absolute(file).map_err(|error| Failure::io(file, &error))?;
            let compared = client.post(desk::audit::CHECKPOINTS, &json!({ "from": from, "key": key })).await?;
            if let Some(report) = report.as_object_mut() {
                report.insert("checkpoints".to_owned(), compared.clone());
            }
            Some(compared)
        }
        None => None,
    };
    let as_signed = signed.as_ref().is_none_or(|signed| signed.get("sound") == Some(&Value::Bool(true)));
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
        signed.iter().for_each(|signed| show(signed, out));
    }
    Ok(if sound && as_signed { Exit::Ok } else { Exit::Fault })
}

fn show(signed: &Value, out: &Out) {
    for fault in list(signed, "faults") {
        out.toned(Tone::Warning, &format!("  {}", fault.as_str().unwrap_or_default()));
    }
    let restored = match number(signed, "restored") {
        0 => String::new(),
        count => format!("; {count} ends were left behind by a restore"),
    };
    let verdict = match number(signed, "fault_count") {
        0 => "the journal is as it was signed".to_owned(),
        count => format!("{count} faults: the journal is not as it was signed"),
    };
    out.line(&format!(
        "{} checkpoints with {} ends of sessions, signed by {}: {verdict}{restored}; {} records are newer than the last",
        number(signed, "checkpoints"),
        number(signed, "ends"),
        text(signed, "key"),
        number(signed, "newer_records"),
    ));
}
