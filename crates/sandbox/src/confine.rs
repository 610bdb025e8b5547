//! What the command has no more of: numbers without end, capabilities, files beyond its own.
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
};

use crate::helper::{Step, step};
use crate::limits::{FILE_BYTES_MAX, FILES_MAX, NICE, PROCESSES_MAX};
use crate::profile::{Access, Profile};

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

pub fn no_capabilities() -> Result<(), Errno> {
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
    )?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)
}

/// A second wall behind the new root, with the same openings.
pub fn landlock(profile: &Profile) -> Step<()> {
    let all = AccessFs::from_all(LANDLOCK);
    let readable = AccessFs::from_read(LANDLOCK);
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(all)
        .and_then(|ruleset| ruleset.scope(Scope::from_all(LANDLOCK)))
        .and_then(Ruleset::create)
        .map_err(step("Landlock of ABI 6 (Linux 6.12)"))?;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::ReadDir;
    let written = profile.binds.iter().filter(|bind| bind.access == Access::ReadWrite).map(|bind| bind.to.as_str());
    let rules = [("/", readable), ("/dev", device), ("/dev/shm", all), ("/tmp", all)];
    let rules = rules.into_iter().chain(written.map(|path| (path, all)));
    for (path, access) in rules {
        let there = PathFd::new(path).map_err(step(path))?;
        ruleset = ruleset.add_rule(PathBeneath::new(there, access)).map_err(step("Landlock"))?;
    }
    let status = ruleset.restrict_self().map_err(step("Landlock"))?;
    if status.ruleset != RulesetStatus::FullyEnforced || !status.no_new_privs {
        return Err("Landlock holds in part only".to_owned());
    }
    Ok(())
}
