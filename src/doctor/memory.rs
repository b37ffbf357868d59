//! Memory: what all bounds of the configuration together may take against what there is, and how the kernel deals with it.

use tidegate_config::grouped;

use super::finding::{Finding, Severity, bytes};
use super::system::Memory;

/// The bounds, and what one of each takes at most. Bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// `net.max_connections`.
    pub connections: u64,
    /// One connection's: `outbox`, `credit_bytes` and its own state.
    pub connection: u64,
    /// All stages' queues, without the commands themselves, which credits bound.
    pub queues: u64,
    /// All reactors' mailboxes, full of the longest frames.
    pub mailboxes: u64,
    /// `[memory]` and `[journeys]`, full.
    pub caches: u64,
    /// The store's cache and what it has not written out yet.
    pub store: u64,
}

impl Bounds {
    fn beside_connections(&self) -> u64 {
        self.queues + self.mailboxes + self.caches + self.store
    }

    fn all(&self) -> u64 {
        self.connections.saturating_mul(self.connection).saturating_add(self.beside_connections())
    }
}

/// vm.swappiness above which the kernel takes an idle connection's memory for file cache.
const SWAPPINESS: u64 = 10;

pub fn judge(bounds: Bounds, memory: &Memory) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(memory.usable().map(|usable| all_bounds(bounds, usable, memory)));
    findings.extend(memory.overcommit.map(|mode| overcommit(bounds, mode, memory.uncommitted)));
    findings.extend(memory.swap_total.map(|total| swap(total, memory)));
    findings.extend(memory.huge_pages.as_deref().map(huge_pages));
    findings
}

fn all_bounds(bounds: Bounds, usable: u64, memory: &Memory) -> Finding {
    let all = bounds.all();
    let of = match memory.limit.is_some_and(|limit| Some(limit) < memory.total.or(Some(u64::MAX))) {
        true => "the control group's limit",
        false => "the machine's memory",
    };
    let clients = bounds.connections.saturating_mul(bounds.connection);
    let says = format!(
        "all bounds together may take {}, {:.0}% of {} ({}): {} connections of {} each ({}), {} of queues and \
         mailboxes, {} of caches, {} of the store",
        bytes(all),
        all as f64 / usable as f64 * 100.0,
        of,
        bytes(usable),
        grouped(bounds.connections),
        bytes(bounds.connection),
        bytes(clients),
        bytes(bounds.queues + bounds.mailboxes),
        bytes(bounds.caches),
        bytes(bounds.store),
    );
    let severity = match all {
        _ if all <= usable / 2 => Severity::Ok,
        _ if all <= usable => Severity::Note,
        _ => Severity::Warning,
    };
    let found = Finding::new("machine.memory_bounds", severity, says)
        .number("bounds_bytes", all)
        .number("usable_bytes", usable)
        .number("connection_bytes", bounds.connection);
    if severity == Severity::Ok {
        return found;
    }
    let fit = (usable / 2).saturating_sub(bounds.beside_connections()) / bounds.connection.max(1);
    let found = found.why(
        "It takes that only when every client stops reading at once, or all queues are full; but then the kernel ends the \
         server.",
    );
    match fit {
        0 => found.todo("Give it more memory, or smaller bounds: [memory], net.mailbox, the stages' bound."),
        fit => found.todo(format!(
            "Half of the memory is kept with net.max_connections = {fit}, or with a smaller net.outbox and \
             net.credit_bytes."
        )),
    }
}

fn overcommit(bounds: Bounds, mode: u64, uncommitted: Option<u64>) -> Finding {
    let finding =
        |severity, says: String| Finding::new("machine.overcommit", severity, says).number("overcommit_memory", mode);
    match (mode, uncommitted) {
        (2, Some(left)) if left < bounds.all() => finding(
            Severity::Warning,
            format!("memory is not overcommitted (vm.overcommit_memory=2), and {} is left to ask for", bytes(left)),
        )
        .why("Threads' stacks and the store's reservations count in full; the server ends when it is refused memory.")
        .todo("Let the kernel decide, here and in /etc/sysctl.d, or raise vm.overcommit_ratio:")
        .command("sysctl -w vm.overcommit_memory=0"),
        _ => finding(Severity::Ok, format!("memory can be asked for as it is needed (vm.overcommit_memory={mode})")),
    }
}

fn swap(total: u64, memory: &Memory) -> Finding {
    let (used, swappiness) = (memory.swap_used.unwrap_or(0), memory.swappiness.unwrap_or(60));
    let finding = |severity, says| {
        Finding::new("machine.swap", severity, says)
            .number("swap_bytes", total)
            .number("used_bytes", used)
            .number("swappiness", swappiness)
    };
    match total {
        0 => finding(Severity::Ok, "no swap: nothing of the server is moved to disk".to_owned()),
        _ if swappiness <= SWAPPINESS => finding(
            Severity::Ok,
            format!("{} of swap, used when nothing else helps (vm.swappiness={swappiness})", bytes(total)),
        ),
        _ => finding(
            Severity::Note,
            format!("{} of swap, {} in use, with vm.swappiness={swappiness}", bytes(total), bytes(used)),
        )
        .why("A connection that was quiet may be on disk: its next message then waits for that, tens of milliseconds.")
        .todo("Let the kernel prefer to give up file cache, here and in /etc/sysctl.d:")
        .command("sysctl -w vm.swappiness=1"),
    }
}

fn huge_pages(mode: &str) -> Finding {
    let finding =
        |severity, says| Finding::new("machine.huge_pages", severity, says).number("transparent_hugepage", mode);
    if mode != "always" {
        return finding(Severity::Ok, format!("transparent huge pages only where a program asks for them ({mode})"));
    }
    finding(Severity::Warning, "transparent huge pages are made always".to_owned())
        .why("To make one the kernel may stop a thread for milliseconds, and small buffers keep 2 MiB pages alive.")
        .todo("Leave them to programs that ask (for good, put it into the kernel's command line):")
        .command("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        connections: 1_000,
        connection: 1 << 20,
        queues: 6 << 20,
        mailboxes: 6 << 20,
        caches: 6 << 20,
        store: 6 << 20,
    };
    /// 1,000 connections and four times six.
    const ALL: u64 = 1_024 << 20;

    fn of(memory: Memory) -> (Severity, Finding) {
        let found = judge(BOUNDS, &memory).remove(0);
        (found.severity, found)
    }

    #[test]
    fn the_bounds_are_held_against_memory_or_the_groups_limit() {
        let with = |total| of(Memory { total: Some(total), ..Memory::default() });
        assert_eq!(with(ALL * 2).0, Severity::Ok);
        assert_eq!(with(ALL * 2 - 2).0, Severity::Note);
        assert_eq!(with(ALL).0, Severity::Note);
        assert_eq!(with(ALL - 1).0, Severity::Warning);
        let (severity, found) = of(Memory { total: Some(ALL * 8), limit: Some(ALL - 1), ..Memory::default() });
        assert!(severity == Severity::Warning && found.says.contains("the control group's limit"), "{}", found.says);
        // Half of it, without what is beside the connections, a mebibyte each.
        let (_, found) = with(ALL);
        assert!(found.todo.contains("net.max_connections = 488,"), "{}", found.todo);
        let (_, found) = with(20 << 20);
        assert!(found.todo.contains("more memory"), "{}", found.todo);
    }

    #[test]
    fn strict_accounting_needs_room_for_all_bounds() {
        let with = |mode, left| of(Memory { overcommit: Some(mode), uncommitted: Some(left), ..Memory::default() }).0;
        assert_eq!(
            [with(2, ALL - 1), with(2, ALL), with(0, 0), with(1, 0)],
            [Severity::Warning, Severity::Ok, Severity::Ok, Severity::Ok]
        );
    }

    #[test]
    fn swap_is_good_when_it_is_a_last_resort() {
        let with = |total, swappiness| {
            of(Memory { swap_total: Some(total), swappiness: Some(swappiness), ..Memory::default() }).0
        };
        assert_eq!([with(0, 60), with(1 << 30, 10), with(1 << 30, 11)], [Severity::Ok, Severity::Ok, Severity::Note]);
    }

    #[test]
    fn huge_pages_are_for_those_who_ask() {
        let with = |mode: &str| of(Memory { huge_pages: Some(mode.to_owned()), ..Memory::default() }).0;
        assert_eq!([with("always"), with("madvise"), with("never")], [Severity::Warning, Severity::Ok, Severity::Ok]);
    }
}
