//! The clock: whether somebody keeps it right, whether it jumped while we looked, and what a look at it costs.

use super::finding::{Finding, Severity};
use super::kernel_clock::KernelClock;

/// What was found.
#[derive(Debug, Clone)]
pub struct Clock {
    /// How much further the wall clock went than the monotonic one in that time; negative where it fell behind.
    pub ahead_ms: f64,
    pub over_seconds: f64,
    /// `None`: this system does not tell.
    pub kernel: Option<KernelClock>,
    pub source: Option<String>,
    /// One look at the monotonic clock.
    pub look_ns: f64,
}

/// Slewing moves both clocks alike; what is between the two looks, on a busy machine, is less than this.
const STEPPED_MS: f64 = 5.0;
const JUMPED_MS: f64 = 100.0;
/// Beyond this a daemon that says it is in step has no good server.
const MOST_ERROR_MS: f64 = 1_000.0;
/// A clock that is read without asking the kernel takes some 25 ns, in a virtual machine at most twice as many.
const SLOW_NS: f64 = 200.0;
const VERY_SLOW_NS: f64 = 1_000.0;

pub fn judge(clock: &Clock) -> Vec<Finding> {
    let mut findings = vec![steady(clock)];
    findings.extend(clock.kernel.map(in_step));
    findings.push(cost(clock));
    findings
}

fn steady(clock: &Clock) -> Finding {
    let ahead = clock.ahead_ms;
    let severity = match ahead.abs() {
        off if off >= JUMPED_MS => Severity::Warning,
        off if off >= STEPPED_MS => Severity::Note,
        _ => Severity::Ok,
    };
    let (off, seconds) = (ahead.abs(), clock.over_seconds);
    let says = match (severity, ahead < 0.0) {
        (Severity::Ok, _) => {
            format!("the wall clock did not jump: {off:.2} ms off the monotonic one after {seconds:.1} s")
        }
        (_, true) => format!("the wall clock fell behind the monotonic one by {off:.0} ms in {seconds:.1} s"),
        (_, false) => format!("the wall clock got ahead of the monotonic one by {off:.0} ms in {seconds:.1} s"),
    };
    let found =
        Finding::new("clock.steady", severity, says).number("ahead_ms", ahead).number("seconds", clock.over_seconds);
    if severity == Severity::Ok {
        return found;
    }
    found
        .why("Messages are dated by it. Their order holds whatever it does, but tokens and signatures expire by it, and a \
             clock that was set back dates new messages like the last old ones.")
        .todo("Let one time daemon, and only one, keep the clock, by slewing it (chrony: makestep only at the start).")
}

fn in_step(kernel: KernelClock) -> Finding {
    let error_ms = kernel.most_error_us as f64 / 1e3;
    let finding = |severity, says| {
        Finding::new("clock.synchronised", severity, says)
            .number("synchronised", kernel.is_synchronised)
            .number("most_error_ms", error_ms)
    };
    if !kernel.is_synchronised {
        return finding(Severity::Warning, "the kernel says that nobody keeps this clock right".to_owned())
            .why(
                "A quartz is off by some 50 ppm, 4 s a day: times of messages, and of signatures made elsewhere, drift \
                 apart.",
            )
            .todo("Run a time daemon, chrony or systemd-timesyncd:")
            .command("timedatectl set-ntp true");
    }
    let says = format!("the kernel says that the clock is synchronised, at most {error_ms:.0} ms off");
    if error_ms <= MOST_ERROR_MS {
        return finding(Severity::Ok, says);
    }
    finding(Severity::Note, says)
        .why("Whoever keeps it has not heard from a good server for long.")
        .todo("Look at its sources (chronyc sources, timedatectl timesync-status).")
}

fn cost(clock: &Clock) -> Finding {
    let ns = clock.look_ns;
    let severity = match ns {
        _ if ns >= VERY_SLOW_NS => Severity::Warning,
        _ if ns >= SLOW_NS => Severity::Note,
        _ => Severity::Ok,
    };
    let source = clock.source.as_deref().unwrap_or("unknown");
    let found =
        Finding::new("clock.source", severity, format!("a look at the clock takes {ns:.0} ns (clocksource {source})"))
            .number("look_ns", ns)
            .number("source", source);
    if severity == Severity::Ok {
        return found;
    }
    found
        .why("Every stage looks at it for every batch; a clock that is read by the kernel alone costs as much as the work.")
        .todo("See which others there are, and why the kernel gave up the quick one (dmesg | grep -i tsc):")
        .command("cat /sys/devices/system/clocksource/clocksource0/available_clocksource")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Clock = Clock { ahead_ms: 0.01, over_seconds: 2.0, kernel: None, source: None, look_ns: 25.0 };

    #[test]
    fn a_clock_that_jumps_is_found() {
        let with = |ahead_ms| steady(&Clock { ahead_ms, ..GOOD });
        assert_eq!([4.9, -4.9].map(|ms| with(ms).severity), [Severity::Ok; 2]);
        assert_eq!([5.0, -5.0, 99.9].map(|ms| with(ms).severity), [Severity::Note; 3]);
        assert_eq!([100.0, -100.0].map(|ms| with(ms).severity), [Severity::Warning; 2]);
        assert!(with(-7.0).says.contains("fell behind") && with(7.0).says.contains("got ahead of"));
    }

    #[test]
    fn somebody_must_keep_it_right() {
        let with = |is_synchronised, most_error_us| in_step(KernelClock { is_synchronised, most_error_us }).severity;
        assert_eq!(with(true, 1_000_000), Severity::Ok);
        assert_eq!(with(true, 1_000_001), Severity::Note);
        assert_eq!(with(false, 0), Severity::Warning);
        assert_eq!(judge(&GOOD).len(), 2, "what is not told is not judged");
    }

    #[test]
    fn a_look_at_it_should_cost_nothing() {
        let with = |look_ns| cost(&Clock { look_ns, ..GOOD }).severity;
        assert_eq!(
            [with(199.0), with(200.0), with(999.0), with(1_000.0)],
            [Severity::Ok, Severity::Note, Severity::Note, Severity::Warning]
        );
    }
}
