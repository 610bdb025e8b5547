//! What a record does to the ledger that sessions share.
use alloc::string::String;
use alloc::vec::Vec;

use crate::budget::{Amount, LedgerEntry, Window, WindowState};
use crate::id::EffectId;
use crate::record::{Record, Reservation};
use crate::session::{Session, State};

/// The ledger's part of `record`, on the state before it is applied.
#[must_use]
pub fn entries(session: &Session, record: &Record, allowance: &[WindowState]) -> Vec<LedgerEntry> {
    let Some((effect, moved)) = move_of(record) else { return Vec::new() };
    match (moved, session.effects.get(&effect).map(|open| &open.state)) {
        (Move::Reserve(Reservation { amount, .. }), _) => {
            let reserve = |Window { key, ceiling }: &Window| LedgerEntry::Reserve {
                key: key.clone(),
                amount: *amount,
                ceiling: *ceiling,
            };
            allowance.iter().map(|state| reserve(&state.window)).collect()
        }
        (Move::Settle(spent), Some(State::Started { reservation: Some(reservation), .. })) => {
            let (reserved, spent) = (reservation.amount, bill(reservation, spent));
            let settle = |key: &String| LedgerEntry::Settle { key: key.clone(), reserved, spent };
            reservation.windows.iter().map(settle).collect()
        }
        (Move::Settle(_), _) => Vec::new(),
    }
}

/// What a record does with the reservation of an effect.
pub(crate) enum Move<'a> {
    Reserve(&'a Reservation),
    /// What was billed for it, if anything is known of a bill.
    Settle(Option<Amount>),
}

pub(crate) fn move_of(record: &Record) -> Option<(EffectId, Move<'_>)> {
    let settles = |effect: &EffectId, spent| Some((*effect, Move::Settle(spent)));
    match record {
        Record::Started(started) => Some((started.effect, Move::Reserve(started.reservation.as_ref()?))),
        Record::Bounced { effect, .. } => settles(effect, Some(Amount::ZERO)),
        Record::Retried(retried) => settles(&retried.effect, (!retried.possibly_billed).then_some(Amount::ZERO)),
        Record::Ended(ended) => settles(&ended.effect, ended.spent),
        Record::Lapsed { effect, .. } => settles(effect, None),
        Record::Opened(_)
        | Record::Admitted(_)
        | Record::TurnStarted(_)
        | Record::Entered { .. }
        | Record::Windowed { .. }
        | Record::Planned(_)
        | Record::Judged(_)
        | Record::Decided { .. }
        | Record::Answered { .. }
        | Record::Unfunded { .. }
        | Record::Overdue { .. }
        | Record::Doubted { .. }
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
pub(crate) fn bill(reservation: &Reservation, spent: Option<Amount>) -> Amount {
    spent.unwrap_or(reservation.amount)
}
