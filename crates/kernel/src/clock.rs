//! What time it is where a rule says: the kernel has no clock and no table of time zones, so a rule
//! brings the offsets of its zone along, and the time is a fact of the frame.
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::id::Millis;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// A time zone over a span of years.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    pub name: String,
    /// In the order of time; the first is where the span begins.
    pub offsets: Vec<Offset>,
    /// Where the span ends.
    pub until: Millis,
}

/// From a moment on, clocks of the zone show UTC and this much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offset {
    pub from: Millis,
    pub seconds: i32,
}

/// What a clock and a calendar on the wall show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Local {
    /// Since midnight.
    pub minute: u16,
    pub weekday: Weekday,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Weekday {
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];
}

/// A part of the day, from the first minute to before the last; past midnight where the last is the
/// earlier one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// Minutes since midnight.
    pub from: u16,
    pub until: u16,
    pub zone: Zone,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Days {
    pub days: Vec<Weekday>,
    pub zone: Zone,
}

impl Zone {
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".into(), offsets: Vec::from([Offset { from: 0, seconds: 0 }]), until: Millis::MAX }
    }

    /// `None` outside of its span: nobody knows what the clocks show then.
    #[must_use]
    pub fn local(&self, at: Millis) -> Option<Local> {
        if at >= self.until {
            return None;
        }
        let offset = self.offsets.iter().rev().find(|offset| offset.from <= at)?;
        let shown = i64::try_from(at).ok()?.checked_add(i64::from(offset.seconds) * 1_000)?;
        // 1970 began on a Thursday.
        let weekday = usize::try_from((shown.div_euclid(DAY_MS) + 3).rem_euclid(7)).ok()?;
        let minute = u16::try_from(shown.rem_euclid(DAY_MS) / MINUTE_MS).ok()?;
        Some(Local { minute, weekday: *Weekday::ALL.get(weekday)? })
    }
}

impl Hours {
    #[must_use]
    pub fn hold(&self, minute: u16) -> bool {
        if self.from <= self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Millis = 1_795_262_400_000; // 2026-11-21 12:00 UTC, a Saturday

    #[test]
    fn clocks_follow_the_offsets_of_their_zone() {
        let zone = Zone {
            name: "Test".into(),
            offsets: Vec::from([
                Offset { from: NOON, seconds: 3_600 },
                Offset { from: NOON + 3_600_000, seconds: -86_400 },
            ]),
            until: NOON + 7_200_000,
        };
        assert_eq!(Zone::utc().local(NOON), Some(Local { minute: 720, weekday: Weekday::Sat }));
        assert_eq!(Zone::utc().local(0), Some(Local { minute: 0, weekday: Weekday::Thu }));
        assert_eq!(zone.local(NOON - 1), None);
        assert_eq!(zone.local(NOON), Some(Local { minute: 780, weekday: Weekday::Sat }));
        assert_eq!(zone.local(NOON + 3_600_000), Some(Local { minute: 780, weekday: Weekday::Fri }));
        assert_eq!(zone.local(NOON + 7_200_000), None);
    }

    #[test]
    fn hours_may_pass_midnight() {
        let hours = |from, until| Hours { from, until, zone: Zone::utc() };
        assert!(hours(480, 1_080).hold(480) && !hours(480, 1_080).hold(1_080));
        assert!(hours(1_320, 360).hold(1_320) && hours(1_320, 360).hold(0) && !hours(1_320, 360).hold(360));
        assert!(hours(0, 1_440).hold(1_439));
    }
}
