//! `sql`, `audit verify`, `budget`, `trace --as-sent`: the journal answers.
use serde_json::Value;

use crate::place::{Place, Ran};
use crate::scripted::{Scripted, says};

#[test]
fn a_select_reads_and_nothing_else_runs() {
    let place = Place::with_home();
    place.run(&["run", "/say one"]).expect(0);
    let answer = place.run(&["sql", "SELECT count(*) AS n FROM v_effects", "--json"]).json(0);
    assert_eq!((&answer["columns"][0], &answer["rows"][0][0]), (&Value::from("n"), &Value::from(1)));
    let texts = place.run(&["sql", "SELECT body(id) FROM bodies"]);
    assert!(texts.expect(0).stdout.contains("/say one"));
    for query in ["DELETE FROM heads", "PRAGMA journal_mode = DELETE", "SELECT nonsense", ""] {
        place.run(&["sql", query]).expect(2);
    }
    let verdict = place.run(&["audit", "verify"]);
    assert!(
        verdict.expect(0).stdout.contains("the ledger as the records book it; a key or a memory"),
        "{}",
        verdict.stdout
    );
}

#[test]
fn the_list_of_sessions_is_as_long_as_asked_and_goes_on_where_it_ended() {
    let place = Place::with_home();
    let begun = ["/say one", "/say two", "/say three"].map(|task| {
        let turn = place.run(&["run", task, "--json"]).json(0);
        turn["session"].as_str().unwrap().to_owned()
    });
    let list = |more: &[&str]| {
        let listed = place.run(&[&["sessions", "list", "--json"], more].concat()).json(0);
        let sessions: Vec<String> = listed["sessions"].as_array().unwrap().iter().map(session).collect();
        sessions
    };
    let [one, two, three] = begun;
    assert_eq!(list(&["--limit", "2"]), [three.clone(), two.clone()]);
    assert_eq!(list(&["--after", &two]), [one]);
}

fn session(item: &Value) -> String {
    item["session"].as_str().unwrap().to_owned()
}

#[test]
fn a_changed_journal_does_not_verify() {
    let place = Place::with_home();
    place.run(&["run", "/say something to be changed"]).expect(0);
    assert_eq!(place.run(&["audit", "verify", "--json"]).json(0)["sound"], true);
    let state = place.home().join("state.db");
    let mut bytes = std::fs::read(&state).unwrap();
    let needle = b"something to be changed";
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] = b'S';
    std::fs::write(&state, bytes).unwrap();
    let report = place.run(&["audit", "verify", "--json"]).json(1);
    assert_eq!(report["sound"], false);
    assert!(report["fault_count"].as_u64().unwrap() > 0);
}

#[test]
fn a_request_is_shown_as_it_was_sent() {
    let place = Place::with_home();
    let turn = place.run(&["run", "/say one", "--json"]).json(0);
    let sent = place.run(&["trace", turn["turn"].as_str().unwrap(), "--as-sent", "1"]);
    let request: Value = serde_json::from_str(&sent.expect(0).stdout).unwrap();
    assert_eq!(request["model"], "rehearsal");
    assert!(request["messages"].to_string().contains("/say one"));
    place.run(&["trace", turn["turn"].as_str().unwrap(), "--as-sent", "2"]).expect(5);
    place.run(&["trace", turn["turn"].as_str().unwrap(), "--as-sent", "0"]).expect(2);
}

#[test]
fn the_budget_counts_what_was_used() {
    let place = Place::with_home();
    place.run(&["run", "/say one"]).expect(0);
    let budget = place.run(&["budget", "--json"]).json(0);
    let windows = budget["windows"].as_array().unwrap();
    let day = windows.iter().find(|window| window["window"].as_str().unwrap().starts_with("agent:main/day")).unwrap();
    assert!(day["used"]["tokens"].as_u64().unwrap() > 0);
    assert_eq!(day["limit"]["micro_usd"], 5_000_000);
}

#[test]
fn looking_needs_no_key_and_starts_nothing() {
    let model = Scripted::playing(vec![says("hello")]);
    let place = Place::empty();
    place.run(&["init"]).expect(0);
    place.write_config(&model.config(""));
    let ran = Ran::of(&place.command(&["run", "go", "--json"]).env("MODEL_KEY", "k").output().unwrap());
    let turn = ran.json(0)["turn"].as_str().unwrap().to_owned();
    for arguments in [
        &["status"][..],
        &["sessions", "list"],
        &["trace", &turn],
        &["approvals"],
        &["budget"],
        &["tokens", "list"],
        &["sql", "SELECT 1"],
        &["audit", "verify"],
        &["backup", place.path("backup").to_str().unwrap()],
    ] {
        place.run(arguments).expect(0);
    }
    let error = place.run(&["run", "go", "--json"]).error(2);
    assert!(error["message"].as_str().unwrap().contains("MODEL_KEY"), "{error}");
    let found = place.run(&["doctor"]);
    for finding in ["MODEL_KEY is not set here", "opens and can be read"] {
        assert!(found.expect(0).stdout.contains(finding), "{}", found.stdout);
    }
    assert_eq!(model.heads().len(), 1);
}

/// What a trace says of calls that never started, each for another reason.
#[test]
fn what_was_refused_does_not_stand_open_in_a_trace() {
    let place = Place::with_home();
    let outside = "/call read_file {\"path\":\"../x\"}\n/call nothing {}\n/say tried";
    place.run(&["run", outside]).expect(0);
    let trace = place.run(&["trace"]).expect(0).stdout.clone();
    assert!(trace.contains(": invalid, outside grants `..` is not taken"), "{trace}");
    assert!(trace.contains(": invalid, unknown tool\n"), "{trace}");
    let label = "label: internal, trusted, of config -> internal, untrusted, of config+principal+model+tool\n";
    assert!(trace.contains(label), "{trace}");
    assert!(trace.contains("  read_file: refused\n") && trace.contains("  nothing: refused\n"), "{trace}");
    let waits = place.run(&["run", "write the report", "--json"]).json(4);
    let (turn, id) = (waits["turn"].as_str().unwrap(), waits["id"].as_str().unwrap());
    assert!(place.run(&["trace", turn]).stdout.contains("  write_file (write): open  /"));
    place.run(&["deny", id]).expect(0);
    assert!(place.run(&["trace", turn]).stdout.contains("  write_file (write): refused  /"));
}
