//! The search: every node once, depth first, on as many threads as asked for.
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::moves::Driver;
use super::node::Node;
use super::{Violation, checks};

/// Parts of the set of nodes seen, so that threads seldom wait for each other.
const SHARDS: usize = 256;
/// Nodes that a thread keeps before it offers half of them to the others.
const STACK_SHARED_FROM: usize = 32;

/// Moves after which a path is given up; only a mutant walks for so long.
const PATH_MAX: u32 = 200;

/// What a search found.
#[derive(Debug, Default)]
pub struct Report {
    pub states: u64,
    pub moves: u64,
    /// Moves of the longest path that was walked.
    pub depth: u32,
    pub time: Duration,
    /// The limit of states was reached before the end.
    pub cut: bool,
    pub violation: Option<Violation>,
}

struct Search<'a> {
    driver: &'a Driver,
    states_max: u64,
    seen: Vec<Mutex<HashSet<u64, BuildHasherDefault<AsIs>>>>,
    shared: Mutex<Vec<Node>>,
    idle: AtomicUsize,
    threads: usize,
    over: AtomicBool,
    states: AtomicU64,
    moves: AtomicU64,
    depth: AtomicU32,
    violation: Mutex<Option<Violation>>,
}

/// The keys are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// A panic of another thread is reported by its own join; what it held is still a set.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Searches everything that can be reached, up to `states_max` nodes.
#[must_use]
pub fn explore(driver: &Driver, threads: usize, states_max: u64) -> Report {
    let begun = Instant::now();
    let search = Search {
        driver,
        states_max,
        seen: (0..SHARDS).map(|_| Mutex::default()).collect(),
        shared: Mutex::new(vec![Node::first(&driver.scope)]),
        idle: AtomicUsize::new(0),
        threads,
        over: AtomicBool::new(false),
        states: AtomicU64::new(0),
        moves: AtomicU64::new(0),
        depth: AtomicU32::new(0),
        violation: Mutex::new(None),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| search.work());
        }
    });
    let states = search.states.into_inner();
    Report {
        states,
        moves: search.moves.into_inner(),
        depth: search.depth.into_inner(),
        time: begun.elapsed(),
        cut: states >= states_max,
        violation: search.violation.into_inner().unwrap_or_else(PoisonError::into_inner),
    }
}

impl Search<'_> {
    fn work(&self) {
        let (mut stack, mut moves) = (Vec::new(), Vec::new());
        while let Some(node) = stack.pop().or_else(|| self.take()) {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            self.driver.moves(&node, &mut moves);
            self.moves.fetch_add(moves.len() as u64, Ordering::Relaxed);
            for made in &moves {
                match self.driver.make(&node, *made) {
                    Ok(next) => self.meet(next, &mut stack),
                    Err(violation) => {
                        let mut path = path_of(&node);
                        path.push(format!("{made:?}"));
                        self.report(Violation { path, ..violation });
                    }
                }
            }
            if stack.len() > STACK_SHARED_FROM && self.idle.load(Ordering::Relaxed) > 0 {
                lock(&self.shared).extend(stack.drain(..STACK_SHARED_FROM / 2));
            }
        }
    }

    /// A node that was not seen before is checked, and goes on the stack.
    fn meet(&self, node: Node, stack: &mut Vec<Node>) {
        let hash = node.hash();
        let shard = usize::try_from(hash >> 56).unwrap_or(0);
        let new = self.seen.get(shard).is_some_and(|shard| lock(shard).insert(hash));
        if !new {
            return;
        }
        if let Err(violation) = checks::node(self.driver, &node, hash) {
            self.report(Violation { path: path_of(&node), ..violation });
        }
        self.depth.fetch_max(node.depth, Ordering::Relaxed);
        if self.states.fetch_add(1, Ordering::Relaxed) + 1 >= self.states_max {
            self.over.store(true, Ordering::Relaxed);
        }
        if node.depth < PATH_MAX {
            stack.push(node);
        }
    }

    fn report(&self, violation: Violation) {
        lock(&self.violation).get_or_insert(violation);
        self.over.store(true, Ordering::Relaxed);
    }

    /// Work of another thread; `None` when all are out of work.
    fn take(&self) -> Option<Node> {
        self.idle.fetch_add(1, Ordering::SeqCst);
        loop {
            if let Some(node) = lock(&self.shared).pop() {
                self.idle.fetch_sub(1, Ordering::SeqCst);
                return Some(node);
            }
            if self.idle.load(Ordering::SeqCst) == self.threads || self.over.load(Ordering::Relaxed) {
                return None;
            }
            std::thread::yield_now();
        }
    }
}

fn path_of(node: &Node) -> Vec<String> {
    let mut path = Vec::new();
    let mut next = node.path.as_ref();
    while let Some(step) = next {
        path.push(format!("{:?}", step.made));
        next = step.before.as_ref();
    }
    path.reverse();
    path
}
