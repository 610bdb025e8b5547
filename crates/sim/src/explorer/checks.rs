//! The invariants, each checked where it could break. Nothing here asks the kernel what is right:
//! [`read`] is a second, simpler reading of the records.
use backstay_kernel::budget::{Amount, LedgerEntry, WindowState};
use backstay_kernel::context::{Answer, Item};
use backstay_kernel::effect::Effect;
use backstay_kernel::id::{Digest, EffectId};
use backstay_kernel::label::Label;
use backstay_kernel::record::{Decision, End, Ended, Judged, Planned, Record, Resolution, StopReason, Verdict};
use backstay_kernel::session::{Session, State};
use backstay_kernel::tool::Idempotency;
use backstay_kernel::{Permit, Wait};

use super::moves::Driver;
use super::node::{Happened, Node, Seen, Snapshot, kind_of};
use super::scope::{CHANNELS, Kind, OWNER, PEOPLE};
use super::{Invariant, Violation, unasked};

/// One node in this many is folded again from its records, and read back from its stored form.
const FOLD_SAMPLE: u64 = 512;
/// Noes in a row after which a turn is over, and in what time asks are counted.
const NOES_MAX: usize = 3;
const HOUR_MS: u64 = 3_600_000;
/// One node in this many is shown to `start` under switches that forbid it.
const START_SAMPLE: u64 = 8;

fn broken<T>(invariant: Invariant, detail: impl Into<String>) -> Result<T, Violation> {
    Err(Violation::new(invariant, detail))
}

/// What must hold of the session that a record is about to change.
pub fn before(node: &Node, session: &Session, seen: &Seen, record: &Record) -> Result<(), Violation> {
    unasked::before(node, &seen.unasked, record)?;
    let halted = node.frozen || seen.stopped;
    match record {
        Record::Admitted(admitted) if seen.admitted & message_bit(admitted.body.id) != 0 => {
            broken(Invariant::I11Message, "a message is admitted twice")
        }
        Record::TurnStarted(_)
        | Record::Entered { .. }
        | Record::Started(_)
        | Record::Planned(Planned::Model { .. } | Planned::Scope { .. })
            if halted =>
        {
            broken(Invariant::I2Gate, "something starts while frozen or stopped")
        }
        Record::TurnEnded(ended) => {
            let Some(turn) = session.turn.as_ref().filter(|turn| turn.id == ended.turn) else {
                return broken(Invariant::OneEnd, "a turn ends that is not open");
            };
            let route = seen.route.and_then(|route| CHANNELS.get(route));
            if route != Some(&turn.channel.as_str()) {
                return broken(Invariant::I12Route, format!("the reply goes to `{}`", turn.channel));
            }
            if ended.reason == StopReason::Denials && usize::from(seen.noes) < NOES_MAX {
                return broken(Invariant::Asks, "a turn ends for noes that nobody said");
            }
            completion(node, session, seen, &ended.completion)
        }
        Record::Planned(Planned::Model { .. }) => paired(session, seen),
        Record::Judged(Judged { effect, verdict: Verdict::Ask { .. }, .. }) => asked(node, session, seen, *effect),
        _ => Ok(()),
    }
}

/// What must hold of a question before it is put.
fn asked(node: &Node, session: &Session, seen: &Seen, effect: EffectId) -> Result<(), Violation> {
    if seen.asks.iter().any(|other| *other != effect) {
        return broken(Invariant::Asks, "two asks are open");
    }
    if kind_of(session, effect).is_some_and(|kind| seen.refused & kind.bit() != 0) {
        return broken(Invariant::Asks, "a person is asked again what they refused");
    }
    let recent = seen.asked_at.iter().filter(|at| **at + HOUR_MS > node.clock).count();
    if !seen.asks.contains(&effect) && recent >= node.asks_per_hour as usize {
        return broken(Invariant::Asks, "more asks are opened than the hour has room for");
    }
    Ok(())
}

/// What must hold of the session that a record has changed.
pub fn after(node: &Node, session: &Session, seen: &Seen, record: &Record) -> Result<(), Violation> {
    unasked::after(session, &seen.unasked)?;
    if let Record::Started(started) = record {
        let of_model = kind_of(session, started.effect).is_none();
        if of_model && node.turn_tokens.is_some_and(|cap| seen.spent + seen.reserved > cap) {
            return broken(
                Invariant::I5Money,
                format!("{} spent and {} reserved pass the cap", seen.spent, seen.reserved),
            );
        }
        let over = |window: &WindowState| !window.window.ceiling.holds(window.used.sum());
        if of_model && node.allowance(seen).iter().any(over) {
            return broken(Invariant::I5Money, "the window that others share holds more than it may");
        }
        if of_model && started.reservation.is_none() {
            return broken(Invariant::I5Money, "a model call starts without a reservation");
        }
    }
    if let Some(turn) = &session.turn {
        let booked = Amount { tokens: seen.reserved, micro_usd: turn.reserved.micro_usd };
        if turn.reserved != booked || turn.spent.tokens != seen.spent {
            return broken(Invariant::I5Money, format!("the books say {:?} and {:?}", turn.reserved, turn.spent));
        }
    }
    Ok(())
}

/// Tokens that the shared window has reserved and settled for the session, as its records say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held(i128, i128);

impl Held {
    #[must_use]
    pub fn of(seen: &Seen) -> Self {
        Self(i128::from(seen.in_flight), i128::from(seen.settled))
    }
}

/// The ledger is told of a record what its reading says: each reservation once, and each settlement.
pub fn booked((held, entries): (Held, Vec<LedgerEntry>), seen: &Seen) -> Result<(), Violation> {
    let book = |Held(reserved, settled), entry: &LedgerEntry| match entry {
        LedgerEntry::Reserve { amount, .. } => Held(reserved + i128::from(amount.tokens), settled),
        LedgerEntry::Settle { reserved: given_back, spent, .. } => {
            Held(reserved - i128::from(given_back.tokens), settled + i128::from(spent.tokens))
        }
    };
    if entries.iter().fold(held, book) == Held::of(seen) {
        return Ok(());
    }
    broken(Invariant::I5Money, format!("the ledger is told {entries:?}"))
}

/// What must hold of the label of a session, `before` and after a record.
pub fn labelled(before: Label, session: &Session, record: &Record) -> Result<(), Violation> {
    if !session.label.covers(before) {
        return broken(Invariant::I7Label, format!("{before:?} became {:?}", session.label));
    }
    match record {
        Record::Ended(Ended { end: End::Done { label, .. }, .. }) if !session.label.covers(*label) => {
            broken(Invariant::I7Label, "the result of a tool is not in the label")
        }
        _ => Ok(()),
    }
}

fn message_bit(body: u64) -> u8 {
    1u8.checked_shl(u32::try_from(body.saturating_sub(1)).unwrap_or(7)).unwrap_or(0)
}

/// Of nobody that there is: none.
pub fn person_bit(name: &str) -> u8 {
    PEOPLE.iter().position(|(known, _)| *known == name).map_or(0, |place| 1 << place)
}

/// The second reading of one record, on the session before it.
pub fn read(seen: &mut Seen, session: &Session, record: &Record, now: u64) {
    unasked::read(&mut seen.unasked, session, seen.approved, record);
    read_calls(seen, session, record);
    read_asks(seen, session, record, now);
}

fn read_calls(seen: &mut Seen, session: &Session, record: &Record) {
    let kind = |effect| kind_of(session, effect);
    match record {
        Record::Admitted(admitted) => seen.admitted |= message_bit(admitted.body.id),
        Record::TurnStarted(started) => {
            let mut queue = session.queue.iter();
            let first = queue.find(|waiting| started.messages.contains(&waiting.seq));
            seen.route = first.and_then(|first| CHANNELS.iter().position(|c| *c == first.channel));
            seen.calls.clear();
            (seen.spent, seen.reserved) = (0, 0);
        }
        Record::Planned(Planned::Tool { call, .. }) => {
            if let Some(kind) = Kind::of(call.repeat) {
                seen.again |= seen.issued & kind.bit();
                seen.issued |= kind.bit();
                seen.calls.push((session.seq.next(), kind));
            }
        }
        Record::Judged(judged) => {
            if let (Some(kind), Verdict::Ask { .. } | Verdict::Deny { .. }) = (kind(judged.effect), &judged.verdict) {
                seen.approved &= !kind.bit();
            }
            if let Verdict::Ask { approvers, .. } = &judged.verdict {
                (seen.yes, seen.quorum, seen.but_requester) = (0, approvers.quorum, approvers.but_requester);
            }
            if let (Some(kind), Verdict::Deny { .. }) = (kind(judged.effect), &judged.verdict) {
                seen.unsettled &= !kind.bit();
            }
        }
        Record::Decided { effect, decision, by, .. } => {
            let bit = kind(*effect).map_or(0, Kind::bit);
            match decision {
                Decision::Approve => {
                    seen.yes |= person_bit(by.as_deref().unwrap_or_default());
                    let counted = if seen.but_requester { seen.yes & !person_bit(OWNER) } else { seen.yes };
                    if counted.count_ones() >= seen.quorum {
                        seen.approved |= bit;
                    }
                }
                Decision::Deny | Decision::Expire => seen.unsettled &= !bit,
            }
        }
        Record::Started(started) if kind(started.effect).is_none() => {
            seen.in_flight = started.reservation.as_ref().map_or(0, |r| r.amount.tokens);
            seen.reserved += seen.in_flight;
        }
        Record::Started(started) => seen.unsettled |= kind(started.effect).map_or(0, Kind::bit),
        Record::Bounced { effect, .. } => match kind(*effect) {
            None => settle(seen, Some(0)),
            Some(kind) => seen.unsettled &= !kind.bit(),
        },
        Record::Retried(retried) => settle(seen, (!retried.possibly_billed).then_some(0)),
        Record::Lapsed { effect, .. } if kind(*effect).is_none() => settle(seen, None),
        Record::Resolved { effect, resolution: Resolution::Done | Resolution::NotDone, .. } => {
            let bit = kind(*effect).map_or(0, Kind::bit);
            seen.concluded |= bit;
            seen.unsettled &= !bit;
        }
        Record::Ended(ended) => match kind(ended.effect) {
            None => settle(seen, ended.spent.map(|spent| spent.tokens)),
            Some(kind) => {
                seen.unsettled &= !kind.bit();
                if matches!(ended.end, End::Done { .. }) {
                    seen.done |= kind.bit();
                }
            }
        },
        Record::Stopped { .. } => seen.stopped = true,
        Record::Resumed { .. } => seen.stopped = false,
        _ => {}
    }
}

/// What people were asked, and what they said.
fn read_asks(seen: &mut Seen, session: &Session, record: &Record, now: u64) {
    match record {
        Record::TurnStarted(_) => (seen.refused, seen.again) = (0, 0),
        Record::Judged(judged) if !matches!(judged.verdict, Verdict::Ask { .. }) => {
            seen.asks.retain(|open| *open != judged.effect);
        }
        Record::Judged(judged) if !seen.asks.contains(&judged.effect) => {
            seen.asks.push(judged.effect);
            seen.asked_at.push(now);
        }
        Record::Decided { effect, decision, .. } => {
            let bit = kind_of(session, *effect).map_or(0, Kind::bit);
            match decision {
                Decision::Approve if seen.approved & bit == 0 => return,
                Decision::Approve => seen.noes = 0,
                Decision::Deny | Decision::Expire => {
                    // A second answer to one ask is no second no.
                    seen.noes += u8::from(seen.asks.contains(effect));
                    seen.refused |= if *decision == Decision::Deny { bit } else { 0 };
                }
            }
            seen.asks.retain(|open| open != effect);
        }
        Record::TurnEnded(_) => {
            seen.asks.clear();
            seen.noes = if usize::from(seen.noes) < NOES_MAX { seen.noes } else { 0 };
        }
        Record::Resumed { .. } => seen.noes = 0,
        _ => {}
    }
}

/// The end of the call in flight: billed, or, without a bill, kept as possibly billed.
fn settle(seen: &mut Seen, spent: Option<u64>) {
    seen.settled += spent.unwrap_or(seen.in_flight);
    if let Some(spent) = spent {
        seen.reserved = seen.reserved.saturating_sub(seen.in_flight);
        seen.spent += spent;
    }
    seen.in_flight = 0;
}

/// Every call of the turn is in one list, and the list tells the truth.
fn completion(
    node: &Node,
    session: &Session,
    seen: &Seen,
    completion: &backstay_kernel::record::Completion,
) -> Result<(), Violation> {
    let lists =
        [&completion.done, &completion.failed, &completion.refused, &completion.not_started, &completion.unknown];
    let mut listed: Vec<_> = lists.iter().flat_map(|list| list.iter().copied()).collect();
    listed.sort_unstable();
    let mut planned: Vec<_> = seen.calls.iter().map(|(effect, _)| *effect).collect();
    planned.sort_unstable();
    if listed != planned {
        return broken(Invariant::Completion, format!("{listed:?} are listed of {planned:?}"));
    }
    for (effect, kind) in &seen.calls {
        let Happened { times, retries, .. } = node.times(*kind);
        // Whoever says "done", "not done" or "once more" of a doubt answers for what follows.
        let concluded = seen.concluded & kind.bit() != 0 || retries > 0;
        let not_so = if completion.done.contains(effect) {
            times == 0 && !concluded
        } else if completion.failed.contains(effect) {
            times > 0 && !concluded
        } else if completion.not_started.contains(effect) || completion.refused.contains(effect) {
            times > 0
        } else {
            seen.done & kind.bit() != 0
        };
        if not_so && *kind != Kind::Read {
            return broken(Invariant::I3Once, format!("`{}` happened {times} times: {completion:?}", kind.name()));
        }
        let open = session.effects.contains_key(effect);
        if open && !completion.unknown.contains(effect) {
            return broken(Invariant::Completion, format!("{effect:?} is open and listed as ended"));
        }
    }
    Ok(())
}

/// Every reply with calls is followed by one answer for each, in order (I4), and every message
/// that was admitted and does not wait is there once (I11).
fn paired(session: &Session, seen: &Seen) -> Result<(), Violation> {
    let items: Vec<&Item> = session.context().collect();
    for (place, item) in items.iter().enumerate() {
        let next = items.get(place + 1);
        match item {
            Item::Assistant { calls: Some(calls), .. } => match next {
                Some(Item::Results { calls: of, answers }) if of == calls => answered(calls.id, answers)?,
                _ => return broken(Invariant::I4Paired, "a reply without its results"),
            },
            Item::Results { .. } => {
                let before = place.checked_sub(1).and_then(|before| items.get(before));
                if !matches!(before, Some(Item::Assistant { calls: Some(_), .. })) {
                    return broken(Invariant::I4Paired, "results without their reply");
                }
            }
            Item::User { .. } | Item::Assistant { calls: None, .. } | Item::Notice(_) => {}
        }
    }
    let shown = items.iter().filter(|item| matches!(item, Item::User { .. })).count();
    if shown + session.queue.len() != seen.admitted.count_ones() as usize {
        return broken(Invariant::I11Message, "a message is lost or doubled");
    }
    Ok(())
}

fn answered(calls: u64, answers: &[Answer]) -> Result<(), Violation> {
    let bits = u8::try_from(calls.saturating_sub(200)).unwrap_or(0);
    if answers.len() != bits.count_ones() as usize {
        return broken(Invariant::I4Paired, "not one answer for every call");
    }
    let kinds = Kind::ALL.into_iter().filter(|kind| bits & kind.bit() != 0);
    for (kind, answer) in kinds.zip(answers) {
        let own = 100 + u64::from(kind.number());
        if matches!(answer, Answer::Body { body, .. } if body.id != own) {
            return broken(Invariant::I4Paired, "an answer stands in another's place");
        }
    }
    Ok(())
}

/// An effect is launched: is it allowed, is its intent durable, is it the first?
pub fn launched(node: &mut Node, effect: &Effect, permit: &Permit, key: Digest) -> Result<(), Violation> {
    if !effect.is_pure() && permit.started() > node.durable.session.seq {
        return broken(Invariant::I1Durable, format!("{effect:?} starts before its intent is durable"));
    }
    let session = node.session();
    let wanted = session.turn.as_ref().is_some_and(|turn| {
        let of_turn = session.effects.get(&effect.id()).is_some_and(|open| open.work.turn() == turn.id);
        of_turn && !turn.cancelled
    });
    if !wanted || node.frozen || node.now().seen.stopped {
        return broken(Invariant::I2Gate, format!("{effect:?} starts after its turn, or while halted"));
    }
    let Some(kind) = kind_of(session, effect.id()) else { return Ok(()) };
    unasked::launched(node, &node.now().seen, effect.id(), kind)?;
    if kind == Kind::Shell && node.narrowed {
        return broken(Invariant::I2Gate, "shell runs although it is denied by now");
    }
    if effect.is_pure() {
        return Ok(());
    }
    let happened = node.happened(kind);
    match happened.key {
        Some(first) if first != key => broken(Invariant::I3Once, "a second try has another key"),
        _ => {
            happened.key = Some(key);
            Ok(())
        }
    }
}

/// An effect takes place in the world.
pub fn happens(node: &mut Node, kind: Kind) -> Result<(), Violation> {
    let happened = node.happened(kind);
    happened.times += 1;
    let most = match kind.idempotency() {
        Idempotency::Unsafe | Idempotency::Probed => 1 + happened.retries,
        // The other side drops what it has had; counting on would only multiply the nodes.
        Idempotency::Keyed | Idempotency::Idempotent | Idempotency::Pure => {
            happened.times = 1;
            1
        }
    };
    if happened.times > most {
        return broken(Invariant::I3Once, format!("`{}` takes place twice", kind.name()));
    }
    Ok(())
}

/// What must hold of every node by itself.
pub fn node(driver: &Driver, node: &Node, hash: u64) -> Result<(), Violation> {
    if hash.is_multiple_of(FOLD_SAMPLE) {
        folds(driver, node.now(), hash)?;
    }
    let seen = &node.now().seen;
    let mut open = node.session().effects.keys().filter_map(|effect| kind_of(node.session(), *effect));
    if open.by_ref().fold(seen.unsettled, |bits, kind| bits & !kind.bit()) != 0 {
        return broken(Invariant::I3Once, "a started effect is forgotten without an end");
    }
    if usize::from(seen.noes) >= NOES_MAX && node.session().turn.is_some() {
        return broken(Invariant::Asks, "a turn goes on after one no after another");
    }
    if hash.is_multiple_of(START_SAMPLE) {
        never_starts(driver, node)?;
    }
    if node.pending.is_empty() && node.running.is_empty() { waits(driver, node) } else { Ok(()) }
}

/// A node in which nothing goes on has ended its turn, or waits for something that has a name.
fn waits(driver: &Driver, node: &Node) -> Result<(), Violation> {
    let (session, head) = (node.session(), driver.kernel.head(node.session()));
    let frame = node.frame(&driver.policies);
    let stuck = |what: &str| broken(Invariant::I10NamedWait, format!("{what}: {:?}", session.effects));
    if !head.open && head.wake_at.is_none_or(|at| at > node.clock) {
        let mut restarted = node.frame(&driver.policies);
        restarted.switches.frozen = false;
        restarted.boot.0 += 1;
        // An ask under an older policy is looked at again when somebody answers it.
        let records = driver.kernel.advance(session, &restarted);
        let idle = records.iter().all(|record| matches!(record, Record::Judged(_)))
            && driver.kernel.open_effects(session, &restarted).is_empty();
        if !idle {
            return stuck("start-up would leave it asleep");
        }
    }
    if !driver.kernel.open_effects(session, &frame).is_empty() {
        return Ok(());
    }
    if session.turn.is_none() {
        paired(session, &node.now().seen)?;
    }
    if session.turn.as_ref().is_some_and(|turn| turn.cancelled) {
        return stuck("a cancelled turn stays open");
    }
    let halted = node.frozen || session.stopped;
    let mut asleep = false;
    for open in session.effects.values() {
        let due = match &open.state {
            State::Asked { expires_at: at, .. }
            | State::Backoff { not_before: at, .. }
            | State::Unfunded { until: at } => Some(*at),
            State::Parked { until: None, .. } if !halted && node.now().seen.asks.is_empty() => {
                return stuck("an ask that nobody opens");
            }
            State::Parked { until, .. } => *until,
            State::Started { .. } => return stuck("an effect of a dead process"),
            State::Planned | State::Ready | State::Probing if !halted => return stuck("an effect that nobody starts"),
            State::Planned | State::Ready | State::Probing => None,
            State::Doubt | State::Question => None,
        };
        if due.is_some_and(|at| head.wake_at.is_none_or(|wake_at| wake_at > at)) {
            return stuck("a wait without its moment");
        }
        asleep |= due.is_some_and(|at| at <= node.clock) && !halted;
        asleep |= matches!(open.state, State::Asked { expires_at, .. } if expires_at <= node.clock);
    }
    if asleep {
        return stuck("a wait is open past its time");
    }
    let of_turn = session.turn.as_ref().map(|turn| session.effects.values().any(|open| open.work.turn() == turn.id));
    match of_turn {
        _ if halted => Ok(()),
        Some(false) => stuck("a turn that waits for nothing"),
        None if !session.queue.is_empty() => stuck("a message that nobody takes"),
        Some(true) | None if head.wait == Wait::Running => stuck("a wait without a name"),
        Some(true) | None => Ok(()),
    }
}

fn never_starts(driver: &Driver, node: &Node) -> Result<(), Violation> {
    let session = node.session();
    for (effect, open) in &session.effects {
        let State::Started { boot, epoch, .. } = open.state else { continue };
        let mut frozen = node.frame(&driver.policies);
        frozen.switches.frozen = true;
        let mut reborn = node.frame(&driver.policies);
        reborn.boot.0 = boot.0 + 1;
        let mut narrowed = node.frame(&driver.policies);
        let other = driver.policies.iter().find(|policy| policy.epoch != epoch);
        narrowed.policy = other.unwrap_or(narrowed.policy);
        for (frame, why) in [(&frozen, "frozen"), (&reborn, "of a dead boot"), (&narrowed, "under another policy")] {
            if driver.kernel.start(session, *effect, frame).is_ok() {
                return broken(Invariant::I2Gate, format!("start mints a permit {why}"));
            }
        }
    }
    Ok(())
}

/// Folding the records again gives this session, through a stored snapshot too.
fn folds(driver: &Driver, snapshot: &Snapshot, hash: u64) -> Result<(), Violation> {
    let records = snapshot.records();
    let split = usize::try_from(hash / FOLD_SAMPLE).unwrap_or(0) % (records.len() + 1);
    let mut session = Session::new(snapshot.session.id);
    for (place, record) in records.iter().enumerate() {
        if place == split {
            session = stored(&session)?;
        }
        driver.kernel.apply(&mut session, record);
    }
    if session != snapshot.session {
        return broken(Invariant::I6Fold, "the fold is another session");
    }
    Ok(())
}

fn stored(session: &Session) -> Result<Session, Violation> {
    let text = serde_json::to_string(session);
    let read = text.and_then(|text| serde_json::from_str(&text));
    read.or_else(|error| broken(Invariant::I6Fold, format!("a snapshot does not read back: {error}")))
}
