//! `chat` on a pipe: a line is a message, a reply is stdout.
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use crate::place::Place;
use crate::terminal::Terminal;

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
fn a_yes_that_was_written_before_the_question_is_no_yes() {
    let place = Place::with_home();
    for blind in ["yes", "/approve", "/approve 0000000000000001.2"] {
        let ran = place.pipe(&["chat"], &format!("write the report\n{blind}\n"));
        assert!(ran.expect(4).stderr.contains("backstay approve"), "{}", ran.stderr);
    }
    assert!(!place.home().join("workspace/out/reports/rehearsal.md").exists());
}

/// A program at the other end reads which action waits, and names it.
fn answered(place: &Place, word: &str) -> (i32, String) {
    let mut command = place.command(&["chat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    writeln!(keys, "write the report").unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    let asked = talk.find_map(|line| Some(line.unwrap().split_once("Answer with: /approve ")?.1.to_owned())).unwrap();
    let id = asked.split(' ').next().unwrap();
    writeln!(keys, "/{word} {id} by hand").unwrap();
    drop(keys);
    // Whoever leaves a pipe unread may block the other side.
    talk.for_each(drop);
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_pipe_answers_the_action_that_it_names() {
    let place = Place::with_home();
    let report = place.home().join("workspace/out/reports/rehearsal.md");
    assert_eq!(answered(&place, "deny").0, 0);
    assert!(!report.exists());
    let (code, reply) = answered(&place, "approve");
    assert_eq!(code, 0, "{reply}");
    assert!(report.exists());
    let notes =
        place.run(&["sql", "SELECT body(CAST(data ->> '$.note.id' AS INTEGER)) FROM v_records WHERE kind = 'decided'"]);
    assert_eq!(notes.expect(0).stdout.matches("by hand").count(), 2, "{}", notes.stdout);
}

#[test]
fn the_chats_own_commands_work_on_a_pipe() {
    let place = Place::with_home();
    let ran = place.pipe(&["chat"], "/trace\n/say one\n/trace\n/new\n/help\n/say two\n/quit\n/say three\n");
    ran.expect(0);
    assert!(ran.stdout.starts_with("one\nturn ") && ran.stdout.ends_with("two\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("nothing was said yet") && ran.stderr.contains("/approve ID"), "{}", ran.stderr);
    let sessions = place.run(&["sessions", "list", "--json"]).json(0);
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2);
}

#[test]
fn a_person_is_asked_where_the_work_happens() {
    let place = Place::with_home();
    let mut terminal = Terminal::open(&place, &["chat"], 80);
    terminal.wait_for("> ");
    terminal.key_in("write the report\n");
    assert!(terminal.wait_for("Allow this?").contains("out/reports/rehearsal.md"));
    terminal.key_in("maybe\n");
    terminal.wait_for("Allow this?");
    terminal.key_in("yes\n");
    terminal.wait_for("> ");
    assert!(place.home().join("workspace/out/reports/rehearsal.md").exists());
    terminal.key_in("\u{4}");
    assert_eq!(terminal.end().1, 0);
}

#[test]
fn ctrl_c_ends_the_turn_and_twice_leaves() {
    let place = Place::with_home();
    let mut terminal = Terminal::open(&place, &["chat"], 200);
    terminal.wait_for("> ");
    terminal.key_in("/fail wait 3600000\n");
    let said = terminal.wait_for("Ctrl-C ends the turn");
    assert!(said.contains("waiting for default at rehearsal until ") && said.contains("attempt 2 of 10"), "{said}");
    terminal.key_in("\u{3}");
    terminal.wait_for("(the turn was ended before its reply)");
    terminal.wait_for("> ");
    terminal.key_in("/say still here\n");
    terminal.wait_for("still here\r\n> ");
    terminal.key_in("\u{3}");
    terminal.wait_for("leaves)");
    terminal.key_in("\u{3}");
    assert_eq!(terminal.end().1, 0);
}

#[test]
fn whoever_comes_back_is_asked_what_still_waits() {
    let place = Place::with_home();
    let turn = place.run(&["run", "write the report", "--json"]).json(4);
    let session = turn["session"].as_str().unwrap();
    let mut terminal = Terminal::open(&place, &["chat", "--session", session], 80);
    terminal.wait_for("Allow this?");
    terminal.key_in("no not today\n");
    terminal.wait_for("> ");
    terminal.key_in("/quit\n");
    assert_eq!(terminal.end().1, 0);
    assert!(!place.home().join("workspace/out/reports/rehearsal.md").exists());
    assert_eq!(place.run(&["approvals", "--json"]).json(0)["approvals"], serde_json::json!([]));
}

/// The line of a wait is cut to the terminal, since a broken line could not be taken back.
#[test]
fn a_narrow_terminal_is_enough() {
    let place = Place::with_home();
    let mut terminal = Terminal::open(&place, &["run", "/fail wait 3600000"], 20);
    let waiting = terminal.wait_for("…");
    let line = waiting.rsplit('\n').next().unwrap();
    assert_eq!(line.chars().count(), 19, "{line}");
    terminal.key_in("\u{3}");
    assert_eq!(terminal.end().1, 3);
    let mut terminal = Terminal::open(&place, &["chat"], 20);
    terminal.wait_for("> ");
    terminal.key_in("/say narrow\n");
    terminal.wait_for("narrow\r\n> ");
    terminal.key_in("\u{4}");
    assert_eq!(terminal.end().1, 0);
    place.run(&["status"]).expect(0);
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
