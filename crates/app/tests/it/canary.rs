//! A watched value is put wherever it could come from, and then looked for wherever it could have gone, in
//! every form that programs make without being asked to: it is found nowhere but where that is said here.
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::door::Door;
use crate::notify::Hook;
use crate::place::{Place, Ran};
use crate::scripted::{Play, Scripted, calls, response, says, stream};
use crate::servers;
use crate::tls::certified;
use crate::vault::key;

/// In the environment, as the provider's key.
const PROVIDER: &str = "Canary-Provider-2f7a/9+x";
/// In the secret store.
const KEPT: &str = "Canary-Kept-81bc\"q?z";
/// In the environment, as the key of the store.
const STORE: &str = "Canary-Store-Key-5d/4e+5d4e5d4e5d4e5d4e5d4e";
/// In a file beside the home, as the key that signs checkpoints.
const AUDIT: &str = "Canary-Audit-Key-a6/17+a617a617a617a617a617";
/// In the environment, as the key that signs notices.
const NOTIFY: &str = "whsec_Q2FuYXJ5LU5vdGlmeS0zYy83Mit4LW9mLTMyYnl0ZXM=";
const ALL: [&str; 5] = [PROVIDER, KEPT, STORE, AUDIT, NOTIFY];
const ENVIRONMENT: [(&str, &str); 3] =
    [("MODEL_KEY", PROVIDER), ("BACKSTAY_SECRETS_KEY", STORE), ("NOTIFY_KEY", NOTIFY)];

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
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
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

/// Texts that must be nowhere, by their first two bytes.
struct Hunt(Vec<Vec<String>>);

impl Hunt {
    fn of(texts: impl IntoIterator<Item = String>) -> Self {
        let mut by_head = vec![Vec::new(); 1 << 16];
        for text in texts {
            by_head[head(text.as_bytes())].push(text);
        }
        Self(by_head)
    }

    #[track_caller]
    fn finds_none_in(&self, what: &str, bytes: &[u8]) {
        for (at, pair) in bytes.windows(2).enumerate() {
            for text in &self.0[head(pair)] {
                assert!(!bytes[at..].starts_with(text.as_bytes()), "{what} holds {text}");
            }
        }
    }

    /// The files that it looked into.
    fn finds_none_below(&self, directory: &Path, but: &[&str]) -> usize {
        let mut files = 0;
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                files += self.finds_none_below(&path, but);
            } else if kind.is_file() && but.iter().all(|name| entry.file_name() != *name) {
                self.finds_none_in(&path.display().to_string(), &std::fs::read(&path).unwrap());
                files += 1;
            }
        }
        files
    }
}

fn head(text: &[u8]) -> usize {
    usize::from(text[0]) << 8 | usize::from(text[1])
}

static VALUES: LazyLock<Hunt> = LazyLock::new(|| Hunt::of(ALL.into_iter().flat_map(forms)));

#[track_caller]
fn without(what: &str, bytes: &[u8]) {
    VALUES.finds_none_in(what, bytes);
}

fn without_in_files(directory: &Path) -> usize {
    VALUES.finds_none_below(directory, &[])
}

/// What a command said on both streams, when it ended well.
fn told(place: &Place, arguments: &[&str]) -> Vec<u8> {
    let ran = place.command(arguments).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    [ran.stdout, ran.stderr].concat()
}

/// A private file beside the home.
fn private(place: &Place, name: &str, text: &str) -> PathBuf {
    let path = place.path(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Tables of the config that bring a key each: of checkpoints, and of notices to `hook`.
fn keyed(place: &Place, hook: &Hook) -> String {
    let (key, sink) = (private(place, "audit.key", AUDIT), place.path("checkpoints.jsonl"));
    format!(
        "[audit]\nkey = \"{}\"\nsink = \"{}\"\n[notify]\nurl = \"http://127.0.0.1:{}/hook\"\nkey_env = \"NOTIFY_KEY\"\n",
        key.display(),
        sink.display(),
        hook.port
    )
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
        "ask for it" => {
            let arguments = json!({ "path": "asked/told.txt", "content": all }).to_string();
            calls(&[("c1", "write_file", &arguments)])
        }
        "remember it" => calls(&[("c1", "remember", &json!({ "text": all }).to_string())]),
        "read it" => calls(&[("c1", "read_file", "{\"path\":\"leaked.txt\"}")]),
        "fail with it" => calls(&[("c1", "read_file", &json!({ "path": KEPT }).to_string())]),
        "call it" => calls(&[(PROVIDER, KEPT, "{}")]),
        _ => says("what?"),
    })
}

/// Of a call with values in its arguments.
const ASKS: &str = "[[agents.main.rules]]\nname = \"some need a yes\"\nverdict = \"ask\"\nmatch = { tool = \"write_file\", path = { glob = \"workspace/asked/**\" } }\n";
const ASKED: [&str; 8] =
    ["say it", "say it in pieces", "refuse", "write it", "remember it", "read it", "fail with it", "call it"];

#[test]
fn a_value_is_found_nowhere_whoever_gives_it_away() {
    let model = Scripted::start(|_, body| script(body));
    let place = Place::empty();
    place.run(&["init"]).expect(0);
    let hook = Hook::new(&[]);
    place.write_config(&format!("{}{}{ASKS}", keyed(&place, &hook), model.config("")));
    let door = Door::serve(&place, &ENVIRONMENT);
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
    for name in ["kept", "provider.p", "secrets-key", "audit.key", "notify.key"] {
        assert!(seen.contains(&format!("[secret:{name}#")), "{name}");
    }
    asked(&place, &door, &hook);
    // What was written by the model's own words holds none either.
    without("told.txt", &std::fs::read(place.home().join("workspace/told.txt")).unwrap());
    std::fs::remove_file(leaked).unwrap();
    after(&place, door);
}

/// What is told of a call that waits, to whom it is told, and by which values.
fn asked(place: &Place, door: &Door, hook: &Hook) {
    let (_, turn) = door.say("ask for it");
    let notice = hook.next();
    without("a notice", format!("{:?}\n{}", notice.headers, notice.body).as_bytes());
    without("approvals", &told(place, &["approvals"]));
    let waiting = told(place, &["approvals", "--json"]);
    without("approvals --json", &waiting);
    let waiting: Value = serde_json::from_slice(&waiting).unwrap();
    let id = waiting["approvals"][0]["id"].as_str().unwrap();
    without("audit show", &told(place, &["audit", "show", id, "--json"]));
    without("deny", &told(place, &["deny", id]));
    door.ended(&turn);
}

/// Everything that is left behind, and everything that is told of it.
fn after(place: &Place, door: Door) {
    for path in ["/metrics", "/api/status", "/api/budget", "/api/sessions", "/api/epochs", "/ready"] {
        let answer = door.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text);
        without(path, answer.text.as_bytes());
    }
    let (backup, archive) = (place.path("backup"), place.path("incident.tar"));
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
        &["audit", "export", "--bodies"],
        &["incident", "bundle", archive.to_str().unwrap()],
        &["backup", backup.to_str().unwrap(), "--workspace"],
    ] {
        without(&arguments.join(" "), &told(place, arguments));
    }
    without("the archive of an incident", &std::fs::read(archive).unwrap());
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
    let checkpoints = std::fs::read(place.path("checkpoints.jsonl")).unwrap();
    assert!(!checkpoints.is_empty(), "no checkpoint was made");
    without("the checkpoints", &checkpoints);
}

/// A command, a declared tool and a server find no value in their environment, their words, or those of any other process
/// that they see. They write what they find: of what they print the values would be taken out.
#[test]
fn nothing_that_an_agent_starts_is_given_a_value() {
    let declared = "class = \"write\"\narguments.path.role = \"write_path\"\n";
    let home = servers::pinned(&[("look", declared)]);
    let (place, hook) = (&home.place, Hook::new(&[]));
    let config = place.config().replace("\"odd__look\"", "\"odd__look\", \"look\", \"run_command\"");
    let config = config.replace("programs = []", "programs = [\"*\"]");
    let look = format!(
        "[tools.look]\ndescription = \"Looks.\"\nargv = [\"cp\", \"/proc/self/environ\", \"{{path}}\"]\n\
         schema = '{{\"type\":\"object\",\"properties\":{{\"path\":{{\"type\":\"string\"}}}},\"required\":[\"path\"]}}'\n{declared}"
    );
    place.write_config(&format!("{}{config}{look}", keyed(place, &hook)));
    let mut serve = place.command(&["serve", "--json"]);
    serve.envs(ENVIRONMENT);
    let served = Place::served(serve);
    place.pipe(&["secrets", "set", "kept"], KEPT).expect(0);
    let look = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline > by_command; ls -la /proc/self/fd >> by_command; \
                find / -name 'secrets.*' >> by_command 2>/dev/null; true";
    for call in [
        format!("run_command {}", json!({ "command": look })),
        format!("look {}", json!({ "path": "by_tool" })),
        format!("odd__look {}", json!({ "path": "by_server" })),
    ] {
        place.run(&["run", &format!("/call {call}")]).expect(0);
    }
    for name in ["by_command", "by_tool", "by_server"] {
        let found = std::fs::read(home.workspace().join(name)).unwrap();
        without(name, &found);
        let found = String::from_utf8_lossy(&found).into_owned();
        assert!(found.contains("GIT_CONFIG_NOSYSTEM=1") && !found.contains("secrets.sealed"), "{name}: {found}");
        assert!(ENVIRONMENT.iter().all(|(variable, _)| !found.contains(variable)), "{name}: {found}");
    }
    let printed = format!("/call run_command {}", json!({ "command": format!("printf %s {}", home_made(KEPT)) }));
    place.run(&["run", &printed]).expect(0);
    let printed = home.latest().to_string();
    without("what a command printed", printed.as_bytes());
    assert!(printed.contains("[secret:kept#"), "{printed}");
    served.stop();
}

/// Of the key of a door over TLS; what it is called is no secret.
#[test]
fn the_key_of_a_door_is_found_in_its_file_alone() {
    let place = Place::with_home();
    let (cert, key) = certified(&place, "door", &["subjectAltName=IP:127.0.0.1"]);
    let tls = format!("[server]\ntls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display());
    place.write_config(&place.config().replace("[server]", &tls));
    let written = std::fs::read_to_string(&key).unwrap();
    let lines: Vec<&str> = written.lines().filter(|line| line.len() > 20 && !line.contains("PRIVATE KEY")).collect();
    assert!(lines.len() >= 2, "{} lines", lines.len());
    let hunt = Hunt::of(lines.into_iter().map(str::to_owned));
    let served = place.serve();
    let (archive, backup) = (place.path("incident.tar"), place.path("backup"));
    for arguments in [
        &["run", "/say hello"][..],
        &["reload"],
        &["doctor", "--json"],
        &["status", "--json"],
        &["config", "show", "--origin"],
        &["audit", "export", "--bodies"],
        &["incident", "bundle", archive.to_str().unwrap()],
        &["backup", backup.to_str().unwrap(), "--workspace"],
    ] {
        hunt.finds_none_in(&arguments.join(" "), &told(&place, arguments));
    }
    for file in ["cmdline", "environ"] {
        hunt.finds_none_in(file, &std::fs::read(format!("/proc/{}/{file}", served.id())).unwrap());
    }
    served.stop();
    assert!(hunt.finds_none_below(&place.path(""), &["door.key"]) > 5);
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
    VALUES.finds_none_below(&place.home(), &["backstay.toml"]);
}
