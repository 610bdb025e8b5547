//! Cold start: from exec to an accepted connection, on an empty and on a used home, after a clean
//! end and after a kill with a hundred turns unfinished.
use crate::Outcome;
use crate::homes::{Home, Homes};
use crate::process::Process;
use crate::report::{Report, Row, Target, middle, ms};
use crate::upstream::Upstream;

/// Turns that are unfinished when the process is killed.
pub const UNFINISHED: usize = 100;

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    let (empty, used) = (homes.fresh("empty")?, homes.used()?);
    let mut floor = homes.floor()?;
    let (mut on_empty, mut on_used) = (Vec::new(), Vec::new());
    for _ in 0..homes.scale.starts {
        let bare = started(Process::start(&mut floor)?, Process::kill)?;
        on_empty.push((started(empty.serve()?, Process::stop)?, bare));
        on_used.push((started(used.serve()?, Process::stop)?, bare));
    }
    let after_kill = after_kill(&used, homes.scale.starts)?;
    report.row(Row::pairs("start on an empty home", "ms", &on_empty).target(Target::AtMost(6.0)));
    report.row(Row::pairs("start on a used home", "ms", &on_used).target(Target::AtMost(6.0)));
    let floor = middle(on_used.iter().map(|(_, floor)| *floor).collect()).unwrap_or_default();
    let row = Row::new("start on a used home, killed with 100 turns", "ms", after_kill);
    report.row(row.floor(floor).target(Target::AtMost(6.0)));
    let growth: Vec<f64> = on_used.iter().zip(&on_empty).map(|((used, _), (empty, _))| used / empty).collect();
    let growth = middle(growth).unwrap_or_default();
    report.row(Row::new("start, used to empty", "×", growth).target(Target::AtMost(1.2)));
    Ok(())
}

fn started(process: Process, end: fn(Process) -> Outcome<()>) -> Outcome<f64> {
    let time = ms(process.ready);
    end(process)?;
    Ok(time)
}

/// Every start finds the hundred turns again: their model never answers, and the kill comes when
/// all of them have asked it.
fn after_kill(used: &Home, starts: usize) -> Outcome<f64> {
    let upstream = Upstream::start()?;
    let home = used.copy("killed")?;
    home.configure(Some(upstream.address))?;
    let process = home.serve()?;
    super::resume::leave_open(&home, &process, &upstream, UNFINISHED)?;
    process.kill()?;
    let mut times = Vec::new();
    for _ in 0..starts {
        let process = home.serve()?;
        times.push(ms(process.ready));
        upstream.take(UNFINISHED)?;
        process.kill()?;
    }
    Ok(middle(times).unwrap_or_default())
}
