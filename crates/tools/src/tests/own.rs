//! The home's own files and those of procfs, by every name that a grant could cover.
use std::fs;

use backstay_kernel::facts::Invalid;
use serde_json::json;

use super::{Home, content, path};
use crate::roots::Roots;

const JOURNAL: &str = "what the journal says";

/// A home whose journal has a second name in the directory that may be written.
fn linked() -> Home {
    let mut home = Home::new();
    let dir = home.dir.path().to_owned();
    home.roots = Roots::open(&home.at(""), &[home.at("")], &[home.at("out")]).unwrap().guarding(&dir).unwrap();
    // After the roots were opened: what counts is what lies there when a call is made.
    fs::write(dir.join("state.db"), JOURNAL).unwrap();
    fs::hard_link(dir.join("state.db"), home.at("out/hard.db")).unwrap();
    home
}

#[test]
fn a_hard_link_to_the_homes_own_file_is_neither_read_nor_replaced() {
    let home = linked();
    home.put("out/plain", "no journal");
    for (tool, arguments) in [
        ("read_file", path("out/hard.db")),
        ("search_files", json!({"pattern": "journal", "path": "out/hard.db"})),
        ("write_file", content("out/hard.db", "mine")),
        ("edit_file", json!({"path": "out/hard.db", "old": "journal", "new": "model"})),
    ] {
        let refused = home.inspect(tool, arguments).unwrap_err();
        assert_eq!(refused.why, Invalid::OutsideGrants, "{tool}");
        assert_eq!(refused.detail, "`out/hard.db` is the home's own, which no grant covers", "{tool}");
    }
    let found = home.done("search_files", json!({"pattern": "journal", "path": "."}));
    assert_eq!(found, "out/plain:1: no journal\n");
    assert_eq!(home.done("read_file", path("out/plain")), "no journal");
}

/// What a bind mount of the home beneath a granted directory comes to.
#[test]
fn a_way_over_the_home_itself_leads_to_nothing_of_its_own() {
    let mut home = linked();
    let dir = home.dir.path().to_owned();
    let all = [dir.clone()];
    home.roots = Roots::open(&home.at(""), &all, &all).unwrap().guarding(&dir).unwrap();
    home.put("notes", "kept");
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    assert_eq!(home.why("list_dir", path(&at(""))), Invalid::OutsideGrants);
    assert_eq!(home.why("list_dir", path(&at("outside"))), Invalid::OutsideGrants);
    assert_eq!(home.why("read_file", path(&at("state.db"))), Invalid::OutsideGrants);
    assert_eq!(home.why("write_file", content(&at("state.db-journal"), "")), Invalid::OutsideGrants);
    assert_eq!(home.done("read_file", path(&at("workspace/notes"))), "kept");
    home.done("write_file", content(&at("workspace/out/new"), "made"));
}

#[test]
fn nothing_in_procfs_is_opened() {
    let mut home = Home::new();
    home.roots = Roots::open(&home.at(""), &["/proc".into()], &[]).unwrap();
    let process = format!("/proc/{}", std::process::id());
    for (tool, arguments) in [
        ("read_file", path(&format!("{process}/environ"))),
        ("list_dir", path("/proc")),
        ("search_files", json!({"pattern": "PATH", "path": process})),
    ] {
        let refused = home.inspect(tool, arguments).unwrap_err();
        assert_eq!(refused.why, Invalid::OutsideGrants, "{tool}");
        assert!(refused.detail.ends_with("is in procfs, which no grant covers"), "{tool}: {}", refused.detail);
    }
}

/// A key that the home only points at.
#[test]
fn what_a_link_in_the_home_leads_to_is_the_homes_own() {
    let mut home = Home::new();
    let dir = home.dir.path().to_owned();
    home.put("out/real.pem", "a key");
    std::os::unix::fs::symlink(home.at("out/real.pem"), dir.join("tls.key")).unwrap();
    home.roots = Roots::open(&home.at(""), &[home.at("")], &[home.at("out")]).unwrap().guarding(&dir).unwrap();
    assert_eq!(home.why("read_file", path("out/real.pem")), Invalid::OutsideGrants);
    assert_eq!(home.why("write_file", content("out/real.pem", "")), Invalid::OutsideGrants);
    assert!(!home.done("search_files", json!({"pattern": "key", "path": "."})).contains("real.pem"));
}
