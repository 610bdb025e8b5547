//! What stored entries say of the rows that a home keeps beside them, for whoever compares the two. It
//! reads entries as they are stored and folds no session: a journal of millions is read in one go.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use serde::Deserialize;

use crate::budget::Amount;
use crate::id::{EffectId, SessionId};
use crate::label::Label;
use crate::ledger::{Move, bill, move_of};
use crate::record::{End, Ended, Entry, Opened, Record, Reservation};

/// An entry without a reservation in some window does not hold this, whatever its names are: a quote
/// within a string is escaped.
const BOOKED: &str = r#""windows":[""#;
/// How the records begin that move money: all that [`move_of`] makes something of. Nothing else in an
/// entry begins so.
const MOVING: [&str; 5] = [r#"{"started":"#, r#"{"bounced":"#, r#"{"retried":"#, r#"{"ended":"#, r#"{"lapsed":"#];

/// The ledger's part of a whole journal.
#[derive(Debug, Default)]
pub struct Replay {
    in_flight: BTreeMap<(SessionId, EffectId), Reservation>,
}

/// What is done to a window of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Reserve(Amount),
    Settle { reserved: Amount, spent: Amount },
}

impl Replay {
    /// Hands over what the next entry of a session, as it is stored, has booked in which window.
    ///
    /// # Errors
    /// It is no entry.
    pub fn read(
        &mut self,
        session: SessionId,
        text: &str,
        mut book: impl FnMut(&str, Change),
    ) -> Result<(), serde_json::Error> {
        let mut own = self.in_flight.range((session, EffectId::default())..);
        let has_own = own.next().is_some_and(|((of, _), _)| *of == session);
        if !has_own && !text.contains(BOOKED) {
            return Ok(());
        }
        let kinds = MOVING.iter().filter(|kind| text.contains(**kind));
        let mut places: Vec<usize> = kinds.flat_map(|kind| text.match_indices(kind)).map(|(at, _)| at).collect();
        // What has lapsed may start again in the same entry.
        places.sort_unstable();
        for rest in places.into_iter().filter_map(|at| text.get(at..)) {
            let record = Record::deserialize(&mut serde_json::Deserializer::from_str(rest))?;
            match move_of(&record) {
                Some((effect, Move::Reserve(reservation))) => {
                    let change = Change::Reserve(reservation.amount);
                    reservation.windows.iter().for_each(|key| book(key, change));
                    self.in_flight.insert((session, effect), reservation.clone());
                }
                Some((effect, Move::Settle(spent))) => {
                    let Some(ended) = self.in_flight.remove(&(session, effect)) else { continue };
                    let change = Change::Settle { reserved: ended.amount, spent: bill(&ended, spent) };
                    ended.windows.iter().for_each(|key| book(key, change));
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// A record, as far as rows beside the journal refer to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A message, which may have begun a turn.
    Admitted,
    /// A call that ended done, which may have left a memory.
    CallDone,
    Other,
}

/// The records of a stored entry, in order.
///
/// # Errors
/// It is no entry of a session.
pub fn kinds(text: &str) -> Result<Vec<Kind>, serde_json::Error> {
    let entry: Entry<Record> = serde_json::from_str(text)?;
    let kind = |record: &Record| {
        if matches!(record, Record::Admitted(_)) {
            Kind::Admitted
        } else if matches!(record, Record::Ended(Ended { end: End::Done { .. }, .. })) {
            Kind::CallDone
        } else {
            Kind::Other
        }
    };
    Ok(entry.records.iter().map(kind).collect())
}

/// Of what the calls that ended in a stored entry have left behind.
///
/// # Errors
/// It is no entry of a session.
pub fn left(text: &str) -> Result<Label, serde_json::Error> {
    let entry: Entry<Record> = serde_json::from_str(text)?;
    let label = |record: &Record| {
        if let Record::Ended(Ended { end: End::Done { label, .. }, .. }) = record { Some(*label) } else { None }
    };
    Ok(entry.records.iter().filter_map(label).fold(Label::NOTHING, Label::join))
}

/// Who opened a session, by its first entry; `None` where that says nothing of it.
#[must_use]
pub fn opened(text: &str) -> Option<Opened> {
    let entry: Entry<Record> = serde_json::from_str(text).ok()?;
    if let Record::Opened(opened) = entry.records.into_iter().next()? { Some(opened) } else { None }
}
