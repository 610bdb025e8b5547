//! Points in time as people read them, in UTC.

const SECOND_MS: u64 = 1000;
const DAY_S: u64 = 86_400;

/// `2026-11-21 06:00:00Z` of milliseconds since the Unix epoch.
#[must_use]
pub fn stamp(at_ms: u64) -> String {
    let (year, month, day) = date(at_ms / SECOND_MS / DAY_S);
    format!("{year:04}-{month:02}-{day:02} {}Z", seconds(at_ms))
}

/// `06:00:00.123`.
#[must_use]
pub fn clock(at_ms: u64) -> String {
    format!("{}.{:03}", seconds(at_ms), at_ms % SECOND_MS)
}

fn seconds(at_ms: u64) -> String {
    let second = at_ms / SECOND_MS % DAY_S;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a day counted from 1970-01-01, by the rules of the Gregorian calendar.
fn date(mut day: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // 400 years have 146,097 days; what is left is walked through.
    let mut year = 1970 + day / 146_097 * 400;
    day %= 146_097;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if day < length {
            break;
        }
        day -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_calendar_dates() {
        for (at_ms, shown) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_400_000, "2000-02-29 00:00:00Z"),
            (1_709_251_199_000, "2024-02-29 23:59:59Z"),
            (1_795_240_800_123, "2026-11-21 06:00:00Z"),
            (4_102_444_800_000, "2100-01-01 00:00:00Z"),
        ] {
            assert_eq!(stamp(at_ms), shown);
        }
        assert_eq!(clock(1_795_240_800_123), "06:00:00.123");
    }
}
