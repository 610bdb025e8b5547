//! The kernel as the explorer calls it, and the faults that can be planted between the two.
//!
//! A mutant changes what goes in or what comes out of one of the kernel's verbs, so the kernel
//! itself holds no switch for it. Each row names the invariant that must notice.
use std::sync::atomic::{AtomicU64, Ordering};

use backstay_kernel::budget::{LedgerEntry, WindowState};
use backstay_kernel::context::{Item, Notice};
use backstay_kernel::effect::{Effect, Outcome, Probed};
use backstay_kernel::frame::Frame;
use backstay_kernel::home::HomeRecord;
use backstay_kernel::id::{Boot, Digest, EffectId, RepeatKey, Seq};
use backstay_kernel::label::{Label, Source};
use backstay_kernel::policy::Role;
use backstay_kernel::record::{Decision, End, Ended, Reason, Record, Resolution, Verdict};
use backstay_kernel::refusal::Refusal;
use backstay_kernel::rule::{AT_HOME, Approvers};
use backstay_kernel::session::{Created, ScopeEntry, Session, State, Work};
use backstay_kernel::{Bounce, Head, Input, Permit};

use super::Invariant;
use super::moves::body;
use super::node::{Node, plans};
use super::scope::{OWNER, PEOPLE};

macro_rules! mutants {
    ($($name:ident: $invariant:ident, $what:literal;)*) => {
        /// A planted fault.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Mutant { $(#[doc = $what] $name,)* }

        impl Mutant {
            /// Every mutant, with the invariant that kills it.
            pub const ALL: &[(Self, Invariant)] = &[$((Self::$name, Invariant::$invariant),)*];
        }
    };
}

mutants! {
    StartBeforeDurable: I1Durable, "Effects start against intents that may still be lost.";
    PermitWhileFrozen: I2Gate, "The last look does not see the freeze.";
    PermitOfDeadBoot: I2Gate, "The last look does not see whose start it is.";
    DeadBootRunsOn: I2Gate, "A start of a dead process is taken for one of this.";
    PermitUnderOtherPolicy: I2Gate, "The last look does not see the policy's epoch.";
    PermitAfterTurn: I2Gate, "The last look does not see that the turn is over.";
    FrozenGoesOn: I2Gate, "Decisions do not see the freeze.";
    StopForgotten: I2Gate, "A stopped session goes on.";
    CancelForgotten: I2Gate, "A cancelled turn goes on.";
    NotJudgedAgain: I2Gate, "A verdict outlives its policy.";
    AskIsAllow: I2Gate, "What should be asked is allowed.";
    DenyIsYes: I2Gate, "A person's no is a yes.";
    ExpiryIsYes: I2Gate, "Silence is a yes.";
    DigestIgnored: I2Gate, "An approval fits any action.";
    AnyoneApproves: I2Gate, "Any role may approve.";
    QuorumIgnored: I2Gate, "The first yes is enough.";
    YesCountedTwice: I2Gate, "One person's two yes are two people's.";
    RequesterCounted: I2Gate, "Whoever asks for it says yes to it.";
    DoorIgnored: I2Gate, "A yes of two counts at any door.";
    UnsafeLapses: I3Once, "An unsafe call of a dead process is run again.";
    DoubtRetried: I3Once, "A doubt is retried without being asked about.";
    ProbeSkipped: I3Once, "A probed call of a dead process is run without a probe.";
    ProbeInverted: I3Once, "The world's answer to a probe is read the wrong way.";
    KeyPerAttempt: I3Once, "Every attempt has its own idempotency key.";
    DoneIsFailed: I3Once, "What was done is recorded as failed.";
    OverdueLapses: I3Once, "A call that outlives its limit is started again beside itself.";
    OverdueEndLost: I3Once, "The end of a call past its limit is not taken.";
    OverdueNotStarted: I3Once, "A call that outlives its limit is called not started.";
    UnsureForgotten: I3Once, "A lapsed call is called not started.";
    OpenForgotten: I3Once, "An effect is forgotten when its turn ends.";
    ResultsSwapped: I4Paired, "Answers change places.";
    ResultsDropped: I4Paired, "A reply's results are missing.";
    AnswerDropped: I4Paired, "One answer is missing.";
    NoticeBetween: I4Paired, "The runtime speaks between a reply and its results.";
    TruthBetween: I4Paired, "The later truth stands between a reply and its results.";
    ReservationDropped: I5Money, "A model call starts without a reservation.";
    LapseForgetsMoney: I5Money, "What is possibly billed is forgotten.";
    CapsIgnored: I5Money, "The turn's budget has no reader.";
    SharedIgnored: I5Money, "The budget that others share has no reader.";
    HiddenState: I6Fold, "The fold depends on something outside of the records.";
    LabelOfWindow: I7Label, "The label is that of what the window shows.";
    ResultUnlabelled: I7Label, "The result of a tool leaves the label as it was.";
    DeadBootForgotten: I10NamedWait, "A new process does not look at what the dead one ran.";
    AskNeverExpires: I10NamedWait, "Nobody closes an ask whose time is over.";
    BounceForgotten: I10NamedWait, "What was turned back is never started again.";
    RetryAfterTurn: I10NamedWait, "A doubt is retried after its turn.";
    WakeForgotten: I10NamedWait, "The head names no moment to wake.";
    UnfundedAsleep: I10NamedWait, "Nobody looks again whether there is money.";
    HeadAsleep: I10NamedWait, "The head says that nothing is to do.";
    MessageTwice: I11Message, "A message is admitted twice.";
    MessageLost: I11Message, "A turn's end empties the queue.";
    RouteChanged: I12Route, "The reply goes to another door.";
    TurnEndsTwice: OneEnd, "A turn's end is recorded twice.";
    UnknownForgotten: Completion, "The completion list leaves out what is unknown.";
    StaleOutcomeTaken: Stale, "The outcome of an earlier start is taken.";
    SecondAskOpened: Asks, "An ask is opened beside another.";
    HourForgotten: Asks, "The asks of the hour are not counted.";
    RefusedAskedAgain: Asks, "What a person refused is asked about again in its task.";
    NoesUncounted: Asks, "A turn goes on however often it is refused.";
    PlanOffTheBooks: I5Money, "The ledger is told nothing of a model call that plans.";
    PlanSkipped: Scope, "What a person typed counts as planned.";
    PlannedAgain: Scope, "A plan that has come is made again.";
    ReplyIsPlan: Scope, "A reply is taken for a plan.";
    PlanCountsMore: Scope, "An entry is worth a call more than the plan says.";
    PlaceGivenBack: Scope, "What a call took of the scope is given back when it ends.";
    ScopeOutlivesTask: Scope, "What was planned for one task is in the scope of the next.";
    ScopeSaysWhomNot: Scope, "An entry is one of its tool's calls to anybody whom a message names.";
    FormsToldApart: Warrant, "The same in another form is worth a call of its own.";
    SpentForgotten: Warrant, "What a message has been worth is forgotten when the call ends.";
    LookedUpAgain: Lookup, "What a lookup came to is forgotten, and it is made again.";
    LookupNotWaitedFor: Lookup, "A call is judged while something is looked up for it.";
    NoListIsOne: Lookup, "A lookup that failed has found the list.";
    StandingPastLastLook: Standing, "The last look does not see whether a yes still stands.";
    StandingNeverEnds: Standing, "A yes stands past its end.";
    StandingKept: Standing, "A yes that is taken back stands.";
    StandingToAnything: Standing, "A yes to one call stands for any of its tool.";
    StandingForAnybody: Standing, "A yes for one person's tasks stands for everybody's.";
    ParkedForgotten: I10NamedWait, "A parked ask is never opened.";
    Babbles: Bound, "Advance always has more to say.";
}

/// The kernel's verbs, with at most one fault between them and the explorer.
#[derive(Debug, Default)]
pub struct Planted {
    pub mutant: Option<Mutant>,
    /// What [`Mutant::HiddenState`] depends on.
    hidden: AtomicU64,
}

impl Planted {
    #[must_use]
    pub fn new(mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), hidden: AtomicU64::new(0) }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// # Errors
    /// Those of the kernel's `decide`.
    pub fn decide(&self, session: &Session, input: Input, frame: &Frame<'_>) -> Result<Vec<Record>, Refusal> {
        let Some(mutant) = self.mutant else { return backstay_kernel::decide(session, input, frame) };
        if let (Mutant::RetryAfterTurn, Input::Resolve { effect, resolution: Resolution::Retry, .. }) = (mutant, &input)
        {
            return Ok(vec![resolved(*effect)]);
        }
        if mutant == Mutant::CapsIgnored {
            let mut policy = frame.policy.clone();
            policy.agents.values_mut().for_each(|agent| agent.budget.turn.tokens = None);
            return backstay_kernel::decide(session, input, &Frame { policy: &policy, ..frame.clone() });
        }
        if let (Mutant::LookedUpAgain, Input::LookUp { effect, .. }) = (mutant, &input) {
            let mut session = session.clone();
            session.effects.get_mut(effect).into_iter().for_each(|open| open.found.clear());
            return backstay_kernel::decide(&session, input, frame);
        }
        if let (Mutant::OverdueEndLost, Input::Ended { effect, .. }) = (mutant, &input)
            && session
                .effects
                .get(effect)
                .is_some_and(|open| matches!(open.state, State::Started { overdue: true, .. }))
        {
            return Ok(Vec::new());
        }
        let (session, frame) = (blind(mutant, session, frame), blinkered(mutant, session, frame));
        let records = backstay_kernel::decide(&session, changed_input(mutant, &session, &frame, input), &frame)?;
        Ok(changed_records(mutant, records))
    }

    pub fn advance(&self, session: &Session, frame: &Frame<'_>) -> Vec<Record> {
        let records = self.decide(session, Input::Advance, frame).unwrap_or_default();
        let drop = |unwanted: fn(&Record) -> bool| records.iter().filter(|r| !unwanted(r)).cloned().collect();
        match self.mutant {
            Some(Mutant::DeadBootForgotten) => {
                drop(|record| matches!(record, Record::Lapsed { .. } | Record::Doubted { .. }))
            }
            Some(Mutant::AskNeverExpires) => {
                drop(|record| matches!(record, Record::Decided { decision: Decision::Expire, .. }))
            }
            Some(Mutant::ParkedForgotten) => {
                let parked = |id: &EffectId| matches!(session.effects.get(id), Some(open) if matches!(open.state, State::Parked { .. }));
                let unwanted = |record: &Record| matches!(record, Record::Judged(judged) if parked(&judged.effect));
                records.into_iter().filter(|record| !unwanted(record)).collect()
            }
            Some(Mutant::DoubtRetried) if records.is_empty() => {
                let wanted = |open: &&EffectId| session.effects.get(*open).is_some_and(|o| o.state == State::Doubt);
                session.effects.keys().find(wanted).map(|effect| resolved(*effect)).into_iter().collect()
            }
            Some(Mutant::Babbles) if records.is_empty() => vec![Record::Resumed { by: String::new() }],
            _ => records,
        }
    }

    pub fn apply(&self, session: &mut Session, record: &Record) {
        let Some(mutant) = self.mutant else { return backstay_kernel::apply(session, record) };
        let before = session.clone();
        backstay_kernel::apply(session, changed_record(mutant, record).as_ref().unwrap_or(record));
        if mutant == Mutant::HiddenState && matches!(record, Record::Planned(_)) {
            session.lineage = self.hidden.fetch_add(1, Ordering::Relaxed);
        }
        changed_session(mutant, &before, session, record);
        changed_scope(mutant, &before, session, record);
    }

    #[must_use]
    pub fn open_effects(&self, session: &Session, frame: &Frame<'_>) -> Vec<Effect> {
        match self.mutant {
            Some(mutant @ (Mutant::DeadBootRunsOn | Mutant::LookupNotWaitedFor)) => {
                backstay_kernel::open_effects(&blind(mutant, session, frame), frame)
            }
            Some(Mutant::UnfundedAsleep) => {
                let waits = |id: EffectId| matches!(session.effects.get(&id), Some(open) if matches!(open.state, State::Unfunded { .. }));
                let mut open = backstay_kernel::open_effects(session, frame);
                open.retain(|effect| !waits(effect.id()));
                open
            }
            _ => backstay_kernel::open_effects(session, frame),
        }
    }

    /// # Errors
    /// Those of the kernel's `start`.
    pub fn start(&self, session: &Session, effect: EffectId, frame: &Frame<'_>) -> Result<Permit, Bounce> {
        let Some(mutant) = self.mutant else { return backstay_kernel::start(session, effect, frame) };
        let mut frame = Frame { standing: blinkered(mutant, session, frame).standing, ..frame.clone() };
        let mut session = blind(mutant, session, &frame);
        let Some(open) = session.effects.get_mut(&effect) else {
            return backstay_kernel::start(&session, effect, &frame);
        };
        if let State::Started { boot, epoch, .. } = &mut open.state {
            match mutant {
                Mutant::PermitOfDeadBoot => *boot = frame.boot,
                Mutant::PermitUnderOtherPolicy => *epoch = frame.policy.epoch,
                Mutant::PermitWhileFrozen => frame.switches.frozen = false,
                _ => {}
            }
        }
        if let (Mutant::StandingPastLastLook, Work::Tool { judged: Some(judged), .. }) = (mutant, &mut open.work) {
            judged.standing = None;
        }
        let turn_id = open.work.turn();
        if let (Mutant::PermitAfterTurn, Some(turn)) = (mutant, &mut session.turn) {
            turn.id = turn_id;
            turn.cancelled = false;
        }
        backstay_kernel::start(&session, effect, &frame)
    }

    #[must_use]
    pub fn head(&self, session: &Session) -> Head {
        let mut head = backstay_kernel::head(session);
        if self.is(Mutant::WakeForgotten) {
            head.wake_at = None;
        }
        head.open &= !self.is(Mutant::HeadAsleep);
        head
    }

    /// What a record books, on the session before it.
    #[must_use]
    pub fn ledger(&self, session: &Session, record: &Record, allowance: &[WindowState]) -> Vec<LedgerEntry> {
        match record {
            Record::Started(of) if self.is(Mutant::PlanOffTheBooks) && plans(session, of.effect) => Vec::new(),
            _ => backstay_kernel::ledger::entries(session, record, allowance),
        }
    }

    /// The home's journal has the record.
    #[must_use]
    pub fn is_kept(&self, record: &HomeRecord) -> bool {
        !(self.is(Mutant::StandingKept) && matches!(record, HomeRecord::StandingRevoked { .. }))
    }

    #[must_use]
    pub fn is_durable(&self, node: &Node, started: Seq) -> bool {
        started <= node.durable.session.seq || self.is(Mutant::StartBeforeDurable)
    }

    #[must_use]
    pub fn key(&self, permit: &Permit) -> Digest {
        if self.is(Mutant::KeyPerAttempt) {
            return Digest::of("attempt", &[&permit.attempt().to_be_bytes()]);
        }
        permit.key()
    }

    #[must_use]
    pub fn probe(&self, found: Probed) -> Probed {
        match (self.is(Mutant::ProbeInverted), found) {
            (true, Probed::Done) => Probed::NotDone,
            (true, Probed::NotDone) => Probed::Done,
            (_, found) => found,
        }
    }
}

fn resolved(effect: EffectId) -> Record {
    Record::Resolved { effect, resolution: Resolution::Retry, by: None, note: None }
}

/// The session as a decision that has forgotten something would see it.
fn blind(mutant: Mutant, session: &Session, frame: &Frame<'_>) -> Session {
    let mut session = session.clone();
    if let (Mutant::CancelForgotten, Some(turn)) = (mutant, &mut session.turn) {
        turn.cancelled = false;
    }
    for open in session.effects.values_mut() {
        if mutant == Mutant::LookupNotWaitedFor {
            open.looks_for = None;
        }
        match (mutant, &mut open.state, &mut open.work) {
            (Mutant::DeadBootRunsOn, State::Started { boot, .. }, _) => *boot = frame.boot,
            (Mutant::NotJudgedAgain, _, Work::Tool { judged: Some(judged), .. }) => {
                judged.epoch = frame.policy.epoch;
            }
            _ => {}
        }
    }
    session
}

fn blinkered<'a>(mutant: Mutant, session: &Session, frame: &Frame<'a>) -> Frame<'a> {
    let mut frame = frame.clone();
    for standing in &mut frame.standing {
        match (mutant, &session.turn) {
            (Mutant::StandingNeverEnds, _) => standing.until = u64::MAX,
            (Mutant::StandingForAnybody, Some(turn)) => standing.principal.clone_from(&turn.principal),
            _ => {}
        }
    }
    if mutant == Mutant::SharedIgnored {
        frame.allowance.clear();
    }
    if mutant == Mutant::FrozenGoesOn {
        frame.switches.frozen = false;
    }
    frame
}

fn changed_input(mutant: Mutant, session: &Session, frame: &Frame<'_>, input: Input) -> Input {
    match (mutant, input) {
        (Mutant::StandingToAnything, Input::Inspected { effect, inspection, mut named }) => {
            named.arguments = frame.standing.first().map(|standing| standing.arguments);
            Input::Inspected { effect, inspection, named }
        }
        (Mutant::ScopeSaysWhomNot, Input::Inspected { effect, inspection, mut named }) => {
            let open = session.turn.iter().flat_map(|turn| turn.scope.entries.iter().zip(0u32..));
            let mut free = open.filter(|(entry, _)| entry.taken.len() < entry.count as usize);
            named.entry = named.entry.or(free.next().map(|(_, place)| place));
            Input::Inspected { effect, inspection, named }
        }
        (Mutant::FormsToldApart, Input::Inspected { effect, inspection, mut named }) => {
            let of_call = vec![RepeatKey(effect.0.to_be_bytes())];
            named.warrant.iter_mut().for_each(|warrant| warrant.values = Some(of_call.clone()));
            Input::Inspected { effect, inspection, named }
        }
        (
            Mutant::ReplyIsPlan,
            Input::Ended { effect, started, outcome: Outcome::Replied { text, finish, usage, .. }, connections },
        ) if plans(session, effect) => {
            let outcome = Outcome::Scoped { said: text, entries: Vec::new(), body: body(403), finish, usage };
            Input::Ended { effect, started, outcome, connections }
        }
        (Mutant::DigestIgnored, Input::Decide(mut decide)) => {
            let asked = session.effects.get(&decide.effect).map(|open| &open.state);
            if let Some(State::Asked { digest, .. }) = asked {
                decide.digest = *digest;
            }
            Input::Decide(decide)
        }
        (Mutant::AnyoneApproves, Input::Decide(mut decide)) => {
            decide.role = Role::Owner;
            Input::Decide(decide)
        }
        (Mutant::YesCountedTwice | Mutant::RequesterCounted, Input::Decide(mut decide)) => {
            let asked = session.effects.get(&decide.effect).map(|open| &open.state);
            let Some(State::Asked { yes, .. }) = asked else { return Input::Decide(decide) };
            let is_second = yes.contains(&decide.by);
            let is_own = decide.by == OWNER && decide.approve;
            if (mutant == Mutant::YesCountedTwice && is_second) || (mutant == Mutant::RequesterCounted && is_own) {
                let other = PEOPLE.iter().skip(1).find(|(name, _)| !yes.iter().any(|said| said == name));
                decide.by = other.map_or(decide.by, |(name, _)| (*name).to_owned());
            }
            Input::Decide(decide)
        }
        (Mutant::DoorIgnored, Input::Decide(mut decide)) => {
            decide.channel = AT_HOME.to_owned();
            Input::Decide(decide)
        }
        (Mutant::StaleOutcomeTaken, Input::Ended { effect, started, outcome, connections }) => {
            let state = session.effects.get(&effect).map(|open| &open.state);
            let started = if let Some(State::Started { seq, .. }) = state { *seq } else { started };
            Input::Ended { effect, started, outcome, connections }
        }
        (
            Mutant::DoneIsFailed,
            Input::Ended { effect, started, outcome: Outcome::Done { result, repeat, label, .. }, connections },
        ) => Input::Ended { effect, started, outcome: Outcome::Failed { result, repeat, label }, connections },
        (_, input) => input,
    }
}

fn changed_records(mutant: Mutant, records: Vec<Record>) -> Vec<Record> {
    let mut out = Vec::with_capacity(records.len());
    for mut record in records {
        match (mutant, &mut record) {
            (Mutant::UnsafeLapses, Record::Doubted { effect, boot }) => {
                record = Record::Lapsed { effect: *effect, boot: *boot };
            }
            (Mutant::AskIsAllow, Record::Judged(judged)) => {
                if matches!(judged.verdict, Verdict::Ask { .. }) {
                    judged.verdict = Verdict::Allow { by: Reason::ClassDefault };
                }
            }
            (Mutant::SecondAskOpened, Record::Judged(judged)) => {
                if let Verdict::Parked { by, .. } = &judged.verdict {
                    judged.verdict = asked(by.clone());
                }
            }
            (Mutant::RefusedAskedAgain, Record::Judged(judged))
                if judged.verdict == (Verdict::Deny { by: Reason::Refused }) =>
            {
                judged.verdict = asked(Reason::ClassDefault);
            }
            (Mutant::OverdueLapses, Record::Overdue { effect }) => {
                record = Record::Lapsed { effect: *effect, boot: Boot(0) };
            }
            (Mutant::OverdueNotStarted, Record::Overdue { effect }) => {
                let (effect, end) = (*effect, End::NotStarted);
                record = Record::Ended(Ended { effect, at: 0, started: None, end, spent: None });
            }
            (Mutant::ReservationDropped, Record::Started(started)) => started.reservation = None,
            (Mutant::UnknownForgotten, Record::TurnEnded(ended)) => ended.completion.unknown.clear(),
            (Mutant::TurnEndsTwice, Record::TurnEnded(_)) | (Mutant::MessageTwice, Record::Admitted(_)) => {
                out.push(record.clone());
            }
            _ => {}
        }
        out.push(record);
    }
    out
}

fn asked(by: Reason) -> Verdict {
    Verdict::Ask { by, approvers: Approvers::owners(), expires_at: u64::MAX, digest: Digest::default(), at: 0 }
}

/// What a wrong fold takes a record for.
fn changed_record(mutant: Mutant, record: &Record) -> Option<Record> {
    let Record::Decided { effect, decision, by, speaks, note } = record else { return None };
    match (mutant, decision) {
        (Mutant::DenyIsYes, Decision::Deny) | (Mutant::ExpiryIsYes, Decision::Expire) => {
            let (effect, by, speaks, note) = (*effect, by.clone(), *speaks, *note);
            Some(Record::Decided { effect, decision: Decision::Approve, by, speaks, note })
        }
        _ => None,
    }
}

/// What a wrong fold leaves out or adds.
fn changed_session(mutant: Mutant, before: &Session, session: &mut Session, record: &Record) {
    let grown = session.items.len() > before.items.len();
    match (mutant, record) {
        (Mutant::ResultsSwapped | Mutant::ResultsDropped | Mutant::AnswerDropped, _) if grown => {
            let Some(Item::Results { answers, .. }) = session.items.back_mut() else { return };
            match mutant {
                Mutant::ResultsSwapped => answers.reverse(),
                Mutant::AnswerDropped => drop(answers.pop()),
                _ => drop(session.items.pop_back()),
            }
        }
        (Mutant::NoticeBetween, Record::Ended(ended)) => {
            if matches!(ended.end, End::Replied { calls: Some(_), .. }) {
                session.items.push_back(Item::Notice(Notice::Restored));
            }
        }
        (Mutant::TruthBetween, Record::Ended(_) | Record::Resolved { .. }) if grown => {
            let last = session.items.len().saturating_sub(1);
            let told = last.checked_sub(1).and_then(|place| session.items.get(place));
            if matches!(told, Some(Item::Notice(Notice::LaterTruth { .. }))) {
                session.items.swap(last - 1, last);
            }
        }
        (Mutant::LabelOfWindow, Record::TurnStarted(_)) => session.label = Label::of(Source::Config),
        (Mutant::ResultUnlabelled, Record::Ended(ended)) if matches!(ended.end, End::Done { .. }) => {
            session.label = before.label;
        }
        (Mutant::HourForgotten, Record::Judged(_)) | (Mutant::NoesUncounted, Record::Decided { .. }) => {
            session.asks = before.asks.clone();
        }
        (Mutant::StopForgotten, Record::Stopped { .. }) => session.stopped = false,
        (Mutant::MessageLost, Record::TurnEnded(_)) => session.queue.clear(),
        (Mutant::OpenForgotten, Record::TurnEnded(_)) => session.effects.clear(),
        (Mutant::RouteChanged, Record::TurnStarted(_)) => {
            if let Some(turn) = &mut session.turn {
                turn.channel.push('x');
            }
        }
        (Mutant::LapseForgetsMoney, Record::Lapsed { .. }) => {
            if let Some(turn) = &mut session.turn {
                turn.reserved = backstay_kernel::budget::Amount::ZERO;
            }
        }
        (Mutant::QuorumIgnored, Record::Decided { effect, decision: Decision::Approve, .. }) => {
            set(session, *effect, State::Ready);
        }
        (Mutant::BounceForgotten, Record::Bounced { effect, .. }) => set(session, *effect, State::Planned),
        (Mutant::ProbeSkipped, Record::Lapsed { effect, .. }) => {
            let probed = session.effects.get(effect).is_some_and(|open| open.state == State::Probing);
            if probed {
                set(session, *effect, State::Ready);
            }
        }
        (Mutant::ExpiryIsYes, Record::Decided { decision: Decision::Expire, .. }) => {
            for open in session.effects.values_mut() {
                if let Work::Tool { judged: Some(judged), .. } = &mut open.work {
                    judged.approved = None;
                    if matches!(open.state, State::Asked { .. }) {
                        open.state = State::Ready;
                    }
                }
            }
        }
        (Mutant::UnsureForgotten, _) => session.effects.values_mut().for_each(|open| open.unsure = false),
        _ => {}
    }
}

/// What a wrong fold makes of a task's scope, and of what was looked up.
fn changed_scope(mutant: Mutant, before: &Session, session: &mut Session, record: &Record) {
    let Session { turn, effects, created, .. } = session;
    if let (Mutant::ScopeOutlivesTask, Record::TurnEnded(_), Some(turn)) = (mutant, record, &before.turn) {
        let kept = |entry: &ScopeEntry| Created { tool: entry.tool.clone(), id: entry.body };
        created.extend(turn.scope.entries.iter().map(kept));
    }
    if let (Mutant::NoListIsOne, Record::Ended(ended)) = (mutant, record)
        && let Some(of) = before.effects.get(&ended.effect).and_then(|lookup| lookup.looks_for)
    {
        let found = effects.get_mut(&of).into_iter().flat_map(|open| &mut open.found);
        found.for_each(|found| found.list = Some(body(601)));
    }
    let Some(turn) = turn else { return };
    match (mutant, record) {
        (Mutant::SpentForgotten, Record::Ended(_)) => turn.spent_warrants.clear(),
        (Mutant::PlanSkipped, Record::TurnStarted(_)) => turn.scope.planned = turn.said.len(),
        (Mutant::PlannedAgain, Record::Scoped(_)) => turn.scope.planned = 0,
        (Mutant::PlanCountsMore, Record::Scoped(_)) => {
            turn.scope.entries.iter_mut().for_each(|entry| entry.count += 1);
        }
        (Mutant::PlaceGivenBack, Record::Ended(Ended { effect, .. })) => {
            turn.scope.entries.iter_mut().for_each(|entry| entry.taken.retain(|taken| taken != effect));
        }
        (Mutant::ScopeOutlivesTask, Record::TurnStarted(_)) => {
            let (count, taken, place) = (1, Vec::new(), 0);
            let entry = |kept: &Created| ScopeEntry {
                tool: kept.tool.clone(),
                count,
                taken: taken.clone(),
                body: kept.id,
                place,
            };
            turn.scope.entries.extend(created.iter().map(entry));
        }
        _ => {}
    }
}

fn set(session: &mut Session, effect: EffectId, state: State) {
    if let Some(open) = session.effects.get_mut(&effect) {
        open.state = state;
    }
}
