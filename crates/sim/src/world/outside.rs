//! What really happened, in a log that no process can rewrite: it outlives every cut, and the
//! journal is held against it.
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use backstay_kernel::id::{Digest, EffectId, Millis, Seq, SessionId};

use crate::dice::Dice;

/// When every run begins: 2026-11-21 00:00 UTC.
const BEGIN: Millis = 1_795_219_200_000;

/// Where in an effect the process dies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    Before,
    /// A model has begun to speak.
    Amid,
    After,
}

impl Side {
    pub const ALL: [Self; 3] = [Self::Before, Self::Amid, Self::After];
}

/// The process dies at effect number `effect`, counted from 1 in the order in which they happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EffectCut {
    pub effect: u64,
    pub side: Side,
}

/// How a provider misbehaves once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// 429; whether it says when to come back.
    Busy {
        told: bool,
    },
    /// 500
    Fault,
    /// The stream ends in the middle.
    CutStream,
    /// Nothing comes, until the client gives up.
    Hang,
    Answers,
}

/// One start of one effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Start {
    /// Counts the histories: a restored home begins another one.
    pub era: u32,
    pub session: SessionId,
    pub effect: EffectId,
    pub started: Seq,
}

#[derive(Clone, Debug)]
pub struct Act {
    pub start: Start,
    pub tool: String,
    pub arguments: String,
    pub key: Digest,
}

#[derive(Clone, Debug)]
pub struct Send {
    pub start: Start,
    pub wire: Vec<u8>,
    /// The provider will ask money for it.
    pub billed: bool,
}

#[derive(Default)]
pub struct Log {
    pub era: u32,
    /// Calls, other than pure ones, that the engine has handed to an adapter.
    pub handed_out: Vec<Start>,
    pub acts: Vec<Act>,
    pub sends: Vec<Send>,
    /// What acts that can be probed have left.
    pub traces: BTreeSet<String>,
    pub moods: VecDeque<Mood>,
    pub cuts: VecDeque<EffectCut>,
    /// Effects so far.
    pub effects: u64,
    pub cut_hits: u64,
    /// What must never be: found while it happened.
    pub wrongs: Vec<String>,
}

pub struct Outside {
    now: AtomicU64,
    log: Mutex<Log>,
    dice: Mutex<Dice>,
}

impl Outside {
    #[must_use]
    pub fn new(seed: u64, moods: Vec<Mood>, mut cuts: Vec<EffectCut>) -> Self {
        cuts.sort_unstable();
        let log = Log { moods: moods.into(), cuts: cuts.into(), ..Log::default() };
        Self { now: AtomicU64::new(BEGIN), log: Mutex::new(log), dice: Mutex::new(Dice::new(seed)) }
    }

    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Millis {
        self.now.load(Ordering::SeqCst)
    }

    /// The wall clock goes on, or is set.
    pub fn set_now(&self, now: Millis) {
        self.now.store(now, Ordering::SeqCst);
    }

    pub fn random(&self) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }
}

impl Log {
    /// The next effect is about to happen: where in it the process dies, if it does.
    pub fn next_effect(&mut self) -> Option<Side> {
        self.effects += 1;
        let cut = *self.cuts.front().filter(|cut| cut.effect <= self.effects)?;
        self.cuts.pop_front();
        self.cut_hits += 1;
        Some(cut.side)
    }

    #[must_use]
    pub fn has_acted(&self, session: SessionId, effect: EffectId) -> bool {
        self.acts.iter().any(|act| act.start.session == session && act.start.effect == effect)
    }
}
