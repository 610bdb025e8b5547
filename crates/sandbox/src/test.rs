//! Which tier holds on this machine: found by building a sandbox and trying to get out of it.
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::guard::{Guard, Shield};
use crate::probe::{COMPLETE, Targets};
use crate::profile::{Ask, Programs, Reach, Work};
use crate::run::{Bounds, Ended, Ending, Fault, confined};

/// How much of the sandbox holds here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tier {
    /// Every attempt to get out was refused.
    Full,
    /// No command is run: why.
    Off(String),
}

const SEALED: &[u8] = b"sealed";
const OUTSIDE: &[u8] = b"outside";
/// One sandbox, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries every way out, with real things outside to hit. Writes below `scratch`, which it makes and removes.
#[must_use]
pub fn test(scratch: &Path, bounds: Bounds) -> Tier {
    // What a test left behind that was cut off.
    let _ = fs::remove_dir_all(scratch);
    let tried = attempt(scratch, bounds);
    let _ = fs::remove_dir_all(scratch);
    match tried {
        Ok(escapes) if escapes.is_empty() => Tier::Full,
        Ok(escapes) => Tier::Off(format!("the sandbox does not hold here: a command {}", escapes.join(", "))),
        Err(why) => Tier::Off(why),
    }
}

fn attempt(scratch: &Path, bounds: Bounds) -> Result<Vec<String>, String> {
    let io = |error: std::io::Error| format!("the sandbox cannot be tried: {error}");
    let (written, outside) = (scratch.join("written"), scratch.join("outside"));
    fs::create_dir_all(written.join(".git")).map_err(io)?;
    let sealed = written.join(".git/config");
    fs::write(&sealed, SEALED).map_err(io)?;
    fs::write(&outside, OUTSIDE).map_err(io)?;
    // Only the sandbox is to be what keeps the command from them.
    for (path, mode) in [(scratch, 0o755), (&written, 0o777), (&written.join(".git"), 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io)?;
    }
    for path in [&sealed, &outside] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(io)?;
    }
    let written = written.canonicalize().map_err(io)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(io)?;
    // By a short name: a socket's has 108 bytes, and a home may lie deep.
    let directory = fs::File::open(scratch).map_err(io)?;
    let _local = UnixListener::bind(format!("/proc/self/fd/{}/socket", directory.as_raw_fd())).map_err(io)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let targets = Targets {
        outside: text(&outside.canonicalize().map_err(io)?),
        sealed: text(&written.join(".git/config")),
        written: text(&written),
        address: listener.local_addr().map_err(io)?,
        socket: text(&scratch.join("socket")),
        process: i32::try_from(std::process::id()).unwrap_or(0),
    };
    let reach = Reach { read: Vec::new(), write: vec![text(&written)] };
    let shield = shield(&reach)?;
    let ask = Ask {
        commands: Vec::new(),
        found: Vec::new(),
        cwd: text(&written),
        environment: BTreeMap::new(),
        programs: Programs::Only(Vec::new()),
        reach,
    };
    let until = Instant::now() + PATIENCE;
    let bounds = Bounds { free_bytes: 0, ..bounds };
    let halt = AtomicBool::new(false);
    let ran = confined(&ask, Work::Probe(targets), &shield, bounds, &[], Ending { until, halt: &halt }, None).map_err(
        |fault| match fault {
            Fault::NotRun(why) => why,
            Fault::Lost => fault.to_string(),
        },
    )?;
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
            Ok(lines)
        }
        (ended, _) => Err(format!("the sandbox could not be tried to the end ({ended:?}): {}", ran.stderr.text())),
    }
}

fn shield(reach: &Reach) -> Result<Shield, String> {
    let found = Guard { reach, hides: &|_| false }.look().map_err(|error| error.to_string())?;
    Ok(found.shield)
}
