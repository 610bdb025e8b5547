//! When a vendor wants to be asked again: every dialect in which it is said.

use std::time::UNIX_EPOCH;

use backstay_kernel::id::Millis;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// What `retry-after-ms` or `Retry-After` asks for.
pub(crate) fn asked(headers: &HeaderMap, now: Millis) -> Option<Millis> {
    let millis = text(headers, "retry-after-ms").and_then(|t| micros(t, 1_000));
    if let Some(millis) = millis {
        return Some(after(now, millis));
    }
    let value = text(headers, "retry-after")?;
    match micros(value, 1_000_000) {
        Some(seconds) => Some(after(now, seconds)),
        None => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| Millis::try_from(since.as_millis()).ok())
            .map(|at| at.max(now)),
    }
}

/// When the last of the used-up limits is refilled. Every answer carries these headers, so they
/// mean something only with a 429.
pub(crate) fn refilled(headers: &HeaderMap, now: Millis) -> Option<Millis> {
    let resets = headers.iter().filter_map(|(name, value)| {
        let (limit, remaining) = limit_of(name.as_str())?;
        let at = moment(value.to_str().ok()?.trim(), now)?;
        // One more request fits: this limit is not the reason. Of tokens some may be left and
        // still too few.
        let left = text(headers, &remaining).and_then(|t| t.parse::<u64>().ok());
        let fits = limit.contains("requests") && left.is_some_and(|n| n > 0);
        (!fits).then_some(at)
    });
    resets.max()
}

/// Of `anthropic-ratelimit-tokens-reset` or `x-ratelimit-reset-tokens`: `tokens`, and the name of
/// the header that says how much is left.
fn limit_of(name: &str) -> Option<(&str, String)> {
    if let Some(rest) = name.strip_prefix("anthropic-ratelimit-") {
        let limit = rest.strip_suffix("-reset")?;
        return Some((limit, format!("anthropic-ratelimit-{limit}-remaining")));
    }
    let limit = name.strip_prefix("x-ratelimit-reset")?;
    Some((limit, format!("x-ratelimit-remaining{limit}")))
}

/// Gemini says it in the body: `error.details[].retryDelay`.
pub(crate) fn in_body(error: &Value, now: Millis) -> Option<Millis> {
    let details = error.get("details")?.as_array()?;
    let delay = details.iter().find_map(|d| d.get("retryDelay")?.as_str())?;
    Some(after(now, duration(delay)?))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// `now` and so many microseconds, rounded up: never earlier than was asked.
fn after(now: Millis, micros: u64) -> Millis {
    now.saturating_add(micros.div_ceil(1_000))
}

/// An RFC 3339 time, a duration such as `6m0s`, Unix time or seconds.
fn moment(value: &str, now: Millis) -> Option<Millis> {
    if let Some(at) = rfc3339(value) {
        return Some(at.max(now));
    }
    if let Some(micros) = duration(value) {
        return Some(after(now, micros));
    }
    match value.parse::<u64>() {
        Ok(millis) if millis >= 1_000_000_000_000 => Some(millis.max(now)),
        Ok(seconds) if seconds >= 1_000_000_000 => Some(seconds.saturating_mul(1_000).max(now)),
        Ok(_) | Err(_) => micros(value, 1_000_000).map(|m| after(now, m)),
    }
}

/// Microseconds of a plain decimal number of units of `unit` microseconds.
fn micros(value: &str, unit: u64) -> Option<u64> {
    let (number, rest) = decimal(value, unit)?;
    rest.is_empty().then_some(number)
}

/// Microseconds of `1h2m3.5s`, `6m0s`, `120ms`.
fn duration(value: &str) -> Option<u64> {
    let mut rest = value;
    let mut sum = 0u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, with_unit) = rest.split_at_checked(digits)?;
        let letters = with_unit.find(|c: char| c.is_ascii_digit()).unwrap_or(with_unit.len());
        let (name, after) = with_unit.split_at_checked(letters)?;
        let unit = match name {
            "d" => 86_400_000_000,
            "h" => 3_600_000_000,
            "m" => 60_000_000,
            "s" => 1_000_000,
            "ms" => 1_000,
            "us" | "µs" => 1,
            _ => return None,
        };
        sum = sum.saturating_add(micros(number, unit)?);
        rest = after;
    }
    (!value.is_empty()).then_some(sum)
}

/// A decimal number times `unit`, rounded up, and what follows it. No floats.
fn decimal(value: &str, unit: u64) -> Option<(u64, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = value.split_at_checked(digits(value))?;
    let mut number = whole.parse::<u64>().ok()?.saturating_mul(unit);
    let Some(fraction) = rest.strip_prefix('.') else { return Some((number, rest)) };
    let (fraction, rest) = fraction.split_at_checked(digits(fraction))?;
    // Below nanoseconds nobody counts.
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(fraction.parse::<u64>().unwrap_or(0)) * u128::from(unit);
    number = number.saturating_add(u64::try_from(part.div_ceil(u128::from(scale))).ok()?);
    Some((number, rest))
}

/// Milliseconds of `2026-11-21T04:20:00.5Z` or with an offset such as `+01:00`.
fn rfc3339(value: &str) -> Option<Millis> {
    let (date, time) = value.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone)?;
    let mut clock = clock.splitn(3, ':');
    let hour = clock.next()?.parse::<u64>().ok()?;
    let minute = clock.next()?.parse::<u64>().ok()?;
    let second = micros(clock.next()?, 1_000_000)?;
    let valid = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !valid || hour > 23 || minute > 59 || second > 60_999_999 {
        return None;
    }
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute;
    let minutes = minutes.checked_add_signed(-zone_minutes(zone)?)?;
    Some((minutes * 60_000).saturating_add(second.div_ceil(1_000)))
}

fn zone_minutes(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let minutes = hours.parse::<u8>().ok().filter(|h| *h < 24).map(i64::from)? * 60
        + minutes.parse::<u8>().ok().filter(|m| *m < 60).map(i64::from)?;
    Some(if sign == "-" { -minutes } else { minutes })
}

/// Days from 1970-01-01; years begin in March so that the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let since_year_0 = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    since_year_0 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    /// 2026-11-21T04:20:00Z.
    const NOW: Millis = 1_795_234_800_000;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[track_caller]
    fn check_asked(pairs: &[(&'static str, &'static str)], delay: Option<u64>) {
        assert_eq!(asked(&headers(pairs), NOW).map(|at| at - NOW), delay);
    }

    #[track_caller]
    fn check_refilled(pairs: &[(&'static str, &'static str)], delay: Option<u64>) {
        assert_eq!(refilled(&headers(pairs), NOW).map(|at| at - NOW), delay);
    }

    #[test]
    fn retry_after_in_each_form() {
        check_asked(&[("retry-after", "20")], Some(20_000));
        check_asked(&[("retry-after", "1.2345")], Some(1_235));
        check_asked(&[("retry-after", "Sat, 21 Nov 2026 04:21:30 GMT")], Some(90_000));
        check_asked(&[("retry-after", "Sat, 21 Nov 2026 04:00:00 GMT")], Some(0));
        check_asked(&[("retry-after-ms", "1500"), ("retry-after", "2")], Some(1_500));
        check_asked(&[("retry-after-ms", "soon"), ("retry-after", "2")], Some(2_000));
        check_asked(&[("retry-after", "-1")], None);
        check_asked(&[("retry-after", "tomorrow")], None);
        check_asked(&[("retry-after", "99999999999999999999")], None);
        check_asked(&[], None);
    }

    #[test]
    fn the_vendors_resets() {
        check_refilled(
            &[
                ("anthropic-ratelimit-requests-remaining", "49"),
                ("anthropic-ratelimit-requests-reset", "2026-11-21T05:00:00Z"),
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-input-tokens-reset", "2026-11-21T04:20:07.2501Z"),
                ("anthropic-ratelimit-output-tokens-reset", "2026-11-21T05:20:03+01:00"),
            ],
            Some(7_251),
        );
        check_refilled(
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "6m0s"),
                ("x-ratelimit-reset-tokens", "120ms"),
            ],
            Some(360_000),
        );
        check_refilled(&[("x-ratelimit-reset-tokens", "1h2m3.5s")], Some(3_723_500));
        check_refilled(&[("x-ratelimit-reset-project-tokens", "7.66s")], Some(7_660));
        check_refilled(&[("x-ratelimit-reset", "1795234805000")], Some(5_000));
        check_refilled(&[("x-ratelimit-reset", "1795234805")], Some(5_000));
        check_refilled(&[("x-ratelimit-reset", "3")], Some(3_000));
        check_refilled(&[("x-ratelimit-reset-tokens", "soon")], None);
        check_refilled(&[("x-ratelimit-remaining-requests", "5"), ("x-ratelimit-reset-requests", "1s")], None);
    }

    #[test]
    fn geminis_delay() {
        let error = serde_json::json!({"details": [{"@type": "QuotaFailure"}, {"retryDelay": "39.5s"}]});
        assert_eq!(in_body(&error, NOW), Some(NOW + 39_500));
        assert_eq!(in_body(&serde_json::json!({"details": "x"}), NOW), None);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in
            ["", "T", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "1.s", "5", "é", "-Z"]
        {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        for text in ["", "s", "5", "5x", "5m3", "1..2s", "é5s"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(rfc3339("1970-01-01T00:00:01+00:00"), Some(1_000));
        assert_eq!(rfc3339("2000-02-29T23:59:60.001-00:30"), Some(951_870_600_001));
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_survived(value in "\\PC{0,40}", clock in "[0-9T:.Zz+-]{0,30}") {
            for text in [&value, &clock] {
                let _ = (moment(text, NOW), duration(text), micros(text, u64::MAX), rfc3339(text));
            }
        }
    }
}
