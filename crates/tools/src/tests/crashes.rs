//! What a write leaves behind, and what it does not, wherever it is cut off.
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;

use backstay_kernel::effect::Probed;
use backstay_kernel::facts::Facts;
use backstay_kernel::id::SessionId;
use serde_json::{Value, json};

use super::{Home, KEY, content, names};
use crate::prepare::{Action, Write, prepare, probe};
use crate::run::{Acting, Asked, Ran, act};
use crate::write::Staged;

fn probed(home: &Home, tool: &str, arguments: &Value, facts: &Facts) -> Probed {
    probe(&home.roots, tool, &arguments.to_string(), facts)
}

fn prepared(home: &Home, arguments: &Value) -> Box<Write> {
    let prepared = prepare(&home.roots, "write_file", &arguments.to_string()).unwrap();
    let Action::Write(write) = prepared.action else { panic!() };
    write
}

#[test]
fn a_file_is_created_with_its_directories_and_replaced() {
    let home = Home::new();
    let new = content("out/a/b/c.txt", "one\n");
    assert_eq!(home.done("write_file", new), "created `out/a/b/c.txt`: 4 bytes");
    assert_eq!(home.text("out/a/b/c.txt"), "one\n");
    let again = content("out/a/b/c.txt", "two");
    assert_eq!(home.done("write_file", again), "replaced `out/a/b/c.txt`: 3 bytes");
    assert_eq!(home.text("out/a/b/c.txt"), "two");
    assert_eq!(names(&home.at("out/a/b")), ["c.txt"]);
}

#[test]
fn inspecting_and_probing_change_nothing() {
    let home = Home::new();
    let arguments = content("out/new/a", "x");
    let facts = home.inspect("write_file", arguments.clone()).unwrap();
    assert_eq!(probed(&home, "write_file", &arguments, &facts), Probed::NotDone);
    assert!(names(&home.at("out")).is_empty());
}

#[test]
fn the_mode_of_a_file_is_kept() {
    let home = Home::new();
    for mode in [0o600, 0o755, 0o640] {
        home.put("out/a", "x");
        fs::set_permissions(home.at("out/a"), fs::Permissions::from_mode(mode)).unwrap();
        home.done("write_file", content("out/a", &format!("{mode:o}")));
        assert_eq!(fs::metadata(home.at("out/a")).unwrap().mode() & 0o7777, mode);
    }
}

#[test]
fn a_write_through_a_hard_link_leaves_the_other_name_alone() {
    let home = Home::new();
    fs::hard_link(home.outside().join("secret"), home.at("out/a")).unwrap();
    home.done("write_file", content("out/a", "x"));
    assert_eq!(fs::read_to_string(home.outside().join("secret")).unwrap(), super::SECRET);
}

#[test]
fn cut_off_before_the_rename_the_write_is_not_done_and_runs_again() {
    let home = Home::new();
    home.put("out/a", "before");
    let arguments = content("out/a", "after");
    let facts = home.inspect("write_file", arguments.clone()).unwrap();
    let write = prepared(&home, &arguments);
    drop(Staged::new(&KEY, &write.place.dir, &write).unwrap());
    // The content is on the disk beside the file, and the process is gone.
    assert_eq!(names(&home.at("out")).len(), 2);
    assert_eq!(home.text("out/a"), "before");
    assert_eq!(probed(&home, "write_file", &arguments, &facts), Probed::NotDone);
    assert!(matches!(home.act("write_file", &arguments, &facts), Ran::Done { .. }));
    assert_eq!(names(&home.at("out")), ["a"]);
    assert_eq!(home.text("out/a"), "after");
}

#[test]
fn cut_off_half_way_into_the_temporary_file_the_rest_is_replaced() {
    let home = Home::new();
    let arguments = content("out/a", "all of it");
    let facts = home.inspect("write_file", arguments.clone()).unwrap();
    home.put(&format!("out/.backstay-{KEY}.tmp"), "all o");
    assert_eq!(probed(&home, "write_file", &arguments, &facts), Probed::NotDone);
    assert!(matches!(home.act("write_file", &arguments, &facts), Ran::Done { .. }));
    assert_eq!(names(&home.at("out")), ["a"]);
    assert_eq!(home.text("out/a"), "all of it");
}

#[test]
fn renamed_and_not_reported_is_done_and_does_not_run_again() {
    let home = Home::new();
    home.put("out/a", "one two");
    for (tool, arguments) in [
        ("write_file", content("out/a", "one two three")),
        ("edit_file", json!({"path": "out/a", "old": "two", "new": "2"})),
        ("write_file", content("out/new", "x")),
    ] {
        let facts = home.inspect(tool, arguments.clone()).unwrap();
        assert!(matches!(home.act(tool, &arguments, &facts), Ran::Done { .. }));
        assert_eq!(probed(&home, tool, &arguments, &facts), Probed::Done);
        // Even a caller that forgets to probe does not do it twice.
        assert!(matches!(home.act(tool, &arguments, &facts), Ran::Failed { .. }), "{tool}");
    }
    assert_eq!(home.text("out/a"), "one 2 three");
}

#[test]
fn what_somebody_else_wrote_is_neither() {
    let home = Home::new();
    let arguments = content("out/a", "mine");
    let facts = home.inspect("write_file", arguments.clone()).unwrap();
    home.put("out/a", "theirs");
    assert_eq!(probed(&home, "write_file", &arguments, &facts), Probed::Neither);
    fs::remove_file(home.at("out/a")).unwrap();
    fs::create_dir(home.at("out/a")).unwrap();
    assert_eq!(probed(&home, "write_file", &arguments, &facts), Probed::Neither);
    // A call that is not probed, and facts of another file.
    let read = home.inspect("list_dir", super::path("out")).unwrap();
    assert_eq!(probed(&home, "list_dir", &super::path("out"), &read), Probed::Neither);
    assert_eq!(probed(&home, "write_file", &content("out/b", "mine"), &facts), Probed::Neither);
}

#[test]
fn a_file_that_changed_since_it_was_judged_is_not_written() {
    let home = Home::new();
    home.put("out/a", "one");
    for (tool, arguments) in [
        ("write_file", content("out/a", "mine")),
        ("edit_file", json!({"path": "out/a", "old": "one", "new": "mine"})),
        ("write_file", content("out/new", "mine")),
    ] {
        let facts = home.inspect(tool, arguments.clone()).unwrap();
        let file = arguments["path"].as_str().unwrap();
        home.put(file, "theirs, one");
        let Ran::Failed { text } = home.act(tool, &arguments, &facts) else { panic!("{tool}") };
        assert!(text.starts_with("stale: "), "{text}");
        assert_eq!(home.text(file), "theirs, one");
        home.put("out/a", "one");
    }
}

/// The last look, between the staged content and the rename.
#[test]
fn a_file_that_changes_while_the_new_content_is_staged_is_not_lost() {
    let home = Home::new();
    home.put("out/a", "before");
    for file in ["out/a", "out/new"] {
        let write = prepared(&home, &content(file, "mine"));
        home.put(file, "theirs");
        let Ran::Failed { text } = crate::write::write(&Acting::in_a_test(), &KEY, &write) else { panic!("{file}") };
        assert!(text.starts_with("stale: "), "{text}");
        assert_eq!(home.text(file), "theirs");
    }
    assert_eq!(names(&home.at("out")), ["a", "new"]);
}

#[test]
fn a_permit_for_something_else_does_nothing() {
    let home = Home::new();
    home.put("out/a", "a");
    home.put("out/b", "b");
    let arguments = content("out/a", "x");
    let judged = home.inspect("write_file", arguments.clone()).unwrap();
    let other = home.inspect("write_file", content("out/b", "x")).unwrap();
    let run_as = |acting, permitted, arguments: &Value, judged| {
        let call = Asked {
            principal: "owner",
            session: SessionId::default(),
            tool: "write_file",
            arguments: &arguments.to_string(),
            as_values: false,
        };
        act(&KEY, permitted, acting, &home.roots, call, judged, &Arc::default()).ran
    };
    let run = |permitted, arguments: &Value, judged| run_as(Some(Acting::in_a_test()), permitted, arguments, judged);
    for ran in [
        // No facts at all, as the permit of a model call has; facts of another call.
        run(None, &arguments, &judged),
        run(Some(other.digest()), &arguments, &judged),
        // The permit and the facts fit each other, and not the call: another file, other content.
        run(Some(other.digest()), &arguments, &other),
        run(Some(judged.digest()), &content("out/a", "y"), &judged),
        // That of a call that only reads.
        run_as(None, Some(judged.digest()), &arguments, &judged),
    ] {
        assert!(matches!(ran, Ran::Failed { .. }), "{ran:?}");
    }
    assert_eq!((home.text("out/a"), home.text("out/b")), ("a".to_owned(), "b".to_owned()));
    assert!(matches!(run(Some(judged.digest()), &arguments, &judged), Ran::Done { .. }));
}

#[test]
fn a_failed_write_leaves_nothing() {
    let home = Home::new();
    home.put("out/a", "before");
    let write = prepared(&home, &content("out/a", "after"));
    // The place of the temporary file is taken by something that cannot be removed.
    let taken = home.at(&format!("out/.backstay-{KEY}.tmp"));
    fs::create_dir(&taken).unwrap();
    assert!(matches!(crate::write::write(&Acting::in_a_test(), &KEY, &write), Ran::Failed { .. }));
    fs::remove_dir(taken).unwrap();
    assert_eq!((home.text("out/a"), names(&home.at("out"))), ("before".to_owned(), vec!["a".to_owned()]));
}

/// What a rule may ask of a call's size is that of what the call leaves behind.
#[test]
fn facts_say_how_much_a_call_would_write() {
    let home = Home::new();
    home.put("out/a", "one two");
    let out = |tool, arguments| home.inspect(tool, arguments).unwrap().bytes_out;
    assert_eq!(out("write_file", content("out/b", "äöü")), Some(6));
    assert_eq!(out("edit_file", json!({ "path": "out/a", "old": "two", "new": "three" })), Some(9));
    assert_eq!(out("remember", json!({ "text": "four" })), Some(4));
    assert_eq!(out("read_file", super::path("out/a")), None);
}
