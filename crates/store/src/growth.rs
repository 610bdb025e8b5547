//! How fast the home grows, by what the journal itself knows: which of its entries are of the last days.
use backstay_kernel::id::Millis;
use rusqlite::Connection;

use crate::error::StoreError;
use crate::limits::{DAY_MS, FREE_BYTES_MIN, GROWTH_DAYS};
use crate::store::Store;

/// Measured over the last seven days, or over the home's life where it is younger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Growth {
    pub bytes_per_day: u64,
    /// Whole days until nothing new is admitted; `None` where nothing grows.
    pub days_until_full: Option<u64>,
}

impl Store {
    /// `None` where the home is younger than a day: a first hour says nothing of a year.
    ///
    /// # Errors
    /// Those of a read.
    pub fn growth(&self, now: Millis) -> Result<Option<Growth>, StoreError> {
        let stats = self.stats()?;
        let window = DAY_MS.saturating_mul(GROWTH_DAYS);
        let measured = self.read(|db| {
            let Some(first) = written_at(db, 1)? else { return Ok(None) };
            let span = now.saturating_sub(first).min(window);
            let old = written_before(db, now.saturating_sub(span), stats.entries)?;
            Ok(Some((span, stats.entries.saturating_sub(old))))
        })?;
        let bytes = stats.db_bytes.saturating_add(stats.wal_bytes);
        Ok(measured.and_then(|(span_ms, new)| of(bytes, stats.free_bytes, span_ms, new, stats.entries)))
    }
}

/// An entry has its share of the bytes: bodies, indexes and free pages follow from entries.
fn of(bytes: u64, free_bytes: u64, span_ms: u64, new: u64, all: u64) -> Option<Growth> {
    if span_ms < DAY_MS {
        return None;
    }
    let grown = u128::from(bytes) * u128::from(new) / u128::from(all.max(1));
    let per_day = grown * u128::from(DAY_MS) / u128::from(span_ms);
    let room = u128::from(free_bytes.saturating_sub(FREE_BYTES_MIN));
    Some(Growth {
        bytes_per_day: u64::try_from(per_day).unwrap_or(u64::MAX),
        days_until_full: room.checked_div(per_day).and_then(|days| u64::try_from(days).ok()),
    })
}

/// When the entry with this id, or the next that there is, was written.
fn written_at(db: &Connection, id: u64) -> Result<Option<Millis>, StoreError> {
    const SQL: &str = "SELECT body ->> '$.at' FROM entries WHERE id >= ?1 ORDER BY id LIMIT 1";
    let mut statement = db.prepare_cached(SQL)?;
    let mut rows = statement.query([id])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

/// Entries written before `at`. Ids are in the order of the commits, so halving finds the first later
/// one: twenty reads among a million.
fn written_before(db: &Connection, at: Millis, last: u64) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = low + (high - low) / 2;
        match written_at(db, middle + 1)? {
            Some(found) if found < at => low = middle + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn growth_is_told_by_the_share_of_what_is_new() {
        let room = FREE_BYTES_MIN + 1000 * MIB;
        let found = of(100 * MIB, room, 7 * DAY_MS, 70, 100);
        assert_eq!(found, Some(Growth { bytes_per_day: 10 * MIB, days_until_full: Some(100) }));
        let at_rest = Some(Growth { bytes_per_day: 0, days_until_full: None });
        assert_eq!(of(100 * MIB, room, 7 * DAY_MS, 0, 100), at_rest);
        assert_eq!(of(MIB, room, DAY_MS - 1, 5, 5), None, "too young to tell");
        assert_eq!(of(7 * MIB, FREE_BYTES_MIN, 7 * DAY_MS, 1, 1).unwrap().days_until_full, Some(0));
    }

    #[test]
    fn the_first_entry_of_the_window_is_found_by_halving() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE entries(id INTEGER PRIMARY KEY, body TEXT NOT NULL)").unwrap();
        for id in 1..=100u64 {
            let body = format!("{{\"at\":{}}}", id * 10);
            db.execute("INSERT INTO entries VALUES(?1, ?2)", (id, body)).unwrap();
        }
        for (at, expected) in [(0, 0), (10, 0), (11, 1), (505, 50), (1000, 99), (1001, 100)] {
            assert_eq!(written_before(&db, at, 100).unwrap(), expected, "{at}");
        }
    }
}
