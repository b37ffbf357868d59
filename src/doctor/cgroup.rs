//! What the control groups of this process allow it, as containers and systemd set it: Linux's cgroups, both versions.
//!
//! Owns where these limits stand. What they mean for the server is judged in `memory` and `processors`.

/// The narrowest limits from this process's group up to the root. `None`: no limit, or none that can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    pub memory_bytes: Option<u64>,
    /// Processors' worth of time.
    pub processors: Option<f64>,
    /// Periods in which the own group had used up its time, and all periods, since the group was made.
    pub throttled: Option<(u64, u64)>,
}

/// Version 1 writes "no limit" as the largest page-aligned number.
const NONE: u64 = 1 << 62;

/// `own`: `/proc/self/cgroup`. `read`: the text of a file below `/sys/fs/cgroup`.
pub fn limits(own: &str, read: &dyn Fn(&str) -> Option<String>) -> Limits {
    let mut found = Limits::default();
    for line in own.lines() {
        // `4:memory:/path`, or `0::/path` in version 2.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let has = |name: &str| controllers.split(',').any(|controller| controller == name);
        if controllers.is_empty() {
            // Where both versions are mounted, the second is below `unified` and has no limits.
            for group in up(path) {
                let text = |file: &str| read(&format!("{group}/{file}"));
                for limit in ["memory.max", "memory.high"] {
                    narrow(&mut found.memory_bytes, text(limit).and_then(|text| text.trim().parse().ok()));
                }
                narrow(&mut found.processors, text("cpu.max").as_deref().and_then(share));
            }
            found.throttled = found.throttled.or(read(&format!("{path}/cpu.stat")).as_deref().and_then(throttled));
        }
        if has("memory") {
            for group in up(path) {
                let limit = read(&format!("memory{group}/memory.limit_in_bytes"));
                let limit = limit.and_then(|text| text.trim().parse().ok()).filter(|limit| *limit < NONE);
                narrow(&mut found.memory_bytes, limit);
            }
        }
        if has("cpu") {
            for group in up(path) {
                let text = |file: &str| read(&format!("cpu{group}/{file}"));
                let both = text("cpu.cfs_quota_us").zip(text("cpu.cfs_period_us"));
                let limit = both.and_then(|(quota, period)| share(&format!("{} {}", quota.trim(), period.trim())));
                narrow(&mut found.processors, limit);
            }
            found.throttled = read(&format!("cpu{path}/cpu.stat")).as_deref().and_then(throttled).or(found.throttled);
        }
    }
    found
}

/// `/a/b`, `/a`, and the root, which is empty.
fn up(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path.trim_end_matches('/')), |path| path.rsplit_once('/').map(|(parent, _)| parent))
}

fn narrow<T: PartialOrd>(of: &mut Option<T>, limit: Option<T>) {
    if let Some(limit) = limit
        && of.as_ref().is_none_or(|of| limit < *of)
    {
        *of = Some(limit);
    }
}

/// `150000 100000` is one and a half; `max` and -1 are none.
fn share(text: &str) -> Option<f64> {
    let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().ok());
    let (quota, period) = (numbers.next()??, numbers.next()??);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn throttled(text: &str) -> Option<(u64, u64)> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok()
    };
    Some((value("nr_throttled")?, value("nr_periods")?)).filter(|(_, periods)| *periods > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(own: &str, files: &[(&str, &str)]) -> Limits {
        let read = |path: &str| {
            let path = path.trim_start_matches('/');
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        };
        limits(own, &read)
    }

    #[test]
    fn the_narrowest_of_all_groups_counts() {
        let files = [
            ("a/b/memory.max", "max\n"),
            ("a/memory.max", "2147483648\n"),
            ("a/memory.high", "1073741824\n"),
            ("a/b/cpu.max", "150000 100000\n"),
            ("a/cpu.max", "max 100000\n"),
            ("a/b/cpu.stat", "usage_usec 5\nnr_periods 200\nnr_throttled 20\n"),
        ];
        let found = with("0::/a/b\n", &files);
        let expected = Limits { memory_bytes: Some(1 << 30), processors: Some(1.5), throttled: Some((20, 200)) };
        assert_eq!(found, expected);
    }

    #[test]
    fn the_first_version_is_understood_too() {
        let files = [
            ("memory/x/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.limit_in_bytes", "536870912\n"),
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
        ];
        let found = with("4:memory:/x\n2:cpu,cpuacct:/\n0::/\n", &files);
        assert_eq!(found, Limits { memory_bytes: Some(512 << 20), ..Limits::default() });
        let files = [("cpu/x/cpu.cfs_quota_us", "50000\n"), ("cpu/x/cpu.cfs_period_us", "100000\n")];
        assert_eq!(with("1:cpu:/x\n", &files).processors, Some(0.5));
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(with("0::/\n", &[("cpu.max", "max 100000\n"), ("memory.max", "max")]), Limits::default());
        assert_eq!(with("", &[]), Limits::default());
    }
}
