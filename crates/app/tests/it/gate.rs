//! Every way in leads through the same gate, nothing that a model can call reaches the rules, and
//! the operator's file is never written by the program.
use std::path::Path;

use serde_json::json;

use crate::door::Door;
use crate::place::Place;
use crate::terminal::Terminal;

const DENY: &str = "\n[[agents.main.rules]]\nname = \"hands off\"\nverdict = \"deny\"\n\
                    match = { tool = \"write_file\", path = { under = \"workspace/safe\" } }\n";

fn call(path: &str) -> String {
    format!("/call write_file {}\n/then\n/say on we go", json!({ "path": path, "content": "x" }))
}

fn home() -> Place {
    let place = Place::empty();
    place.run(&["init"]).expect(0);
    let config = place.config().replace("127.0.0.1:7717", "127.0.0.1:0") + DENY;
    place.write_config(&config);
    place
}

/// The latest turns were each told of the rule, and did nothing.
#[track_caller]
fn denied(place: &Place, way: &str, turns: usize) {
    let told = "SELECT count(*) FROM v_effects WHERE verdict = 'deny' AND starts = 0";
    let found = place.run(&["sql", told, "--json"]).json(0);
    assert_eq!(found["rows"][0][0], turns, "{way}: {found}");
    assert!(!place.home().join("workspace/safe").exists(), "{way}");
}

#[test]
fn what_a_rule_denies_is_denied_at_every_door() {
    let place = home();
    let task = call("safe/x.txt");
    place.run(&["run", &task]).expect(0);
    denied(&place, "run in a process of its own", 1);
    place.pipe(&["chat", "--json"], "/call write_file {\"path\":\"safe/x.txt\",\"content\":\"x\"}\n").expect(0);
    denied(&place, "chat", 2);
    let door = Door::serve(&place, &[]);
    place.run(&["run", &task]).expect(0);
    denied(&place, "run through the socket", 3);
    door.ended(&door.say(&task).1);
    denied(&place, "the native door", 4);
    for (streamed, turns) in [(false, 5), (true, 6)] {
        let messages = json!([{ "role": "user", "content": task }]);
        let body = json!({ "model": "main", "messages": messages, "stream": streamed });
        let answer = door.call("POST", "/v1/chat/completions", &body);
        let end = if streamed { "[DONE]" } else { "on we go" };
        assert!(answer.status == 200 && answer.text.contains(end), "{}", answer.text);
        denied(&place, "the OpenAI door", turns);
    }
    // The rule is what holds them back.
    place.write_config(&place.config().replace(DENY, ""));
    assert_eq!(door.call("POST", "/api/reload", &json!({})).status, 200);
    door.ended(&door.say(&task).1);
    assert!(place.home().join("workspace/safe/x.txt").exists());
}

#[test]
fn nothing_that_a_model_can_call_reaches_the_homes_own_files_or_leaves_its_grants() {
    let place = home();
    let config = place.config();
    let outside = place.path("outside.txt");
    let absolute = place.home().join("backstay.toml");
    std::os::unix::fs::symlink(place.home(), place.home().join("workspace/way_out")).unwrap();
    let paths = [
        "../backstay.toml",
        "./../backstay.toml",
        "out/../../backstay.toml",
        "way_out/backstay.toml",
        "../state.db",
        "/tmp/backstay-outside.txt",
        "~/outside.txt",
        absolute.to_str().unwrap(),
        outside.to_str().unwrap(),
    ];
    for path in paths {
        let ran = place.run(&["run", &call(path)]);
        assert!(ran.expect(0).stdout.contains("on we go"), "{}", ran.stdout);
    }
    // A path under another name, and a key that the tool does not know.
    for arguments in [
        json!({ "fileUrl": "out/x.txt", "content": "x" }),
        json!({ "path": "out/x.txt", "content": "x", "mediaUrl": outside }),
    ] {
        place.run(&["run", &format!("/call write_file {arguments}\n/then\n/say on we go")]).expect(0);
    }
    assert_eq!(place.config(), config);
    assert!(!outside.exists() && !Path::new("/tmp/backstay-outside.txt").exists());
    assert!(!place.home().join("workspace/out/x.txt").exists());
    let names: Vec<String> = place.names();
    assert!(!names.iter().any(|name| name.contains("outside")), "{names:?}");
    place.run(&["audit", "verify"]).expect(0);
}

#[test]
fn the_words_of_a_model_are_no_code_of_the_journal() {
    let place = home();
    let hostile = ["'); DROP TABLE entries; --", "\" OR text : *", "NEAR(a b) *", "\\", "%' OR '1'='1", ""];
    for words in hostile {
        for (tool, name) in [("remember", "text"), ("recall", "query")] {
            let task = format!("/call {tool} {}\n/then\n/say on we go", json!({ name: words }));
            assert!(place.run(&["run", &task]).expect(0).stdout.contains("on we go"), "{tool} {words}");
        }
    }
    place.run(&["run", "/call remember {\"text\":\"the anchor is green\"}"]).expect(0);
    let found = place.run(&["run", "/call recall {\"query\":\"' OR anchor --\"}", "--json"]).json(0);
    let session = place.run(&["sessions", "export", found["session"].as_str().unwrap()]);
    assert!(session.expect(0).stdout.contains("the anchor is green"), "{}", session.stdout);
    place.run(&["audit", "verify"]).expect(0);
}

#[test]
fn the_operators_file_is_never_written() {
    let place = home();
    let path = place.home().join("backstay.toml");
    let before = || (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().modified().unwrap());
    let written = before();
    let backup = place.path("backup");
    let commands = [
        &["init"][..],
        &["doctor"],
        &["config", "show"],
        &["run", "/say hello"],
        &["freeze"],
        &["unfreeze"],
        &["mode", "dry-run"],
        &["mode", "normal"],
        &["tokens", "create", "--principal", "owner", "--speaks", "human", "--scope", "approve"],
        &["backup", backup.to_str().unwrap()],
    ];
    for command in commands {
        place.run(command);
        assert_eq!(before(), written, "{command:?}");
    }
    let door = Door::serve(&place, &[]);
    assert_eq!(door.call("POST", "/api/reload", &json!({})).status, 200);
    door.stop();
    place.serve().kill();
    place.run(&["run", "/say hello again"]).expect(0);
    assert_eq!(before(), written);
    // A file that is cut off or gone is said to be, and stays as it is.
    std::fs::write(&path, "").unwrap();
    for command in [&["run", "/say hello"][..], &["doctor"], &["serve"]] {
        assert_ne!(place.run(command).code, 0, "{command:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}

/// A directory outside of the home that the agent may write.
fn with_outside(place: &Place) -> String {
    let outside = place.home().with_file_name("outside");
    std::fs::create_dir_all(&outside).unwrap();
    let outside = outside.canonicalize().unwrap().to_str().unwrap().to_owned();
    let write = format!("write = [\"workspace\", \"{outside}\"]");
    place.write_config(&place.config().replace("write = [\"workspace\"]", &write));
    assert!(place.config().contains(&write));
    outside
}

#[test]
fn a_tainted_session_writes_outside_of_the_workspace_where_a_person_said() {
    let place = Place::with_home();
    let outside = with_outside(&place);
    let file = |name: &str| format!("{outside}/{name}");
    // What a program says names nothing.
    place.run(&["run", &call(&file("a.txt"))]).expect(4);
    let waits = place.run(&["approvals"]).stdout.clone();
    assert!(
        waits
            .contains("class: write, rule: information flow, asked by owner\n  information flow: the session has seen"),
        "{waits}"
    );
    let trace = place.run(&["trace"]).stdout.clone();
    assert!(trace.contains("information flow: the session has seen untrusted words"), "{trace}");
    assert!(!Path::new(&file("a.txt")).exists());
    place.run(&["run", &call("b.txt")]).expect(0);
    assert!(place.home().join("workspace/b.txt").exists(), "the workspace is as before");
    // A person does, also after they had the agent read.
    let mut terminal = Terminal::open(&place, &["chat"], 200);
    terminal.wait_for("> ");
    terminal.key_in("/call list_dir {\"path\":\".\"}\n");
    terminal.wait_for("b.txt");
    terminal.wait_for("> ");
    terminal.key_in(&format!("/call write_file {}\n", json!({ "path": file("c.txt"), "content": "x" })));
    terminal.wait_for("c.txt");
    terminal.wait_for("> ");
    terminal.key_in("/trace\n");
    terminal.wait_for("c.txt is named in message ");
    terminal.wait_for("> ");
    terminal.key_in("/quit\n");
    assert_eq!(terminal.end().1, 0);
    assert!(Path::new(&file("c.txt")).exists());
}
