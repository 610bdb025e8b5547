//! Every way in which a call is no call, and every known way out of a granted directory.
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::slice::from_ref;

use backstay_kernel::facts::{Access, Invalid, PathFact};
use backstay_kernel::tool::EffectClass;
use proptest::prelude::*;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::io::Errno;
use serde_json::json;

use super::{Home, SECRET, content, path};
use crate::limits;
use crate::place::{child, child_directory};
use crate::prepare::inspect;
use crate::roots::{Roots, RootsError};

#[test]
fn facts_hold_the_real_path_whatever_name_was_used() {
    let home = Home::new();
    home.put("deep/file", "x");
    symlink("deep", home.at("link")).unwrap();
    let real = home.at("deep/file").to_str().unwrap().to_owned();
    for name in ["deep/file", "./deep//file", "link/file", "link/./file", &real] {
        let facts = home.inspect("read_file", path(name)).unwrap();
        assert_eq!(facts.class, EffectClass::Read);
        assert_eq!(facts.paths, [PathFact::new(Access::Read, real.clone())]);
        assert_eq!(facts.probe, None);
    }
}

#[test]
fn an_edit_reads_and_writes_and_a_write_only_writes() {
    let home = Home::new();
    home.put("out/a", "one two");
    let access =
        |facts: backstay_kernel::facts::Facts| -> Vec<Access> { facts.paths.iter().map(|path| path.access).collect() };
    let edit = home.inspect("edit_file", json!({"path": "out/a", "old": "one", "new": "1"}));
    assert_eq!(access(edit.unwrap()), [Access::Read, Access::Write]);
    assert_eq!(access(home.inspect("write_file", content("out/b", "")).unwrap()), [Access::Write]);
}

/// A write over a file is the same call as one where there is none, and what it replaces is nowhere else.
#[test]
fn an_edit_can_be_taken_back_and_of_a_write_nobody_knows_it() {
    let home = Home::new();
    home.put("out/a", "one two");
    let edit = json!({"path": "out/a", "old": "one", "new": "1"});
    assert_eq!(home.inspect("edit_file", edit).unwrap().reversible, Some(true));
    for name in ["out/a", "out/b"] {
        assert_eq!(home.inspect("write_file", content(name, "")).unwrap().reversible, None, "{name}");
    }
    for tool in crate::manifests() {
        assert_eq!(tool.reversible, (tool.name == "edit_file").then_some(true), "{}", tool.name);
    }
}

#[test]
fn a_file_that_may_be_written_and_not_read_is_not_edited() {
    let dir = tempfile::tempdir().unwrap();
    let [workspace, drop] = ["workspace", "drop"].map(|name| dir.path().join(name));
    let roots = Roots::open(&workspace, from_ref(&workspace), from_ref(&drop)).unwrap();
    fs::write(drop.join("a"), "one").unwrap();
    let file = drop.join("a");
    let edit = json!({"path": file, "old": "one", "new": "two"}).to_string();
    assert_eq!(inspect(&roots, "edit_file", &edit).unwrap_err().why, Invalid::OutsideGrants);
    let write = json!({"path": file, "content": "two"}).to_string();
    inspect(&roots, "write_file", &write).unwrap();
}

#[test]
fn paths_that_lead_out_are_refused() {
    let home = Home::new();
    let secret = home.outside().join("secret");
    home.put("notes", "inside, and still named by a way that leads up");
    home.put("out/a", "the same");
    symlink(home.outside(), home.at("absolute")).unwrap();
    symlink("../outside", home.at("relative")).unwrap();
    symlink(&secret, home.at("file")).unwrap();
    symlink("../../outside", home.at("out/up")).unwrap();
    symlink("/proc/self/root", home.at("magic")).unwrap();
    symlink("loop", home.at("loop")).unwrap();
    let long = "a/".repeat(3_000);
    let deep = "a/".repeat(100);
    for name in [
        "",
        "..",
        "../outside/secret",
        "out/../../outside/secret",
        "out/../notes",
        "out/../out/a",
        "out/none/../../notes",
        "/etc/passwd",
        "/proc/self/environ",
        "/",
        "//",
        "/tmp/x",
        "absolute/secret",
        "relative/secret",
        "file",
        "out/up/secret",
        "magic/etc/passwd",
        "loop",
        "a\0b",
        &long,
        &deep,
        &"x".repeat(300),
        secret.to_str().unwrap(),
        &format!("{}side", home.roots.workspace()),
    ] {
        for tool in ["read_file", "list_dir"] {
            let refused = home.inspect(tool, path(name)).unwrap_err();
            assert_eq!(refused.why, Invalid::OutsideGrants, "{tool} {name}: {refused}");
        }
        let search = json!({"pattern": "secret", "path": name});
        assert_eq!(home.why("search_files", search), Invalid::OutsideGrants, "{name}");
        let write = home.inspect("write_file", content(name, "x")).unwrap_err();
        assert_eq!(write.why, Invalid::OutsideGrants, "{name}: {write}");
    }
    assert_eq!(fs::read_to_string(secret).unwrap(), SECRET);
}

#[test]
fn what_is_longer_than_it_may_be_is_refused_for_that() {
    let home = Home::new();
    // Fewer names than a path may have, and more bytes.
    let long = format!("{}/", "d".repeat(204)).repeat(20);
    assert!(long.len() > limits::PATH_BYTES_MAX);
    let refused = home.inspect("read_file", path(&long)).unwrap_err();
    assert!(refused.detail.contains("too long"), "{refused}");
    for (tool, field, most) in [
        ("remember", "text", limits::NOTE_BYTES_MAX),
        ("ask_human", "question", limits::NOTE_BYTES_MAX),
        ("recall", "query", limits::QUERY_BYTES_MAX),
        ("search_files", "pattern", limits::PATTERN_BYTES_MAX),
    ] {
        let of = |bytes: usize| json!({ field: "x".repeat(bytes) });
        home.inspect(tool, of(most)).unwrap();
        assert_eq!(home.why(tool, of(most + 1)), Invalid::BadArguments, "{tool}");
    }
}

#[test]
fn a_link_out_of_the_narrow_grant_and_inside_the_wide_one_is_read_under_its_real_path() {
    let home = Home::new();
    home.put("notes", "n");
    symlink("../notes", home.at("out/link")).unwrap();
    let roots = Roots::open(&home.at(""), &[home.at("out"), home.at("")], &[]).unwrap();
    let facts = inspect(&roots, "read_file", r#"{"path":"out/link"}"#).unwrap();
    assert_eq!(facts.paths[0].real, home.at("notes").to_str().unwrap());
    let narrow = Roots::open(&home.at(""), &[home.at("out")], &[]).unwrap();
    let refused = inspect(&narrow, "read_file", r#"{"path":"out/link"}"#).unwrap_err();
    assert_eq!(refused.why, Invalid::OutsideGrants);
}

#[test]
fn writing_stays_in_the_directories_granted_for_writing() {
    let home = Home::new();
    home.put("notes", "n");
    symlink("../notes", home.at("out/link")).unwrap();
    symlink("nowhere", home.at("out/broken")).unwrap();
    symlink("real", home.at("out/inside")).unwrap();
    home.put("out/real", "r");
    assert_eq!(home.why("write_file", content("notes", "x")), Invalid::OutsideGrants);
    assert_eq!(home.why("write_file", content("outer/x", "x")), Invalid::OutsideGrants);
    // A link is neither followed nor replaced, wherever it points.
    for link in ["out/link", "out/broken", "out/inside"] {
        assert_eq!(home.why("write_file", content(link, "x")), Invalid::WrongKind, "{link}");
    }
    assert_eq!(home.why("write_file", content("out/broken/new", "x")), Invalid::WrongKind);
    assert_eq!(home.why("write_file", content("out", "x")), Invalid::WrongKind);
    assert_eq!(home.why("write_file", content("out/real/x", "x")), Invalid::WrongKind);
    let refused = home.inspect("write_file", content("notes", "x")).unwrap_err();
    assert_eq!(refused.detail, "`notes` is outside the directories granted for writing: `out`");
}

/// What a race would put in the way of a walk or of a new directory, put there beforehand.
#[test]
fn a_child_is_opened_itself_and_never_what_a_link_stands_for() {
    let home = Home::new();
    home.put("real/file", "x");
    symlink("real", home.at("link")).unwrap();
    symlink("real/file", home.at("file")).unwrap();
    let dir = OwnedFd::from(fs::File::open(home.at("")).unwrap());
    assert_eq!(child(&dir, "link", OFlags::DIRECTORY).unwrap_err(), Errno::LOOP);
    assert_eq!(child(&dir, "link/file", OFlags::empty()).unwrap_err(), Errno::LOOP);
    assert_eq!(child(&dir, "file", OFlags::empty()).unwrap_err(), Errno::LOOP);
    assert_eq!(child_directory(&dir, "link").unwrap_err(), Errno::LOOP);
    child_directory(&dir, "real").unwrap();
    child_directory(&dir, "new").unwrap();
}

#[test]
fn only_regular_files_are_read_and_nothing_blocks() {
    let home = Home::new();
    mkfifoat(CWD, home.at("out/fifo"), Mode::from_raw_mode(0o600)).unwrap();
    let _listener = UnixListener::bind(home.at("out/socket")).unwrap();
    fs::create_dir(home.at("out/dir")).unwrap();
    for name in ["out/fifo", "out/socket", "out/dir"] {
        assert_eq!(home.why("read_file", path(name)), Invalid::WrongKind, "{name}");
        assert_eq!(home.why("write_file", content(name, "x")), Invalid::WrongKind, "{name}");
    }
    assert_eq!(home.why("search_files", json!({"pattern": "x", "path": "out/fifo"})), Invalid::WrongKind);
    // A walk goes past them.
    home.put("out/file", "found");
    let text = home.done("search_files", json!({"pattern": "found"}));
    assert_eq!(text, "out/file:1: found\n");
    let roots = Roots::open(&home.at(""), &["/dev".into()], &[]).unwrap();
    let device = inspect(&roots, "read_file", r#"{"path":"/dev/null"}"#).unwrap_err();
    assert_eq!(device.why, Invalid::WrongKind);
}

#[test]
fn what_is_not_there_or_of_another_kind_is_said() {
    let home = Home::new();
    home.put("file", "x");
    assert_eq!(home.why("read_file", path("none")), Invalid::NotFound);
    assert_eq!(home.why("list_dir", path("none")), Invalid::NotFound);
    assert_eq!(home.why("list_dir", path("file")), Invalid::WrongKind);
    assert_eq!(home.why("read_file", path("file/x")), Invalid::WrongKind);
    let edit = json!({"path": "out/none", "old": "a", "new": "b"});
    assert_eq!(home.why("edit_file", edit), Invalid::NotFound);
}

#[test]
fn an_edit_needs_its_text_exactly_once() {
    let home = Home::new();
    home.put("out/a", "aaa b c c");
    home.put("out/bytes", b"\xff\xfe");
    let edit = |old: &str| json!({"path": "out/a", "old": old, "new": "x"});
    for old in ["z", "c", "aa"] {
        assert_eq!(home.why("edit_file", edit(old)), Invalid::NoMatch, "{old}");
    }
    for old in ["", "x"] {
        assert_eq!(home.why("edit_file", edit(old)), Invalid::BadArguments, "{old}");
    }
    let bytes = json!({"path": "out/bytes", "old": "a", "new": "b"});
    assert_eq!(home.why("edit_file", bytes), Invalid::WrongKind);
    home.done("edit_file", edit("b"));
    assert_eq!(home.text("out/a"), "aaa x c c");
}

#[test]
fn files_that_are_too_large_or_read_only_are_left_alone() {
    let home = Home::new();
    fs::write(home.at("out/big"), vec![b'a'; crate::limits::FILE_BYTES_MAX + 1]).unwrap();
    home.put("out/fixed", "x");
    fs::set_permissions(home.at("out/fixed"), fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(home.why("write_file", content("out/big", "x")), Invalid::TooLarge);
    let text = format!("{:?}", home.call("read_file", path("out/big")));
    assert!(text.contains("Failed") && text.contains("is larger than 8388608 bytes"), "{text}");
    let refused = home.inspect("write_file", content("out/fixed", "y")).unwrap_err();
    assert_eq!((refused.why, refused.detail.as_str()), (Invalid::Unreadable, "`out/fixed` is read-only"));
}

#[test]
fn wrong_arguments_are_named() {
    let home = Home::new();
    for (tool, arguments, expected) in [
        ("read_file", "", "must be a JSON object"),
        ("read_file", "[\"a\"]", "must be a JSON object"),
        ("read_file", "{", "EOF"),
        ("read_file", "{}", "missing field `path`"),
        ("read_file", r#"{"path":1}"#, "expected a string"),
        ("read_file", r#"{"path":"a","fileUrl":"b"}"#, "unknown field `fileUrl`"),
        ("read_file", r#"{"path":"a","path":"b"}"#, "duplicate field `path`"),
        ("read_file", r#"{"path":"a","offset":0}"#, "nonzero"),
        ("read_file", r#"{"path":"a","limit":-1}"#, "integer `-1`"),
        ("read_file", r#"{"path":"a"} {"path":"b"}"#, "trailing characters"),
        ("write_file", r#"{"path":"a"}"#, "missing field `content`"),
        ("search_files", r#"{"pattern":"("}"#, "no regular expression"),
        ("search_files", r#"{"pattern":""}"#, "`pattern` is empty"),
        ("search_files", r#"{"pattern":"(a{1000}){1000}"}"#, "no regular expression"),
        ("remember", r#"{"text":" "}"#, "`text` is empty"),
        ("recall", r#"{"query":""}"#, "`query` is empty"),
        ("ask_human", r#"{"question":""}"#, "`question` is empty"),
    ] {
        let refused = inspect(&home.roots, tool, arguments).unwrap_err();
        assert_eq!(refused.why, Invalid::BadArguments, "{tool} {arguments}");
        assert!(refused.detail.contains(expected), "{tool} {arguments}: {refused}");
    }
    let unknown = inspect(&home.roots, "config.patch", "{}").unwrap_err();
    assert_eq!(unknown.why, Invalid::UnknownTool);
    let long = format!(r#"{{"{}":1}}"#, "x".repeat(100_000));
    assert!(inspect(&home.roots, "list_dir", &long).unwrap_err().detail.len() <= 600);
}

#[test]
fn granted_directories_are_made_and_must_be_usable() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().canonicalize().unwrap();
    let (linked, deep) = (real.join("linked"), real.join("w/deep/out"));
    symlink("a", &linked).unwrap();
    fs::create_dir_all(real.join("a/b")).unwrap();
    fs::write(real.join("file"), "").unwrap();
    // What another agent may have put in the place of a directory grants nothing, and keeps nobody else from theirs.
    let void = [linked.clone(), linked.join("b"), linked.join("new"), real.join("file"), real.join("file/new")];
    let roots = Roots::open(&real.join("w"), &void, from_ref(&deep)).unwrap();
    assert_eq!((roots.void(), roots.granted(Access::Read).len()), (&void[..], 0));
    assert!(!real.join("a/new").exists(), "nothing is made through a link");
    assert!(deep.is_dir());
    assert_eq!(roots.granted(Access::Write), from_ref(&deep.to_str().unwrap().to_owned()));
    assert!(inspect(&roots, "list_dir", &path(real.join("a").to_str().unwrap()).to_string()).is_err());
    let relative = Roots::open(&real, &[], &["out".into()]).unwrap_err();
    assert!(matches!(relative, RootsError::NotAbsolute(_)), "{relative}");
}

#[test]
fn without_a_grant_nothing_is_reached() {
    let home = Home::new();
    let roots = Roots::open(&home.at(""), &[], &[]).unwrap();
    for (tool, arguments) in [("read_file", path("a")), ("list_dir", path(".")), ("write_file", content("out/a", "x"))]
    {
        let refused = inspect(&roots, tool, &arguments.to_string()).unwrap_err();
        assert_eq!(refused.why, Invalid::OutsideGrants);
        assert!(refused.detail.contains("no directory is granted"), "{refused}");
    }
}

const TOOLS: [&str; 9] = [
    "read_file",
    "write_file",
    "edit_file",
    "list_dir",
    "search_files",
    "remember",
    "recall",
    "ask_human",
    "read_output",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Nonsense is refused, never answered with a crash; nothing outside is ever in the facts.
    #[test]
    fn broken_arguments_never_panic_and_never_reach_outside(
        tool in prop::sample::select(&TOOLS[..]),
        raw in prop::collection::vec(any::<u8>(), 0..200),
        names in prop::collection::vec("[a-z./\\\\\u{0}-\u{1f}~*]{0,12}", 3),
        shape in 0..4usize,
    ) {
        thread_local!(static HOME: Home = Home::new());
        let [a, b, c] = [&names[0], &names[1], &names[2]];
        let arguments = match shape {
            0 => String::from_utf8_lossy(&raw).into_owned(),
            1 => json!({"path": a, "content": b, "old": b, "new": c}).to_string(),
            2 => json!({"path": a, "pattern": b}).to_string(),
            _ => format!("{{\"path\":{}}}", json!(a)),
        };
        HOME.with(|home| {
            if let Ok(facts) = inspect(&home.roots, tool, &arguments) {
                for fact in facts.paths {
                    prop_assert!(fact.real.starts_with(home.roots.workspace()), "{}", fact.real);
                    prop_assert!(!fact.real.contains("/../"));
                }
            }
            Ok(())
        })?;
    }
}
