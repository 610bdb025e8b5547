//! A disk that fails on purpose, beneath the real SQLite: it dies at a chosen flush, fills up,
//! answers with errors, stalls, loses its last acknowledgement, or loses power and with it what
//! was written and not flushed.
//!
//! The files are real files. Nothing is ever flushed for real: what a flush means is modelled here,
//! so that a loss of power can be played out.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "development only: a harness that is wrong stops")]
mod loss;
mod vfs;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::life::Switch;
use loss::Image;

/// A place in the work of the disk: `Before` the first write that flush number `flush` covers,
/// in the middle of those writes (`Torn`), with all of them `Written` and not flushed, or `After`
/// the flush and before anybody hears of it. Flushes are counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment {
    pub flush: u64,
    pub phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    Before,
    Torn,
    Written,
    After,
}

impl Phase {
    pub const ALL: [Self; 4] = [Self::Before, Self::Torn, Self::Written, Self::After];
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The process dies; what it wrote is in the page cache and stays.
    Kill,
    /// The machine dies: unflushed writes are dropped, torn or kept, as `seed` says.
    PowerLoss { seed: u64 },
    /// So many writes find no room.
    Full { writes: u32 },
    /// So many writes or flushes fail.
    Broken { writes: u32 },
    /// The flush does what it should and reports an error.
    LostAnswer,
    /// The flush takes until [`Disk::unstall`].
    Stall,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub at: Moment,
    pub trouble: Trouble,
}

/// What the shim answers SQLite instead of doing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    Io,
    Full,
}

/// Writes after which the middle of a commit is reached: a frame of the log is two.
const TORN_AFTER_WRITES: u64 = 3;

/// The journal's own thread.
const WRITER: &str = "store-writer";

/// Every file of some directories.
pub struct Disk {
    state: Mutex<State>,
    changed: Condvar,
    stalls: Notify,
}

#[derive(Default)]
struct State {
    /// Told when the disk dies with its process.
    life: Option<Arc<Switch>>,
    faults: VecDeque<Fault>,
    flushes: u64,
    writes_since_flush: u64,
    failing: Option<(Failure, u32)>,
    dead: bool,
    stalled: bool,
    may_stall: bool,
    /// A death from outside is one of the whole machine.
    power_seed: Option<u64>,
    /// Seed of the loss of power that killed it.
    lost_power: Option<u64>,
    /// What is flushed and what is not, by file.
    images: BTreeMap<PathBuf, Image>,
    /// Faults that came about.
    hits: u64,
}

impl Disk {
    /// The disk beneath `directories`; `faults` in any order.
    #[must_use]
    pub fn new(directories: &[&Path], mut faults: Vec<Fault>) -> Arc<Self> {
        faults.sort_by_key(|fault| fault.at);
        let state = State { faults: faults.into(), ..State::default() };
        let disk = Self { state: Mutex::new(state), changed: Condvar::new(), stalls: Notify::new() };
        let disk = Arc::new(disk);
        directories.iter().for_each(|directory| vfs::mount(directory, &disk));
        disk
    }

    /// A new process uses it, after the old one is gone with all its handles.
    pub fn begin(&self, life: Arc<Switch>) {
        let mut state = self.state();
        if let Some(seed) = state.lost_power.take() {
            loss::play_out(&mut state.images, seed);
        }
        state.dead = false;
        state.failing = None;
        state.life = Some(life);
        state.writes_since_flush = 0;
    }

    /// The process is killed from outside.
    pub fn kill(&self) {
        let mut state = self.state();
        if let Some(seed) = state.power_seed {
            state.lost_power = Some(seed);
        }
        state.die();
        drop(state);
        self.changed.notify_all();
    }

    /// From now on the machine dies with its process.
    pub fn die_with_power(&self, seed: u64) {
        self.state().power_seed = Some(seed);
    }

    pub fn flushes(&self) -> u64 {
        self.state().flushes
    }

    pub fn hits(&self) -> u64 {
        self.state().hits
    }

    /// Nothing more goes wrong from now on.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.failing = None;
        drop(state);
        self.unstall();
    }

    pub fn is_stalled(&self) -> bool {
        self.state().stalled
    }

    /// Until a flush is stalled.
    pub async fn stall_began(&self) {
        while !self.is_stalled() {
            self.stalls.notified().await;
        }
    }

    /// Whether somebody is there to see a stalled flush, and to end it.
    pub fn watch(&self, watched: bool) {
        self.state().may_stall = watched;
        if !watched {
            self.unstall();
        }
    }

    pub fn unstall(&self) {
        self.state().stalled = false;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_dead(&self) -> bool {
        self.state().dead
    }

    fn opened(&self, path: &Path) {
        self.state().images.entry(path.to_owned()).or_insert_with(|| Image::of(path));
    }

    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut state = self.state();
        let middle = state.writes_since_flush >= TORN_AFTER_WRITES;
        state.writes_since_flush += 1;
        state.meet(if middle { Phase::Torn } else { Phase::Before })?;
        state.image(path).write(offset, bytes);
        Ok(())
    }

    fn truncate(&self, path: &Path, length: u64) -> Result<(), Failure> {
        let mut state = self.state();
        state.meet(Phase::Before)?;
        state.image(path).truncate(length);
        Ok(())
    }

    fn flush(&self, path: &Path) -> Result<(), Failure> {
        let mut state = self.state();
        state.meet(Phase::Written)?;
        // Whoever opens, restores or closes a home waits for it in the thread that would let it go on.
        state.stalled &= state.may_stall && std::thread::current().name() == Some(WRITER);
        if state.stalled {
            self.stalls.notify_one();
        }
        while state.stalled && !state.dead {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.dead {
            return Err(Failure::Io);
        }
        state.image(path).flush();
        state.flushes += 1;
        state.writes_since_flush = 0;
        state.meet(Phase::After)
    }

    fn delete(&self, path: &Path) -> Result<(), Failure> {
        let mut state = self.state();
        state.meet(Phase::Before)?;
        state.image(path).delete();
        Ok(())
    }
}

impl State {
    fn image(&mut self, path: &Path) -> &mut Image {
        self.images.entry(path.to_owned()).or_insert_with(|| Image::of(path))
    }

    fn die(&mut self) {
        self.dead = true;
        if let Some(life) = &self.life {
            life.kill();
        }
    }

    /// Lets every fault come about whose moment this is or was, and says how the operation fares.
    fn meet(&mut self, phase: Phase) -> Result<(), Failure> {
        if self.dead {
            return Err(Failure::Io);
        }
        let flush = if phase == Phase::After { self.flushes } else { self.flushes + 1 };
        let now = Moment { flush, phase };
        while let Some(fault) = self.faults.front().filter(|fault| fault.at <= now).copied() {
            self.faults.pop_front();
            self.hits += 1;
            match fault.trouble {
                Trouble::Kill => self.die(),
                Trouble::PowerLoss { seed } => {
                    self.lost_power = Some(seed);
                    self.die();
                }
                Trouble::Full { writes } => self.failing = Some((Failure::Full, writes)),
                Trouble::Broken { writes } => self.failing = Some((Failure::Io, writes)),
                Trouble::LostAnswer => self.failing = Some((Failure::Io, 1)),
                Trouble::Stall => self.stalled = true,
            }
        }
        if self.dead {
            return Err(Failure::Io);
        }
        let Some((failure, writes)) = self.failing else { return Ok(()) };
        self.failing = (writes > 1).then(|| (failure, writes - 1));
        Err(failure)
    }
}
