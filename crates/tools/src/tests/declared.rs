//! What a call of a declared tool is, and what its program is given.
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use backstay_kernel::destination::Audience;
use backstay_kernel::facts::{Access, Invalid, Starts};
use backstay_kernel::label::{Label, Source};
use backstay_kernel::tool::{ArgumentRole, EffectClass, Idempotency};
use backstay_kernel::words::Kind;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Home;
use crate::argv::Argv;
use crate::declared::{Declared, Role, Terms, starts};
use crate::schema::Schema;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn argv(template: &[&str]) -> Argv {
    Argv::read(&words(template)).unwrap()
}

fn values(value: Value) -> Map<String, Value> {
    let Value::Object(values) = value else { panic!("{value}") };
    values
}

fn terms(class: EffectClass, roles: &[(&str, Role)]) -> Terms {
    Terms {
        class,
        idempotency: Idempotency::Unsafe,
        reversible: None,
        roles: roles.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect::<BTreeMap<_, _>>(),
        classes: BTreeMap::new(),
        known: Vec::new(),
        creates: None,
        result: Label::of(Source::Tool),
        audience: Audience::Public,
        timeout_ms: 1_000,
    }
}

fn tool(class: EffectClass, roles: &[(&str, Role)], template: &[&str]) -> Declared {
    let argv = argv(template);
    let properties: Map<String, Value> =
        argv.arguments().map(|name| (name.to_owned(), json!({ "type": ["string", "array"] }))).collect();
    let schema = json!({ "type": "object", "properties": properties }).to_string();
    Declared::command("t", "", terms(class, roles), Schema::read(&schema).unwrap(), argv)
}

#[test]
fn a_value_fills_its_word_or_a_part_of_it_and_makes_no_other() {
    let template = argv(&["git", "-C", "{dir}", "log", "--format={format}", "{{n}}", "", "{a}-{b}"]);
    let given = values(json!({ "dir": "a b'\"$(x)\n*", "format": "-%h; rm", "a": 1, "b": true }));
    let expected = words(&["git", "-C", "a b'\"$(x)\n*", "log", "--format=-%h; rm", "{n}", "", "1-true"]);
    assert_eq!(template.filled(&given).unwrap(), expected);
}

#[test]
fn a_declared_program_is_told_and_its_subcommand_where_its_words_are_known() {
    for (argv, program, expected) in [
        (&["git", "log", "-p"][..], "git log", Starts::Commands),
        (&["cat", "x"], "cat", Starts::Commands),
        (&["pay", "ann"], "pay", Starts::Programs),
        // What it is told to do is not known, and that it is git is.
        (&["git", "push", "origin"], "git", Starts::Programs),
        // There is no `ls` that it could start.
        (&["timeout", "5", "ls", "-la"], "timeout", Starts::Programs),
    ] {
        assert_eq!(starts(&words(argv)), (words(&[program]).into(), expected), "{argv:?}");
    }
}

#[test]
fn no_value_begins_an_option() {
    let refused = |template: &[&str], given: Value| {
        let why = argv(template).filled(&values(given)).unwrap_err();
        assert_eq!(why.why, Invalid::BadArguments);
        why.detail
    };
    assert!(refused(&["ls", "{a}"], json!({ "a": "-R" })).contains("`a` begins with `-`"));
    assert!(refused(&["ls", "{a}"], json!({ "a": -1 })).contains("begins with `-`"));
    assert!(refused(&["ls", "{a}{b}"], json!({ "a": "", "b": "--help" })).contains("begins with `-`"));
    assert!(refused(&["ls", "{a}"], json!({ "a": "x\0y" })).contains("NUL"));
    assert!(refused(&["ls", "{a}"], json!({ "a": ["-R"] })).contains("no text"));
    assert!(refused(&["ls", "{a}", "--"], json!({ "a": "-R" })).contains("begins with `-`"));
    for (template, given) in [(&["ls", "--", "{a}"][..], json!({ "a": "-R" })), (&["ls", "-{a}"], json!({ "a": "-x" }))]
    {
        assert_eq!(argv(template).filled(&values(given)).unwrap().len(), template.len());
    }
}

proptest! {
    /// Whatever the values are, there are as many words as the template has, and only its own begin options.
    #[test]
    fn words_stay_words(a in "[-a-z \\n'\"$`;|*{}=]{0,12}", b in "\\PC{0,12}") {
        let template = ["p", "{a}", "--x={b}", "{b}{a}", "y{a}"];
        let given = values(json!({ "a": a, "b": b }));
        match argv(&template).filled(&given) {
            Ok(filled) => {
                prop_assert_eq!(filled.len(), template.len());
                for (word, written) in filled.iter().zip(template) {
                    prop_assert!(!word.starts_with('-') || written.starts_with('-'), "{:?}", word);
                }
            }
            Err(_) => prop_assert!(a.starts_with('-') || b.starts_with('-') || (b.is_empty() && a.starts_with('-'))),
        }
    }
}

#[test]
fn paths_are_facts_by_their_real_names_and_these_are_what_the_program_gets() {
    let home = Home::new();
    home.put("src/a", "a");
    home.put("out/b", "b");
    symlink("src", home.at("link")).unwrap();
    let real = |path: &str| home.at(path).canonicalize().unwrap().to_str().unwrap().to_owned();
    let tool =
        tool(EffectClass::Write, &[("from", Role::ReadPath), ("to", Role::WritePath)], &["cp", "{from}", "{to}"]);
    let mut given = values(json!({ "from": ["link/a", "src"], "to": "out/c" }));
    let (facts, reach) = tool.facts(&home.roots, &mut given).unwrap();
    let to = format!("{}/c", real("out"));
    assert_eq!(Value::Object(given), json!({ "from": [real("src/a"), real("src")], "to": to }));
    let found: Vec<_> = facts.paths.iter().map(|path| (path.access, path.real.clone())).collect();
    assert_eq!(found, [(Access::Read, real("src/a")), (Access::Read, real("src")), (Access::Write, to)]);
    assert!(!facts.more_paths);
    assert_eq!(reach.write, [real("out")]);
    for (given, why) in [
        (json!({ "from": "/etc/passwd", "to": "out/c" }), Invalid::OutsideGrants),
        (json!({ "from": "../outside/secret", "to": "out/c" }), Invalid::OutsideGrants),
        (json!({ "from": "src/a", "to": "src/c" }), Invalid::OutsideGrants),
        (json!({ "from": "src/none", "to": "out/c" }), Invalid::NotFound),
        (json!({ "from": 7, "to": "out/c" }), Invalid::BadArguments),
        (json!({ "from": ["src", 7], "to": "out/c" }), Invalid::BadArguments),
    ] {
        assert_eq!(tool.facts(&home.roots, &mut values(given)).unwrap_err().why, why);
    }
}

#[test]
fn what_a_tool_is_to_write_is_protected_where_other_programs_act_by_it() {
    let home = Home::new();
    home.put("out/repo/.git/config", "[core]");
    let tool = |class| tool(class, &[("from", Role::ReadPath), ("to", Role::WritePath)], &["cp", "{from}", "{to}"]);
    for class in [EffectClass::Write, EffectClass::Execute, EffectClass::Send] {
        let of = |to: Value| {
            let mut given = values(json!({ "from": "out/repo/.git/config", "to": to }));
            super::protected::of(&tool(class).facts(&home.roots, &mut given).unwrap().0)
        };
        let real = |path: &str| home.at(path).to_str().unwrap().to_owned();
        assert_eq!(of(json!("out/plain")), [""; 0], "it only reads the other");
        assert_eq!(of(json!("out/repo/.git/config")), [real("out/repo/.git/config")]);
        assert_eq!(of(json!(["out/plain", "out/.envrc"])), [real("out/.envrc")], "{class:?}");
    }
}

#[test]
fn what_only_reads_can_write_nowhere_and_what_executes_may_touch_all_that_is_granted() {
    let home = Home::new();
    let of = |class| tool(class, &[], &["x"]).facts(&home.roots, &mut Map::new()).unwrap();
    let (facts, reach) = of(EffectClass::Read);
    assert!(reach.write.is_empty() && facts.paths.is_empty() && !facts.more_paths);
    assert!(of(EffectClass::Write).1.write.is_empty(), "it names nothing to write");
    for class in [EffectClass::Execute, EffectClass::Send, EffectClass::Spend] {
        let (facts, reach) = of(class);
        assert!(facts.more_paths && facts.class == class);
        assert_eq!((facts.paths.len(), reach.write.len()), (2, 1));
    }
}

#[test]
fn what_is_not_declared_of_an_argument_is_authority() {
    let to = Role::of("email").unwrap();
    let tool = tool(EffectClass::Send, &[("b", Role::Payload), ("to", to)], &["x", "{a}", "{b}", "{to}"]);
    let expected = [
        ("a".to_owned(), ArgumentRole::Authority(Kind::QuotedString)),
        ("b".to_owned(), ArgumentRole::Payload),
        ("to".to_owned(), ArgumentRole::Authority(Kind::Email)),
    ];
    assert_eq!(tool.manifest().arguments, expected);
    assert!(Role::WORDS.iter().all(|word| Role::of(word).is_some()) && Role::of("mail").is_none());
}

#[test]
fn arguments_must_fit_the_schema_and_nothing_beside_it_passes() {
    let schema = Schema::read(
        r#"{"type":"object","properties":{"n":{"type":"integer","maximum":9},"s":{"type":"string","pattern":"^a+$"}},"required":["n"]}"#,
    )
    .unwrap();
    assert!(schema.arguments("t", r#"{"n":9,"s":"aa"}"#).is_ok());
    for (given, said) in [
        (r#"{"n":10}"#, "/n"),
        (r#"{"n":"1"}"#, "/n"),
        (r#"{}"#, "\"n\" is a required property"),
        (r#"{"n":1,"s":"ab"}"#, "/s"),
        (r#"{"n":1,"N":1}"#, "no argument `N`"),
        (r#"[1]"#, "not of type"),
        (r#"{"n":1"#, "EOF"),
    ] {
        let refused = schema.arguments("t", given).unwrap_err();
        assert_eq!(refused.why, Invalid::BadArguments);
        assert!(refused.detail.contains(said), "{given}: {}", refused.detail);
    }
    let long = format!(r#"{{"n":1,"s":"{}"}}"#, "a".repeat(crate::limits::ARGUMENTS_BYTES_MAX));
    assert!(schema.arguments("t", &long).unwrap_err().detail.contains("more than"));
    assert!(Schema::read(&" ".repeat(crate::limits::SCHEMA_BYTES_MAX + 1)).is_err());
}

#[test]
fn whether_a_call_can_be_taken_back_is_a_fact_of_it_as_it_was_declared() {
    let url = backstay_kernel::url::Url::read("https://far.test/mcp").unwrap();
    let schema = || Schema::read(r#"{"type":"object"}"#).unwrap();
    let home = Home::new();
    let mut digests = std::collections::BTreeSet::new();
    for reversible in [None, Some(true), Some(false)] {
        let terms = Terms { reversible, ..terms(EffectClass::Write, &[]) };
        let tool = Declared::of_server("far__t", ("far", "t", Some(&url)), "", terms, schema(), b"");
        assert_eq!(tool.manifest().reversible, reversible);
        assert_eq!(tool.prepare(&home.roots, "{}").unwrap().facts.reversible, reversible);
        digests.insert(tool.digest());
    }
    assert_eq!(digests.len(), 3, "a yes is to what was declared");
    let check = |class, reversible| Terms { reversible, ..terms(class, &[]) }.check().is_ok();
    assert!(!check(EffectClass::Read, Some(false)) && check(EffectClass::Read, Some(true)));
    assert!(!check(EffectClass::Spend, Some(true)) && check(EffectClass::Spend, Some(false)));
    for class in [EffectClass::Write, EffectClass::Execute, EffectClass::Send] {
        assert!([None, Some(true), Some(false)].into_iter().all(|reversible| check(class, reversible)), "{class:?}");
    }
}

#[test]
fn a_changed_declaration_is_another_tool() {
    let digest = |class, template: &[&str]| tool(class, &[], template).digest();
    let first = digest(EffectClass::Read, &["x", "{a}"]);
    assert_eq!(first, digest(EffectClass::Read, &["x", "{a}"]));
    assert_ne!(first, digest(EffectClass::Send, &["x", "{a}"]));
    assert_ne!(first, digest(EffectClass::Read, &["x", "--", "{a}"]));
}
