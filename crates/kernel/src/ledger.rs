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
        Record::Retried(retried) if !retried.possibly_billed => settle(session, retried.effect, Some(Amount::ZERO)),
        Record::Ended(ended) => settle(session, ended.effect, ended.spent),
        // Without a bill a reservation stays.
        Record::Retried(_) | Record::Lapsed { .. } | Record::Doubted { .. } => Vec::new(),
        Record::Opened(_)
        | Record::Admitted(_)
        | Record::TurnStarted(_)
        | Record::Entered { .. }
        | Record::Windowed { .. }
        | Record::Planned(_)
        | Record::Judged(_)
        | Record::Decided { .. }
        | Record::Answered { .. }
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

fn settle(session: &Session, effect: EffectId, spent: Option<Amount>) -> Vec<LedgerEntry> {
    let state = session.effects.get(&effect).map(|open| &open.state);
    let (Some(State::Started { reservation: Some(reservation), .. }), Some(spent)) = (state, spent) else {
        return Vec::new();
    };
    let entry =
        |key: &alloc::string::String| LedgerEntry::Settle { key: key.clone(), reserved: reservation.amount, spent };
    reservation.windows.iter().map(entry).collect()
}
