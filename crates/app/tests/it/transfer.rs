//! `sessions export` and `import`: a conversation moves to another home, whole, and nothing of it starts.
use serde_json::Value;

use crate::place::Place;

/// A home with one conversation, its session and its turn.
fn talked() -> (Place, String, String) {
    let place = Place::with_home();
    let turn = place.run(&["run", "write a note: mend the sails", "--json"]).json(0);
    let of = |name: &str| turn[name].as_str().unwrap().to_owned();
    (place, of("session"), of("turn"))
}

#[test]
fn a_conversation_goes_on_in_another_home() {
    let (here, session, turn) = talked();
    let there = Place::with_home();
    let file = here.run(&["sessions", "export", &session]);
    let lines: Vec<Value> = file.expect(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["session"]["session"], session.as_str());
    assert!(lines.iter().any(|line| line["body"]["text"] == "write a note: mend the sails"));
    let path = there.path("session.jsonl");
    std::fs::write(&path, &file.stdout).unwrap();
    let imported = there.run(&["sessions", "import", path.to_str().unwrap(), "--json"]).json(0);
    assert_eq!(imported["session"], session.as_str());
    assert_eq!((imported["doubts"].as_u64(), imported["stopped"].as_bool()), (Some(0), Some(true)));
    // What the model was sent there is the same here, byte for byte.
    let sent = |place: &Place| place.run(&["trace", &turn, "--as-sent", "2"]).expect(0).stdout.clone();
    assert_eq!(sent(&here), sent(&there));
    assert_eq!(there.run(&["run", "--session", &session, "hello", "--json"]).error(3)["code"], "session_stopped");
    there.run(&["resume", &session]).expect(0);
    there.run(&["run", "--session", &session, "hello"]).expect(0);
    there.run(&["audit", "verify"]).expect(0);
    assert_eq!(there.run(&["sessions", "import", path.to_str().unwrap(), "--json"]).error(3)["code"], "session_exists");
    assert!(!there.path("home/workspace/out/note.md").exists(), "files are no part of a session");
}

#[test]
fn it_goes_through_a_pipe_and_through_a_running_process() {
    let (here, session, _) = talked();
    let there = Place::with_home();
    let (from, to) = (here.serve(), there.serve());
    let file = here.run(&["sessions", "export", &session]);
    let names = there.names();
    let told = there.pipe(&["sessions", "import", "-"], &file.expect(0).stdout);
    assert!(told.expect(0).stdout.contains(&session), "{}", told.stdout);
    assert!(told.stderr.contains("resume"), "{}", told.stderr);
    assert_eq!(there.names(), names, "nothing is left over");
    let broken = file.stdout.replace("mend the sails", "bend the sails");
    assert_eq!(there.pipe(&["sessions", "import", "-", "--json"], &broken).error(2)["code"], "not_an_export");
    assert_eq!(there.names(), names);
    assert_eq!(there.run(&["sessions", "list", "--json"]).json(0)["sessions"].as_array().unwrap().len(), 1);
    drop((from, to));
}

#[test]
fn two_imports_from_stdin_do_not_meet() {
    let (here, session, _) = talked();
    let there = Place::with_home();
    let file = here.run(&["sessions", "export", &session]);
    let arriving = there.home().join("import.partial");
    std::fs::write(&arriving, "of one that was cut off, and much longer than what comes".repeat(1000)).unwrap();
    let other = std::fs::File::open(&arriving).unwrap();
    other.lock().unwrap();
    let import = || there.pipe(&["sessions", "import", "-", "--json"], &file.expect(0).stdout);
    assert_eq!(import().error(6)["code"], "busy");
    assert!(arriving.exists(), "the other's file is the other's");
    drop(other);
    assert_eq!(import().json(0)["session"], session);
    assert!(!arriving.exists());
}

#[test]
fn what_is_no_export_is_named_and_nothing_is_waited_for() {
    let place = Place::with_home();
    let import = |name: &str| place.run(&["sessions", "import", place.path(name).to_str().unwrap(), "--json"]).error(2);
    assert_eq!(import("nothing")["code"], "not_an_export");
    std::fs::create_dir(place.path("directory")).unwrap();
    assert_eq!(import("directory")["code"], "not_an_export");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(import("pipe")["message"].as_str().unwrap().contains("not a file"));
    for (name, content) in [("empty", ""), ("words", "hello"), ("json", "{}\n"), ("binary", "\u{0}\u{1}")] {
        std::fs::write(place.path(name), content).unwrap();
        let no = import(name);
        assert_eq!(no["code"], "not_an_export", "{no}");
        assert!(!no["next"].as_str().unwrap().is_empty());
    }
    std::fs::write(place.path("raw"), [0xff, 0xfe]).unwrap();
    assert_eq!(import("raw")["code"], "not_an_export");
    let large = std::fs::File::create(place.path("large")).unwrap();
    large.set_len((256 << 20) + 1).unwrap();
    assert_eq!(import("large")["code"], "too_large");
}

#[test]
fn what_a_result_is_a_part_of_comes_along() {
    let (here, there) = (Place::with_home(), Place::with_home());
    let lines: String = (0..4000).map(|n| format!("sail number {n} needs mending\n")).collect();
    std::fs::write(here.path("home/workspace/sails.txt"), lines).unwrap();
    let turn = here.run(&["run", "/call search_files {\"pattern\":\"sail\"}", "--json"]).json(0);
    let session = turn["session"].as_str().unwrap();
    let file = here.run(&["sessions", "export", session]).expect(0).stdout.clone();
    let parse = |line| serde_json::from_str::<Value>(line).unwrap();
    let records = file.lines().map(parse).flat_map(|line| line["entry"]["stored"]["records"].as_array().cloned());
    let spill = records.flatten().find_map(|record| record["ended"]["end"]["done"]["spill"]["id"].as_u64()).unwrap();
    assert_eq!(there.pipe(&["sessions", "import", "-"], &file).code, 0);
    let whole = format!("SELECT length(body({spill}))");
    let length = |place: &Place| place.run(&["sql", &whole, "--json"]).json(0)["rows"][0][0].clone();
    assert!(length(&there).as_u64().unwrap() > 32_768, "{}", length(&there));
    assert_eq!(length(&here), length(&there));
}
