//! What bash makes of the same text, as an independent witness. Only commands that were read as plain get
//! here; the programs are functions that print their arguments, in a restricted shell without a `PATH` in an
//! empty directory, so that nothing would run even if a command were not what it was taken for.
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::rows::benign;
use super::{argv, plain};
use crate::spec::variables;
use crate::{Joint, Plain, Reading, Simple, read};

/// Each command in turn, its known variables and its words counted and ended by NUL; what a pipe brings is passed on first.
const SCRIPT: &str = r#"
mapfile -d '' -t rows
set -f
say() {
    local word
    local -a set=()
    while IFS= builtin read -r -d '' word; do builtin printf '%s\0' "$word"; done
    for word in $VARIABLES; do if [[ -v $word ]]; then set+=("$word=${!word}"); fi; done
    builtin printf '%s\0' "$(($# + ${#set[@]}))" "${set[@]}" "$@"
}
for name in $NAMES; do builtin eval "$name() { say $name \"\$@\"; }"; done
for row in "${rows[@]}"; do
    builtin eval "$row"
    builtin printf '\1\0'
done
"#;

/// Without redirections, which a restricted shell does not make, and without `||`, whose second half waits
/// for a failure.
pub fn can_be_asked(plain: &Plain) -> bool {
    plain.commands.iter().all(|command| command.redirects.is_empty() && command.joint != Joint::Or)
}

/// Looked for in our own `PATH`, since it gets none.
fn bash() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("bash")).find(|file| file.is_file());
    found.expect("bash is installed")
}

/// The argv of each command of each row, as bash sees them.
pub fn ask(rows: &[(String, Plain)]) -> Vec<Vec<Vec<String>>> {
    let names: BTreeSet<String> =
        rows.iter().flat_map(|(_, plain)| argv(plain)).filter_map(|words| words.into_iter().next()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let here = tempfile::tempdir().unwrap();
    let mut bash = Command::new(bash())
        .args(["--noprofile", "--norc", "-r", "-c", SCRIPT])
        .env_clear()
        .envs([("PATH", ""), ("HOME", "/home-of-the-oracle"), ("LC_CTYPE", "C.UTF-8"), ("NAMES", &names.join(" "))])
        .env("VARIABLES", variables().collect::<Vec<_>>().join(" "))
        .current_dir(here.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash starts");
    let mut input = bash.stdin.take().unwrap();
    for (row, _) in rows {
        input.write_all(row.as_bytes()).unwrap();
        input.write_all(b"\0").unwrap();
    }
    drop(input);
    let output = bash.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<_> = text.split("\u{1}\0").map(calls).collect();
    assert_eq!(answers.len(), rows.len() + 1, "one answer for each row, and the end");
    answers
}

fn calls(answer: &str) -> Vec<Vec<String>> {
    let mut words = answer.split('\0');
    let mut calls = Vec::new();
    while let Some(count) = words.next().filter(|count| !count.is_empty()) {
        calls.push(words.by_ref().take(count.parse().unwrap()).map(str::to_owned).collect());
    }
    calls
}

/// What each command would say of itself: the variables that are set for it, in the table's order, and its words.
fn told(plain: &Plain) -> Vec<Vec<String>> {
    let set = |simple: &Simple| {
        let mut set: Vec<String> = simple.variables.iter().map(|set| format!("{}={}", set.name, set.value)).collect();
        set.sort_by_key(|text| variables().position(|name| text.split('=').next() == Some(name)));
        set
    };
    plain.commands.iter().map(set).zip(argv(plain)).map(|(set, words)| [set, words].concat()).collect()
}

/// Fails with every row that bash reads in another way.
pub fn hold(rows: &[(String, Plain)]) {
    let answers = ask(rows);
    let differing = rows.iter().zip(&answers).filter(|((_, plain), answer)| told(plain) != **answer);
    let wrong: Vec<String> =
        differing.map(|((row, plain), answer)| format!("`{row}`: {:?}, bash: {answer:?}", told(plain))).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

fn plain_rows() -> impl Iterator<Item = (String, Plain)> {
    let plains = benign().into_iter().filter_map(|row| {
        let Reading::Plain(plain) = read(row.command.as_bytes()) else { return None };
        Some((row.command, plain))
    });
    plains.filter(|(_, plain)| can_be_asked(plain))
}

#[test]
fn plain_commands_have_the_words_that_bash_gives_them() {
    let rows: Vec<_> = plain_rows().collect();
    assert!(rows.len() > 240, "{}", rows.len());
    hold(&rows);
}

#[test]
fn canonical_text_has_the_words_that_bash_gives_it() {
    hold(&plain_rows().map(|(_, plain)| (plain.display(), plain)).collect::<Vec<_>>());
}

#[test]
fn bash_would_be_heard_if_it_disagreed() {
    let answers = ask(&[("echo 'a b' c | cat x".to_owned(), plain("echo 'a b' c | cat x"))]);
    assert_eq!(answers[0], [vec!["echo", "a b", "c"], vec!["cat", "x"]]);
    let other = ask(&[("echo a b c".to_owned(), plain("echo 'a b' c"))]);
    assert_ne!(other[0], argv(&plain("echo 'a b' c")));
}
