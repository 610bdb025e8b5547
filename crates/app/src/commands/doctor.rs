//! `doctor`: what is wrong with a home and below it, each finding with the way to mend it. It changes
//! nothing, and opens the journal only through the running process or the home's own lock.
mod logins;
mod machine;
mod models;
mod notify;
mod reach;
mod secrets;

use std::path::Path;

use backstay_secrets::environment;
use serde_json::{Value, json};

use super::conversation::{list, text};
use crate::cli::DoctorArgs;
use crate::client::{Client, Intent};
use crate::config::{self, Checked};
use crate::desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::home::{self, Found};
use crate::print::{Out, Tone};
use crate::servers::desk::SERVERS;

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Good,
    /// Works, and is worth a look.
    Notice,
    Bad,
}

#[derive(Debug)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    detail: String,
    next: String,
}

fn good(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Good, detail: detail.into(), next: String::new() }
}

fn notice(check: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Notice, detail: detail.into(), next: next.into() }
}

fn bad(check: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Bad, detail: detail.into(), next: next.into() }
}

pub async fn run(home: &Path, args: &DoctorArgs, out: &Out) -> Outcome<Exit> {
    let findings = examine(home, args).await;
    let sick = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    if out.json {
        let list: Vec<Value> = findings.iter().map(|finding| to_json(finding, &out.command)).collect();
        out.value(&json!({ "home": home, "ok": !sick, "findings": list }));
    } else {
        findings.iter().for_each(|finding| show(finding, out));
    }
    Ok(if sick { Exit::Fault } else { Exit::Ok })
}

/// The same as `doctor --json`, for an archive.
pub async fn report(home: &Path, args: &DoctorArgs, command: &str) -> Value {
    let findings = examine(home, args).await;
    let list: Vec<Value> = findings.iter().map(|finding| to_json(finding, command)).collect();
    json!({ "home": home, "ok": findings.iter().all(|finding| finding.verdict != Verdict::Bad), "findings": list })
}

fn to_json(finding: &Finding, command: &str) -> Value {
    let next = home::hint(&finding.next, command);
    json!({ "check": finding.check, "verdict": word(finding.verdict), "detail": finding.detail, "next": next })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok",
        Verdict::Notice => "notice",
        Verdict::Bad => "bad",
    }
}

fn show(finding: &Finding, out: &Out) {
    let tone = if finding.verdict == Verdict::Good { Tone::Plain } else { Tone::Warning };
    out.toned(tone, &format!("{:<6}  {:<9}  {}", word(finding.verdict), finding.check, finding.detail));
    if !finding.next.is_empty() {
        out.line(&format!("{:<19}next: {}", "", home::hint(&finding.next, &out.command)));
    }
}

async fn examine(home: &Path, args: &DoctorArgs) -> Vec<Finding> {
    match home::look(home) {
        Found::Nothing => {
            let failure = home::require(home).err().unwrap_or_else(|| Failure::no_home(home));
            return vec![bad("home", failure.message, failure.next)];
        }
        Found::Part => {
            let message = home::require(home).err().map(|failure| failure.message).unwrap_or_default();
            let next = "backstay init goes on where one was cut off; else put the file back from a backup";
            return vec![bad("home", message, next)];
        }
        Found::Unconfigured => {
            let failure = Failure::unconfigured(home);
            return vec![bad("home", failure.message, failure.next)];
        }
        Found::Home => {}
    }
    if let Err(failure) = home::refuse_anothers(home) {
        return vec![bad("home", failure.message, failure.next)];
    }
    let mut findings = vec![good("home", home.display().to_string())];
    findings.extend([machine::modes(home), machine::room(home), machine::system(home)]);
    let running = Client::running(home).await;
    let loaded = config::load(home, backstay_tools::manifests());
    match &loaded {
        Ok(checked) => {
            findings.push(good("config", "no mistakes"));
            findings.extend(keys(checked));
            findings.extend(reach::findings(checked));
            if matches!(running, Ok(None)) {
                findings.push(machine::port(checked.server.listen));
            }
            if args.production {
                findings.extend(for_production(checked));
            }
            if args.providers {
                findings.extend(models::ask(home, checked).await);
            }
        }
        Err(mistakes) => findings.push(bad("config", mistakes.first_of_all(), "backstay config check")),
    }
    let checked = loaded.ok();
    findings.push(match running {
        Ok(Some(_)) => good("process", "serving"),
        Ok(None) => notice("process", "not running", "backstay serve"),
        Err(failure) => bad("process", failure.message, "run this as the user whose home it is"),
    });
    let (journal, looked) = journal(home).await;
    findings.extend(journal);
    let on_copies = looked.as_ref().is_some_and(|looked| text(&looked.sandbox, "tier") == "copy");
    findings.extend(checked.iter().flat_map(|checked| reach::directories(checked, on_copies)));
    if let (Some(checked), Some(Looked { secrets, servers, status, .. })) = (&checked, &looked) {
        findings.extend(secrets::findings(checked, secrets));
        findings.extend(logins::findings(servers));
        findings.extend(notify::finding(checked, secrets, status));
    }
    findings
}

fn keys(checked: &Checked) -> Vec<Finding> {
    let missing = checked.providers.iter().filter_map(|(name, provider)| {
        let variable = provider.api_key_env.as_ref()?;
        (!environment::has(variable)).then(|| {
            let next = format!("export {variable}=… before `backstay serve`");
            notice("keys", format!("provider {name}: {variable} is not set here"), next)
        })
    });
    let missing: Vec<Finding> = missing.collect();
    if missing.is_empty() { vec![good("keys", "every provider has what it needs")] } else { missing }
}

fn for_production(checked: &Checked) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (agent, owners) in &checked.owners {
        let named = [
            ("behaviour", &owners.behaviour),
            ("permissions", &owners.permissions),
            ("workflow", &owners.workflow),
            ("incidents", &owners.incidents),
        ];
        let missing: Vec<&str> = named.into_iter().filter(|(_, owner)| owner.is_none()).map(|(name, _)| name).collect();
        findings.push(if missing.is_empty() {
            good("owners", format!("agent {agent} has all four"))
        } else {
            let next = format!(
                "[agents.{agent}] owners = {{ {} }}",
                missing.iter().map(|name| format!("{name} = \"…\"")).collect::<Vec<_>>().join(", ")
            );
            bad("owners", format!("agent {agent}: nobody answers for {}", missing.join(", ")), next)
        });
    }
    if checked.providers.values().any(|provider| provider.kind == backstay_providers::Kind::Rehearsal) {
        findings.push(bad(
            "model",
            "a provider is a rehearsal: a script, not a model",
            "name a real one under [providers]",
        ));
    }
    if checked.server.insecure_listen {
        let next = "set [server] tls, or make sure that a proxy in front of it adds TLS";
        findings.push(notice("door", "insecure_listen: tokens cross the network in clear text", next));
    }
    findings
}

/// Whether the journal opens and can be read, and whether the clock goes on from it. With it, what else
/// the API says.
async fn journal(home: &Path) -> (Vec<Finding>, Option<Looked>) {
    match look_into(home).await {
        Ok(looked) => {
            let now = super::conversation::number(&looked.status, "now");
            let mut findings = vec![good("journal", "opens and can be read"), machine::clock(looked.latest, now)];
            findings.extend(held(&looked.sandbox));
            (findings, Some(looked))
        }
        Err(failure) if failure.exit == Exit::Usage => {
            (vec![notice("journal", "not looked at: the home does not open with this config", failure.next)], None)
        }
        Err(failure) => (vec![bad("journal", failure.message, failure.next)], None),
    }
}

/// Whether commands are held, where some agent may run any.
fn held(sandbox: &Value) -> Option<Finding> {
    let why = text(sandbox, "why");
    match text(sandbox, "tier") {
        "unused" => None,
        "full" => Some(good("sandbox", format!("full: {why}"))),
        "copy" => Some(notice("sandbox", format!("copy: {why}"), "see docs/operate/security.md, \"Where it holds\"")),
        _ => {
            Some(bad("sandbox", format!("no command runs: {why}"), "see docs/operate/security.md, \"Where it holds\""))
        }
    }
}

/// What the API says of a home.
struct Looked {
    /// Milliseconds, of the latest change.
    latest: u64,
    status: Value,
    sandbox: Value,
    secrets: Value,
    servers: Value,
}

async fn look_into(home: &Path) -> Result<Looked, Failure> {
    let client = Client::connect(home, Intent::Read).await?;
    let status = client.get("/api/status").await;
    let sandbox = client.get(desk::SANDBOX).await;
    let secrets = client.get(desk::secrets::SECRETS).await;
    let servers = client.get(SERVERS).await;
    let latest = client.post(desk::SQL, &json!({ "query": "SELECT max(updated_at) FROM heads" })).await;
    client.close().await;
    let latest = latest?;
    let latest = list(&latest, "rows").first().and_then(|row| row.get(0)?.as_u64()).unwrap_or_default();
    Ok(Looked { latest, status: status?, sandbox: sandbox?, secrets: secrets?, servers: servers? })
}
