//! Open files: what the configuration may need at most, against what the process and the machine allow.

use tidegate_config::grouped;

use super::finding::{Finding, Severity};
use super::system::Kernel;

/// Listeners, polls, logs, the store's own few, the admin side's viewers.
const BESIDE: u64 = 128;

/// What is open at once at most.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// `net.max_connections`.
    pub connections: u64,
    /// `store.max_open_files`.
    pub store: u64,
    /// Calls to webhooks at once.
    pub calls: u64,
}

impl Need {
    fn all(&self) -> u64 {
        self.connections + self.store + self.calls + BESIDE
    }
}

pub fn judge(need: Need, limits: Option<(u64, u64)>, kernel: &Kernel) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(limits.map(|limits| of_process(need, limits, kernel.nr_open)));
    findings.extend(kernel.file_max.and_then(|max| of_machine(need, max, kernel.files_open.unwrap_or(0))));
    findings
}

fn of_process(need: Need, (soft, hard): (u64, u64), nr_open: Option<u64>) -> Finding {
    let all = need.all();
    let parts = format!(
        "{} connections, {} of the store, {} calls to webhooks, {BESIDE} others",
        grouped(need.connections),
        grouped(need.store),
        grouped(need.calls)
    );
    let finding = |severity, says: String| {
        Finding::new("machine.open_files", severity, says)
            .number("needed", all)
            .number("soft_limit", soft)
            .number("hard_limit", hard)
    };
    let limit = if hard == u64::MAX { "any number of".to_owned() } else { grouped(hard) };
    if all <= hard {
        let raised =
            if soft < all { format!("; from {} the server raises it itself", grouped(soft)) } else { String::new() };
        return finding(
            Severity::Ok,
            format!("{limit} files may be open, at most {} are needed ({parts}){raised}", grouped(all)),
        );
    }
    let fit = hard.saturating_sub(all - need.connections);
    let mut found = finding(
        Severity::Problem,
        format!("only {limit} files may be open, and up to {} are needed ({parts})", grouped(all)),
    )
    .why("Past the limit nobody can connect, and the store cannot open its own files: writes are then refused.")
    .todo(match fit {
        0 => "Raise the hard limit where the server is started; in a systemd unit LimitNOFILE=. To try:".to_owned(),
        fit => format!(
            "Raise the hard limit where the server is started (in a systemd unit LimitNOFILE={all}), or set \
             net.max_connections = {fit}. To try, as root:"
        ),
    });
    if let Some(most) = nr_open.filter(|most| *most < all) {
        found = found.command(format!("sysctl -w fs.nr_open={}   # it is {most}", all.next_power_of_two()));
    }
    found.command(format!("ulimit -Hn {all}"))
}

/// Silent where there is enough: it nearly always is.
fn of_machine(need: Need, max: u64, open: u64) -> Option<Finding> {
    let all = need.all();
    if max.saturating_sub(open) >= all {
        return None;
    }
    let says = format!(
        "the machine allows {} open files and has {} open; the server may need {}",
        grouped(max),
        grouped(open),
        grouped(all)
    );
    let more = (open + all).next_power_of_two();
    Some(
        Finding::new("machine.file_max", Severity::Problem, says)
            .why("Then no program on it can open a file or a connection any more.")
            .todo("Raise it, here and in /etc/sysctl.d:")
            .command(format!("sysctl -w fs.file-max={more}"))
            .number("file_max", max)
            .number("open", open)
            .number("needed", all),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need { connections: 18_000, store: 1_000, calls: 0 };
    const ALL: u64 = 18_000 + 1_000 + BESIDE;

    fn severities(limits: Option<(u64, u64)>, kernel: &Kernel) -> Vec<(&'static str, Severity)> {
        judge(NEED, limits, kernel).iter().map(|finding| (finding.check, finding.severity)).collect()
    }

    #[test]
    fn the_hard_limit_counts_for_the_soft_one_is_raised() {
        let kernel = Kernel::default();
        for (hard, severity) in [(ALL, Severity::Ok), (ALL - 1, Severity::Problem), (u64::MAX, Severity::Ok)] {
            assert_eq!(severities(Some((1_024, hard)), &kernel), [("machine.open_files", severity)], "{hard}");
        }
        assert!(judge(NEED, Some((1_024, ALL)), &kernel)[0].says.contains("from 1,024 the server raises it"));
        assert!(!judge(NEED, Some((ALL, ALL)), &kernel)[0].says.contains("raises"));
        assert!(severities(None, &kernel).is_empty(), "not told, not judged");
    }

    #[test]
    fn what_is_said_to_do_is_enough_and_no_more() {
        let found = &judge(NEED, Some((1_024, 4_096)), &Kernel::default())[0];
        assert_eq!(found.commands, [format!("ulimit -Hn {ALL}")]);
        let fit = 4_096 - (ALL - NEED.connections);
        assert!(found.todo.contains(&format!("net.max_connections = {fit}.")), "{}", found.todo);
        let small = Kernel { nr_open: Some(10_000), ..Kernel::default() };
        assert_eq!(
            judge(NEED, Some((1_024, 4_096)), &small)[0].commands[0],
            "sysctl -w fs.nr_open=32768   # it is 10000"
        );
    }

    #[test]
    fn the_machine_must_have_room_beside_what_is_open() {
        let kernel = |max| Kernel { file_max: Some(max), files_open: Some(500), ..Kernel::default() };
        assert!(severities(None, &kernel(ALL + 500)).is_empty());
        assert_eq!(severities(None, &kernel(ALL + 499)), [("machine.file_max", Severity::Problem)]);
    }
}
