//! What the guard costs: a command in its sandbox beside the same one that is only started, and beside bwrap where
//! that is installed; what it takes to know and to judge a command; rules by the hundred.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use backstay_kernel::effect::{CallRef, Effect};
use backstay_kernel::facts::Facts;
use backstay_kernel::flow::Named;
use backstay_kernel::judge::judge;
use backstay_kernel::open_effects;
use backstay_kernel::policy::{Grants, Policy, Role};
use backstay_kernel::record::Verdict;
use backstay_kernel::rule::{Field, Rule, RuleVerdict, Test};
use backstay_sandbox::{Ask, Bounds, Ended, Programs, Reach, Sandbox, Simple};
use backstay_tools::{Commands, Roots, inspect, manifests};

use super::kernel::{decode, entries_of_a_session, frame, policy, states, time};
use crate::Outcome;
use crate::homes::Homes;
use crate::report::{Expected, Report, Row, Target, ms, quantile};

/// Starts of each kind, in turn.
const STARTS: u64 = 100;
const RULES: usize = 500;
/// Whom commands become where this runs as root.
const NOBODYS_UID: u32 = 20_000;
const COMMAND: [&str; 3] = ["sh", "-c", "true"];
const PATIENCE: Duration = Duration::from_secs(60);
/// In which the helper of the next command is made, which is not to be timed with anything.
const PAUSE: Duration = Duration::from_millis(20);
/// Milliseconds: around a command by a helper that was made before, and a command with its gate.
const SANDBOX_MAX: f64 = 1.7;
const COMMAND_MAX: f64 = 5.0;

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    let home = homes.fresh("guard")?.path.canonicalize()?;
    let workspace = home.join("workspace");
    let uid = rustix::process::geteuid().is_root().then_some(NOBODYS_UID);
    std::os::unix::fs::chown(&workspace, uid, uid)?;
    let sandbox = Sandbox::new(home.join("tried"), Bounds { memory_bytes: 1 << 30, free_bytes: 0, uid });
    sandbox.holds()?;
    starts(&sandbox, &workspace, report)?;
    verdicts(homes, Arc::new(sandbox), &workspace, report)
}

fn starts(sandbox: &Sandbox, workspace: &Path, report: &mut Report) -> Outcome<()> {
    let words = COMMAND.map(str::to_owned);
    let ask = Ask {
        found: sandbox.find(&words[..1])?,
        commands: vec![Simple::alone(words.to_vec())],
        cwd: workspace.display().to_string(),
        environment: BTreeMap::new(),
        programs: Programs::Only(words[..1].to_vec()),
        reach: Reach { read: Vec::new(), write: vec![workspace.display().to_string()] },
        caches: None,
    };
    let halt = AtomicBool::new(false);
    let held = || Ok(sandbox.run(&ask, PATIENCE, &|_| false, &halt, None)?.ended == Ended::Exited(0));
    let plain = || started(Command::new("/bin/sh").args(&COMMAND[1..]));
    let bare = Command::new("bwrap").arg("--version").output().is_ok();
    let other = || started(Command::new("bwrap").args(["--unshare-all", "--ro-bind", "/", "/"]).args(COMMAND));
    let (mut ended, mut helds, mut plains, mut others) = (0, Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (is_well, time) = timed(held)?;
        ended += u64::from(is_well);
        helds.push(time);
        std::thread::sleep(PAUSE);
        plains.push(timed(plain)?.1);
        std::thread::sleep(PAUSE);
        if bare {
            others.push(timed(other)?.1);
            std::thread::sleep(PAUSE);
        }
    }
    report.count("sandboxed commands that ended well", ended, Expected::Exactly(STARTS));
    for (name, hundredths) in [("least", 0), ("p10", 10), ("p50", 50)] {
        let of = |times: &[f64]| quantile(times.to_vec(), hundredths).unwrap_or_default();
        let (held, plain) = (of(&helds), of(&plains));
        let row = Row::new(format!("sh in the sandbox and only started, {name}"), "ms", held).floor(plain);
        // The gate takes some hundredths of a millisecond, in rows of their own.
        report.row(if hundredths == 50 { row.target(Target::AtMost(COMMAND_MAX)) } else { row });
        let row = Row::new(format!("a sandbox around it, {name}"), "ms", held - plain);
        let row = if bare { row.floor(of(&others) - plain) } else { row };
        report.row(row.target(Target::AtMost(SANDBOX_MAX)));
    }
    Ok(())
}

fn timed(work: impl FnOnce() -> Outcome<bool>) -> Outcome<(bool, f64)> {
    let began = Instant::now();
    let is_well = work()?;
    Ok((is_well, ms(began.elapsed())))
}

/// With its output taken, as the sandbox takes it.
fn started(command: &mut Command) -> Outcome<bool> {
    Ok(command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).output()?.status.success())
}

fn verdicts(homes: &Homes, sandbox: Arc<Sandbox>, workspace: &Path, report: &mut Report) -> Outcome<()> {
    let entries = entries_of_a_session(homes)?;
    let records: Vec<_> = decode(&entries)?.into_iter().flat_map(|entry| entry.records).collect();
    let states = states(&records);
    let (few, many) = (guarded(workspace, 0), guarded(workspace, RULES));
    let looked = states.iter().find_map(|state| {
        open_effects(state, &frame(&few)).into_iter().find_map(|effect| match effect {
            Effect::Inspect { id, call } => Some((state, id, call)),
            Effect::Prepare { .. } | Effect::Model { .. } | Effect::Tool { .. } | Effect::Probe { .. } => None,
        })
    });
    let (state, id, call) = looked.ok_or("no call of that session was looked at")?;
    let call = CallRef { tool: Some("run_command".to_owned()), ..call };
    let commands = Commands { sandbox, programs: vec!["cat".to_owned()] };
    let roots = Roots::open(workspace, &[workspace.to_owned()], &[PathBuf::from(workspace).join("out")])?;
    let roots = roots.commanding(commands);
    let known = || inspect(&roots, "run_command", "{\"command\":\"cat notes.md\"}");
    let judged = |facts: &Facts, policy: &Policy| judge(state, id, &call, facts, &Named::default(), &frame(policy));
    let facts = known()?;
    for (what, policy) in [("no rules", &few), ("500 rules", &many)] {
        let allowed = u64::from(matches!(judged(&facts, policy).verdict, Verdict::Allow { .. }));
        report.count(format!("a command that reads is allowed by {what}"), allowed, Expected::Exactly(1));
    }
    let both = time(|| known().map(|facts| judged(&facts, &few))) / 1e3;
    report.row(Row::new("a command is known and judged", "µs", both).target(Target::AtMost(50.0)));
    let row = Row::new("a verdict by 500 rules", "µs", time(|| judged(&facts, &many)) / 1e3);
    report.row(row.floor(time(|| judged(&facts, &few)) / 1e3).target(Target::AtMost(5.0)));
    Ok(())
}

/// An agent that may read its workspace by commands, under so many rules that speak of other paths.
fn guarded(workspace: &Path, rules: usize) -> Policy {
    let mut policy = policy();
    let path = workspace.display().to_string();
    let rule = |number| {
        let when = [(Field::Path, Test::Under(format!("{path}/kept-{number}")))];
        Rule::new(format!("keep {number}"), RuleVerdict::Deny, when.into())
    };
    for agent in policy.agents.values_mut() {
        agent.rules = (0..rules).map(rule).collect();
        agent.grants = Grants {
            tools: vec!["run_command".to_owned()],
            read: vec![path.clone()],
            programs: vec!["cat".to_owned()],
            ..Grants::default()
        };
    }
    policy.principals = [("owner".to_owned(), Role::Owner)].into();
    policy.tools = manifests().into_iter().map(|manifest| (manifest.name.clone(), manifest)).collect();
    policy.workspace = path;
    policy
}
