//! What is measured, and how large.
mod flushes;
mod growth;
mod guard;
mod kernel;
mod memory;
mod resume;
mod size;
mod start;
mod turns;
mod verify;

use crate::Outcome;
use crate::homes::Homes;
use crate::report::Report;

pub struct Case {
    pub name: &'static str,
    pub run: fn(&Homes, &mut Report) -> Outcome<()>,
}

pub const CASES: &[Case] = &[
    Case { name: "size", run: size::run },
    Case { name: "start", run: start::run },
    Case { name: "resume", run: resume::run },
    Case { name: "turns", run: turns::run },
    Case { name: "flushes", run: flushes::run },
    Case { name: "growth", run: growth::run },
    Case { name: "memory", run: memory::run },
    Case { name: "verify", run: verify::run },
    Case { name: "kernel", run: kernel::run },
    Case { name: "guard", run: guard::run },
];

/// The used home's size, and how long cases run.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub sessions: usize,
    pub turns_per_session: usize,
    /// Messages of the longest session.
    pub history: usize,
    /// Starts of each kind.
    pub starts: usize,
    /// Pairs of runs, product and floor.
    pub rounds: usize,
}

impl Scale {
    pub const USUAL: Self = Self { sessions: 1_000, turns_per_session: 8, history: 1_000, starts: 11, rounds: 3 };
    /// The size that the promises name: 10,000 sessions, a million records, 10,000 messages.
    pub const FULL: Self = Self { sessions: 10_000, turns_per_session: 8, history: 10_000, starts: 21, rounds: 5 };
}
