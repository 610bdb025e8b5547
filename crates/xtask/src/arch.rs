//! Holds the crates' dependencies to the table: a crate exists to confine a dependency or a privilege,
//! and a manifest is where that would quietly end.
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::process;
use table::{CONFINED, DEV_ONLY, KERNEL_LINKS, KERNEL_MACROS, PACKAGES_MAX, ROWS};

/// For what is built: Backstay runs on Linux only, and what other systems would link is no code of its.
const METADATA: &[&str] =
    &["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
/// One line for each crate that a build of the kernel alone takes in, with the features it then has.
const KERNEL_TREE: &[&str] =
    &["cargo", "tree", "--locked", "-p", "backstay-kernel", "-e", "normal", "--prefix", "none", "-f", "{p}|{f}"];
/// Where each dependency has its line.
const DECISIONS: &str = "docs/decisions/0005-dependencies.md";

/// What `cargo metadata` prints, as far as it is looked at.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Absent for a normal one, else `dev` or `build`.
    kind: Option<String>,
}

pub fn run(root: &Path) -> Result<(), String> {
    let metadata = parse(&process::read(root, METADATA)?)?;
    let mut findings = check_edges(&metadata);
    findings.extend(check_kernel(&process::read(root, KERNEL_TREE)?));
    findings.extend(check_no_std(&process::file(root, "crates/kernel/src/lib.rs")?));
    findings.extend(check_decided(&metadata, &process::file(root, DECISIONS)?));
    process::report("arch", &findings)
}

fn parse(text: &str) -> Result<Metadata, String> {
    serde_json::from_str(text)
        .map_err(|e| format!("`cargo metadata` printed what this version of xtask cannot read: {e}"))
}

fn check_edges(metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    if metadata.packages.len() >= PACKAGES_MAX {
        findings.push(format!("{} packages are locked; the bound is {PACKAGES_MAX}", metadata.packages.len()));
    }
    let members: Vec<&Package> =
        metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id)).collect();
    for package in &members {
        if DEV_ONLY.contains(&package.name.as_str()) {
            continue;
        }
        let Some(row) = ROWS.iter().find(|row| row.package == package.name) else {
            findings.push(format!("{}: no row in the table of crates (crates/xtask/src/arch/table.rs)", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let is_ours = members.iter().any(|member| member.name == name);
            let in_tests = dependency.kind.as_deref() == Some("dev");
            let allowed = row.may_use.contains(&name) || (in_tests && DEV_ONLY.contains(&name));
            if is_ours && !allowed {
                findings.push(format!("{} depends on {name}; it may use {:?}", package.name, row.may_use));
            }
            let confined = CONFINED.iter().find(|(outside, _)| *outside == name);
            if let Some((_, holders)) = confined.filter(|(_, holders)| !holders.contains(&package.name.as_str())) {
                findings.push(format!("{} depends on {name}, which is confined to {holders:?}", package.name));
            }
        }
    }
    findings
}

/// Every crate from outside that a manifest of ours names stands in the first column of `page`.
fn check_decided(metadata: &Metadata, page: &str) -> Vec<String> {
    let is_ours = |package: &&Package| metadata.workspace_members.contains(&package.id);
    let ours: Vec<&str> = metadata.packages.iter().filter(is_ours).map(|package| package.name.as_str()).collect();
    let named = metadata.packages.iter().filter(is_ours).flat_map(|package| &package.dependencies);
    let outside: BTreeSet<&str> = named.map(|d| d.name.as_str()).filter(|name| !ours.contains(name)).collect();
    let decided: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.split('|').next())
        .flat_map(|cell| cell.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_'))
        .collect();
    outside
        .difference(&decided)
        .map(|name| format!("{DECISIONS}: no row for `{name}`, which a manifest names"))
        .collect()
}

/// `tree`: lines of `name v1.2.3 (proc-macro)|feature,feature`.
fn check_kernel(tree: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for line in tree.lines().filter(|line| !line.starts_with("backstay-kernel ")) {
        let (package, features) = line.split_once('|').unwrap_or((line, ""));
        let name = package.split(' ').next().unwrap_or_default();
        if KERNEL_MACROS.contains(&name) {
            continue;
        }
        if !KERNEL_LINKS.contains(&name) {
            findings.push(format!("the kernel takes in {package}, which is not on its list"));
        }
        // With `(*)` after it the package was listed in full before.
        if features.split([',', ' ']).any(|feature| feature == "std") {
            findings.push(format!("the kernel takes in {package} with its feature `std`"));
        }
    }
    if !tree.lines().any(|line| line.starts_with("backstay-kernel ")) {
        findings.push("`cargo tree` did not list the kernel".to_owned());
    }
    findings
}

fn check_no_std(lib: &str) -> Option<String> {
    let is_declared = lib.lines().any(|line| line.trim() == "#![no_std]");
    (!is_declared).then(|| "crates/kernel/src/lib.rs: `#![no_std]` is gone".to_owned())
}
