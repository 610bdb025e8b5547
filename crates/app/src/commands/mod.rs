//! The commands, one file each, and the one match from grammar to command.
mod answer;
mod approvals;
mod audit;
mod backup;
mod budget;
mod chat;
mod config;
mod conversation;
mod doctor;
mod doubts;
mod guide;
mod incident;
mod init;
mod mcp;
mod policy;
mod quickstart;
mod reference;
mod restore;
mod roots;
mod run;
mod secrets;
mod serve;
mod sessions;
mod sql;
mod standing;
mod status;
mod switches;
mod tokens;
mod trace;
mod transfer;
mod turn;
mod watch;

use std::path::Path;

use clap::CommandFactory as _;
use serde_json::json;

use crate::cli::{ApprovalsCommand, AuditCommand, Cli, Command, IncidentCommand, VerifyArgs};
use crate::exit::{Exit, Outcome};
use crate::home;
use crate::print::Out;
use approvals::Said;
use switches::Switch;

/// # Errors
/// Why the command did not do what it was asked.
pub async fn run(cli: Cli, out: &Out) -> Outcome<Exit> {
    match cli.command {
        // These need no home, and no place for one.
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "backstay", &mut script);
            if out.json {
                out.value(&json!({ "script": String::from_utf8_lossy(&script) }));
            } else {
                out.bytes(&script);
            }
            Ok(Exit::Ok)
        }
        Some(Command::Reference { page }) => {
            let page = reference::markdown(page);
            if out.json {
                out.value(&json!({ "markdown": page }))
            } else {
                out.bytes(page.as_bytes())
            }
            Ok(Exit::Ok)
        }
        Some(Command::Restore(args)) => restore::run(&args, out),
        Some(Command::Audit(AuditCommand::Verify(VerifyArgs { export: Some(file), key, .. }))) => {
            audit::verify_export(&file, key.as_deref(), out)
        }
        Some(command) => run_at(&home::resolve(cli.home.as_deref())?, command, out).await,
        None => guide::run(&home::resolve(cli.home.as_deref())?, out).await,
    }
}

async fn run_at(home: &Path, command: Command, out: &Out) -> Outcome<Exit> {
    match command {
        Command::Quickstart(args) => quickstart::run(home, &args, out).await,
        Command::Init(args) => init::run(home, args, out).await,
        Command::Doctor(args) => doctor::run(home, &args, out).await,
        Command::Chat(args) => chat::run(home, &args, out).await,
        Command::Run(args) => run::run(home, &args, out).await,
        Command::Serve => serve::run(home, out).await,
        Command::Status => status::run(home, out).await,
        Command::Watch => watch::run(home, out).await,
        Command::Sessions(command) => sessions::run(home, &command, out).await,
        Command::Trace(args) => trace::run(home, &args, out).await,
        Command::Approvals { command: None } => approvals::list_all(home, out).await,
        Command::Approvals { command: Some(command) } => match command {
            ApprovalsCommand::Standing => standing::list_all(home, out).await,
            ApprovalsCommand::Edit { decide, arguments } => approvals::edit(home, &decide, &arguments, out).await,
            ApprovalsCommand::Revoke { id } => standing::revoke(home, id, out).await,
        },
        Command::Approve(args) => {
            approvals::answer(home, &args.decide, &Said::Yes { always_ms: args.until }, out).await
        }
        Command::Deny(args) => approvals::answer(home, &args, &Said::No, out).await,
        Command::Answer(args) => answer::run(home, &args, out).await,
        Command::Doubts => doubts::list_all(home, out).await,
        Command::Resolve(args) => doubts::resolve(home, &args, out).await,
        Command::Stop(args) => switches::run(home, Switch::Stop(args), out).await,
        Command::Resume(args) => switches::run(home, Switch::Resume(args.session), out).await,
        Command::Freeze => switches::run(home, Switch::Freeze, out).await,
        Command::Unfreeze => switches::run(home, Switch::Unfreeze, out).await,
        Command::Mode(args) => switches::run(home, Switch::Mode(args), out).await,
        Command::Reload => switches::run(home, Switch::Reload, out).await,
        Command::Budget => budget::run(home, out).await,
        Command::Config(command) => config::run(home, &command, out),
        Command::Policy(command) => policy::run(home, &command, out).await,
        Command::Roots(command) => roots::run(home, &command, out).await,
        Command::Mcp(command) => mcp::run(home, &command, out).await,
        Command::Tokens(command) => tokens::run(home, &command, out).await,
        Command::Secrets(command) => secrets::run(home, &command, out).await,
        Command::Backup(args) => backup::run(home, &args, out).await,
        Command::Audit(command) => audit::run(home, &command, out).await,
        Command::Incident(IncidentCommand::Bundle(args)) => incident::bundle(home, &args, out).await,
        Command::Sql(args) => sql::run(home, &args.query, out).await,
        // Taken by `run`.
        Command::Restore(_) | Command::Completions { .. } | Command::Reference { .. } => Ok(Exit::Ok),
    }
}
