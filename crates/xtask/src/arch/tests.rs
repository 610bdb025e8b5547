//! The real workspace passes; each violation, planted into the real metadata, is found.
use super::*;

fn real() -> (Metadata, String) {
    let root = process::root().unwrap();
    let metadata = parse(&process::read(&root, METADATA).unwrap()).unwrap();
    (metadata, process::read(&root, KERNEL_TREE).unwrap())
}

fn planted(package: &str, name: &str, kind: Option<&str>) -> Vec<String> {
    let (mut metadata, _) = real();
    let target = metadata.packages.iter_mut().find(|p| p.name == package).unwrap();
    target.dependencies.push(Dependency { name: name.to_owned(), kind: kind.map(str::to_owned) });
    check_edges(&metadata)
}

#[test]
fn this_workspace_is_as_the_table_says() {
    let (metadata, tree) = real();
    assert_eq!(check_edges(&metadata), Vec::<String>::new());
    assert_eq!(check_kernel(&tree), Vec::<String>::new());
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
    for (outside, holders) in CONFINED {
        for row in ROWS.iter().filter(|row| !holders.contains(&row.package)) {
            let (metadata, _) = real();
            if metadata.packages.iter().any(|p| p.name == row.package) {
                let findings = planted(row.package, outside, None);
                assert!(findings.iter().any(|f| f.contains("confined")), "{} {outside}: {findings:?}", row.package);
            }
        }
    }
}

#[test]
fn a_crate_without_a_row_is_found() {
    let (mut metadata, _) = real();
    let engine = metadata.packages.iter_mut().find(|p| p.name == "backstay-engine").unwrap();
    "backstay-common".clone_into(&mut engine.name);
    assert!(check_edges(&metadata).iter().any(|f| f.starts_with("backstay-common: no row")));
}

#[test]
fn a_lock_that_grows_past_its_bound_is_found() {
    let (mut metadata, _) = real();
    while metadata.packages.len() < PACKAGES_MAX {
        metadata.packages.push(Package { id: String::new(), name: "more".to_owned(), dependencies: Vec::new() });
    }
    assert_eq!(check_edges(&metadata).len(), 1);
}

#[test]
fn the_kernel_takes_in_its_list_only_and_without_std() {
    let (_, tree) = real();
    assert_eq!(check_kernel(&format!("{tree}rand v0.9.0|\n")).len(), 1);
    assert_eq!(check_kernel(&tree.replace("|alloc\n", "|alloc,std\n")).len(), tree.matches("|alloc\n").count());
    assert!(tree.contains("|alloc\n"), "the line above replaced something");
    assert_eq!(check_kernel("").len(), 1, "an empty tree proves nothing");
}

#[test]
fn the_kernel_says_that_it_is_without_std() {
    assert_eq!(check_no_std("//! Core.\n#![no_std]\n").len(), 0);
    assert_eq!(check_no_std("//! Core, without #![no_std].\n").len(), 1);
}

#[test]
fn a_dependency_that_nobody_decided_on_is_found() {
    let (metadata, _) = real();
    let page = process::file(&process::root().unwrap(), DECISIONS).unwrap();
    let before = check_decided(&metadata, &page).len();
    assert_eq!(check_decided(&metadata, &page.replace("| rusqlite", "| SQLite")).len(), before + 1);
}
