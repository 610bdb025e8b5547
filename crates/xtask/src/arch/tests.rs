//! Each violation, planted into the metadata of this workspace, is found. That none is there is what the
//! step `arch` itself says.
use std::sync::LazyLock;

use super::*;

/// This workspace's own metadata.
fn real() -> Metadata {
    static TEXT: LazyLock<String> = LazyLock::new(|| process::read(&process::root().unwrap(), METADATA).unwrap());
    parse(&TEXT).unwrap()
}

/// The same without what the manifests name today, so that only the plant can be found.
fn bare() -> Metadata {
    let mut metadata = real();
    metadata.packages.iter_mut().for_each(|package| package.dependencies.clear());
    metadata
}

fn planted(package: &str, name: &str, kind: Option<&str>) -> Vec<String> {
    let mut metadata = bare();
    let target = metadata.packages.iter_mut().find(|p| p.name == package).unwrap();
    target.dependencies.push(Dependency { name: name.to_owned(), kind: kind.map(str::to_owned) });
    check_edges(&metadata)
}

#[test]
fn an_edge_against_the_direction_is_found() {
    for (package, name) in [
        ("backstay-kernel", "backstay-store"),
        ("backstay-store", "backstay-engine"),
        ("backstay-engine", "backstay-providers"),
        ("backstay-providers", "backstay-tools"),
        ("backstay-tools", "backstay-channels"),
        ("backstay-channels", "backstay"),
    ] {
        let findings = planted(package, name, None);
        assert!(findings.iter().any(|f| f.starts_with(&format!("{package} depends on {name};"))), "{findings:?}");
        assert_eq!(planted(package, name, Some("dev")).len(), 1, "tests are held to the table too");
    }
}

#[test]
fn the_simulated_world_is_for_tests() {
    assert_eq!(planted("backstay-engine", "backstay-sim", Some("dev")), Vec::<String>::new());
    assert_eq!(planted("backstay-engine", "backstay-sim", None).len(), 1);
    assert_eq!(planted("backstay", "xtask", Some("build")).len(), 1);
}

#[test]
fn a_confined_crate_elsewhere_is_found() {
    let present = bare().packages;
    for (outside, holders) in CONFINED {
        for row in ROWS.iter().filter(|row| present.iter().any(|p| p.name == row.package)) {
            let is_found = !planted(row.package, outside, None).is_empty();
            assert_eq!(is_found, !holders.contains(&row.package), "{} {outside}", row.package);
        }
    }
}

#[test]
fn a_crate_without_a_row_and_a_lock_past_its_bound_are_found() {
    let mut metadata = bare();
    let engine = metadata.packages.iter_mut().find(|p| p.name == "backstay-engine").unwrap();
    "backstay-common".clone_into(&mut engine.name);
    assert_eq!(check_edges(&metadata).len(), 1);
    let more = || Package { id: String::new(), name: "more".to_owned(), dependencies: Vec::new() };
    metadata.packages.resize_with(PACKAGES_MAX, more);
    assert_eq!(check_edges(&metadata).len(), 2);
}

#[test]
fn the_kernel_takes_in_its_list_only_and_without_std() {
    let tree = process::read(&process::root().unwrap(), KERNEL_TREE).unwrap();
    assert_eq!(check_kernel(&tree), Vec::<String>::new());
    assert_eq!(check_kernel(&format!("{tree}rand v0.9.0|\n")).len(), 1);
    let serde_json = tree.lines().find(|line| line.starts_with("serde_json ")).unwrap();
    assert_eq!(check_kernel(&tree.replacen(serde_json, &format!("{serde_json},std"), 1)).len(), 1);
    assert_eq!(check_kernel("").len(), 1, "an empty tree proves nothing");
    assert_eq!(check_no_std("//! Core.\n#![no_std]\n"), None);
    assert!(check_no_std("//! Core, without #![no_std].\n").is_some());
}

#[test]
fn a_dependency_that_nobody_decided_on_is_found() {
    let page = process::file(&process::root().unwrap(), DECISIONS).unwrap();
    let before = check_decided(&real(), &page).len();
    assert_eq!(check_decided(&real(), &page.replace("| rusqlite", "| SQLite")).len(), before + 1);
}
