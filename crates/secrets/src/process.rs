//! What the system would show of this process's memory to others: nothing.
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core dump is written of this process or of what it starts, and no other process of the same user
/// may read its memory, its environment or its open files. A process that is traced from its birth
/// shows its tracer everything already: there only dumps are off, so that the trace stays whole.
///
/// # Errors
/// The system refuses; then nothing secret may be loaded.
pub fn keep_memory_private() -> std::io::Result<()> {
    // One byte, and not none: a core that is piped to a program is none of that size alone.
    setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })?;
    if is_traced() {
        return Ok(());
    }
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

fn is_traced() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter_map(|line| line.strip_prefix("TracerPid:")).any(|pid| pid.trim() != "0")
}
