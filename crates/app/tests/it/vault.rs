//! The secret store: values go in, and come out nowhere but where they are bound to.
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::door::Door;
use crate::place::{Place, mode};
use crate::scripted::{Scripted, says};
use crate::terminal::Terminal;

const VALUE: &str = "Canary-Value-0123456789";
const OTHER: &str = "Another-Value-9876543210";

/// A file with a key for the store, beside the home.
pub fn key(place: &Place) -> PathBuf {
    let path = place.path("secrets.key");
    std::fs::write(&path, "K".repeat(43)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A home that knows where its key lies.
pub fn home() -> Place {
    let place = Place::with_home();
    let line = format!("[home]\nsecrets_key = \"{}\"\n", key(&place).display());
    place.write_config(&format!("{line}{}", place.config()));
    place
}

fn states(place: &Place) -> Vec<(String, String)> {
    let listed = place.run(&["secrets", "list", "--json"]).json(0);
    let text = |secret: &Value, key: &str| secret[key].as_str().unwrap().to_owned();
    listed["secrets"].as_array().unwrap().iter().map(|secret| (text(secret, "name"), text(secret, "state"))).collect()
}

/// What the home's own stream says of secrets.
fn recorded(place: &Place) -> Vec<String> {
    let query = "SELECT body FROM entries WHERE body LIKE '%secret_%' ORDER BY id";
    let rows = place.run(&["sql", query, "--json"]).json(0);
    rows["rows"].as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_secret_is_set_listed_rotated_and_forgotten_and_each_is_recorded() {
    let place = home();
    let kept = |name: &str| (name.to_owned(), "kept".to_owned());
    place.pipe(&["secrets", "set", "crm"], &format!("{VALUE}\n")).expect(0);
    assert_eq!(states(&place), [kept("crm")]);
    let again = place.pipe(&["secrets", "set", "crm", "--json"], OTHER).error(3);
    assert_eq!(again["code"], "secret_exists");
    place.pipe(&["secrets", "rotate", "crm"], OTHER).expect(0);
    assert_eq!(place.pipe(&["secrets", "rotate", "none", "--json"], OTHER).error(5)["code"], "no_such_secret");
    let served = place.serve();
    place.pipe(&["secrets", "set", "second"], VALUE).expect(0);
    assert_eq!(states(&place), [kept("crm"), kept("second")]);
    place.run(&["secrets", "rm", "crm"]).expect(0);
    assert_eq!(states(&place), [kept("second")]);
    drop(served);
    assert_eq!(states(&place), [kept("second")]);
    place.run(&["secrets", "rm", "crm"]).expect(5);
    let records = recorded(&place);
    assert_eq!(records.len(), 4, "{records:?}");
    for (record, what) in records.iter().zip(["secret_kept", "secret_kept", "secret_kept", "secret_removed"]) {
        assert!(record.contains(what) && record.contains("\"by\":\"owner\""), "{record}");
    }
}

#[test]
fn a_value_that_is_an_argument_is_refused_and_not_repeated() {
    let place = home();
    for arguments in [
        &["secrets", "set", "crm", VALUE][..],
        &["secrets", "rotate", "crm", "--", VALUE],
        &["secrets", "set", "crm", VALUE, "--json"],
    ] {
        let ran = place.run(arguments);
        ran.expect(2);
        assert!(!(ran.stdout.clone() + &ran.stderr).contains("Canary"), "{}", ran.stderr);
        assert!(ran.stderr.contains("never an argument"), "{}", ran.stderr);
    }
    assert!(states(&place).is_empty());
}

#[test]
fn a_value_that_is_typed_is_not_shown() {
    let place = home();
    let mut terminal = Terminal::open(&place, &["secrets", "set", "crm"], 80);
    terminal.wait_for("value of crm: ");
    terminal.key_in(&format!("{VALUE}x\u{7f}\r"));
    let (shown, code) = terminal.end();
    assert!(code == 0 && shown.contains("crm is kept") && !shown.contains("Canary"), "{shown}");
    let mut terminal = Terminal::open(&place, &["secrets", "set", "second"], 80);
    terminal.wait_for("value of second: ");
    terminal.key_in("half a value\u{3}");
    let (shown, code) = terminal.end();
    assert!(code == 2 && shown.contains("interrupted"), "{shown}");
    assert_eq!(states(&place).len(), 1);
}

#[test]
fn without_a_key_that_is_its_owners_alone_nothing_is_kept() {
    let place = Place::with_home();
    let none = place.pipe(&["secrets", "set", "crm", "--json"], VALUE).error(2);
    assert!(none["next"].as_str().unwrap().contains("secrets_key"), "{none}");
    let place = home();
    place.pipe(&["secrets", "set", "crm"], VALUE).expect(0);
    let file = place.path("secrets.key");
    for bits in [0o640, 0o604] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(bits)).unwrap();
        let refused = place.run(&["serve"]);
        assert!(refused.expect(2).stderr.contains("may be read by others"), "{}", refused.stderr);
        let refused = place.pipe(&["secrets", "rotate", "crm"], OTHER);
        assert!(refused.expect(2).stderr.contains("may be read by others"), "{}", refused.stderr);
    }
    std::fs::write(&file, "L".repeat(43)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(place.run(&["serve"]).expect(2).stderr.contains("another key"));
    let doctor = place.run(&["doctor"]);
    assert!(doctor.expect(1).stdout.contains("no key here that opens them"), "{}", doctor.stdout);
}

#[test]
fn a_key_from_the_environment_is_wiped_there_and_doctor_warns() {
    let place = Place::with_home();
    let environment = [("BACKSTAY_SECRETS_KEY", "Canary-Store-Key-Canary-Store-Key-Canary")];
    let mut command = place.command(&["serve", "--json"]);
    command.envs(environment);
    let served = Place::served(command);
    // Through the process that has it: this command has none.
    place.pipe(&["secrets", "set", "crm"], VALUE).expect(0);
    let shown = std::fs::read(format!("/proc/{}/environ", served.id())).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("BACKSTAY_SECRETS_KEY=") && !shown.contains("Canary"), "{shown}");
    let doctor = place.run(&["doctor"]);
    assert!(doctor.expect(0).stdout.contains("comes from $BACKSTAY_SECRETS_KEY"), "{}", doctor.stdout);
}

#[test]
fn systemds_credential_is_the_key_before_any_other() {
    let place = Place::with_home();
    let directory = place.path("credentials");
    std::fs::create_dir(&directory).unwrap();
    std::fs::rename(key(&place), directory.join("backstay-secrets-key")).unwrap();
    let set = |name: &str| {
        let mut command = place.command(&["secrets", "set", name, "--json"]);
        command.env("CREDENTIALS_DIRECTORY", &directory).env("BACKSTAY_SECRETS_KEY", "E".repeat(40));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(VALUE.as_bytes()).unwrap();
        child.wait_with_output().unwrap().status.code()
    };
    assert_eq!(set("crm"), Some(0));
    std::fs::write(directory.join("backstay-secrets-key"), "other".repeat(9)).unwrap();
    assert_eq!(set("second"), Some(2), "the credential is what counts");
}

#[test]
fn a_backup_has_the_sealed_file_and_never_its_key() {
    let place = home();
    place.pipe(&["secrets", "set", "crm"], VALUE).expect(0);
    let (backup, restored) = (place.path("backup"), place.path("restored"));
    place.run(&["backup", backup.to_str().unwrap()]).expect(0);
    let sealed = std::fs::read(backup.join("secrets.sealed")).unwrap();
    assert_eq!(sealed, std::fs::read(place.home().join("secrets.sealed")).unwrap());
    assert_eq!(mode(&backup.join("secrets.sealed")), 0o600);
    for entry in std::fs::read_dir(&backup).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(43).any(|window| window == "K".repeat(43).as_bytes()));
    }
    place.run(&["restore", backup.to_str().unwrap(), restored.to_str().unwrap()]).expect(0);
    let mut list = place.command(&["secrets", "list", "--json"]);
    let listed = crate::place::Ran::of(&list.env("BACKSTAY_HOME", &restored).output().unwrap()).json(0);
    assert_eq!(listed["secrets"][0]["state"], "kept");
}

#[test]
fn a_provider_takes_its_key_from_the_store_and_the_next_call_has_what_was_rotated() {
    let model = Scripted::playing(vec![says("hello")]);
    let place = Place::empty();
    place.run(&["init"]).expect(0);
    let config = model.config("").replace("api_key_env = \"MODEL_KEY\"", "api_key_secret = \"model-key\"");
    place.write_config(&format!("[home]\nsecrets_key = \"{}\"\n{config}", key(&place).display()));
    let missing = place.run(&["serve"]);
    assert!(missing.expect(2).stderr.contains("backstay secrets set model-key"), "{}", missing.stderr);
    place.pipe(&["secrets", "set", "model-key"], VALUE).expect(0);
    let door = Door::serve(&place, &[]);
    let (_, turn) = door.say("hello");
    assert_eq!(door.ended(&turn)["reason"], "claimed");
    place.pipe(&["secrets", "rotate", "model-key"], OTHER).expect(0);
    let (_, turn) = door.say("hello");
    assert_eq!(door.ended(&turn)["reason"], "claimed");
    let heads = model.heads();
    for (head, value) in heads.iter().zip([VALUE, OTHER]) {
        assert!(head.contains(&format!("Bearer {value}\r\n")), "{head}");
    }
}

/// What the log says of a value that was taken out of a text.
pub fn told_of(log: &[u8]) -> Vec<(String, u64)> {
    let lines = std::str::from_utf8(log).unwrap().lines().filter(|line| line.contains("was taken out of a text"));
    let fields = lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone());
    fields.map(|fields| (fields["secret"].as_str().unwrap().to_owned(), fields["forms"].as_u64().unwrap())).collect()
}

#[test]
fn what_is_taken_out_of_a_text_is_counted_by_its_name_and_logged_once() {
    let place = home();
    let door = Door::serve(&place, &[]);
    place.pipe(&["secrets", "set", "crm"], VALUE).expect(0);
    place.pipe(&["secrets", "set", "other"], OTHER).expect(0);
    let backwards: String = VALUE.chars().rev().collect();
    let leaked = format!("{VALUE} {} {backwards} {OTHER}", VALUE.to_uppercase());
    std::fs::write(place.home().join("workspace/leaked.txt"), leaked).unwrap();
    place.run(&["run", "/call read_file {\"path\":\"leaked.txt\"}"]).expect(0);
    let metrics = door.get("/metrics").text;
    for line in ["backstay_redactions_total{name=\"crm\"} 3", "backstay_redactions_total{name=\"other\"} 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    let log = door.stop();
    assert_eq!(told_of(&log), [("crm".to_owned(), 3), ("other".to_owned(), 1)]);
    assert!(!String::from_utf8(log).unwrap().contains(VALUE));
}

#[test]
fn doctor_finds_what_is_granted_and_not_set() {
    let place = home();
    let bind = "[secrets.crm]\nbind = { host = \"crm.test\", method = [\"GET\"], path_prefix = \"/\", header = \"Authorization\" }\n";
    let config = place.config().replace("[agents.main.grants]\n", "[agents.main.grants]\nsecrets = [\"crm\"]\n");
    place.write_config(&format!("{}\n{bind}", place.config()));
    let doctor = place.run(&["doctor"]);
    assert!(doctor.expect(0).stdout.contains("crm is bound to crm.test and granted to no agent"), "{}", doctor.stdout);
    place.write_config(&format!("{config}\n{bind}"));
    let doctor = place.run(&["doctor"]);
    assert!(doctor.expect(0).stdout.contains("agent main: crm is granted and not set"), "{}", doctor.stdout);
    place.pipe(&["secrets", "set", "crm"], VALUE).expect(0);
    let listed = place.run(&["secrets", "list", "--json"]).json(0);
    assert_eq!(listed["secrets"][0]["agents"], serde_json::json!(["main"]));
    assert!(place.run(&["doctor"]).expect(0).stdout.contains("all there"));
    // As an older copy would be: the journal knows more.
    std::fs::remove_file(place.home().join("secrets.sealed")).unwrap();
    assert!(place.run(&["doctor"]).expect(1).stdout.contains("the store does not have"));
    place.pipe(&["secrets", "rotate", "crm"], VALUE).expect(0);
    assert_eq!(states(&place), [("crm".to_owned(), "kept".to_owned())]);
}

/// A process that waits for its value, as a user that is not root: to root everything is open.
#[test]
fn no_core_is_dumped_and_no_other_process_of_the_user_looks_in() {
    let place = Place::empty();
    let mut command = place.command(&["secrets", "set", "crm"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        command.uid(65534);
    }
    let mut child = command.spawn().unwrap();
    let status = || std::fs::read_to_string(format!("/proc/{}/wchan", child.id())).unwrap_or_default();
    let limits = || std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let is_shut = || {
        limits().lines().any(|line| {
            line.split_whitespace().collect::<Vec<_>>() == ["Max", "core", "file", "size", "1", "1", "bytes"]
        })
    };
    // Set before it reads, so that it is not waited for longer than that.
    while !status().contains("pipe") {
        std::thread::yield_now();
    }
    assert!(is_shut(), "{}", limits());
    let owner = std::fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid();
    assert_eq!(owner, 0, "what may not be dumped belongs to root");
    drop(child.stdin.take());
    child.wait().unwrap();
}
