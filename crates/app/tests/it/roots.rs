//! What is known of the files in directories that agents work in, and who may change it.
use serde_json::Value;

use crate::place::Place;
use crate::terminal::Terminal;

fn conf(roots: &Value, name: &str) -> String {
    let all = roots["roots"].as_array().unwrap();
    let found = all.iter().find(|root| root["root"].as_str().unwrap().ends_with(name));
    found.unwrap_or_else(|| panic!("{name} is not in {roots}"))["label"]["conf"].as_str().unwrap().to_owned()
}

#[test]
fn files_of_a_restored_home_are_secrets_until_a_person_vouches_for_them() {
    let place = Place::with_home();
    place.run(&["run", "write a note: mend the sails"]).expect(0);
    assert_eq!(conf(&place.run(&["roots", "list", "--json"]).json(0), "/workspace"), "internal");
    let (copy, new) = (place.path("copy"), place.path("new"));
    let (copy, new) = (copy.to_str().unwrap(), new.to_str().unwrap());
    place.run(&["backup", copy, "--workspace"]).expect(0);
    assert!(place.run(&["restore", copy, new]).expect(0).stderr.contains("roots reset /"));
    let there = |arguments: &[&str]| place.run(&[&["--home", new], arguments].concat());
    let listed = there(&["roots", "list", "--json"]).json(0);
    assert_eq!((conf(&listed, "/workspace"), conf(&listed, "/")), ("secret".to_owned(), "secret".to_owned()));
    there(&["unfreeze"]).expect(0);
    let read = || {
        let run = there(&["run", "/call read_file {\"path\":\"out/note.md\"}", "--json"]).json(0);
        let shown = there(&["sessions", "show", run["session"].as_str().unwrap(), "--json"]).json(0);
        shown["label"]["conf"].as_str().unwrap().to_owned()
    };
    assert_eq!(read(), "secret");
    let error = there(&["roots", "reset", "/", "--json"]).error(3);
    assert_eq!(error["code"], "not_an_approver", "nobody sits at this one: {error}");
    let mut terminal = Terminal::open(&place, &["--home", new, "roots", "reset", "/"], 200);
    terminal.wait_for("counts as internal from now on");
    assert_eq!(terminal.end().1, 0);
    assert_eq!(conf(&there(&["roots", "list", "--json"]).json(0), "/workspace"), "internal");
    assert_eq!(read(), "internal");
    assert_eq!(there(&["roots", "reset", "/", "--json"]).error(5)["code"], "no_such_root");
}
