//! A watched value is put wherever it could come from, and then looked for wherever it could have gone, in
//! every form that programs make without being asked to: it is found nowhere but where that is said here.
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::door::Door;
use crate::place::{Place, Ran};
use crate::sandboxed::Sandboxed;
use crate::scripted::{Play, Scripted, calls, response, says, stream};
use crate::vault::key;

/// In the environment, as the provider's key.
const PROVIDER: &str = "Canary-Provider-2f7a/9+x";
/// In the secret store.
const KEPT: &str = "Canary-Kept-81bc\"q?z";
/// In the environment, as the key of the store.
const STORE: &str = "Canary-Store-Key-5d/4e+5d4e5d4e5d4e5d4e5d4e";
const ALL: [&str; 3] = [PROVIDER, KEPT, STORE];

fn base64(bytes: &[u8]) -> String {
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    bits.chunks(6)
        .map(|six| alphabet[(0..6).fold(0, |all, at| all << 1 | usize::from(*six.get(at).unwrap_or(&0)))])
        .collect()
}

/// Made here, not by the code under test. Of an encoding that depends on what stands before, the sure part.
fn forms(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let mut forms = vec![value.to_owned(), value.replace('"', "\\\"")];
    for before in 0..3 {
        let text = base64(&[&b"\0\0"[..before], bytes].concat());
        let sure = text[before + before.min(1)..(before + bytes.len()) * 8 / 6].to_owned();
        forms.extend([sure.replace('+', "-").replace('/', "_"), sure]);
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.extend([hex.to_uppercase(), hex]);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let url = |upper: bool| -> String {
        let escape = |byte: &u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        bytes.iter().map(|byte| if plain(byte) { char::from(*byte).to_string() } else { escape(byte) }).collect()
    };
    forms.extend([url(true), url(false)]);
    forms.iter().flat_map(|form| [form.clone(), form.chars().rev().collect()]).collect()
}

/// Everything that a program says when it is asked to give a value away.
fn said(value: &str) -> String {
    forms(value).join(" ; ")
}

#[track_caller]
fn without(what: &str, bytes: &[u8]) {
    for value in ALL {
        for form in forms(value) {
            assert!(!bytes.windows(form.len()).any(|window| window == form.as_bytes()), "{what} holds {form}");
        }
    }
}

fn without_in_files(directory: &Path) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        if kind.is_dir() {
            files += without_in_files(&path);
        } else if kind.is_file() {
            without(&path.display().to_string(), &std::fs::read(&path).unwrap());
            files += 1;
        }
    }
    files
}

/// A reply that comes in pieces which cut the values in the middle.
fn in_pieces(text: &str) -> Vec<u8> {
    let letters: Vec<char> = text.chars().collect();
    let piece =
        |part: &[char]| json!({ "choices": [{ "index": 0, "delta": { "content": part.iter().collect::<String>() } }] });
    let mut body: String = letters.chunks(7).map(|part| format!("data: {}\n\n", piece(part))).collect();
    body.push_str("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    stream(body)
}

/// A model that gives away what it was never told, in every way that it has.
fn script(body: &Value) -> Play {
    let messages = body["messages"].as_array().unwrap();
    let asked = messages.iter().rfind(|message| message["role"] == "user").unwrap()["content"].as_str().unwrap();
    let is_answered = messages.last().unwrap()["role"] == "tool";
    let all = ALL.map(said).join("\n");
    Play::Bytes(match asked {
        "say it" => says(&all),
        "say it in pieces" => in_pieces(&all),
        "refuse" => response(
            "400 Bad Request",
            &format!("x-request-id: {PROVIDER}\r\n"),
            json!({ "error": { "message": all } }).to_string(),
        ),
        _ if is_answered => says("done"),
        "write it" => {
            let arguments = json!({ "path": "told.txt", "content": all }).to_string();
            calls(&[("c1", "write_file", &arguments)])
        }
        "remember it" => calls(&[("c1", "remember", &json!({ "text": all }).to_string())]),
        "read it" => calls(&[("c1", "read_file", "{\"path\":\"leaked.txt\"}")]),
        "fail with it" => calls(&[("c1", "read_file", &json!({ "path": KEPT }).to_string())]),
        "call it" => calls(&[(PROVIDER, KEPT, "{}")]),
        _ => says("what?"),
    })
}

const ASKED: [&str; 8] =
    ["say it", "say it in pieces", "refuse", "write it", "remember it", "read it", "fail with it", "call it"];

#[test]
fn a_value_is_found_nowhere_whoever_gives_it_away() {
    let model = Scripted::start(|_, body| script(body));
    let place = Place::empty();
    place.run(&["init"]).expect(0);
    place.write_config(&model.config(""));
    let environment = [("MODEL_KEY", PROVIDER), ("BACKSTAY_SECRETS_KEY", STORE)];
    let door = Door::serve(&place, &environment);
    place.pipe(&["secrets", "set", "kept"], KEPT).expect(0);
    // What another program has left where the agent reads is not ours to change, and is said so: this
    // one file holds the values.
    let leaked = place.home().join("workspace/leaked.txt");
    std::fs::write(&leaked, ALL.map(said).join("\n")).unwrap();
    let typed = format!("my password is {KEPT}, and {PROVIDER}");
    let mut seen = String::new();
    for text in ASKED.into_iter().chain([typed.as_str()]) {
        let (session, turn) = door.say(text);
        let events = door.events_until_ended(&session);
        without(&format!("the events of `{text}`"), events.as_bytes());
        let ended = door.ended(&turn);
        assert!(ended["reason"] != "", "{ended}");
        for path in [format!("sessions/{session}/records"), format!("turns/{turn}"), format!("turns/{turn}/trace")] {
            let answer = door.get(&format!("/api/{path}"));
            assert_eq!(answer.status, 200, "{}", answer.text);
            without(&path, answer.text.as_bytes());
            seen.push_str(&answer.text);
        }
        for arguments in [&["sessions", "export", &session][..], &["trace", &turn, "--as-sent", "1"]] {
            let ran = place.command(arguments).output().unwrap();
            without(&arguments.join(" "), &[ran.stdout, ran.stderr].concat());
        }
    }
    assert!(
        seen.contains("[secret:kept#") && seen.contains("[secret:provider.p#") && seen.contains("[secret:secrets-key#")
    );
    // What was written by the model's own words holds none either.
    without("told.txt", &std::fs::read(place.home().join("workspace/told.txt")).unwrap());
    std::fs::remove_file(leaked).unwrap();
    after(&place, door);
}

/// Everything that is left behind, and everything that is told of it.
fn after(place: &Place, door: Door) {
    for path in ["/metrics", "/api/status", "/api/budget", "/api/sessions", "/api/epochs", "/ready"] {
        let answer = door.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text);
        without(path, answer.text.as_bytes());
    }
    let backup = place.path("backup");
    let bodies = "SELECT group_concat(CAST(body(id) AS TEXT)) FROM bodies";
    let records = "SELECT group_concat(body) FROM entries";
    for arguments in [
        &["secrets", "list", "--json"][..],
        &["config", "show", "--origin"],
        &["doctor", "--json"],
        &["status", "--json"],
        &["audit", "verify"],
        &["sql", bodies, "--json"],
        &["sql", records, "--json"],
        &["backup", backup.to_str().unwrap(), "--workspace"],
    ] {
        let ran = place.command(arguments).output().unwrap();
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        without(&arguments.join(" "), &[ran.stdout, ran.stderr].concat());
    }
    for file in ["cmdline", "environ"] {
        without(file, &std::fs::read(format!("/proc/{}/{file}", door.id())).unwrap());
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", door.id())).unwrap();
    let core: Vec<&str> = limits.lines().find(|line| line.contains("core file")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["1", "1"]);
    assert!(place.home().join("state.db-wal").exists());
    assert!(without_in_files(&place.home()) > 4);
    assert!(without_in_files(&backup) > 2);
    let log = door.stop();
    assert!(!log.is_empty(), "nothing was logged");
    without("the log", &log);
    without_in_files(&place.home());
}

/// A command finds no value in its own environment, in that of the first process of its world, or in a file
/// descriptor; what it prints all the same is taken out of what the model is told.
#[test]
fn a_command_is_given_no_value_and_what_it_prints_is_not_repeated() {
    let home = Sandboxed::home("[\"*\"]", "");
    let file = key(&home.place);
    home.place.write_config(&format!("[home]\nsecrets_key = \"{}\"\n{}", file.display(), home.place.config()));
    home.place.pipe(&["secrets", "set", "kept"], KEPT).expect(0);
    let look = "env; cat /proc/*/environ /proc/*/cmdline; ls -la /proc/self/fd; find / -name 'secrets.*' 2>/dev/null";
    let told = home.run(look).to_string();
    without("a command", told.as_bytes());
    assert!(!told.contains("secrets.sealed") && !told.contains("secrets.key"), "{told}");
    let printed = home.run(&format!("printf %s {}", home_made(KEPT))).to_string();
    without("what a command printed", printed.as_bytes());
    assert!(printed.contains("[secret:kept#"), "{printed}");
}

/// As an argument that holds nothing a redactor could have taken out on the way in: octal escapes.
fn home_made(value: &str) -> String {
    let octal: String = value.bytes().map(|byte| format!("\\\\{byte:03o}")).collect();
    format!("\"$(printf '{octal}')\"").replace("\\\\", "\\")
}

/// A secret in the wrong place of the config is refused before it is journaled, and is not repeated.
#[test]
fn a_value_in_the_config_or_on_the_command_line_goes_no_further() {
    let place = Place::with_home();
    let good = place.config();
    let file = key(&place);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    for wrong in [
        format!("[secrets.crm]\nvalue = '{KEPT}'\n"),
        format!(
            "[secrets.crm]\nbind = {{ host = '{KEPT}', method = [\"GET\"], path_prefix = \"/\", header = \"Authorization\" }}\n"
        ),
        format!("[providers.x]\nkind = \"openai\"\napi_key = '{KEPT}'\n"),
        format!("[providers.x]\nkind = \"openai\"\napi_key_env = '{KEPT}'\n"),
    ] {
        place.write_config(&format!("{good}\n{wrong}"));
        for arguments in [&["config", "check"][..], &["config", "check", "--json"], &["serve"], &["doctor"]] {
            let ran = place.run(arguments);
            assert_ne!(ran.code, 0);
            without(&arguments.join(" "), (ran.stdout + &ran.stderr).as_bytes());
        }
    }
    place.write_config(&good);
    let ran = Ran::of(
        &Command::new(env!("CARGO_BIN_EXE_backstay"))
            .args(["--home"])
            .arg(place.home())
            .args(["secrets", "set", "crm", KEPT])
            .output()
            .unwrap(),
    );
    without("a value that was an argument", (ran.expect(2).stderr.clone() + &ran.stdout).as_bytes());
    without_in_files_but(&place.home(), "backstay.toml");
}

fn without_in_files_but(home: &Path, but: &str) {
    for entry in std::fs::read_dir(home).unwrap().flatten().filter(|entry| entry.file_name() != but) {
        if entry.file_type().unwrap().is_file() {
            without(&entry.path().display().to_string(), &std::fs::read(entry.path()).unwrap());
        }
    }
}
