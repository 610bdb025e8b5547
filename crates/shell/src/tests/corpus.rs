//! The two corpora, row by row: an attack never runs without a question and unseen, everyday work does.
use std::collections::BTreeMap;

use super::is_auto;
use super::rows::{Outcome, Row, attacks, benign};
use crate::{EffectClass, Plain, Reading, read};

/// What the corpora call a reading.
pub fn outcome(reading: &Reading) -> &'static str {
    match reading {
        Reading::Opaque(_) => "opaque",
        Reading::Refused(_) => "refused",
        Reading::Plain(plain) => match plain.class() {
            EffectClass::Read => "read",
            EffectClass::Write => "write",
            EffectClass::Execute => "execute",
            EffectClass::Send | EffectClass::Spend => panic!("no table says so"),
        },
    }
}

/// The facts name a path that no workspace holds, or one that is always protected: the gate says no.
pub fn shows_a_path(plain: &Plain) -> bool {
    let is_outside = |text: &str| {
        text.starts_with('/')
            || text
                .split('/')
                .any(|part| matches!(part, ".." | ".git" | ".env" | ".ssh" | ".cargo" | ".vscode" | ".husky"))
            || matches!(text, ".npmrc" | ".envrc" | ".gitmodules" | ".gitattributes")
    };
    plain.reads().chain(plain.writes()).any(|path| is_outside(&path.text))
}

#[test]
fn every_benign_command_is_what_it_is_called() {
    let mut wrong = Vec::new();
    for row in benign() {
        let reading = read(row.command.as_bytes());
        // Nobody but the sandbox knows what it is after.
        let expected = if Outcome::of(&row.expected) == Outcome::Ask { "opaque" } else { row.expected.as_str() };
        if outcome(&reading) != expected {
            wrong.push(format!("{}: {} `{}`: {reading:?}", row.group, row.expected, row.command));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of exactly the rows that are to run without a question, those that do; and of no other one.
#[test]
fn benign_commands_run_without_a_question() {
    let rows = benign();
    let mut groups: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for row in &rows {
        groups.entry(&row.group).or_default()[Outcome::of(&row.expected) as usize] += 1;
    }
    for (group, [auto, sandboxed, ask]) in &groups {
        println!("{group}: {auto} auto, {sandboxed} sandboxed, {ask} ask");
        assert!(auto + sandboxed + ask >= 19, "{group}");
    }
    assert!(rows.len() >= 300 && groups.len() >= 15, "{} rows in {} groups", rows.len(), groups.len());
    let reads_auto = |row: &Row| is_auto(&read(row.command.as_bytes()));
    let of = |outcome| rows.iter().filter(move |row| Outcome::of(&row.expected) == outcome);
    let (auto, passed) = (of(Outcome::Auto).count(), of(Outcome::Auto).filter(|row| reads_auto(row)).count());
    println!("{passed} of {auto} run without a question");
    assert!(auto >= 200 && passed * 100 >= auto * 97, "{passed} of {auto} run without a question");
    assert!(of(Outcome::Sandboxed).chain(of(Outcome::Ask)).all(|row| !reads_auto(row)));
    assert!(rows.iter().all(|row| !matches!(read(row.command.as_bytes()), Reading::Refused(_))));
}

#[test]
fn every_attack_is_what_it_is_called() {
    let mut wrong = Vec::new();
    for row in attacks() {
        let reading = read(row.command.as_bytes());
        let as_expected = match (row.expected.as_str(), &reading) {
            ("path", Reading::Plain(plain)) => plain.class() <= EffectClass::Write && shows_a_path(plain),
            (expected, reading) => outcome(reading) == expected,
        };
        if !as_expected {
            wrong.push(format!("{}: {} `{}`: {reading:?}", row.group, row.expected, row.command));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_attack_runs_unseen() {
    let rows = attacks();
    let groups: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    assert!(rows.len() >= 400 && groups.len() == 25, "{} rows in {} groups", rows.len(), groups.len());
    for row in rows {
        assert!(matches!(row.expected.as_str(), "opaque" | "refused" | "execute" | "path"), "{}", row.command);
        let reading = read(row.command.as_bytes());
        let hides = is_auto(&reading) && !matches!(&reading, Reading::Plain(plain) if shows_a_path(plain));
        assert!(!hides, "{}: `{}`: {reading:?}", row.group, row.command);
    }
}
