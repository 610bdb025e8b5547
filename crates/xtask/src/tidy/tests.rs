//! Each rule passes a file that keeps it and finds the one that breaks it.
use super::table::Exception;
use super::*;

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn one(rule: Rule, path: &str, text: &str) -> usize {
    rule(&[source(path, text)]).len()
}

fn lines(count: usize) -> String {
    "x\n".repeat(count)
}

const FILE: &str = "crates/engine/src/a.rs";

#[test]
fn a_file_that_is_too_long_is_found_without_its_tests() {
    assert_eq!(one(rules::length, FILE, &lines(600)), 0);
    assert_eq!(one(rules::length, FILE, &lines(601)), 1);
    assert_eq!(one(rules::length, FILE, &format!("{}#[cfg(test)]\nmod tests {{\n{}", lines(600), lines(148))), 0);
    assert_eq!(one(rules::length, FILE, &format!("#[cfg(test)]\nmod tests {{\n{}", lines(149))), 1);
    assert_eq!(one(rules::length, "crates/engine/tests/it/a.rs", &lines(900)), 0);
    assert_eq!(one(rules::length, "crates/engine/src/a_tests.rs", &lines(900)), 0);
}

#[test]
fn an_exception_only_shrinks() {
    let rows = [Exception { path: FILE, lines: 700, reason: "a table" }];
    let found = |count| rules::length_with(&[source(FILE, &lines(count))], &rows).len();
    assert_eq!((found(700), found(701), found(699), found(100)), (0, 1, 1, 1));
    assert_eq!(rules::length_with(&[], &rows).len(), 1, "a row outlives no file");
    let silent = [Exception { path: FILE, lines: 700, reason: "" }];
    assert_eq!(rules::length_with(&[source(FILE, &lines(700))], &silent).len(), 1);
}

#[test]
fn a_file_that_does_not_say_why_it_exists_is_found() {
    assert_eq!(one(rules::opening, FILE, "//! Why.\nuse x;\n"), 0);
    assert_eq!(one(rules::opening, FILE, "use x;\n"), 1);
    assert_eq!(one(rules::opening, FILE, ""), 1);
}

#[test]
fn a_word_where_it_must_not_stand_is_found() {
    let test = |body: &str| one(rules::words, FILE, &format!("//! a\n#[cfg(test)]\nmod tests {{\n{body}\n}}\n"));
    assert_eq!(test("#[test] fn a() { let b = \"todo!()\"; } // thread::sleep is not used"), 0);
    assert_eq!(test("#[ignore = \"slow\"]"), 1);
    assert_eq!(test("std::thread::sleep(x);"), 1);
    assert_eq!(one(rules::words, "crates/engine/tests/it.rs", "tokio::time::sleep(x).await;"), 1);
    assert_eq!(one(rules::words, FILE, "tokio::time::sleep(BACKOFF).await;"), 0, "the product may wait");
    assert_eq!(one(rules::words, FILE, "fn a() { todo!() }"), 1);
    assert_eq!(one(rules::words, FILE, "#![allow(unsafe_code)]"), 1);
    assert_eq!(one(rules::words, "crates/sandbox/src/raw.rs", "#![allow(unsafe_code)]"), 0);
}

#[test]
fn a_second_way_out_is_found() {
    let opens = "//! a\nfn a() { std::net::TcpStream::connect(x) }\n";
    assert_eq!(one(rules::ways_out, FILE, opens), 1);
    assert_eq!(one(rules::ways_out, FILE, "//! a\nfn a() { tokio::net::lookup_host(x) }"), 1);
    assert_eq!(one(rules::ways_out, FILE, "//! a\nfn a() { UnixStream::connect(x) }"), 0);
    for free in ["crates/egress/src/dial.rs", "crates/engine/tests/it/a.rs", "crates/bench/src/a.rs"] {
        assert_eq!(one(rules::ways_out, free, opens), 0, "{free}");
    }
    assert_eq!(
        one(rules::ways_out, FILE, "//! a\n#[cfg(test)]\nmod tests {\nfn a() { TcpStream::connect(x) }\n}\n"),
        0
    );
}

#[test]
fn what_is_true_on_one_machine_only_is_found_in_any_file() {
    for (head, tail) in table::UNSAID {
        assert_eq!(one(rules::machine, "docs/a.md", &format!("see `{head}{tail}x`.\n")), 1, "{head}{tail}");
    }
    let (head, tail) = table::UNSAID[0];
    assert_eq!(one(rules::machine, "docs/a.md", &format!("in /home/me{head}{tail}x\n")), 0);
}

#[test]
fn a_code_without_a_page_is_found() {
    let all = |arms: &str| table::CODES.iter().map(|path| source(path, arms)).collect::<Vec<_>>();
    let page = |name: &str| source(&format!("docs/errors/{name}.md"), "# it\n");
    let found = |arms: &str| {
        let sources: Vec<Source> = all(arms).into_iter().chain([page("stale")]).collect();
        rules::error_pages(&sources).len()
    };
    let each = table::CODES.len();
    assert_eq!(found("match self {\n    Self::Stale => \"stale\",\n    Self::Full => \"full\",\n}\n"), each);
    assert_eq!(found("Self::Stale => \"stale\",\n"), 0);
    assert_eq!(found("enum Code {}"), each, "a rule that finds nothing to look at fails");
    assert_eq!(rules::error_pages(&[]).len(), each);
}

#[test]
fn tests_that_are_for_root_alone_are_counted() {
    let guard = "fn a() {\n    if !is_root() {\n        return;\n    }\n}\n";
    let path = "crates/app/tests/it/a.rs";
    let count = |path: &str, text: &str| guarded(&[source(path, text)]);
    assert_eq!((count(path, &guard.repeat(2)), count(FILE, guard), count("docs/a.md", guard)), (2, 0, 0));
    assert!(tests_of_root(&process::root().unwrap()).unwrap() > 0, "they are written in another way now");
}

#[test]
fn an_error_that_is_made_by_hand_is_found() {
    let made = "//! a\nfn no() { json!({ \"code\": \"no_such\" }) }\n";
    assert_eq!(one(rules::codes_by_hand, "crates/app/src/desk/a.rs", made), 1);
    for free in table::ANSWERS.iter().chain(&[FILE, "crates/app/tests/it/a.rs"]) {
        assert_eq!(one(rules::codes_by_hand, free, made), 0, "{free}");
    }
}

#[test]
fn a_config_key_that_nothing_reads_is_found() {
    let keys = || source(table::KEYS, "value(\n    \"listen\", Kind::Text), optional_table(\"tls\", TLS)");
    let reader = |text: &str| source("crates/app/src/config/read.rs", text);
    assert_eq!(readers::config_keys(&[keys(), reader("a(\"listen\", b(\"tls\"))")]).len(), 0);
    assert_eq!(readers::config_keys(&[keys(), reader("a(\"listen\")")]).len(), 1);
    let in_tests = "a(\"listen\");\n#[cfg(test)]\nmod tests {\n    b(\"tls\");\n}\n";
    assert_eq!(readers::config_keys(&[keys(), reader(in_tests)]).len(), 1, "a test is no reader");
    assert_eq!(readers::config_keys(&[]).len(), 1, "a rule that finds nothing to look at fails");
}

#[test]
fn a_control_that_nothing_reads_is_found() {
    let declared = || table::CONTROLS.iter().map(|path| source(path, "pub struct Caps {\n    pub steps: u32,\n}\n"));
    let count = declared().len();
    let found = |path: &str, text: &str| {
        let sources: Vec<Source> = declared().chain([source(path, text)]).collect();
        readers::controls(&sources).len() / count
    };
    assert_eq!(readers::controls(&[]).len(), count, "a rule that finds nothing to look at fails");
    assert_eq!(found(FILE, "if caps.steps > 3 {}"), 0);
    assert_eq!(found(FILE, "caps.steps = 3; f(Caps { steps });"), 1, "filled in, not read");
    assert_eq!(found(FILE, "caps.steps() // caps.steps\n"), 1);
    assert_eq!(found(FILE, "//! a\n#[cfg(test)]\nmod tests {\n    caps.steps\n}\n"), 1, "a test is no reader");
    assert_eq!(found("crates/app/src/config/read.rs", "raw.steps > 0"), 1, "the config is no reader");
}

#[test]
fn a_page_that_names_a_test_that_does_not_exist_is_found() {
    let pages = |named: &str| {
        table::PROOFS.iter().map(|path| source(path, &format!("| I1 | `{named}` |\n"))).collect::<Vec<_>>()
    };
    let found = |named: &str, path: &str, text: &str| {
        let mut sources = pages(named);
        sources.push(source(path, text));
        proofs::named_tests(&sources).len() / table::PROOFS.len()
    };
    let test = "//! a\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn it_holds() {}\n}\n";
    assert_eq!(found("engine::it_holds", FILE, test), 0);
    assert_eq!(found("engine::it_holds", "crates/engine/tests/it/a.rs", "fn it_holds() {}"), 0);
    assert_eq!(found("kernel::it_holds", FILE, test), 1, "in another crate");
    assert_eq!(found("engine::it", FILE, test), 1, "a part of a name");
    assert_eq!(found("engine::it_holds", FILE, "fn it_holds() {}"), 1, "not among the tests");
    assert_eq!(found("it_holds", FILE, test), 1, "a page that names nothing");
    assert_eq!(proofs::named_tests(&[]).len(), table::PROOFS.len(), "a rule that finds nothing to look at fails");
}
