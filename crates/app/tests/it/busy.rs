//! One process holds a home; the others speak to it, or are told that it is busy.
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::place::Place;

#[test]
fn commands_go_through_the_running_process() {
    let place = Place::with_home();
    let served = place.serve();
    assert_eq!(place.run(&["status", "--json"]).json(0)["running"], true);
    assert_eq!(place.run(&["run", "/say through the socket"]).expect(0).stdout, "through the socket\n");
    assert_eq!(place.pipe(&["chat"], "/say one\n/say two\n").expect(0).stdout, "one\ntwo\n");
    place.run(&["run", "write the report"]).expect(4);
    let found = place.run(&["approvals", "--json"]).json(0);
    place.run(&["approve", found["approvals"][0]["id"].as_str().unwrap()]).expect(0);
    place.run(&["freeze"]).expect(0);
    place.run(&["run", "hello"]).expect(3);
    assert_eq!(served.stop(), 0);
    assert!(!place.home().join("backstay.sock").exists());
    assert_eq!(place.run(&["status", "--json"]).json(0)["running"], false);
    assert_eq!(place.run(&["status", "--json"]).json(0)["frozen"], true);
}

#[test]
fn a_second_server_is_exit_6() {
    let place = Place::with_home();
    let served = place.serve();
    let error = place.run(&["serve", "--json"]).error(6);
    assert_eq!(error["code"], "busy");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&format!("already served by process {} (", served.id())), "{message}");
    assert!(error["next"].as_str().unwrap().starts_with("backstay status"));
    let error = place.run(&["init", "--json"]).error(3);
    assert_eq!(error["code"], "exists");
}

#[test]
fn a_home_that_another_command_holds_is_waited_for() {
    let place = Place::with_home();
    let children: Vec<_> = (0..4)
        .map(|_| place.command(&["run", "/say done"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A lock that nobody gives back and no socket beside it: as a command that hangs would look.
#[test]
fn who_holds_a_home_is_named() {
    let place = Place::with_home();
    let lock = std::fs::File::open(place.home().join("state.lock")).unwrap();
    lock.lock().unwrap();
    let error = place.run(&["run", "hello", "--json"]).error(6);
    assert!(error["message"].as_str().unwrap().starts_with(&format!("process {} (", std::process::id())), "{error}");
    assert_eq!(place.run(&["--json"]).json(0)["state"], "busy");
}

#[test]
fn the_journal_answers_through_the_running_process() {
    let place = Place::with_home();
    let _served = place.serve();
    place.run(&["audit", "verify"]).expect(0);
    assert_eq!(place.run(&["sql", "SELECT 1 AS one", "--json"]).json(0)["rows"][0][0], 1);
}

#[test]
fn a_socket_that_a_killed_process_left_is_not_believed() {
    let place = Place::with_home();
    place.serve().kill();
    assert!(place.home().join("backstay.sock").exists());
    assert_eq!(place.run(&["status", "--json"]).json(0)["running"], false);
    place.run(&["run", "hello"]).expect(0);
    assert_eq!(place.run(&["--json"]).json(0)["state"], "stopped");
    let _served = place.serve();
    assert_eq!(place.run(&["--json"]).json(0)["state"], "running");
}

#[test]
fn a_reload_puts_a_good_config_in_force_and_refuses_a_bad_one() {
    let place = Place::with_home();
    let _served = place.serve();
    assert_eq!(place.run(&["reload", "--json"]).json(0)["changed"], false);
    let good = place.config();
    place.write_config(&format!("{good}\n[principals.app]\nrole = \"user\"\n"));
    place.run(&["tokens", "create", "--principal", "app", "--speaks", "program", "--scope", "chat"]).expect(5);
    assert_eq!(place.run(&["reload", "--json"]).json(0)["changed"], true);
    place.run(&["tokens", "create", "--principal", "app", "--speaks", "program", "--scope", "chat"]).expect(0);
    place.write_config(&good.replace("[agents.main]", "[agents.main]\nmodle = \"x\""));
    let bad = place.run(&["reload"]);
    bad.expect(2);
    assert!(bad.stderr.contains("did you mean `model`?"), "{}", bad.stderr);
    place.run(&["run", "hello"]).expect(0);
}

#[test]
fn a_token_can_be_made_listed_and_ended() {
    let place = Place::with_home();
    place.run(&["tokens", "create", "--principal", "owner"]).expect(2);
    let made = place
        .run(&["tokens", "create", "--principal", "owner", "--speaks", "human", "--scope", "approve", "--json"])
        .json(0);
    let id = made["id"].as_str().unwrap();
    assert!(made["token"].as_str().unwrap().starts_with(id));
    place.run(&["tokens", "revoke", id]).expect(0);
    place.run(&["tokens", "revoke", id]).expect(5);
    place.run(&["tokens", "revoke", "../x"]).expect(2);
    let left = place.run(&["tokens", "list", "--json"]).json(0)["tokens"].clone();
    let scopes: Vec<_> = left.as_array().unwrap().iter().map(|token| token["scope"].as_str().unwrap()).collect();
    assert!(scopes.len() == 2 && scopes.contains(&"chat") && scopes.contains(&"operate"), "those of `init`: {left}");
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let place = Place::with_home();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = place.command(&["serve", "--json"]).stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ran = place.run(&["run", "/say all the same"]);
    let running = place.run(&["status", "--json"]).json(0)["running"].clone();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("\"listen\"") && running == true, "{line}");
    assert_eq!(ran.expect(0).stdout, "all the same\n");
}

#[test]
fn a_reload_says_what_only_a_restart_changes() {
    let place = Place::with_home();
    let _served = place.serve();
    place.write_config(&place.config().replace("127.0.0.1:0", "127.0.0.1:1"));
    let ran = place.run(&["reload"]);
    assert!(ran.expect(0).stdout.contains("after a restart: server.listen"), "{}", ran.stdout);
}

/// What collects a log reads it line by line; a line that is no JSON is a line that is lost.
#[test]
fn a_log_that_a_program_collects_is_json_to_the_last_line() {
    let place = Place::with_home();
    let mut child = place.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("\"listening\""), "{first}");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    for line in [first].into_iter().chain(lines.map(Result::unwrap)) {
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        for field in ["timestamp", "level", "target", "fields"] {
            assert!(!entry[field].is_null(), "{field}: {line}");
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
