//! `restore FROM TO`: makes a home of a backup. The journal comes last, so that half a restore is
//! no home; the new home starts frozen, since the world may have moved on after the backup.
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use backstay_channels::workspace;
use backstay_store::StoreError;
use serde_json::json;

use crate::cause::Cause;
use crate::cli::RestoreArgs;
use crate::config;
use crate::exit::{Exit, Failure, Outcome};
use crate::home;
use crate::print::{Out, Tone};

pub fn run(args: &RestoreArgs, out: &Out) -> Outcome<Exit> {
    let (from, to) = (home::resolve(Some(&args.from))?, home::resolve(Some(&args.to))?);
    if !from.join(home::STATE).exists() {
        let message = format!("{} holds no backup: {} is missing", from.display(), home::STATE);
        return Err(Failure::new(Cause::NoBackup, message, "give a directory that `backstay backup` wrote"));
    }
    if to.join(home::STATE).exists() {
        let message = format!("{} is a home already; a restore overwrites nothing", to.display());
        return Err(Failure::new(Cause::Exists, message, "give a new directory"));
    }
    home::refuse_foreign(&to)?;
    let kept = to.join(config::FILE).exists();
    if !kept && !from.join(config::FILE).exists() {
        let message = format!("neither {} nor {} holds a {}", from.display(), to.display(), config::FILE);
        let next = format!("put one into {} and run this again", to.display());
        return Err(Failure::new(Cause::NoConfig, message, next));
    }
    let config = from.join(config::FILE);
    if !kept && !std::fs::symlink_metadata(&config).is_ok_and(|found| found.is_file()) {
        return Err(led_out(&config));
    }
    let files = bring_files(&from, &to, kept)?;
    let report = backstay_store::restore(&from, &to).map_err(|error| unusable(error, &to))?;
    let next = format!("{} doubts, then: {0} unfreeze", home::command(&to));
    if out.json {
        out.value(&json!({
            "home": to,
            "sessions": report.sessions,
            "records": report.records,
            "workspace_files": files,
            "frozen": true,
            "next": next,
        }));
        return Ok(Exit::Ok);
    }
    out.line(&format!("home: {}", to.display()));
    out.line(&format!(
        "{} sessions, {} records, records, texts and ledger verified; {files} workspace files",
        report.sessions, report.records
    ));
    out.talk(
        Tone::Warning,
        "It is frozen: effects after the backup are unknown to it. Those that were on their way are in doubt.",
    );
    out.talk(
        Tone::Warning,
        "Whatever lies in its directories counts as secret, until an owner vouches for it: `roots reset /`.",
    );
    out.line(&format!("next: {next}"));
    Ok(Exit::Ok)
}

fn bring_files(from: &Path, to: &Path, kept: bool) -> Outcome<u64> {
    let failed = |error: std::io::Error| Failure::io(to, &error);
    let (source, target) = (from.join(config::WORKSPACE), to.join(config::WORKSPACE));
    let has_workspace = match std::fs::symlink_metadata(&source) {
        Ok(found) if found.is_dir() => true,
        Ok(_) => return Err(led_out(&source)),
        Err(_) => false,
    };
    let is_filled = std::fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some());
    if has_workspace && is_filled {
        let message = format!("{} has files in it; a restore overwrites nothing", target.display());
        return Err(Failure::new(Cause::Exists, message, "give a new directory, or remove what a cut restore left"));
    }
    make_private(&target).map_err(failed)?;
    let files = if has_workspace { workspace::copy(&source, &target).map_err(failed)? } else { 0 };
    let sealed = from.join(backstay_secrets::FILE);
    if std::fs::symlink_metadata(&sealed).is_ok_and(|found| found.is_file()) {
        workspace::copy_file(&sealed, &to.join(backstay_secrets::FILE)).map_err(failed)?;
    }
    if !kept {
        workspace::copy_file(&from.join(config::FILE), &to.join(config::FILE)).map_err(failed)?;
    }
    Ok(files)
}

/// A damaged backup is mended by none; what was brought of it makes no home.
fn unusable(error: StoreError, to: &Path) -> Failure {
    let failure = Failure::from(error);
    if ![Cause::Damaged, Cause::Foreign, Cause::Altered].into_iter().any(|cause| failure.is(cause)) {
        return failure;
    }
    Failure { next: format!("remove {} and restore another backup", to.display()), ..failure }
}

/// A link in a backup may lead to anything that this user can read.
fn led_out(path: &Path) -> Failure {
    let message = format!("{} is a link or no file of a backup; nothing was restored", path.display());
    Failure::new(Cause::NotABackup, message, "give a directory that `backstay backup` wrote")
}

/// With all directories above it, for the owner alone.
fn make_private(directory: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}
