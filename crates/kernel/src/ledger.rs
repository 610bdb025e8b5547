//! What a record does to the ledger that sessions share.
use alloc::vec::Vec;

use crate::budget::{Amount, LedgerEntry, WindowState};
use crate::id::EffectId;
use crate::record::{Record, Reservation};
use crate::session::{Session, State};

/// The ledger's part of `record`, on the state before it is applied.
#[must_use]
pub fn entries(session: &Session, record: &Record, allowance: &[WindowState]) -> Vec<LedgerEntry> {
    match record {
        Record::Started(started) => reserve(started.reservation.as_ref(), allowance),
        Record::Bounced { effect, .. } => settle(session, *effect, Some(Amount::ZERO)),
        Record::Retried(retried) => settle(session, retried.effect, (!retried.possibly_billed).then_some(Amount::ZERO)),
        Record::Ended(ended) => settle(session, ended.effect, ended.spent),
        Record::Lapsed { effect, .. } => settle(session, *effect, None),
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
        | Record::Lineage { .. } => Vec::new(),
    }
}

fn reserve(reservation: Option<&Reservation>, allowance: &[WindowState]) -> Vec<LedgerEntry> {
    let Some(reservation) = reservation else { return Vec::new() };
    let entry = |state: &WindowState| LedgerEntry::Reserve {
        key: state.window.key.clone(),
        amount: reservation.amount,
        ceiling: state.window.ceiling,
    };
    allowance.iter().map(entry).collect()
}

/// Without a bill all that was reserved counts as spent: one may still come, and nothing will say
/// that none does. So what stands reserved in the ledger is in flight, and ends.
fn settle(session: &Session, effect: EffectId, spent: Option<Amount>) -> Vec<LedgerEntry> {
    let state = session.effects.get(&effect).map(|open| &open.state);
    let Some(State::Started { reservation: Some(reservation), .. }) = state else {
        return Vec::new();
    };
    let (reserved, spent) = (reservation.amount, spent.unwrap_or(reservation.amount));
    let entry = |key: &alloc::string::String| LedgerEntry::Settle { key: key.clone(), reserved, spent };
    reservation.windows.iter().map(entry).collect()
}
