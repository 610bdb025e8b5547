//! Which tier holds on this machine: found by building a sandbox and trying to get out of it.
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::guard::{Guard, Shield};
use crate::helper::{NO_USER, Step, Unmade};
use crate::probe::{COMPLETE, Targets};
use crate::profile::{Ask, Plan, Programs, Reach, Work};
use crate::run::{Bounds, Ended, Ending, Fault, confined};
use crate::stage::Stage;
use crate::usage;

/// By what a command is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Namespaces and a root of its own.
    Full,
    /// Being another user, on copies.
    Copy,
}

/// How much of the sandbox holds here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tried {
    /// Every attempt to get out was refused.
    Full,
    /// The same without namespaces: why there are none.
    Copy(String),
    /// No command is run: why.
    Off(String),
    /// The same, since it could not be tried: another time it may.
    Unknown(String),
}

const SEALED: &[u8] = b"sealed";
const OUTSIDE: &[u8] = b"outside";
/// One sandbox, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries every way out, with real things outside to hit. Writes below `scratch`, which it makes and removes.
#[must_use]
pub fn test(scratch: &Path, bounds: Bounds) -> Tried {
    let attempt = |tier| {
        // What a test left behind that was cut off.
        let _ = fs::remove_dir_all(scratch);
        let tried = attempt(scratch, bounds, tier);
        let _ = fs::remove_dir_all(scratch);
        tried
    };
    if bounds.uid.is_none() && geteuid().is_root() {
        return Tried::Off(NO_USER.to_owned());
    }
    let off = |escapes: &[String]| format!("the sandbox does not hold here: a command {}", escapes.join(", "));
    let why = match attempt(Tier::Full) {
        Ok(escapes) if escapes.is_empty() => return Tried::Full,
        // What can be built and does not hold is a fault, and no reason to trust less.
        Ok(escapes) => return Tried::Off(off(&escapes)),
        // Nor is a full disk: what commands write would be gone.
        Err(unmade) if !unmade.is_refused => return Tried::Unknown(unmade.why),
        Err(refused) => refused.why,
    };
    if !geteuid().is_root() {
        return Tried::Off(why);
    }
    crate::stage::clear();
    match attempt(Tier::Copy) {
        Ok(escapes) if escapes.is_empty() => Tried::Copy(why),
        Ok(escapes) => Tried::Off(format!("{why}; without namespaces: {}", off(&escapes))),
        Err(other) => Tried::Unknown(format!("{why}; without namespaces: {other}")),
    }
}

fn attempt(scratch: &Path, bounds: Bounds, tier: Tier) -> Step<Vec<String>> {
    let io = |error: std::io::Error| Unmade::from(format!("the sandbox cannot be tried: {error}"));
    let user = bounds.uid.filter(|_| tier == Tier::Copy);
    // They would be ended.
    if let Some(uid) = user.filter(|uid| usage::has_processes(*uid)) {
        return Err(
            format!("processes of the user {uid} run already, and `[sandbox] uid` is to be nobody else's").into()
        );
    }
    let [written, sealed, outside] = lay_out(scratch).map_err(io)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(io)?;
    // By a short name: a socket's has 108 bytes, and a home may lie deep.
    let directory = fs::File::open(scratch).map_err(io)?;
    let _local = UnixListener::bind(format!("/proc/self/fd/{}/socket", directory.as_raw_fd())).map_err(io)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let reach = Reach { read: Vec::new(), write: vec![text(&written)] };
    let stage = user.map(|uid| Stage::make(&reach, &text(&written), uid, &|_| false)).transpose()?;
    // Where the copies are, so that it is not the home's own mode that closes it.
    let outside = stage.as_ref().map_or(Ok(outside), |stage| within_reach(stage.top())).map_err(io)?;
    let targets = Targets {
        tier,
        outside: text(&outside.canonicalize().map_err(io)?),
        sealed: text(&written.join(".git/config")),
        written: stage.as_ref().map_or(text(&written), |stage| stage.place(&text(&written))),
        address: listener.local_addr().map_err(io)?,
        socket: text(&scratch.join("socket")),
        process: i32::try_from(std::process::id()).unwrap_or(0),
    };
    let ask = Ask {
        commands: Vec::new(),
        found: Vec::new(),
        cwd: text(&written),
        environment: BTreeMap::new(),
        programs: Programs::Only(Vec::new()),
        reach,
        caches: None,
    };
    let until = Instant::now() + PATIENCE;
    let bounds = Bounds { free_bytes: 0, ..bounds };
    let halt = AtomicBool::new(false);
    let work = Work::Probe(targets);
    let plan = match &stage {
        None => Plan::of(&ask, work, &shield(&ask.reach)?, bounds, &[]),
        Some(stage) => Plan::of(&stage.ask(&ask), work, &Shield::default(), bounds, &[]).on_copies(stage),
    };
    let ran = confined(&plan, &[], bounds, Ending { until, halt: &halt }, None)
        .map_err(|fault| Unmade { why: fault.to_string(), is_refused: matches!(fault, Fault::NoNamespaces(_)) })?;
    let said = ran.stdout.text();
    let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
    match (ran.ended, lines.pop()) {
        (Ended::Exited(0), Some(last)) if last == COMPLETE => {
            if outside.with_extension("new").exists() || fs::read(&outside).map_err(io)? != OUTSIDE {
                lines.push("writes outside".to_owned());
            }
            if fs::read(&sealed).map_err(io)? != SEALED {
                lines.push("changed a protected file".to_owned());
            }
            if user.is_some_and(usage::has_processes) {
                lines.push("goes on when it has ended".to_owned());
            }
            let top = stage.as_ref().map(|stage| stage.top().to_owned());
            drop(stage);
            if top.is_some_and(|top| top.exists()) {
                lines.push("leaves copies that cannot be removed".to_owned());
            }
            Ok(lines)
        }
        (ended, _) => {
            Err(format!("the sandbox could not be tried to the end ({ended:?}): {}", ran.stderr.text()).into())
        }
    }
}

/// A directory in which a command may write, with a protected file, and a file outside of it. Only the sandbox is to be
/// what keeps the command from them.
fn lay_out(scratch: &Path) -> std::io::Result<[PathBuf; 3]> {
    let (written, outside) = (scratch.join("written"), scratch.join("outside"));
    let sealed = written.join(".git/config");
    fs::create_dir_all(written.join(".git"))?;
    fs::write(&sealed, SEALED)?;
    fs::write(&outside, OUTSIDE)?;
    // Whoever commands become gets this far.
    if let Some(above) = scratch.parent() {
        fs::set_permissions(above, fs::Permissions::from_mode(0o711))?;
    }
    for (path, mode) in [(scratch, 0o755), (&written, 0o777), (&written.join(".git"), 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    for path in [&sealed, &outside] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    }
    Ok([written.canonicalize()?, sealed, outside])
}

/// A file beside the copies, open to everybody.
fn within_reach(top: &Path) -> std::io::Result<PathBuf> {
    let outside = top.join("outside");
    fs::write(&outside, OUTSIDE)?;
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o666))?;
    Ok(outside)
}

fn shield(reach: &Reach) -> Result<Shield, String> {
    let found = Guard { reach, hides: &|_| false, caches: None }.look().map_err(|error| error.to_string())?;
    Ok(found.shield)
}
