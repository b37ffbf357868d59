//! Durations and sizes, as they are written and read: a number and a unit.

use std::time::Duration;

use crate::form::Wrong;

/// The unit that somebody had in mind who wrote a number alone.
pub(crate) fn likely_unit(number: &str, least: Duration, most: Duration) -> &'static str {
    let number = number.parse::<u32>().unwrap_or(0);
    let short = most < Duration::from_secs(3600);
    let units = [("ms", Duration::from_millis(1)), ("s", Duration::from_secs(1)), ("d", Duration::from_secs(86_400))];
    let fits = |size: Duration| size.checked_mul(number).is_some_and(|time| time >= least && time <= most);
    let mut likely = units.into_iter().filter(|(unit, _)| short || *unit != "ms");
    likely.find(|(_, size)| fits(*size)).map_or("s", |(unit, _)| unit)
}

const UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

/// A number and a unit, nothing else: `5ms`, `1.5s`, `180d`.
pub(crate) fn parse_duration(text: &str, guess: impl Fn(&str) -> String) -> Result<Duration, Wrong> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..unit_at].replace('_', ""), text[unit_at..].trim());
    if number.is_empty() {
        let reason = if text.starts_with('-') { "no duration is negative" } else { "no number at its start" };
        return Err(Wrong::because(reason));
    }
    let known = match unit.to_lowercase().as_str() {
        "µs" | "μs" | "usec" | "micros" | "microseconds" => "us",
        "msec" | "millis" | "milliseconds" => "ms",
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        _ => unit,
    };
    let Some((_, micros)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let wrong = match unit {
            "" => Wrong::because("no unit; one of us, ms, s, m, h, d"),
            _ if known.chars().any(|c| c.is_ascii_digit()) => Wrong::because("more than one number and one unit"),
            _ => Wrong::because(format!("no unit is called `{unit}`; there are us, ms, s, m, h, d")),
        };
        let lower = known.to_lowercase();
        return Err(match UNITS.iter().find(|(name, _)| *name == lower) {
            Some((name, _)) => wrong.write(format!("\"{number}{name}\"")),
            None if unit.is_empty() => wrong.write(guess(&number)),
            None => wrong,
        });
    };
    let number: f64 = number.parse().map_err(|_| Wrong::because("not one number and one unit"))?;
    let micros = number * *micros as f64;
    if !micros.is_finite() || micros > 1e18 {
        return Err(Wrong::because("longer than anybody waits"));
    }
    // Nanoseconds as far as a double counts them one by one, a hundred days.
    let nanos = micros * 1_000.0;
    Ok(if nanos < 9e15 {
        Duration::from_nanos(nanos.round() as u64)
    } else {
        Duration::from_micros(micros.round() as u64)
    })
}

/// As `parse_duration` reads it, in the largest unit that keeps it whole.
pub(crate) fn duration(value: Duration) -> String {
    let micros = value.as_micros();
    let nanos = value.subsec_nanos() % 1_000;
    // The admin port takes fractions of a microsecond.
    if nanos > 0 {
        let fraction = format!("{nanos:03}");
        return format!("{micros}.{}us", fraction.trim_end_matches('0'));
    }
    let unit =
        UNITS.iter().rev().find(|(_, size)| micros >= u128::from(*size) && micros.is_multiple_of(u128::from(*size)));
    match unit {
        Some((name, size)) => format!("{}{name}", micros / u128::from(*size)),
        None => format!("{micros}us"),
    }
}

const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

pub(crate) fn parse_size(text: &str, least: u64, most: u64) -> Result<u64, Wrong> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..unit_at].replace('_', ""), text[unit_at..].trim());
    if number.is_empty() {
        let reason = if text.starts_with('-') { "no size is negative" } else { "no number at its start" };
        return Err(Wrong::because(reason));
    }
    let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        let wrong = match unit {
            "" => Wrong::because("no unit; one of B, KiB, MiB, GiB"),
            _ => Wrong::because(format!("no unit is called `{unit}`; there are B, KiB, MiB, GiB")),
        };
        if unit.is_empty() {
            return Err(wrong.write(size_spelling(&number)));
        }
        let meant = match unit.to_ascii_lowercase().as_str() {
            "b" | "byte" | "bytes" => "B",
            "k" | "kb" | "kib" => "KiB",
            "m" | "mb" | "mib" => "MiB",
            "g" | "gb" | "gib" => "GiB",
            _ => return Err(wrong),
        };
        return Err(wrong.write(format!("\"{number} {meant}\"")));
    };
    let number: f64 = number.parse().map_err(|_| Wrong::because("not one number and one unit"))?;
    let bytes = (number * *bytes as f64).round();
    if bytes < least as f64 {
        return Err(Wrong::because("too small").write(format!("\"{}\"", size(least))));
    }
    if bytes > most as f64 {
        return Err(Wrong::because("too large").write(format!("\"{}\"", size(most))));
    }
    Ok(bytes as u64)
}

/// As `parse_size` reads it, in the largest unit that keeps it whole.
pub(crate) fn size(bytes: u64) -> String {
    let unit = SIZES.iter().rev().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{} {name}", bytes / size),
        None => format!("{bytes} B"),
    }
}

pub(crate) fn size_spelling(number: &str) -> String {
    match number.parse::<u64>() {
        Ok(bytes) => format!("\"{}\"", size(bytes)),
        Err(_) => "\"64 KiB\"".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_reads_back(micros in 0u64..4_000_000_000_000_000) {
            let time = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&duration(time), str::to_owned), Ok(time));
        }

        #[test]
        fn parts_of_a_microsecond_read_back(nanos in 0u64..4_000_000_000_000_000) {
            let time = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&duration(time), str::to_owned), Ok(time));
        }

        #[test]
        fn a_size_reads_back(bytes in 0u64..1 << 50) {
            prop_assert_eq!(parse_size(&size(bytes), 0, u64::MAX), Ok(bytes));
        }

        #[test]
        fn what_is_suggested_is_read(number in 0u32..100_000, unit in "[a-zA-Z]{0,5}") {
            for text in [format!("{number}{unit}"), format!("{number} {unit}")] {
                let guess = |number: &str| format!("\"{number}s\"");
                if let Err(Wrong { instead: Some(instead), .. }) = parse_duration(&text, guess) {
                    prop_assert!(parse_duration(instead.trim_matches('"'), guess).is_ok(), "{instead}");
                }
                if let Err(Wrong { instead: Some(instead), .. }) = parse_size(&text, 0, u64::MAX) {
                    prop_assert!(parse_size(instead.trim_matches('"'), 0, u64::MAX).is_ok(), "{instead}");
                }
            }
        }
    }

    #[test]
    fn the_largest_whole_unit_is_written() {
        let written =
            [0, 1, 1_500, 60_000_000, 90_000_000, 86_400_000_000].map(|us| duration(Duration::from_micros(us)));
        assert_eq!(written, ["0us", "1us", "1500us", "1m", "90s", "1d"]);
        assert_eq!([0, 1023, 1024, 1536, 1 << 30].map(size), ["0 B", "1023 B", "1 KiB", "1536 B", "1 GiB"]);
    }

    #[test]
    fn a_number_alone_gets_the_unit_that_fits() {
        let (ms, second, hour) = (Duration::from_millis(1), Duration::from_secs(1), Duration::from_secs(3600));
        assert_eq!(likely_unit("5", ms, second * 60), "ms");
        assert_eq!(likely_unit("3", ms * 10, second * 60), "s");
        assert_eq!(likely_unit("10", ms, hour), "s");
        assert_eq!(likely_unit("180", hour, hour * 24 * 36_500), "d");
    }
}
