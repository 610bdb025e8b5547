//! What a model gets to see: bounded, in order, and never what a rule hides.
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use backstay_kernel::id::SessionId;
use backstay_kernel::rule::Test;
use serde_json::json;

use super::{Home, path};
use crate::ReadOutput;
use crate::limits;
use crate::prepare::inspect;
use crate::roots::Roots;
use crate::run::{Asked, Ran, act};

#[test]
fn a_directory_is_listed_in_order_with_kinds_and_sizes() {
    let home = Home::new();
    home.put("b.txt", "12345");
    fs::create_dir(home.at("c")).unwrap();
    symlink("/etc/passwd", home.at("a-link")).unwrap();
    fs::write(home.at("").join(std::ffi::OsStr::from_bytes(b"z\xff\nz")), "").unwrap();
    assert_eq!(
        home.done("list_dir", path(".")),
        "a-link (a symbolic link)\nb.txt (5 bytes)\nc/\nout/\nz\u{fffd}\\u{a}z (0 bytes)\n"
    );
    assert_eq!(home.done("list_dir", path("c")), "[the directory is empty]");
}

#[test]
fn a_full_directory_is_shown_in_part_and_spilt_whole() {
    let home = Home::new();
    for n in 0..600 {
        home.put(&format!("many/{n:04}"), "");
    }
    let Ran::Done { text, spill } = home.call("list_dir", path("many")) else { panic!() };
    assert_eq!(text.lines().count(), limits::ENTRIES_SHOWN_MAX + 1);
    assert!(text.ends_with("0499 (0 bytes)\n… and 100 more\n"));
    assert!(spill.unwrap().ends_with(b"0599 (0 bytes)\n"));
}

#[test]
fn a_search_names_file_line_and_text() {
    let home = Home::new();
    home.put("a/one.txt", "first\nneedle 1\n\nlast needle\n");
    home.put("b.txt", "no\r\nNEEDLE\r\nneedle");
    home.put("image", b"needle\0needle");
    let search = |pattern: &str| home.done("search_files", json!({"pattern": pattern}));
    assert_eq!(
        search("needle"),
        "a/one.txt:2: needle 1\na/one.txt:4: last needle\nb.txt:3: needle\n\
         [1 not looked into: no text, too large or too deep]\n"
    );
    assert!(search("^(?i)needle\\s*$").starts_with("b.txt:2: NEEDLE\\u{d}\nb.txt:3: needle\n"));
    assert!(search("^$").starts_with("a/one.txt:3: \n"));
    assert!(search("absent").starts_with("[no line matches in 3 files]\n"));
    let one = json!({"pattern": "needle", "path": "a/one.txt"});
    assert_eq!(home.done("search_files", one).lines().count(), 2);
    let below = json!({"pattern": "needle", "path": "a"});
    assert_eq!(home.done("search_files", below).lines().count(), 2);
}

#[test]
fn a_search_goes_over_no_link_and_is_bounded() {
    let home = Home::new();
    home.put("file", format!("{}\n", "hit ".repeat(400)).repeat(300));
    symlink(home.outside(), home.at("link")).unwrap();
    symlink(".", home.at("self")).unwrap();
    let hit = json!({"pattern": "hit|secret"});
    let Ran::Done { text, spill } = home.call("search_files", hit) else { panic!() };
    assert!(text.len() <= limits::TEXT_BYTES_MAX + 100, "{}", text.len());
    assert!(text.lines().all(|line| line.len() < limits::HIT_BYTES_MAX + 20));
    assert!(text.ends_with("… and 200 more\n"), "{}", &text[text.len() - 60..]);
    assert_eq!(String::from_utf8(spill.unwrap()).unwrap().lines().count(), 300);
    let deep = "d/".repeat(limits::SEARCH_DEPTH_MAX + 2);
    home.put(&format!("{deep}file"), "deep");
    let text = home.done("search_files", json!({"pattern": "deep"}));
    assert!(text.contains("[1 not looked into"), "{text}");
}

#[test]
fn a_search_that_finds_too_much_stops_and_says_so() {
    let home = Home::new();
    home.put("dir/file", "x\n".repeat(limits::HITS_MAX + 50));
    for path in ["dir/file", "dir"] {
        let arguments = json!({"pattern": "x", "path": path});
        let Ran::Done { text, spill } = home.call("search_files", arguments) else { panic!() };
        let end = "… and 9900 more\n[stopped after so many lines: search a narrower path]\n";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(spill.unwrap().iter().filter(|byte| **byte == b'\n').count(), limits::HITS_MAX);
    }
}

#[test]
fn a_crowd_of_files_is_counted_and_not_looked_at() {
    let home = Home::new();
    for (name, files) in [("a", limits::ENTRIES_MAX + 50), ("b", limits::SEARCH_FILES_MAX - limits::ENTRIES_MAX)] {
        fs::create_dir(home.at(name)).unwrap();
        (0..files).for_each(|n| fs::write(home.at(&format!("{name}/{n}")), "").unwrap());
    }
    let Ran::Done { text, spill } = home.call("list_dir", path("a")) else { panic!() };
    assert!(text.ends_with("… and 9550 more\n"), "{}", &text[text.len() - 60..]);
    let whole = String::from_utf8(spill.unwrap()).unwrap();
    assert_eq!(whole.lines().filter(|line| line.ends_with("(0 bytes)")).count(), limits::ENTRIES_MAX);
    let text = home.done("search_files", json!({ "pattern": "x" }));
    assert!(text.contains("[stopped after so many files"), "{text}");
}

#[test]
fn a_search_reads_so_many_bytes_and_looks_for_no_text_behind_a_nul_at_the_start() {
    let home = Home::new();
    let late = [b"needle\n".as_slice(), &vec![b'x'; limits::BINARY_LOOK_BYTES], b"\0"].concat();
    home.put("text/late", late);
    home.put("text/early", b"needle\n\0");
    let found = home.done("search_files", json!({ "pattern": "needle", "path": "text" }));
    assert!(found.starts_with("text/late:1: needle\n[1 not looked into"), "{found}");
    fs::create_dir(home.at("zeros")).unwrap();
    for n in 0..=limits::SEARCH_BYTES_MAX / limits::FILE_BYTES_MAX {
        fs::File::create(home.at(&format!("zeros/{n}"))).unwrap().set_len(limits::FILE_BYTES_MAX as u64).unwrap();
    }
    let text = home.done("search_files", json!({ "pattern": "x", "path": "zeros" }));
    assert!(text.contains("[stopped after so many bytes"), "{text}");
}

/// The gate sees the directory that a search begins at; a rule about what lies below must hold too.
#[test]
fn a_search_does_not_find_what_a_rule_hides() {
    let home = Home::new();
    home.put("open", "needle");
    home.put("private/diary", "needle");
    home.put("a/.env", "needle");
    let under = Test::Under(home.at("private").to_str().unwrap().to_owned());
    let roots =
        Roots::open(&home.at(""), &[home.at("")], &[]).unwrap().hiding(vec![under, Test::Glob("**/.env".to_owned())]);
    let arguments = r#"{"pattern":"needle"}"#;
    let facts = inspect(&roots, "search_files", arguments).unwrap();
    let halt = Arc::default();
    let call =
        Asked { principal: "owner", session: SessionId::default(), tool: "search_files", arguments, as_values: false };
    let ran = act(&super::KEY, Some(facts.digest()), None, &roots, call, &facts, &halt).ran;
    assert_eq!(ran, Ran::Done { text: "open:1: needle\n".to_owned(), spill: None });
}

#[test]
fn the_runtime_answers_memory_and_a_person_answers_questions() {
    let home = Home::new();
    let remember = home.call("remember", json!({"text": "a note"}));
    assert_eq!(remember, Ran::Remember { text: "a note".to_owned() });
    let recall = home.call("recall", json!({"query": "a note"}));
    assert_eq!(recall, Ran::Recall { query: "a note".to_owned() });
    assert!(matches!(home.call("ask_human", json!({"question": "why?"})), Ran::Failed { .. }));
    let asked = ReadOutput { id: 7, offset: 2, limit: std::num::NonZeroUsize::new(3) };
    assert_eq!(home.call("read_output", json!({"id": 7, "offset": 2, "limit": 3})), Ran::Output(asked));
    let looking =
        [("recall", json!({"query": "q"})), ("ask_human", json!({"question": "q"})), ("read_output", json!({"id": 1}))];
    for (tool, arguments) in looking {
        assert!(home.inspect(tool, arguments).unwrap().paths.is_empty());
    }
}
