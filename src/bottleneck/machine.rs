//! What the system tells of processors and threads: Linux's `/proc`. Elsewhere there is nothing to read, and it says so.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

/// Sums since the start.
#[derive(Debug, Clone, Default)]
pub struct Processors {
    pub cores: usize,
    /// In the system's ticks, of all processors together.
    pub all: u64,
    pub idle: u64,
    /// By number.
    pub threads: HashMap<u32, Thread>,
}

/// Sums since the thread began, in nanoseconds.
#[derive(Debug, Clone)]
pub struct Thread {
    /// At most 15 bytes: what the system keeps of it.
    pub name: Arc<str>,
    pub on_cpu: u64,
    /// Ready, and waiting for a processor.
    pub waiting: u64,
}

/// As long as the system keeps of a thread's name.
pub fn kept_name(name: &str) -> &str {
    let mut end = name.len().min(15);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// Reads it all; `before` saves reading names again. `None` where the system has no such files.
pub fn look(before: Option<&Processors>) -> Option<Processors> {
    let mut seen = processors(&fs::read_to_string("/proc/stat").ok()?)?;
    for entry in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
        let Some((on_cpu, waiting)) = times(&text) else { continue };
        let known = before.and_then(|before| before.threads.get(&id)).map(|thread| thread.name.clone());
        let name = known.or_else(|| {
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            Some(name.trim_end().into())
        });
        let Some(name) = name else { continue };
        seen.threads.insert(id, Thread { name, on_cpu, waiting });
    }
    (!seen.threads.is_empty()).then_some(seen)
}

/// Of `/proc/stat`: `cpu user nice system idle iowait irq softirq steal …`, then a line for each processor.
fn processors(text: &str) -> Option<Processors> {
    let all = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = all.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
    let cores = text.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(Processors { cores, all: ticks.iter().sum(), idle, threads: HashMap::new() })
}

/// Of `schedstat`: time on a processor, time waiting for one, and how often.
fn times(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_lines_are_read() {
        let text = "cpu  10 2 30 400 50 6 7 8 0 0\ncpu0 1 0 0 0\ncpu1 1 0 0 0\nintr 5\n";
        let seen = processors(text).unwrap();
        assert_eq!((seen.cores, seen.all, seen.idle), (2, 513, 450));
        assert_eq!(times("123 456 7\n"), Some((123, 456)));
        assert_eq!((times(""), processors("nothing").is_none()), (None, true));
        assert_eq!(kept_name("a-name-that-is-too-long"), "a-name-that-is-");
    }
}
