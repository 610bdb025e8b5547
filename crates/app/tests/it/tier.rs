//! The second tier: the real binary under a filter that refuses namespaces, as containers do, beside files, processes
//! and sockets that only namespaces would hide. What becomes of what a command writes there is in `merged.rs`.
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::held::{PERM, UNSHARE, without};
use crate::place::Ran;
use crate::sandboxed::{Sandboxed, is_root};

const CANARY: &str = "canary-77c";
const NOMEM: u32 = 12;
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Copied {
    pub home: Sandboxed,
    uid: u32,
    /// Where copies are made.
    pub copies: tempfile::TempDir,
}

impl Copied {
    /// Each test has a user of its own, since a command's end is the end of all processes of its user.
    pub fn home(uid: u32) -> Self {
        let home = Sandboxed::home("[\"*\"]", "");
        home.become_user(uid);
        let copies = tempfile::tempdir().unwrap();
        fs::set_permissions(copies.path(), fs::Permissions::from_mode(0o711)).unwrap();
        Self { home, uid, copies }
    }

    pub fn backstay(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = without(&self.home.place, UNSHARE, PERM, arguments);
        command.env("TMPDIR", self.copies.path());
        command
    }

    pub fn call(&self, arguments: &Value) -> Value {
        self.backstay(&["run", &format!("/call run_command {arguments}")]).expect(0);
        self.home.latest()
    }

    pub fn run(&self, command: &str) -> Value {
        self.call(&json!({ "command": command }))
    }

    fn until_two_sleep(&self) {
        let until = Instant::now() + PATIENCE;
        while self.processes().iter().filter(|status| status.starts_with("Name:\tsleep")).count() < 2 {
            assert!(Instant::now() < until, "it does not run");
            std::thread::yield_now();
        }
    }

    pub fn processes(&self) -> Vec<String> {
        let uid = format!("Uid:\t{}\t", self.uid);
        let status = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("status")).ok();
        let all = fs::read_dir("/proc").unwrap().flatten().filter_map(status);
        all.filter(|status| status.contains(&uid) && !status.contains("State:\tZ")).collect()
    }
}

pub fn field(status: &str, name: &str) -> Option<i32> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[test]
fn without_namespaces_a_command_works_on_copies() {
    let copied = Copied::home(20_901);
    let (home, place) = (&copied.home, &copied.home.place);
    let status = copied.backstay(&["status", "--json"]).json(0);
    if !is_root() {
        assert_eq!(status["sandbox"]["tier"], "off", "{status}");
        return;
    }
    assert_eq!(status["sandbox"]["tier"], "copy", "{status}");
    let doctor = copied.backstay(&["doctor"]);
    // That its directories are another user's is as it should be.
    assert!(doctor.stdout.contains("sandbox    copy: ") && !doctor.stdout.contains("grants"), "{}", doctor.stdout);
    fs::write(home.workspace().join("notes.md"), "one\n").unwrap();
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "safe.directory=*"]).args(words);
        assert!(git.current_dir(home.workspace().join("project")).output().unwrap().status.success(), "{words:?}");
    };
    fs::create_dir(home.workspace().join("project")).unwrap();
    fs::write(home.workspace().join("project/test.sh"), "#!/bin/sh\nmake -s a && ./a && echo passed\n").unwrap();
    fs::write(home.workspace().join("project/Makefile"), "a: a.c\n\tcc a.c -o a\n").unwrap();
    fs::write(home.workspace().join("project/a.c"), "int main(void) { return 0; }\n").unwrap();
    fs::set_permissions(home.workspace().join("project/test.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    fs::write(home.workspace().join("project/new"), "").unwrap();
    assert_eq!(copied.run("cat notes.md")["stdout"], "one\n");
    let facts = place.run(&["sql", "SELECT data ->> '$.facts.tier' FROM v_records WHERE kind = 'judged'", "--json"]);
    assert_eq!(facts.json(0)["rows"], json!([["copy"]]));
    let status = copied.call(&json!({ "command": "git status --short", "cwd": "project" }));
    assert_eq!(status["stdout"], "?? new\n", "{status}");
    let tested = copied.call(&json!({ "command": "./test.sh && echo $((1 + 1)) > sum && cat sum", "cwd": "project" }));
    assert_eq!((&tested["stdout"], &tested["not_kept"]), (&json!("passed\n2\n"), &Value::Null), "{tested}");
    assert_eq!(fs::read_to_string(home.workspace().join("project/sum")).unwrap(), "2\n");
    assert_eq!(copied.run("cp notes.md b.md")["exit_code"], 0);
    assert_eq!(copied.run("cat notes.md b.md > c.md")["exit_code"], 0);
    assert_eq!(fs::read_to_string(home.workspace().join("c.md")).unwrap(), "one\none\n");
    let classes =
        place.run(&["sql", "SELECT count(*) FROM v_records WHERE data ->> '$.facts.class' = 'write'", "--json"]);
    assert_eq!(classes.json(0)["rows"], json!([[2]]), "judged as in the first tier");
    let config =
        place.config().replace("write = [\"workspace\"]", "write = [\"workspace\"]\nhosts = [\"example.com:443\"]");
    place.write_config(&config);
    let networked = copied.call(&json!({ "command": "true", "network": ["example.com:443"] }));
    assert!(networked.as_str().is_some_and(|told| told.contains("no network")), "{networked}");
    assert_eq!(fs::read_dir(copied.copies.path()).unwrap().count(), 0, "no copy is left");
}

#[test]
fn what_is_not_copied_is_out_of_reach() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_902);
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (secret, made, socket) = (open.path().join("secret"), open.path().join("made"), open.path().join("socket"));
    fs::write(&secret, CANARY).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o666)).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let workspace = copied.home.workspace();
    fs::write(workspace.join("kept"), "kept").unwrap();
    fs::set_permissions(workspace.join("kept"), fs::Permissions::from_mode(0o666)).unwrap();
    let of = |path: &std::path::Path| path.display().to_string();
    let (secret_at, made_at, home_at) = (of(&secret), of(&made), of(&copied.home.place.home()));
    let own = std::process::id();
    for command in [
        format!("cat {secret_at}; ln -s {secret_at} l; cat l; ln {secret_at} h; cat h; cp {secret_at} c; cat c"),
        format!("(exec 3<{secret_at} && cat <&3); dd if={secret_at}; perl -e 'open F, \"<{secret_at}\" and print <F>'"),
        format!("cat {home_at}/state.db | head -c 40 | tr -d '\\0'; cat {home_at}/backstay.toml; ls {home_at}; echo {CANARY} | grep -v ."),
        format!("cat /proc/{own}/cmdline /proc/{own}/environ /proc/1/cmdline /proc/self/root{secret_at}; ls /proc / /etc /tmp"),
        "cat /etc/passwd /etc/shadow /etc/hosts; head -c 20 /sys/kernel/uevent_seqnum /proc/version".to_owned(),
        format!("echo x > {made_at}; ln -s {} d; echo x > d/made; mkdir {made_at}; mv kept {made_at}; ln kept {made_at}", of(open.path())),
        format!("echo x > {secret_at}; truncate -s 0 {secret_at}; rm {secret_at}; chmod 600 {secret_at}; touch {secret_at}; echo x >> {}/workspace/kept", home_at),
        // Every family and kind; a pair that sends elsewhere, and one that sends whole messages.
        "perl -e 'for $f (0 .. 45) { for $k (1 .. 5) { print \"got\" if syscall(41, $f, $k, 0) >= 0 } } $p = \"x\" x 8; \
         for $k (2, 5) { print \"got\" if syscall(53, 1, $k, 0, $p) >= 0 }'"
            .to_owned(),
        // Messages, semaphores, queues, watches; other processes' limits and processors; tracing.
        format!("perl -e '$b = \"x\" x 64; for ([68, 1, 950], [64, 1, 1, 950], [240, \"/q\", 66, 384, 0], [294, 0], [302, {own}, 7, 0, $b], \
                 [203, {own}, 8, $b], [144, {own}, 0, $b], [101, 16, {own}, 0, 0], [310, {own}, 0, 0, 0, 0, 0], [272, 0x10000000]) {{ \
                 print \"got @$_\" if syscall($$_[0], map {{ /^\\d+$/ ? 0 + $_ : $_ }} @$_[1 .. $#$_]) >= 0 }}'"),
        format!("kill -0 {own} && echo got; kill -9 {own} $PPID 1 && echo got; kill -9 -1; true"),
    ] {
        let told = copied.run(&command);
        let (said, stderr) = (told["stdout"].as_str().unwrap_or_default(), told["stderr"].as_str().unwrap_or_default());
        assert!(!said.contains(CANARY) && !said.contains("got") && !said.contains("root:"), "{command}: {told}");
        assert!(!stderr.contains("yntax error"), "{command}: {told}");
        let listed = ["state.db", "sbin", "passwd", "cmdline"].iter().any(|name| said.contains(name));
        assert!(!listed, "{command}: {told}");
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), CANARY);
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o666);
    assert_eq!(fs::read_to_string(workspace.join("kept")).unwrap(), "keptx\n", "this one may be written");
    assert!(!made.exists());
}

#[test]
fn nobody_is_left_when_a_command_has_ended() {
    if !is_root() {
        return;
    }
    let copied = Copied::home(20_903);
    // In sessions of their own, without parents, deaf, with the output in their hands, or many.
    for command in [
        "setsid sh -c 'trap \"\" HUP TERM INT; while :; do sleep 1; done' & true",
        "(setsid setsid sleep 1000 &) ; sleep 1000 & disown; true",
        "perl -e 'for (1 .. 20) { if (!fork) { if (!fork) { $SIG{$_} = \"IGNORE\" for keys %SIG; syscall(112); 1 while 1 } exit } }'",
        // One that makes another and ends, without an end.
        "perl -e 'if (!fork) { while (1) { exit if fork } }'",
    ] {
        let told = copied.run(command);
        assert_eq!(told["exit_code"], 0, "{command}: {told}");
        assert_eq!(copied.processes(), Vec::<String>::new(), "{command}");
    }
    let told = copied.call(&json!({ "command": "sleep 1000 & setsid sleep 1000", "timeout_s": 1 }));
    assert!(told["stopped"].as_str().unwrap().contains("longer than 1 s"), "{told}");
    assert_eq!(copied.processes(), Vec::<String>::new());
    // Nor where the one who would have ended it was killed.
    let task = "/call run_command {\"command\":\"setsid sleep 1000 & sleep 1000\"}";
    let mut served = copied.command(&["run", task]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    copied.until_two_sleep();
    let parents = copied.processes().into_iter().filter_map(|status| field(&status, "PPid:"));
    let helper =
        parents.filter(|parent| !copied.processes().iter().any(|status| field(status, "Pid:") == Some(*parent)));
    let helper = helper.filter_map(rustix::process::Pid::from_raw).next().unwrap();
    rustix::process::kill_process(helper, rustix::process::Signal::KILL).unwrap();
    served.wait().unwrap();
    assert_eq!(copied.processes(), Vec::<String>::new());
    // Nor when nobody is there to wait for it.
    let task = "/call run_command {\"command\":\"setsid sleep 1000 & sleep 1000\"}";
    let mut cut = copied.command(&["run", task]);
    let mut cut = cut.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    copied.until_two_sleep();
    let until = Instant::now() + PATIENCE;
    cut.kill().unwrap();
    cut.wait().unwrap();
    let mut rest = String::new();
    // Its helper holds the pipe until it has ended everything.
    cut.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    while !copied.processes().is_empty() {
        assert!(Instant::now() < until, "{:?}", copied.processes());
        std::thread::yield_now();
    }
    // What it could not take away goes with the next one.
    assert_eq!(fs::read_dir(copied.copies.path()).unwrap().count(), 1);
    let told = copied.run("x=ok; echo $x; mkdir -p a/b/c; chmod 000 a");
    assert_eq!(told["stdout"], "ok\n", "{told}");
    assert_eq!(fs::read_dir(copied.copies.path()).unwrap().count(), 0);
}

#[test]
fn what_could_not_be_tried_is_no_lesser_tier_and_is_tried_again() {
    let home = Sandboxed::home("[\"*\"]", "");
    let scratch = home.place.home().join("sandbox.test");
    // Nothing can be made where the sandbox is tried.
    fs::write(&scratch, "").unwrap();
    let served = home.place.serve();
    let tier = || home.place.run(&["status", "--json"]).json(0)["sandbox"].clone();
    let found = tier();
    assert_eq!(found["tier"], "off", "{found}");
    assert!(found["why"].as_str().unwrap().contains("cannot be tried"), "{found}");
    let told = home.run("echo a > made");
    assert!(told.as_str().unwrap().contains("cannot be tried"), "{told}");
    fs::remove_file(&scratch).unwrap();
    assert_eq!(tier()["tier"], "full");
    home.run("echo a > made");
    assert_eq!(fs::read_to_string(home.workspace().join("made")).unwrap(), "a\n");
    // Memory that is short now is no machine without namespaces.
    drop(served);
    let status = Ran::of(&without(&home.place, UNSHARE, NOMEM, &["status", "--json"]).output().unwrap()).json(0);
    assert_eq!(status["sandbox"]["tier"], "off", "{status}");
}
