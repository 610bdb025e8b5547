//! Memory as the kernel shares it out (PSS): idle, under load, idle again, and what sessions cost
//! that nobody talks to.
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::{Kind, Load, Server};
use crate::homes::{Homes, counters};
use crate::process::Process;
use crate::report::{Report, Row, Target};

/// Turns between two looks.
const TURNS: usize = 10_000;
const CONNECTIONS: usize = 50;
/// A session leaves memory some ten seconds after its last turn.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Memory is given back some five seconds after sessions have left it.
const GIVE_BACK_TIME: Duration = Duration::from_secs(6);

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    let home = homes.fresh("memory")?;
    let process = home.serve()?;
    let floor = Process::start(&mut homes.floor()?)?;
    let idle = process.pss_kib()?;
    let row = Row::new("idle, PSS", "KiB", exact(idle)?).floor(exact(floor.pss_kib()?)?);
    report.row(row.target(Target::AtMost(4.5 * 1024.0)));
    let server = home.server(&process, "main");
    for round in 1..=2 {
        let load =
            Load { kind: Kind::Reading, workers: CONNECTIONS, turns: TURNS / CONNECTIONS, turns_per_session: 20 };
        load.run(&server)?;
        let (live, loaded) = (counters(&server)?.live, process.pss_kib()?);
        report.row(Row::new(
            format!("after {} turns, {live} sessions live, PSS", round * TURNS),
            "KiB",
            exact(loaded)?,
        ));
        wait_until_idle(&server)?;
        let row =
            Row::new(format!("after {} turns, idle again, PSS", round * TURNS), "KiB", exact(process.pss_kib()?)?);
        report.row(row.target(Target::AtMost(12.0 * 1024.0)));
    }
    process.stop()?;
    idle_sessions(homes, idle, report)
}

/// The used home against the empty one, as they lie there after a start.
fn idle_sessions(homes: &Homes, empty: u64, report: &mut Report) -> Outcome<()> {
    let process = homes.used()?.serve()?;
    let more = exact(process.pss_kib()?.saturating_sub(empty))?;
    let sessions = exact(u64::try_from(homes.scale.sessions)?)?;
    report.row(Row::new("memory of an idle session", "KiB", more / sessions).target(Target::AtMost(0.25)));
    process.stop()
}

fn wait_until_idle(server: &Server) -> Outcome<()> {
    let until = Instant::now() + LEAVE_TIME_MAX;
    while counters(server)?.live > 0 {
        if Instant::now() > until {
            return Err("sessions without work stay in memory".into());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    std::thread::sleep(GIVE_BACK_TIME);
    Ok(())
}

fn exact(value: u64) -> Outcome<f64> {
    Ok(f64::from(u32::try_from(value)?))
}
