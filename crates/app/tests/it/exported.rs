//! An export proves itself: whatever is done to its lines is found by what stands in them, without the home that wrote them.
use std::path::PathBuf;

use backstay_kernel::id::BodyRef;
use backstay_store::{Options, Store};
use serde_json::Value;
use tempfile::TempDir;

use crate::checkpointed::{home, turn};
use crate::place::Place;

/// Two turns, each with a checkpoint of its own, written out with their texts.
struct Export {
    place: Place,
    _sink: TempDir,
    checkpoints: PathBuf,
    key: String,
    lines: Vec<String>,
}

impl Export {
    fn new() -> Self {
        let sink = tempfile::tempdir().unwrap();
        let checkpoints = sink.path().join("checkpoints.jsonl");
        let place = home(checkpoints.to_str().unwrap());
        turn(&place, "a word of the first");
        turn(&place, "a word of the second");
        let key = place.run(&["audit", "key"]).expect(0).stdout.trim().to_owned();
        let lines = written(&place, &["--bodies"]);
        Self { place, _sink: sink, checkpoints, key, lines }
    }

    /// What is found in these lines by somebody who has the home's public key and no home.
    fn report(&self, lines: &[String], code: i32) -> Value {
        self.report_by(Some(&self.key), lines, code)
    }

    fn report_by(&self, key: Option<&str>, lines: &[String], code: i32) -> Value {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.report_of(key, text.as_bytes(), code)
    }

    fn report_of(&self, key: Option<&str>, bytes: &[u8], code: i32) -> Value {
        let file = self.place.path("export.jsonl");
        std::fs::write(&file, bytes).unwrap();
        let mut arguments = vec!["audit", "verify", "--export", file.to_str().unwrap(), "--json"];
        arguments.extend(key.iter().flat_map(|key| ["--key", key]));
        let mut command = self.place.command(&arguments);
        command.env("BACKSTAY_HOME", self.place.path("no home"));
        crate::place::Ran::of(&command.output().unwrap()).json(code)
    }

    /// The first thing that is said of what was changed, and it names a line.
    fn fault(&self, lines: &[String]) -> String {
        let report = self.report(lines, 1);
        let fault = report["faults"][0].as_str().unwrap().to_owned();
        assert!(fault.starts_with("line "), "{report}");
        fault
    }

    /// Where the checkpoints stand.
    fn signed(&self) -> Vec<usize> {
        (0..self.lines.len()).filter(|at| self.lines[*at].contains("\"signature\":")).collect()
    }
}

fn written(place: &Place, arguments: &[&str]) -> Vec<String> {
    let ran = place.run(&[&["audit", "export"], arguments].concat());
    ran.expect(0).stdout.lines().map(str::to_owned).collect()
}

#[test]
fn an_export_is_verified_without_a_home_and_every_change_of_it_is_found() {
    let export = Export::new();
    let report = export.report(&export.lines, 0);
    let signed = export.signed();
    assert!(signed.len() >= 2 && signed[0] == 0, "{signed:?}");
    assert_eq!(report["checkpoints"], signed.len(), "{report}");
    assert_eq!(report["entries"], export.lines.len() - signed.len(), "{report}");
    assert_eq!((&report["unsigned"], &report["key"]), (&0.into(), &export.key.clone().into()), "{report}");
    assert!(report["bodies"].as_u64().unwrap() > 2 && report["sessions"].as_u64().unwrap() >= 2, "{report}");
    // Its own word for whose key it is will do where nobody knows better.
    assert_eq!(export.report_by(None, &export.lines, 0)["key"], export.key);
    for at in 0..export.lines.len() {
        let mut without = export.lines.clone();
        without.remove(at);
        // Whoever takes the first or the last checkpoint away has the word of the others for what they covered, and
        // of the rest nobody's.
        if [signed.first(), signed.last()].contains(&Some(&at)) {
            assert!(export.report(&without, 0)["unsigned"].as_u64().unwrap() > 0);
        } else {
            export.fault(&without);
        }
        let mut twice = export.lines.clone();
        twice.insert(at, export.lines[at].clone());
        export.fault(&twice);
        if at > 0 {
            let mut moved = export.lines.clone();
            moved.swap(at - 1, at);
            let (before, now): (Value, Value) = (
                serde_json::from_str(&export.lines[at - 1]).unwrap(),
                serde_json::from_str(&export.lines[at]).unwrap(),
            );
            // Of two sessions nothing says which came first, but for the checkpoints between them.
            if before["session"] == now["session"] || signed.contains(&at) || signed.contains(&(at - 1)) {
                export.fault(&moved);
            }
        }
    }
}

#[test]
fn no_byte_of_an_export_can_be_another() {
    let export = Export::new();
    let text: String = export.lines.iter().map(|line| format!("{line}\n")).collect();
    // Some of each line: its beginning, its end, and what lies between.
    let mut begins = 0;
    for line in &export.lines {
        for at in [1, 2, line.len() / 3, line.len() / 2, line.len() * 2 / 3, line.len() - 2] {
            let mut bytes = text.clone().into_bytes();
            bytes[begins + at] ^= 1;
            let report = export.report_of(Some(&export.key), &bytes, 1);
            assert!(report["faults"][0].as_str().unwrap().starts_with("line "), "{report}");
        }
        begins += line.len() + 1;
    }
    let cut = export.report_of(Some(&export.key), &text.as_bytes()[..text.len() - 20], 1);
    assert!(cut["faults"][0].as_str().unwrap().contains("breaks off"), "{cut}");
    assert!(export.report_of(Some(&export.key), b"", 1)["faults"][0].as_str().unwrap().contains("no entry"));
}

#[test]
fn what_a_fault_means_is_said() {
    let export = Export::new();
    let (lines, last) = (&export.lines, *export.signed().last().unwrap());
    let with = |at: usize, from: &str, to: &str| {
        let mut changed = lines.clone();
        assert!(changed[at].contains(from), "{}", changed[at]);
        changed[at] = changed[at].replacen(from, to, 1);
        changed
    };
    let said = lines.iter().position(|line| line.contains("\"text\":\"/say a word of the first")).unwrap();
    assert!(
        export.fault(&with(said, "\"text\":\"/say a word", "\"text\":\"/say no word")).contains("is not of its digest")
    );
    assert!(export.fault(&with(said, "\"salt\":\"", "\"salt\":\"0")).contains("is not of its digest"));
    assert!(export.fault(&with(said, "\\\"at\\\":", "\\\"at\\\":1")).contains("one of them was changed"));
    assert!(
        export.fault(&with(0, "\"records\":", "\"records\":1")).contains("is no checkpoint that this key has signed")
    );
    // A checkpoint with all that it covers.
    let signed = export.signed();
    let without = [&lines[..signed[1]], &lines[signed[2]..]].concat();
    assert!(export.fault(&without).contains("does not follow 1"));
    // The tail behind a checkpoint.
    let cut = export.fault(&lines[..lines.len() - 1]);
    assert!(cut.starts_with(&format!("line {}: ", last + 1)) && cut.contains("the file was cut short"), "{cut}");
    // A text that is taken out as if it had been erased counts as erased; one that is not there at all does not.
    let mut entry: Value = serde_json::from_str(&lines[said]).unwrap();
    let id = entry["bodies"].as_object().unwrap().keys().next().unwrap().clone();
    entry["bodies"][&id] = Value::Null;
    let mut erased = lines.clone();
    erased[said] = entry.to_string();
    let before = export.report(lines, 0)["erased"].as_u64().unwrap();
    assert_eq!(export.report(&erased, 0)["erased"], before + 1);
    entry["bodies"].as_object_mut().unwrap().remove(&id);
    erased[said] = entry.to_string();
    assert!(export.fault(&erased).contains("was taken out"));
    entry["bodies"][&id] = Value::Null;
    entry["bodies"]["1"] = Value::Null;
    erased[said] = entry.to_string();
    assert!(export.fault(&erased).contains("was put in"));
    // Without the checkpoints it is as good as whoever wrote it.
    let bare: Vec<String> = lines.iter().filter(|line| !line.contains("\"signature\":")).cloned().collect();
    assert!(export.report(&bare, 1)["faults"][0].as_str().unwrap().contains("no checkpoint"));
    assert_eq!(export.report_by(None, &bare, 0)["unsigned"], bare.len());
}

/// What the store itself has erased stands there as null, of the same digest: neither the journal nor its export is less sound.
#[test]
fn a_text_that_was_erased_is_missing_from_an_export_that_still_proves_itself() {
    let export = Export::new();
    let before = export.report(&export.lines, 0);
    let said = export.lines.iter().position(|line| line.contains("\"text\":\"/say a word of the first")).unwrap();
    let entry: Value = serde_json::from_str(&export.lines[said]).unwrap();
    let stored: Value = serde_json::from_str(entry["stored"].as_str().unwrap()).unwrap();
    let reference = stored["records"].as_array().unwrap().iter().find_map(|record| record.pointer("/admitted/body"));
    let reference: BodyRef = serde_json::from_value(reference.unwrap().clone()).unwrap();
    let store = Store::open(&export.place.home(), Options::default()).unwrap();
    assert!(store.erase_body(&reference).unwrap());
    store.close().unwrap();
    let verified = export.place.run(&["audit", "verify", "--json"]).json(0);
    assert_eq!((&verified["sound"], &verified["erased"]), (&true.into(), &1.into()), "{verified}");
    let signed = export.place.run(&["audit", "verify", "--checkpoints", export.checkpoints.to_str().unwrap()]);
    signed.expect(0);
    let lines = written(&export.place, &["--bodies"]);
    let entry: Value = serde_json::from_str(&lines[said]).unwrap();
    assert_eq!(entry["bodies"].get(reference.id.to_string()), Some(&Value::Null), "{entry}");
    let report = export.report(&lines, 0);
    assert_eq!(report["erased"], before["erased"].as_u64().unwrap() + 1, "{report}");
    assert_eq!(report["bodies"], before["bodies"], "{report}");
}

/// What another home has signed says nothing of this one, whoever's key is looked for.
#[test]
fn a_checkpoint_of_another_home_is_found() {
    let (export, other) = (Export::new(), Export::new());
    // Both are of the same key, as `home` makes them, so only what was signed tells them apart.
    assert_eq!(export.key, other.key);
    let mut lines = export.lines.clone();
    lines[0].clone_from(&other.lines[0]);
    let fault = export.fault(&lines);
    assert!(fault.starts_with("line 1: ") && fault.contains("of another home"), "{fault}");
    // Entries that hold by themselves, between those that were signed and before the first.
    let begins = |line: &&String| line.contains(&"0".repeat(64)) && !line.contains("\"session\":\"0000000000000000\"");
    let foreign = other.lines.iter().find(begins).unwrap();
    for at in [0, export.signed()[1]] {
        let mut lines = export.lines.clone();
        lines.insert(at, foreign.clone());
        let fault = export.fault(&lines);
        assert!(fault.contains("are of no checkpoint"), "{fault}");
    }
    std::fs::write(other.place.path("audit.key"), "B".repeat(43)).unwrap();
    let foreign = other.place.run(&["audit", "key"]).expect(0).stdout.trim().to_owned();
    assert!(export.report_by(Some(&foreign), &export.lines, 1)["faults"][0].as_str().unwrap().contains("this key"));
}

#[test]
fn a_span_begins_in_mid_chain_and_still_proves_itself() {
    let export = Export::new();
    let moment = |line: &str| {
        let entry: Value = serde_json::from_str(line).unwrap();
        let stored: Value = serde_json::from_str(entry["stored"].as_str().unwrap()).unwrap();
        let at = stored["at"].as_u64().unwrap();
        (at, jiff::Timestamp::from_millisecond(i64::try_from(at).unwrap()).unwrap().to_string())
    };
    let plain = written(&export.place, &[]);
    let second = *export.signed().last().unwrap();
    let (_, from) = moment(&plain[second + 1]);
    let later = written(&export.place, &["--from", &from]);
    let earlier = written(&export.place, &["--to", &from]);
    let entries = |lines: &[String]| -> Vec<String> {
        lines.iter().filter(|line| !line.contains("\"signature\":")).cloned().collect()
    };
    // Nothing is in both, and nothing in neither.
    assert_eq!([entries(&earlier), entries(&later)].concat(), entries(&plain));
    assert!(later.iter().any(|line| line.contains("\"signature\":")), "{later:?}");
    for span in [&later, &earlier] {
        let report = export.report(span, 0);
        assert!(report["checkpoints"].as_u64().unwrap() > 0, "{report}");
    }
    assert!(later.iter().any(|line| !line.contains(&"0".repeat(64)) && line.contains("\"previous\":")));
    // Where the sink was somewhere else, what it collected is named.
    let (file, away) = (export.place.path("collected.jsonl"), export.checkpoints.with_extension("away"));
    std::fs::copy(&export.checkpoints, &file).unwrap();
    std::fs::rename(&export.checkpoints, away).unwrap();
    let bare = export.place.run(&["audit", "export"]);
    assert!(bare.expect(0).stderr.contains("none is in it"), "{}", bare.stderr);
    assert_eq!(bare.stdout.lines().count(), entries(&plain).len());
    assert_eq!(written(&export.place, &["--checkpoints", file.to_str().unwrap()]), plain);
}
