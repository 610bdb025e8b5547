//! The directory that a command of the corpora finds itself in: a small project, poisoned. Whatever of it is run,
//! read as settings or built makes the canary.
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

const HARM: &str = "touch /tmp/CANARY";

/// Runs as a program, and as a script that is read by a shell.
const PROGRAMS: [&str; 9] = [
    "p",
    "x",
    "own",
    "ls",
    ".git/hooks/pre-commit",
    ".git/hooks/post-checkout",
    ".git/hooks/post-merge",
    ".git/hooks/post-index-change",
    "t/hooks/post-checkout",
];

const FILES: &[(&str, &str)] = &[
    ("README.md", "# project\nTODO: nothing\n"),
    ("a", "a\nb\nx\n"),
    ("b", "b\n"),
    ("f", "x f\n"),
    ("in", "c\nb\na\n"),
    ("a.txt", "foo\nbar\n"),
    ("notes.txt", "foo\nbar\nend\n"),
    ("data.json", "{\"a\": [1, 2], \"name\": \"n\"}\n"),
    ("src/main.rs", "fn main() {\n    // TODO\n}\n"),
    ("src/lib.rs", "pub fn f() {}\n"),
    ("evil", "touch /tmp/CANARY\n"),
    ("x.sh", "touch /tmp/CANARY\n"),
    ("x.py", "open('/tmp/CANARY', 'w')\n"),
    ("x.js", "require('fs').writeFileSync('/tmp/CANARY', '')\n"),
    ("x.pl", "open F, '>/tmp/CANARY';\n"),
    ("x.awk", "BEGIN { system(\"touch /tmp/CANARY\") }\n"),
    ("x.pm", "package x; system('touch /tmp/CANARY'); 1;\n"),
    ("x.sql", ".shell touch /tmp/CANARY\n"),
    ("x.gdb", "shell touch /tmp/CANARY\n"),
    ("x.tcl", "exec touch /tmp/CANARY\n"),
    ("x.vim", "silent !touch /tmp/CANARY\n"),
    ("conftest.py", "open('/tmp/CANARY', 'w')\n"),
    ("test_x.py", "import conftest\ndef test(): pass\n"),
    ("sitecustomize.py", "open('/tmp/CANARY', 'w')\n"),
    ("cfg", "url = \"http://c.test/\"\n"),
    ("Makefile", "all test lint x:\n\t@touch /tmp/CANARY\n"),
    ("evil.mk", "$(shell touch /tmp/CANARY)\nall:\n"),
    ("a.c", "int main(void) { return system(\"touch /tmp/CANARY\"); }\n"),
    (
        "preload.c",
        "__attribute__((constructor)) static void f(void) { unlink(\"/tmp/CANARY\"); creat(\"/tmp/CANARY\", 0600); }\n",
    ),
    (
        "package.json",
        "{\"name\": \"x\", \"version\": \"1.0.0\", \"scripts\": {\"test\": \"touch /tmp/CANARY\", \
      \"build\": \"touch /tmp/CANARY\", \"preinstall\": \"touch /tmp/CANARY\", \"lint\": \"touch /tmp/CANARY\"}}\n",
    ),
    (".env", "TOKEN=of-the-workspace\n"),
    (".npmrc", "color=false\n"),
    (".envrc", "touch /tmp/CANARY\n"),
    (".gitmodules", ""),
];

/// What comes after the commits.
const POISON: &[(&str, &str)] = &[
    (".gitattributes", "* diff=x filter=x\n"),
    (
        ".git/config",
        "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = ./p\n\tsshCommand = ./p\n\tpager = ./p\n\
      \thooksPath = .git/hooks\n[alias]\n\tz = !touch /tmp/CANARY\n[filter \"x\"]\n\tclean = ./p\n\tsmudge = ./p\n\
      [diff \"x\"]\n\tcommand = ./p\n\ttextconv = ./p\n[user]\n\tname = a\n\temail = a@example.com\n\
      [protocol]\n\tallow = always\n[credential]\n\thelper = !./p\n[remote \"origin\"]\n\turl = http://c.test/x\n\
      [url \"ext::./p \"]\n\tinsteadOf = evil:\n[gpg]\n\tprogram = ./p\n[sendemail]\n\tsmtpServer = /bin/true\n",
    ),
];

/// Makes it once: a repository with two commits, and then the settings that are its poison.
///
/// # Errors
/// The directory cannot be filled, or git does not make a repository.
pub fn make(at: &Path) -> io::Result<()> {
    for directory in ["src", "t/hooks", "docs", "tests", "build", "d"] {
        fs::create_dir_all(at.join(directory))?;
    }
    let lines = [
        "init -q -b main",
        "config gc.auto 0",
        "add .",
        "commit -qm one",
        "branch topic",
        "branch old",
        "commit -qm two --allow-empty",
        "tag v1",
        "pack-refs --all",
        "repack -adq",
    ];
    for (path, text) in FILES {
        write(at, path, text)?;
    }
    for line in lines {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]).args(line.split(' ')).current_dir(at);
        git.env_clear().env("PATH", "/usr/bin:/bin").env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", at.join("d"));
        if !git.status()?.success() {
            return Err(io::Error::other(format!("git {line} fails")));
        }
    }
    fs::remove_dir_all(at.join(".git/hooks"))?;
    for path in PROGRAMS {
        write(at, path, &format!("#!/bin/sh\n{HARM}\ncat 2>/dev/null\nexit 0\n"))?;
        fs::set_permissions(at.join(path), fs::Permissions::from_mode(0o755))?;
    }
    for (path, text) in POISON {
        write(at, path, text)?;
    }
    symlink("a", at.join("link"))
}

fn write(at: &Path, path: &str, text: &str) -> io::Result<()> {
    let path = at.join(path);
    fs::create_dir_all(path.parent().unwrap_or(at))?;
    fs::write(path, text)
}

/// Lays a copy of it.
///
/// # Errors
/// The directory cannot be filled.
pub fn lay(at: &Path) -> io::Result<()> {
    copy(Path::new("/opt/project"), at)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_symlink() {
            symlink(fs::read_link(path)?, to)?;
        } else if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(path, to)?;
        }
    }
    Ok(())
}
