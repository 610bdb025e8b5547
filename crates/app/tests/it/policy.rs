//! `policy`: what rules say of a call, of their examples and of the past, without doing anything.
use serde_json::{Value, json};

use crate::place::Place;

const RULES: &str = r#"
[[agents.main.rules]]
name = "no secrets"
verdict = "deny"
match = { path = { under = "workspace/secrets" } }
matches = [{ tool = "read_file", path = "workspace/secrets/key" }]

[[agents.main.rules]]
name = "large files at night"
verdict = "ask"
match = { tool = "write_file", bytes_out = { gt = 5 }, clock = { between = ["22:00", "06:00"] }, role = "owner" }
reason = "somebody is asleep"
does_not_match = [{ tool = "write_file", path = "workspace/a.md", bytes_out = 3, role = "owner", at = 2026-11-21T23:00:00Z }]
"#;

fn home() -> Place {
    let place = Place::with_home();
    place.write_config(&(place.config() + RULES));
    place
}

fn write(place: &Place, path: &str, content: &str) {
    let call = json!({ "path": path, "content": content });
    place.run(&["run", &format!("/call write_file {call}\n/then\n/say on we go")]).expect(0);
}

/// Line of the config that holds this text.
fn line(place: &Place, text: &str) -> u64 {
    place.config().lines().position(|line| line.contains(text)).unwrap() as u64
}

#[test]
fn one_call_is_explained_by_its_rule_its_facts_and_its_exit_code() {
    let place = home();
    let call = r#"{"path":"a.md","content":"123456"}"#;
    let night = ["policy", "explain", "write_file", call, "--at", "2026-11-21T23:00:00Z"];
    let found = place.run(&[&night[..], &["--json"]].concat()).json(4);
    assert_eq!((&found["verdict"], &found["by"]), (&json!("ask"), &json!("rule `large files at night`")));
    assert_eq!((&found["line"], &found["reason"]), (&json!(line(&place, "large files")), &json!("somebody is asleep")));
    let at = 1_795_302_000_000u64;
    assert_eq!(found["used"], json!([{ "role": "owner" }, { "tool": "write_file" }, "bytes_out", { "clock": at }]));
    assert_eq!(found["facts"]["bytes_out"], 6);
    assert_eq!(found["policy"].as_str().unwrap().len(), 64);
    let shown = place.run(&night).expect(4).stdout.clone();
    assert!(shown.contains("ask by rule `large files at night` (backstay.toml:"), "{shown}");
    assert!(shown.contains("  as in a new session of owner by cli that has read nothing yet"), "{shown}");
    let server = place.run(&["policy", "explain", "files__read", "{}"]).expect(3).stdout.clone();
    assert!(server.contains("next: backstay mcp test"), "{server}");
    assert!(shown.contains("  bytes_out: 6\n") && shown.contains("  looked at role owner\n"), "{shown}");

    let said = |more: &[&str], code| place.run(&[&["policy", "explain", "--json"], more].concat()).json(code);
    let day = said(&["write_file", call, "--at", "2026-11-21T12:00:00Z"], 0);
    assert_eq!((&day["verdict"], &day["by"], &day["line"]), (&json!("allow"), &json!("class default"), &Value::Null));
    let hooks = ["policy", "explain", "write_file", r#"{"path":".git/hooks/a","content":""}"#];
    let shown = place.run(&hooks).expect(4).stdout.clone();
    assert!(shown.contains("ask by a protected path"), "{shown}");
    assert!(shown.contains("  changes what other programs act by: ") && shown.contains("/.git/hooks/a\n"), "{shown}");
    std::fs::create_dir(place.home().join("workspace/secrets")).unwrap();
    std::fs::write(place.home().join("workspace/secrets/key"), "k").unwrap();
    assert_eq!(said(&["read_file", r#"{"path":"secrets/key"}"#], 3)["by"], "rule `no secrets`");
    assert_eq!(said(&["read_file", r#"{"path":"nowhere"}"#], 3)["verdict"], "invalid");
    assert!(!place.home().join("workspace/a.md").exists(), "nothing is done");
    place.run(&["policy", "explain", "read_file", "{}", "--agent", "nobody"]).expect(5);
    place.run(&["policy", "explain", "read_file", "{}", "--principal", "nobody"]).expect(5);
    place.run(&["policy", "explain", "read_file", "{}", "--at", "tomorrow"]).expect(2);
}

#[test]
fn a_call_is_explained_as_a_persons_or_as_a_programs() {
    let place = Place::with_home();
    let rule = "\n[[agents.main.rules]]\nname = \"people write\"\nverdict = \"deny\"\n\
                match = { class = \"write\", speaks = \"program\" }\n\
                does_not_match = [{ tool = \"write_file\", speaks = \"human\" }]\n";
    place.write_config(&(place.config() + rule));
    let call = r#"{"path":"a.md","content":"1"}"#;
    let explain = ["policy", "explain", "write_file", call, "--json"];
    assert_eq!(place.run(&explain).json(0)["by"], "class default");
    assert_eq!(place.run(&[&explain[..], &["--speaks", "human"]].concat()).json(0)["verdict"], "allow");
    let denied = place.run(&[&explain[..], &["--speaks", "program"]].concat()).json(3);
    assert_eq!(
        (&denied["by"], &denied["used"]),
        (&json!("rule `people write`"), &json!(["class", { "speaks": "program" }]))
    );
    // Where no terminal is, a program runs it.
    write(&place, "a.md", "1");
    assert!(place.run(&["trace"]).stdout.contains("rule `people write`"));
    assert!(!place.home().join("workspace/a.md").exists());
}

#[test]
fn rules_and_examples_are_listed_and_mistakes_are_told() {
    let place = home();
    let found = place.run(&["policy", "check", "--json"]).json(0);
    let rules = found["rules"].as_array().unwrap();
    let [.., secrets, night] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!((&secrets["rule"], &secrets["verdict"]), (&json!("no secrets"), &json!("deny")));
    assert_eq!((&night["examples"], &found["count"]), (&json!(1), &json!(0)));
    let tested = place.run(&["policy", "test", "--json"]).json(0);
    let is: Vec<&Value> =
        tested["examples"].as_array().unwrap().iter().map(|example| &example["is"]["verdict"]).collect();
    assert!(is.ends_with(&[&json!("deny"), &json!("allow")]), "{is:?}");
    let other = place.path("other.toml");
    std::fs::write(&other, place.config().replace("bytes_out = 3, ", "bytes_out = 9, ")).unwrap();
    let other = other.to_str().unwrap();
    assert_eq!(place.run(&["policy", "check", other, "--json"]).json(2)["mistakes"][0]["code"], "example");
    for command in [&["policy", "test", other][..], &["policy", "diff", other], &["policy", "backtest", other]] {
        assert!(place.run(command).expect(2).stderr.contains("next: backstay policy check "), "{command:?}");
    }
}

/// The past is judged again as it was: who spoke, when, and the facts of that day.
#[test]
fn a_candidate_is_run_over_the_calls_of_the_journal() {
    let place = home();
    write(&place, "notes.md", "1");
    // Too little for the rule of the night, which it may be.
    write(&place, "out/report.md", "1234");
    write(&place, "secrets/x", "1");
    assert_eq!(place.run(&["policy", "backtest", "--json"]).json(0)["count"], 0, "what is in force said it");
    let calls = place.run(&["policy", "backtest", "--json"]).json(0)["calls"].clone();
    assert_eq!(calls, 3);

    let other = place.path("other.toml");
    let stricter = place.config().replace("workspace/secrets", "workspace/out");
    std::fs::write(&other, &stricter).unwrap();
    let found = place.run(&["policy", "backtest", other.to_str().unwrap(), "--json"]).json(0);
    let changes: Vec<_> = found["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            let path = c["facts"]["paths"][0]["real"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            (path, c["was"]["verdict"].clone(), c["is"]["verdict"].clone(), c["is"]["by"].clone())
        })
        .collect();
    let expected = [
        ("report.md".to_owned(), json!("allow"), json!("deny"), json!("rule `no secrets`")),
        ("x".to_owned(), json!("deny"), json!("allow"), json!("class default")),
    ];
    assert!(changes.len() == 2 && expected.iter().all(|change| changes.contains(change)), "{changes:?}");

    // Against the file in force, which has changed since: the examples speak, too.
    let diff = place.run(&["policy", "diff", other.to_str().unwrap(), "--json"]).json(0);
    assert_eq!((&diff["calls"], &diff["examples"], &diff["count"]), (&json!(3), &json!(5), &json!(6)));
    place.write_config(&stricter);
    assert_eq!(place.run(&["policy", "diff", other.to_str().unwrap(), "--json"]).json(0)["count"], 0);
    let shown = place.run(&["policy", "backtest"]).expect(0).stdout.clone();
    assert!(shown.contains("allow by class default -> deny by rule `no secrets` (backstay.toml:"), "{shown}");
    assert!(shown.ends_with("2 of 3 calls would be judged differently\n"), "{shown}");
}

/// A running home answers as well as one at rest.
#[test]
fn the_past_of_a_served_home_is_read_through_it() {
    let place = home();
    write(&place, "notes.md", "1");
    let served = place.serve();
    assert_eq!(place.run(&["policy", "backtest", "--json"]).json(0)["calls"], 1);
    assert_eq!(served.stop(), 0);
}

#[test]
fn a_rule_of_the_home_narrows_every_agent_and_is_told_by_its_line() {
    let place = Place::with_home();
    let config = place.config();
    let own = "\n[[agents.main.rules]]\nname = \"own\"\nverdict = \"allow\"\nmatch = { tool = \"write_file\" }\n";
    let tier = "\n[[rules]]\nname = \"nothing is written\"\nverdict = \"deny\"\nmatch = { tool = \"write_file\" }\n\
                matches = [{ tool = \"write_file\", path = \"workspace/a\" }]\n";
    place.write_config(&format!("{config}{own}"));
    write(&place, "a", "x");
    let other = place.path("other.toml");
    std::fs::write(&other, format!("{config}{own}{tier}")).unwrap();
    let other = other.to_str().unwrap();
    for verb in ["diff", "backtest"] {
        let found = place.run(&["policy", verb, other, "--json"]).json(0);
        let (was, is) = (json!("rule `own`"), json!("rule `nothing is written`"));
        let is_this = |change: &Value| change["was"]["by"] == was && change["is"]["by"] == is;
        assert!(found["changes"].as_array().unwrap().iter().any(is_this), "{verb}: {found}");
    }
    place.write_config(&format!("{config}{own}{tier}"));
    let call = r#"{"path":"a","content":"x"}"#;
    let found = place.run(&["policy", "explain", "write_file", call, "--json"]).json(3);
    assert_eq!(found["line"], json!(line(&place, "nothing is written")));
    let rules = place.run(&["policy", "check", "--json"]).json(0)["rules"].clone();
    let of = |rule: usize| (rules[rule]["agent"].clone(), rules[rule]["rule"].clone(), rules[rule]["examples"].clone());
    assert_eq!(of(0), (json!("*"), json!("nothing is written"), json!(1)));
    let of_home = rules.as_array().unwrap().iter().filter(|rule| rule["rule"] == "nothing is written").count();
    assert_eq!((of_home, of(1).0), (1, json!("main")), "{rules}");
}
