//! Flushes, counted from outside with strace: of the journal's log one for each commit, one more for each
//! checkpoint, and one for the header of the log that begins anew, where no reader is in its way.
use std::path::Path;
use std::process::Command;

use super::turns::TURNS_PER_SESSION;
use crate::Outcome;
use crate::client::{Kind, Load};
use crate::homes::Homes;
use crate::process::Process;
use crate::report::{Expected, Report, Row};

/// Turns of the two runs.
const FEW: usize = 20;
const MANY: usize = 120;

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    for kind in Kind::ALL {
        let ((log_few, file_few), (log_many, file_many)) = (flushes(homes, kind, FEW)?, flushes(homes, kind, MANY)?);
        let turns = u64::try_from(MANY - FEW)?;
        let (log, checkpoints) = (log_many - log_few, file_many - file_few);
        let what = format!("{} turn: flushes of the log but for checkpoints", kind.word());
        let commits = turns * u64::from(kind.commits());
        report.count(what, log.saturating_sub(2 * checkpoints), Expected::AtMost(kind.commits_most(turns)));
        let without = commits.saturating_sub(log.saturating_sub(checkpoints));
        report.count(format!("{} turn: commits without a flush", kind.word()), without, Expected::Exactly(0));
        report.row(Row::new(
            format!("{} turn: checkpoints in {turns}", kind.word()),
            "",
            f64::from(u32::try_from(checkpoints)?),
        ));
    }
    Ok(())
}

/// Flushes of the log and of the file, from the start of the process to its end.
fn flushes(homes: &Homes, kind: Kind, turns: usize) -> Outcome<(u64, u64)> {
    let home = homes.fresh("flushes")?;
    let trace = home.path.with_extension("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o"]).arg(&trace);
    let served = home.command();
    command.arg(served.get_program()).args(served.get_args()).arg("serve");
    let process = Process::start(&mut command)?;
    let load = Load { kind, workers: 1, turns, turns_per_session: TURNS_PER_SESSION };
    let loaded = load.run(&home.server(&process, "main"));
    process.stop()?;
    loaded?;
    count_flushes(&trace)
}

fn count_flushes(trace: &Path) -> Outcome<(u64, u64)> {
    let text = std::fs::read_to_string(trace)?;
    // A call that another thread cut in two is counted by its first line.
    let calls = || text.lines().filter(|line| line.contains("sync(") && !line.contains("resumed>"));
    let of = |name: &str| calls().filter(|line| line.contains(name)).count();
    Ok((u64::try_from(of("state.db-wal>"))?, u64::try_from(of("state.db>"))?))
}
