//! Rendered items: the law that pieces make the wire, and what each API is shown.

use std::cell::RefCell;
use std::collections::BTreeMap;

use backstay_kernel::context::Notice;
use backstay_kernel::facts::Invalid;
use backstay_kernel::id::Digest;
use backstay_kernel::label::Label;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::calls::calls_json;

/// Bodies by number, as a store would hold them.
#[derive(Default)]
struct Table(RefCell<BTreeMap<u64, Arc<[u8]>>>);

impl Table {
    fn put(&self, bytes: impl AsRef<[u8]>) -> BodyRef {
        let bytes = bytes.as_ref();
        let mut table = self.0.borrow_mut();
        let id = table.len() as u64;
        table.insert(id, bytes.into());
        BodyRef { id, digest: Digest::of("test", &[bytes]), bytes: u32::try_from(bytes.len()).unwrap() }
    }

    fn get(&self, body: &BodyRef) -> Option<Arc<[u8]>> {
        self.0.borrow().get(&body.id).cloned()
    }

    fn render(&self, kind: Kind, wanted: &Item) -> Result<Fragment, Missing> {
        item(kind, wanted, &|body| self.get(body))
    }

    /// The wire as JSON messages, after checking that the pieces make it.
    fn messages(&self, kind: Kind, wanted: &Item) -> Vec<Value> {
        let fragment = self.render(kind, wanted).unwrap();
        assert_eq!(self.expand(&fragment.pieces), fragment.wire);
        serde_json::from_str(&format!("[{}]", fragment.wire)).unwrap()
    }

    fn expand(&self, pieces: &[Piece]) -> String {
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Raw(body) => out.push_str(str::from_utf8(&self.get(body).unwrap()).unwrap()),
                Piece::Escaped(body) => escape(str::from_utf8(&self.get(body).unwrap()).unwrap(), &mut out),
            }
        }
        out
    }
}

fn call(id: &str, name: &str, arguments: &str) -> Call {
    Call { id: id.into(), name: name.into(), arguments: arguments.into() }
}

fn label() -> Label {
    serde_json::from_value(json!({"conf": "internal", "integrity": "untrusted", "source": "principal"})).unwrap()
}

#[test]
fn a_reply_and_its_results_as_openai_reads_them() {
    let table = Table::default();
    let calls = table.put(calls_json(&[call("a:1", "read_file", "{\"path\":\"x\"}"), call("b", "y", "{oops")]));
    let reply = Item::Assistant { text: None, calls: Some(calls) };
    let shown = table.messages(Kind::OpenAi, &reply);
    assert_eq!(shown[0]["content"], Value::Null);
    assert_eq!(shown[0]["tool_calls"][1]["function"]["arguments"], "{oops");

    let result = Answer::Body { body: table.put("ok \"1\""), warned: true };
    let note = Note::Invalid { why: Invalid::BadArguments, detail: Some(table.put("`path` is missing")) };
    let results = Item::Results { calls, answers: vec![result, Answer::Note(note)] };
    let shown = table.messages(Kind::OpenAi, &results);
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0]["role"], "tool");
    assert_eq!(shown[0]["tool_call_id"], "a:1");
    assert_eq!(shown[0]["content"], format!("ok \"1\"{REPEAT_WARNING}"));
    assert_eq!(shown[1]["tool_call_id"], "b");
    assert!(shown[1]["content"].as_str().unwrap().ends_with("Nothing was done.\n`path` is missing"));
}

#[test]
fn a_reply_and_its_results_as_anthropic_reads_them() {
    let table = Table::default();
    let calls = table.put(calls_json(&[call("a:1", "read_file", "{\"path\":\"x\"}"), call("b", "y", "{oops")]));
    let reply = Item::Assistant { text: Some(table.put("let me see")), calls: Some(calls) };
    let shown = table.messages(Kind::Anthropic, &reply);
    assert_eq!(
        shown[0]["content"],
        json!([
            {"type": "text", "text": "let me see"},
            {"type": "tool_use", "id": "a_1", "name": "read_file", "input": {"path": "x"}},
            {"type": "tool_use", "id": "b", "name": "y", "input": {"_raw": "{oops"}},
        ])
    );
    let result = Answer::Body { body: table.put("ok"), warned: false };
    let results = Item::Results { calls, answers: vec![result, Answer::Note(Note::Refused)] };
    let shown = table.messages(Kind::Anthropic, &results);
    assert_eq!(shown.len(), 1);
    let blocks = &shown[0]["content"];
    assert_eq!(blocks[0], json!({"type": "tool_result", "tool_use_id": "a_1", "content": "ok"}));
    assert_eq!(blocks[1]["is_error"], true);
    assert_eq!(blocks[1]["content"], Note::Refused.text());
}

#[test]
fn an_answer_to_an_edited_call_says_first_what_was_called() {
    let table = Table::default();
    let calls = table.put(calls_json(&[call("a", "send", "{\"to\":\"ann\"}"), call("b", "send", "{}")]));
    let edited = |arguments: &str, answer| {
        let calls = table.put(calls_json(&[call("a", "send", arguments)]));
        Answer::Edited { calls, answer: Box::new(answer) }
    };
    let done = edited("{\"to\":\"bob\"}", Answer::Body { body: table.put("sent"), warned: true });
    let results = Item::Results { calls, answers: vec![done, edited("{}", Answer::Note(Note::Refused))] };
    let told = format!("{EDITED_BEFORE}{{\"to\":\"bob\"}}{EDITED_AFTER}sent{REPEAT_WARNING}");
    let openai = table.messages(Kind::OpenAi, &results);
    assert_eq!((&openai[0]["tool_call_id"], &openai[0]["content"]), (&json!("a"), &json!(told)));
    let blocks = &table.messages(Kind::Anthropic, &results)[0]["content"];
    assert_eq!(blocks[0], json!({"type": "tool_result", "tool_use_id": "a", "content": told}));
    assert_eq!(blocks[1]["is_error"], true);
}

#[test]
fn long_bodies_are_referred_to_and_short_ones_written_out() {
    let table = Table::default();
    let long = table.put("é\n".repeat(100));
    let user = Item::User { body: long, label: label() };
    let fragment = table.render(Kind::OpenAi, &user).unwrap();
    assert_eq!(fragment.pieces.len(), 3);
    assert_eq!(fragment.pieces[1], Piece::Escaped(long));
    let short = Item::User { body: table.put("hi"), label: label() };
    let fragment = table.render(Kind::OpenAi, &short).unwrap();
    assert_eq!(fragment.pieces, vec![Piece::Text(fragment.wire.clone())]);
}

#[test]
fn anthropic_is_never_sent_a_blank_text() {
    let table = Table::default();
    let user = Item::User { body: table.put(" \n"), label: label() };
    assert_eq!(table.messages(Kind::Anthropic, &user)[0]["content"], BLANK);
    let silent = Item::Assistant { text: Some(table.put("")), calls: None };
    assert_eq!(table.messages(Kind::Anthropic, &silent)[0]["content"][0]["text"], BLANK);
    assert_eq!(table.messages(Kind::OpenAi, &silent)[0]["content"], "");
}

#[test]
fn what_is_missing_is_named() {
    let table = Table::default();
    let gone = BodyRef { id: 99, digest: Digest::default(), bytes: 3 };
    let no_calls = table.put("[]");
    for kind in [Kind::OpenAi, Kind::Anthropic] {
        assert_eq!(table.render(kind, &Item::User { body: gone, label: label() }), Err(Missing(gone)));
        let reply = Item::Assistant { text: None, calls: Some(no_calls) };
        assert_eq!(table.render(kind, &reply), Err(Missing(no_calls)));
        let results = Item::Results { calls: no_calls, answers: Vec::new() };
        assert_eq!(table.render(kind, &results), Err(Missing(no_calls)));
    }
}

#[test]
fn a_call_without_an_answer_is_answered_as_not_started() {
    let table = Table::default();
    let calls = table.put(calls_json(&[call("a", "x", "{}")]));
    let results = Item::Results { calls, answers: Vec::new() };
    let shown = table.messages(Kind::OpenAi, &results);
    assert_eq!(shown[0]["content"], Note::NotStarted.text());
}

/// Text that JSON, UTF-8 and the length rule all have an opinion on.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        ".{0,30}".prop_map(String::into_bytes),
        "[\\\\\"\n\t\u{0}é漢😀 ]{0,300}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..260),
    ]
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let arguments = prop_oneof![
        Just("{}".to_owned()),
        Just("{\"n\":1e999}".to_owned()),
        Just("{\"s\":\"\\ud800\"}".to_owned()),
        Just("[1]".to_owned()),
        Just("{\"a\":{\"b\":[1,2.5,null,\"x\\n\"]}} ".to_owned()),
        ".{0,40}",
    ];
    let call = (".{0,20}", "[a-z_.\"]{0,9}", arguments);
    let call = call.prop_map(|(id, name, arguments)| Call { id, name, arguments });
    prop::collection::vec(call, 1..4)
}

#[derive(Clone, Debug)]
enum Plan {
    User(Vec<u8>),
    Assistant(Option<Vec<u8>>, Option<Vec<Call>>),
    Results(Vec<Call>, Vec<(Vec<u8>, u8)>),
    Notice(bool),
}

fn plan() -> impl Strategy<Value = Plan> {
    prop_oneof![
        text().prop_map(Plan::User),
        (prop::option::of(text()), prop::option::of(calls())).prop_map(|(t, c)| Plan::Assistant(t, c)),
        (calls(), prop::collection::vec((text(), 0u8..5), 0..4)).prop_map(|(c, a)| Plan::Results(c, a)),
        any::<bool>().prop_map(Plan::Notice),
    ]
}

fn build(table: &Table, plan: &Plan) -> Item {
    let put_calls = |calls: &Vec<Call>| table.put(calls_json(calls));
    match plan {
        Plan::User(text) => Item::User { body: table.put(text), label: label() },
        Plan::Assistant(text, calls) => {
            Item::Assistant { text: text.as_ref().map(|t| table.put(t)), calls: calls.as_ref().map(put_calls) }
        }
        Plan::Results(calls, answers) => {
            let answer = |(text, kind): &(Vec<u8>, u8)| match kind {
                0 | 1 => Answer::Body { body: table.put(text), warned: *kind == 1 },
                2 => Answer::Note(Note::Denied(String::from_utf8_lossy(text).into_owned())),
                3 => Answer::Note(Note::Invalid { why: Invalid::NoMatch, detail: Some(table.put(text)) }),
                _ => Answer::Note(Note::Unknown),
            };
            Item::Results { calls: put_calls(calls), answers: answers.iter().map(answer).collect() }
        }
        Plan::Notice(done) => Item::Notice(Notice::LaterTruth { done: *done }),
    }
}

proptest! {
    #[test]
    fn pieces_make_the_wire_and_the_wire_is_json(plan in plan()) {
        let table = Table::default();
        let built = build(&table, &plan);
        let openai = table.messages(Kind::OpenAi, &built);
        let anthropic = table.messages(Kind::Anthropic, &built);
        prop_assert_eq!(anthropic.len(), 1);
        if let Plan::Results(calls, _) = &plan {
            let ids: Vec<&str> = openai.iter().map(|m| m["tool_call_id"].as_str().unwrap()).collect();
            let wanted: Vec<&str> = calls.iter().map(|c| c.id.as_str()).collect();
            prop_assert_eq!(ids, wanted);
            prop_assert_eq!(anthropic[0]["content"].as_array().unwrap().len(), calls.len());
        }
        if let Plan::Assistant(_, Some(calls)) = &plan {
            let blocks = anthropic[0]["content"].as_array().unwrap();
            let uses = blocks.iter().filter(|b| b["type"] == "tool_use");
            prop_assert!(uses.clone().all(|b| b["input"].is_object()));
            prop_assert_eq!(uses.count(), calls.len());
        }
    }
}
