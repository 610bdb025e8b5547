//! `doctor`: what is wrong with a home, each finding with the way to mend it. It changes nothing,
//! and opens the journal only through the running process or the home's own lock.
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::DoctorArgs;
use crate::client::{Client, Intent};
use crate::config::{self, Checked};
use crate::exit::{Exit, Failure, Outcome};
use crate::home::{self, Found};
use crate::print::{Out, Tone};

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
    let findings = examine(home, args.production).await;
    let sick = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    if out.json {
        let list: Vec<Value> = findings.iter().map(to_json).collect();
        out.value(&json!({ "home": home, "ok": !sick, "findings": list }));
    } else {
        findings.iter().for_each(|finding| show(finding, out));
    }
    Ok(if sick { Exit::Fault } else { Exit::Ok })
}

fn to_json(finding: &Finding) -> Value {
    json!({ "check": finding.check, "verdict": word(finding.verdict), "detail": finding.detail, "next": finding.next })
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
        out.line(&format!("{:<19}next: {}", "", finding.next));
    }
}

async fn examine(home: &Path, production: bool) -> Vec<Finding> {
    let init = format!("backstay init {}", home::quoted(&home.display().to_string()));
    match home::look(home) {
        Found::Nothing => return vec![bad("home", format!("there is none at {}", home.display()), init)],
        Found::Part => {
            let failure = home::require(home).err();
            let message = failure.map(|failure| failure.message).unwrap_or_default();
            let next = format!("{init} goes on where one was cut off; else put the file back from a backup");
            return vec![bad("home", message, next)];
        }
        Found::Home => {}
    }
    let mut findings = vec![good("home", home.display().to_string()), modes(home)];
    match config::load(home, backstay_tools::manifests()) {
        Ok(checked) => {
            findings.push(good("config", "no mistakes"));
            findings.extend(keys(&checked));
            if production {
                findings.extend(for_production(&checked));
            }
        }
        Err(mistakes) => {
            let first = mistakes.all().first().map(|mistake| mistake.message.as_str()).unwrap_or_default();
            let detail = format!("{} mistakes, first: {first}", mistakes.all().len());
            findings.push(bad("config", detail, format!("{} config check", home::command(home))));
        }
    }
    findings.push(process(home).await);
    findings.push(journal(home).await);
    findings
}

fn modes(home: &Path) -> Finding {
    let open: Vec<String> = [".", config::FILE, home::STATE]
        .into_iter()
        .filter(|name| std::fs::metadata(home.join(name)).is_ok_and(|found| found.permissions().mode() & 0o077 != 0))
        .map(str::to_owned)
        .collect();
    if open.is_empty() {
        return good("modes", "only the owner can read the home");
    }
    let next = format!("chmod -R go= {}", home::quoted(&home.display().to_string()));
    bad("modes", format!("others can reach: {}", open.join(", ")), next)
}

fn keys(checked: &Checked) -> Vec<Finding> {
    let missing = checked.providers.iter().filter_map(|(name, provider)| {
        let variable = provider.api_key_env.as_ref()?;
        let is_set = std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        (!is_set).then(|| {
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

async fn process(home: &Path) -> Finding {
    match Client::running(home).await {
        Ok(Some(_)) => good("process", "serving"),
        Ok(None) => notice("process", "not running", format!("{} serve", home::command(home))),
        Err(failure) => bad("process", failure.message, "run this as the user whose home it is"),
    }
}

async fn journal(home: &Path) -> Finding {
    match status(home).await {
        Ok(_) => good("journal", "opens and can be read"),
        Err(failure) if failure.exit == Exit::Usage => {
            notice("journal", "not looked at: the home does not open with this config", failure.next)
        }
        Err(failure) => bad("journal", failure.message, failure.next),
    }
}

async fn status(home: &Path) -> Result<Value, Failure> {
    let client = Client::connect(home, Intent::Read).await?;
    let status = client.get("/api/status").await;
    client.close().await;
    status
}
