//! `run`: the reply on stdout, talk on stderr, and an exit code that says how it ended.
use crate::place::Place;

#[test]
fn the_reply_is_stdout_and_progress_is_stderr() {
    let place = Place::with_home();
    std::fs::write(place.home().join("workspace/notes.md"), "mend the sails").unwrap();
    let ran = place.run(&["run", "read notes.md"]);
    ran.expect(0);
    assert!(ran.stdout.contains("mend the sails"));
    assert!(!ran.stdout.contains('·') && ran.stderr.contains("· read_file"));
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "no colour on a pipe");
}

#[test]
fn json_is_the_turn_as_the_api_has_it() {
    let place = Place::with_home();
    let turn = place.run(&["run", "/say all is well", "--json"]).json(0);
    assert_eq!((turn["state"].as_str(), turn["reply"].as_str()), (Some("ended"), Some("all is well")));
    assert_eq!(turn["reason"], "claimed");
    for field in ["turn", "session", "completion", "spend"] {
        assert!(!turn[field].is_null(), "{field}");
    }
    let shown = place.run(&["sessions", "show", turn["session"].as_str().unwrap(), "--json"]).json(0);
    assert_eq!(shown["state"], "idle");
}

#[test]
fn the_task_may_come_on_stdin_and_may_not_be_empty() {
    let place = Place::with_home();
    let ran = place.pipe(&["run", "-"], "/call list_dir {\"path\":\".\"}\n/then\n/say seen\n");
    assert_eq!(ran.expect(0).stdout, "seen\n");
    place.run(&["run", " "]).expect(2);
    place.run(&["run"]).expect(2);
}

#[test]
fn a_session_goes_on_where_it_was() {
    let place = Place::with_home();
    let first = place.run(&["run", "/say one", "--json"]).json(0);
    let session = first["session"].as_str().unwrap();
    let second = place.run(&["run", "/say two", "--session", session, "--json"]).json(0);
    assert_eq!(second["session"], session);
    let records = place.run(&["sessions", "export", session]);
    let texts: Vec<&str> = ["/say one", "/say two"].into_iter().filter(|text| records.stdout.contains(text)).collect();
    assert_eq!(texts.len(), 2);
    for line in records.stdout.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn what_is_not_there_is_exit_5() {
    let place = Place::empty();
    assert_eq!(place.run(&["run", "hello", "--json"]).error(5)["code"], "no_home");
    let place = Place::with_home();
    place.run(&["run", "hello", "--agent", "nobody"]).expect(5);
    place.run(&["trace", "0000000000000001.2"]).expect(5);
    place.run(&["approve", "0000000000000001.2"]).expect(5);
    place.run(&["trace", "nonsense"]).expect(2);
}

#[test]
fn a_model_that_cannot_be_used_is_a_mistake_in_the_config() {
    let place = Place::with_home();
    let ran = place.run(&["run", "/fail auth"]);
    ran.expect(2);
    assert!(ran.stderr.contains("ended early: auth"));
}
