//! One run: the real engine on the real journal, from the first message to the end, through as
//! many lives of the process as its cuts make.
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use backstay_engine::*;
use backstay_kernel::id::{EffectId, Seq, SessionId};
use backstay_kernel::record::Resolution;
use tokio::runtime::Builder;

use super::double::Double;
use super::gate::{Gate, THREADS};
use super::house::{self, Change};
use super::outside::{EffectCut, Outside};
use super::rest::{Idle, Rest};
use super::scenario::{Do, Scenario, Step};
use crate::dice::Dice;
use crate::disk::{Disk, Fault};
use crate::life::Switch;

/// Looks at the resting system before a run is given up: several times what the longest needs.
const LOOKS_MAX: u32 = 1_000;
/// Starts of the process, for the same reason.
const LIVES_MAX: u32 = 40;
/// What the simulated disk keeps for itself: nothing that a run would fill.
const OPTIONS: StoreOptions = StoreOptions { ballast_bytes: 4096, free_bytes_min: 0 };
pub(super) const LIMITS: Limits = Limits { messages_per_minute: 100_000 };

/// What goes wrong in a run, and who decides what happens next.
#[derive(Clone, Default, Debug)]
pub struct Plan {
    pub faults: Vec<Fault>,
    pub cuts: Vec<EffectCut>,
    /// At those cuts the machine dies with the process, and this is what becomes of unflushed writes.
    pub power: Option<u64>,
    /// `None`: effects in the order of their coming, people as soon as they can.
    pub dice: Option<u64>,
}

/// A message that the home has taken responsibility for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    pub era: u32,
    pub session: SessionId,
    pub seq: Seq,
    pub text: Option<String>,
}

pub(super) type Answer = Result<Option<Accepted>, EngineError>;

pub struct Play {
    pub scenario: Scenario,
    pub outside: Arc<Outside>,
    pub disk: Arc<Disk>,
    /// The journal of the present life.
    pub store: Option<Store>,
    pub acks: Vec<Ack>,
    /// Conversations, as scenarios number them.
    pub who: Vec<Option<SessionId>>,
    /// Doubts that a person had to resolve.
    pub doubts: u32,
    pub lives: u32,
    pub(super) base: PathBuf,
    pub(super) home: PathBuf,
    pub(super) changes: Vec<Change>,
    pub(super) next: usize,
    /// The next step was begun in this life or an earlier one, and not answered.
    pub(super) begun: bool,
    pub(super) dice: Option<Dice>,
    /// What is asked of the engine and not answered yet.
    pub(super) flight: Option<Arc<Mutex<Option<Answer>>>>,
    /// It is no step but the word on a doubt; the next look sees what is still in doubt.
    pub(super) resolving: bool,
    /// The last answer was "not now".
    pub(super) later: bool,
    pub(super) pauses: u32,
    pub(super) looks: u32,
    pub(super) acks_in_backup: Option<Vec<Ack>>,
    pub(super) restoring: bool,
}

pub(super) enum Next {
    Done,
    NewLife,
}

impl Play {
    /// `base`: a directory of its own, with a home in it that was made once for all runs.
    #[must_use]
    pub fn new(scenario: &Scenario, plan: &Plan, base: &Path) -> Self {
        let home = base.join("home");
        let disk = Disk::new(&[&home, &base.join("backup"), &base.join("restored")], plan.faults.clone());
        if let Some(seed) = plan.power {
            disk.die_with_power(seed);
        }
        let outside = Outside::new(plan.dice.unwrap_or(1), scenario.moods.clone(), plan.cuts.clone());
        Self {
            scenario: scenario.clone(),
            outside: Arc::new(outside),
            disk,
            store: None,
            acks: Vec::new(),
            who: vec![None; 4],
            doubts: 0,
            lives: 0,
            base: base.to_owned(),
            home,
            changes: scenario.changes.clone(),
            next: 0,
            begun: false,
            dice: plan.dice.map(Dice::new),
            flight: None,
            resolving: false,
            later: false,
            pauses: 0,
            looks: 0,
            acks_in_backup: None,
            restoring: false,
        }
    }

    /// To the end; the journal is left open.
    ///
    /// # Errors
    /// What is wrong with how it went.
    pub fn run(&mut self) -> Result<(), String> {
        loop {
            self.lives += 1;
            if self.lives > LIVES_MAX {
                return Err("the process does not stay alive".into());
            }
            match self.live()? {
                Next::Done => return Ok(()),
                Next::NewLife => {}
            }
        }
    }

    fn live(&mut self) -> Result<Next, String> {
        let life = Switch::new();
        self.disk.begin(Arc::clone(&life));
        let (gate, idle) = (Arc::new(Gate::default()), Arc::new(Idle::default()));
        let parks = Arc::clone(&idle);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(THREADS)
            .on_thread_park(move || parks.parks())
            .build()
            .map_err(|error| error.to_string())?;
        let next = runtime.block_on(async {
            gate.keep_time_still();
            let killed = Arc::clone(&life);
            let world = Life { gate: Arc::clone(&gate), idle, life };
            let next = tokio::select! {
                biased;
                () = killed.killed() => Ok(Next::NewLife),
                next = self.go(&world) => next,
            };
            // What was on its way to a person arrives; the dead disk and the dead world let nothing else out.
            tokio::select! {
                () = world.idle.parked() => {}
                () = world.gate.spins() => {}
            }
            next
        });
        self.disk.watch(false);
        gate.close();
        drop(runtime);
        // What was answered before the end was answered.
        if let Some(answer) = self.take_answer() {
            self.landed(answer)?;
        }
        self.flight = None;
        if !matches!(next, Ok(Next::Done)) {
            self.close();
        }
        next
    }

    pub fn close(&mut self) {
        if let Some(store) = self.store.take() {
            let _ = store.close();
        }
    }

    async fn go(&mut self, life: &Life) -> Result<Next, String> {
        let Some(engine) = self.begin(life).await? else { return Ok(Next::NewLife) };
        let store = engine.store().clone();
        let rest = Rest {
            idle: Arc::clone(&life.idle),
            gate: Arc::clone(&life.gate),
            disk: Arc::clone(&self.disk),
            store: store.clone(),
        };
        self.disk.watch(true);
        loop {
            if !rest.reached().await {
                return Err(format!("turns in a circle: {}", self.situation(&engine, life)));
            }
            self.looks += 1;
            if self.looks > LOOKS_MAX {
                return Err(format!("does not come to an end or a named wait: {}", self.situation(&engine, life)));
            }
            if let Some(answer) = self.take_answer() {
                self.flight = None;
                if self.landed(answer)? {
                    return Ok(Next::NewLife);
                }
                continue;
            }
            match self.choose(&engine, life) {
                Move::Act => {
                    if let Some(next) = self.act(&engine, life) {
                        return Ok(next);
                    }
                }
                Move::Release(number) => {
                    // Work goes on: the next pause is a short one again.
                    self.pauses = 0;
                    life.gate.release(number);
                }
                Move::Resolve(session, effect, resolution) => self.resolve(&engine, session, effect, resolution),
                Move::Pass => self.pause(&store).await,
                Move::Skip => self.advance(),
                Move::End => return Ok(Next::Done),
            }
        }
    }

    /// Opens the home and starts the engine, as often as it takes while the disk fails.
    async fn begin(&mut self, life: &Life) -> Result<Option<Engine>, String> {
        let mut why = String::new();
        for _ in 0..LIVES_MAX {
            if life.life.is_dead() {
                return Ok(None);
            }
            if self.restoring && !self.restore() {
                continue;
            }
            let store = match Store::open(&self.home, OPTIONS) {
                Ok(store) => store,
                Err(error) => {
                    why = error.to_string();
                    continue;
                }
            };
            self.store = Some(store.clone());
            let world = Double {
                outside: Arc::clone(&self.outside),
                gate: Arc::clone(&life.gate),
                life: Arc::clone(&life.life),
                disk: Arc::clone(&self.disk),
            };
            let (policy, text) = (house::policy(&self.changes), format!("{:?}", self.changes));
            match Engine::start(store, Arc::new(world), policy, &text, LIMITS).await {
                Ok(engine) => return Ok(Some(engine)),
                Err(error) => why = error.to_string(),
            }
            self.close();
        }
        if life.life.is_dead() { Ok(None) } else { Err(format!("the home does not open: {why}")) }
    }

    /// False where it has to be tried again.
    fn restore(&mut self) -> bool {
        let to = self.base.join("restored");
        if !to.join("state.db").exists() && backstay_store::restore(&self.base.join("backup"), &to).is_err() {
            return false;
        }
        self.home = to;
        self.restoring = false;
        self.outside.log().era += 1;
        self.acks = self.acks_in_backup.take().unwrap_or_default();
        true
    }

    fn take_answer(&mut self) -> Option<Answer> {
        self.flight.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn step(&self) -> Option<&Step> {
        self.scenario.steps.get(self.next)
    }

    /// What a person hears; true where the process ends by it.
    fn landed(&mut self, answer: Answer) -> Result<bool, String> {
        if self.resolving {
            self.later = answer.is_err();
            return Ok(false);
        }
        let Some(step) = self.step().cloned() else { return Ok(false) };
        let accepted = match answer {
            Ok(accepted) => accepted,
            // It cannot be done: then it is not done.
            Err(EngineError::Refused(_) | EngineError::NoSession) => None,
            Err(error @ (EngineError::KeyReused | EngineError::Internal(_))) => return Err(error.to_string()),
            Err(
                EngineError::TooMany { .. }
                | EngineError::Full
                | EngineError::Draining
                | EngineError::Halted(_)
                | EngineError::Unreadable(_),
            ) => {
                self.later = true;
                return Ok(false);
            }
        };
        if let Some(accepted) = accepted {
            let text = match &step.act {
                Do::Say { text, .. } | Do::Answer { text, .. } => Some(text.clone()),
                _ => None,
            };
            if let Do::Say { who, .. } = &step.act {
                let before = self.who[*who].replace(accepted.session);
                if before.is_some_and(|before| before != accepted.session) {
                    return Err(format!("a message of {before:?} went to {}", accepted.session));
                }
            }
            let ack = Ack { era: self.outside.log().era, session: accepted.session, seq: accepted.seq, text };
            self.acks.push(ack);
        }
        // Now and then the answer is lost on its way, and the same is said again.
        let lost = accepted.is_some() && self.dice.as_mut().is_some_and(|dice| dice.one_in(6));
        if !(lost && matches!(step.act, Do::Say { .. })) {
            self.advance();
        }
        Ok(matches!(step.act, Do::Restart { .. }))
    }

    pub(super) fn advance(&mut self) {
        self.next += 1;
        self.begun = false;
    }
}

/// What belongs to one life of the process.
pub(super) struct Life {
    pub gate: Arc<Gate>,
    pub idle: Arc<Idle>,
    pub life: Arc<Switch>,
}

pub(super) enum Move {
    /// The next step of the scenario.
    Act,
    Release(usize),
    Resolve(SessionId, EffectId, Resolution),
    Pass,
    Skip,
    End,
}
