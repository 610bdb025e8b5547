//! Two doors of one home: they lead to the same sessions, and a reply that was lost on its way out is
//! still there behind them.
use std::io::Read as _;

use serde_json::{Value, json};

use crate::door::Door;
use crate::place::Place;
use crate::scripted::{Play, Scripted, says};

const CHAT: &str = "/v1/chat/completions";
const KEY: [(&str, &str); 1] = [("MODEL_KEY", "k")];

fn place(model: &Scripted) -> Place {
    let place = Place::empty();
    place.run(&["init"]).expect(0);
    place.write_config(&model.config(""));
    place
}

fn talk(text: &str) -> Value {
    json!({ "model": "main", "messages": [{ "role": "user", "content": text }] })
}

#[test]
fn messages_through_two_doors_at_once_are_one_session_in_one_order() {
    let model = Scripted::start(|_, body| {
        let last = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned();
        Play::Bytes(says(&format!("re: {last}")))
    });
    let place = place(&model);
    let door = Door::serve(&place, &KEY);
    let (session, turn) = door.say("first");
    door.ended(&turn);
    let named = format!("X-Backstay-Session: {session}\r\n");
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (door, session, named) = (&door, &session, &named);
            scope.spawn(move || {
                let text = format!("native {n}");
                let said = door.call("POST", &format!("/api/sessions/{session}/messages"), &json!({ "text": text }));
                let view = door.ended(said.json["turn"].as_str().unwrap());
                assert_eq!(view["reply"], format!("re: {text}"));
            });
            scope.spawn(move || {
                let text = format!("openai {n}");
                let answer = door.call_with(named, "POST", CHAT, &talk(&text));
                let content = &answer.json["choices"][0]["message"]["content"];
                assert_eq!(content, &format!("re: {text}"), "{}", answer.text);
            });
        }
    });
    let records = door.get(&format!("/api/sessions/{session}/records?limit=1000")).json["records"].take();
    let records = records.as_array().unwrap();
    assert!(records.iter().zip(1..).all(|(record, seq)| record["seq"] == seq), "a gap or a double");
    assert_eq!(records.iter().filter(|record| record["kind"] == "turn_ended").count(), 9);
    assert_eq!(door.get("/api/sessions").json["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(model.bodies().len(), 9);
}

#[test]
fn a_reply_that_a_crash_cut_off_is_given_to_whoever_asks_again() {
    let model = Scripted::start(|n, _| if n == 0 { Play::Hang } else { Play::Bytes(says("after the crash")) });
    let place = place(&model);
    let key = "Idempotency-Key: once\r\n";
    let door = Door::serve(&place, &KEY);
    let mut lost = door.send(key, "POST", CHAT, &talk("hello"));
    while model.heads().is_empty() {
        std::thread::yield_now();
    }
    door.kill();
    assert_eq!(lost.read_to_end(&mut Vec::new()).unwrap_or(0), 0, "nothing was said before the crash");
    let turn_of = |text: &str| text.lines().find_map(|line| line.strip_prefix("x-backstay-turn: ").map(str::to_owned));
    let mut turns = Vec::new();
    // The turn goes on by itself; after one more crash its reply is read from the journal.
    for _ in 0..2 {
        let door = Door::serve(&place, &KEY);
        let answer = door.call_with(key, "POST", CHAT, &talk("hello"));
        assert_eq!(answer.json["choices"][0]["message"]["content"], "after the crash", "{}", answer.text);
        let turn = turn_of(&answer.text).unwrap();
        assert_eq!(door.get(&format!("/api/turns/{turn}")).json["reply"], "after the crash");
        turns.push(turn);
        door.kill();
    }
    assert_eq!(turns[0], turns[1]);
    assert_eq!(model.heads().len(), 2, "the call that was cut off, and the one in its place");
}
