//! Kills the real binary at every write system call that a scenario makes, one after the other,
//! lets it go on, and compares with the run that was not cut.
//!
//! `kills BINARY [signal=SIGKILL | error=ENOSPC | error=EIO] [POINTS_MAX] [SCENARIO]`. Needs strace.
//! The points are found by counting in an uncut run; how many were really hit is counted and must be most of them.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "a test program")]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

/// System calls that change something on disk, or tell somebody.
const WRITES: &[&str] = &[
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "openat",
    "openat2",
    "ftruncate",
    "fallocate",
    "unlink",
    "unlinkat",
    "mkdir",
];
/// What is opened most often to be read; only the first few openings are worth a cut.
const OPENINGS_MAX: u64 = 12;

/// Of the points that are tried, those that must really be hit, in hundredths.
const HITS_PERCENT_MIN: usize = 80;

struct Scenario {
    name: &'static str,
    /// Makes the home, uncut.
    prepares: bool,
    /// The command that is cut, and that must succeed when it is given again.
    victim: Vec<String>,
    /// Files of the workspace that must be there in the end, with their content.
    files: &'static [(&'static str, &'static str)],
    /// What `sql` must answer in the end.
    facts: &'static [(&'static str, &'static str)],
}

const ONE_TURN: (&str, &str) = ("SELECT count(*) FROM v_turns", "1");

fn scenarios() -> Vec<Scenario> {
    let run = |script: &str| ["run", "--key", "k1", script].map(str::to_owned).to_vec();
    vec![
        Scenario { name: "plain turn", prepares: true, victim: run("/say hello"), files: &[], facts: &[ONE_TURN] },
        Scenario {
            name: "write and edit",
            prepares: true,
            victim: run(concat!(
                "/call write_file {\"path\":\"out/a.txt\",\"content\":\"one\"}\n/then\n",
                "/call edit_file {\"path\":\"out/a.txt\",\"old\":\"one\",\"new\":\"two\"}\n/then\n/say done"
            )),
            files: &[("out/a.txt", "two")],
            facts: &[ONE_TURN],
        },
        Scenario {
            name: "parallel calls and a memory",
            prepares: true,
            victim: run(concat!(
                "/call write_file {\"path\":\"out/a.txt\",\"content\":\"a\"}\n",
                "/call write_file {\"path\":\"out/b.txt\",\"content\":\"b\"}\n",
                "/call remember {\"text\":\"the key is under the mat\"}\n",
                "/call list_dir {\"path\":\".\"}\n/then\n/say done"
            )),
            files: &[("out/a.txt", "a"), ("out/b.txt", "b")],
            facts: &[ONE_TURN, ("SELECT count(*) FROM memories", "1")],
        },
        Scenario { name: "init", prepares: false, victim: vec!["init".into()], files: &[], facts: &[] },
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(binary) = arguments.first().map(PathBuf::from) else {
        eprintln!("usage: kills BINARY [INJECTION] [POINTS_MAX] [SCENARIO]");
        return ExitCode::from(2);
    };
    let injection = arguments.get(1).map_or("signal=SIGKILL", String::as_str);
    let most = arguments.get(2).and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let only = arguments.get(3);
    let (mut points, mut failures) = (0, Vec::new());
    for scenario in scenarios().iter().filter(|s| only.is_none_or(|only| s.name == only)) {
        let mut all = count(&binary, scenario);
        if injection.starts_with("error") {
            // `write` also wakes threads through eventfds, which never fail for want of disk; what
            // goes to the journal goes by pwrite64.
            all.retain(|(call, _)| call != "write");
        }
        // Spread evenly where there are more points than time.
        let step = all.len().div_ceil(most.max(1)).max(1);
        let chosen: Vec<_> = all.iter().step_by(step).collect();
        let mut hits = 0;
        for (call, n) in &chosen {
            points += 1;
            match cut(&binary, scenario, injection, call, *n) {
                Ok(hit) => hits += usize::from(hit),
                Err(why) => failures.push(format!("{} {call} {n}: {why}", scenario.name)),
            }
        }
        println!("{}: {hits} of {} points hit by {injection}, of {} in all", scenario.name, chosen.len(), all.len());
        // Threads race, so a few counts are not reached again; more than a few is a blunt tool.
        if hits * 100 < chosen.len() * HITS_PERCENT_MIN {
            failures.push(format!("{}: only {hits} of {} points were hit", scenario.name, chosen.len()));
        }
    }
    failures.iter().for_each(|failure| println!("FAILED {failure}"));
    println!("{} passed, {} failed", points - failures.len().min(points), failures.len());
    if failures.is_empty() && points > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A home that is gone when it is dropped.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let path = std::env::temp_dir().join(format!("backstay-kills-{}-{unique}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn home(&self) -> PathBuf {
        self.0.join("home")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(program: &Path, home: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command.arg("--home").arg(home).args(arguments);
    for key in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "BACKSTAY_HOME"] {
        command.env_remove(key);
    }
    command
}

fn plain(binary: &Path, home: &Path, arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    command(binary, home, &arguments).output().expect("the binary runs")
}

fn prepare(binary: &Path, scenario: &Scenario) -> Home {
    let home = Home::new();
    if scenario.prepares {
        let out = plain(binary, &home.home(), &["init"]);
        assert!(out.status.success(), "init: {}", String::from_utf8_lossy(&out.stderr));
    }
    home
}

fn traced(binary: &Path, scenario: &Scenario, home: &Home, options: &[String]) -> (Output, String) {
    let log = home.0.join("strace.log");
    // A cut process that hangs is a process that an operator kills.
    let mut strace = Command::new("timeout");
    strace.args(["-s", "KILL", "30", "strace", "-f"]).arg("-qq").arg("-o").arg(&log).args(options).arg(binary);
    strace.arg("--home").arg(home.home()).args(&scenario.victim);
    for key in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "BACKSTAY_HOME"] {
        strace.env_remove(key);
    }
    let output = strace.output().expect("strace runs (install it: apt-get install strace)");
    (output, std::fs::read_to_string(&log).unwrap_or_default())
}

/// How often each thread makes each call in an uncut run: one point for every count.
fn count(binary: &Path, scenario: &Scenario) -> Vec<(String, u64)> {
    let home = prepare(binary, scenario);
    let (output, log) = traced(binary, scenario, &home, &["-e".into(), format!("trace={}", WRITES.join(","))]);
    assert!(output.status.success(), "{} uncut: {}", scenario.name, String::from_utf8_lossy(&output.stderr));
    let mut by_thread: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if let Some(known) = WRITES.iter().find(|known| **known == call) {
            *by_thread.entry((thread, known)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<&str, u64> = BTreeMap::new();
    for ((_, call), times) in by_thread {
        let times = if call.starts_with("openat") { times.min(OPENINGS_MAX) } else { times };
        let entry = most.entry(call).or_default();
        *entry = times.max(*entry);
    }
    most.into_iter().flat_map(|(call, times)| (1..=times).map(move |n| (call.to_owned(), n))).collect()
}

fn cut(binary: &Path, scenario: &Scenario, injection: &str, call: &str, n: u64) -> Result<bool, String> {
    let home = prepare(binary, scenario);
    let options = ["-e".into(), format!("trace={call}"), "-e".into(), format!("inject={call}:{injection}:when={n}")];
    let (cut_output, log) = traced(binary, scenario, &home, &options);
    let hit = log.contains("INJECTED") || log.contains("killed by SIGKILL");
    // Threads race: in this run the call may have been made less often. Then nothing was cut.
    if !hit && !cut_output.status.success() {
        return Err(format!("not cut, and failed: {}", String::from_utf8_lossy(&cut_output.stderr)));
    }
    let again = command(binary, &home.home(), &scenario.victim).output().expect("the binary runs");
    // A home that was whole when its `init` was cut is not made twice.
    let whole = scenario.name == "init" && again.status.code() == Some(3);
    if !again.status.success() && !whole {
        return Err(format!("given again: {:?} {}", again.status.code(), String::from_utf8_lossy(&again.stderr)));
    }
    // A tool that met the fault itself has said so to the model: that is an end as good as "done".
    let told = "SELECT count(*) FROM v_effects WHERE end = 'failed' OR verdict = 'invalid'";
    let failed = plain(binary, &home.home(), &["sql", told]);
    if !injection.starts_with("signal") && !String::from_utf8_lossy(&failed.stdout).lines().any(|l| l.trim() == "0") {
        return verify(binary, &home).map(|()| hit);
    }
    check(binary, scenario, &home).map(|()| hit)
}

fn check(binary: &Path, scenario: &Scenario, home: &Home) -> Result<(), String> {
    for (file, wanted) in scenario.files {
        let path = home.home().join("workspace").join(file);
        let found = std::fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
        if found != *wanted {
            return Err(format!("{file} holds {found:?}"));
        }
    }
    let leftovers = walk(&home.home().join("workspace"));
    if leftovers.len() != scenario.files.len() {
        return Err(format!("left in the workspace: {leftovers:?}"));
    }
    for (query, wanted) in scenario.facts {
        let out = plain(binary, &home.home(), &["sql", query]);
        let said = String::from_utf8_lossy(&out.stdout);
        if !said.lines().any(|line| line.trim() == *wanted) {
            return Err(format!("{query}: {said} {}", String::from_utf8_lossy(&out.stderr)));
        }
    }
    verify(binary, home)
}

fn verify(binary: &Path, home: &Home) -> Result<(), String> {
    let verified = plain(binary, &home.home(), &["audit", "verify"]);
    if verified.status.success() {
        Ok(())
    } else {
        Err(format!("audit verify: {}", String::from_utf8_lossy(&verified.stderr)))
    }
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let each = entries.flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() { walk(&path) } else { vec![path] }
    });
    each.collect()
}
