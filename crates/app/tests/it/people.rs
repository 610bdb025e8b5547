//! What waits for a person: shown exactly, answered once, and gone on with.
use serde_json::Value;

use crate::door::Door;
use crate::place::Place;

/// A home in which the report waits for a yes.
fn asked() -> (Place, Value) {
    let place = Place::with_home();
    let ran = place.run(&["run", "write the report"]);
    assert_eq!(ran.expect(4).stdout, "");
    assert!(ran.stderr.contains("backstay approve "), "{}", ran.stderr);
    let found = place.run(&["approvals", "--json"]).json(0);
    let item = found["approvals"][0].clone();
    assert!(ran.stderr.contains(item["id"].as_str().unwrap()));
    (place, item)
}

fn text<'v>(item: &'v Value, field: &str) -> &'v str {
    item[field].as_str().unwrap()
}

#[test]
fn a_yes_does_exactly_the_action_and_the_turn_goes_on() {
    let (place, item) = asked();
    let report = place.home().join("workspace/out/reports/rehearsal.md");
    assert!(!report.exists());
    let shown = place.run(&["approvals"]);
    assert!(shown.stdout.contains("out/reports/rehearsal.md") && shown.stdout.contains(text(&item, "digest")));
    let ran = place.run(&["approve", text(&item, "id"), "--note", "looks right"]);
    ran.expect(0);
    assert!(report.exists());
    assert!(ran.stdout.starts_with("approved\n") && ran.stdout.contains("created"), "{}", ran.stdout);
    place.run(&["approve", text(&item, "id")]).expect(5);
    let trace = place.run(&["trace", text(&item, "turn"), "--json"]).json(0);
    assert_eq!(trace["state"], "ended");
    assert_eq!(trace["touched"][0]["end"]["outcome"], "done");
    assert!(place.run(&["trace", text(&item, "turn")]).stdout.contains("reports need a yes"));
}

/// Killed between the edit and the yes; what does not fit the tool changes nothing.
#[test]
fn an_edited_call_is_asked_about_again_and_made_as_it_was_edited() {
    let (place, item) = asked();
    let (id, turn) = (text(&item, "id"), text(&item, "turn"));
    let reports = place.home().join("workspace/out/reports");
    let served = place.serve();
    for (arguments, code) in
        [("{\"path\":\"out/reports/b.md\"}", "bad_arguments"), ("{\"path\":7,\"content\":\"\"}", "bad_arguments")]
    {
        let error = place.run(&["approvals", "edit", id, "--arguments", arguments, "--json"]).error(2);
        assert_eq!(error["code"], code, "{arguments}");
    }
    place.run(&["approvals", "edit", id, "--arguments", "[1]"]).expect(2);
    assert_eq!(place.run(&["approvals", "--json"]).json(0)["approvals"][0], item);
    let arguments = place.path("arguments.json");
    std::fs::write(&arguments, "{\"path\":\"out/reports/b.md\",\"content\":\"shorter\"}").unwrap();
    let from = format!("@{}", arguments.display());
    place.run(&["approvals", "edit", id, "--arguments", &from, "--note", "too long"]).expect(4);
    served.kill();
    assert!(!reports.join("b.md").exists());
    let shown = place.run(&["approvals"]);
    assert!(
        shown.stdout.contains("EDITED by owner (program); the model wrote: {") && shown.stdout.contains("shorter"),
        "{}",
        shown.stdout
    );
    place.run(&["approve", id, "--digest", text(&item, "digest")]).expect(3);
    let ran = place.run(&["approve", id]);
    ran.expect(0);
    assert_eq!(std::fs::read_to_string(reports.join("b.md")).unwrap(), "shorter");
    assert!(!reports.join("rehearsal.md").exists());
    let sent = place.run(&["trace", turn, "--as-sent", "2"]).stdout;
    assert!(sent.contains("whoever was asked about this call changed its arguments"), "{sent}");
    let trace = place.run(&["trace", turn]).stdout;
    assert!(trace.contains("edited by owner") && trace.contains("before owner edited it: {"), "{trace}");
    let audit = place.run(&["audit", "show", id, "--json"]).json(0);
    assert!(audit["args"].as_str().unwrap().contains("shorter") && audit["edits"][0]["by"] == "owner", "{audit}");
    assert!(audit["edits"][0]["args_before"].as_str().unwrap().contains("rehearsal.md"), "{audit}");
    place.run(&["audit", "verify"]).expect(0);
}

#[test]
fn a_no_leaves_the_world_as_it_is() {
    let (place, item) = asked();
    let ran = place.run(&["deny", text(&item, "id")]);
    ran.expect(0);
    assert!(ran.stdout.starts_with("denied\n"));
    assert!(!place.home().join("workspace/out/reports/rehearsal.md").exists());
}

/// The first ask is of a process that is gone: how long it waited is known all the same.
#[test]
fn the_metrics_say_how_asks_were_decided_and_how_long_they_were_open() {
    let (place, item) = asked();
    let door = Door::serve(&place, &[]);
    place.run(&["approve", text(&item, "id")]).expect(0);
    place.run(&["run", "write the report"]).expect(4);
    let open = place.run(&["approvals", "--json"]).json(0);
    place.run(&["deny", text(&open["approvals"][0], "id")]).expect(0);
    let metrics = door.get("/metrics").text;
    for line in [
        "backstay_approvals_asked_total 1",
        "backstay_approvals_decided_total{decision=\"approved\"} 1",
        "backstay_approvals_decided_total{decision=\"denied\"} 1",
        "backstay_approval_wait_seconds_count 2",
        "backstay_approval_wait_seconds_bucket{le=\"+Inf\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    let sum = metrics.lines().find_map(|line| line.strip_prefix("backstay_approval_wait_seconds_sum ")).unwrap();
    assert!(sum.parse::<f64>().unwrap() > 0.0, "{metrics}");
}

#[test]
fn a_yes_to_another_digest_is_refused() {
    let (place, item) = asked();
    let other = "0".repeat(64);
    let error = place.run(&["approve", text(&item, "id"), "--digest", &other, "--json"]);
    error.expect(3);
    assert!(error.stderr.contains("wrong_digest"), "{}", error.stderr);
    assert!(!place.home().join("workspace/out/reports/rehearsal.md").exists());
}

#[test]
fn a_question_is_answered_with_words() {
    let place = Place::with_home();
    let turn = place.run(&["run", "ask me something", "--json"]).json(4);
    assert_eq!((text(&turn, "state"), text(&turn, "wait")), ("waiting", "question"));
    let status = place.run(&["status", "--json"]).json(0);
    assert_eq!(status["questions"][0]["id"], turn["id"]);
    let ran = place.run(&["answer", text(&turn, "id"), "Bergen"]);
    assert!(ran.expect(0).stdout.contains("Bergen"));
    place.run(&["answer", text(&turn, "id"), "Oslo"]).expect(5);
}

#[test]
fn nothing_waits_in_a_new_home() {
    let place = Place::with_home();
    assert_eq!(place.run(&["approvals"]).expect(0).stdout, "");
    assert_eq!(place.run(&["doubts", "--json"]).json(0)["doubts"], serde_json::json!([]));
    let id = "0000000000000001.2";
    place.run(&["resolve", id, "done", "--note", "seen"]).expect(5);
    place.run(&["resolve", id, "done"]).expect(2);
}

#[test]
fn a_stopped_session_and_a_frozen_home_refuse_and_go_on() {
    let place = Place::with_home();
    let turn = place.run(&["run", "/say one", "--json"]).json(0);
    let session = text(&turn, "session");
    place.run(&["stop", session]).expect(0);
    let refused = place.run(&["run", "/say two", "--session", session]);
    assert!(refused.expect(3).stderr.contains("backstay resume"), "{}", refused.stderr);
    place.run(&["resume", session]).expect(0);
    place.run(&["run", "/say two", "--session", session]).expect(0);
    place.run(&["freeze"]).expect(0);
    let refused = place.run(&["run", "hello"]);
    assert!(refused.expect(3).stderr.contains("backstay unfreeze"), "{}", refused.stderr);
    assert_eq!(place.run(&["status", "--json"]).json(0)["frozen"], true);
    place.run(&["unfreeze"]).expect(0);
    place.run(&["run", "hello"]).expect(0);
}

/// Without a token it is the owner who sits there, whom the rule does not name.
#[test]
fn two_people_say_yes_at_one_machine_each_with_a_token_of_their_own() {
    let place = Place::with_home();
    let two = "\n[principals.bea]\nrole = \"approver\"\nchannels = [\"cli\"]\n[principals.cem]\nrole = \"approver\"\n\
               [[agents.main.rules]]\nname = \"two\"\nverdict = \"ask\"\nmatch = { tool = \"write_file\" }\n\
               ask = { principal = [\"bea\", \"cem\"], quorum = 2 }\n";
    place.write_config(&(place.config() + two));
    let token = |name: &str| {
        let words = ["tokens", "create", "--principal", name, "--speaks", "human", "--scope", "approve", "--json"];
        let file = place.path(name);
        std::fs::write(&file, place.run(&words).json(0)["token"].as_str().unwrap()).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (bea, cem) = (token("bea"), token("cem"));
    place.run(&["run", "/call write_file {\"path\":\"out/a.txt\",\"content\":\"x\"}"]).expect(4);
    let shown = place.run(&["approvals"]).stdout.clone();
    assert!(shown.contains("wants a yes of: bea, cem; 2 people must say yes; so far: nobody yet"), "{shown}");
    let id = place.run(&["approvals", "--json"]).json(0)["approvals"][0]["id"].as_str().unwrap().to_owned();
    let refused = place.run(&["approve", &id, "--json"]);
    assert_eq!(refused.error(3)["code"], "not_an_approver");
    let said = place.run(&["approve", &id, "--token", &bea]);
    assert!(said.expect(4).stdout.contains("said yes; it takes 1 more"), "{}", said.stdout);
    assert!(place.run(&["approvals"]).stdout.contains("so far: bea"));
    assert_eq!(place.run(&["approve", &id, "--token", &bea, "--json"]).error(3)["code"], "already_approved");
    place.run(&["approve", &id, "--token", &cem]).expect(0);
    assert!(place.home().join("workspace/out/a.txt").exists());
}
