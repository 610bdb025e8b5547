//! A process in the workspace that renames and links without pause never gets a call out of it.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use backstay_kernel::rule::Test;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use serde_json::json;

use super::{Home, SECRET, content, names, path};
use crate::run::{Acting, Ran};

const SWAPS: usize = 10_000;

fn swap(a: &Path, b: &Path) {
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
}

/// Runs `call` for as long as another thread swaps `a` and `b`, and at least once.
fn while_swapping(a: &Path, b: &Path, mut call: impl FnMut()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..SWAPS {
                swap(a, b);
            }
            over.store(true, Ordering::Release);
        });
        call();
        while !over.load(Ordering::Acquire) {
            call();
        }
    });
}

#[test]
fn a_read_never_leaves_while_a_directory_and_a_link_out_are_swapped() {
    let home = Home::new();
    home.put("dir/secret", "harmless");
    symlink(home.outside(), home.at("link")).unwrap();
    while_swapping(&home.at("dir"), &home.at("link"), || {
        let ran = home.call("read_file", path("dir/secret"));
        if let Ran::Done { text, .. } = &ran {
            assert_eq!(text, "harmless");
        }
        assert!(!format!("{ran:?}").contains(SECRET));
    });
    // After an even number of swaps everything is as it was: the guard is no blanket refusal.
    assert_eq!(home.done("read_file", path("dir/secret")), "harmless");
}

#[test]
fn a_read_never_leaves_while_a_file_and_a_link_out_are_swapped() {
    let home = Home::new();
    home.put("file", "harmless");
    symlink("../outside/secret", home.at("link")).unwrap();
    while_swapping(&home.at("file"), &home.at("link"), || {
        for ran in
            [home.call("read_file", path("file")), home.call("search_files", json!({"pattern": "secret|harmless"}))]
        {
            assert!(!format!("{ran:?}").contains(SECRET), "{ran:?}");
        }
    });
}

#[test]
fn a_write_never_leaves_while_a_directory_and_a_link_out_are_swapped() {
    let home = Home::new();
    home.put("out/dir/file", "0");
    symlink(home.outside(), home.at("out/link")).unwrap();
    let mut count = 0usize;
    while_swapping(&home.at("out/dir"), &home.at("out/link"), || {
        count += 1;
        home.call("write_file", content("out/dir/file", &count.to_string()));
        home.call("write_file", content("out/dir/secret", &count.to_string()));
        home.call("write_file", content("out/dir/new/file", &count.to_string()));
    });
    assert_eq!(names(&home.outside()), ["secret"]);
    assert_eq!(fs::read_to_string(home.outside().join("secret")).unwrap(), SECRET);
    home.done("write_file", content("out/dir/file", "at last"));
    assert_eq!(home.text("out/dir/file"), "at last");
}

#[test]
fn a_write_never_follows_a_link_that_is_swapped_with_the_file() {
    let home = Home::new();
    home.put("out/file", "0");
    let stage = home.dir.path().join("stage");
    symlink(home.outside().join("secret"), &stage).unwrap();
    let mut count = 0usize;
    while_swapping(&home.at("out/file"), &stage, || {
        count += 1;
        home.call("write_file", content("out/file", &count.to_string()));
    });
    assert_eq!(fs::read_to_string(home.outside().join("secret")).unwrap(), SECRET);
    assert_eq!(names(&home.outside()), ["secret"]);
}

/// A rule hides a directory from searches; a link to it that takes the place of another directory
/// is not walked.
#[test]
fn a_search_never_walks_a_link_that_is_swapped_with_a_directory() {
    let home = Home::new();
    home.put("many/dir/file", "needle, open");
    home.put("many/hidden/file", "needle, hidden");
    symlink("hidden", home.at("many/link")).unwrap();
    let hidden = Test::Under(home.at("many/hidden").to_str().unwrap().to_owned());
    let Home { dir, roots } = home;
    let home = Home { dir, roots: roots.hiding(vec![hidden]) };
    while_swapping(&home.at("many/dir"), &home.at("many/link"), || {
        let ran = home.call("search_files", json!({"pattern": "needle", "path": "many"}));
        assert!(!format!("{ran:?}").contains("needle, hidden"), "{ran:?}");
    });
}

/// The directory itself is carried out, judged path and all, between the look and the act.
#[test]
fn a_directory_that_was_moved_out_is_not_written_to() {
    let home = Home::new();
    home.put("out/dir/file", "0");
    let arguments = content("out/dir/file", "x");
    let prepared = crate::prepare::prepare(&home.roots, "write_file", &arguments.to_string()).unwrap();
    let crate::prepare::Action::Write(write) = prepared.action else { panic!() };
    fs::rename(home.at("out/dir"), home.outside().join("dir")).unwrap();
    assert!(matches!(crate::write::write(&Acting::in_a_test(), &super::KEY, &write), Ran::Failed { .. }));
    assert_eq!(fs::read_to_string(home.outside().join("dir/file")).unwrap(), "0");
    assert_eq!(names(&home.outside().join("dir")), ["file"]);
}

#[test]
fn a_path_that_leads_elsewhere_than_judged_is_not_used() {
    let home = Home::new();
    home.put("a/file", "a");
    home.put("b/file", "b");
    symlink("a", home.at("link")).unwrap();
    let arguments = path("link/file");
    let judged = home.inspect("read_file", arguments.clone()).unwrap();
    fs::remove_file(home.at("link")).unwrap();
    symlink("b", home.at("link")).unwrap();
    let Ran::Failed { text } = home.act("read_file", &arguments, &judged) else { panic!() };
    assert!(text.contains("leads elsewhere"), "{text}");
}
