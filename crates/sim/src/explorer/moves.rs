//! Everything that can happen next, and what the driver makes of it.
use std::sync::Arc;

use backstay_kernel::effect::{CallRef, Effect, Failure, FailureClass, Finish, Outcome, Probed};
use backstay_kernel::id::{BodyRef, Digest, EffectId, Seq};
use backstay_kernel::label::Label;
use backstay_kernel::limits::ADVANCES_MAX;
use backstay_kernel::policy::Policy;
use backstay_kernel::record::{InScope, Record, Resolution};
use backstay_kernel::request::Request;
use backstay_kernel::session::Session;
use backstay_kernel::tool::Idempotency;
use backstay_kernel::{Input, budget::Usage};

use super::checks::Held;
use super::mutants::Planted;
use super::node::{Link, Node, Running, Seen, Snapshot, Step, kind_of, plans};
use super::scope::{BILLED_TOKENS, Kind, REQUEST_BYTES, Scope};
use super::words::Words;
use super::{Invariant, Violation, checks};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    Message,
    /// The disk has everything that was appended.
    Commit,
    /// The process dies; this many pending appends are on disk, and these kinds of running calls
    /// (bits) had their effect.
    Crash {
        keep: usize,
        happened: u8,
    },
    Prepared(EffectId),
    Inspected(EffectId),
    Probed(EffectId),
    /// The model answers with this entry of the scope's list.
    Reply(usize),
    ModelFailed {
        fatal: bool,
    },
    /// A queue outside the session has no place.
    Busy,
    Done(Running),
    Failed(Running),
    Unknown {
        of: Running,
        happened: bool,
    },
    /// A call outlives its limit, and has had its effect or not.
    Overdue {
        of: Running,
        happened: bool,
    },
    /// Others settle what they had reserved in the shared window.
    Settled,
    Decide {
        effect: EffectId,
        approve: bool,
        /// Place in the list of people.
        who: usize,
    },
    /// Time passes until the session's next moment.
    Wake,
    Cancel,
    Freeze,
    Unfreeze,
    Stop,
    Resume,
    Resolve {
        effect: EffectId,
        resolution: Resolution,
    },
    Narrow,
    /// The model that plans answers with this entry of the scope's list.
    Plan(usize),
    /// What the answer to this ask would stand for stands for a while, before it is given.
    Always(EffectId),
    /// Somebody takes it back, or it comes to its end.
    Revoke,
    Elapse,
    /// A session of the same home is at rest, and another one begins, in which somebody else may speak.
    Another {
        /// Place in the list of people.
        who: usize,
    },
}

/// The driver of the small world: the same pass as the engine's.
#[derive(Debug)]
pub struct Driver {
    pub scope: Scope,
    pub kernel: Planted,
    pub policies: [Policy; 2],
    pub words: Words,
}

/// A pass under way: the session and what it will append.
struct Draft {
    session: Session,
    seen: Seen,
    records: Vec<Record>,
}

impl Driver {
    #[must_use]
    pub fn new(scope: Scope, kernel: Planted) -> Self {
        let (policies, words) = (scope.policies(), Words::of(&scope));
        Self { scope, kernel, policies, words }
    }

    /// Every move that can be made from here.
    pub fn moves(&self, node: &Node, out: &mut Vec<Move>) {
        out.clear();
        if !node.pending.is_empty() {
            out.push(Move::Commit);
        }
        if node.left.crashes > 0 {
            crashes(node, out);
        }
        if node.pending.len() >= self.scope.pending_max {
            return;
        }
        self.of_people(node, out);
        self.of_effects(node, out);
        let frame = node.frame(&self.policies);
        for effect in self.kernel.open_effects(node.session(), &frame) {
            match effect {
                Effect::Prepare { id, .. } => out.push(Move::Prepared(id)),
                Effect::Inspect { id, .. } => out.push(Move::Inspected(id)),
                Effect::Probe { id, .. } => out.push(Move::Probed(id)),
                Effect::Model { .. } | Effect::Tool { .. } => {}
            }
        }
        let wake_at = self.kernel.head(node.session()).wake_at;
        if wake_at.is_some_and(|at| at > node.clock) {
            out.push(Move::Wake);
        }
    }

    fn of_effects(&self, node: &Node, out: &mut Vec<Move>) {
        let left = node.left;
        for of in &node.running {
            let Some(kind) = of.kind else {
                let plans = plans(node.session(), of.effect);
                if plans {
                    out.extend((0..self.scope.plans.len()).map(Move::Plan));
                }
                let fits = |calls: &[Kind]| calls.iter().all(|kind| node.may_be_called(*kind, self.scope.insists));
                let replies = self.scope.replies.iter().enumerate().filter(|(_, calls)| !plans && fits(calls));
                out.extend(replies.map(|(number, _)| Move::Reply(number)));
                if left.failures > 0 {
                    out.push(Move::ModelFailed { fatal: false });
                    out.push(Move::ModelFailed { fatal: true });
                }
                if left.busy > 0 {
                    out.push(Move::Busy);
                }
                continue;
            };
            out.push(Move::Done(*of));
            if kind == Kind::Read {
                continue;
            }
            if left.failures > 0 && !of.happened {
                out.push(Move::Failed(*of));
            }
            // Nobody asks what became of a lookup.
            let truths: &[bool] = if kind == Kind::List { &[true] } else { &[true, false] };
            for happened in truths.iter().copied() {
                if left.unknowns > 0 {
                    out.push(Move::Unknown { of: *of, happened });
                }
                if left.overdue > 0 && !of.overdue {
                    out.push(Move::Overdue { of: *of, happened });
                }
            }
        }
    }

    /// Makes one move; what comes back has passed every check of a transition.
    ///
    /// # Errors
    /// The invariant that the move broke.
    pub fn make(&self, node: &Node, made: Move) -> Result<Node, Violation> {
        let mut next = node.clone();
        next.depth += 1;
        next.path = Some(Arc::new(Step { made, before: node.path.clone() }));
        let input = match made {
            Move::Commit => {
                if let Some(last) = next.pending.pop() {
                    next.durable = last;
                    next.pending.clear();
                }
                self.reconcile(&mut next)?;
                return Ok(next);
            }
            Move::Crash { keep, happened } => {
                self.crash(&mut next, keep, happened)?;
                None
            }
            Move::Wake => {
                next.clock = self.kernel.head(node.session()).wake_at.unwrap_or(next.clock);
                None
            }
            Move::Freeze => {
                next.frozen = true;
                next.left.freezes -= 1;
                None
            }
            Move::Unfreeze => {
                next.frozen = false;
                None
            }
            Move::Settled => {
                next.others_settled = true;
                None
            }
            Move::Narrow => {
                next.narrowed = true;
                next.left.narrows -= 1;
                None
            }
            Move::Prepared(_) | Move::Inspected(_) | Move::Probed(_) => {
                let frame = node.frame(&self.policies);
                let open = self.kernel.open_effects(node.session(), &frame);
                let wanted = |effect: &Effect| {
                    matches!(made,
                    Move::Prepared(id) | Move::Inspected(id) | Move::Probed(id) if id == effect.id())
                };
                open.iter().find(|effect| wanted(effect)).and_then(|effect| self.pure_result(node, effect))
            }
            Move::Message | Move::Cancel | Move::Stop | Move::Resume | Move::Decide { .. } | Move::Resolve { .. } => {
                self.said(&mut next, made)?
            }
            Move::Always(_) | Move::Revoke | Move::Elapse => {
                self.stand(&mut next, made)?;
                None
            }
            Move::Another { who } => {
                next.begin_another(who);
                None
            }
            Move::Plan(_) | Move::Reply(_) | Move::ModelFailed { .. } | Move::Busy => self.of_model(&mut next, made)?,
            Move::Done(of) | Move::Failed(of) | Move::Unknown { of, .. } | Move::Overdue { of, .. } => {
                Some(self.of_tool(&mut next, of, made)?)
            }
        };
        self.pass(&mut next, input)?;
        self.reconcile(&mut next)?;
        Ok(next)
    }

    /// One pass: the input, Advance until it is silent, one append.
    fn pass(&self, node: &mut Node, input: Option<Input>) -> Result<(), Violation> {
        let now = Arc::clone(node.now());
        let frame = node.frame(&self.policies);
        let mut records = match input {
            Some(input) => self.kernel.decide(&now.session, input, &frame).unwrap_or_default(),
            None => Vec::new(),
        };
        if records.is_empty() {
            records = self.kernel.advance(&now.session, &frame);
        }
        let mut draft: Option<Draft> = None;
        for _ in 0..ADVANCES_MAX {
            if records.is_empty() {
                let session = draft.as_ref().map_or(&now.session, |draft| &draft.session);
                records = self.pure_results(node, session);
            }
            if records.is_empty() {
                if let Some(draft) = draft {
                    let journal = Link { records: draft.records, before: now.journal.clone() };
                    let snapshot = Snapshot::new(draft.session, draft.seen, Some(Arc::new(journal)));
                    node.pending.push(Arc::new(snapshot));
                }
                return Ok(());
            }
            let draft = draft.get_or_insert_with(|| Draft {
                session: now.session.clone(),
                seen: now.seen.clone(),
                records: Vec::new(),
            });
            for record in records {
                checks::before(node, &draft.session, &draft.seen, &record)?;
                let entries = || self.kernel.ledger(&draft.session, &record, &node.allowance(&draft.seen));
                let booked = node.shared.map(|_| (Held::of(&draft.seen), entries()));
                checks::read(&mut draft.seen, &draft.session, &record, node.clock);
                booked.map_or(Ok(()), |booked| checks::booked(booked, &draft.seen))?;
                let before = draft.session.label;
                self.kernel.apply(&mut draft.session, &record);
                checks::after(node, &draft.session, &draft.seen, &record)?;
                checks::labelled(before, &draft.session, &record)?;
                draft.records.push(record);
            }
            records = self.kernel.advance(&draft.session, &frame);
        }
        Err(Violation::new(Invariant::Bound, "advance does not fall silent"))
    }

    /// In an eager scope: the first result of a pure effect that has something to say.
    fn pure_results(&self, node: &Node, session: &Session) -> Vec<Record> {
        if !self.scope.eager {
            return Vec::new();
        }
        let frame = node.frame(&self.policies);
        let open = self.kernel.open_effects(session, &frame);
        open.iter()
            .filter_map(|effect| self.result_of(node, session, effect))
            .map(|input| self.kernel.decide(session, input, &frame).unwrap_or_default())
            .find(|records| !records.is_empty())
            .unwrap_or_default()
    }

    fn pure_result(&self, node: &Node, effect: &Effect) -> Option<Input> {
        self.result_of(node, node.session(), effect)
    }

    fn result_of(&self, node: &Node, session: &Session, effect: &Effect) -> Option<Input> {
        match effect {
            Effect::Prepare { id, .. } => Some(Input::Prepared { effect: *id, request: request() }),
            Effect::Inspect { id, .. } => {
                let kind = kind_of(session, *id)?;
                let frame = node.frame(&self.policies);
                let stands = !frame.standing.is_empty();
                let (look_up, inspected) = self.words.inspected(session, (*id, kind), frame.policy, stands);
                let says =
                    |input: &Input| self.kernel.decide(session, input.clone(), &frame).is_ok_and(|of| !of.is_empty());
                Some(look_up.filter(says).unwrap_or(inspected))
            }
            Effect::Probe { id, .. } => {
                let kind = kind_of(session, *id)?;
                let found = if node.times(kind).times > 0 { Probed::Done } else { Probed::NotDone };
                Some(Input::Probed { effect: *id, found: self.kernel.probe(found) })
            }
            Effect::Model { .. } | Effect::Tool { .. } => None,
        }
    }

    /// Starts what is open and not running, lets go of what runs and is no longer open.
    fn reconcile(&self, node: &mut Node) -> Result<(), Violation> {
        for _ in 0..ADVANCES_MAX {
            let frame = node.frame(&self.policies);
            let open = self.kernel.open_effects(node.session(), &frame);
            node.running.retain(|of| open.iter().any(|effect| started(effect) == Some((of.effect, of.started))));
            let Some(bounce) = self.launch(node, &open)? else { return Ok(()) };
            self.pass(node, Some(bounce))?;
        }
        Err(Violation::new(Invariant::Bound, "an effect is turned back for ever"))
    }

    fn launch(&self, node: &mut Node, open: &[Effect]) -> Result<Option<Input>, Violation> {
        for effect in open {
            let Some((id, seq)) = started(effect) else { continue };
            let runs = node.running.iter().any(|of| of.effect == id);
            let may_start = effect.is_pure() || self.kernel.is_durable(node, seq);
            if runs || !may_start {
                continue;
            }
            let frame = node.frame(&self.policies);
            match self.kernel.start(node.session(), id, &frame) {
                Err(bounce) => return Ok(Some(Input::Bounced(bounce))),
                Ok(permit) => {
                    let kind = kind_of(node.session(), id);
                    checks::launched(node, effect, &permit, self.kernel.key(&permit))?;
                    node.running.push(Running { effect: id, started: seq, kind, overdue: false, happened: false });
                    node.running.sort_unstable_by_key(|of| of.effect);
                }
            }
        }
        Ok(None)
    }

    fn crash(&self, node: &mut Node, keep: usize, happened: u8) -> Result<(), Violation> {
        if let Some(last) = keep.checked_sub(1).and_then(|place| node.pending.get(place)) {
            node.durable = Arc::clone(last);
        }
        node.pending.clear();
        for of in std::mem::take(&mut node.running) {
            if let Some(kind) = of.kind.filter(|kind| happened & kind.bit() != 0 && !of.happened) {
                checks::happens(node, kind)?;
            }
        }
        node.boot += 1;
        node.left.crashes -= 1;
        Ok(())
    }

    fn of_model(&self, node: &mut Node, made: Move) -> Result<Option<Input>, Violation> {
        let Some(of) = node.running.iter().find(|of| of.kind.is_none()).copied() else { return Ok(None) };
        node.running.retain(|other| *other != of);
        let outcome = match made {
            Move::Reply(number) => replied(self.scope.replies.get(number).copied().unwrap_or_default()),
            Move::Plan(number) => planned(self.scope.plans.get(number).copied().unwrap_or_default()),
            Move::Busy => {
                node.left.busy -= 1;
                Outcome::NotStarted
            }
            _ => {
                node.left.failures -= 1;
                let fatal = made == Move::ModelFailed { fatal: true };
                Outcome::ModelFailed(Failure {
                    class: if fatal { FailureClass::Auth } else { FailureClass::RetrySame },
                    retry_at: None,
                    detail: body(401),
                    billed: !fatal,
                    jitter_permille: 500,
                })
            }
        };
        let ended = |outcome| Input::Ended { effect: of.effect, started: of.started, outcome, connections: Vec::new() };
        let other = match made {
            Move::Plan(_) => Some(replied(&[Kind::Mail])),
            Move::Reply(_) if self.scope.unasked.is_planned() => Some(planned(&[(Kind::Mail, 1)])),
            _ => None,
        };
        let frame = node.frame(&self.policies);
        let taken = other.map(|other| self.kernel.decide(node.session(), ended(other), &frame));
        if taken.is_some_and(|taken| taken.is_ok_and(|records| !records.is_empty())) {
            return Err(Violation::new(Invariant::Scope, "a reply is taken for a plan, or a plan for a reply"));
        }
        Ok(Some(ended(outcome)))
    }

    fn of_tool(&self, node: &mut Node, of: Running, made: Move) -> Result<Input, Violation> {
        node.running.retain(|other| *other != of);
        let kind = of.kind.unwrap_or(Kind::Read);
        let result = body(100 + u64::from(kind.number()));
        let outcome = match made {
            Move::Failed(_) => {
                node.left.failures -= 1;
                Outcome::Failed { result, repeat: kind.key(), label: Label::NOTHING }
            }
            Move::Unknown { happened, .. } => {
                node.left.unknowns -= 1;
                if happened && !of.happened {
                    checks::happens(node, kind)?;
                }
                Outcome::Unknown
            }
            Move::Overdue { happened, .. } => {
                node.left.overdue -= 1;
                if happened {
                    checks::happens(node, kind)?;
                }
                // It goes on.
                node.running.push(Running { overdue: true, happened, ..of });
                node.running.sort_unstable_by_key(|of| of.effect);
                Outcome::Overdue
            }
            _ => {
                if !of.happened {
                    checks::happens(node, kind)?;
                }
                Outcome::Done { result, spill: None, repeat: kind.key(), label: Label::NOTHING, created: None }
            }
        };
        let ended =
            |started| Input::Ended { effect: of.effect, started, outcome: outcome.clone(), connections: Vec::new() };
        let frame = node.frame(&self.policies);
        let stale = self.kernel.decide(node.session(), ended(Seq(of.started.0 + 1_000)), &frame);
        if stale.is_ok_and(|records| !records.is_empty()) {
            return Err(Violation::new(Invariant::Stale, "the outcome of another start is taken"));
        }
        Ok(ended(of.started))
    }
}

/// A crash with every possible rest on disk and every possible truth about what was running.
fn crashes(node: &Node, out: &mut Vec<Move>) {
    let kinds = node.running.iter().filter_map(|of| of.kind);
    let is_told = |kind: &Kind| !matches!(kind.idempotency(), Idempotency::Pure | Idempotency::Idempotent);
    let unsure = kinds.filter(is_told).fold(0, |bits, kind| bits | kind.bit());
    for keep in 0..=node.pending.len() {
        let mut happened = unsure;
        loop {
            out.push(Move::Crash { keep, happened });
            if happened == 0 {
                break;
            }
            happened = (happened - 1) & unsure;
        }
    }
}

fn started(effect: &Effect) -> Option<(EffectId, Seq)> {
    match effect {
        Effect::Model { id, started, .. } | Effect::Tool { id, started, .. } => Some((*id, *started)),
        Effect::Prepare { .. } | Effect::Inspect { .. } | Effect::Probe { .. } => None,
    }
}

fn replied(kinds: &[Kind]) -> Outcome {
    let bits = kinds.iter().fold(0, |bits, kind| bits | kind.bit());
    let calls = kinds.iter().zip(0u32..).map(|(kind, index)| CallRef {
        calls: body(200 + u64::from(bits)),
        index,
        tool: Some(kind.name().to_owned()),
        repeat: kind.key(),
    });
    Outcome::Replied {
        text: kinds.is_empty().then(|| body(300)),
        calls: calls.collect(),
        finish: if kinds.is_empty() { Finish::Stop } else { Finish::Calls },
        usage: Some(Usage { uncached: BILLED_TOKENS, ..Usage::default() }),
    }
}

fn planned(calls: &[(Kind, u32)]) -> Outcome {
    let entry = |(kind, count): &(Kind, u32)| InScope { tool: kind.name().to_owned(), count: *count };
    Outcome::Scoped {
        said: Some(body(402)),
        entries: calls.iter().map(entry).collect(),
        body: body(403),
        finish: Finish::Stop,
        usage: Some(Usage { uncached: BILLED_TOKENS, ..Usage::default() }),
    }
}

fn request() -> Request {
    Request { rope: body(500), digest: Digest::default(), bytes: REQUEST_BYTES, bytes_unchanged: 0 }
}

#[must_use]
pub fn body(id: u64) -> BodyRef {
    BodyRef { id, digest: Digest::default(), bytes: 1 }
}
