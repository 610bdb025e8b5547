//! `mode`: from the command line to the tool that is not reached.
use crate::place::Place;

const WRITE: &str = "/call write_file {\"path\":\"out/note.md\",\"content\":\"kept\"}";

#[test]
fn a_home_switched_to_read_only_says_so_and_writes_nothing_until_it_is_back() {
    let place = Place::with_home();
    let note = place.home().join("workspace/out/note.md");
    place.run(&["mode", "read-only", "--agent", "main"]).expect(0);
    place.run(&["mode", "dry-run"]).expect(0);
    let status = place.run(&["status"]).expect(0).stdout.clone();
    assert!(status.contains("dry run for the home") && status.contains("read only for agent main"), "{status}");
    let ran = place.run(&["run", WRITE, "--json"]).json(0);
    assert!(!note.exists());
    let trace = place.run(&["trace", ran["turn"].as_str().unwrap()]).stdout.clone();
    assert!(trace.contains("impossible: deny, mode read_only"), "{trace}");
    place.run(&["mode", "normal", "--agent", "main"]).expect(0);
    place.run(&["run", WRITE]).expect(0);
    assert!(!note.exists(), "the home is in dry run still");
    place.run(&["mode", "normal"]).expect(0);
    place.run(&["run", WRITE]).expect(0);
    assert_eq!(std::fs::read_to_string(note).unwrap(), "kept");
    assert_eq!(place.run(&["status", "--json"]).json(0)["modes"], serde_json::json!([]));
    assert_eq!(place.run(&["mode", "read-only", "--channel", "http", "--json"]).error(2)["code"], "malformed");
    assert_eq!(place.run(&["mode", "read-only", "--agent", "nobody", "--json"]).error(5)["code"], "unknown_agent");
}
