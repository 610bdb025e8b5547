//! A durable turn over HTTP, on the used home: 2, 3 and 4 commits, from 1, 16 and 64 connections,
//! in turn with the floor. Commits are counted and asserted, bytes are bounded.
use crate::Outcome;
use crate::client::{Kind, Load, Loaded, Server};
use crate::homes::{Home, Homes, counters, payload};
use crate::process::Process;
use crate::report::{Expected, Report, Row, Target, ms, quantile};

/// Connections, and the turns of each of them in one run.
const LOADS: [(usize, usize); 3] = [(1, 300), (16, 60), (64, 30)];
/// Bytes of entries and bodies that one turn may write: 4.8 KB today, and room for a longer name.
const PAYLOAD_BYTES_MAX: u64 = 5 * 1024;
/// Connections, and the bytes that one append of a turn may cost the disk. Alone: a third of what is
/// promised for a turn of three. Of 64: what is found on a quiet machine, 21 KiB, and a little more;
/// the promise, 16 KiB, stands as a target, since how many appends share a commit hangs on the cores.
const DEVICE_BYTES_MAX: [(usize, u64); 2] = [(1, 110 * 1024 / 3), (64, 23 * 1024)];
/// A conversation's length.
pub const TURNS_PER_SESSION: usize = 20;

pub fn run(homes: &Homes, report: &mut Report) -> Outcome<()> {
    let home = homes.used()?.copy("turns")?;
    let before = payload(&home.path, (0, 0))?.1;
    let bench =
        Bench { product: home.serve()?, floor: Process::start(&mut homes.floor()?)?, rounds: homes.scale.rounds, home };
    let mut turns = 0;
    for kind in Kind::ALL {
        for (connections, each) in LOADS {
            turns += bench.measure(kind, connections, each, report)?;
        }
    }
    let Bench { product, home, .. } = bench;
    product.stop()?;
    let bytes = payload(&home.path, before)?.0 / turns;
    report.row(Row::new("payload of a turn, mean", "B", exact(bytes)?).target(Target::AtMost(8192.0)));
    report.count("payload of a turn, mean, bytes", bytes, Expected::AtMost(PAYLOAD_BYTES_MAX));
    Ok(())
}

struct Bench {
    product: Process,
    floor: Process,
    home: Home,
    rounds: usize,
}

type Figure = fn(&Run) -> f64;

/// One run of one side.
struct Run {
    loaded: Loaded,
    cpu_ms: f64,
    device_bytes: u64,
}

impl Bench {
    /// Returns how many turns the product made.
    fn measure(&self, kind: Kind, connections: usize, turns: usize, report: &mut Report) -> Outcome<u64> {
        let load = Load { kind, workers: connections, turns, turns_per_session: TURNS_PER_SESSION };
        let product = self.home.server(&self.product, "main");
        let floor = Server::Floor { address: self.floor.address };
        load.run(&product)?;
        let before = counters(&product)?;
        let pairs = (0..self.rounds)
            .map(|_| Ok((one(load, &self.floor, &floor)?, one(load, &self.product, &product)?)))
            .map(|pair: Outcome<(Run, Run)>| pair.map(|(floor, product)| (product, floor)))
            .collect::<Outcome<Vec<_>>>()?;
        let after = counters(&product)?;
        let name = format!("{} turn, c={connections}", kind.word());
        self.tell(&name, kind, connections, &pairs, report)?;
        let made = u64::try_from(turns * connections * self.rounds)?;
        let appends = after.entries - before.entries;
        let (least, most) = (made * u64::from(kind.commits()), kind.commits_most(made));
        let expected = if least == most { Expected::Exactly(least) } else { Expected::AtMost(most) };
        report.count(format!("{name}: appends"), appends, expected);
        let commits = if connections == 1 { Expected::Exactly(appends) } else { Expected::AtMost(appends) };
        report.count(format!("{name}: commits"), after.commits - before.commits, commits);
        if let Some((_, most)) = DEVICE_BYTES_MAX.iter().find(|(of, _)| *of == connections) {
            let bytes: u64 = pairs.iter().map(|(product, _)| product.device_bytes).sum();
            report.count(
                format!("{name}: device bytes"),
                bytes / made,
                Expected::AtMost(most * u64::from(kind.commits())),
            );
        }
        Ok(made + u64::try_from(turns * connections)?)
    }

    fn tell(
        &self,
        name: &str,
        kind: Kind,
        connections: usize,
        pairs: &[(Run, Run)],
        report: &mut Report,
    ) -> Outcome<()> {
        let rows: [(&str, &str, Figure); 6] = [
            ("first token p50", "ms", |run| quantile(run.first_tokens(), 50).unwrap_or_default()),
            ("p50", "ms", |run| quantile(run.wholes(), 50).unwrap_or_default()),
            ("p99", "ms", |run| quantile(run.wholes(), 99).unwrap_or_default()),
            ("turns/s", "", Run::rate),
            ("CPU of a turn", "ms", |run| run.cpu_ms / run.turns()),
            ("device bytes", "KiB", Run::device_kib),
        ];
        for (what, unit, value) in rows {
            let values: Vec<(f64, f64)> = pairs.iter().map(|(product, floor)| (value(product), value(floor))).collect();
            let row = Row::pairs(format!("{name}: {what}"), unit, &values);
            report.row(match target(kind, connections, what) {
                Some(target) => row.target(target),
                None => row,
            });
        }
        Ok(())
    }
}

fn target(kind: Kind, connections: usize, what: &str) -> Option<Target> {
    match (kind, connections, what) {
        (Kind::Plain, 1, "first token p50") => Some(Target::AtMost(0.30)),
        (_, 1, "p50") => Some(Target::RatioAtMost(1.15)),
        (Kind::Reading, 64, "turns/s") => Some(Target::AtLeast(6_300.0)),
        (Kind::Reading, 64, "CPU of a turn") => Some(Target::AtMost(0.16)),
        (Kind::Reading, 1, "device bytes") => Some(Target::AtMost(110.0)),
        (Kind::Reading, 64, "device bytes") => Some(Target::AtMost(48.0)),
        _ => None,
    }
}

fn one(load: Load, process: &Process, server: &Server) -> Outcome<Run> {
    let (cpu, bytes) = (process.cpu()?, process.device_bytes()?);
    let loaded = load.run(server)?;
    let cpu_ms = ms(process.cpu()? - cpu);
    Ok(Run { loaded, cpu_ms, device_bytes: process.device_bytes()? - bytes })
}

impl Run {
    fn turns(&self) -> f64 {
        f64::from(u32::try_from(self.loaded.timings.len()).unwrap_or(u32::MAX))
    }

    fn first_tokens(&self) -> Vec<f64> {
        self.loaded.timings.iter().map(|timing| ms(timing.first_token)).collect()
    }

    fn wholes(&self) -> Vec<f64> {
        self.loaded.timings.iter().map(|timing| ms(timing.whole)).collect()
    }

    fn rate(&self) -> f64 {
        self.turns() / self.loaded.took.as_secs_f64()
    }

    fn device_kib(&self) -> f64 {
        exact(self.device_bytes).unwrap_or_default() / 1024.0 / self.turns()
    }
}

fn exact(value: u64) -> Outcome<f64> {
    Ok(f64::from(u32::try_from(value)?))
}
