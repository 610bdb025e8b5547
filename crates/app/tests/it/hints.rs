//! What a command says when it cannot do what was asked: a code, words, and a way on that works as
//! it is printed, also for a home that is not the usual one.
use serde_json::Value;

use crate::place::{Place, Ran};

/// The binary for a home that only `--home` names.
fn elsewhere(place: &Place, arguments: &[&str]) -> Ran {
    let home = place.home();
    let mut command = place.command(&["--home", home.to_str().unwrap()]);
    Ran::of(&command.env_remove("BACKSTAY_HOME").args(arguments).output().unwrap())
}

#[test]
fn a_hint_names_the_home_that_was_given() {
    let place = Place::with_home();
    let command = format!("backstay --home {}", place.home().display());
    elsewhere(&place, &["freeze"]).expect(0);
    let refused = elsewhere(&place, &["run", "hello", "--json"]).error(3);
    assert_eq!(refused["next"], format!("{command} unfreeze"));
    elsewhere(&place, &["unfreeze"]).expect(0);
    let waits = elsewhere(&place, &["run", "write the report"]);
    assert!(waits.expect(4).stderr.contains(&format!("next: {command} approve ")), "{}", waits.stderr);
    let unknown = elsewhere(&place, &["sessions", "show", "0000000000000001"]);
    assert!(unknown.expect(5).stderr.contains(&format!("`{command} sessions list`")), "{}", unknown.stderr);
    let doctor = elsewhere(&place, &["doctor"]);
    assert!(doctor.expect(0).stdout.contains(&format!("next: {command} serve")), "{}", doctor.stdout);
}

#[test]
fn the_way_to_a_home_that_is_not_there_makes_it() {
    let place = Place::empty();
    let error = elsewhere(&place, &["status", "--json"]).error(5);
    assert_eq!(error["code"], "no_home");
    let next = error["next"].as_str().unwrap().to_owned();
    let words: Vec<&str> = next.split(' ').skip(1).collect();
    place.run(&words).expect(0);
    elsewhere(&place, &["status"]).expect(0);
}

#[test]
fn what_is_not_there_has_a_code_and_a_next_step() {
    let place = Place::with_home();
    let nobody = "0000000000000001";
    let turn = place.run(&["run", "/say one", "--json"]).json(0);
    let effect = format!("{}.999", turn["session"].as_str().unwrap());
    let steps: [(&[&str], &str, &str); 9] = [
        (&["run", "x", "--agent", "nobody"], "unknown_agent", "main"),
        (&["run", "x", "--session", nobody], "not_found", "backstay sessions list"),
        (&["sessions", "show", nobody], "not_found", "backstay sessions list"),
        (&["trace", &effect], "not_found", "backstay sessions list"),
        (&["approve", &effect], "no_such_approval", "backstay approvals"),
        (&["answer", &effect, "x"], "no_such_question", "backstay status"),
        (&["resolve", &effect, "done", "--note", "x"], "no_such_doubt", "backstay doubts"),
        (&["tokens", "revoke", "bks_0000"], "no_such_token", "backstay tokens list"),
        (
            &["tokens", "create", "--principal", "x", "--speaks", "human", "--scope", "approve"],
            "unknown_principal",
            "[principals",
        ),
    ];
    for (arguments, code, next) in steps {
        let error = place.run(&[arguments, &["--json"]].concat()).error(5);
        assert_eq!(error["code"], code, "{arguments:?}");
        assert!(error["next"].as_str().unwrap().contains(next), "{arguments:?}: {error}");
    }
}

#[test]
fn a_wrong_command_line_is_json_where_json_is_asked_for() {
    let place = Place::empty();
    let steps: [(&[&str], &str, &str); 5] = [
        (&["--json", "nonsense"], "nonsense", "backstay --help"),
        (&["approve", "--json"], "<ID>", "backstay approve --help"),
        (&["tokens", "create", "--json"], "--principal", "backstay tokens create --help"),
        (&["--json", "trace", "x"], "SESSION.NUMBER", "backstay --help"),
        (&["--json", "sessions"], "subcommand", "backstay sessions --help"),
    ];
    for (arguments, said, next) in steps {
        let error = place.run(arguments).error(2);
        assert_eq!((&error["code"], &error["next"]), (&Value::from("usage"), &Value::from(next)), "{arguments:?}");
        assert!(error["message"].as_str().unwrap().contains(said), "{arguments:?}: {error}");
    }
    let digest = place.run(&["approve", "0000000000000001.2", "--digest", "00", "--json"]).error(2);
    assert!(digest["message"].as_str().unwrap().contains("64 hexadecimal digits"), "{digest}");
    let home = Place::with_home();
    let empty = home.run(&["sql", " ", "--json"]).error(2);
    assert_eq!((&empty["message"], &empty["code"]), (&"the query is empty".into(), &"usage".into()));
    let words = place.run(&["approve", "--", "--json"]);
    assert!(words.expect(2).stderr.starts_with("error: "), "after `--` it is no flag: {}", words.stderr);
}

#[test]
fn words_that_are_not_utf_8_are_a_mistake_and_not_a_crash() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::with_home();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let ran = Ran::of(&place.command(&["run", "--json"]).arg(odd).output().unwrap());
    assert_eq!(ran.error(2)["code"], "usage");
    let ran = Ran::of(&place.command(&["init", "--json", "--home"]).arg(place.path("").join(odd)).output().unwrap());
    assert!(ran.error(2)["message"].as_str().unwrap().ends_with("is not UTF-8"));
}

/// Data is JSON and nothing but: whatever is said beside it goes to stderr.
#[test]
fn stdout_is_json_for_every_command_that_is_asked_for_it() {
    let place = Place::with_home();
    let turn = place.run(&["run", "/say one", "--json"]).json(0);
    let (turn, session) = (turn["turn"].as_str().unwrap().to_owned(), turn["session"].as_str().unwrap().to_owned());
    let waits = place.run(&["run", "write the report", "--json"]).json(4);
    let copy = place.path("copy");
    let commands: [&[&str]; 26] = [
        &[],
        &["status"],
        &["doctor"],
        &["sessions", "list"],
        &["sessions", "show", &session],
        &["sessions", "export", &session],
        &["trace"],
        &["trace", &turn],
        &["trace", "--as-sent", "1"],
        &["approvals"],
        &["doubts"],
        &["budget"],
        &["config", "check"],
        &["config", "show"],
        &["config", "schema"],
        &["completions", "bash"],
        &["reference", "cli"],
        &["tokens", "list"],
        &["tokens", "create", "--principal", "owner", "--speaks", "human", "--scope", "approve"],
        &["audit", "verify"],
        &["sql", "SELECT 1"],
        &["approve", waits["id"].as_str().unwrap()],
        &["stop", &session],
        &["freeze"],
        &["unfreeze"],
        &["backup", copy.to_str().unwrap()],
    ];
    for arguments in commands {
        let ran = place.run(&[arguments, &["--json"]].concat());
        ran.expect(0);
        assert_ne!(ran.stdout, "", "{arguments:?}");
        for line in ran.stdout.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{arguments:?}: {line}"));
        }
    }
}

/// What waits and what is told of it, in a home that does nothing until it is let go on.
#[test]
fn whatever_a_freeze_holds_up_says_so() {
    let place = Place::with_home();
    let provider = place.run(&["run", "/fail wait 1", "--json"]).json(4);
    assert_eq!(provider["wait"], "provider");
    assert!(provider["until"].as_u64() > provider["started_at"].as_u64(), "{provider}");
    let asked = place.run(&["run", "write the report", "--json"]).json(4);
    let question = place.run(&["run", "ask me something", "--json"]).json(4);
    place.run(&["freeze"]).expect(0);
    let id = |turn: &Value| turn["id"].as_str().unwrap().to_owned();
    for arguments in [&["approve", &id(&asked)][..], &["answer", &id(&question), "Bergen"]] {
        let answered = place.run(arguments);
        let told = &answered.expect(4).stderr;
        assert!(told.contains("stands still, since the home is frozen.\n  next: backstay unfreeze\n"), "{told}");
        assert!(!told.contains("goes on with the turn"), "{told}");
    }
    let session = provider["session"].as_str().unwrap();
    let resumed = place.pipe(&["chat", "--session", session], "/say on\n");
    assert!(resumed.expect(4).stderr.contains("backstay unfreeze"), "{}", resumed.stderr);
    assert!(resumed.stderr.contains("(1 line of stdin not read"), "{}", resumed.stderr);
    let shown = place.run(&["sessions", "show", session, "--json"]).json(0);
    assert_eq!((&shown["wait"], &shown["until"]), (&"frozen".into(), &Value::Null));
}
