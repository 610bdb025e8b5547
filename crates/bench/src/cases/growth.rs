//! What a turn costs at the end of a long session, beside one whose window is just full: the
//! window is the same, so only the history has grown.
use std::time::Instant;

use crate::Outcome;
use crate::client::{Connection, Kind, Server};
use crate::homes::Homes;
use crate::process::Process;
use crate::report::{Report, Row, Target, middle, ms};

/// Messages, replies included, after which the window is full.
const SHORT: usize = 60;
/// Turns of one measure.
const TURNS: usize = 200;

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    let home = homes.fresh("growth")?;
    let process = home.serve()?;
    let server = home.server(&process, "short");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pairs = runtime.block_on(measure(&server, &process, homes.scale.history, homes.scale.rounds))?;
    for (what, value) in VALUES {
        let ratios = pairs.iter().map(|(long, short)| value(long) / value(short)).collect();
        let what = format!("a turn after {} messages to after {SHORT}: {what}", homes.scale.history);
        report.row(Row::new(what, "×", middle(ratios).unwrap_or_default()).target(Target::AtMost(1.1)));
    }
    process.stop()
}

type Value = fn(&Turns) -> f64;
const VALUES: [(&str, Value); 3] =
    [("time", |turns| turns.time_ms), ("CPU", |turns| turns.cpu_ms), ("device bytes", |turns| turns.bytes)];

/// What [`TURNS`] turns took.
struct Turns {
    time_ms: f64,
    cpu_ms: f64,
    bytes: f64,
}

async fn measure(server: &Server, process: &Process, history: usize, rounds: usize) -> Outcome<Vec<(Turns, Turns)>> {
    let mut long = Connection::open(server.clone()).await?;
    grow(&mut long, history).await?;
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let mut short = Connection::open(server.clone()).await?;
        grow(&mut short, SHORT).await?;
        // In turn, so that the machine's mood falls on both.
        pairs.push((turns(&mut long, process).await?, turns(&mut short, process).await?));
    }
    Ok(pairs)
}

async fn grow(connection: &mut Connection, messages: usize) -> Outcome<()> {
    for _ in 0..messages / 2 {
        connection.turn(Kind::Plain, 0).await?;
    }
    Ok(())
}

async fn turns(connection: &mut Connection, process: &Process) -> Outcome<Turns> {
    let (cpu, bytes, began) = (process.cpu()?, process.device_bytes()?, Instant::now());
    grow(connection, 2 * TURNS).await?;
    let written = u32::try_from(process.device_bytes()? - bytes)?;
    Ok(Turns { time_ms: ms(began.elapsed()), cpu_ms: ms(process.cpu()? - cpu), bytes: f64::from(written) })
}
