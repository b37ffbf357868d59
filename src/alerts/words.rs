//! What an alert says to people, in a sentence.

use std::time::Duration;

use super::judge::PAST;
use super::signal::Signal;
use super::usual::Usual;

/// What is now, and what it was: as in "p99 is 840 ms; in the last hour it was 20 to 35 ms".
pub fn sentence(signal: Signal, value: Option<f64>, past: &Past) -> String {
    let now = match value {
        None => nothing(signal).to_owned(),
        Some(value) => match signal {
            Signal::Messages => format!("{} messages a second", short(value)),
            Signal::Latency => format!("p99 is {}", milliseconds(value)),
            Signal::Errors => format!("{} of the commands are refused", percent(value)),
            Signal::Churn => format!("{} connections a second come or go", short(value)),
        },
    };
    let range = |usual: &Usual| range(signal, usual.low, usual.high);
    let recent = past.recent.as_ref().map(|usual| format!("in {} it was {}", past.length, range(usual)));
    let hour = past.same_hour.as_ref().map(|usual| format!("at this hour of earlier days {}", range(usual)));
    let was: Vec<String> = recent.into_iter().chain(hour).collect();
    if was.is_empty() { now } else { format!("{now}; {}", was.join(", ")) }
}

/// What a value is seen against.
pub struct Past {
    /// As in "the last hour".
    pub length: String,
    pub recent: Option<Usual>,
    pub same_hour: Option<Usual>,
}

/// How far back the recent past goes.
pub fn length(interval: Duration) -> String {
    match interval.saturating_mul(PAST as u32).as_secs() {
        3_600 => "the last hour".to_owned(),
        seconds if seconds % 3_600 == 0 => format!("the last {} hours", seconds / 3_600),
        seconds if seconds % 60 == 0 && seconds > 60 => format!("the last {} min", seconds / 60),
        seconds => format!("the last {seconds} s"),
    }
}

fn nothing(signal: Signal) -> &'static str {
    match signal {
        Signal::Messages | Signal::Churn => "nothing was counted",
        Signal::Latency => "too little is delivered to measure p99",
        Signal::Errors => "too little is asked to tell a share",
    }
}

/// One unit for both.
fn range(signal: Signal, low: f64, high: f64) -> String {
    let both = |unit: &str, by: f64| format!("{} to {}{unit}", short(low / by), short(high / by));
    match signal {
        Signal::Messages | Signal::Churn => both("", 1.0),
        Signal::Errors => both(" %", 0.01),
        Signal::Latency if high >= 10_000.0 => both(" s", 1_000.0),
        Signal::Latency => both(" ms", 1.0),
    }
}

fn milliseconds(ms: f64) -> String {
    if ms >= 10_000.0 { format!("{} s", short(ms / 1_000.0)) } else { format!("{} ms", short(ms)) }
}

fn percent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}

/// Two digits that count, and never an exponent.
fn short(value: f64) -> String {
    match value {
        value if value >= 10.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(recent: Option<(f64, f64)>, same_hour: Option<(f64, f64)>) -> Past {
        let usual = |of: Option<(f64, f64)>| of.map(|(low, high)| Usual { middle: low, spread: 0.0, low, high });
        Past { length: length(Duration::from_secs(60)), recent: usual(recent), same_hour: usual(same_hour) }
    }

    #[test]
    fn a_sentence_says_what_is_and_what_was() {
        let said = sentence(Signal::Latency, Some(840.3), &past(Some((20.0, 35.4)), None));
        assert_eq!(said, "p99 is 840 ms; in the last hour it was 20 to 35 ms");
        let said = sentence(Signal::Messages, Some(0.0), &past(Some((96.0, 131.0)), Some((80.0, 240.0))));
        assert_eq!(
            said,
            "0 messages a second; in the last hour it was 96 to 131, at this hour of earlier days 80 to 240"
        );
        let said = sentence(Signal::Errors, Some(0.123), &past(Some((0.0, 0.004)), None));
        assert_eq!(said, "12 % of the commands are refused; in the last hour it was 0 to 0.40 %");
        let said = sentence(Signal::Churn, Some(320.0), &past(None, None));
        assert_eq!(said, "320 connections a second come or go");
        assert!(sentence(Signal::Latency, None, &past(None, None)).starts_with("too little"));
        let said = sentence(Signal::Latency, Some(40_000.0), &past(Some((900.0, 20_000.0)), None));
        assert_eq!(said, "p99 is 40 s; in the last hour it was 0.90 to 20 s");
    }

    #[test]
    fn the_past_is_as_long_as_sixty_values() {
        let said = [1, 7, 60, 300, 3_600].map(|seconds| length(Duration::from_secs(seconds)));
        assert_eq!(said, ["the last 60 s", "the last 7 min", "the last hour", "the last 5 hours", "the last 60 hours"]);
    }
}
