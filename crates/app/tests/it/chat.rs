//! `chat` on a pipe: a line is a message, a reply is stdout.
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use crate::place::{Place, Ran, interrupt};
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
    let steps = [
        ("yes", "Line 2 is no answer"),
        ("y", "Line 2"),
        ("/approve", "it is "),
        ("/deny 0000000000000001.2", "it is "),
    ];
    for (blind, why) in steps {
        let ran = place.pipe(&["chat"], &format!("write the report\n{blind}\n\n/say more\n/say most\n"));
        assert!(ran.expect(4).stderr.contains("backstay approve") && ran.stderr.contains(why), "{}", ran.stderr);
        assert!(ran.stderr.ends_with("(2 lines of stdin not read, from line 4 on: /say more)\n"), "{}", ran.stderr);
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
    assert!(ran.stderr.ends_with("(1 line of stdin not read, from line 8 on: /say three)\n"), "{}", ran.stderr);
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
    for unclear in ["maybe", "yes but another file", "/say yes"] {
        terminal.key_in(&format!("{unclear}\n"));
        terminal.wait_for("no answer: y or yes allows exactly this");
        terminal.wait_for("Allow this?");
    }
    let report = place.home().join("workspace/out/reports/rehearsal.md");
    assert!(!report.exists());
    terminal.key_in("y\n");
    terminal.wait_for("\r\n> ");
    assert!(report.exists());
    for (no, reason) in [("n\n", "denied"), ("No, not now\n", "denied"), ("/deny too late\n", "denials")] {
        terminal.key_in("write the report\n");
        terminal.wait_for("Allow this?");
        terminal.key_in(no);
        terminal.wait_for(reason);
        terminal.wait_for("\r\n> ");
    }
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

#[test]
fn the_chats_own_commands_work_where_an_answer_is_asked_for() {
    let place = Place::with_home();
    let mut terminal = Terminal::open(&place, &["chat"], 200);
    terminal.wait_for("> ");
    for (task, prompt) in [("write the report", "Allow this?"), ("ask me something", "Your answer:")] {
        terminal.key_in(&format!("{task}\n"));
        terminal.wait_for(prompt);
        terminal.key_in("/help\n");
        terminal.wait_for("begin another session");
        terminal.wait_for(prompt);
        terminal.key_in("/trace\n");
        terminal.wait_for(&format!("(internal, trusted, of principal): {task}"));
        terminal.wait_for(prompt);
        terminal.key_in("/approve 0000000000000001.2\n");
        terminal.wait_for(if prompt == "Allow this?" {
            "not the action that waits"
        } else {
            "no action of this session"
        });
        terminal.wait_for(prompt);
        terminal.key_in("/new\n");
        terminal.wait_for("next: backstay ");
        terminal.wait_for("Session ");
        terminal.wait_for("\r\n> ");
    }
    terminal.key_in("write the report\n");
    terminal.wait_for("Allow this?");
    terminal.key_in("/quit\n");
    terminal.wait_for("waits for a yes");
    assert_eq!(terminal.end().1, 0);
    let status = place.run(&["status", "--json"]).json(0);
    assert_eq!(status["waits"], serde_json::json!({ "approvals": 2, "parked": 0, "questions": 1, "doubts": 0 }));
}

#[test]
fn a_yes_where_nothing_waits_is_not_said_to_the_model() {
    let place = Place::with_home();
    for word in ["/approve", "/approve x", "/deny 0000000000000001.2"] {
        let ran = place.pipe(&["chat"], &format!("{word}\n/say on\n"));
        assert!(ran.expect(5).stderr.contains("no action of this session waits for a yes"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "on\n");
    }
    let said = place.run(&["sql", "SELECT count(*) FROM v_turns", "--json"]).json(0);
    assert_eq!(said["rows"][0][0], 3);
}

#[test]
fn what_is_typed_while_the_agent_is_at_work_is_said_later_and_own_commands_at_once() {
    let place = Place::with_home();
    let mut terminal = Terminal::open(&place, &["chat"], 200);
    terminal.wait_for("> ");
    terminal.key_in("/fail wait 3600000\n");
    terminal.wait_for("Ctrl-C ends the turn");
    terminal.key_in("/trace\n");
    terminal.wait_for("(internal, trusted, of principal): /fail wait");
    terminal.key_in("/say never\n");
    terminal.wait_for("(said when this turn ends");
    terminal.key_in("\u{3}");
    terminal.wait_for("(not said, of 1 typed ahead: /say never)");
    terminal.wait_for("\r\n> ");
    terminal.key_in("/fail wait 3600000\n");
    terminal.wait_for("Ctrl-C ends the turn");
    terminal.key_in("/say later\n");
    terminal.wait_for("(said when this turn ends");
    // Ctrl-D waits for the turn; a second Ctrl-C does not.
    terminal.key_in("\u{4}");
    terminal.wait_for("(leaving when this turn ends");
    terminal.key_in("\u{3}");
    terminal.wait_for("typed ahead: /say later)");
    terminal.wait_for("Go on with: backstay chat --session ");
    assert_eq!(terminal.end().1, 0);
    assert!(!place.run(&["sql", "SELECT bytes FROM bodies", "--json"]).expect(0).stdout.contains("later"));
}

#[test]
fn quitting_beside_a_turn_says_how_to_come_back_to_it() {
    let place = Place::with_home();
    let mut terminal = Terminal::open(&place, &["chat"], 200);
    terminal.wait_for("> ");
    terminal.key_in("/fail wait 3600000\n");
    terminal.wait_for("Ctrl-C ends the turn");
    terminal.key_in("/quit\n");
    let said = terminal.wait_for("next: backstay chat --session ");
    assert!(said.contains(" is not over."), "{said}");
    assert_eq!(terminal.end().1, 0);
}

#[test]
fn ctrl_c_takes_back_the_lines_of_a_message_before_it_leaves() {
    let place = Place::with_home();
    let mut terminal = Terminal::open(&place, &["chat"], 80);
    terminal.wait_for("> ");
    terminal.key_in("/say gone\\\n");
    terminal.wait_for("… ");
    terminal.key_in("\u{3}");
    terminal.wait_for("\r\n> ");
    terminal.key_in("\u{3}");
    terminal.wait_for("(Ctrl-C again, Ctrl-D or /quit leaves)\r\n> ");
    terminal.key_in("/call list_dir {\"path\":\".\"}\\\n/say two lines\n");
    terminal.wait_for("list_dir: done");
    terminal.wait_for("\ntwo lines\r\n> ");
    terminal.key_in("\u{4}");
    assert_eq!(terminal.end().1, 0);
}

#[test]
fn an_action_that_expires_is_told_where_it_is_asked_about() {
    let place = Place::with_home();
    place.write_config(&place.config().replace("expires = \"10m\"", "expires = \"1s\""));
    let mut terminal = Terminal::open(&place, &["chat"], 80);
    terminal.wait_for("> ");
    terminal.key_in("write the report\n");
    terminal.wait_for("Allow this?");
    terminal.wait_for("(expired, which is a no)");
    terminal.wait_for("\r\n> ");
}

#[test]
fn a_yes_that_is_refused_is_asked_for_again() {
    let place = Place::with_home();
    place.write_config(&place.config().replace("expires = \"10m\"", "speaks = \"human\""));
    let mut command = place.command(&["chat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    writeln!(keys, "write the report").unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let ask = |line: String| Some(line.split_once("Answer with: /approve ")?.1.split(' ').next()?.to_owned());
    let id = talk.by_ref().find_map(ask).unwrap();
    writeln!(keys, "/approve {id}").unwrap();
    assert_eq!(talk.by_ref().find_map(ask).unwrap(), id);
    writeln!(keys, "/deny {id}").unwrap();
    drop(keys);
    talk.for_each(drop);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(3), "the first yes was refused");
}

#[test]
fn a_line_that_is_no_text_ends_a_pipe_with_its_number() {
    let place = Place::with_home();
    let mut command = place.command(&["chat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"/say one\n/say caf\xe9\n/say three\n\n/say five").unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!(ran.expect(2).stdout, "one\n");
    assert!(ran.stderr.contains("line 2 of stdin is not UTF-8\n  next: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("(2 lines of stdin not read, from line 3 on: /say three)"), "{}", ran.stderr);
    let long = format!("/say {}\n", "x".repeat(1024 * 1024));
    assert!(place.pipe(&["chat"], &long).expect(2).stderr.contains("line 1 of stdin has more than 1048576 bytes"));
}

#[test]
fn stdin_that_cannot_be_read_is_told() {
    let place = Place::with_home();
    let directory = std::fs::File::open(place.home()).unwrap();
    let ran = Ran::of(&place.command(&["chat", "--json"]).stdin(directory).output().unwrap());
    assert!(ran.error(2)["message"].as_str().unwrap().starts_with("stdin cannot be read: "));
}

/// A writer that does not stop is not waited for.
#[test]
fn of_a_pipe_without_an_end_so_many_lines_are_counted() {
    let place = Place::with_home();
    let mut child = place.command(&["chat"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    writeln!(keys, "/quit").unwrap();
    while writeln!(keys, "/say more").is_ok() {}
    let talk = Ran::of(&child.wait_with_output().unwrap()).expect(0).stderr.clone();
    assert!(
        talk.starts_with("(more than ") && talk.ends_with(" lines of stdin not read, from line 2 on: /say more)\n"),
        "{talk}"
    );
}

#[test]
fn the_exit_code_of_a_pipe_is_that_of_its_first_bad_end() {
    let place = Place::with_home();
    assert_eq!(place.pipe(&["chat"], "/fail auth\n/say on\n").expect(2).stdout, "on\n");
}

#[test]
fn ctrl_c_ends_a_pipe_whatever_is_left_in_it() {
    let place = Place::with_home();
    let mut command = place.command(&["chat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    writeln!(keys, "/fail wait 3600000\n/say more").unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    talk.by_ref().find(|line| line.contains("Ctrl-C ends the turn")).unwrap();
    interrupt(&child);
    let rest: Vec<String> = talk.collect();
    assert!(rest.last().unwrap().contains("(1 line of stdin not read, from line 2 on: /say more)"), "{rest:#?}");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(3));
}
