//! `config`: all mistakes at once, values with their origin, the schema; mistakes are exit 2
//! wherever they are met.
use std::path::Path;

use backstay_sim::configs::Reader;
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

/// A first attempt of somebody who has read half of the page.
#[test]
fn every_mistake_of_a_first_attempt_is_told_at_once() {
    let place = Place::with_home();
    place.write_config(
        r#"[server]
listen = "localhost:7717"
lisen = "127.0.0.1:1"
[principals.owner]
role = "admin"
[providers.openai]
kind = "open-ai"
[models.default]
provider = "opnai"
name = "gpt"
price_usd_per_mtok = "cheap"
[agents.main]
model = "defalt"
[agents.main.grants]
tools = ["read_files"]
write = ["."]
[[agents.main.rules]]
name = "x"
verdict = "forbid"
match = { tol = "write_file" }
"#,
    );
    let found = place.run(&["config", "check", "--json"]).json(2);
    let mistakes = found["mistakes"].as_array().unwrap();
    let at =
        |mistake: &Value| format!("{}:{} {}", mistake["line"], mistake["column"], mistake["code"].as_str().unwrap());
    let expected = [
        "2:10 bad_value",
        "3:1 unknown_key",
        "5:8 bad_value",
        "7:8 bad_value",
        "9:12 unknown_name",
        "11:22 wrong_type",
        "13:9 unknown_name",
        "15:10 unknown_name",
        "16:10 own_files",
        "19:11 bad_value",
        "20:11 unknown_key",
    ];
    assert_eq!(mistakes.iter().map(at).collect::<Vec<_>>(), expected);
    let plain = place.run(&["config", "check"]);
    plain.expect(2);
    for meant in ["`listen`", "`openai`", "`default`", "`read_file`", "`tool`"] {
        assert!(plain.stdout.contains(&format!("did you mean {meant}?")), "{meant}: {}", plain.stdout);
    }
    assert!(plain.stdout.ends_with("11 mistakes\n"), "{}", plain.stdout);
}

/// Those that the loop of `words` has kept, read as it reads them.
#[test]
fn no_kept_file_of_rules_breaks_a_law_of_them() {
    let kept = include_str!("../../../sim/tests/data/configs.jsonl");
    let reader = Reader::new(Path::new(env!("CARGO_BIN_EXE_backstay"))).unwrap();
    let texts: Vec<String> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!texts.is_empty());
    for text in texts {
        reader.check(&text).unwrap_or_else(|law| panic!("{law}: {text:?}"));
    }
}
