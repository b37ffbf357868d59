//! The data folder's disk: whether it can be written, how fast it syncs, what is free, what kind of file system it is.

use tidegate_config::grouped;

use super::finding::{Finding, Severity, about, bytes, ms};
use super::probe::Measured;

/// What was found.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The data folder, or the nearest folder above it where there is none yet; for people.
    pub folder: String,
    /// `ext4`, `nfs4`, …
    pub kind: Option<String>,
    /// Bytes that may still be written.
    pub free: Option<u64>,
    /// Or why nothing could be written.
    pub measured: Result<Measured, String>,
}

/// What the configuration asks of it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The stage that persists, of several the one with the smallest `delay_target`.
    pub stage: String,
    /// Messages in one sync: `batch` of the stages that persist, times their workers.
    pub messages: u64,
    /// Its `delay_target`.
    pub delay_target_ms: f64,
    /// Whether an acknowledgement waits for the disk.
    pub waits: bool,
}

const GIB: u64 = 1 << 30;
/// Below this the server itself warns in `/readyz`.
const LOW: u64 = 256 << 20;
/// No disk that keeps its promise is quicker.
const TOO_QUICK_MS: f64 = 0.010;
/// From here on a p99 that is far from the median is a stall that clients see.
const STALL_MS: f64 = 5.0;
const FAR: f64 = 10.0;

/// Bytes of a message in the store's log: a chat's usual text with its keys and its `dt`.
pub const MESSAGE_BYTES: usize = 512;

pub fn judge(disk: &Disk, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = vec![match &disk.measured {
        Ok(measured) => sync(measured, wanted, disk.kind.as_deref()),
        Err(why) => cannot_write(&disk.folder, why),
    }];
    findings.extend(disk.free.map(|free| space(free, &disk.folder)));
    findings.extend(disk.kind.as_deref().map(|kind| file_system(kind, &disk.folder)));
    findings
}

fn cannot_write(folder: &str, why: &str) -> Finding {
    Finding::new("disk.sync", Severity::Problem, format!("{folder} cannot be written: {why}"))
        .why("The server keeps its messages there and does not start without.")
        .todo("Name another folder with --data, or let the user that runs the server own this one.")
}

fn sync(measured: &Measured, wanted: &Wanted, kind: Option<&str>) -> Finding {
    let Measured { syncs, mean_ms, median_ms, p99_ms, bytes: each, .. } = measured;
    // The batch may be larger than what was appended at once.
    let messages = wanted.messages.min((each / MESSAGE_BYTES) as u64);
    let rate = messages as f64 / (mean_ms / 1e3).max(1e-9);
    let bound = match wanted.waits {
        true => format!(": at most {} durable messages/s with {} in one sync", about(rate), grouped(messages)),
        false => "; acknowledgements do not wait for it ([store] sync)".to_owned(),
    };
    let says = format!(
        "{} appends of {} and a sync take {} (median) and {} (p99){bound}",
        grouped(*syncs as u64),
        bytes(*each as u64),
        ms(*median_ms),
        ms(*p99_ms),
    );
    let finding = |severity| {
        Finding::new("disk.sync", severity, says.clone())
            .number("mean_ms", *mean_ms)
            .number("median_ms", *median_ms)
            .number("p99_ms", *p99_ms)
            .number("longest_ms", measured.longest_ms)
            .number("syncs", *syncs)
            .number("append_bytes", *each)
            .number("durable_messages_per_second", rate.round())
    };
    let target = wanted.delay_target_ms;
    if wanted.waits && *p99_ms > target {
        let often = if *median_ms > target { "nearly always" } else { "again and again" };
        return finding(Severity::Warning)
            .why(format!(
                "Who waits for one sync has waited longer than the delay target of {}, {}, so under load the door \
                 refuses {often}.",
                wanted.stage,
                ms(target)
            ))
            .todo(
                "A disk with a power-loss-protected cache, or nothing else beside the store on it; else a higher \
                 target or a larger batch:",
            )
            .command(format!("tidegate tune {} delay_target={:.0}ms", wanted.stage, (p99_ms * 2.0).ceil()));
    }
    if wanted.waits && *p99_ms >= STALL_MS && *p99_ms >= median_ms * FAR {
        return finding(Severity::Note)
            .why("One sync in a hundred takes ten times as long as the others: acknowledgements show it as their p99.")
            .todo("See what else writes to this disk (iostat -x 1), and run this again when it is quiet.");
    }
    let in_memory = kind.is_some_and(|kind| MEMORY.contains(&kind));
    if *median_ms < TOO_QUICK_MS && !in_memory {
        return finding(Severity::Note)
            .why("No disk is that quick: something says that it has written what it holds in memory only. A power cut may \
                 take acknowledged messages.")
            .todo("Ask who provides the disk whether a sync reaches it (a hypervisor's cache mode, a controller's cache).");
    }
    finding(Severity::Ok)
}

fn space(free: u64, folder: &str) -> Finding {
    let finding = |severity| {
        let says = format!("{} are free for {folder}", bytes(free));
        Finding::new("disk.free", severity, says).number("free_bytes", free)
    };
    let severity = match free {
        _ if free < LOW => Severity::Problem,
        _ if free < 2 * GIB => Severity::Warning,
        _ => return finding(Severity::Ok),
    };
    finding(severity)
        .why("The store also needs room to rewrite its files; when the disk is full, writes are refused.")
        .todo("Make room, or keep history for less long ([store] retention).")
}

const MEMORY: [&str; 2] = ["tmpfs", "ramfs"];
const NETWORK: [&str; 10] =
    ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs"];

fn file_system(kind: &str, folder: &str) -> Finding {
    let finding = |severity, says: String| Finding::new("disk.file_system", severity, says).number("kind", kind);
    if MEMORY.contains(&kind) {
        return finding(Severity::Warning, format!("{folder} is in memory only ({kind})"))
            .why("All messages are gone with the next restart of the machine, whatever was acknowledged.")
            .todo("Name a folder on a disk with --data.");
    }
    if NETWORK.contains(&kind) {
        return finding(Severity::Warning, format!("{folder} is on another machine ({kind})"))
            .why(
                "Each sync crosses the network, locks may be lost, and some servers say that they have written what \
                 they have not.",
            )
            .todo("Name a folder on a local disk, or on a block device, with --data.");
    }
    if kind == "overlay" {
        return finding(Severity::Warning, format!("{folder} is in a container's own layer ({kind})"))
            .why("It goes with the container, and all messages with it.")
            .todo("Mount a volume and name it with --data.");
    }
    finding(Severity::Ok, format!("{folder} is on a local file system ({kind})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted { stage: "keep".to_owned(), messages: 64, delay_target_ms: 25.0, waits: true }
    }

    fn measured(median_ms: f64, p99_ms: f64) -> Measured {
        Measured { syncs: 500, mean_ms: median_ms, median_ms, p99_ms, longest_ms: p99_ms, bytes: 64 * MESSAGE_BYTES }
    }

    fn of(median_ms: f64, p99_ms: f64, wanted: &Wanted) -> Severity {
        sync(&measured(median_ms, p99_ms), wanted, Some("ext4")).severity
    }

    #[test]
    fn a_sync_must_be_quicker_than_persist_may_keep_events_waiting() {
        assert_eq!(of(3.0, 25.0, &wanted()), Severity::Ok);
        assert_eq!(of(3.0, 25.1, &wanted()), Severity::Warning);
        let off = Wanted { waits: false, ..wanted() };
        assert_eq!(of(3.0, 25.1, &off), Severity::Ok);
        let found = sync(&measured(3.0, 26.0), &wanted(), None);
        assert_eq!(found.commands, ["tidegate tune keep delay_target=52ms"]);
        assert!(found.why.contains("again and again"));
        assert!(sync(&measured(26.0, 30.0), &wanted(), None).why.contains("nearly always"));
    }

    #[test]
    fn stalls_and_disks_that_cannot_be_true_are_noted() {
        assert_eq!(of(0.5, 4.9, &wanted()), Severity::Ok, "far, but short");
        assert_eq!(of(0.5, 5.0, &wanted()), Severity::Note);
        assert_eq!(of(0.6, 5.0, &wanted()), Severity::Ok, "long, but not far");
        assert_eq!(of(0.010, 0.02, &wanted()), Severity::Ok);
        assert_eq!(of(0.009, 0.02, &wanted()), Severity::Note);
        assert_eq!(
            sync(&measured(0.001, 0.002), &wanted(), Some("tmpfs")).severity,
            Severity::Ok,
            "that it is memory is said"
        );
    }

    #[test]
    fn the_bound_is_what_one_sync_takes_along() {
        let found = sync(&measured(2.0, 3.0), &wanted(), None);
        assert!(found.says.contains("at most 32,000 durable messages/s with 64 in one sync"), "{}", found.says);
        assert_eq!(found.numbers["durable_messages_per_second"].as_f64(), Some(32_000.0));
        let stalls = Measured { mean_ms: 4.0, ..measured(2.0, 3.0) };
        assert!(sync(&stalls, &wanted(), None).says.contains("at most 16,000 "), "by the mean, which stalls count in");
        let more = Wanted { messages: 1_000_000, ..wanted() };
        let found = sync(&measured(2.0, 3.0), &more, None);
        assert!(found.says.contains("with 64 in one sync"), "what was not appended is not counted: {}", found.says);
    }

    #[test]
    fn room_is_needed() {
        let with = |free| space(free, "data").severity;
        assert_eq!(
            [with(LOW - 1), with(LOW), with(2 * GIB - 1), with(2 * GIB)],
            [Severity::Problem, Severity::Warning, Severity::Warning, Severity::Ok]
        );
    }

    #[test]
    fn a_local_disk_is_best() {
        let with = |kind| file_system(kind, "data").severity;
        assert_eq!(["ext4", "xfs", "btrfs"].map(with), [Severity::Ok; 3]);
        assert_eq!(["tmpfs", "nfs4", "overlay"].map(with), [Severity::Warning; 3]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_problem() {
        let measured = Err("permission denied".to_owned());
        let disk = Disk { folder: "data".into(), kind: None, free: None, measured };
        let found = judge(&disk, &wanted());
        assert_eq!((found.len(), found[0].severity), (1, Severity::Problem));
        assert!(found[0].says.contains("permission denied"));
    }
}
