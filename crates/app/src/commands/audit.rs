//! `audit`: every page, chain, snapshot and body read again, and the rows beside them compared; the journal
//! against what was signed of it; the journal itself, for others to keep.
use std::fs;
use std::io::BufReader;
use std::path::Path;

use backstay_kernel::id::Place;
use backstay_store::Span;
use serde_json::{Value, json};

use super::conversation::{list, number, text};
use crate::audit::export::{self, Report};
use crate::audit::line;
use crate::cli::{AuditCommand, ExportArgs};
use crate::client::{Client, Intent};
use crate::config::{self, Checked, SinkConfig};
use crate::desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{Out, Tone};

/// From one to before another, in milliseconds since 1970.
pub type Moments = (Option<u64>, Option<u64>);

/// What is said of a whole journal, and no more than was looked at.
const SOUND: &str = "sound: schema, records, texts, and the ledger as the records book it; \
    a key or a memory that is gone is not missed, and what snapshots hold is not covered";

pub async fn run(home: &Path, command: &AuditCommand, out: &Out) -> Outcome<Exit> {
    let client = Client::connect(home, Intent::Read).await?;
    let done = match command {
        AuditCommand::Verify(args) => verify(&client, args.checkpoints.as_deref(), args.key.as_deref(), out).await,
        AuditCommand::Key => key(&client, out).await,
        AuditCommand::Show { call } => show_call(&client, *call, out).await,
        AuditCommand::Export(args) => write(&client, args, out).await,
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

async fn write(client: &Client, args: &ExportArgs, out: &Out) -> Outcome<Exit> {
    let signed = match &args.checkpoints {
        Some(file) => Some(fs::read_to_string(file).map_err(|error| Failure::io(file, &error))?),
        None => match config::load(client.home(), backstay_tools::manifests()) {
            Ok(config) => collected(&config, out)?,
            Err(mistakes) => {
                out.talk(Tone::Warning, &format!("{mistakes}: without a config no checkpoints are in it"));
                None
            }
        },
    };
    let mut show = |line: &str| {
        out.bytes(format!("{line}\n").as_bytes());
        !out.is_gone()
    };
    each(client, (args.from, args.to), args.bodies, signed.as_deref(), &mut show).await?;
    Ok(Exit::Ok)
}

/// The checkpoints, where they lie in a file of this machine.
pub fn collected(config: &Checked, out: &Out) -> Outcome<Option<String>> {
    match config.audit.as_ref().map(|audit| &audit.sink) {
        Some(SinkConfig::File(path)) => match fs::read_to_string(path) {
            Ok(lines) => return Ok(Some(lines)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                out.talk(Tone::Warning, &format!("{}: no checkpoint was made yet, so none is in it", path.display()));
            }
            Err(error) => return Err(Failure::io(path, &error)),
        },
        Some(SinkConfig::Stdout | SinkConfig::Collector(_)) => {
            out.talk(Tone::Warning, "the checkpoints lie where they were sent to, and none is in it");
        }
        None => {}
    }
    Ok(None)
}

/// Every line of what was written between two moments, until `take` has seen enough: entries, and before those that it speaks of
/// each checkpoint of `signed` that speaks of nothing else.
pub async fn each(
    client: &Client,
    (from, to): Moments,
    bodies: bool,
    signed: Option<&str>,
    take: &mut dyn FnMut(&str) -> bool,
) -> Outcome<()> {
    let to = to.map_or(String::new(), |to| format!("&to={to}"));
    let found = client.get(&format!("{}?from={}{to}", desk::audit::SPAN, from.unwrap_or(0))).await?;
    if found.is_null() {
        return Ok(());
    }
    let span = Span { first: number(&found, "first"), last: number(&found, "last") };
    let mut first = span.first;
    for (begins, line) in line::within(signed.unwrap_or_default(), number(&found, "lineage"), span) {
        if !entries(client, Span { first, last: begins - 1 }, bodies, take).await? || !take(line) {
            return Ok(());
        }
        first = begins;
    }
    entries(client, Span { first, last: span.last }, bodies, take).await.map(drop)
}

/// A page at a time; false where `take` has seen enough.
async fn entries(client: &Client, span: Span, bodies: bool, take: &mut dyn FnMut(&str) -> bool) -> Outcome<bool> {
    let Span { mut first, last } = span;
    while first <= last {
        let page = client.get(&format!("{}?first={first}&last={last}&bodies={bodies}", desk::audit::ENTRIES)).await?;
        if !list(&page, "entries").iter().all(|entry| take(&entry.to_string())) {
            return Ok(false);
        }
        let Some(next) = page.get("next").and_then(Value::as_u64) else { break };
        first = next;
    }
    Ok(true)
}

/// An export, by what stands in it: no home is needed, and none is looked at.
pub fn verify_export(file: &Path, key: Option<&str>, out: &Out) -> Outcome<Exit> {
    let failed = |error: std::io::Error| Failure::io(file, &error);
    let lines = BufReader::new(fs::File::open(file).map_err(failed)?);
    let report = export::verify(lines, key).map_err(failed)?;
    if out.json {
        out.value(&json!(report));
        return Ok(if report.sound { Exit::Ok } else { Exit::Fault });
    }
    let Report { sessions, entries, bodies, erased, checkpoints, unsigned, fault_count, .. } = &report;
    out.line(&format!("{sessions} sessions, {entries} entries, {bodies} texts ({erased} erased)"));
    for fault in &report.faults {
        out.toned(Tone::Warning, &format!("  {fault}"));
    }
    let verdict = match fault_count {
        0 => "it is as it was signed".to_owned(),
        count => format!("{count} faults: it is not as it was written"),
    };
    match &report.key {
        Some(by) => out.line(&format!(
            "{checkpoints} checkpoints, signed by {by}: {verdict}; {unsigned} entries stand beside them, and are proved by their chains alone"
        )),
        None if report.sound => out.line("its chains hold; no checkpoint is in it, so whoever wrote it could have made them"),
        None => out.line(&verdict),
    }
    if key.is_none() && report.key.is_some() {
        out.talk(
            Tone::Dim,
            "whose key that is only the file says: give --key, as `backstay audit key` shows it at the home",
        );
    }
    Ok(if report.sound { Exit::Ok } else { Exit::Fault })
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
