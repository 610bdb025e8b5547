//! Free text: a few things that a newcomer may say, and what the rehearsal model does about them.

use serde_json::{Map, Value, json};

use super::{Step, Turn};

/// What a newcomer can try: words to say, and the tool that it takes.
const DEMOS: &[(&str, &str)] = &[
    ("`what files are there?`", "list_dir"),
    ("`read notes.md`", "read_file"),
    ("`write a note: sails need mending` (goes to out/note.md)", "write_file"),
    ("`write the report` (goes to out/reports/, where a rule may ask for your yes)", "write_file"),
    ("`remember that the spare key is at the harbour`", "remember"),
    ("`recall key`", "recall"),
    ("`ask me something`", "ask_human"),
    (super::work::EXAMPLE, "run_command"),
];

/// The message is answered in at most two steps: a call, and a text about its result.
pub(super) fn step(turn: &Turn<'_>) -> Step {
    let Some((tool, arguments)) = intent(turn) else { return Step::say(help(turn)) };
    if turn.tool(tool).is_none() {
        return Step::say(format!(
            "This is the rehearsal model: a script, not an AI. It would call `{tool}` now, \
             but this agent was not given that tool."
        ));
    }
    if turn.played == 0 {
        return Step::call(tool, &arguments);
    }
    let results = if turn.results.is_empty() { "nothing".to_owned() } else { turn.results.join("\n") };
    Step::say(format!(
        "This is the rehearsal model: a script, not an AI. It called `{tool}`, and this came back:\n{results}"
    ))
}

fn help(turn: &Turn<'_>) -> String {
    let mut text = String::from(
        "This is the rehearsal model: a script, not an AI. It shows what the runtime does with a \
         model's wishes, without any provider. Say one of these:",
    );
    for (words, tool) in DEMOS {
        if turn.tool(tool).is_some() {
            text.push_str("\n- ");
            text.push_str(words);
        }
    }
    text.push_str("\n- lines such as `/call list_dir {\"path\":\".\"}`, `/then`, `/say it is done`: exact steps");
    text
}

fn intent(turn: &Turn<'_>) -> Option<(&'static str, Value)> {
    let message = turn.message.trim();
    let lower = message.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let has = |wanted: &[&str]| words.iter().any(|w| wanted.contains(w));
    if has(&["help"]) {
        return None;
    }
    if has(&["recall"]) || (has(&["remember"]) && message.ends_with('?')) {
        let query = after(message, &["recall", "remember", "about"]);
        return Some(("recall", one_text(turn, "recall", "query", query.trim_end_matches('?'))));
    }
    if has(&["remember"]) {
        let fact = after(message, &["remember", "that"]);
        return Some(("remember", one_text(turn, "remember", "text", &fact)));
    }
    if lower.contains("ask me") {
        let question = "The rehearsal model asks: which harbour shall we sail to?";
        return Some(("ask_human", one_text(turn, "ask_human", "question", question)));
    }
    if has(&["read", "open"]) && !has(&["write"]) {
        return Some(("read_file", json!({ "path": path(message) })));
    }
    if has(&["report", "reports"]) {
        let content = format!("# Report\n\nWritten by the rehearsal model, a script.\nIt was asked: {message}\n");
        return Some(("write_file", json!({ "path": "out/reports/rehearsal.md", "content": content })));
    }
    if has(&["write", "note"]) {
        let note = after(message, &["write", "a", "note", "that", "about"]);
        return Some(("write_file", json!({ "path": "out/note.md", "content": format!("{note}\n") })));
    }
    if has(&["list", "files", "directory", "folder"]) {
        return Some(("list_dir", json!({ "path": "." })));
    }
    None
}

/// What follows the first of `skipped`, without any more of them.
fn after(message: &str, skipped: &[&str]) -> String {
    let plain = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let is_skipped = |word: &&str| skipped.contains(&plain(word).as_str());
    let words = message.split_whitespace().skip_while(|w| !is_skipped(w)).skip_while(is_skipped);
    let rest: Vec<&str> = words.collect();
    if rest.is_empty() { message.to_owned() } else { rest.join(" ") }
}

/// The word that looks most like a file, without the punctuation of a sentence.
fn path(message: &str) -> String {
    let bare = |word: &str| {
        let word = word.trim_matches(|c: char| matches!(c, '`' | '"' | '\'' | '?' | '!' | ',' | ';' | ':'));
        word.strip_suffix('.').unwrap_or(word).to_owned()
    };
    let words: Vec<String> = message.split_whitespace().map(bare).filter(|w| !w.is_empty()).collect();
    let looks = |word: &&String| word.contains(['/', '.']);
    words.iter().find(looks).or(words.last()).cloned().unwrap_or_default()
}

/// Arguments for a tool that takes one text, by whatever name its schema gives it.
fn one_text(turn: &Turn<'_>, tool: &str, usual: &str, text: &str) -> Value {
    let schema: Option<Value> = turn.tool(tool).and_then(|t| serde_json::from_str(t.parameters.get()).ok());
    let field = |name: &str| schema.as_ref().and_then(|schema| schema.get(name));
    let properties = field("properties").and_then(Value::as_object);
    let required = field("required").and_then(Value::as_array);
    let usual_known = properties.is_none_or(|p| p.contains_key(usual));
    let first = required.and_then(|r| r.first()).and_then(Value::as_str).filter(|_| !usual_known);
    let mut arguments = Map::new();
    arguments.insert(first.unwrap_or(usual).to_owned(), Value::from(text));
    Value::Object(arguments)
}
