//! What the config counts on outside of the journal: directories that commands may use, the place and the key of
//! checkpoints, the key of the secrets. Tried before the first call that needs them.
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use backstay_secrets::Key;
use rustix::fs::Access;

use super::{Finding, bad, good};
use crate::audit;
use crate::config::{Checked, SinkConfig};
use crate::home;
use crate::secrets;

/// Bits of a directory's mode.
const READ: u32 = 0o5;
const WRITE: u32 = 0o3;

pub fn findings(checked: &Checked) -> Vec<Finding> {
    let mut findings: Vec<Finding> = checkpoints(checked).into_iter().collect();
    if let Err(why) = Key::find(checked.secrets_key.as_deref()) {
        findings.push(bad("secrets", format!("their key: {why}"), secrets::next(&why)));
    }
    findings
}

/// Of every agent that runs commands what it is granted, as whoever its commands run as; of what is copied for them,
/// as whoever copies it.
pub fn directories(checked: &Checked, on_copies: bool) -> Vec<Finding> {
    let becomes = rustix::process::geteuid().is_root() && !on_copies;
    let whom = if becomes { checked.sandbox.uid } else { None };
    let runs_others = !checked.declared.is_empty() || !checked.mcp.is_empty();
    let mut findings = Vec::new();
    for (agent, config) in &checked.policy.agents {
        let reads = config.grants.read.iter().map(|path| (path, "read", READ));
        let writes = config.grants.write.iter().map(|path| (path, "written", WRITE));
        let places = config.grants.read.iter().chain(&config.grants.write);
        for path in places.filter(|path| Path::new(path).symlink_metadata().is_ok() && !is_directory(path)) {
            let detail =
                format!("agent {agent}: {} is void: a file or a link lies there", home::quoted(Path::new(path)));
            findings.push(bad("grants", detail, "see who put it there; make it a directory again"));
        }
        // What is missing is made at start.
        for (path, word, bits) in reads.chain(writes).filter(|(path, ..)| is_directory(path)) {
            let shown = home::quoted(Path::new(path));
            match whom {
                Some(uid) if (runs_others || !config.grants.programs.is_empty()) && !may(path, uid, bits) => {
                    let detail =
                        format!("agent {agent}: {shown} cannot be {word} by the user {uid}, whom commands become");
                    findings.push(bad(
                        "grants",
                        detail,
                        format!("chown {uid}:{uid} {shown}, or another [sandbox] uid"),
                    ));
                }
                None if !own_may(path, bits) => {
                    let detail = format!("agent {agent}: {shown} cannot be {word} by the user whose home this is");
                    findings.push(bad("grants", detail, "give that user the right to, or take it out of the grants"));
                }
                Some(_) | None => {}
            }
        }
    }
    findings
}

/// A directory to which no link leads.
fn is_directory(path: &str) -> bool {
    let real = Path::new(path).canonicalize();
    real.is_ok_and(|real| real.is_dir() && real.as_os_str() == path)
}

/// By the directory's owner, group and mode: its parents are passed as root.
fn may(path: &str, uid: u32, bits: u32) -> bool {
    let Ok(found) = std::fs::metadata(path) else { return false };
    let shift = if found.uid() == uid {
        6
    } else if found.gid() == uid {
        3
    } else {
        0
    };
    found.mode() >> shift & bits == bits
}

fn own_may(path: &str, bits: u32) -> bool {
    let wanted = if bits == READ { Access::READ_OK } else { Access::WRITE_OK };
    rustix::fs::access(path, wanted | Access::EXEC_OK).is_ok()
}

/// Nothing is handed over: a checkpoint that nobody made would be one too many.
fn checkpoints(checked: &Checked) -> Option<Finding> {
    let config = checked.audit.as_ref()?;
    if let Err(error) = audit::signer(checked) {
        let next = "a file of at least 32 bytes, outside of the home, its owner's alone: chmod 600 KEYFILE";
        return Some(bad("audit", error.to_string(), next));
    }
    let SinkConfig::File(path) = &config.sink else {
        return Some(good("audit", "the key signs; the collector is tried by a process that serves the home"));
    };
    let tried = if path.exists() {
        std::fs::OpenOptions::new().append(true).open(path).map(drop)
    } else {
        let place = path.parent().unwrap_or(path);
        rustix::fs::access(place, Access::WRITE_OK | Access::EXEC_OK).map_err(Into::into)
    };
    Some(match tried {
        Ok(()) => good("audit", format!("the key signs, and {} can be written", path.display())),
        Err(error) => {
            let detail = format!("no checkpoint can be written to {}: {error}", path.display());
            bad("audit", detail, "give the user whose home this is the right to write there: [audit] sink")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_is_for_its_owner_its_group_and_others_by_its_mode() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().to_str().unwrap();
        let found = std::fs::metadata(path).unwrap();
        let stranger = found.uid().max(found.gid()) + 1;
        let set = |mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        for (mode, own, others) in
            [(0o700, 2, 0), (0o755, 2, 1), (0o777, 2, 2), (0o500, 1, 0), (0o711, 2, 0), (0o077, 0, 2)]
        {
            set(mode);
            let count = |uid| usize::from(may(path, uid, READ)) + usize::from(may(path, uid, WRITE));
            assert_eq!((count(found.uid()), count(stranger)), (own, others), "{mode:o}");
        }
        set(0o700);
        assert!(!may("/nowhere/at/all", stranger, READ));
    }
}
