//! What the gate is told of a command, and what is left open to it.
use std::fs;
use std::os::unix::fs::symlink;

use backstay_kernel::facts::{Access, Facts};
use backstay_kernel::tool::EffectClass;
use backstay_sandbox::{Joint, Reach, Redirect, Simple};
use backstay_shell::{Reading, read};

use super::Home;
use crate::card;
use crate::known::Known;

fn known(command: &str, granted: &[&str]) -> Option<Known> {
    let reading = read(command.as_bytes());
    let Reading::Plain(plain) = reading else { panic!("`{command}`: {reading:?}") };
    Known::of(plain, &granted.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

fn facts(home: &Home, command: &str) -> Option<(Facts, Reach)> {
    known(command, &["*"])?.facts(&home.roots, home.roots.workspace())
}

/// Of each path whether it is read or written, and where it is below the workspace.
fn paths(home: &Home, facts: &Facts) -> Vec<(Access, String)> {
    let below = |real: &str| real.strip_prefix(home.roots.workspace()).unwrap().trim_start_matches('/').to_owned();
    facts.paths.iter().map(|fact| (fact.access, below(&fact.real))).collect()
}

#[test]
fn a_command_that_reads_names_real_paths_and_can_write_nowhere() {
    let home = Home::new();
    home.put("src/a", "a");
    symlink("src/a", home.at("link")).unwrap();
    let (read, reach) = facts(&home, "cat link src/a").unwrap();
    assert_eq!(read.class, EffectClass::Read);
    assert_eq!(paths(&home, &read), [(Access::Read, "src/a".to_owned()), (Access::Read, "src/a".to_owned())]);
    assert!(!read.more_paths && reach.write.is_empty() && !reach.read.is_empty(), "{reach:?}");
    let (here, _) = facts(&home, "echo hi").unwrap();
    assert_eq!(paths(&home, &here), [(Access::Read, String::new())]);
}

#[test]
fn packages_are_those_of_all_its_commands_each_once() {
    let of = |command: &str, granted: &[&str]| known(command, granted).map(|known| known.packages);
    let packages = of("npm i b a && timeout 9 npm ci && cargo add a c@1; ls", &["*"]).unwrap();
    assert_eq!(packages, ["a", "b", "c@1"]);
    assert_eq!(of("npm ci; cargo fetch --locked", &["*"]), Some(Vec::new()));
    assert_eq!(of("npm i a", &["sh"]), None, "a shell reads it");
}

#[test]
fn a_command_that_writes_names_what_it_writes_and_finds_only_that_open() {
    let mut home = Home::new();
    home.put("a", "a");
    home.put("out/dir/b", "b");
    let other = home.at("other");
    home.roots = crate::roots::Roots::open(&home.at(""), &[home.at("")], &[home.at("out"), other]).unwrap();
    let (copied, reach) = facts(&home, "cp a out/new").unwrap();
    assert_eq!(copied.class, EffectClass::Write);
    assert_eq!(paths(&home, &copied), [(Access::Read, "a".to_owned()), (Access::Write, "out/new".to_owned())]);
    assert!(!copied.more_paths);
    assert_eq!(reach.write, [fs::canonicalize(home.at("out")).unwrap().to_str().unwrap()]);
    // A directory stands for what nobody can name beforehand.
    assert!(facts(&home, "rm -r out/dir").unwrap().0.more_paths);
    assert!(facts(&home, "cp a out/dir").unwrap().0.more_paths);
}

#[test]
fn each_program_that_a_command_starts_is_told_with_its_subcommand() {
    let all = known("git status && timeout 5 ls -la | cat; ls", &["*"]).unwrap();
    assert_eq!(all.commands.unwrap(), ["cat", "git status", "ls", "timeout"]);
    assert_eq!(Known::shell("git status").commands, None, "a shell may start anything");
}

#[test]
fn what_the_sandbox_would_undo_is_not_known() {
    let home = Home::new();
    home.put("out/.git/config", "");
    home.put("evil", "");
    for command in [
        "touch out/.git/config",
        "cp evil out/.git/hooks/post-checkout",
        "cp evil out/.github/workflows/x.yml",
        "touch out/.gitmodules",
        "touch out/d/.envrc",
        "mkdir -p out/.husky/x",
        "cp evil out/.git",
    ] {
        assert!(facts(&home, command).is_none(), "{command}");
    }
    for command in ["touch out/git", "cp evil out/config", "touch out/.github", "cat out/.git/config"] {
        assert!(facts(&home, command).is_some(), "{command}");
    }
}

#[test]
fn what_has_no_real_path_or_executes_may_touch_anything() {
    let home = Home::new();
    home.put("a", "a");
    home.put("out/b", "b");
    symlink("b", home.at("out/link")).unwrap();
    symlink(home.outside(), home.at("away")).unwrap();
    for command in [
        "cat missing",
        "cat away/secret",
        "cat /etc/passwd",
        "cat ../outside/secret",
        "cp a b",
        "touch out/link",
        "git status",
    ] {
        assert!(facts(&home, command).is_none(), "{command}");
    }
    assert!(facts(&home, "touch out/b").is_some());
}

#[test]
fn commands_of_granted_programs_run_without_a_shell_as_their_words() {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let run = |command: &str, granted: &[&str]| known(command, granted).map(|known| (known.list, known.programs));
    let one = (vec![Simple::alone(own(&["timeout", "5", "cat", "a b"]))], own(&["timeout", "cat"]));
    assert_eq!(run("timeout 5 cat 'a b'", &["cat", "timeout"]), Some(one));
    assert_eq!(run("timeout 5 cat 'a b'", &["cat"]), None);
    assert_eq!(run("cat a", &["sh"]), None);
    let (list, programs) = run("cat < a | sort > b && echo ok 2>&1 >> c || cat d 2> e; pwd", &["*"]).unwrap();
    assert_eq!(programs, own(&["cat", "sort", "echo", "pwd"]));
    let joints: Vec<Joint> = list.iter().map(|simple| simple.joint).collect();
    assert_eq!(joints, [Joint::Then, Joint::Pipe, Joint::And, Joint::Or, Joint::Then]);
    let (a, b, c, e) = ("a".to_owned(), "b".to_owned(), "c".to_owned(), "e".to_owned());
    let expected: [&[Redirect]; 5] = [
        &[Redirect::Input(a)],
        &[Redirect::Output { path: b, is_append: false }],
        &[Redirect::ErrorsToOutput, Redirect::Output { path: c, is_append: true }],
        &[Redirect::Errors { path: e, is_append: false }],
        &[],
    ];
    assert!(list.iter().map(|simple| simple.redirects.as_slice()).eq(expected), "{list:?}");
    // One program that is not granted, and one word that stands for names, and a shell has to read it all.
    assert_eq!(run("cat a | sort", &["cat"]), None);
    assert_eq!(run("cat a; cat *", &["*"]), None);
    let shell = Known::shell("cat *");
    assert_eq!((shell.list, shell.programs), (vec![Simple::alone(own(&["sh", "-c", "cat *"]))], own(&["sh"])));
}

/// What a person reads of a command is, read again, the command that runs.
#[test]
fn the_shown_text_of_a_command_is_made_of_its_words() {
    for command in [
        "ls  -la   'a b'",
        "cat < a | sort > b && echo ok 2>&1 >> c || cat d 2> e; pwd 2>> 'f g'",
        r#"echo "it's" '' '$(id)' ';'"#,
        "TZ=Europe/Zurich LC_ALL=C date | RUST_LOG=app=debug cat",
    ] {
        let list = known(command, &["*"]).unwrap().list;
        let shown = card::line(&list);
        assert_eq!(known(&shown, &["*"]).unwrap().list, list, "{command}: {shown}");
    }
    assert_eq!(card::line(&known("ls\t-l  \"x\"", &["*"]).unwrap().list), "ls -l x");
    assert_eq!(card::line(&Known::shell("ls $HOME; rm 'x y'").list), r"sh -c 'ls $HOME; rm '\''x y'\'''");
}

#[test]
fn what_is_joined_is_judged_by_all_of_it() {
    let home = Home::new();
    home.put("a", "a");
    home.put("out/b", "b");
    let (both, reach) = facts(&home, "cat < a | sort > out/new && touch out/b 2>/dev/null").unwrap();
    assert_eq!(both.class, EffectClass::Write);
    let written = |path: &str| (Access::Write, path.to_owned());
    let expected = [(Access::Read, "a".to_owned()), written("out/new"), written("out/b")];
    assert_eq!(paths(&home, &both), expected);
    assert_eq!(reach.write.len(), 1);
    // Where a redirection leads is the real path that was judged, whatever stands there when it is made.
    symlink(".", home.at("out/dir")).unwrap();
    let real = |path: &str| format!("{}/{path}", home.roots.workspace());
    let leads = [
        Redirect::Input(real("out/b")),
        Redirect::Output { path: real("out/c"), is_append: false },
        Redirect::Errors { path: "/dev/null".to_owned(), is_append: false },
    ];
    // Also of a command that may touch anything.
    for (command, is_named) in [("cat", true), ("git status", false)] {
        let mut known = known(&format!("{command} < out/dir/b > out/dir/c 2> /dev/null"), &["*"]).unwrap();
        assert_eq!(known.facts(&home.roots, home.roots.workspace()).is_some(), is_named);
        assert_eq!(known.list.first().unwrap().redirects, leads);
    }
    let (reads, reach) = facts(&home, "cat a | head; ls && pwd").unwrap();
    assert!(reads.class == EffectClass::Read && reach.write.is_empty(), "{reads:?}");
    // One part that executes, and one path that is outside, and it may touch anything.
    assert!(facts(&home, "cat a && git status").is_none());
    assert!(facts(&home, "cat a; cat /etc/shadow").is_none());
    assert!(facts(&home, "echo x > out/.envrc").is_none());
}

/// Paths are looked at before the first command runs: what one of them may put a link at, or in the way of, leads
/// elsewhere when the next one comes.
#[test]
fn what_one_command_may_move_beneath_another_is_not_known() {
    let mut home = Home::new();
    home.put("protected/keep", "kept");
    home.put("out/d/a", "a");
    home.put("a", "a");
    home.put("out/s", "");
    symlink("../../protected", home.at("out/d/evil")).unwrap();
    for moves in [
        "cp -a out/d out/n && rm out/n/evil/keep",
        "mv out/d out/n; cp a out/n/evil/w",
        "cp -a out/d out/n3 || touch out/n3/evil/w",
        "mv out/d/evil out/n; cat out/n/keep",
        "cp a out/x; mv out/d out",
        "rm -f out/1 out/2 out/n/evil/keep | cp -a out/d out/n",
    ] {
        assert!(facts(&home, moves).is_none(), "{moves}");
    }
    for stays in [
        "mkdir -p out/n && cp a out/n/b",
        "touch out/n && rm out/n",
        "sort a > out/s && head -n 1 out/s",
        "cp a out/x && rm out/s",
        "cat out/d/a && cp a out/d/b",
        "rm out/s; cp a out/s",
    ] {
        assert!(facts(&home, stays).is_some(), "{stays}");
    }
    // One directory may hold a link into another.
    home.put("other/b", "b");
    let writes = [home.at("out"), home.at("other")];
    home.roots = crate::roots::Roots::open(&home.at(""), &[home.at("")], &writes).unwrap();
    assert!(facts(&home, "touch other/b && cp a out/x").is_none());
    assert!(facts(&home, "touch out/b && cp a out/x").is_some());
}
