//! `backstay` alone says what to do next, and every command that it names exists.
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::place::{Place, Ran};

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
fn a_frozen_home_is_let_go_on_first() {
    let place = Place::with_home();
    place.run(&["freeze"]).expect(0);
    let frozen = guide(&place, "stopped");
    assert_eq!((first(&frozen), &frozen["frozen"]), ("backstay unfreeze", &Value::Bool(true)));
    assert!(place.run(&[]).expect(0).stdout.contains("frozen: nothing starts in it"));
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
fn a_session_whose_provider_is_away_is_named() {
    let place = Place::with_home();
    let mut child = place.command(&["run", "/fail wait 3600000"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let next = first(&guide(&place, "stopped")).to_owned();
    assert!(next.starts_with("backstay chat --session "), "{next}");
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
