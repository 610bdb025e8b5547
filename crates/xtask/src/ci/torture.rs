//! The full counts, for a release and for a quiet night: what `ci` takes samples of.
use std::path::Path;

use super::{BACKSTAY, KILLS, Step, all, program};

/// The limits are for a loaded machine.
const STEPS: &[Step] = &[
    program("build", 20, &["cargo", "build", "--locked", "--workspace", "--bins"]),
    program("explorer", 30, &["target/debug/explore"]),
    program("deep", 90, &["target/debug/explore", "deep"]),
    program("kills", 60, &[KILLS, BACKSTAY, "cuts", "signal=SIGKILL"]),
    program("bad disk", 60, &[KILLS, BACKSTAY, "cuts", "error=ENOSPC,error=EIO"]),
    program("load", 60, &[KILLS, BACKSTAY, "load", "500"]),
    program("simulate", 120, &["target/debug/simulate", "5000"]),
    // CI runs 300 mutations; these are as many as its tests read.
    program("attacks", 240, &["target/debug/attacks", BACKSTAY, "--mutations", "5000"]),
    program("odd ones", 30, &[KILLS, BACKSTAY, "odd", "300"]),
];

pub fn torture(root: &Path) -> Result<(), String> {
    all(root, STEPS.iter())
}
