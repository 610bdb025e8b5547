//! The scope of a task by the real binary: what is asked about, what is shown of it, and what is not.
use serde_json::{Value, json};

use crate::door::Door;
use crate::place::Place;

/// A home whose agent has a scope, and may write to a directory outside of it.
fn home() -> (Place, String) {
    let place = Place::with_home();
    let outside = place.home().with_file_name("outside");
    std::fs::create_dir_all(&outside).unwrap();
    let outside = outside.canonicalize().unwrap().to_str().unwrap().to_owned();
    let config = place.config().replace("write = [\"workspace\"]", &format!("write = [\"workspace\", \"{outside}\"]"));
    place.write_config(&config.replace("[agents.main]\n", "[agents.main]\nscope = true\n"));
    assert!(place.config().contains("scope = true") && place.config().contains(&outside));
    (place, outside)
}

/// A task that reads, and then writes these files of the directory outside; it says all of their paths itself.
fn task(plan: &Value, outside: &str, files: &[&str]) -> String {
    let write = |file: &&str| {
        format!("/call write_file {}\n/then\n", json!({ "path": format!("{outside}/{file}"), "content": "x" }))
    };
    let writes: String = files.iter().map(write).collect();
    format!("/plan {plan}\n/call list_dir {{\"path\":\".\"}}\n/then\n{writes}/say it is written")
}

#[test]
fn a_call_outside_of_the_scope_asks_though_its_path_was_named_and_one_inside_does_not() {
    let (place, outside) = home();
    let door = Door::serve_to("human", &place, &[]);
    let plan = json!({ "tools": [{ "name": "list_dir", "count": 9 }, { "name": "write_file", "count": 1 }] });
    let (session, turn) = door.say(&task(&plan, &outside, &["a.txt", "b.txt"]));
    let asked = loop {
        let view = door.get("/api/approvals").json;
        if let Some(asked) = view["approvals"].get(0) {
            break asked.clone();
        }
        std::thread::yield_now();
    };
    assert_eq!((&asked["flow"], &asked["rule"]), (&json!("outside_scope"), &json!("information flow")));
    let path = |file: &str| std::path::Path::new(&outside).join(file);
    assert!(path("a.txt").exists() && !path("b.txt").exists());
    let shown = place.run(&["approvals"]).stdout.clone();
    assert!(shown.contains("outside of the task's scope"), "{shown}");
    let (id, yes) = (asked["id"].as_str().unwrap(), json!({ "decision": "approve", "digest": asked["digest"] }));
    assert_eq!(door.call("POST", &format!("/api/approvals/{id}"), &yes).status, 200);
    assert_eq!(door.ended(&turn)["reply"], "it is written");
    assert!(path("b.txt").exists());
    // Of the plan nobody hears as of a reply; whoever asks is shown all of it.
    let events = door.events_until_ended(&session);
    let deltas: Vec<&str> =
        events.lines().filter(|line| line.contains("\"delta\"") && line.contains("tools")).collect();
    assert!(deltas.is_empty(), "{deltas:?}");
    let trace = place.run(&["trace", &turn]).stdout.clone();
    for words in [
        "the task's scope: list_dir 9 times, write_file once",
        "inside entry 1 of the task's scope",
        "outside of the task's scope",
    ] {
        assert!(trace.contains(words), "{words}: {trace}");
    }
    let sent = place.run(&["trace", &turn, "--as-sent", "2"]).json(0);
    assert_eq!(sent["messages"].as_array().unwrap().len(), 2, "{sent}");
    assert!(
        sent.get("tools").is_none() && sent["messages"][0]["content"].as_str().unwrap().contains("\"list_dir\""),
        "{sent}"
    );
    let then = place.run(&["trace", &turn, "--as-sent", "3"]).json(0);
    assert!(then["tools"].is_array() && !then["messages"][0].to_string().contains("Plan the calls"), "{then}");
    door.stop();
    place.run(&["audit", "verify"]).expect(0);
    let copy = place.run(&["sessions", "export", &session]).stdout.clone();
    assert!(copy.contains("write_file") && copy.contains("\"scoped\""), "{copy}");
}

#[test]
fn an_answer_that_streams_holds_nothing_of_the_plan() {
    let (place, outside) = home();
    let door = Door::serve_to("human", &place, &[]);
    let plan = json!({ "tools": [{ "name": "write_file", "count": 1 }] });
    for streamed in [false, true] {
        let messages = json!([{ "role": "user", "content": task(&plan, &outside, &["c.txt"]) }]);
        let body = json!({ "model": "main", "messages": messages, "stream": streamed });
        let answer = door.call("POST", "/v1/chat/completions", &body);
        assert!(answer.status == 200 && !answer.text.contains("count"), "{}", answer.text);
        assert!(answer.text.contains(if streamed { "written" } else { "it is written" }), "{}", answer.text);
    }
}

#[test]
fn without_the_key_nothing_is_planned() {
    let (place, outside) = home();
    place.write_config(&place.config().replace("scope = true\n", ""));
    let door = Door::serve_to("human", &place, &[]);
    let (_, turn) = door.say(&task(&json!({ "tools": [] }), &outside, &["d.txt"]));
    assert_eq!(door.ended(&turn)["reply"], "it is written");
    let planned = place.run(&["sql", "SELECT count(*) FROM entries WHERE body LIKE '%\"scoped\"%'", "--json"]).json(0);
    assert_eq!(planned["rows"][0][0], 0, "{planned}");
}
