//! Processors: what a control group takes from them, and pools with more threads than can work at once.

use super::finding::{Finding, Severity};
use super::system::Processors;

/// Threads that work and never wait for a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// As the configuration has it: `stages.route`, `pools.line` or `net`.
    pub path: String,
    /// `workers` or `reactors`.
    pub key: &'static str,
    pub threads: usize,
    /// What to type for it while the server runs, without the number; `None`: it takes a restart.
    pub command: Option<String>,
}

/// The share of periods in which a group ran out of its time that shows in latency.
const THROTTLED: f64 = 0.01;

pub fn judge(pools: &[Pool], processors: &Processors) -> Vec<Finding> {
    let cores = processors.cores();
    let mut findings = vec![time(processors, cores)];
    let large: Vec<&Pool> = pools.iter().filter(|pool| pool.threads > cores).collect();
    findings.extend(large.iter().map(|pool| larger(pool, cores)));
    if large.is_empty() {
        let most = pools.iter().map(|pool| pool.threads).max().unwrap_or(0);
        let says = format!("no pool of CPU-bound stages is larger than the cores (largest {most}, cores {cores})");
        findings
            .push(Finding::new("config.pool_size", Severity::Ok, says).number("cores", cores).number("threads", most));
    }
    findings
}

fn time(processors: &Processors, cores: usize) -> Finding {
    let allowed = processors.allowed.unwrap_or(cores);
    let finding = |severity, says: String| {
        let found = Finding::new("machine.processors", severity, says).number("processors", allowed);
        processors.quota.into_iter().fold(found, |found, quota| found.number("quota", quota))
    };
    let whole = match allowed {
        1 => "1 processor, all of its time".to_owned(),
        n => format!("{n} processors, all of their time"),
    };
    let Some(quota) = processors.quota.filter(|quota| *quota < allowed as f64) else {
        return finding(Severity::Ok, whole);
    };
    let throttled =
        processors.throttled.map(|(throttled, periods)| (throttled as f64 / periods.max(1) as f64, throttled));
    let (severity, so_far) = match throttled {
        Some((share, times)) if share >= THROTTLED => (
            Severity::Warning,
            format!(", and this group was stopped in {:.0}% of all periods ({times})", share * 100.0),
        ),
        _ => (Severity::Note, String::new()),
    };
    finding(severity, format!("a control group allows {quota:.1} of {allowed} processors' time{so_far}"))
        .why("When it is used up, all threads stand until the next period, up to 100 ms: that is what p99 then shows.")
        .todo("Give the group whole processors (a cpuset), or a larger quota (cpu.max, docker --cpus, limits.cpu).")
}

fn larger(pool: &Pool, cores: usize) -> Finding {
    let Pool { path, key, threads, command } = pool;
    let plural = if cores == 1 { "" } else { "s" };
    let found = Finding::new(
        "config.pool_size",
        Severity::Warning,
        format!("{path}.{key} = {threads}, and there {} {cores} core{plural} to run them", if cores == 1 { "is" } else { "are" }),
    )
    .why("Its work is the processor's alone, so threads beyond the cores only take turns, and stand in each other's way.")
    .number("threads", *threads)
    .number("cores", cores);
    match command {
        Some(command) => found
            .todo(format!("Set {key} = {cores} in [{path}]; on a running server:"))
            .command(format!("tidegate tune {command} workers={cores}")),
        None => found.todo(format!("Set {key} = {cores} in [{path}] and restart.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> Pool {
        Pool { path: "stages.route".to_owned(), key: "workers", threads, command: Some("route".to_owned()) }
    }

    fn of(allowed: usize, quota: Option<f64>, throttled: Option<(u64, u64)>) -> Processors {
        Processors { allowed: Some(allowed), quota, throttled }
    }

    #[test]
    fn a_pool_may_be_as_large_as_the_cores() {
        let with = |threads, processors: &Processors| judge(&[pool(1), pool(threads)], processors).remove(1);
        assert_eq!(with(4, &of(4, None, None)).severity, Severity::Ok);
        let large = with(5, &of(4, None, None));
        assert_eq!((large.severity, large.check), (Severity::Warning, "config.pool_size"));
        assert_eq!(large.commands, ["tidegate tune route workers=4"]);
        assert_eq!(with(3, &of(4, Some(2.0), None)).severity, Severity::Warning, "a quota is fewer cores");
        assert_eq!(with(2, &of(4, Some(1.5), None)).severity, Severity::Ok, "the second has half a core");
    }

    #[test]
    fn what_takes_a_restart_is_said_so() {
        let reactors = Pool { path: "net".to_owned(), key: "reactors", threads: 3, command: None };
        let found = judge(&[reactors], &of(2, None, None)).remove(1);
        assert!(found.commands.is_empty() && found.todo == "Set reactors = 2 in [net] and restart.", "{found:?}");
    }

    #[test]
    fn a_quota_is_worth_a_note_and_a_warning_once_it_hurt() {
        let with = |quota, throttled| judge(&[], &of(4, quota, throttled)).remove(0).severity;
        assert_eq!(with(None, None), Severity::Ok);
        assert_eq!(with(Some(4.0), Some((50, 100))), Severity::Ok, "it never holds anything up");
        assert_eq!(with(Some(3.5), None), Severity::Note);
        assert_eq!(with(Some(3.5), Some((9, 1_000))), Severity::Note);
        assert_eq!(with(Some(3.5), Some((10, 1_000))), Severity::Warning);
    }
}
