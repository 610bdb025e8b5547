//! While models say nothing, everything else goes on: no lock and no thread is held for a call
//! that hangs.
use serde_json::json;

use crate::door::Door;
use crate::place::Place;
use crate::scripted::{Play, Scripted, says};

/// Turns that hang at once: more than a machine has threads for.
const HANGING: usize = 40;

#[test]
fn models_that_hang_hold_up_nobody_else() {
    let model = Scripted::start(|_, body| {
        let last = body["messages"].as_array().unwrap().last().unwrap()["content"].clone();
        if last == "hang" { Play::Hang } else { Play::Bytes(says("here")) }
    });
    let place = Place::empty();
    place.run(&["init"]).expect(0);
    place.write_config(&model.config(""));
    let door = Door::serve(&place, &[("MODEL_KEY", "k")]);
    let hanging: Vec<(String, String)> = (0..HANGING).map(|_| door.say("hang")).collect();
    while model.heads().len() < HANGING {
        std::thread::yield_now();
    }
    assert_eq!(door.get("/live").status, 200);
    assert_eq!(door.get("/ready").json, json!({ "ready": true, "reasons": [] }));
    assert_eq!(door.ended(&door.say("hello").1)["reply"], "here");
    // A session whose call hangs takes a message too, and ends its turn when it is told to.
    for (session, turn) in &hanging {
        let queued = door.call("POST", &format!("/api/sessions/{session}/messages"), &json!({ "text": "hello" }));
        assert_eq!(queued.status, 202, "{}", queued.text);
        let cancelled = door.call("POST", &format!("/api/turns/{turn}/cancel"), &json!({}));
        assert_eq!(cancelled.status, 200, "{}", cancelled.text);
        assert_eq!(door.ended(turn)["reason"], "stopped_by_user");
        assert_eq!(door.ended(queued.json["turn"].as_str().unwrap())["reply"], "here");
    }
}
