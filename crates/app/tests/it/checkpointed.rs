//! Checkpoints: what was signed and given away is found missing, changed or forged, by a command that needs no
//! running process; and what nobody takes is handed over later.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::place::Place;

pub fn home(sink: &str) -> Place {
    let place = Place::with_home();
    let key = place.path("audit.key");
    std::fs::write(&key, "A".repeat(43)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    place.write_config(&format!("[audit]\nsink = \"{sink}\"\nkey = \"{}\"\n{}", key.display(), place.config()));
    place
}

/// Serves, says something, and ends: with that a checkpoint is handed over.
pub fn turn(place: &Place, text: &str) {
    let served = place.serve();
    place.run(&["run", &format!("/say {text}")]).expect(0);
    served.stop();
}

fn verify(place: &Place, file: &Path, code: i32) -> Value {
    place.run(&["audit", "verify", "--checkpoints", file.to_str().unwrap(), "--json"]).json(code)["checkpoints"].clone()
}

fn copy(from: &Path, to: &Path) {
    for name in ["state.db", "state.db-wal"] {
        let _ = std::fs::remove_file(to.join(name));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_journal_that_was_cut_short_or_written_anew_is_found_by_what_was_signed() {
    let sink = tempfile::tempdir().unwrap();
    let file = sink.path().join("checkpoints.jsonl");
    let place = home(file.to_str().unwrap());
    turn(&place, "first");
    let early = place.path("early");
    std::fs::create_dir(&early).unwrap();
    copy(&place.home(), &early);
    turn(&place, "second");
    let sound = verify(&place, &file, 0);
    assert!(sound["checkpoints"].as_u64().unwrap() >= 2 && sound["ends"].as_u64().unwrap() >= 3, "{sound}");
    assert_eq!(sound["newer_records"], 0, "{sound}");
    // The plain verification finds nothing wrong with an older state; what was signed does.
    let late = place.path("late");
    std::fs::create_dir(&late).unwrap();
    copy(&place.home(), &late);
    copy(&early, &place.home());
    place.run(&["audit", "verify"]).expect(0);
    let cut = verify(&place, &file, 1);
    assert!(cut["faults"][0].as_str().unwrap().contains("has lost"), "{cut}");
    // Another conversation of the same shape, in place of the one that was signed.
    turn(&place, "other");
    place.run(&["audit", "verify"]).expect(0);
    assert!(verify(&place, &file, 1)["fault_count"].as_u64().unwrap() > 0);
    copy(&late, &place.home());
    forged(&place, &file);
}

/// Lines that were taken out, changed, or signed by another.
fn forged(place: &Place, file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().take(2).collect();
    let other = place.path("forged.jsonl");
    let report = |lines: &[String], code: i32| {
        std::fs::write(&other, lines.join("\n")).unwrap();
        verify(place, &other, code)
    };
    let whole: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    report(&whole, 0);
    report(&[whole[0].clone(), whole[0].clone(), whole[1].clone()], 0);
    report(&whole[1..], 1);
    report(&[whole[1].clone(), whole[0].clone()], 1);
    report(&[], 1);
    for (from, to) in [("\"n\":1", "\"n\":2"), ("\"records\":", "\"records\":1"), ("\"v\":1", "\"v\":1 ")] {
        assert!(whole[0].contains(from));
        report(&[whole[0].replacen(from, to, 1), whole[1].clone()], 1);
    }
    let key = place.run(&["audit", "key"]).expect(0).stdout.trim().to_owned();
    let stranger = key.replace(|c: char| c != 'a', "b");
    let told = place.run(&["audit", "verify", "--checkpoints", file.to_str().unwrap(), "--key", &stranger, "--json"]);
    assert!(
        told.json(1)["checkpoints"]["faults"][0].as_str().unwrap().contains("no checkpoint that this key has signed")
    );
}

#[test]
fn a_collector_that_is_away_gets_every_line_later_and_no_turn_waits_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let place = home(&format!("http://{address}/lines"));
    turn(&place, "nobody listens");
    let listener = TcpListener::bind(address).unwrap();
    let taken = std::thread::spawn(move || {
        // The first is refused, so that it must come again.
        let lines: Vec<String> = (0..2).map(|n| take(&listener, n == 0)).collect();
        lines
    });
    let served = place.serve();
    let lines = taken.join().unwrap();
    served.stop();
    assert!(lines[0] == lines[1] && lines[0].contains("\"n\":1,"), "{lines:?}");
    let file = place.path("collected.jsonl");
    std::fs::write(&file, &lines[1]).unwrap();
    verify(&place, &file, 0);
}

/// One request: its body, answered.
fn take(listener: &TcpListener, refused: bool) -> String {
    let mut stream = listener.accept().unwrap().0;
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let status = if refused { "503 Service Unavailable" } else { "200 OK" };
    stream
        .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    String::from_utf8(body).unwrap()
}

#[test]
fn a_restore_leaves_what_came_after_its_backup_behind_and_that_is_no_fault() {
    let sink = tempfile::tempdir().unwrap();
    let file = sink.path().join("checkpoints.jsonl");
    let place = home(file.to_str().unwrap());
    turn(&place, "before");
    let (backup, restored) = (place.path("backup"), place.path("restored"));
    place.run(&["backup", backup.to_str().unwrap()]).expect(0);
    turn(&place, "after");
    place.run(&["restore", backup.to_str().unwrap(), restored.to_str().unwrap()]).expect(0);
    let there = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("BACKSTAY_HOME", &restored);
        command
    };
    let served = Place::served(there(&["serve", "--json"]));
    served.stop();
    let file: PathBuf = file;
    let ran = there(&["audit", "verify", "--checkpoints", file.to_str().unwrap(), "--json"]).output().unwrap();
    let report = crate::place::Ran::of(&ran).json(0)["checkpoints"].clone();
    assert!(report["restored"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn an_export_has_what_the_chain_is_computed_of_and_texts_only_where_they_are_asked_for() {
    let place = Place::with_home();
    place.run(&["run", "/say a word of its own"]).expect(0);
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let ran = place.run(arguments);
        ran.expect(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let plain = lines(&["audit", "export"]);
    assert!(plain.len() > 2 && plain.iter().all(|line| line["bodies"].is_null()));
    assert!(!plain.iter().any(|line| line.to_string().contains("a word of its own")));
    let whole = lines(&["audit", "export", "--bodies"]);
    assert!(whole.iter().any(|line| line["bodies"].to_string().contains("a word of its own")));
    assert_eq!(lines(&["audit", "export", "--to", "2001-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(lines(&["audit", "export", "--from", "2001-01-01T00:00:00Z"]).len(), plain.len());
    chained(&plain);
}

/// The chain, computed by another program from what was exported.
fn chained(entries: &[Value]) {
    const PROGRAM: &str = "import hashlib, json, sys\n\
        A = '0123456789abcdefghjkmnpqrstvwxyz'\n\
        def name(s):\n  n = 0\n  for c in s: n = n * 32 + A.index(c)\n  return n.to_bytes(10, 'big')\n\
        last = {}\n\
        for line in sys.stdin:\n\
        \x20 e = json.loads(line)\n\
        \x20 h = hashlib.sha256()\n\
        \x20 for part in [b'backstay entry v1', e['lineage'].to_bytes(8, 'big'), name(e['session']), e['seq'].to_bytes(8, 'big'), last.get(e['session'], bytes(32)), e['stored'].encode()]:\n\
        \x20   h.update(len(part).to_bytes(8, 'big')); h.update(part)\n\
        \x20 assert h.hexdigest() == e['hash'], e\n\
        \x20 last[e['session']] = h.digest()\n";
    let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
    let mut python = std::process::Command::new("python3");
    let mut child = python.args(["-c", PROGRAM]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_call_is_shown_with_its_rule_its_yes_and_what_came_of_it() {
    let place = Place::with_home();
    let rule =
        "[[agents.main.rules]]\nname = \"notes need a yes\"\nverdict = \"ask\"\nmatch = { tool = \"write_file\" }\n";
    place.write_config(&format!("{}\n{rule}", place.config()));
    place.run(&["run", "/call write_file {\"path\":\"note.md\",\"content\":\"x\"}"]).expect(4);
    let waiting = place.run(&["approvals", "--json"]).json(0);
    let id = waiting["approvals"][0]["id"].as_str().unwrap().to_owned();
    place.run(&["approve", &id, "--note", "fine"]).expect(0);
    let row = place.run(&["audit", "show", &id, "--json"]).json(0);
    let (tool, agent, by) = (&row["tool"], &row["agent"], &row["decisions"][0]["by"]);
    assert_eq!((tool, agent, by), (&"write_file".into(), &"main".into(), &"owner".into()), "{row}");
    assert_eq!(row["model"], "default", "{row}");
    assert!(row["verdict"]["ask"]["by"]["rule"] == "notes need a yes" && row["grounds"]["line"].is_u64(), "{row}");
    assert!(row["args"].as_str().unwrap().contains("note.md") && row["args_digest"].as_str().unwrap().len() == 64);
    assert!(
        row["ended"]["end"]["done"]["result"]["digest"].is_string() && row["label_after"]["conf"].is_string(),
        "{row}"
    );
    let words = place.run(&["audit", "show", &id]);
    assert!(words.expect(0).stdout.contains("notes need a yes"));
    place.run(&["audit", "show", "0000000000000000.1"]).expect(5);
}

/// Tar and OpenSSL read it, and find each file as it was signed.
#[test]
fn an_incidents_archive_is_read_and_verified_by_others_and_holds_no_texts() {
    let sink = tempfile::tempdir().unwrap();
    let place = home(sink.path().join("checkpoints.jsonl").to_str().unwrap());
    turn(&place, "words of a person");
    let (archive, at) = (place.path("incident.tar"), place.path("incident"));
    let arguments = ["incident", "bundle", archive.to_str().unwrap()];
    let key = place.run(&[&arguments[..], &["--json"]].concat()).json(0)["signed_by"].as_str().unwrap().to_owned();
    place.run(&arguments).expect(1);
    std::fs::create_dir(&at).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let ran = std::process::Command::new(program).args(arguments).current_dir(&at).output().unwrap();
        assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    run("tar", &["-xf", archive.to_str().unwrap()]);
    let manifest: Value = serde_json::from_slice(&std::fs::read(at.join("manifest.json")).unwrap()).unwrap();
    let files = manifest.as_object().unwrap();
    for name in ["journal.jsonl", "epochs.json", "checkpoints.jsonl", "versions.json", "doctor.json", "status.json"] {
        assert_eq!(run("sha256sum", &[name]).split(' ').next(), files[name].as_str(), "{name}");
        assert!(!std::fs::read_to_string(at.join(name)).unwrap().contains("words of a person"), "{name}");
    }
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let signature = std::fs::read_to_string(at.join("manifest.sig")).unwrap();
    std::fs::write(at.join("signature"), bytes(signature.trim())).unwrap();
    // The head of every Ed25519 key in DER.
    std::fs::write(at.join("key.der"), bytes(&format!("302a300506032b6570032100{key}"))).unwrap();
    let verify = ["pkeyutl", "-verify", "-pubin", "-inkey", "key.der", "-keyform", "DER", "-rawin"];
    run("openssl", &[&verify[..], &["-in", "manifest.json", "-sigfile", "signature"]].concat());
}

#[test]
fn an_archive_is_made_without_a_key_and_before_the_first_checkpoint() {
    let bare = Place::with_home();
    let archive = bare.path("incident.tar");
    let said = bare.run(&["incident", "bundle", archive.to_str().unwrap()]);
    assert!(said.expect(0).stdout.contains("not signed, without [audit]"), "{}", said.stdout);
    let names = |archive: &std::path::Path| {
        let listed = std::process::Command::new("tar").arg("-tf").arg(archive).output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    let found = names(&archive);
    assert!(found.contains("journal.jsonl") && found.contains("manifest.json") && !found.contains("manifest.sig"));

    let sink = tempfile::tempdir().unwrap();
    let early = home(sink.path().join("checkpoints.jsonl").to_str().unwrap());
    let archive = early.path("incident.tar");
    let said = early.run(&["incident", "bundle", archive.to_str().unwrap()]);
    assert!(said.expect(0).stderr.contains("no checkpoint was made yet"), "{}", said.stderr);
    let found = names(&archive);
    assert!(found.contains("manifest.sig") && !found.contains("checkpoints.jsonl"), "{found}");
    // Whatever has become of the config meanwhile, a running home gives what it has.
    let served = early.serve();
    early.write_config("no config");
    let archive = early.path("broken.tar");
    let said = early.run(&["incident", "bundle", archive.to_str().unwrap()]);
    assert!(said.expect(0).stderr.contains("without a config it is not signed"), "{}", said.stderr);
    assert!(names(&archive).contains("journal.jsonl"));
    served.kill();
}
