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
