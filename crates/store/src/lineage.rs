//! The lineage of a home: the number that tells its history from that of every copy of it.
//!
//! Its upper 21 bits are also those of every body that is sealed under it, so that a body has the same
//! number wherever its session goes: what records say, and the chain over them, holds in any home.
use std::ops::RangeInclusive;

use crate::body;
use crate::error::StoreError;
use crate::limits::EXACT_MAX;

/// Bits of a body's number that count; with the 21 above them it is a number that JSON keeps exact.
const COUNT_BITS: u32 = 32;

/// The numbers of bodies that are sealed under this lineage.
pub fn bodies(lineage: u64) -> RangeInclusive<u64> {
    let above = lineage >> COUNT_BITS << COUNT_BITS;
    above + 1..=above + ((1 << COUNT_BITS) - 1)
}

/// Draws one whose bodies come after all that are in the file, the last of which is `body_last`: rows
/// at the end of a table are the cheapest to write. A file whose numbers are nearly used up by
/// restores gets any.
pub fn draw(body_last: u64) -> Result<u64, StoreError> {
    let mut bytes = [0; 8];
    body::draw(&mut bytes)?;
    let first = ((body_last >> COUNT_BITS) + 1) << COUNT_BITS;
    let room = EXACT_MAX.saturating_sub(first) / 2;
    let (first, room) = if room >> COUNT_BITS > 1024 { (first, room) } else { (1, EXACT_MAX - 1) };
    Ok(first + u64::from_be_bytes(bytes) % room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_of_a_lineage_is_above_those_of_the_file_it_was_drawn_for() {
        let mut last = 0;
        for _ in 0..8 {
            let lineage = draw(last).unwrap();
            assert!(lineage < EXACT_MAX);
            assert!(*bodies(lineage).start() > last, "{lineage}");
            assert!(*bodies(lineage).end() < EXACT_MAX);
            last = *bodies(lineage).end();
        }
    }

    #[test]
    fn a_file_without_room_above_still_gets_a_lineage() {
        for _ in 0..100 {
            let lineage = draw(EXACT_MAX - 1).unwrap();
            assert!((1..EXACT_MAX).contains(&lineage));
        }
    }
}
