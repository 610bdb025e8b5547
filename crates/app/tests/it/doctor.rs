//! `doctor`: finds what is wrong, and says how to mend it.
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::place::{Place, models_server};

fn verdict<'f>(found: &'f Value, check: &str) -> &'f str {
    let list = found["findings"].as_array().unwrap();
    list.iter().find(|finding| finding["check"] == check).unwrap()["verdict"].as_str().unwrap()
}

#[test]
fn a_good_home_is_found_good() {
    let place = Place::with_home();
    let found = place.run(&["doctor", "--json"]).json(0);
    assert_eq!(found["ok"], true);
    for check in ["home", "modes", "system", "config", "keys", "port", "journal", "clock"] {
        assert_eq!(verdict(&found, check), "ok", "{check}");
    }
    assert!(found["findings"].as_array().unwrap().iter().all(|finding| finding["check"] != "provider"));
    let _served = place.serve();
    assert_eq!(verdict(&place.run(&["doctor", "--json"]).json(0), "process"), "ok");
}

#[test]
fn what_is_wrong_is_found_and_has_a_way_out() {
    let place = Place::empty();
    assert_eq!(verdict(&place.run(&["doctor", "--json"]).json(1), "home"), "bad");
    let place = Place::with_home();
    std::fs::set_permissions(place.home().join("backstay.toml"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let found = place.run(&["doctor", "--json"]).json(1);
    assert_eq!(verdict(&found, "modes"), "bad");
    place.write_config("[agents]\n");
    let found = place.run(&["doctor", "--json"]).json(1);
    assert_eq!(verdict(&found, "config"), "bad");
    let nexts = found["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] == "bad");
    assert!(nexts.into_iter().all(|finding| !finding["next"].as_str().unwrap().is_empty()));
}

#[test]
fn production_asks_for_owners_and_a_real_model() {
    let place = Place::with_home();
    let found = place.run(&["doctor", "--production", "--json"]).json(1);
    assert_eq!((verdict(&found, "owners"), verdict(&found, "model")), ("bad", "bad"));
}

#[test]
fn a_port_that_is_taken_is_found_before_serve_fails_on_it() {
    let place = Place::with_home();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    place.write_config(&place.config().replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string()));
    assert_eq!(verdict(&place.run(&["doctor", "--json"]).json(1), "port"), "bad");
    let error = place.run(&["serve", "--json"]).error(1);
    assert!(error["message"].as_str().unwrap().contains("listening on 127.0.0.1:"), "{error}");
    drop(taken);
    assert_eq!(verdict(&place.run(&["doctor", "--json"]).json(0), "port"), "ok");
}

#[test]
fn providers_are_asked_only_where_that_is_wanted() {
    for (body, expected) in [
        (r#"{"data":[{"id":"small"},{"id":"large"}]}"#, "ok"),
        (r#"{"data":[{"id":"other"}]}"#, "notice"),
        ("<html>", "bad"),
    ] {
        let place = Place::empty();
        let (url, answer) = models_server(body);
        place.run(&["init", "--base-url", "http://127.0.0.1:1/v1", "--model", "small"]).expect(0);
        place.write_config(
            &place.config().replace("http://127.0.0.1:1/v1", &url).replace("127.0.0.1:7717", "127.0.0.1:0"),
        );
        place.run(&["doctor"]).expect(0);
        let code = if expected == "bad" { 1 } else { 0 };
        assert_eq!(verdict(&place.run(&["doctor", "--providers", "--json"]).json(code), "provider"), expected);
        assert_eq!(answer.join().unwrap(), "GET /v1/models HTTP/1.1\r\n");
    }
    let place = Place::empty();
    place.run(&["init", "--base-url", "http://127.0.0.1:1/v1", "--model", "small"]).expect(0);
    assert_eq!(verdict(&place.run(&["doctor", "--providers", "--json"]).json(1), "provider"), "bad");
}

fn detail<'f>(found: &'f Value, check: &str, verdict: &str) -> &'f str {
    let list = found["findings"].as_array().unwrap();
    let finding = list.iter().find(|finding| finding["check"] == check && finding["verdict"] == verdict);
    finding.unwrap_or_else(|| panic!("{found}"))["detail"].as_str().unwrap()
}

#[test]
fn a_place_and_keys_that_checkpoints_and_secrets_could_not_use_are_found_beforehand() {
    let place = Place::with_home();
    let (key, sink) = (place.path("audit.key"), place.path("sink"));
    let only = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::write(&key, "A".repeat(43)).unwrap();
    only(&key, 0o600);
    std::fs::create_dir(&sink).unwrap();
    let config = place.config();
    let audit = |sink: &std::path::Path| {
        format!("[audit]\nsink = \"{}\"\nkey = \"{}\"\n{config}", sink.display(), key.display())
    };
    place.write_config(&audit(&sink.join("checkpoints.jsonl")));
    assert_eq!(verdict(&place.run(&["doctor", "--json"]).json(0), "audit"), "ok");
    only(&key, 0o644);
    assert!(detail(&place.run(&["doctor", "--json"]).json(1), "audit", "bad").contains("audit.key"));
    only(&key, 0o600);
    // What nobody can write to, not even root.
    place.write_config(&audit(&sink));
    assert!(
        detail(&place.run(&["doctor", "--json"]).json(1), "audit", "bad").starts_with("no checkpoint can be written")
    );
    std::fs::write(place.path("short.key"), "short").unwrap();
    only(&place.path("short.key"), 0o600);
    place.write_config(&format!("[home]\nsecrets_key = \"{}\"\n{config}", place.path("short.key").display()));
    assert!(detail(&place.run(&["doctor", "--json"]).json(1), "secrets", "bad").contains("their key"));
    assert!(!sink.join("checkpoints.jsonl").exists(), "it only looks");
}

#[test]
fn a_directory_that_commands_could_not_use_is_found_beforehand() {
    let home = crate::sandboxed::Sandboxed::home("[\"*\"]", "");
    let place = &home.place;
    if crate::sandboxed::is_root() {
        // As `init` of root's leaves it: closed to whom commands become.
        std::os::unix::fs::chown(home.workspace(), Some(0), Some(0)).unwrap();
        let found = place.run(&["doctor", "--json"]).json(1);
        assert!(detail(&found, "grants", "bad").contains("by the user 20000, whom commands become"), "{found}");
        home.own(&home.workspace());
    }
    let found = place.run(&["doctor", "--json"]);
    let list: Value = serde_json::from_str(&found.stdout).unwrap();
    assert!(list["findings"].as_array().unwrap().iter().all(|finding| finding["check"] != "grants"), "{list}");
}

#[test]
fn root_leaves_nothing_in_the_home_of_another_user() {
    let place = Place::with_home();
    if !crate::sandboxed::is_root() {
        assert_eq!(verdict(&place.run(&["doctor", "--json"]).json(0), "home"), "ok");
        return;
    }
    let before = place.names();
    std::os::unix::fs::chown(place.home(), Some(20_000), Some(20_000)).unwrap();
    for arguments in
        [&["status", "--json"][..], &["serve", "--json"], &["run", "hi", "--json"], &["policy", "test", "--json"]]
    {
        let error = place.run(arguments).error(3);
        assert_eq!(error["code"], "anothers_home", "{error}");
        assert!(error["next"].as_str().unwrap().starts_with("setpriv --reuid=20000"), "{error}");
    }
    assert_eq!(verdict(&place.run(&["doctor", "--json"]).json(1), "home"), "bad");
    assert_eq!(place.run(&["--json"]).json(0)["state"], "blocked");
    assert_eq!(place.names(), before);
    let empty = Place::empty();
    std::fs::create_dir(empty.home()).unwrap();
    std::os::unix::fs::chown(empty.home(), Some(20_000), Some(20_000)).unwrap();
    assert_eq!(empty.run(&["init", "--json"]).error(3)["code"], "anothers_home");
    assert!(empty.names().is_empty());
}
