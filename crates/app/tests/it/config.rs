//! `config`: all mistakes at once, values with their origin, the schema; mistakes are exit 2
//! wherever they are met.
use serde_json::Value;

use crate::place::Place;

#[test]
fn all_mistakes_are_told_at_once_with_their_place() {
    let place = Place::with_home();
    let good = place.config();
    place
        .write_config(&good.replace("[agents.main]", "[agents.main]\nmodle = \"x\"").replace("127.0.0.1:0", "nowhere"));
    let ran = place.run(&["config", "check"]);
    ran.expect(2);
    assert!(ran.stdout.contains("backstay.toml:5:") && ran.stdout.contains("did you mean `model`?"), "{}", ran.stdout);
    let found = place.run(&["config", "check", "--json"]).json(2);
    assert_eq!(found["count"], 2);
    assert!(found["mistakes"][0]["line"].is_u64() && found["mistakes"][0]["column"].is_u64());
    for arguments in [&["run", "hello"][..], &["serve"], &["status"], &["chat"]] {
        let ran = place.run(arguments);
        assert!(ran.expect(2).stderr.contains("did you mean `model`?"), "{arguments:?}: {}", ran.stderr);
    }
    place.write_config(&good);
    assert_eq!(place.run(&["config", "check", "--json"]).json(0)["count"], 0);
}

#[test]
fn values_come_with_their_origin() {
    let place = Place::with_home();
    let shown = place.run(&["config", "show", "--origin"]);
    shown.expect(0);
    let line = shown.stdout.lines().find(|line| line.starts_with("server.listen")).unwrap();
    assert!(line.starts_with("server.listen = \"127.0.0.1:0\"  # backstay.toml:"), "{line}");
    assert!(shown.stdout.contains("agents.main.caps.steps = 100  # default"), "{}", shown.stdout);
    let plain = place.run(&["config", "show", "--json"]).json(0);
    assert_eq!(plain["agents"]["main"]["caps"]["steps"], 100);
}

#[test]
fn the_schema_needs_no_home() {
    let place = Place::empty();
    let ran = place.run(&["config", "schema"]);
    let schema: Value = serde_json::from_str(&ran.expect(0).stdout).unwrap();
    assert_eq!(schema["properties"]["agents"]["type"], "object");
    place.run(&["config", "check"]).expect(5);
}
