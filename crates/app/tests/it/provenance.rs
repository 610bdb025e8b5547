//! Rules on where values come from, by the real binary, in sessions of a person that have read nothing: there
//! information flow asks for nothing.
use serde_json::{Value, json};

use crate::door::Door;
use crate::place::Place;

const DENY: &str = "\n[[agents.main.rules]]\nname = \"strangers\"\nverdict = \"deny\"\n\
                    match = { class = \"write\", provenance = { intersects = [\"unknown\"] } }\n\
                    matches = [{ tool = \"write_file\", provenance = [\"person\", \"unknown\"] }]\n\
                    does_not_match = [{ tool = \"write_file\", provenance = [\"person\"] }, { tool = \"write_file\", provenance = [] }]\n";

const ASK: &str = "\n[[agents.main.rules]]\nname = \"mine\"\nverdict = \"ask\"\nmatch = { class = \"write\" }\n\
                   unless = { provenance = { subset_of = [\"person\"] } }\n";

/// A home whose agent may also write to `outside`, and the real path of that.
fn home(rules: &str) -> (Place, String) {
    let place = Place::with_home();
    let outside = place.home().with_file_name("outside");
    std::fs::create_dir_all(&outside).unwrap();
    let outside = outside.canonicalize().unwrap().to_str().unwrap().to_owned();
    let config = place.config().replace("write = [\"workspace\"]", &format!("write = [\"workspace\", \"{outside}\"]"));
    assert!(config.contains(&outside));
    place.write_config(&(config + rules));
    (place, outside)
}

/// A message that says this path itself, where it is a whole one.
fn write(path: &str) -> String {
    format!("/call write_file {}\n/then\n/say on we go", json!({ "path": path, "content": "x" }))
}

/// One that has the model find this path, and does not say it.
fn unsaid(path: &str) -> String {
    write(path).replace(".txt", "\\u002etxt")
}

fn asked(door: &Door) -> Value {
    loop {
        if let Some(asked) = door.get("/api/approvals").json["approvals"].get(0) {
            return asked.clone();
        }
        std::thread::yield_now();
    }
}

fn yes(door: &Door, asked: &Value) -> u16 {
    let (id, yes) = (asked["id"].as_str().unwrap(), json!({ "decision": "approve", "digest": asked["digest"] }));
    door.call("POST", &format!("/api/approvals/{id}"), &yes).status
}

#[test]
fn what_nobody_named_is_denied_though_nothing_untrusted_was_read() {
    let (place, outside) = home(DENY);
    let path = |file: &str| std::path::Path::new(&outside).join(file);
    let door = Door::serve_to("human", &place, &[]);
    let (_, turn) = door.say(&write(&format!("{outside}/a.txt")));
    door.ended(&turn);
    assert!(path("a.txt").exists(), "the person named it");
    let (_, turn) = door.say(&unsaid(&format!("{outside}/b.txt")));
    door.ended(&turn);
    assert!(!path("b.txt").exists());
    let trace = place.run(&["trace", &turn]).stdout.clone();
    assert!(trace.contains("rule `strangers`") && trace.contains("its values come from unknown"), "{trace}");
    let (_, turn) = door.say(&write("in/here.txt"));
    door.ended(&turn);
    assert!(place.home().join("workspace/in/here.txt").exists(), "in the workspace nothing is chosen");
    door.stop();
    // A program's words name nothing.
    let door = Door::serve_to("program", &place, &[]);
    let (_, turn) = door.say(&write(&format!("{outside}/c.txt")));
    door.ended(&turn);
    assert!(!path("c.txt").exists());
    door.stop();
    place.run(&["audit", "verify"]).expect(0);
    // What was found out is in the journal, and judges the past again.
    let found = place.run(&["policy", "backtest", "--json"]).json(0);
    assert_eq!((&found["count"], &found["not_comparable"], &found["calls"]), (&json!(0), &json!(0), &json!(4)));
    place.write_config(
        &place
            .config()
            .replace("intersects = [\"unknown\"]", "intersects = [\"person\"]")
            .replace(
                "[\"person\", \"unknown\"] }]\n",
                "[\"person\", \"unknown\"] }, { tool = \"write_file\", provenance = [\"person\"] }]\n",
            )
            .replace("does_not_match = [{ tool = \"write_file\", provenance = [\"person\"] }, ", "does_not_match = ["),
    );
    let found = place.run(&["policy", "backtest", "--json"]).json(0);
    assert_eq!((&found["count"], &found["not_comparable"]), (&json!(3), &json!(0)), "{found}");
}

#[test]
fn an_ask_is_spared_whoever_names_it_and_what_was_asked_is_held_to_a_new_rule() {
    let (place, outside) = home(ASK);
    let path = |file: &str| std::path::Path::new(&outside).join(file);
    let door = Door::serve_to("human", &place, &[]);
    let (_, turn) = door.say(&write(&format!("{outside}/a.txt")));
    door.ended(&turn);
    assert!(path("a.txt").exists());
    let (_, turn) = door.say(&unsaid(&format!("{outside}/b.txt")));
    let item = asked(&door);
    assert_eq!(
        (&item["rule"], &item["flow"], &item["provenance"]),
        (&json!("mine"), &Value::Null, &json!(["unknown"]))
    );
    let shown = place.run(&["approvals"]).stdout.clone();
    assert!(shown.contains("  as rules see it, its values come from: unknown\n"), "{shown}");
    assert_eq!(yes(&door, &item), 200);
    door.ended(&turn);
    assert!(path("b.txt").exists(), "somebody said yes");
    // A yes to what another rule denies by now is worth nothing.
    let (_, turn) = door.say(&unsaid(&format!("{outside}/c.txt")));
    let item = asked(&door);
    place.write_config(&(place.config() + DENY));
    assert_eq!(door.call("POST", "/api/reload", &json!({})).status, 200);
    assert_ne!(yes(&door, &item), 200);
    door.ended(&turn);
    assert!(!path("c.txt").exists());
    let trace = place.run(&["trace", &turn]).stdout.clone();
    assert!(trace.contains("rule `strangers`"), "{trace}");
}

#[test]
fn it_is_explained_by_what_the_message_says() {
    let (place, outside) = home(DENY);
    let call = json!({ "path": format!("{outside}/a.txt"), "content": "x" }).to_string();
    let explain = |more: &[&str], code| {
        place.run(&[&["policy", "explain", "write_file", &call, "--json"], more].concat()).json(code)
    };
    let denied = explain(&[], 3);
    assert_eq!(denied["by"], "rule `strangers`");
    assert_eq!(denied["used"], json!(["class", { "provenance": ["unknown"] }]));
    let says = format!("write it to {outside}/a.txt");
    assert_eq!(explain(&["--says", &says], 0)["by"], "class default");
    assert_eq!(explain(&["--says", &says, "--speaks", "program"], 3)["by"], "rule `strangers`");
    assert_eq!(explain(&["--says", &format!("> {says}")], 3)["by"], "rule `strangers`", "a quote is nobody's own");
    let shown = place.run(&["policy", "explain", "write_file", &call]).expect(3).stdout.clone();
    assert!(shown.contains("  looked at provenance [\"unknown\"]\n"), "{shown}");
    assert!(shown.contains("whose message names nothing"), "{shown}");
    assert!(
        place.run(&["policy", "explain", "write_file", &call, "--says", &says]).stdout.contains("with this message")
    );
}

/// Where nobody looked, the journal does not say it: such a call is not compared, whatever it would have been.
#[test]
fn a_rule_that_is_new_is_not_tried_over_what_nobody_wrote_down() {
    let (place, outside) = home("");
    let door = Door::serve_to("human", &place, &[]);
    for message in [write(&format!("{outside}/a.txt")), unsaid(&format!("{outside}/b.txt"))] {
        let (_, turn) = door.say(&message);
        door.ended(&turn);
    }
    door.stop();
    let other = place.path("other.toml");
    let file = other.to_str().unwrap();
    std::fs::write(&other, place.config() + DENY).unwrap();
    let found = place.run(&["policy", "backtest", file, "--json"]).json(0);
    assert_eq!(
        (&found["calls"], &found["count"], &found["not_comparable"]),
        (&json!(2), &json!(0), &json!(2)),
        "{found}"
    );
    // One that says the same of all of them is.
    std::fs::write(
        &other,
        place.config() + &DENY.replace("class = \"write\"", "class = \"send\"").replace("write_file", "http_request"),
    )
    .unwrap();
    let found = place.run(&["policy", "backtest", file, "--json"]).json(0);
    assert_eq!((&found["calls"], &found["not_comparable"]), (&json!(2), &json!(0)), "{found}");
}
