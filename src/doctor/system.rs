//! What the system says of itself: Linux's `/proc` and `/sys`, and the process's limits.
//!
//! Owns where each figure stands and how its text is read. Must not know which figure is good: the checks judge. `None`
//! is a figure that this system does not tell.

use std::fs;
use std::path::{Path, PathBuf};

use super::cgroup::{self, Limits};

#[derive(Debug, Clone, Default)]
pub struct System {
    /// Of open files, soft and hard.
    pub open_files: Option<(u64, u64)>,
    pub kernel: Kernel,
    pub memory: Memory,
    pub processors: Processors,
}

#[derive(Debug, Clone, Default)]
pub struct Kernel {
    pub somaxconn: Option<u64>,
    pub syn_backlog: Option<u64>,
    pub syncookies: Option<u64>,
    /// `fs.file-max`: of the whole machine.
    pub file_max: Option<u64>,
    /// Open on the whole machine now.
    pub files_open: Option<u64>,
    /// `fs.nr_open`: what a process's hard limit may be at most.
    pub nr_open: Option<u64>,
    /// First and last port of connections that go out.
    pub ports: Option<(u64, u64)>,
}

/// Bytes.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub total: Option<u64>,
    pub swap_total: Option<u64>,
    pub swap_used: Option<u64>,
    pub swappiness: Option<u64>,
    /// `vm.overcommit_memory`: 0, 1 or 2.
    pub overcommit: Option<u64>,
    /// What may still be asked for where nothing may be overcommitted.
    pub uncommitted: Option<u64>,
    /// The word in brackets: `always`, `madvise`, `never`.
    pub huge_pages: Option<String>,
    /// A control group's limit.
    pub limit: Option<u64>,
}

impl Memory {
    /// What the server may use at most: the machine's memory or its group's limit.
    pub fn usable(&self) -> Option<u64> {
        [self.total, self.limit].into_iter().flatten().min()
    }
}

#[derive(Debug, Clone, Default)]
pub struct Processors {
    /// Which this process may run on.
    pub allowed: Option<usize>,
    /// A control group's limit, in processors' worth of time.
    pub quota: Option<f64>,
    pub throttled: Option<(u64, u64)>,
}

impl Processors {
    /// How many threads can work at once.
    pub fn cores(&self) -> usize {
        let allowed = self.allowed.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        self.quota.map_or(allowed, |quota| allowed.min(quota.ceil() as usize)).max(1)
    }
}

pub fn look() -> System {
    let Limits { memory_bytes, processors, throttled } = match text("/proc/self/cgroup") {
        Some(own) => cgroup::limits(&own, &|path| text(&format!("/sys/fs/cgroup/{}", path.trim_start_matches('/')))),
        None => Limits::default(),
    };
    let allowed = text("/proc/self/status").as_deref().and_then(allowed_processors);
    System {
        open_files: rlimit::Resource::NOFILE.get().ok(),
        kernel: kernel(),
        memory: memory(memory_bytes),
        processors: Processors { allowed, quota: processors, throttled },
    }
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The numbers of `/proc/sys/…`, named as `sysctl` does.
fn sysctl(name: &str) -> Option<Vec<u64>> {
    let text = text(&format!("/proc/sys/{}", name.replace('.', "/")))?;
    text.split_whitespace().map(|number| number.parse().ok()).collect()
}

/// The first of them.
fn one(name: &str) -> Option<u64> {
    sysctl(name)?.first().copied()
}

fn kernel() -> Kernel {
    let ports = || match sysctl("net.ipv4.ip_local_port_range")?[..] {
        [first, last] => Some((first, last)),
        _ => None,
    };
    Kernel {
        somaxconn: one("net.core.somaxconn"),
        syn_backlog: one("net.ipv4.tcp_max_syn_backlog"),
        syncookies: one("net.ipv4.tcp_syncookies"),
        file_max: one("fs.file-max"),
        files_open: one("fs.file-nr"),
        nr_open: one("fs.nr_open"),
        ports: ports(),
    }
}

fn memory(limit: Option<u64>) -> Memory {
    let table = text("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| kibibytes(&table, name);
    Memory {
        total: of("MemTotal"),
        swap_total: of("SwapTotal"),
        swap_used: of("SwapTotal").zip(of("SwapFree")).map(|(total, free)| total.saturating_sub(free)),
        swappiness: one("vm.swappiness"),
        overcommit: one("vm.overcommit_memory"),
        uncommitted: of("CommitLimit").zip(of("Committed_AS")).map(|(limit, taken)| limit.saturating_sub(taken)),
        huge_pages: text("/sys/kernel/mm/transparent_hugepage/enabled").as_deref().and_then(chosen),
        limit,
    }
}

/// A line of `/proc/meminfo`, in bytes.
fn kibibytes(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// `always [madvise] never`: the word in brackets.
fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

/// `Cpus_allowed_list: 0-2,5` is four.
fn allowed_processors(status: &str) -> Option<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    };
    list.trim().split(',').map(range).sum()
}

/// The kind of file system that a path is on (`ext4`, `nfs4`, `tmpfs`), from `/proc/self/mountinfo`.
pub fn file_system(path: &Path) -> Option<String> {
    file_system_in(&text("/proc/self/mountinfo")?, path)
}

/// The mount that is nearest above the path; of several at one place, the last, which covers the others.
fn file_system_in(mounts: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        // `36 35 98:0 /root /place options … - kind source options`
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (Some(place), Some(kind)) = (before.split(' ').nth(4), after.split(' ').next()) else { continue };
        let place = PathBuf::from(place.replace("\\040", " "));
        let depth = place.components().count();
        if path.starts_with(&place) && best.is_none_or(|(deepest, _)| depth >= deepest) {
            best = Some((depth, kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

/// What keeps the kernel's time (`tsc`, `hpet`, …).
pub fn clocksource() -> Option<String> {
    Some(text("/sys/devices/system/clocksource/clocksource0/current_clocksource")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_system_are_read() {
        assert_eq!(kibibytes("MemTotal:       24684544 kB\nSwapTotal: 0 kB\n", "MemTotal"), Some(24_684_544 << 10));
        assert_eq!(kibibytes("MemTotal: x kB\n", "MemTotal"), None);
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen("nothing"), None);
        let allowed = |list: &str| allowed_processors(&format!("Name:\tx\nCpus_allowed_list:\t{list}\n"));
        assert_eq!([allowed("0"), allowed("0-2,5"), allowed("x")], [Some(1), Some(4), None]);
    }

    #[test]
    fn the_nearest_mount_above_a_path_is_its_file_system() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      30 22 0:5 / /data rw,noatime shared:1 - nfs4 server:/x rw\n\
                      31 30 0:6 / /data/my\\040disk rw - tmpfs tmpfs rw\n";
        let kind = |path: &str| file_system_in(mounts, Path::new(path));
        assert_eq!(kind("/home").as_deref(), Some("ext4"));
        assert_eq!(kind("/data/x").as_deref(), Some("nfs4"));
        assert_eq!(kind("/database").as_deref(), Some("ext4"), "not by the letters of a name");
        assert_eq!(kind("/data/my disk/x").as_deref(), Some("tmpfs"));
        assert_eq!(file_system_in("", Path::new("/")), None);
    }

    #[test]
    fn cores_are_what_the_process_may_use() {
        let cores = |allowed, quota| Processors { allowed: Some(allowed), quota, throttled: None }.cores();
        assert_eq!([cores(8, None), cores(8, Some(1.5)), cores(2, Some(4.0)), cores(4, Some(0.2))], [8, 2, 2, 1]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_system_tells_what_matters() {
        let found = look();
        assert!(found.open_files.is_some() && found.memory.total.is_some() && found.processors.allowed.is_some());
        assert!(file_system(Path::new("/")).is_some());
    }
}
