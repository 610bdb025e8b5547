//! The reference pages are those that the binary writes; completions are scripts.
use std::path::Path;

use crate::place::Place;

#[test]
fn the_committed_pages_are_what_the_code_says() {
    let place = Place::empty();
    for page in ["cli", "config"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/reference/{page}.md"));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let written = place.run(&["reference", page]);
        let update = format!("cargo run -p backstay -- reference {page} > docs/reference/{page}.md");
        assert!(committed == written.expect(0).stdout, "docs/reference/{page}.md is old; write it anew:\n  {update}");
    }
}

#[test]
fn completions_come_for_every_shell() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = place.run(&["completions", shell]);
        assert!(ran.expect(0).stdout.contains("quickstart"), "{shell}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_2_and_says_so_on_stderr() {
    let place = Place::empty();
    for arguments in [&["nonsense"][..], &["approve"], &["tokens", "create"], &["--jsn"]] {
        let ran = place.run(arguments);
        assert_eq!(ran.expect(2).stdout, "");
        assert!(!ran.stderr.is_empty());
    }
    assert!(place.run(&["--help"]).expect(0).stdout.contains("quickstart"));
}
