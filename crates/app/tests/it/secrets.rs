//! A key and a token that are watched: whatever a provider does with the key, nothing that the
//! process writes, says or answers holds it.
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::door::Door;
use crate::place::{Place, mode};
use crate::scripted::{Play, Scripted, response, stream, whole};

/// With capitals, because words of an error are shown in lower case.
const KEY: &str = "Canary-Key-0123456789abcdef";
/// Found in any case: half a key is found too.
const NEEDLE: &[u8] = b"canary-key-0123";

#[track_caller]
fn without(what: &str, bytes: &[u8], needle: &[u8]) {
    let low = bytes.to_ascii_lowercase();
    assert!(!low.windows(needle.len()).any(|window| window == needle), "{what} holds the secret");
}

/// Every file beneath a directory.
fn without_in_files(directory: &Path, needle: &[u8]) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        if kind.is_dir() {
            files += without_in_files(&path, needle);
        } else if kind.is_file() {
            without(&path.display().to_string(), &std::fs::read(&path).unwrap(), needle);
            files += 1;
        }
    }
    files
}

/// A provider that gives the key back in every way that a failure has; the second try at anything
/// ends the turn.
fn echo(tries: &Mutex<Vec<String>>, body: &Value) -> Vec<u8> {
    let asked = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned();
    let error = json!({ "error": { "message": format!("no: Bearer {KEY}"), "type": KEY, "code": KEY } }).to_string();
    let echoing = format!("x-request-id: {KEY}\r\nretry-after: 0\r\n");
    let is_first = !tries.lock().unwrap().contains(&asked);
    tries.lock().unwrap().push(asked.clone());
    if !is_first {
        return response("400 Bad Request", &echoing, error);
    }
    match asked.as_str() {
        "unauthorized" => response("401 Unauthorized", &echoing, error),
        "limited" => response("429 Too Many Requests", &echoing, error),
        "broken" => response("500 Internal Server Error", &echoing, format!("<html>{KEY}</html>")),
        "moved" => response("307 Temporary Redirect", &format!("location: http://127.0.0.1:1/{KEY}\r\n"), ""),
        "in the stream" => stream(format!("data: {error}\n\n")),
        "no completion" => response("200 OK", "content-type: application/json\r\n", format!("\"{KEY}\"")),
        "compressed" => response("200 OK", &format!("content-encoding: {KEY}\r\n"), ""),
        "not http" => KEY.as_bytes().to_vec(),
        _ => whole(&json!({ "content": "fine" }), "stop", &Value::Null),
    }
}

const CASES: [(&str, &str); 8] = [
    ("unauthorized", "auth"),
    ("limited", "invalid"),
    ("broken", "invalid"),
    ("moved", "invalid"),
    ("in the stream", "invalid"),
    ("no completion", "invalid"),
    ("compressed", "invalid"),
    ("not http", "invalid"),
];

/// The same server over TLS, which it does not speak.
fn with_tls(config: &str, url: &str) -> String {
    let url = url.replace("http://", "https://");
    format!(
        "{config}[providers.tls]\nkind = \"anthropic\"\nbase_url = \"{url}\"\napi_key_env = \"MODEL_KEY\"\n\
         [models.tls]\nprovider = \"tls\"\nname = \"m\"\nprice_usd_per_mtok = \"free\"\n[agents.tls]\nmodel = \"tls\"\n"
    )
}

#[test]
fn a_key_that_the_provider_gives_back_is_nowhere_to_be_found() {
    let tries = Mutex::default();
    let model = Scripted::start(move |_, body| Play::Bytes(echo(&tries, body)));
    let place = Place::empty();
    place.run(&["init"]).expect(0);
    place.write_config(&with_tls(&model.config(""), &model.url));
    let door = Door::serve(&place, &[("MODEL_KEY", KEY)]);
    for (case, reason) in CASES {
        let (session, turn) = door.say(case);
        assert_eq!(door.ended(&turn)["reason"], reason, "{case}");
        for path in [format!("sessions/{session}/records"), format!("turns/{turn}"), format!("turns/{turn}/trace")] {
            let answer = door.get(&format!("/api/{path}"));
            assert_eq!(answer.status, 200, "{}", answer.text);
            without(&path, answer.text.as_bytes(), NEEDLE);
        }
        for arguments in [&["sessions", "export", &session][..], &["trace", &turn, "--as-sent", "1"], &["run", case]] {
            let ran = place.command(arguments).env("MODEL_KEY", KEY).output().unwrap();
            without(&arguments.join(" "), &[ran.stdout, ran.stderr].concat(), NEEDLE);
        }
    }
    refuse_tls(&door);
    for path in ["/metrics", "/api/status", "/api/budget", "/api/sessions", "/ready"] {
        let answer = door.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text);
        without(path, answer.text.as_bytes(), NEEDLE);
    }
    let backup = place.path("backup");
    for arguments in
        [&["config", "show", "--origin"][..], &["doctor"], &["status"], &["backup", backup.to_str().unwrap()]]
    {
        let ran = place.command(arguments).env("MODEL_KEY", KEY).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        without(&arguments.join(" "), &[ran.stdout, ran.stderr].concat(), NEEDLE);
    }
    without("argv", &std::fs::read(format!("/proc/{}/cmdline", door.id())).unwrap(), NEEDLE);
    // With the log of the journal, before a clean stop empties it.
    assert!(place.home().join("state.db-wal").exists());
    assert!(without_in_files(&place.home(), NEEDLE) > 3);
    assert!(without_in_files(&backup, NEEDLE) > 1);
    let log = door.stop();
    assert!(!log.is_empty(), "nothing was logged");
    without("the log", &log, NEEDLE);
    without_in_files(&place.home(), NEEDLE);
}

/// A turn whose handshake fails, ended by hand: it would be tried for a day.
fn refuse_tls(door: &Door) {
    let session = door.call("POST", "/api/sessions", &json!({ "agent": "tls" })).json["session"].clone();
    let path = format!("/api/sessions/{}/messages", session.as_str().unwrap());
    let turn = door.call("POST", &path, &json!({ "text": "hello" })).json["turn"].as_str().unwrap().to_owned();
    let records = || door.get(&path.replace("messages", "records")).text;
    while !records().contains("retried") {
        std::thread::yield_now();
    }
    without("the records", records().as_bytes(), NEEDLE);
    door.call("POST", &format!("/api/turns/{turn}/cancel"), &json!({}));
    assert_eq!(door.ended(&turn)["reason"], "stopped_by_user");
}

#[test]
fn a_key_written_where_its_name_belongs_is_not_repeated() {
    let place = Place::with_home();
    for (wanted, written) in [
        ("api_key_env", format!("api_key_env = \"{KEY}\"")),
        ("backstay.toml", format!("api_key_env = {KEY}")),
        ("api_key", format!("api_key = \"{KEY}\"")),
        ("base_url", format!("base_url = \"https://me:{KEY}@127.0.0.1/v1\"")),
    ] {
        let provider = format!("[providers.p]\nkind = \"openai\"\n{written}\n");
        place.write_config(&format!("{}\n{provider}", place.config()));
        for arguments in [&["config", "check"][..], &["config", "check", "--json"], &["serve"], &["doctor"]] {
            let ran = place.run(arguments);
            assert_ne!(ran.code, 0);
            let said = ran.stdout + &ran.stderr;
            assert!(said.contains(wanted), "{said}");
            without(&arguments.join(" "), said.as_bytes(), NEEDLE);
        }
        place.write_config(&place.config().replace(&provider, ""));
    }
}

#[test]
fn a_token_is_stored_nowhere_and_all_files_are_private() {
    let place = Place::with_home();
    let made = place
        .run(&["tokens", "create", "--principal", "owner", "--speaks", "program", "--scope", "chat", "--json"])
        .json(0);
    let token = made["token"].as_str().unwrap().to_ascii_lowercase();
    place.run(&["run", "/say hello"]).expect(0);
    let backup = place.path("backup");
    place.run(&["backup", backup.to_str().unwrap()]).expect(0);
    for directory in [place.home(), backup] {
        assert!(without_in_files(&directory, token.as_bytes()) > 1);
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        assert_eq!(mode(&directory.join("state.db")), 0o600);
        assert_eq!(mode(&directory.join("backstay.toml")), 0o600);
    }
}
