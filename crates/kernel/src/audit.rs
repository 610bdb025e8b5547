//! What stored entries say of the rows that a home keeps beside them, for whoever compares the two. It
//! reads entries as they are stored and folds no session: a journal of millions is read in one go.
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;

use crate::budget::Amount;
use crate::id::{EffectId, SessionId};
use crate::label::Label;
use crate::ledger::{Move, bill, booked, move_of};
use crate::record::{End, Ended, Entry, Opened, Record};

/// An entry that books nothing in some window holds none of these, whatever its names are: a quote
/// within a string is escaped.
const BOOKED: [&str; 2] = [r#""windows":[""#, r#""counted":[{""#];
/// How the records begin that move money: all that [`move_of`] makes something of. Nothing else in an
/// entry begins so.
const MOVING: [&str; 6] =
    [r#"{"started":"#, r#"{"bounced":"#, r#"{"retried":"#, r#"{"ended":"#, r#"{"lapsed":"#, r#"{"doubted":"#];

/// The ledger's part of a whole journal.
#[derive(Debug, Default)]
pub struct Replay {
    /// What each effect that runs has booked, by window.
    in_flight: BTreeMap<(SessionId, EffectId), Vec<(String, Amount)>>,
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
        if !has_own && !BOOKED.iter().any(|booked| text.contains(booked)) {
            return Ok(());
        }
        let kinds = MOVING.iter().filter(|kind| text.contains(**kind));
        let mut places: Vec<usize> = kinds.flat_map(|kind| text.match_indices(kind)).map(|(at, _)| at).collect();
        // What has lapsed may start again in the same entry.
        places.sort_unstable();
        for rest in places.into_iter().filter_map(|at| text.get(at..)) {
            let record = Record::deserialize(&mut serde_json::Deserializer::from_str(rest))?;
            match move_of(&record) {
                Some((effect, Move::Reserve(started))) => {
                    let booked = booked(started.reservation.as_ref(), &started.counted);
                    let booked: Vec<_> = booked.map(|(key, amount)| (key.clone(), amount)).collect();
                    booked.iter().for_each(|(key, amount)| book(key, Change::Reserve(*amount)));
                    self.in_flight.insert((session, effect), booked);
                }
                Some((effect, Move::Settle(spent))) => {
                    for (key, reserved) in self.in_flight.remove(&(session, effect)).unwrap_or_default() {
                        book(&key, Change::Settle { reserved, spent: bill(reserved, spent) });
                    }
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
