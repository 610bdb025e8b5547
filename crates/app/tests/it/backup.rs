//! `backup` and `restore`: what comes back is what was there, and nothing of it starts by itself.
use crate::place::{Place, mode};

#[test]
fn a_backup_comes_back_frozen_with_its_config_and_its_files() {
    let place = Place::with_home();
    let turn = place.run(&["run", "write a note: mend the sails", "--json"]).json(0);
    let (copy, new) = (place.path("copy"), place.path("new"));
    let (copy, new) = (copy.to_str().unwrap(), new.to_str().unwrap());
    let done = place.run(&["backup", copy, "--workspace", "--json"]).json(0);
    assert_eq!(done["workspace_files"], 1);
    place.run(&["backup", copy]).expect(3);
    let restored = place.run(&["restore", copy, new, "--json"]).json(0);
    assert_eq!((restored["frozen"].as_bool(), restored["workspace_files"].as_u64()), (Some(true), Some(1)));
    assert!(
        restored["next"].as_str().unwrap().ends_with(" unfreeze")
            && restored["next"].as_str().unwrap().contains(" doubts, then: ")
    );
    assert_eq!(mode(&place.path("new")), 0o700);
    assert_eq!(mode(&place.path("new/backstay.toml")), 0o600);
    assert_eq!(std::fs::read_to_string(place.path("new/workspace/out/note.md")).unwrap().trim(), "mend the sails");
    let there = |arguments: &[&str]| place.run(&[&["--home", new], arguments].concat());
    assert_eq!(there(&["status", "--json"]).json(0)["frozen"], true);
    there(&["run", "hello"]).expect(3);
    there(&["trace", turn["turn"].as_str().unwrap()]).expect(0);
    there(&["unfreeze"]).expect(0);
    there(&["run", "hello"]).expect(0);
    let report = there(&["audit", "verify", "--json"]).json(0);
    let listed = there(&["sessions", "list", "--json"]).json(0);
    assert_eq!(report["sessions"], listed["sessions"].as_array().unwrap().len(), "the home's own stream is none");
    assert!(report["windows"].as_u64().unwrap() > 0, "its budget is in the ledger: {report}");
    place.run(&["run", "hello"]).expect(0);
}

#[test]
fn a_restore_overwrites_nothing_and_invents_nothing() {
    let place = Place::with_home();
    let copy = place.path("copy");
    let copy = copy.to_str().unwrap();
    place.run(&["backup", copy]).expect(0);
    place.run(&["restore", copy, place.home().to_str().unwrap()]).expect(3);
    place.run(&["restore", place.path("nothing").to_str().unwrap(), place.path("new").to_str().unwrap()]).expect(5);
    let inside = place.home().join("copy");
    place.run(&["backup", inside.to_str().unwrap()]).expect(2);
    let error = place.run(&["backup", "/proc/copy", "--json"]).error(1);
    assert!(error["message"].as_str().unwrap().starts_with("/proc/copy cannot be made: No such file"), "{error}");
}

#[test]
fn a_damaged_backup_is_refused() {
    let place = Place::with_home();
    place.run(&["run", "/say something to be damaged"]).expect(0);
    let copy = place.path("copy");
    place.run(&["backup", copy.to_str().unwrap()]).expect(0);
    let state = copy.join("state.db");
    let mut bytes = std::fs::read(&state).unwrap();
    let needle = b"something to be damaged";
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] = b'S';
    std::fs::write(&state, bytes).unwrap();
    let new = place.path("new");
    let error = place.run(&["restore", copy.to_str().unwrap(), new.to_str().unwrap(), "--json"]).error(1);
    assert_eq!(error["code"], "damaged");
    assert_eq!(error["next"], format!("remove {} and restore another backup", new.display()));
    assert!(!new.join("state.db").exists());
}

#[test]
fn a_home_reached_through_a_link_works_like_any_other() {
    let place = Place::empty();
    std::fs::create_dir(place.path("real")).unwrap();
    std::os::unix::fs::symlink("real", place.path("link")).unwrap();
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let (home, copy, back) = (path("link/home"), path("link/copy"), path("link/back"));
    let there = |arguments: &[&str]| place.run(&[&["--home", &home], arguments].concat());
    there(&["init"]).expect(0);
    let turn = there(&["run", "write a note: mend the sails", "--json"]).json(0);
    assert_eq!(
        std::fs::read_to_string(place.path("real/home/workspace/out/note.md")).unwrap().trim(),
        "mend the sails"
    );
    place.run(&["--home", &path("real/home"), "trace", turn["turn"].as_str().unwrap()]).expect(0);
    there(&["backup", &copy, "--workspace"]).expect(0);
    there(&["restore", &copy, &back]).expect(0);
    place.run(&["--home", &back, "audit", "verify"]).expect(0);
}

#[test]
fn a_restore_leaves_foreign_directories_alone_and_follows_no_link_of_a_backup() {
    use std::os::unix::fs::symlink;
    let place = Place::with_home();
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let restore = || place.run(&["restore", &path("copy"), &path("new"), "--json"]).error(3)["code"].clone();
    place.run(&["backup", &path("copy")]).expect(0);
    std::fs::create_dir(place.path("new")).unwrap();
    std::fs::write(place.path("new/letter"), "mine").unwrap();
    assert_eq!(restore(), "not_empty");
    std::fs::remove_file(place.path("new/letter")).unwrap();
    std::fs::create_dir(place.path("outside")).unwrap();
    std::fs::write(place.path("outside/secret"), "secret").unwrap();
    symlink("../outside", place.path("copy/workspace")).unwrap();
    assert_eq!(restore(), "not_a_backup");
    std::fs::remove_file(place.path("copy/workspace")).unwrap();
    std::fs::rename(place.path("copy/backstay.toml"), place.path("outside/toml")).unwrap();
    symlink("../outside/toml", place.path("copy/backstay.toml")).unwrap();
    assert_eq!(restore(), "not_a_backup");
    assert_eq!(std::fs::read_dir(place.path("new")).unwrap().count(), 0);
    std::fs::rename(place.path("outside/toml"), place.path("copy/backstay.toml")).unwrap();
    place.run(&["restore", &path("copy"), &path("new")]).expect(0);
}

#[test]
fn what_waited_in_the_backup_is_in_doubt_as_soon_as_it_is_looked_for() {
    let place = Place::with_home();
    let waits = place.run(&["run", "write the report", "--json"]).json(4);
    let before = place.run(&["approvals", "--json"]).json(0)["approvals"].clone();
    let (copy, new) = (place.path("copy"), place.path("new"));
    let (copy, new) = (copy.to_str().unwrap(), new.to_str().unwrap());
    place.run(&["backup", copy]).expect(0);
    place.run(&["restore", copy, new]).expect(0);
    let ran = |arguments: &[&str]| place.run(&[&["--home", new, "--json"], arguments].concat());
    let there = |arguments: &[&str]| ran(arguments).json(0);
    let (id, session) = (waits["id"].as_str().unwrap(), waits["session"].as_str().unwrap());
    // Twice: nobody wakes the session by looking at it, and the next process finds it the same.
    for _ in 0..2 {
        assert_eq!(there(&["approvals"])["approvals"], serde_json::json!([]));
        assert_eq!(there(&["doubts"])["doubts"][0]["id"], id);
        let status = there(&["status"]);
        assert_eq!(status["frozen"], true);
        assert_eq!(status["waits"], serde_json::json!({ "approvals": 0, "parked": 0, "questions": 0, "doubts": 1 }));
        assert_eq!(there(&["sessions", "show", session])["wait"], "doubt");
        assert_eq!(there(&["trace", waits["turn"].as_str().unwrap()])["state"], "waiting");
        let next = there(&[])["next"].to_string();
        assert!(next.contains("resolve") && !next.contains("approve"), "{next}");
        assert_eq!(there(&["sql", "SELECT count(*) FROM v_records WHERE kind = 'lineage'"])["rows"][0][0], 0);
    }
    assert_eq!(ran(&["approve", id]).error(5)["code"], "no_such_approval");
    assert_eq!(ran(&["resolve", id, "not-done", "--note", "I looked"]).json(4)["outcome"], "not-done");
    assert_eq!(there(&["doubts"])["doubts"], serde_json::json!([]));
    there(&["unfreeze"]);
    there(&["audit", "verify"]);
    assert_eq!(place.run(&["approvals", "--json"]).json(0)["approvals"], before, "the home that was copied goes on");
}
