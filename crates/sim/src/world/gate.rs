//! Where effects wait until they are let happen, one at a time, and how to tell that nothing else moves.
//!
//! Every model call and every act of a tool stops here on its way out. So the order of what
//! happens outside is chosen by the run (a script, or a seed) and not by the scheduler of threads.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

/// Blocking threads of a run: one is kept busy, see [`Gate::keep_time_still`]; tools that wait
/// here hold one each; some must be left over for reads.
pub const THREADS: usize = 8;

/// What the engine asks of the world between two rests, many times over.
const MOVES_MAX: u64 = 20_000;

#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    /// Counts whatever the engine asks of the world.
    moves: AtomicU64,
    moves_at_rest: AtomicU64,
    spins: Notify,
}

#[derive(Default)]
struct State {
    next: u64,
    held: Vec<Held>,
    /// The process is gone: nothing passes, nobody waits.
    closed: bool,
    /// Tools that wait in a thread and have not been let pass.
    blocked: usize,
    /// Counts the meetings of [`Gate::threads_rest`]; one that was given up is over with the next.
    meeting: u64,
    arrived: usize,
    met: bool,
}

struct Held {
    id: u64,
    name: String,
    /// A tool's thread looks at it; a model call is sent it.
    passes: bool,
    tell: Option<oneshot::Sender<()>>,
}

/// A place in the line, given up when dropped.
pub struct Place {
    gate: Arc<Gate>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.state().held.retain(|held| held.id != self.id);
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn moved(&self) {
        let moves = self.moves.fetch_add(1, Ordering::SeqCst);
        if moves > self.moves_at_rest.load(Ordering::SeqCst) + MOVES_MAX {
            self.spins.notify_one();
        }
    }

    pub fn rested(&self) {
        self.moves_at_rest.store(self.moves(), Ordering::SeqCst);
    }

    /// Until the engine has moved for so long without a rest that it turns in a circle.
    pub async fn spins(&self) {
        self.spins.notified().await;
    }

    #[must_use]
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::SeqCst)
    }

    /// A model call waits; the receiver fails where the process is gone.
    pub fn enter(self: &Arc<Self>, name: &str) -> (Place, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        let id = self.state().join(name, Some(tell));
        (Place { gate: Arc::clone(self), id }, told)
    }

    /// A tool waits in its thread; false where the process is gone.
    pub fn pass(&self, name: &str) -> bool {
        let mut state = self.state();
        let id = state.join(name, None);
        state.blocked += 1;
        self.changed.notify_all();
        let mut state = self.wait_until(state, |state| state.closed || state.passes(id));
        state.held.retain(|held| held.id != id);
        !state.closed
    }

    /// Names of what waits, in the order of its coming.
    #[must_use]
    pub fn held(&self) -> Vec<String> {
        self.state().held.iter().filter(|held| !held.passes).map(|held| held.name.clone()).collect()
    }

    /// Lets the `number`-th of what waits happen.
    pub fn release(&self, number: usize) {
        self.moved();
        let mut state = self.state();
        let Some(held) = state.held.iter_mut().filter(|held| !held.passes).nth(number) else { return };
        held.passes = true;
        match held.tell.take() {
            Some(tell) => drop(tell.send(())),
            // From here on its thread works.
            None => state.blocked -= 1,
        }
        self.changed.notify_all();
    }

    /// The process is gone.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.held.iter_mut().for_each(|held| held.tell = None);
        self.changed.notify_all();
    }

    /// Holds a blocking thread until the gate is closed: while one is busy, tokio's paused clock
    /// does not advance by itself, which it otherwise would while the journal's own thread commits.
    pub fn keep_time_still(self: &Arc<Self>) {
        let gate = Arc::clone(self);
        tokio::task::spawn_blocking(move || drop(gate.wait_until(gate.state(), |state| state.closed)));
    }

    /// Waits until no blocking work is under way but what is held here: every thread that is left
    /// over comes to one place at the same time.
    pub async fn threads_rest(self: &Arc<Self>) {
        let (meeting, free) = {
            let mut state = self.state();
            (state.arrived, state.met) = (0, false);
            state.meeting += 1;
            self.changed.notify_all();
            (state.meeting, THREADS - 1 - state.blocked)
        };
        let meet = |_| {
            let gate = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                let mut state = gate.state();
                if state.meeting != meeting {
                    return;
                }
                state.arrived += 1;
                gate.changed.notify_all();
                let mut state = gate.wait_until(state, |state| {
                    let all_here = state.arrived + state.blocked >= THREADS - 1;
                    state.closed || state.meeting != meeting || state.met || all_here
                });
                state.met |= state.meeting == meeting;
                gate.changed.notify_all();
            })
        };
        let all: Vec<_> = (0..free).map(meet).collect();
        for one in all {
            let _ = one.await;
        }
    }

    fn wait_until<'a>(&self, mut state: MutexGuard<'a, State>, is: impl Fn(&State) -> bool) -> MutexGuard<'a, State> {
        while !is(&state) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

impl State {
    fn join(&mut self, name: &str, tell: Option<oneshot::Sender<()>>) -> u64 {
        let tell = tell.filter(|_| !self.closed);
        self.next += 1;
        self.held.push(Held { id: self.next, name: name.to_owned(), passes: false, tell });
        self.next
    }

    fn passes(&self, id: u64) -> bool {
        self.held.iter().any(|held| held.id == id && held.passes)
    }
}
