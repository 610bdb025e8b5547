//! `doctor`: finds what is wrong, and says how to mend it.
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::place::Place;

fn verdict<'f>(found: &'f Value, check: &str) -> &'f str {
    let list = found["findings"].as_array().unwrap();
    list.iter().find(|finding| finding["check"] == check).unwrap()["verdict"].as_str().unwrap()
}

#[test]
fn a_good_home_is_found_good() {
    let place = Place::with_home();
    let found = place.run(&["doctor", "--json"]).json(0);
    assert_eq!(found["ok"], true);
    assert_eq!((verdict(&found, "config"), verdict(&found, "journal")), ("ok", "ok"));
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
