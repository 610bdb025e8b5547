//! `init` and `quickstart`: a private home, made once, whatever interrupts it.
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::place::{Place, Ran, mode, models_server};

#[test]
fn a_new_home_is_private_and_its_token_is_printed_once() {
    let place = Place::empty();
    let made = place.run(&["init", "--json"]).json(0);
    assert_eq!(made["home"], place.home().to_str().unwrap());
    assert_eq!(made["next"], "backstay chat");
    let token = |name: &str| made[name].as_str().unwrap();
    for token in [token("token"), token("operator_token")] {
        assert!(token.starts_with("bks_") && token.len() == 68, "{token}");
    }
    assert_eq!(made.as_object().unwrap().len(), 4);
    assert_eq!(mode(&place.home()), 0o700);
    for name in ["backstay.toml", "state.db"] {
        assert_eq!(mode(&place.home().join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&place.home().join("workspace")), 0o700);
    let tokens = place.run(&["tokens", "list", "--json"]).json(0);
    let listed = |name: &str| {
        tokens["tokens"].as_array().unwrap().iter().find(|item| token(name).starts_with(item["id"].as_str().unwrap()))
    };
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 2);
    for (name, scope) in [("token", "chat"), ("operator_token", "operate")] {
        assert!(!tokens.to_string().contains(token(name)), "a token is never shown again");
        assert_eq!(
            (&listed(name).unwrap()["speaks"], &listed(name).unwrap()["scope"]),
            (&"program".into(), &scope.into())
        );
    }
}

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let place = Place::with_home();
    let (before, names) = (place.config(), place.names());
    let error = place.run(&["init", "--json"]).error(3);
    assert_eq!(error["code"], "exists");
    assert!(error["next"].as_str().unwrap().contains("tokens create"));
    place.run(&["init", "--base-url", "http://127.0.0.1:1/v1", "--model", "m"]).expect(3);
    place.run(&["init", "--commands"]).expect(3);
    assert_eq!((place.config(), place.names()), (before, names));
}

#[test]
fn commands_are_granted_where_they_are_asked_for() {
    let place = Place::empty();
    place.run(&["init", "--commands"]).expect(0);
    let shown = place.run(&["config", "show", "--json"]).json(0).to_string();
    assert!(shown.contains("run_command") && !Place::with_home().config().contains("run_command"), "{shown}");
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let place = Place::empty();
    std::fs::create_dir(place.home()).unwrap();
    std::fs::write(place.home().join("thesis.txt"), "words").unwrap();
    let error = place.run(&["init", "--json"]).error(3);
    assert_eq!(error["code"], "not_empty");
    assert_eq!(place.names(), ["thesis.txt"]);
}

#[test]
fn a_model_server_can_be_named_before_it_is_up() {
    let place = Place::empty();
    let ran = place.run(&["init", "--base-url", "http://127.0.0.1:9/v1", "--model", "small"]);
    assert!(
        ran.expect(0).stderr.starts_with("http://127.0.0.1:9/v1: not reached: Connection refused (os error 111)\n")
            && ran.stderr.contains("doctor --providers"),
        "{}",
        ran.stderr
    );
    assert!(place.config().contains("base_url = \"http://127.0.0.1:9/v1\""));
    place.run(&["config", "check"]).expect(0);
    place.run(&["init", "elsewhere", "--model", "small"]).expect(2);
    let wrong = Place::empty();
    wrong.run(&["init", "--base-url", "nonsense", "--model", "small"]).expect(2);
    let unnamed = wrong.run(&["init", "--base-url", "http://127.0.0.1:9/v1", "--json"]).error(2);
    assert!(unnamed["next"].as_str().unwrap().contains("--model"), "{unnamed}");
    assert!(!wrong.home().exists());
    wrong.run(&["init"]).expect(0);
}

#[test]
fn a_model_server_is_asked_what_it_has() {
    let one = r#"{"data":[{"id":"only"}]}"#;
    let two = r#"{"data":[{"id":"small"},{"id":"large"}]}"#;
    let steps: [(&'static str, &[&str], i32, &str); 6] = [
        (r#"{"data":[]}"#, &[], 2, "lists no model\n  next: load one there, or name one with --model"),
        ("<html>It works!</html>", &[], 2, "as its API has it, often with /v1"),
        (one, &[], 0, "name = \"only\""),
        (two, &[], 2, "small, large"),
        (two, &["--model", "large"], 0, "name = \"large\""),
        (two, &["--model", "huge"], 0, "does not list huge; it lists small, large"),
    ];
    for (body, more, code, expected) in steps {
        let place = Place::empty();
        let (url, answer) = models_server(body);
        let ran = place.run(&[&["init", "--base-url", &url][..], more].concat());
        ran.expect(code);
        answer.join().unwrap();
        let config = std::fs::read_to_string(place.home().join("backstay.toml")).unwrap_or_default();
        assert!(ran.stderr.contains(expected) || config.contains(expected), "{expected}: {}{config}", ran.stderr);
        assert_eq!(place.home().exists(), code == 0);
    }
}

#[test]
fn a_key_for_a_model_server_is_named_and_not_written() {
    let place = Place::empty();
    let (url, answer) = models_server(r#"{"data":[{"id":"only"}]}"#);
    let arguments = ["init", "--base-url", &url, "--api-key-env", "GATEWAY_KEY"];
    Ran::of(&place.command(&arguments).env("GATEWAY_KEY", "sk-test").output().unwrap()).expect(0);
    answer.join().unwrap();
    assert!(place.config().contains("api_key_env = \"GATEWAY_KEY\"") && !place.config().contains("sk-test"));
    let unset = Place::empty().run(&["init", "--base-url", "http://127.0.0.1:9/v1", "--api-key-env", "GATEWAY_KEY"]);
    assert!(unset.expect(2).stderr.contains("holds a key; nothing was made"), "{}", unset.stderr);
}

/// Whoever gives the key itself must not find it in a terminal's history of what was said, or in a log.
#[test]
fn a_variable_without_a_key_makes_nothing_and_is_not_repeated() {
    for given in ["NO_SUCH_KEY", "sk-abc123", "EMPTY", ""] {
        let place = Place::empty();
        let url = ["--base-url", "http://127.0.0.1:9/v1", "--model", "m"];
        let mut command = place.command(&[&["init"][..], &url, &["--api-key-env", given]].concat());
        let ran = Ran::of(&command.env("EMPTY", " ").output().unwrap());
        ran.expect(2);
        assert!(given.is_empty() || !ran.stderr.contains(given) && !ran.stdout.contains(given), "{}", ran.stderr);
        assert!(!place.home().exists(), "{given}");
    }
}

/// The token is shown only once: a key that is missing must not keep it back.
#[test]
fn a_home_whose_config_asks_for_a_key_that_is_not_there_is_made_whole() {
    let place = Place::empty();
    std::fs::create_dir(place.home()).unwrap();
    let whole = Place::empty();
    Ran::of(&whole.command(&["init"]).env("OPENAI_API_KEY", "sk-test").output().unwrap()).expect(0);
    place.write_config(&whole.config());
    assert!(place.run(&["init", "--json"]).json(0)["token"].as_str().unwrap().starts_with("bks_"));
}

#[test]
fn what_is_said_of_a_home_elsewhere_leads_there() {
    let place = Place::with_home();
    let home = place.home();
    let mut command = place.command(&["init", home.to_str().unwrap()]);
    let again = Ran::of(&command.env_remove("BACKSTAY_HOME").output().unwrap());
    let expected = format!("backstay --home {} tokens create", home.display());
    assert!(again.expect(3).stderr.contains(&expected), "{}", again.stderr);
    let other = place.path("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("backstay.toml"), "[agents]\n").unwrap();
    let mut command = place.command(&["init", other.to_str().unwrap()]);
    let wrong = Ran::of(&command.env_remove("BACKSTAY_HOME").output().unwrap());
    let expected = format!("backstay --home {} config check", other.display());
    assert!(wrong.expect(2).stderr.contains(&expected), "{}", wrong.stderr);
}

/// What the journal's agents may do stood in the config that is gone: a new one is no answer.
#[test]
fn a_journal_without_its_config_is_left_alone() {
    let place = Place::with_home();
    place.run(&["run", "/say one"]).expect(0);
    std::fs::remove_file(place.home().join("backstay.toml")).unwrap();
    let names = place.names();
    let server = ["init", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"];
    for arguments in [&["init"][..], &server, &["quickstart"], &["status"], &["doctor"], &[]] {
        let ran = place.run(arguments);
        let code = match arguments.first() {
            None => 0,
            Some(&"doctor") => 1,
            Some(_) => 3,
        };
        let said = format!("{}{}", ran.expect(code).stdout, ran.stderr);
        assert!(said.contains("no backstay.toml") && said.contains("backstay restore BACKUP NEW_HOME"), "{said}");
        assert!(!said.contains("backstay init"), "{said}");
        assert_eq!(place.names(), names, "{arguments:?}");
    }
}

#[test]
fn the_model_is_the_one_that_this_machine_has_a_key_for() {
    for (variable, kind) in [("ANTHROPIC_API_KEY", "kind = \"anthropic\""), ("OPENAI_API_KEY", "kind = \"openai\"")] {
        let place = Place::empty();
        Ran::of(&place.command(&["init"]).env(variable, "sk-test").output().unwrap()).expect(0);
        assert!(place.config().contains(kind), "{variable}");
        assert!(!place.config().contains("sk-test"), "a key never stands in the file");
    }
}

#[test]
fn a_cut_init_is_completed_by_the_next() {
    let whole = Place::with_home();
    let config = whole.config();
    let write = |place: &Place, names: &[(&str, &str)]| {
        std::fs::create_dir(place.home()).unwrap();
        for (name, text) in names {
            std::fs::write(place.home().join(name), text).unwrap();
        }
    };
    let toml = ("backstay.toml", config.as_str());
    let states: [&[(&str, &str)]; 5] = [
        &[],
        &[("backstay.toml.new", "[ser")],
        &[toml],
        &[toml, ("state.lock", "")],
        &[toml, ("state.lock", ""), ("state.db", "")],
    ];
    for names in states {
        let place = Place::empty();
        write(&place, names);
        place.run(&["init", "--json"]).json(0);
        place.run(&["run", "hello"]).expect(0);
        assert!(!place.home().join("backstay.toml.new").exists());
    }
}

/// Only the token is missing, and nobody has seen one.
#[test]
fn a_home_without_a_token_is_completed_and_one_with_a_token_is_not() {
    let (place, whole) = (Place::empty(), Place::with_home());
    std::fs::create_dir(place.home()).unwrap();
    place.write_config(&whole.config());
    let store = backstay_store::Store::create(&place.home(), backstay_store::Options::default()).unwrap();
    store.close().unwrap();
    place.run(&["init", "--json"]).json(0);
    place.run(&["init", "--json"]).error(3);
    assert_eq!(place.run(&["tokens", "list", "--json"]).json(0)["tokens"].as_array().unwrap().len(), 2);
}

/// Kills an `init` as soon as each of the files that it makes is there; the file appears, the
/// process dies at once or a little later: every outcome must be one that the next `init` and the
/// next command can deal with.
#[test]
fn an_init_that_is_killed_leaves_nothing_that_needs_a_hand() {
    for name in ["backstay.toml", "workspace", "state.lock", "state.db", "state.db-wal", "state.ballast"] {
        let place = Place::empty();
        let mut child = place.command(&["init"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        while !place.home().join(name).exists() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "{name} does not appear");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let again = place.run(&["init", "--json"]);
        if again.code != 0 {
            assert_eq!(again.error(3)["code"], "exists", "killed at {name}");
        }
        place.run(&["tokens", "create", "--principal", "owner", "--speaks", "program", "--scope", "chat"]).expect(0);
        place.run(&["run", "hello"]).expect(0);
    }
}

#[test]
fn a_config_that_lies_there_already_is_kept() {
    let place = Place::empty();
    std::fs::create_dir(place.home()).unwrap();
    let whole = Place::with_home();
    let own = format!("# ours\n{}", whole.config());
    place.write_config(&own);
    let error = place.run(&["init", "--json", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"]).error(3);
    assert_eq!(error["code"], "exists");
    place.run(&["init"]).expect(0);
    assert_eq!(place.config(), own);
}

#[test]
fn quickstart_makes_a_home_and_talks_and_then_only_talks() {
    let place = Place::empty();
    let first = place.pipe(&["quickstart"], "hello\n");
    first.expect(0);
    assert!(first.stdout.contains("rehearsal model"));
    assert!(first.stderr.contains("bks_") && !first.stdout.contains("bks_"), "the token is no reply");
    let second = place.pipe(&["quickstart"], "hello\n");
    second.expect(0);
    assert!(!second.stderr.contains("bks_"));
}
