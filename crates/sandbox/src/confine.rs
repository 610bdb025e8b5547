//! What the command has no more of: numbers without end, capabilities, files beyond its own.
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, Gid, Uid, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::helper::{Step, step};
use crate::limits::{FILE_BYTES_MAX, FILES_MAX, NICE, PROCESSES_MAX};
use crate::profile::{Access, Base, Profile};

/// The kernel's interface that is asked for whole: with it, truncation, device control, signals and
/// abstract sockets are held too. What offers less is refused, not used in part.
const LANDLOCK: ABI = ABI::V6;

/// Set inside of the user namespace: outside of it the first fork would be counted against it.
pub fn limits(profile: &Profile) -> Step<()> {
    let bounds = [
        // Data, not address space: runtimes with a garbage collector reserve far more than they use.
        (Resource::Data, profile.memory_bytes),
        // One byte, and not none: a core that is piped to a program is none of the size.
        (Resource::Core, 1),
        (Resource::Nofile, FILES_MAX),
        (Resource::Nproc, PROCESSES_MAX),
        (Resource::Fsize, FILE_BYTES_MAX),
    ];
    for (resource, most) in bounds {
        let most = Some(most);
        setrlimit(resource, Rlimit { current: most, maximum: most }).map_err(step("limits"))?;
    }
    nice(NICE).map(|_| ()).map_err(step("standing back"))
}

/// No program gives any back.
pub fn close_capabilities() -> Result<(), Errno> {
    clear_ambient_capability_set()?;
    for bit in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // Beyond the last that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    set_capabilities_secure_bits(
        CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )
}

/// And those that are there go.
pub fn no_capabilities() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)
}

pub fn become_user(uid: u32) -> Step<()> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    let all = set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(group, group, group))
        .and_then(|()| set_thread_res_uid(user, user, user));
    all.map_err(step("becoming `[sandbox] uid`"))
}

/// Nothing is open yet.
fn closed() -> Step<RulesetCreated> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(LANDLOCK)))
        .and_then(Ruleset::create)
        .map_err(step("Landlock of ABI 6 (Linux 6.12)"))
}

/// The only wall around files where there is no new root: what no rule opens is closed, `/proc` among it.
pub fn walls_of_user(base: &Base, profile: &Profile) -> Step<RulesetCreated> {
    let mut ruleset = closed()?;
    for bind in base.binds.iter().chain(&profile.binds) {
        let there = PathFd::new(&bind.from).map_err(step(&bind.from))?;
        let access = match bind.access {
            Access::ReadOnly => AccessFs::ReadFile | AccessFs::ReadDir,
            Access::ReadWrite => AccessFs::from_all(LANDLOCK) & !AccessFs::Execute,
            Access::Device => AccessFs::ReadFile | AccessFs::WriteFile,
        };
        let access = if bind.execute { access | AccessFs::Execute } else { access };
        let is_directory = std::fs::metadata(&bind.from).map_err(step(&bind.from))?.is_dir();
        let access = if is_directory { access } else { access & AccessFs::from_file(LANDLOCK) };
        ruleset = ruleset.add_rule(PathBeneath::new(there, access)).map_err(step("Landlock"))?;
    }
    Ok(ruleset)
}

/// A second wall behind the new root, with the same openings.
pub fn landlock(profile: &Profile) -> Step<()> {
    let all = AccessFs::from_all(LANDLOCK);
    let readable = AccessFs::from_read(LANDLOCK);
    let mut ruleset = closed()?;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::ReadDir;
    let written = profile.binds.iter().filter(|bind| bind.access == Access::ReadWrite).map(|bind| bind.to.as_str());
    let rules = [("/", readable), ("/dev", device), ("/dev/shm", all), ("/tmp", all)];
    let rules = rules.into_iter().chain(written.map(|path| (path, all)));
    for (path, access) in rules {
        let there = PathFd::new(path).map_err(step(path))?;
        ruleset = ruleset.add_rule(PathBeneath::new(there, access)).map_err(step("Landlock"))?;
    }
    enforce(ruleset)
}

pub fn enforce(ruleset: RulesetCreated) -> Step<()> {
    let status = ruleset.restrict_self().map_err(step("Landlock"))?;
    if status.ruleset != RulesetStatus::FullyEnforced || !status.no_new_privs {
        return Err("Landlock holds in part only".into());
    }
    Ok(())
}
