//! Time zones of this machine, as the span of offsets that a rule brings along.
use backstay_kernel::clock::{Offset, Zone};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The span over which offsets are looked up, in seconds: from 2020, before every journal, to 2100. A
/// clock beyond it is a missing fact.
const FROM_S: i64 = 1_577_836_800;
const UNTIL_S: i64 = 4_102_444_800;

/// `None` where the machine has no such zone.
pub fn zone(name: &str) -> Option<Zone> {
    if name == "UTC" {
        return Some(Zone::utc());
    }
    let zone = TimeZone::get(name).ok()?;
    let (from, until) = (Timestamp::from_second(FROM_S).ok()?, Timestamp::from_second(UNTIL_S).ok()?);
    let ms = |at: Timestamp| u64::try_from(at.as_millisecond()).ok();
    let mut offsets = vec![Offset { from: ms(from)?, seconds: zone.to_offset(from).seconds() }];
    for change in zone.following(from).take_while(|change| change.timestamp() < until) {
        offsets.push(Offset { from: ms(change.timestamp())?, seconds: change.offset().seconds() });
    }
    Some(Zone { name: name.to_owned(), offsets, until: ms(until)? })
}
