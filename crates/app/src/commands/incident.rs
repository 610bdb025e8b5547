//! `incident bundle`: what an inquiry needs of a home, in one archive, signed where there is a key: the journal without its texts, the
//! configs and who brought them, the checkpoints, the versions, and what `doctor` finds.
mod archive;

use std::fs;
use std::path::Path;

use backstay_secrets::{Signer, sha256};
use serde_json::{Map, Value, json};

use super::{audit, doctor};
use crate::cli::{BundleArgs, DoctorArgs};
use crate::client::{Client, Intent};
use crate::config;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{Out, Tone};
use archive::Archive;

pub async fn bundle(home: &Path, args: &BundleArgs, out: &Out) -> Outcome<Exit> {
    // Whoever is in trouble gets what there is.
    let config = config::load(home, backstay_tools::manifests())
        .inspect_err(|mistakes| {
            let what = format!("{mistakes}: without a config it is not signed, and has no checkpoints");
            out.talk(Tone::Warning, &what);
        })
        .ok();
    let signer = config.as_ref().map(crate::audit::signer).transpose()?.flatten();
    let signed = config.as_ref().map(|config| audit::collected(config, out)).transpose()?.flatten();
    let client = Client::connect(home, Intent::Read).await?;
    let collected = collect(&client, args, signed.as_deref()).await;
    client.close().await;
    let mut files = collected?;
    files.extend(signed.map(|lines| ("checkpoints.jsonl", lines.into_bytes())));
    let found = doctor::report(home, &DoctorArgs { production: false, providers: false }, &out.command).await;
    files.push(("doctor.json", format!("{found}\n").into_bytes()));
    let versions = json!({
        "backstay": env!("CARGO_PKG_VERSION"),
        "linux": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "signed_by": signer.as_ref().map(Signer::public),
    });
    files.push(("versions.json", format!("{versions}\n").into_bytes()));
    let digests: Map<String, Value> =
        files.iter().map(|(name, bytes)| ((*name).to_owned(), Value::from(sha256(bytes)))).collect();
    let manifest = format!("{}\n", Value::Object(digests));
    let signature = signer.as_ref().map(|signer| signer.sign(manifest.as_bytes()));
    files.push(("manifest.json", manifest.into_bytes()));
    files.extend(signature.map(|signature| ("manifest.sig", format!("{signature}\n").into_bytes())));
    write(&args.out, &files).map_err(|error| Failure::io(&args.out, &error))?;
    if out.json {
        out.value(&json!({ "out": args.out, "signed_by": signer.as_ref().map(Signer::public) }));
    } else {
        let by = signer.as_ref().map_or("not signed, without [audit] in the config".to_owned(), |signer| {
            format!("signed by {}", signer.public())
        });
        out.line(&format!("{}: {by}", args.out.display()));
        out.talk(Tone::Dim, "It holds no texts of conversations; those stay in the home.");
    }
    Ok(Exit::Ok)
}

async fn collect(client: &Client, args: &BundleArgs, signed: Option<&str>) -> Outcome<Vec<(&'static str, Vec<u8>)>> {
    let mut journal = Vec::new();
    let mut keep = |line: &str| {
        journal.extend_from_slice(format!("{line}\n").as_bytes());
        true
    };
    audit::each(client, (args.from, args.to), false, signed, &mut keep).await?;
    let epochs = client.get("/api/epochs").await?;
    let status = client.get("/api/status").await?;
    let line = |value: &Value| format!("{value}\n").into_bytes();
    Ok(vec![("journal.jsonl", journal), ("epochs.json", line(&epochs)), ("status.json", line(&status))])
}

/// Beside a name that is taken nothing is written over.
fn write(path: &Path, files: &[(&str, Vec<u8>)]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut archive = Archive::new(file);
    for (name, bytes) in files {
        archive.add(name, bytes)?;
    }
    archive.finish()?.sync_all()
}
