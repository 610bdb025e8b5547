//! `backstay` alone says what to do next, and every command that it names exists.
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::door::Door;
use crate::place::{Place, Ran};
use crate::scripted::{Play, Scripted};

fn guide(place: &Place, state: &str) -> Value {
    let guide = place.run(&["--json"]).json(0);
    assert_eq!(guide["state"], state, "{guide}");
    guide
}

fn first(guide: &Value) -> &str {
    guide["next"][0]["command"].as_str().unwrap()
}

#[test]
fn without_a_home_the_way_leads_to_one() {
    let place = Place::empty();
    assert_eq!(first(&guide(&place, "none")), "backstay quickstart");
    assert!(place.run(&[]).expect(0).stdout.contains("backstay quickstart"));
    std::fs::create_dir(place.home()).unwrap();
    std::fs::write(place.home().join("backstay.toml"), "").unwrap();
    assert_eq!(first(&guide(&place, "part")), "backstay doctor");
}

#[test]
fn what_waits_for_a_person_comes_first_with_the_command_that_answers_it() {
    let place = Place::with_home();
    assert_eq!(first(&guide(&place, "stopped")), "backstay chat");
    place.run(&["run", "write the report"]).expect(4);
    place.run(&["run", "ask me something"]).expect(4);
    let stopped = guide(&place, "stopped");
    let _served = place.serve();
    let running = guide(&place, "running");
    assert_eq!(running["next"].as_array().unwrap()[..2], stopped["next"].as_array().unwrap()[..2]);
    let approve = first(&running).to_owned();
    let words: Vec<&str> = approve.split(' ').skip(1).collect();
    assert_eq!(words[0], "approve");
    place.run(&words).expect(0);
    let answer = first(&guide(&place, "running")).to_owned();
    assert!(answer.starts_with("backstay answer ") && answer.ends_with(" \"TEXT\""), "{answer}");
}

#[test]
fn the_newest_of_what_waits_is_named_by_whole_file_names() {
    let place = Place::with_home();
    let directory = "a-directory-with-a-name-that-is-longer-than-a-line-of-a-terminal-would-like-to-show-in-one-piece";
    let mut ids = Vec::new();
    for n in 1..=5 {
        let call = serde_json::json!({ "path": format!("out/reports/{directory}/{n}.md"), "content": "x" });
        let turn = place.run(&["run", &format!("/call write_file {call}"), "--json"]).json(4);
        ids.push(turn["id"].as_str().unwrap().to_owned());
    }
    let found = guide(&place, "stopped");
    for (at, n) in [5, 4, 3].into_iter().enumerate() {
        let step = &found["next"][at];
        assert_eq!(step["command"], format!("backstay approve {}", ids[n - 1]));
        let why = format!("yes to write_file workspace/out/reports/{directory}/{n}.md (no: deny {})", ids[n - 1]);
        assert_eq!(step["why"], why);
    }
    let all = &found["next"][3];
    assert_eq!((&all["command"], &all["why"]), (&"backstay approvals".into(), &"all 5 approvals".into()));
}

#[test]
fn a_frozen_home_is_let_go_on_first_and_nothing_is_offered_that_it_refuses() {
    let place = Place::with_home();
    place.run(&["run", "write the report"]).expect(4);
    place.run(&["run", "/fail wait 1"]).expect(4);
    place.run(&["freeze"]).expect(0);
    assert!(place.run(&[]).expect(0).stdout.contains("frozen: nothing starts in it"));
    for served in [false, true] {
        let served = served.then(|| place.serve());
        let frozen = guide(&place, if served.is_some() { "running" } else { "stopped" });
        assert_eq!((first(&frozen), &frozen["frozen"]), ("backstay unfreeze", &Value::Bool(true)));
        let steps = frozen["next"].as_array().unwrap().iter().map(|step| step["command"].as_str().unwrap());
        let steps: Vec<&str> = steps.map(|step| step.split(' ').nth(1).unwrap()).collect();
        let rest: &[&str] = if served.is_some() { &["status"] } else { &["serve", "doctor"] };
        assert_eq!(steps, [&["unfreeze", "approve"], rest].concat());
    }
}

/// What it says of a home that shuts down is what the home takes then.
#[test]
fn a_home_that_shuts_down_is_asked_for_nothing() {
    let place = Place::with_home();
    let model = Scripted::start(|_, _| Play::Hang);
    place.write_config(&model.config(""));
    let door = Door::serve(&place, &[("MODEL_KEY", "k")]);
    door.say("hello");
    while model.heads().is_empty() {
        std::thread::yield_now();
    }
    let terminated = std::process::Command::new("kill").args(["-TERM", &door.id().to_string()]).status();
    assert!(terminated.unwrap().success());
    loop {
        let found = place.run(&["--json"]).json(0);
        match found["state"].as_str().unwrap() {
            "running" => {}
            "draining" => {
                assert_eq!(found["next"].as_array().unwrap().len(), 1, "{found}");
                assert_eq!(first(&found), "backstay status");
                break;
            }
            state => panic!("it was {state} before it was shown to shut down: {found}"),
        }
    }
}

#[test]
fn a_broken_config_is_told_with_its_first_mistake() {
    let place = Place::with_home();
    place.write_config(&place.config().replace("[agents.main]", "[agents.main]\nmodle = \"x\""));
    let broken = guide(&place, "config");
    assert_eq!(first(&broken), "backstay config check");
    let trouble = broken["trouble"].as_str().unwrap();
    assert!(trouble.starts_with("backstay.toml:") && trouble.ends_with("did you mean `model`?"), "{trouble}");
}

#[test]
fn a_key_that_is_missing_and_a_journal_that_does_not_open_are_told() {
    let place = Place::empty();
    Ran::of(&place.command(&["init"]).env("OPENAI_API_KEY", "sk-test").output().unwrap()).expect(0);
    let blocked = guide(&place, "blocked");
    assert!(blocked["trouble"].as_str().unwrap().contains("OPENAI_API_KEY"), "{blocked}");
    let place = Place::with_home();
    std::fs::write(place.home().join("state.db"), "not a journal, and long enough to be looked at".repeat(100))
        .unwrap();
    assert_eq!(first(&guide(&place, "blocked")), "backstay restore BACKUP NEW_HOME");
}

#[test]
fn a_turn_that_waits_for_its_provider_is_named_with_the_time_it_is_asked_again() {
    let place = Place::with_home();
    // In the long wait after all tries, and killed in the short one between two.
    let long = place.run(&["run", "/fail wait 1", "--json"]).json(4);
    let mut child = place.command(&["run", "/fail wait 3600000"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let sessions = place.run(&["sessions", "list", "--json"]).json(0);
    let short = &sessions["sessions"][0];
    assert_eq!((&short["wait"], &long["wait"]), (&"backoff".into(), &"provider".into()));
    for _ in 0..20 {
        place.run(&["run", "/say newer"]).expect(0);
    }
    let found = guide(&place, "stopped");
    for (at, item) in [(0, &long), (1, short)] {
        let step = &found["next"][at];
        assert_eq!(step["command"], format!("backstay chat --session {}", item["session"].as_str().unwrap()));
        let seconds = item["until"].as_u64().unwrap() / 1000;
        let stamp = place.run(&["sql", &format!("SELECT datetime({seconds}, 'unixepoch')"), "--json"]).json(0);
        let until = format!("until {}Z: ", stamp["rows"][0][0].as_str().unwrap());
        let why = step["why"].as_str().unwrap();
        assert!(why.starts_with(&format!("the turn {} waits for its model's API ", item["turn"].as_str().unwrap())));
        assert!(why.contains(&until), "{why}: {until}");
    }
    let _served = place.serve();
    assert_eq!(first(&guide(&place, "running")), found["next"][0]["command"]);
}

#[test]
fn the_home_is_found_by_flag_variable_and_data_directory() {
    let place = Place::empty();
    let home = |command: &mut std::process::Command| -> String {
        let ran = Ran::of(&command.arg("--json").output().unwrap());
        ran.json(0)["home"].as_str().unwrap().to_owned()
    };
    let data = place.path("data");
    let mut bare = place.command(&[]);
    assert_eq!(home(bare.env_remove("BACKSTAY_HOME")), place.path(".local/share/backstay").to_str().unwrap());
    let mut bare = place.command(&[]);
    assert_eq!(
        home(bare.env_remove("BACKSTAY_HOME").env("XDG_DATA_HOME", &data)),
        data.join("backstay").to_str().unwrap()
    );
    let mut both = place.command(&["--home", "/flag"]);
    assert_eq!(home(both.env("XDG_DATA_HOME", &data)), "/flag");
    let mut none = place.command(&[]);
    Ran::of(&none.env_clear().output().unwrap()).expect(2);
}

#[test]
fn a_command_for_another_home_names_it() {
    let place = Place::with_home();
    let home = place.home();
    let mut command = place.command(&["--json", "--home", home.to_str().unwrap()]);
    let guide = Ran::of(&command.env_remove("BACKSTAY_HOME").output().unwrap()).json(0);
    let expected = format!("backstay --home {} chat", home.display());
    assert_eq!(guide["next"][0]["command"], expected);
}
