//! Milliseconds to ISO-8601 and back: UTC, three decimals, `Z` (wire.md section 5).
//!
//! Owns the two forms of a date on the wire. Must not know a clock.

use serde_json::{Value, json};

use crate::ids::Millis;

const DAY: i64 = 86_400_000;
/// 0000-01-01 and the last millisecond of 9999: what four digits of a year can say.
const FIRST: Millis = -62_167_219_200_000;
const LAST: Millis = 253_402_300_799_999;

/// `2026-11-24T15:39:51.007Z`. Times outside the years 0 to 9999 are printed as the nearest one inside.
pub fn iso(at: Millis) -> String {
    let at = at.clamp(FIRST, LAST);
    let (year, month, day) = date(at.div_euclid(DAY));
    let ms = at.rem_euclid(DAY);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// Reads what `iso` prints, and its usual relatives: no or up to nine decimals (cut to milliseconds), an offset
/// in place of `Z`. `None` for everything else, dates that do not exist included.
pub fn from_iso(text: &str) -> Option<Millis> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() {
        return None;
    }
    for (at, sign) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if bytes[at] != sign {
            return None;
        }
    }
    let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..10])?);
    let (hour, minute, second) = (digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?);
    let days = days(year, month, day);
    if hour > 23 || minute > 59 || second > 59 || date(days) != (year, month, day) {
        return None;
    }
    let (ms, zone) = decimals(&bytes[19..])?;
    Some(days * DAY + hour * 3_600_000 + minute * 60_000 + second * 1_000 + ms - offset(zone)?)
}

/// The object form that SDKs want for some dates: `{"__type":"Date","iso":…}`.
pub fn date_object(at: Millis) -> Value {
    json!({"__type": "Date", "iso": iso(at)})
}

/// The time in a date object; `None` where the value is none.
pub fn from_date_object(value: &Value) -> Option<Millis> {
    let object = value.as_object()?;
    if object.get("__type")?.as_str()? != "Date" {
        return None;
    }
    from_iso(object.get("iso")?.as_str()?)
}

/// Milliseconds of an optional `.123…`, and what follows it.
fn decimals(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', rest)) = rest.split_first() else { return Some((0, rest)) };
    let length = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let ms = rest[..length].iter().chain(b"00").take(3).fold(0, |ms, c| ms * 10 + i64::from(c - b'0'));
    Some((ms, &rest[length..]))
}

/// Milliseconds east of UTC: `Z`, `+hh:mm` or `+hhmm`.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        b"Z" => return Some(0),
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => (*sign, digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ms = hours * 3_600_000 + minutes * 60_000;
    match sign {
        b'+' => Some(ms),
        b'-' => Some(-ms),
        _ => None,
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
}

/// Days since the epoch of a date in the Gregorian calendar. Counts years from March, so that the leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    // 719,468 days lie between March 1st of the year 0 and the epoch.
    years * 365 + leaps + (153 * months + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day of days since the epoch: the other way.
fn date(days: i64) -> (i64, i64, i64) {
    let (era, of_era) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
    // Leap days so far taken out, each year of the era's 400 has 365 days.
    let of_400 = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (of_400 * 365 + of_400 / 4 - of_400 / 100);
    let year = era * 400 + of_400;
    let months = (5 * of_year + 2) / 153;
    let day = of_year - (153 * months + 2) / 5 + 1;
    if months < 10 { (year, months + 3, day) } else { (year + 1, months - 9, day) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_dates_print_and_read() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_790_000_000_007, "2026-09-21T14:13:20.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (FIRST, "0000-01-01T00:00:00.000Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso(at), text);
            assert_eq!(from_iso(text), Some(at));
        }
        assert_eq!(iso(i64::MAX), iso(LAST));
        assert_eq!(iso(i64::MIN), iso(FIRST));
    }

    #[test]
    fn the_usual_relatives_are_read() {
        for text in [
            "2026-09-21T14:13:20Z",
            "2026-09-21T14:13:20.0Z",
            "2026-09-21T14:13:20.000999Z",
            "2026-09-21T16:13:20.000+02:00",
            "2026-09-21T08:43:20-0530",
        ] {
            assert_eq!(from_iso(text), Some(1_790_000_000_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026-09-21",
            "2026-13-01T00:00:00.000Z",
            "2026-02-29T00:00:00.000Z",
            "2026-09-21T24:00:00.000Z",
            "2026-09-21T14:13:20.Z",
            "2026-09-21T14:13:20.000",
            "2026-09-21 14:13:20.000Z",
            "2026-09-21T14:13:20.000+2:00",
            "2026-09-21T14:13:20.0é",
        ] {
            assert_eq!(from_iso(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_object_reads_back() {
        assert_eq!(from_date_object(&date_object(7)), Some(7));
        assert_eq!(from_date_object(&json!({"__type": "Pointer", "iso": iso(7)})), None);
        assert_eq!(from_date_object(&json!("1970-01-01T00:00:00.000Z")), None);
    }

    proptest! {
        #[test]
        fn every_time_reads_back_and_text_sorts_like_time(a in FIRST..=LAST, b in FIRST..=LAST) {
            prop_assert_eq!(from_iso(&iso(a)), Some(a));
            prop_assert_eq!(iso(a).cmp(&iso(b)), a.cmp(&b));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            from_iso(&text);
        }
    }
}
