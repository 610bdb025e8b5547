//! What a record does to the ledger that sessions share.
use alloc::string::String;
use alloc::vec::Vec;

use crate::budget::{self, Amount, LedgerEntry, Window, WindowState};
use crate::decide::Input;
use crate::effect::Inspection;
use crate::facts::Facts;
use crate::flow::Named;
use crate::frame::Frame;
use crate::id::EffectId;
use crate::limit;
use crate::record::{Counted, End, Record, Reservation, Started};
use crate::session::{Session, State, Work};
use crate::subject::Subject;

/// The rows of the ledger that the decision on `input` looks at: what the frame of it must hold. A call
/// of a model looks at budgets, one of a tool at the limits of rules.
#[must_use]
pub fn wanted(session: &Session, input: &Input, frame: &Frame<'_>) -> Vec<Window> {
    match input {
        Input::Prepared { .. } => {
            let turn = session.turn.as_ref().map(|turn| (&turn.principal, &turn.channel));
            let (principal, channel) = turn.unwrap_or((&session.principal, &session.channel));
            budget::windows(frame.policy, &session.agent, principal, channel, frame.now)
        }
        Input::Inspected { effect, inspection: Inspection::Facts(facts), named } => {
            of_call(session, *effect, Some((facts, named)), frame)
        }
        // Whatever waits to be started may be judged again.
        Input::Advance => session.effects.keys().flat_map(|effect| of_call(session, *effect, None, frame)).collect(),
        Input::Open(_)
        | Input::Message(_)
        | Input::Erased { .. }
        | Input::Inspected { inspection: Inspection::Invalid { .. }, .. }
        | Input::LookUp { .. }
        | Input::Ended { .. }
        | Input::Probed { .. }
        | Input::Bounced(_)
        | Input::Decide(_)
        | Input::Edit(..)
        | Input::Answer { .. }
        | Input::Resolve { .. }
        | Input::Cancel { .. }
        | Input::Stop { .. }
        | Input::Resume { .. }
        | Input::Lineage { .. } => Vec::new(),
    }
}

/// `found`: what is known of it, where it has just been looked at.
fn of_call(session: &Session, effect: EffectId, found: Option<(&Facts, &Named)>, frame: &Frame<'_>) -> Vec<Window> {
    let rules = frame.policy.agents.get(&session.agent).map(|agent| agent.rules.as_slice()).unwrap_or_default();
    if rules.iter().all(|rule| rule.limits.is_empty()) {
        return Vec::new();
    }
    let Some(open) = session.effects.get(&effect).filter(|open| !open.is_counted) else { return Vec::new() };
    let (Work::Tool { call, judged, .. }, State::Planned | State::Asked { .. } | State::Ready) =
        (&open.work, &open.state)
    else {
        return Vec::new();
    };
    let found = found.or(judged.as_ref().map(|judged| (&judged.facts, &judged.named)));
    let subject = call.tool.as_deref().zip(found).and_then(|(tool, found)| Subject::of(session, tool, found, frame));
    subject.map(|subject| limit::windows(rules, &subject)).unwrap_or_default()
}

/// The ledger's part of `record`, on the state before it is applied.
#[must_use]
pub fn entries(session: &Session, record: &Record, allowance: &[WindowState]) -> Vec<LedgerEntry> {
    let Some((effect, moved)) = move_of(record) else { return Vec::new() };
    match (moved, session.effects.get(&effect).map(|open| &open.state)) {
        (Move::Reserve(started), _) => {
            let reserve = |key: &String, amount, ceiling| LedgerEntry::Reserve { key: key.clone(), amount, ceiling };
            let money = started.reservation.iter().flat_map(|reservation| {
                allowance.iter().map(|WindowState { window: Window { key, ceiling }, .. }| {
                    reserve(key, reservation.amount, *ceiling)
                })
            });
            let limits = started
                .counted
                .iter()
                .map(|counted| reserve(&counted.window, limit::amount(counted.units), limit::ceiling(counted.max)));
            money.chain(limits).collect()
        }
        (Move::Settle(spent), Some(State::Started { reservation, counted, .. })) => {
            let settle = |(key, reserved): (&String, Amount)| LedgerEntry::Settle {
                key: key.clone(),
                reserved,
                spent: bill(reserved, spent),
            };
            booked(reservation.as_ref(), counted).map(settle).collect()
        }
        (Move::Settle(_), _) => Vec::new(),
    }
}

/// What a start has booked, and where.
pub(crate) fn booked<'a>(
    reservation: Option<&'a Reservation>,
    counted: &'a [Counted],
) -> impl Iterator<Item = (&'a String, Amount)> {
    let money = reservation.into_iter().flat_map(|of| of.windows.iter().map(|key| (key, of.amount)));
    money.chain(counted.iter().map(|counted| (&counted.window, limit::amount(counted.units))))
}

/// What a record does with the reservation of an effect.
pub(crate) enum Move<'a> {
    Reserve(&'a Started),
    /// What was billed for it, if anything is known of a bill; a call of a tool bills its shares of
    /// limits, unless it certainly had no effect.
    Settle(Option<Amount>),
}

pub(crate) fn move_of(record: &Record) -> Option<(EffectId, Move<'_>)> {
    let settles = |effect: &EffectId, spent| Some((*effect, Move::Settle(spent)));
    match record {
        Record::Started(started) => Some((started.effect, Move::Reserve(started))),
        Record::Bounced { effect, .. } => settles(effect, Some(Amount::ZERO)),
        Record::Retried(retried) => settles(&retried.effect, (!retried.possibly_billed).then_some(Amount::ZERO)),
        Record::Ended(ended) => {
            let nothing = matches!(ended.end, End::Failed { .. } | End::NotStarted).then_some(Amount::ZERO);
            settles(&ended.effect, ended.spent.or(nothing))
        }
        Record::Lapsed { effect, .. } | Record::Doubted { effect, .. } => settles(effect, None),
        Record::Opened(_)
        | Record::Admitted(_)
        | Record::TurnStarted(_)
        | Record::Entered { .. }
        | Record::Windowed { .. }
        | Record::Planned(_)
        | Record::Judged(_)
        | Record::Decided { .. }
        | Record::Edited { .. }
        | Record::Answered { .. }
        | Record::Unfunded { .. }
        | Record::Overdue { .. }
        | Record::Connected { .. }
        | Record::Created { .. }
        | Record::Scoped(_)
        | Record::Resolved { .. }
        | Record::Cancelled { .. }
        | Record::TurnEnded(_)
        | Record::Stopped { .. }
        | Record::Resumed { .. }
        | Record::Lineage { .. } => None,
    }
}

/// Without a bill all that was reserved counts as spent: one may still come, and nothing will say
/// that none does. So what stands reserved in the ledger is in flight, and ends.
pub(crate) fn bill(reserved: Amount, spent: Option<Amount>) -> Amount {
    spent.unwrap_or(reserved)
}
