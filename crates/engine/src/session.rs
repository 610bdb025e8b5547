//! How the runtime works: the driver. What it takes in stands in `taking`, what it lets go out in
//! `acting`, the queues that it shares with other sessions in `slots`. Between the first decision of
//! a pass and its append, the state is ahead of the disk.
//!
//! One task owns a session. It takes what has come in, lets the kernel decide until the kernel is
//! silent, appends everything in one commit, and only then lets anything leave: replies, events,
//! effects. What should run follows from the state, not from what just happened; so a process that
//! was killed goes on through these same lines, and there is no recovery path.
use std::sync::Arc;
use std::time::Duration;

use backstay_kernel::frame::{self, Frame, Switches};
use backstay_kernel::id::{Boot, Millis, SessionId};
use backstay_kernel::limits::ADVANCES_MAX;
use backstay_kernel::open::wall_at;
use backstay_kernel::policy::Policy;
use backstay_kernel::refusal::Refusal;
use backstay_kernel::session::State;
use backstay_kernel::{Head, Input, Session, apply, decide, head, ledger};
use backstay_store::{Admission, AppendError, Durable, StoreError};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::bodies::Bodies;
use crate::draft::Draft;
use crate::error::EngineError;
use crate::events::{Event, Listeners};
use crate::limits::{DISK_RETRY, LINGER, READ_RETRY_MAX, SNAPSHOT_EVERY};
use crate::live::Letter;
use crate::requests::Requests;
use crate::running::Running;
use crate::shared::{Busy, Shared};
use crate::waits::Waits;

mod acting;
mod naming;
mod planning;
mod slots;
mod taking;

use slots::Slots;
use taking::{Taken, answer_all, answer_duplicate, turn_away};

pub struct SessionTask {
    shared: Arc<Shared>,
    state: Session,
    /// Proof that everything folded into `state` is on disk.
    receipt: Option<Durable>,
    entries_since_snapshot: u64,
    bodies: Bodies,
    requests: Requests,
    running: Running,
    /// Tells what this task started from what an earlier task of the session did.
    boot: Boot,
    slots: Slots,
    settlements: watch::Receiver<()>,
    busy: Busy,
    /// Something in it waits for somebody outside, by what is on disk.
    waits: bool,
    /// When the latest pass looked at the time: what was due then has had its turn.
    passed_at: Millis,
    /// A call is to be looked at that the latest pass has looked at: what it was to have looked up is not to be had.
    looks_again: bool,
    mailbox: mpsc::Receiver<Letter>,
    listeners: Listeners,
}

/// What a session at rest waits for, beside letters and ends.
struct Rest {
    until: Instant,
    /// Then it has had nothing to do for long enough, and nobody listens.
    may_leave: bool,
    /// When it must be in memory again.
    wake_at: Option<Millis>,
    /// Somebody listens, and nothing else keeps it in memory.
    is_kept_by_ear: bool,
    /// What others settle may let it go on.
    needs_money: bool,
}

/// Why a pass could not be finished.
enum Setback {
    /// The journal has moved on or a budget is used up: fold again, decide again.
    Again,
    /// The keyed command of this pass was admitted before.
    Duplicate(Admission),
    /// It cannot be done now; it is tried again.
    Failed(EngineError),
}

impl SessionTask {
    pub fn new(
        shared: Arc<Shared>,
        id: SessionId,
        mailbox: mpsc::Receiver<Letter>,
        own_address: mpsc::WeakSender<Letter>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            state: Session::new(id),
            receipt: None,
            entries_since_snapshot: 0,
            bodies: Bodies::new(shared.store.clone(), id)?,
            requests: Requests::default(),
            running: Running::new(Arc::clone(&shared.world)),
            boot: shared.draw_boot(),
            slots: Slots::new(own_address),
            settlements: shared.settled.subscribe(),
            busy: Busy::new(&shared),
            waits: false,
            passed_at: 0,
            looks_again: false,
            mailbox,
            listeners: Listeners::default(),
            shared,
        })
    }

    /// Lives until the session has had nothing to do for a while.
    pub async fn run(mut self) {
        let mut letters = Vec::new();
        self.refold(&mut letters).await;
        loop {
            match self.pass(&mut letters).await {
                Ok(()) => {
                    if letters.is_empty() && !self.wait(&mut letters).await {
                        return;
                    }
                    continue;
                }
                Err(Setback::Again) => {}
                Err(Setback::Duplicate(before)) => answer_duplicate(&mut letters, before),
                Err(Setback::Failed(error)) => {
                    tracing::error!(session = %self.state.id, %error, "this session waits and tries again");
                    answer_all(&mut letters, &error);
                    tokio::time::sleep(DISK_RETRY).await;
                }
            }
            self.refold(&mut letters).await;
        }
    }

    /// Waits for a letter, an end, money or a moment; false where it is time to leave memory.
    async fn wait(&mut self, letters: &mut Vec<Letter>) -> bool {
        if self.running.has_unrecorded() || self.looks_again {
            return true;
        }
        let rest = self.rest();
        tokio::select! {
            letter = self.mailbox.recv() => match letter {
                Some(letter) => letters.push(letter),
                None => return false,
            },
            finished = self.running.next() => self.running.keep(finished),
            Ok(()) = self.settlements.changed(), if rest.needs_money => {}
            () = self.listeners.gone(), if rest.is_kept_by_ear => {}
            () = sleep_until(rest.until) => {
                if rest.may_leave && self.shared.leave(self.state.id, rest.wake_at, &self.mailbox) {
                    return false;
                }
            }
        }
        while let Ok(letter) = self.mailbox.try_recv() {
            letters.push(letter);
        }
        true
    }

    /// What there is to wait for now.
    fn rest(&self) -> Rest {
        let (head, now) = (head(&self.state), self.shared.world.now());
        let after = |at: Millis| Instant::now() + Duration::from_millis(at.saturating_sub(now));
        let moment = self.moment(&head, now).map(after);
        let is_heard = self.listeners.are_there();
        let linger = if self.shared.is_crowded() && !is_heard { Duration::ZERO } else { LINGER };
        let linger = Instant::now() + linger;
        let idle = self.running.is_empty() && !head.open && moment.is_none_or(|moment| moment > linger);
        Rest {
            until: moment.filter(|_| !idle).unwrap_or(linger),
            may_leave: idle && !is_heard,
            is_kept_by_ear: idle && is_heard,
            wake_at: head.wake_at,
            needs_money: self.state.effects.values().any(|open| matches!(open.state, State::Unfunded { .. })),
        }
    }

    /// When time alone may change something next.
    fn moment(&self, head: &Head, now: Millis) -> Option<Millis> {
        let policy = self.shared.policy();
        let wall_ms = policy.agents.get(&self.state.agent).map(|agent| agent.caps.wall_ms);
        let wall_at = wall_ms.and_then(|wall| wall_at(&self.state, wall, now));
        // What was due at the latest pass and is still there waits for something else than time.
        head.wake_at.into_iter().chain(wall_at).filter(|at| *at > self.passed_at).min()
    }

    /// Inputs → (decide → apply)* → append → let go out.
    async fn pass(&mut self, letters: &mut Vec<Letter>) -> Result<(), Setback> {
        let policy = self.shared.policy();
        self.passed_at = self.shared.world.now();
        let mut draft = Draft::new(self.state.seq, self.passed_at);
        let mut taken = Vec::new();
        self.note_restore(&policy, &mut draft);
        while let Some(letter) = draft.next_letter(letters) {
            taken.extend(self.take(letter, &policy, &mut draft));
        }
        if let Err(setback) = self.conclude(&policy, draft).await {
            // Nothing has left; the callers' commands are tried again or answered with the reason.
            // First what was accepted: the admission that makes a key a duplicate is among that.
            taken.sort_by_key(Taken::is_refused);
            letters.splice(0..0, taken.into_iter().map(Taken::back));
            return Err(setback);
        }
        self.running.recorded();
        self.requests.committed();
        taken.into_iter().for_each(Taken::answer);
        // The policy of this moment: another may have come into force while the append was under way.
        let reconciled = self.reconcile(&self.shared.policy());
        self.busy.set(!self.running.is_empty());
        reconciled
    }

    /// What has ended, what follows from it all, and its append.
    async fn conclude(&mut self, policy: &Policy, mut draft: Draft) -> Result<(), Setback> {
        self.take_ends(policy, &mut draft);
        self.advance(policy, &mut draft)?;
        self.do_pure(policy, &mut draft).await?;
        // Before anything that it is the label of can come to be there.
        for raise in draft.raises.drain(..) {
            self.shared.home.raise(raise, self.state.id).await.map_err(Setback::Failed)?;
        }
        for reach in draft.reaches.drain(..) {
            self.shared.home.reach(reach).await.map_err(Setback::Failed)?;
        }
        self.append(draft).await
    }

    fn decide(&mut self, input: Input, policy: &Policy, draft: &mut Draft) -> Result<(), Refusal> {
        let mut frame = self.frame(policy, &input);
        draft.book(&mut frame.allowance);
        let records = decide(&self.state, input, &frame)?;
        for record in records {
            draft.note(&self.state, &record, &frame);
            apply(&mut self.state, &record);
            draft.records.push(record);
        }
        Ok(())
    }

    fn frame<'a>(&self, policy: &'a Policy, input: &Input) -> Frame<'a> {
        let channel = self.state.turn.as_ref().map_or(&self.state.channel, |turn| &turn.channel);
        let mode = self.shared.home.mode(&self.state.agent, channel);
        let mut frame = Frame {
            now: self.shared.world.now(),
            boot: self.boot,
            policy,
            switches: Switches { mode, ..self.shared.switches() },
            slots: frame::Slots {
                model: u32::from(self.slots.has_model()),
                tool: self.slots.tools(&self.shared.tool_slots),
            },
            allowance: Vec::new(),
            standing: self.shared.home.standing(&self.state.agent, self.shared.world.now()),
            reached: self.shared.home.reached(&self.state.agent),
        };
        frame.allowance = self.shared.used(ledger::wanted(&self.state, input, &frame));
        frame
    }

    /// Lets the kernel move on until it has no more to say.
    fn advance(&mut self, policy: &Policy, draft: &mut Draft) -> Result<(), Setback> {
        for _ in 0..ADVANCES_MAX {
            let records = draft.records.len();
            let _ = self.decide(Input::Advance, policy, draft);
            if draft.records.len() == records {
                return Ok(());
            }
        }
        Err(Setback::Failed(EngineError::Internal("the kernel does not come to rest".to_owned())))
    }

    /// One commit for all of it; without it nothing was decided.
    async fn append(&mut self, mut draft: Draft) -> Result<(), Setback> {
        if draft.records.is_empty() {
            self.bodies.reset();
            return Ok(());
        }
        let head = head(&self.state);
        let snapshot = self.entries_since_snapshot >= SNAPSHOT_EVERY;
        let bodies = self.bodies.take_sealed().map_err(|error| halted(&error))?;
        let (settles, answered) = (draft.settles(), std::mem::take(&mut draft.answered));
        let (append, committed) = draft.into_append(&self.state, &head, bodies, snapshot);
        match self.shared.append(append).await {
            Ok(receipt) => {
                self.receipt = Some(receipt);
                self.entries_since_snapshot = if snapshot { 0 } else { self.entries_since_snapshot + 1 };
                self.shared.wake_at(head.wake_at);
                self.shared.count(&committed, &answered);
                self.tell_waits(&head, &committed);
                if settles {
                    self.shared.settled.send_replace(());
                }
                self.listeners.tell(committed);
                Ok(())
            }
            Err(AppendError::Duplicate(before)) => Err(Setback::Duplicate(before)),
            Err(AppendError::Stale { .. } | AppendError::Budget { .. }) => Err(Setback::Again),
            Err(AppendError::Store(error)) => Err(halted(&error)),
        }
    }

    /// Those who tell of what waits look again.
    fn tell_waits(&mut self, head: &Head, committed: &Event) {
        if let Event::Committed { at, records, .. } = committed {
            self.shared.waits.ended(self.state.id, &self.state.agent, *at, records);
        }
        self.waits_now(head);
    }

    fn waits_now(&mut self, head: &Head) {
        let (before, now) = (self.waits, Waits::has(head));
        self.waits = now;
        if before || now {
            self.shared.waits.changed();
        }
    }

    /// Folds the session from the journal; tries until that works, and says so to whoever asks.
    async fn refold(&mut self, letters: &mut Vec<Letter>) {
        let mut pause = DISK_RETRY;
        loop {
            match self.shared.load(self.state.id).await {
                Ok(folded) => {
                    if folded.receipt.map(|now| now.seq()) > self.receipt.map(|known| known.seq()) {
                        self.listeners.tell(Event::Missed);
                    }
                    self.state = folded.state;
                    self.receipt = folded.receipt;
                    self.entries_since_snapshot = folded.entries_since_snapshot;
                    self.bodies.reset();
                    self.requests.refolded();
                    self.running.refolded(self.state.seq);
                    self.waits_now(&head(&self.state));
                    return;
                }
                Err(why) => {
                    tracing::error!(session = %self.state.id, why, "the journal cannot be read");
                    let (error, until) = (EngineError::Unreadable(why), Instant::now() + pause);
                    turn_away(letters, &error);
                    while let Ok(Some(letter)) = timeout_at(until, self.mailbox.recv()).await {
                        letters.push(letter);
                        turn_away(letters, &error);
                    }
                    pause = pause.saturating_mul(2).min(READ_RETRY_MAX);
                }
            }
        }
    }
}

fn halted(error: &StoreError) -> Setback {
    Setback::Failed(EngineError::Halted(error.to_string()))
}
