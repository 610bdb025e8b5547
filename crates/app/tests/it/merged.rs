//! What becomes of what a command writes on copies: it arrives, as far as it may, and nothing else is touched.
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::place::Ran;
use crate::sandboxed::is_root;
use crate::tier::{Copied, field};

const PATIENCE: Duration = Duration::from_secs(60);

impl Copied {
    fn at(&self, path: &str) -> PathBuf {
        self.home.workspace().join(path)
    }

    fn lay(&self, files: &[&str]) {
        for path in files {
            fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
            fs::write(self.at(path), path).unwrap();
        }
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| error.to_string())
    }

    /// More than one command may join, from a file.
    fn script(&self, text: &str) -> Value {
        fs::write(self.at("script"), text).unwrap();
        self.run("sh ./script")
    }

    /// As the model knows it.
    fn real(&self, path: &str) -> String {
        self.home.workspace().canonicalize().unwrap().join(path).display().to_string()
    }

    /// Everything below the workspace, with what tells two states of it apart.
    fn state(&self) -> Vec<(PathBuf, u64, u32, i64, i64)> {
        let mut found = Vec::new();
        let mut left = vec![self.home.workspace()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let (path, stat) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
                found.push((path.clone(), stat.ino(), stat.mode(), stat.ctime(), stat.ctime_nsec()));
                left.extend(stat.is_dir().then_some(path));
            }
        }
        found.sort();
        found
    }

    /// Does something while the command waits in a `sleep 1000`, which then ends.
    fn meanwhile(&self, command: &str, work: impl FnOnce()) -> Value {
        let task = format!("/call run_command {}", json!({ "command": command }));
        let mut running = self.command(&["run", &task]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        let sleeps = || {
            let all = self.processes();
            let sleep = all.iter().find(|status| status.starts_with("Name:\tsleep\n"))?;
            field(sleep, "Pid:").and_then(Pid::from_raw)
        };
        let pid = loop {
            assert!(Instant::now() < until, "it does not run");
            if let Some(pid) = sleeps() {
                break pid;
            }
            std::thread::yield_now();
        };
        work();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(running.wait().unwrap().success());
        self.home.latest()
    }
}

/// The paths that one reason was given for.
fn paths<'a>(told: &'a Value, why: &str) -> Vec<&'a str> {
    let groups = told["not_kept"].as_array().into_iter().flatten();
    let groups = groups.filter(|group| group["why"].as_str().unwrap().contains(why));
    groups.flat_map(|group| group["paths"].as_array().unwrap()).map(|path| path.as_str().unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

#[test]
fn what_a_command_did_on_copies_arrives_and_nothing_else_is_touched() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_921);
    copied.lay(&["same", "changed", "gone", "old", "d/inner", "d/deep/er", "moved/x", "was-file", "was-dir/x", "s/a"]);
    copied.lay(&["hard", "sealed"]);
    symlink("same", copied.at("link")).unwrap();
    chown(copied.at("s"), Some(4_321), Some(4_322)).unwrap();
    chown(copied.at("changed"), Some(4_323), Some(4_324)).unwrap();
    fs::set_permissions(copied.at("changed"), Permissions::from_mode(0o6640)).unwrap();
    fs::set_permissions(copied.at("sealed"), Permissions::from_mode(0o044)).unwrap();
    fs::set_permissions(copied.at("d"), Permissions::from_mode(0o3755)).unwrap();
    fs::hard_link(copied.at("hard"), copied.home.place.home().join("elsewhere")).unwrap();
    let before = copied.state();
    assert_eq!(copied.run("cat same changed; ls -R > /dev/null; true")["exit_code"], 0);
    assert_eq!(copied.state(), before, "what is only read is as it was");
    let told = copied.script(
        "echo new > changed; rm gone; mv old new; mv moved away; mkdir -p a/b; echo c > a/b/c; chmod 500 a; echo in > s/in; \
         mkdir s/m; chmod 700 d; echo x > d/inner; touch -d 2001-02-03T04:05:06Z d/deep/er; rm was-file; mkdir was-file; \
         echo y > was-file/y; rm -r was-dir; echo z > was-dir; ln -sfn /etc/passwd link; echo hard2 > hard; echo s > n; chmod 4755 n; \
         ln n n2; mkfifo pipe; mkdir sticky; chmod 1777 sticky; ln -s nowhere l; chmod 644 sealed; echo t >> sealed; chmod 444 sealed; echo raw > $(printf 'r\\377'); exit 3",
    );
    assert_eq!(told["exit_code"], 3, "{told}");
    for (path, text) in [
        ("changed", "new\n"),
        ("new", "old"),
        ("away/x", "moved/x"),
        ("a/b/c", "c\n"),
        ("s/in", "in\n"),
        ("d/inner", "x\n"),
        ("was-file/y", "y\n"),
        ("was-dir", "z\n"),
        ("hard", "hard2\n"),
        ("n2", "s\n"),
        ("sealed", "sealedt\n"),
    ] {
        assert_eq!(copied.text(path), text, "{path}: {told}");
    }
    assert!(
        ["gone", "old", "moved", "was-dir/x", "pipe"].iter().all(|path| copied.at(path).symlink_metadata().is_err())
    );
    for (path, is) in
        [("a", 0o500), ("changed", 0o640), ("d", 0o3700), ("n", 0o755), ("sticky", 0o777), ("sealed", 0o044)]
    {
        assert_eq!(mode(&copied.at(path)), is, "{path}");
    }
    let owner = |path: &str| copied.at(path).symlink_metadata().map(|stat| (stat.uid(), stat.gid())).unwrap();
    assert_eq!(
        ["changed", "s/in", "s/m", "n"].map(owner),
        [(4_323, 4_324), (4_321, 4_322), (4_321, 4_322), (20_000, 20_000)]
    );
    assert_eq!(fs::read_link(copied.at("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::read_link(copied.at("l")).unwrap(), Path::new("nowhere"));
    assert_eq!(copied.at("d/deep/er").metadata().unwrap().mtime(), 981_173_106);
    assert_eq!(fs::read_to_string(copied.home.place.home().join("elsewhere")).unwrap(), "hard");
    assert_eq!(copied.at("n").metadata().unwrap().nlink(), 1, "two names are two files");
    let raw = copied.home.workspace().join(OsStr::from_bytes(b"r\xff"));
    assert_eq!(fs::read_to_string(raw).unwrap(), "raw\n");
    assert_eq!(paths(&told, "only the command's own files"), [copied.real("pipe")], "{told}");
    assert_eq!(told["not_kept"].as_array().unwrap().len(), 1, "{told}");
    let kept = |path: &str| before.iter().find(|(of, ..)| *of == copied.at(path)).unwrap().1;
    assert_eq!(copied.at("same").metadata().unwrap().ino(), kept("same"));
    // What was stopped keeps what it had done, as anywhere.
    let told = copied.call(&json!({ "command": "echo a > begun; sleep 1000", "timeout_s": 1 }));
    assert!(told["stopped"].is_string() && copied.text("begun") == "a\n", "{told}");
}

#[test]
fn names_that_others_act_on_stay_or_go_to_quarantine() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_922);
    copied.lay(&["a/.git/config", "a/.git/hooks/pre-commit", "a/.git/HEAD", ".envrc", ".github/workflows/ci.yml"]);
    copied.lay(&[
        ".vscode/tasks.json",
        "half/HEAD",
        "half/config",
        "half/refs/x",
        "bare/HEAD",
        "bare/objects/x",
        "bare/refs/x",
    ]);
    copied.lay(&["gone/.git/config", "gone/file", "file", "a/.git/worktrees/w/HEAD", "a/.git/worktrees/w/commondir"]);
    let told = copied.script(
        "echo y > a/.git/worktrees/w/commondir; echo y > a/.git/config; echo y > a/.git/hooks/post-checkout; rm a/.git/hooks/pre-commit; echo ref > a/.git/HEAD; rm .envrc; \
         chmod 777 .github/workflows/ci.yml; rm -r .vscode; ln -s file .vscode; mkdir half/objects; rm bare/HEAD; mkdir bare/hooks; \
         echo y > bare/hooks/x; rm -rf gone; mkdir -p n/.git/hooks .claude/.vscode; echo y > n/.git/hooks/h; echo y > n/.git/index; \
         ln -s /etc .husky; echo y > .git",
    );
    for path in ["a/.git/config", "a/.git/hooks/pre-commit", ".envrc", ".github/workflows/ci.yml", "gone/.git/config"] {
        assert_eq!(copied.text(path), path, "{told}");
    }
    assert_eq!(mode(&copied.at(".github/workflows/ci.yml")), 0o644);
    assert_eq!(copied.text(".vscode/tasks.json"), ".vscode/tasks.json", "{told}");
    assert!(["a/.git/hooks/post-checkout", "gone/file"].iter().all(|path| !copied.at(path).exists()), "{told}");
    assert_eq!((copied.text("a/.git/HEAD"), copied.text("n/.git/index")), ("ref\n".to_owned(), "y\n".to_owned()));
    let stayed = [
        ".envrc",
        ".github/workflows/ci.yml",
        ".vscode",
        ".vscode/tasks.json",
        "a/.git/config",
        "a/.git/hooks/post-checkout",
        "a/.git/hooks/pre-commit",
        "a/.git/worktrees/w/commondir",
        "gone/.git/config",
    ]
    .map(|path| copied.real(path));
    let mut found = paths(&told, "other programs act on");
    found.sort_unstable();
    assert_eq!(found, stayed, "{told}");
    assert_eq!(paths(&told, "not shown, or may not delete"), ["gone/.git", "gone"].map(|path| copied.real(path)));
    // A directory that is a repository now makes of what lay in it what was not meant; one that is none any more was one.
    let new = [".claude", ".git", ".husky", "bare/hooks", "half/config", "n/.git/hooks"].map(|path| copied.real(path));
    assert_eq!(told["quarantined"]["paths"], json!(new), "{told}");
    for path in new {
        assert!(Path::new(&path).symlink_metadata().is_err(), "{path}");
    }
    assert_eq!(
        (copied.text("half/config.quarantine-0"), copied.text("n/.git/hooks.quarantine-0/h")),
        ("half/config".to_owned(), "y\n".to_owned())
    );
    assert!(copied.at(".claude.quarantine-0/.vscode").exists() && copied.at("half/objects").exists());
    let told = copied.run("echo z > .git");
    assert_eq!(told["quarantined"]["paths"], json!([copied.real(".git")]), "{told}");
    assert_eq!(
        (copied.text(".git.quarantine-0"), copied.text(".git.quarantine-1")),
        ("y\n".to_owned(), "z\n".to_owned())
    );
    assert!(copied.run("true")["quarantined"].is_null());
}

#[test]
fn no_link_leads_a_merge_elsewhere_and_what_others_changed_stays() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_923);
    let elsewhere = tempfile::tempdir().unwrap();
    let out = |path: &str| elsewhere.path().join(path);
    for path in ["f", "victim"] {
        fs::write(out(path), path).unwrap();
    }
    // In the copy.
    copied.lay(&["d/f", "e/f"]);
    let at = elsewhere.path().display();
    let told = copied.run(&format!("rm -r d e; ln -s {at} d; ln -s {at} e; ln -s {at}/victim v; ln -s {at}/made w"));
    assert!(
        told["not_kept"].is_null() && ["d", "e", "v", "w"].iter().all(|path| copied.at(path).is_symlink()),
        "{told}"
    );
    let told = copied.run("rm d v w; mkdir d; echo x > d/f; echo x > v; echo x > w");
    assert_eq!(
        (copied.text("d/f"), copied.text("v"), copied.text("w")),
        ("x\n".into(), "x\n".into(), "x\n".into()),
        "{told}"
    );
    // In the original, by somebody who works there too.
    copied.lay(&["p/f", "p/g", "p/q/h", "c", "del", "kept", "twice", "hush", "in/f", "inside/f"]);
    let hush = "\n[[agents.main.rules]]\nname = \"hush\"\nverdict = \"deny\"\n\
                match = { tool = \"write_file\", path = { glob = \"workspace/hush.*\" } }\n";
    copied.home.place.write_config(&(copied.home.place.config() + hush));
    let told = copied.meanwhile(
        "sleep 1000; echo ours > p/f; rm p/g; echo ours > p/new; rm -r p/q; echo ours > in/new; echo ours > hush; echo ours > c; rm del; echo ours > made; mkdir both; echo ours > both/o; \
         echo ours > twice",
        || {
            fs::rename(copied.at("p"), copied.at("away")).unwrap();
            symlink(elsewhere.path(), copied.at("p")).unwrap();
            fs::rename(copied.at("in"), copied.at("was-in")).unwrap();
            symlink("inside", copied.at("in")).unwrap();
            for path in ["c", "del", "hush", "made", "twice", "twice.conflict-0"] {
                fs::write(copied.at(path), "theirs").unwrap();
            }
            fs::create_dir(copied.at("both")).unwrap();
        },
    );
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 2);
    assert!(["f", "victim"].iter().all(|path| fs::read_to_string(out(path)).unwrap() == *path), "{told}");
    assert_eq!(["c", "del", "hush", "made", "twice"].map(|path| copied.text(path)), ["theirs"; 5]);
    assert_eq!(fs::read_dir(copied.at("inside")).unwrap().count(), 1, "{told}");
    assert_eq!(paths(&told, "wrote is gone"), [copied.real("hush")], "{told}");
    assert_eq!(copied.text("both/o"), "ours\n");
    let beside = ["c.conflict-0", "made.conflict-0", "twice.conflict-1"];
    assert_eq!(paths(&told, "lies beside"), beside.map(|path| copied.real(path)), "{told}");
    assert!(beside.iter().all(|path| copied.text(path) == "ours\n"), "{told}");
    assert_eq!(paths(&told, "were not deleted"), [copied.real("del")], "{told}");
    assert_eq!(paths(&told, "took away the directories").len(), 6, "{told}");
    assert!(copied.at("away/q/h").exists() && copied.at("kept").exists());
}

#[test]
fn what_was_not_copied_to_be_written_is_not_merged() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_924);
    let rules = "\n[[agents.main.rules]]\nname = \"hands off\"\nverdict = \"deny\"\n\
                 match = { tool = \"write_file\", path = { glob = \"workspace/**/safe*\" } }\n";
    let place = &copied.home.place;
    let config = place.config().replace("read = [\"workspace\"]", "read = [\"workspace\", \"workspace/ro\"]");
    place.write_config(&(config + rules));
    copied.lay(&["b/safe/x", "b/safe.txt", "b/other", "ro/f", "ro/.envrc", "m/safe"]);
    let told = copied.run(
        "echo y > b/safe.txt; mkdir b/safe; echo y > b/safe/x; echo y > b/safe-new; echo y > b/fine; rm -r m; echo y > ro/f; echo y > ro/new",
    );
    for path in ["b/safe.txt", "b/safe/x", "m/safe", "ro/f"] {
        assert_eq!(copied.text(path), path, "{told}");
    }
    assert!(
        copied.text("b/fine") == "y\n" && ["b/safe-new", "ro/new"].iter().all(|path| !copied.at(path).exists()),
        "{told}"
    );
    assert_eq!(paths(&told, "a rule"), ["b/safe", "b/safe-new", "b/safe.txt"].map(|path| copied.real(path)), "{told}");
    assert_eq!(paths(&told, "not shown"), [copied.real("m")], "{told}");
    assert_eq!(paths(&told, "reading alone"), ["ro/f", "ro/new"].map(|path| copied.real(path)), "{told}");
    // Nor is it lost: what was moved there lies where it lay.
    copied.lay(&["p1", "p2", "p3", "p4", "whole/x", ".git/config", ".git/hooks/x"]);
    let told = copied.script(
        "mkdir b/safe-d; mv p1 .git/config; mv p2 b/safe-d/p2; mv p3 ro/p3; mv p4 .git/hooks/p4; mv whole .git/hooks/whole",
    );
    for path in ["p1", "p2", "p3", "p4", "whole/x", ".git/config", ".git/hooks/x"] {
        assert_eq!(copied.text(path), path, "{told}");
    }
    let moved = ["whole/x", "whole", "p4", "p3", "p2", "p1"].map(|path| copied.real(path));
    assert_eq!(paths(&told, "was moved"), moved, "{told}");
    assert_eq!(paths(&told, "reading alone"), [copied.real("ro/p3")], "{told}");
    let told = copied.run("rm -rf b ro; ls");
    assert!(["b/safe.txt", "b/safe/x", "ro/f", "ro/.envrc"].iter().all(|path| copied.at(path).exists()), "{told}");
    assert!(!copied.at("b/other").exists(), "{told}");
    // Known to only read, it has nothing to write in.
    assert_eq!(copied.run("cat b/none")["exit_code"], 1);
}

#[test]
fn more_than_can_be_copied_is_not_merged_in_part() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_925);
    copied.lay(&["a"]);
    for command in [
        "perl -e 'for (1 .. 49_999) { open F, q(>), qq(f$_) or die }'",
        "perl -e 'for (1 .. 129) { mkdir q(d) or die; chdir q(d) }'",
        "truncate -s 600M x y",
    ] {
        let told = copied.call(&json!({ "command": format!("echo b > a; {command}"), "timeout_s": 100 }));
        assert_eq!(told["exit_code"], 0, "{told}");
        let why = told["not_kept"][0]["why"].as_str().unwrap();
        assert!(why.starts_with("nothing of what") && why.contains("50000 entries"), "{told}");
        assert_eq!((copied.state().len(), copied.text("a")), (1, "a".to_owned()), "{command}");
    }
    assert!(copied.run("perl -e 'for (1 .. 128) { mkdir q(d) or die; chdir q(d) }'")["not_kept"].is_null());
    assert_eq!(copied.run("rm -r d && echo $?")["stdout"], "0\n", "what is merged can be copied again");
    assert!(copied.run("truncate -s 300M x")["not_kept"].is_null());
    assert_eq!(copied.at("x").metadata().unwrap().len(), 300 << 20);
    // What it may only read is copied too.
    let config =
        copied.home.place.config().replace("read = [\"workspace\"]", "read = [\"workspace\", \"workspace/ro\"]");
    copied.home.place.write_config(&config);
    copied.lay(&["ro/large"]);
    fs::File::options().write(true).open(copied.at("ro/large")).unwrap().set_len(400 << 20).unwrap();
    let told = copied.run("truncate -s 700M x");
    assert!(told["not_kept"][0]["why"].as_str().unwrap().starts_with("nothing of what"), "{told}");
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_written() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_926);
    let on_disk_of = |files: u32, command: &str, look: &str| {
        let task = format!("/call run_command {}", json!({ "command": command }));
        let inner = copied.command(&["run", &task]);
        let mount = format!(
            "mount -t tmpfs -o size=1m,nr_inodes={files},mode=755 none $0 && echo old > $0/old && echo old > $0/moved && \
             \"$@\" > /dev/null"
        );
        let mut outer = Command::new("unshare");
        outer.args(["--mount", "--propagation", "private", "sh", "-c", &format!("{mount} && cd $0 && {look}")]);
        outer.arg(copied.home.workspace()).arg(inner.get_program()).args(inner.get_args()).env_clear();
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        (Ran::of(&outer.output().unwrap()).expect(0).stdout.clone(), copied.home.latest())
    };
    // Nothing begins where hardly a file can be made.
    let (there, told) = on_disk_of(9_000, "echo new > old; rm moved", "ls -A");
    assert!(told.as_str().unwrap().contains("nearly full; nothing was run") && there == "moved\nold\n", "{told}");
    // Its size is known, and does not fit.
    let (there, told) = on_disk_of(40_000, "head -c 3000000 /dev/zero > big; rm moved", "ls -A");
    let why = told["not_kept"][0]["why"].as_str().unwrap();
    assert!(why.contains("nothing of what this command wrote is kept") && why.contains("nearly full"), "{told}");
    assert_eq!(there, "moved\nold\n");
    // Each takes a block, which no sum of sizes tells.
    let (there, told) = on_disk_of(
        40_000,
        "for i in $(seq 600); do echo $i > f$i; done; echo new > old; mv moved zz",
        "cat moved; ls -A | grep -c '^f'; find . -name 'f*' -size 0; find . -name '.*' -type f; cat old",
    );
    let why = told["not_kept"][0]["why"].as_str().unwrap();
    let kept: u32 = why.split(' ').next().unwrap().parse().unwrap();
    assert!(why.contains("of 603 changes are kept") && why.contains("No space left"), "{told}");
    assert!(kept > 100 && there == format!("old\n{kept}\nold\n"), "{kept}: {there}");
}

#[test]
fn a_command_commits() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_927);
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]).args(words);
        let ran = git.current_dir(copied.at("project")).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    copied.lay(&["project/a.c", "project/gone"]);
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    let told = copied.call(&json!({ "cwd": "project", "command":
        "git checkout -qb topic && echo two > b.c && git rm -q gone && git add . && git -c user.name=b -c user.email=b@example.com commit -qm two && \
         git gc -q && git status --short" }));
    assert_eq!(
        (&told["exit_code"], &told["stdout"], &told["quarantined"]),
        (&json!(0), &json!(""), &Value::Null),
        "{told}"
    );
    assert!(told["not_kept"].is_null(), "{told}");
    assert_eq!(git(&["log", "--format=%s", "topic"]), "two\none\n");
    assert_eq!(git(&["status", "--short", "--branch"]), "## topic\n");
    git(&["fsck", "--strict"]);
    assert_eq!(
        copied.call(&json!({ "cwd": "project", "command": "git switch -q main && ls" }))["stdout"],
        "a.c\ngone\n"
    );
    assert_eq!(git(&["branch", "--show-current"]), "main\n");
}

#[test]
fn a_merge_that_was_cut_is_in_doubt_and_leaves_nothing_underway() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_928);
    let task = format!("/call run_command {}", json!({ "command": "for i in $(seq 10000); do echo $i > f$i; done" }));
    let mut cut = copied.command(&["run", &task]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    let arrived = || fs::read_dir(copied.home.workspace()).unwrap().flatten().map(|entry| entry.file_name());
    while !arrived().any(|name| name.to_str().unwrap().starts_with('f')) {
        assert!(Instant::now() < until, "nothing arrives");
    }
    cut.kill().unwrap();
    cut.wait().unwrap();
    let is_whole = |name: &str| name.strip_prefix('f').is_some_and(|number| copied.text(name) == format!("{number}\n"));
    let (whole, other): (Vec<_>, Vec<_>) = arrived().partition(|name| is_whole(name.to_str().unwrap()));
    assert!((1..10_000).contains(&whole.len()), "{}", whole.len());
    assert!(other.iter().all(|name| name.to_str().unwrap().starts_with(".backstay-merge-")), "{other:?}");
    // What is underway in a process that is gone, or was: another's stays.
    for name in
        [".backstay-merge-999999999-1", &format!(".backstay-merge-{}-1", std::process::id()), ".backstay-merge-x"]
    {
        fs::write(copied.at(name), "").unwrap();
    }
    fs::create_dir(copied.at(".backstay-merge-999999999-2")).unwrap();
    let told = copied.run("ls -A | grep -v '^f'; : $x");
    assert_eq!((&told["stdout"], &told["not_kept"]), (&json!(".backstay-merge-x\n"), &Value::Null), "{told}");
    let mut left: Vec<_> = arrived().filter(|name| !is_whole(name.to_str().unwrap())).collect();
    left.sort();
    assert_eq!(
        left,
        [OsStr::new(&format!(".backstay-merge-{}-1", std::process::id())), OsStr::new(".backstay-merge-x")]
    );
    let _served = copied.home.place.serve();
    while !copied.home.place.run(&["doubts", "--json"]).stdout.contains("run_command") {
        assert!(Instant::now() < until, "it is not in doubt");
    }
    assert_eq!(fs::read_dir(copied.copies.path()).unwrap().count(), 0);
}
