//! `run_command`: a command, known or not, run where it can do no harm.
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use backstay_kernel::destination::{HostGrant, Reachable};
use backstay_kernel::facts::{Access, Facts, Invalid, PathFact, ProgramFile, Starts, Tier};
use backstay_kernel::id::Digest;
use backstay_kernel::rule::is_under;
use backstay_kernel::tool::EffectClass;
use backstay_sandbox::{Ask, Clip, Ended, Fault, Program, Programs, Reach, Sandbox, Simple, Stop, Tier as Held};
use backstay_shell::{Opaque, Reading};
use rustix::fs::OFlags;
use serde::Serialize;

use crate::arguments::RunCommand;
use crate::known::Known;
use crate::prepare::{Action, Prepared, Refused};
use crate::roots::Roots;
use crate::run::{Acted, Ran};
use crate::text::cut;
use crate::{limits, network};

/// How an agent's commands are run.
#[derive(Clone, Debug)]
pub struct Commands {
    pub sandbox: std::sync::Arc<Sandbox>,
    /// As its grants name them.
    pub programs: Vec<String>,
}

/// A command that could be run now.
#[derive(Debug)]
pub struct Run {
    pub commands: Vec<Simple>,
    /// What their programs' names mean.
    pub found: Vec<Program>,
    pub cwd: String,
    pub reach: Reach,
    pub programs: Programs,
    pub timeout: Duration,
    /// What it may reach on the network.
    pub open: Vec<HostGrant>,
}

pub fn prepare(roots: &Roots, call: &RunCommand) -> Result<Prepared, Refused> {
    let no = |why: String| Refused::new(Invalid::NoSandbox, why);
    let commands = roots.commands().filter(|commands| !commands.programs.is_empty());
    let commands = commands.ok_or_else(|| no("this agent is granted no programs".to_owned()))?;
    let held = commands.sandbox.holds().map_err(no)?;
    let (_, cwd) = roots.open_read(call.cwd.as_deref().unwrap_or("."), OFlags::DIRECTORY)?;
    let known = match read(&call.command) {
        Reading::Refused(why) => return Err(Refused::new(Invalid::BadArguments, why.to_string())),
        Reading::Plain(plain) => Known::of(plain, &commands.programs),
        Reading::Opaque(_) => None,
    };
    let mut known = known.unwrap_or_else(|| Known::shell(&call.command));
    let (facts, reach) = known.facts(roots, &cwd).unwrap_or_else(|| everything(roots, &cwd));
    let network = network::named(roots.hosts(), &call.network)?;
    let (found, files) = found(roots, &commands.sandbox, &known.programs)?;
    let (programs, starts) = match known.commands {
        Some(commands) => (commands, Starts::Commands),
        None => (known.programs, Starts::Unknown),
    };
    let facts = Facts { programs: programs.into(), starts, files, tier: Some(tier(held)), ..facts };
    let facts = reaching(facts, network.places, known.packages);
    possible(held, &facts)?;
    let seconds_max = backstay_sandbox::TIMEOUT_MS_MAX / 1_000;
    let seconds = call.timeout_s.map_or(limits::COMMAND_S, |seconds| seconds.get().min(seconds_max));
    let programs = Programs::granted(&commands.programs);
    let timeout = Duration::from_secs(seconds);
    let run = Run { commands: known.list, found, cwd, reach, programs, timeout, open: network.open };
    Ok(Prepared { facts, action: Action::Run(Box::new(run)) })
}

/// As it stands in records.
pub fn tier(held: Held) -> Tier {
    match held {
        Held::Full => Tier::Full,
        Held::Copy => Tier::Copy,
    }
}

/// On copies nothing is reached.
pub fn possible(held: Held, facts: &Facts) -> Result<(), Refused> {
    match held {
        Held::Copy if !facts.network.is_empty() => {
            let why = "commands have no network on this machine (it gives them no namespaces: tier `copy`)";
            Err(Refused::new(Invalid::NoSandbox, why))
        }
        Held::Full | Held::Copy => Ok(()),
    }
}

/// What may send something is sent, whatever else it is. Without a network no package comes from elsewhere.
pub fn reaching(facts: Facts, network: Vec<Reachable>, packages: Vec<String>) -> Facts {
    let class = match network.iter().map(Reachable::only_asked).reduce(|all, one| all && one) {
        None => facts.class,
        Some(true) => EffectClass::Execute,
        Some(false) => EffectClass::Send,
    };
    let packages = if network.is_empty() { Vec::new() } else { packages };
    Facts { class, network: network.into(), packages: packages.into(), ..facts }
}

/// A development build that is told so knows no command, so that attacks meet the sandbox alone; a release is never told.
fn read(command: &str) -> Reading {
    if cfg!(debug_assertions) && std::env::var_os("BACKSTAY_READ_NO_COMMAND").is_some() {
        return Reading::Opaque(Opaque::Grammar);
    }
    backstay_shell::read(command.as_bytes())
}

/// The files of programs. None is run that this agent could have written itself.
pub fn found(
    roots: &Roots,
    sandbox: &Sandbox,
    names: &[String],
) -> Result<(Vec<Program>, Box<[ProgramFile]>), Refused> {
    let found = sandbox.find(names).map_err(|why| Refused::new(Invalid::Unreadable, why))?;
    let reach = roots.reach();
    let mut files = Vec::new();
    for seen in found.iter().flat_map(Program::files) {
        if let Some(root) = reach.write.iter().find(|root| is_under(&seen.real, root)) {
            let why = format!("the program {} lies in {root}, where this agent may write: it is not run", seen.real);
            return Err(Refused::new(Invalid::OutsideGrants, why));
        }
        let file = ProgramFile { real: seen.real.clone(), digest: Digest(seen.sha256) };
        if !files.contains(&file) {
            files.push(file);
        }
    }
    Ok((found, files.into()))
}

/// Whatever is granted may be touched by what nobody has understood: all of it is a fact.
fn everything(roots: &Roots, cwd: &str) -> (Facts, Reach) {
    let reach = roots.reach();
    let mut paths = vec![PathFact::new(Access::Read, cwd.to_owned())];
    paths.extend(granted(&reach).filter(|fact| fact.real != cwd || fact.access == Access::Write));
    (Facts { more_paths: true, ..Facts::new(EffectClass::Execute, paths) }, reach)
}

/// All that may be reached, as facts.
pub fn granted(reach: &Reach) -> impl Iterator<Item = PathFact> {
    let of =
        |access, granted: &[String]| granted.iter().map(|real| PathFact::new(access, real.clone())).collect::<Vec<_>>();
    of(Access::Read, &reach.read).into_iter().chain(of(Access::Write, &reach.write))
}

pub fn run(roots: &Roots, run: Run, halt: &AtomicBool) -> Acted {
    let Some(commands) = roots.commands() else { return Ran::failed("this agent has no sandbox").into() };
    let environment = std::collections::BTreeMap::new();
    let Run { commands: list, found, cwd, reach, programs, timeout, open } = run;
    let caches = commands.sandbox.caches(&reach);
    let ask = Ask { commands: list, found, cwd, environment, programs, reach, caches };
    let ran = network::with_exit(roots.hosts(), open, timeout, |exit| {
        commands.sandbox.run(&ask, timeout, &|real| roots.hides(real), halt, exit)
    });
    let (ran, reached) = match ran {
        Ok(ran) => ran,
        Err(why) => return Ran::failed(why).into(),
    };
    let ran = match ran {
        Ok(ran) => shown(&ran, timeout, &reached.refused),
        Err(Fault::NotRun(why) | Fault::NoNamespaces(why)) => Ran::failed(why),
        Err(Fault::Lost) => Ran::Unknown,
    };
    Acted { connections: reached.connections, ..ran.into() }
}

/// What the model is told.
#[derive(Serialize)]
struct Said<'a> {
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    stdout: &'a str,
    stderr: &'a str,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined: Option<Quarantined<'a>>,
    /// What it wanted of the network, and did not get.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    network_refused: &'a [String],
    /// Of what it wrote on copies, what is not in place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_kept: Vec<NotKept<'a>>,
}

#[derive(Serialize)]
struct Quarantined<'a> {
    why: &'static str,
    paths: &'a [String],
}

#[derive(Serialize)]
struct NotKept<'a> {
    why: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    paths: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    more_paths: Option<usize>,
}

impl<'a> NotKept<'a> {
    fn of(not_kept: &'a backstay_sandbox::NotKept) -> Self {
        let all = not_kept.paths.as_slice();
        let (paths, more) = all.split_at_checked(limits::PATHS_TOLD_MAX).unwrap_or((all, &[]));
        Self { why: &not_kept.why, paths, more_paths: (!more.is_empty()).then_some(more.len()) }
    }
}

const QUARANTINED: &str =
    "this command made or changed names that other programs act on; each was renamed, and is not in use";

fn shown(ran: &backstay_sandbox::Ran, timeout: Duration, network_refused: &[String]) -> Ran {
    let (stdout, stderr) = (part(&ran.stdout, limits::STDOUT_BYTES_MAX), part(&ran.stderr, limits::STDERR_BYTES_MAX));
    let truncated = stdout.is_part || stderr.is_part;
    let mut said = Said {
        exit_code: None,
        signal: None,
        stopped: None,
        stdout: &stdout.shown,
        stderr: &stderr.shown,
        truncated,
        quarantined: None,
        network_refused,
        not_kept: ran.not_kept.iter().map(NotKept::of).collect(),
    };
    match ran.ended {
        Ended::Exited(code) => said.exit_code = Some(code),
        Ended::Signalled(signal) => said.signal = Some(signal),
        // What it had done on copies is told by itself.
        Ended::Stopped(Stop::Halt) if !ran.not_kept.is_empty() => said.stopped = Some("a person stopped it".to_owned()),
        Ended::Stopped(stop) => said.stopped = Some(words(stop, timeout)),
    }
    if !ran.quarantined.is_empty() {
        said.quarantined = Some(Quarantined { why: QUARANTINED, paths: &ran.quarantined });
    }
    let spill = truncated.then(|| {
        let mut all = format!("stdout:\n{}\nstderr:\n{}\n", stdout.all, stderr.all);
        all.truncate(all.floor_char_boundary(limits::SPILL_BYTES_MAX));
        all.into_bytes()
    });
    match serde_json::to_string(&said) {
        Ok(text) => Ran::Done { text, spill },
        Err(_) => Ran::Unknown,
    }
}

fn words(stop: Stop, timeout: Duration) -> String {
    match stop {
        Stop::Time => format!("it took longer than {} s; set timeout_s, at most 600", timeout.as_secs()),
        Stop::Memory => {
            "its processes took more memory than `[sandbox] memory_mib`, or the machine had none left".to_owned()
        }
        Stop::Halt => "a person stopped it; what it had done by then is done".to_owned(),
        Stop::Disk => {
            "less was left free on the disk than `[sandbox] free_disk_mib`, or hardly a file could be made any more"
                .to_owned()
        }
    }
}

struct Part {
    shown: String,
    all: String,
    is_part: bool,
}

/// The beginning and the end: a build says at its end what went wrong.
fn part(clip: &Clip, bytes_max: usize) -> Part {
    let all: String = clip.text().chars().map(harmless).collect();
    if all.len() <= bytes_max {
        return Part { shown: all.clone(), all, is_part: clip.dropped > 0 };
    }
    let half = bytes_max / 2;
    let (head, tail) = (cut(&all, half), all.get(all.ceil_char_boundary(all.len().saturating_sub(half))..));
    let tail = tail.unwrap_or_default();
    let missing = all.len().saturating_sub(head.len()).saturating_sub(tail.len());
    let missing = u64::try_from(missing).unwrap_or(u64::MAX).saturating_add(clip.dropped);
    let shown = format!("{head}\n[{missing} bytes are missing here]\n{tail}");
    Part { shown, all, is_part: true }
}

/// No character of a command's may pass for the runtime's, or steer a terminal.
pub fn harmless(character: char) -> char {
    if character.is_control() && !matches!(character, '\n' | '\t') { '\u{fffd}' } else { character }
}
