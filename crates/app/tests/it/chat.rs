//! `chat` on a pipe: a line is a message, a reply is stdout.
use std::process::Stdio;

use crate::place::Place;

#[test]
fn every_line_is_a_message_and_every_reply_is_stdout() {
    let place = Place::with_home();
    let ran = place.pipe(&["chat"], "/say one\n\n/say two\n");
    assert_eq!(ran.expect(0).stdout, "one\ntwo\n");
    assert_eq!(ran.stderr, "", "nothing prompts without a terminal");
    let sessions = place.run(&["sessions", "list", "--json"]).json(0);
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn json_is_one_turn_per_line() {
    let place = Place::with_home();
    let ran = place.pipe(&["chat", "--json"], "/say one\n/say two\n");
    let replies: Vec<String> = ran
        .expect(0)
        .stdout
        .lines()
        .map(|line| {
            let turn: serde_json::Value = serde_json::from_str(line).unwrap();
            turn["reply"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(replies, ["one", "two"]);
}

#[test]
fn the_next_line_answers_a_question() {
    let place = Place::with_home();
    let ran = place.pipe(&["chat"], "ask me something\nBergen\n");
    assert!(ran.expect(0).stdout.contains("Bergen"));
    assert!(ran.stderr.contains("The agent asks"));
    place.pipe(&["chat"], "ask me something\n").expect(4);
}

#[test]
fn a_pipe_says_no_yes() {
    let place = Place::with_home();
    let ran = place.pipe(&["chat"], "write the report\nyes\n");
    assert!(ran.expect(4).stderr.contains("backstay approve"), "{}", ran.stderr);
    assert!(!place.home().join("workspace/out/reports/rehearsal.md").exists());
}

#[test]
fn a_reader_that_leaves_is_no_fault() {
    let place = Place::with_home();
    let mut child =
        place.command(&["run", "/big 100000"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
