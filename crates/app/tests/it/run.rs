//! `run`: the reply on stdout, talk on stderr, and an exit code that says how it ended.
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use crate::place::{Place, Ran, interrupt};
use crate::scripted::{Scripted, response};

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
    let shown = place.run(&["sessions", "show", turn["session"].as_str().unwrap()]).expect(0).stdout.clone();
    assert!(shown.contains("\nlabel      internal, untrusted, of config+principal+model\n"), "{shown}");
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

/// The reason stands where the turn ends, with the place in the config that mends it.
#[test]
fn a_provider_that_refuses_is_told_with_its_words_and_the_way_on() {
    let body = r#"{"error":{"message":"there is no model m here"}}"#;
    for (status, code, next) in [
        ("401 Unauthorized", "auth", "backstay doctor --providers; the key is the one in `MODEL_KEY`"),
        ("404 Not Found", "invalid", "check [models.default] name in backstay.toml; backstay doctor --providers"),
    ] {
        let model = Scripted::playing(vec![response(status, "content-type: application/json\r\n", body)]);
        let place = Place::empty();
        place.run(&["init"]).expect(0);
        place.write_config(&model.config(""));
        let keyed = |arguments: &[&str], stdin: &str| {
            let mut command = place.command(arguments);
            let mut child = command
                .env("MODEL_KEY", "k")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
            Ran::of(&child.wait_with_output().unwrap())
        };
        for ran in [keyed(&["run", "hello"], ""), keyed(&["chat"], "hello\n")] {
            let said = &ran.expect(2).stderr;
            let expected =
                format!("(the turn ended early: {code})\n  default at p, {}: status {}", model.url, &status[..3]);
            assert!(said.contains(&expected) && said.contains("there is no model m here"), "{said}");
            assert!(said.contains(&format!("next: {next}")), "{said}");
        }
        let trace = keyed(&["trace"], "");
        assert!(trace.stdout.contains(&format!("the model failed ({code}): status ")), "{}", trace.stdout);
    }
}

#[test]
fn a_turn_at_an_end_of_its_means_says_what_gives_it_more() {
    let place = Place::with_home();
    let config = place.config();
    for (more, reason, next) in [
        ("[agents.main.caps]\nsteps = 1\n", "cap steps", "to go on, or raise [agents.NAME.caps]"),
        ("[home.budget]\ntokens_per_turn = 1\n", "cap turn budget", "backstay budget"),
    ] {
        place.write_config(&format!("{config}\n{more}"));
        let ran = place.run(&["run", "/call list_dir {\"path\":\".\"}"]);
        let said = &ran.expect(3).stderr;
        assert!(said.contains(&format!("(the turn ended early: {reason})")), "{said}");
        let told = said.split_once("next: ").map_or("", |(_, told)| told);
        assert!(told.contains(next), "{said}");
    }
}

#[test]
fn a_key_is_spoken_of_as_it_was_given() {
    let place = Place::with_home();
    for empty in ["", " "] {
        assert_eq!(place.run(&["run", "/say one", "--key", empty, "--json"]).error(2)["message"], "--key is empty");
    }
    place.run(&["run", "/say one", "--key", "k1"]).expect(0);
    let reused = place.run(&["run", "/say two", "--key", "k1", "--json"]).error(3);
    assert_eq!(
        (&reused["code"], reused["message"].as_str().unwrap().split(' ').next()),
        (&"key_reused".into(), Some("--key"))
    );
}

#[test]
fn help_is_a_command_too() {
    let place = Place::empty();
    assert!(place.run(&["help"]).expect(0).stdout.contains("quickstart"));
    assert!(place.run(&["help", "run"]).expect(0).stdout.contains("What to do; `-` reads it from stdin"));
    assert!(place.run(&["help", "tokens", "create"]).expect(0).stdout.contains("--principal"));
}

/// One line, however long it takes, and Ctrl-C ends the turn and not only the command.
#[test]
fn a_wait_is_told_once_on_a_pipe_and_can_be_ended() {
    let place = Place::with_home();
    let mut command = place.command(&["run", "/fail wait 3600000", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    let waiting = talk.next().unwrap().unwrap();
    assert!(
        waiting.contains("waiting for default at rehearsal until ") && waiting.contains("attempt 2 of 10"),
        "{waiting}"
    );
    interrupt(&child);
    let rest: Vec<String> = talk.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{rest:?}");
    assert!(rest.iter().all(|line| !line.contains("waiting for")), "{rest:?}");
    let turn: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&turn["state"], &turn["reason"]), (&"ended".into(), &"stopped_by_user".into()));
}

#[test]
fn short_waits_do_not_flood_a_pipe() {
    let place = Place::with_home();
    let mut child = place.command(&["run", "/fail wait 1"]).stderr(Stdio::piped()).spawn().unwrap();
    let talk: Vec<String> = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let waits = talk.iter().filter(|line| line.contains("waiting for default")).count();
    assert_eq!(waits, 2, "the first attempt, and the long wait after ten: {talk:#?}");
    assert!(talk.iter().any(|line| line.contains("until ") && line.contains("goes on by itself")), "{talk:#?}");
}

#[test]
fn the_latest_turn_is_traced_without_its_id() {
    let place = Place::with_home();
    assert_eq!(place.run(&["trace", "--json"]).error(5)["code"], "no_turn");
    let first = place.run(&["run", "/say one", "--json"]).json(0);
    place.run(&["run", "/say two"]).expect(0);
    let latest = place.run(&["trace"]);
    assert!(latest.expect(0).stdout.contains("/say two"), "{}", latest.stdout);
    place.run(&["run", "/say three", "--session", first["session"].as_str().unwrap()]).expect(0);
    let sent = place.run(&["trace", "--as-sent", "1"]);
    assert!(sent.expect(0).stdout.contains("/say three"), "the session in which something happened last");
}

#[test]
fn the_latest_turn_is_found_behind_more_texts_than_a_page_of_records_has() {
    let place = Place::with_home();
    let first = place.run(&["run", "/say one", "--json"]).json(0);
    let session = first["session"].as_str().unwrap();
    // Longer than the model takes: each is a message and no reply.
    for _ in 0..5 {
        place.pipe(&["run", "-", "--session", session], &"x".repeat(900_000)).expect(3);
    }
    place.run(&["run", "/say last", "--session", session]).expect(0);
    let latest = place.run(&["trace"]);
    assert!(latest.expect(0).stdout.contains("/say last"), "{:.300}", latest.stdout);
}

/// A script that keeps the output must not take half of it for all.
#[test]
fn a_stdout_that_takes_nothing_is_a_fault() {
    let place = Place::with_home();
    let full = |arguments: &[&str]| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        Ran::of(&place.command(arguments).stdout(full).output().unwrap())
    };
    for arguments in [&["status"][..], &["run", "/say one"], &["trace", "--json"], &["completions", "bash"], &["help"]]
    {
        let ran = full(arguments);
        assert!(ran.expect(1).stderr.contains("stdout cannot be written: No space left"), "{}", ran.stderr);
    }
    let made = full(&["tokens", "create", "--principal", "owner", "--speaks", "program", "--scope", "chat"]);
    let (_, next) = made.expect(1).stderr.split_once("nobody saw it.\n  next: backstay ").unwrap();
    let words: Vec<&str> = next.lines().next().unwrap().split(' ').collect();
    place.run(&words).expect(0);
    assert_eq!(place.run(&["tokens", "list", "--json"]).json(0)["tokens"].as_array().unwrap().len(), 2);
}

/// The stream that was followed may still be reading when the command has seen enough.
#[test]
fn a_command_that_ends_closes_the_journal_under_nobody() {
    let place = Place::with_home();
    for _ in 0..24 {
        assert_eq!(place.run(&["run", "/say one"]).expect(0).stderr, "");
    }
}
