//! What holds a command, part by part: its environment, its system calls, names that others act on,
//! paths that a rule keeps it from; and that nothing runs where one part is missing.
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::place::{Place, Ran};
use crate::sandboxed::{LATEST, Sandboxed, is_root};

/// Variables by which somebody's environment makes a program do something else.
pub const NAMES: &str = "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG LD_ORIGIN_PATH LD_PROFILE GCONV_PATH GETCONF_DIR \
    HOSTALIASES LOCALDOMAIN LOCPATH MALLOC_TRACE NIS_PATH NLSPATH RESOLV_HOST_CONF RES_OPTIONS TZDIR BASH_ENV ENV \
    ZDOTDIR SHELLOPTS BASHOPTS PS4 PROMPT_COMMAND CDPATH GLOBIGNORE IFS NODE_OPTIONS NODE_PATH NPM_CONFIG_USERCONFIG \
    PYTHONPATH PYTHONSTARTUP PYTHONHOME PERL5LIB PERL5OPT PERLLIB RUBYOPT RUBYLIB GEM_PATH JAVA_TOOL_OPTIONS \
    _JAVA_OPTIONS CLASSPATH DOTNET_STARTUP_HOOKS GIT_EXEC_PATH GIT_SSH GIT_SSH_COMMAND GIT_EXTERNAL_DIFF GIT_ASKPASS \
    GIT_PAGER GIT_DIR GIT_TEMPLATE_DIR SSH_ASKPASS SSH_AUTH_SOCK SSLKEYLOGFILE SSL_CERT_FILE RUSTC_WRAPPER CARGO_HOME \
    MAKEFLAGS CC DOCKER_HOST DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR AWS_SECRET_ACCESS_KEY OPENAI_API_KEY";

#[test]
fn no_variable_of_the_runtime_reaches_a_command() {
    let home = Sandboxed::home("[\"*\"]", "");
    let mut run = home.place.command(&["run", "/call run_command {\"command\":\"cat /proc/self/environ\"}"]);
    run.envs(NAMES.split_whitespace().map(|name| (name, "canary-5e1")));
    Ran::of(&run.output().unwrap()).expect(0);
    let told = home.latest();
    let shown = told["stdout"].as_str().unwrap();
    assert!(!shown.contains("canary-5e1") && shown.contains("GIT_CONFIG_NOSYSTEM=1"), "{shown}");
    let set: Vec<&str> = shown.split('\u{fffd}').filter_map(|line| line.split('=').next()).collect();
    let known = |name: &&str| NAMES.split_whitespace().all(|hostile| hostile != *name);
    assert!(set.iter().all(known), "{set:?}");
}

/// By their numbers on this machine, as a program without a C library would call them.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_system_call_is_allowed_refused_absent_or_the_end() {
    let home = Sandboxed::home("[\"*\"]", "");
    let answers =
        |call: &str| home.run(&format!("exec perl -e '$r = syscall({call}); print $r < 0 ? 0 + $! : \"ok\"'"));
    const PERM: i32 = 1;
    const NOSYS: i32 = 38;
    for (call, errno) in [
        ("425, 1, 0", PERM),            // io_uring_setup
        ("321, 0, 0, 0", PERM),         // bpf
        ("101, 0, 0, 0, 0", PERM),      // ptrace
        ("272, 0", PERM),               // unshare
        ("56, 0x10000000, 0, 0", PERM), // clone with a user namespace
        ("41, 1, 1, 0", PERM),          // a local socket
        ("41, 2, 1, 0", PERM),          // a network socket
        ("53, 1, 2, 0, 0", PERM),       // a pair that can send elsewhere
        ("16, 1, 0x5412, 0", PERM),     // typing into a terminal
        ("16, 1, 0x541c, 0", PERM),
        ("135, 0x0400000", PERM),    // another machine's personality
        ("319, 0, 0", NOSYS),        // memory that no process has: memfd_create
        ("29, 0, 4096, 950", NOSYS), // shmget
        ("435, 0, 0", NOSYS),        // clone3
        ("448, 0, 0", NOSYS),        // known to no list
        ("5000", NOSYS),
    ] {
        assert_eq!(answers(call)["stdout"], errno.to_string(), "{call}");
    }
    assert_eq!(answers("39")["stdout"], "ok");
    assert_eq!(answers("135, 0xffffffff")["stdout"], "ok");
    // The numbers of x32, and those of a machine of 32 bits: SIGSYS.
    assert_eq!(answers("0x40000000 + 39")["signal"], 31);
    let old = "printf 'int main(void) { int r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(20)); return 0; }' > a.c; \
               cc a.c -o a && exec ./a";
    assert_eq!(home.run(old)["signal"], 31);
    // Neither the first process nor the command's parent can be ended from inside.
    assert_eq!(home.run("kill -9 1; kill -9 $PPID; echo alive")["stdout"], "alive\n");
}

#[test]
fn names_that_others_act_on_stay_as_they_are() {
    let home = Sandboxed::home("[\"*\"]", "");
    let at = |path: &str| home.workspace().join(path);
    std::fs::create_dir_all(at("a/repo/.git/hooks")).unwrap();
    std::fs::create_dir_all(at(".github/workflows")).unwrap();
    std::fs::create_dir_all(at("a/repo/.git/worktrees/w")).unwrap();
    let laid = [
        ("a/repo/.git/config", "[core]"),
        ("a/repo/.git/hooks/pre-commit", "x"),
        ("a/repo/.git/worktrees/w/commondir", "../.."),
        (".envrc", "x"),
        (".github/workflows/ci.yml", "x"),
    ];
    for (path, text) in laid {
        std::fs::write(at(path), text).unwrap();
    }
    std::fs::write(at("a/repo/.git/worktrees/w/HEAD"), "ref: refs/heads/w").unwrap();
    home.own(&home.workspace());
    let tried = home.run(
        "echo ../../../../evil > a/repo/.git/worktrees/w/commondir; echo y > a/repo/.git/config; echo y > a/repo/.git/hooks/post-checkout; rm -r a/repo/.git/hooks; mv a/repo/.git a/repo/x; \
         echo y > n; mv n a/repo/.git/config; rm .envrc; mv .github b; echo y > .github/workflows/ci.yml; chmod 777 .envrc",
    );
    for (path, text) in laid {
        assert_eq!(std::fs::read_to_string(at(path)).unwrap(), text, "{tried}");
    }
    assert_eq!(std::fs::read_dir(at("a/repo/.git/hooks")).unwrap().count(), 1);
    assert!(tried["quarantined"].is_null(), "{tried}");
    // What was not there could be made, and is not in use afterwards; what is no such name stays.
    let made = home.run("mkdir -p b/.git/hooks .vscode .github/actions; echo x > b/.git/hooks/pre-commit; echo x > .git; ln -s /tmp .husky; \
                         mkdir -p bare/objects bare/refs bare/hooks; touch bare/HEAD bare/config; mkdir w; touch w/HEAD w/commondir; echo x > b/.git/index; echo x > plain");
    let paths: Vec<&str> =
        made["quarantined"]["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    let expected =
        [".git", ".github/actions", ".husky", ".vscode", "b/.git/hooks", "bare/config", "bare/hooks", "w/commondir"];
    assert_eq!(
        paths,
        expected.map(|path| home.workspace().canonicalize().unwrap().join(path).to_str().unwrap().to_owned())
    );
    assert!(expected.iter().all(|path| at(path).symlink_metadata().is_err()));
    assert!(at("b/.git/hooks.quarantine-0/pre-commit").exists() && at("b/.git/index").exists() && at("plain").exists());
    // The next one finds nothing to complain about.
    assert!(home.run("true")["quarantined"].is_null());
}

/// A runtime that was killed looks when it is there again.
#[test]
fn what_a_command_made_that_was_cut_off_with_the_runtime_is_not_in_use() {
    let home = Sandboxed::home("[\"*\"]", "");
    let kept = home.workspace().join("old/.envrc");
    std::fs::create_dir(home.workspace().join("old")).unwrap();
    std::fs::write(&kept, "x").unwrap();
    home.own(&home.workspace());
    let task = "/call run_command {\"command\":\"mkdir -p r/.git && echo x > r/.git/config; touch made; sleep 1000\"}";
    let mut cut = home.place.command(&["run", task]).stdout(Stdio::null()).spawn().unwrap();
    while !home.workspace().join("made").exists() {
        std::thread::yield_now();
    }
    cut.kill().unwrap();
    cut.wait().unwrap();
    assert!(home.workspace().join("r/.git/config").exists());
    let served = home.place.serve();
    // Asks what holds, and so waits until it was tried.
    home.place.run(&["status", "--json"]).json(0);
    assert!(!home.workspace().join("r/.git/config").exists() && kept.exists());
    assert!(home.workspace().join("r/.git/config.quarantine-0").exists());
    served.kill();
    assert_eq!(home.run("echo ok")["stdout"], "ok\n");
    assert!(!home.place.home().join("sandbox.test").exists(), "a runtime that ends leaves nothing");
}

#[test]
fn a_reload_leaves_a_command_that_runs_as_it_is() {
    let home = Sandboxed::home("[\"*\"]", "");
    let _served = home.place.serve();
    let task = "/call run_command {\"command\":\"mkdir -p n/.git; echo mine > n/.git/config; touch made; \
                until [ -e go ]; do sleep 0.05; done; cat n/.git/config\"}";
    let mut runs = home.place.command(&["run", task]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !home.workspace().join("made").exists() {
        std::thread::yield_now();
    }
    home.place.run(&["reload"]).expect(0);
    home.place.run(&["status", "--json"]).json(0);
    std::fs::write(home.workspace().join("go"), "").unwrap();
    runs.wait().unwrap();
    let told = home.place.run(&["sql", LATEST, "--json"]).json(0);
    assert!(told["rows"][0][0].as_str().unwrap().contains("\"stdout\":\"mine\\n\""), "{told}");
}

/// Neither by links, nor by names, nor by depth.
#[test]
fn no_name_stays_in_use_because_it_is_hard_to_look_at() {
    let home = Sandboxed::home("[\"*\"]", "");
    let at = |path: &str| home.workspace().join(path);
    let gone = |paths: &[&str]| {
        for path in paths {
            assert!(at(path).symlink_metadata().is_err(), "{path} is in use");
        }
    };
    // A link where a directory was.
    std::fs::create_dir_all(at("repo/.git/hooks")).unwrap();
    std::fs::create_dir_all(at("repo/.vscode")).unwrap();
    home.own(&at("repo"));
    home.run("mv repo old; mkdir -p repo/.git evil; ln -s ../../evil repo/.git/hooks; ln -s ../evil repo/.vscode");
    gone(&["repo/.git/hooks", "repo/.vscode"]);
    // Names that are no text, and paths that no program can give in one piece.
    let odd = home.workspace().join(OsStr::from_bytes(b"caf\xe9")).join("r/.git");
    home.run("d=$(printf 'caf\\351'); mkdir -p $d/r/.git/hooks; echo x > $d/r/.git/config");
    assert!(odd.exists() && !odd.join("config").exists());
    let deep = r#"perl -e '$n = "a" x 200; for (1..22) { mkdir $n; chdir $n or die } open F, ">.envrc" or die'"#;
    let told = home.run(&format!("mkdir .idea z; cd z; {deep}"));
    assert_eq!(told["exit_code"], 0, "{told}");
    gone(&[".idea"]);
    assert_eq!(home.run("rm -rf z; ls -d z")["exit_code"], 2, "it is the agent's to remove");
}

#[test]
fn what_a_rule_keeps_an_agent_from_is_not_shown_to_a_command() {
    let home = Sandboxed::home("[\"*\"]", "");
    let rule = "\n[[agents.main.rules]]\nname = \"hands off\"\nverdict = \"deny\"\n\
                match = { tool = \"write_file\", path = { glob = \"workspace/**/safe*\" } }\n";
    home.place.write_config(&(home.place.config() + rule));
    std::fs::create_dir_all(home.workspace().join("b/safe")).unwrap();
    for path in ["b/safe/x", "b/safe.txt", "b/other"] {
        std::fs::write(home.workspace().join(path), "canary-9c").unwrap();
    }
    home.own(&home.workspace());
    let told = home.run("cat b/safe.txt b/safe/x; ls b/safe; echo y > b/safe.txt; rm -r b/safe b/safe.txt; mv b c; cat b/other c/other; echo y > b/safe2");
    assert_eq!(told["stdout"], "canary-9c", "{told}");
    let shown = |path: &str| std::fs::read_to_string(home.workspace().join(path)).unwrap_or_default();
    assert_eq!(["b/safe.txt", "b/safe/x"].map(shown), ["canary-9c", "canary-9c"], "{told}");
    assert!(!home.workspace().join("b/safe2").exists(), "{told}");
    // A rule on paths alone speaks of every tool: what may touch any path is denied, and what names one of them.
    let every = home
        .place
        .config()
        .replace("tool = \"write_file\", path = { glob = \"workspace/**/safe", "path = { glob = \"workspace/**/safe");
    home.place.write_config(&every);
    let denied = "SELECT count(*) FROM v_effects WHERE verdict = 'deny' AND starts = 0";
    for (command, denials) in
        [("true $x", 1), ("cat b/safe.txt", 2), ("touch b/safe2", 3), ("rm -r b", 4), ("cat b/other", 4), ("true", 4)]
    {
        home.place.run(&["run", &format!("/call run_command {{\"command\":\"{command}\"}}")]).expect(0);
        assert_eq!(home.place.run(&["sql", denied, "--json"]).json(0)["rows"][0][0], denials, "{command}");
    }
    assert!(home.workspace().join("b/other").exists() && !home.workspace().join("b/safe2").exists());
}

/// The binary under a filter that answers one system call with an error, for it and all that it starts.
pub fn without(place: &Place, number: u32, errno: u32, arguments: &[&str]) -> Command {
    let filter = format!(
        "$f = pack('SCCL' x 4, 0x20,0,0,0, 0x15,0,1,{number}, 0x06,0,0,0x50000|{errno}, 0x06,0,0,0x7fff0000); \
         $p = pack('Sx6P', 4, $f); $n = `uname -m` =~ /x86_64/ ? 157 : 167; \
         syscall($n, 38, 1, 0, 0, 0) == 0 && syscall($n, 22, 2, $p) == 0 or die $!; exec @ARGV"
    );
    let plain = place.command(arguments);
    let mut command = Command::new("perl");
    command.args(["-e", &filter]).arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.env("PATH", "/usr/bin:/bin");
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// By its number on this machine.
pub const UNSHARE: u32 = if cfg!(target_arch = "x86_64") { 272 } else { 97 };
pub const PERM: u32 = 1;
pub const NOSYS: u32 = 38;

#[test]
fn where_a_part_is_missing_no_command_runs_and_everything_else_does() {
    let (landlock, seccomp) = (444, if cfg!(target_arch = "x86_64") { 317 } else { 277 });
    for (number, errno) in [(landlock, NOSYS), (seccomp, NOSYS)] {
        let home = Sandboxed::home("[\"*\"]", "");
        let without = |arguments: &[&str]| Ran::of(&without(&home.place, number, errno, arguments).output().unwrap());
        // Nobody else's: the second tier ends all of its processes.
        home.become_user(20_910);
        let task =
            "/call run_command {\"command\":\"touch ran\"}\n/then\n/call write_file {\"path\":\"f\",\"content\":\"x\"}";
        without(&["run", task]).expect(0);
        assert!(!home.workspace().join("ran").exists() && home.workspace().join("f").exists(), "{number}");
        let refused = "SELECT count(*) FROM v_records WHERE data ->> '$.verdict.invalid.why' = 'no_sandbox'";
        assert_eq!(home.place.run(&["sql", refused, "--json"]).json(0)["rows"][0][0], 1, "{number}");
        let status = without(&["status", "--json"]).json(0);
        assert_eq!(status["sandbox"]["tier"], "off", "{number}: {status}");
        let sick = without(&["doctor"]);
        assert!(sick.code == 1 && sick.stdout.contains("no command runs"), "{number}: {}", sick.stdout);
        // It is the filter that made the difference.
        home.become_user(crate::sandboxed::NOBODYS_UID);
        assert_eq!(home.run("touch ran && echo ok")["stdout"], "ok\n");
    }
}

#[test]
fn root_runs_no_command_without_somebody_to_become() {
    let home = Sandboxed::home("[\"*\"]", "");
    let became =
        home.run("id -u; stat -c %u .; touch f; cat /proc/self/uid_map")["stdout"].as_str().unwrap().to_owned();
    let expected = if is_root() { 20_000 } else { rustix::process::geteuid().as_raw() };
    let words: Vec<&str> = became.split_whitespace().collect();
    assert_eq!(words[..4], ["1000", "1000", "1000", &expected.to_string()], "{became}");
    let without_uid: Vec<String> =
        home.place.config().lines().filter(|line| !line.starts_with("uid = ")).map(str::to_owned).collect();
    home.place.write_config(&without_uid.join("\n"));
    let told = home.run("id -u");
    if is_root() {
        assert!(told.as_str().unwrap().contains("`[sandbox] uid`"), "{told}");
    } else {
        assert_eq!(told["stdout"], "1000\n");
    }
}

#[test]
fn a_file_that_is_swapped_for_a_link_leads_nowhere() {
    let home = Sandboxed::home("[\"*\"]", "");
    let outside = home.place.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "canary-3a").unwrap();
    let swap = format!(
        "mkdir d; echo inside > d/secret; (i=0; while [ $i -lt 3000 ]; do ln -sfn {0} l; ln -sfn d l; i=$((i+1)); done) & \
         perl -e 'for (1 .. 20000) {{ open F, \"<l/secret\" and $s{{<F>}}++; open G, \">l/made\"; }} print sort keys %s'; wait",
        outside.display()
    );
    let told = home.call(&json!({ "command": swap, "timeout_s": 100 }));
    assert_eq!(told["stdout"], "inside\n", "{told}");
    assert!(!outside.join("made").exists());
}

/// Waits until this process has so many helpers.
fn helpers(parent: u32, count: usize) -> Vec<u32> {
    let is_helper = |id: &u32| {
        let of = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
        let child = of("status").contains(&format!("\nPPid:\t{parent}\n"));
        child && of("cmdline").contains("__sandbox") && !of("status").contains("State:\tZ")
    };
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let names = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let found: Vec<u32> = ids.filter(is_helper).collect();
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < until, "{found:?}");
        std::thread::yield_now();
    }
}

/// The runtime's mounts are its own here, so that the test can change them.
#[test]
fn what_changes_on_the_machine_while_a_helper_waits_is_as_it_is_now_for_the_next_command() {
    if !is_root() {
        return;
    }
    let home = Sandboxed::home("[\"sh\", \"cat\", \"own-tool\"]", "");
    let inner = home.place.command(&["serve", "--json"]);
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "--propagation", "private"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let served = Place::served(outer);
    let target = served.id().to_string();
    let change = |script: &str| {
        let words = ["--target", target.as_str(), "--mount", "sh", "-ec", script];
        assert!(Command::new("nsenter").args(words).status().unwrap().success(), "{script}");
    };
    let ask = |command: &str| {
        helpers(served.id(), 1);
        home.run(command)["stdout"].clone()
    };
    assert_eq!(home.run("sh -c 'echo $((1 + 1))'")["stdout"], "2\n");
    change("mount -t tmpfs none /usr/local/share; mkdir /usr/local/share/in; echo one > /usr/local/share/in/told");
    assert_eq!(ask("cat /usr/local/share/in/told"), "one\n");
    change("mount -t tmpfs none /usr/local/share/in; echo two > /usr/local/share/in/told");
    assert_eq!(ask("cat /usr/local/share/in/told"), "two\n");
    let tool = |says: &str| {
        format!("cd /usr/local/bin; printf '#!/bin/sh\\necho {says}\\n' > new; chmod 755 new; mv new own-tool")
    };
    change(&format!("mount -t tmpfs none /usr/local/bin; {}", tool("one")));
    assert_eq!(ask("own-tool"), "one\n");
    // Of this one no mount tells.
    change(&tool("two"));
    assert_eq!(ask("own-tool"), "two\n");
    change("umount /usr/local/share/in");
    assert_eq!(ask("cat /usr/local/share/in/told"), "one\n");
}

#[test]
fn one_helper_waits_ahead_for_a_command_and_dies_with_the_runtime() {
    let home = Sandboxed::home("[\"*\"]", "");
    let served = home.place.serve();
    let parent = served.id();
    let wait_for = |count| helpers(parent, count);
    assert_eq!(home.run("x=1; echo $x")["stdout"], "1\n");
    let [ahead] = wait_for(1)[..] else { unreachable!() };
    // It has no network, nor anything else to do before it is told.
    let network = |id: &str| std::fs::read_link(format!("/proc/{id}/ns/net")).unwrap();
    assert_ne!(network(&ahead.to_string()), network("self"));
    // The next command is this one's.
    assert_eq!(home.run("x=1; echo $x")["stdout"], "1\n");
    let [next] = wait_for(1)[..] else { unreachable!() };
    assert_ne!(next, ahead);
    // One that is gone costs a command nothing but time.
    let kill = |id: u32| {
        let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    };
    kill(next);
    wait_for(0);
    assert_eq!(home.run("x=2; echo $x")["stdout"], "2\n");
    let [last] = wait_for(1)[..] else { unreachable!() };
    served.kill();
    let until = Instant::now() + Duration::from_secs(60);
    let is_there =
        || std::fs::read_to_string(format!("/proc/{last}/status")).is_ok_and(|status| !status.contains("State:\tZ"));
    while is_there() {
        assert!(Instant::now() < until, "it outlives the runtime");
        std::thread::yield_now();
    }
}
