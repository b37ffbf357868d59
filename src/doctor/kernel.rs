//! The kernel's settings for connections: those that wait to be accepted, and the ports of those that go out.

use tidegate_config::grouped;

use super::finding::{Finding, Severity};
use super::system::Kernel;

/// What the configuration asks of them.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Connections that a listener asks the kernel to keep.
    pub backlog: u64,
    /// `net.max_connections`.
    pub connections: u64,
    /// Calls to webhooks at once; 0 where no app has any.
    pub calls: u64,
}

/// A closed connection keeps its port so long.
const TIME_WAIT_SECONDS: u64 = 60;
/// New connections a second to one webhook that the ports should last for: half of what is usual.
const NEW_CALLS: u64 = 200;

pub fn judge(wanted: Wanted, kernel: &Kernel) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(kernel.somaxconn.map(|most| accepted(wanted, most)));
    findings.extend(kernel.syn_backlog.map(|most| half_open(wanted, most, kernel.syncookies == Some(0))));
    if findings.is_empty() {
        findings.push(untold());
    }
    findings.extend(kernel.ports.filter(|_| wanted.calls > 0).map(|ports| outgoing(wanted, ports)));
    findings
}

fn untold() -> Finding {
    Finding::new("machine.network", Severity::Note, "this system does not tell its network settings (/proc/sys)")
        .why("How many connections may wait to be accepted decides what happens when all clients come back at once.")
        .todo("Look at its limit for listen(2) yourself (kern.ipc.somaxconn on BSD and macOS).")
}

/// More than all connections can never wait.
fn rush(wanted: Wanted) -> u64 {
    wanted.backlog.min(wanted.connections)
}

fn accepted(wanted: Wanted, most: u64) -> Finding {
    let needed = rush(wanted);
    let finding = |severity, says| {
        Finding::new("machine.somaxconn", severity, says).number("somaxconn", most).number("wanted", needed)
    };
    if most >= needed {
        return finding(
            Severity::Ok,
            format!("{} connections may wait to be accepted (net.core.somaxconn)", grouped(most)),
        );
    }
    finding(
        Severity::Warning,
        format!("only {} connections may wait to be accepted; the server asks for {}", grouped(most), grouped(needed)),
    )
    .why("When all clients come back at once, the rest are not answered and try again after 1, 3 and 7 seconds.")
    .todo("Raise it, here and in /etc/sysctl.d; the server takes it at its next start:")
    .command(format!("sysctl -w net.core.somaxconn={needed}"))
}

fn half_open(wanted: Wanted, most: u64, no_cookies: bool) -> Finding {
    let needed = rush(wanted);
    let finding = |severity, says| {
        Finding::new("machine.syn_backlog", severity, says)
            .number("tcp_max_syn_backlog", most)
            .number("wanted", needed)
            .number("syncookies", !no_cookies)
    };
    if most >= needed {
        let says = format!("{} connections may be half open (tcp_max_syn_backlog)", grouped(most));
        return finding(Severity::Ok, says);
    }
    let says = format!("only {} connections may be half open; {} may come at once", grouped(most), grouped(needed));
    let found = match no_cookies {
        true => finding(Severity::Warning, says + ", and net.ipv4.tcp_syncookies is off")
            .why("What comes beyond them is dropped, and tries again after 1, 3 and 7 seconds."),
        false => finding(Severity::Note, says)
            .why("Beyond them the kernel answers with SYN cookies, which cost those connections some TCP options."),
    };
    found
        .todo("Raise it, here and in /etc/sysctl.d:")
        .command(format!("sysctl -w net.ipv4.tcp_max_syn_backlog={needed}"))
}

fn outgoing(wanted: Wanted, (first, last): (u64, u64)) -> Finding {
    let ports = (last + 1).saturating_sub(first);
    let a_second = ports / TIME_WAIT_SECONDS;
    let finding = |severity, says| {
        Finding::new("machine.local_ports", severity, says).number("ports", ports).number("calls_at_once", wanted.calls)
    };
    let says = format!(
        "{} ports for calls to webhooks: {} calls at once, or {} new connections a second to one of them",
        grouped(ports),
        grouped(wanted.calls),
        grouped(a_second)
    );
    if ports >= wanted.calls * 2 && a_second >= NEW_CALLS {
        return finding(Severity::Ok, says);
    }
    finding(if ports < wanted.calls * 2 { Severity::Problem } else { Severity::Note }, says)
        .why(
            "A closed connection keeps its port for a minute; without a free one a call fails. Servers that keep \
             connections open are not concerned.",
        )
        .todo("Widen the range, here and in /etc/sysctl.d, and let webhooks keep connections open:")
        .command("sysctl -w net.ipv4.ip_local_port_range=\"16384 60999\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { backlog: 4_096, connections: 18_000, calls: 288 };

    fn severity(wanted: Wanted, kernel: Kernel) -> Vec<Severity> {
        judge(wanted, &kernel).iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn as_many_may_wait_as_the_server_asks_for() {
        let with = |most| Kernel { somaxconn: Some(most), ..Kernel::default() };
        assert_eq!(severity(WANTED, with(4_096)), [Severity::Ok]);
        assert_eq!(severity(WANTED, with(4_095)), [Severity::Warning]);
        let few = Wanted { connections: 128, ..WANTED };
        assert_eq!(severity(few, with(128)), [Severity::Ok], "more connections than that there are never");
        assert_eq!(judge(few, &with(100))[0].commands, ["sysctl -w net.core.somaxconn=128"]);
    }

    #[test]
    fn half_open_ones_are_worse_without_cookies() {
        let with = |most, cookies| Kernel { syn_backlog: Some(most), syncookies: Some(cookies), ..Kernel::default() };
        assert_eq!(severity(WANTED, with(4_096, 0)), [Severity::Ok]);
        assert_eq!(severity(WANTED, with(4_095, 0)), [Severity::Warning]);
        assert_eq!(severity(WANTED, with(4_095, 1)), [Severity::Note]);
    }

    #[test]
    fn ports_matter_where_calls_go_out() {
        let with = |last| Kernel { ports: Some((1, last)), somaxconn: Some(4_096), ..Kernel::default() };
        let severity = |wanted, kernel| severity(wanted, kernel).split_off(1);
        assert_eq!(severity(WANTED, with(12_000)), [Severity::Ok]);
        assert_eq!(severity(WANTED, with(11_999)), [Severity::Note]);
        assert_eq!(severity(WANTED, with(576)), [Severity::Note]);
        assert_eq!(severity(WANTED, with(575)), [Severity::Problem]);
        assert!(severity(Wanted { calls: 0, ..WANTED }, with(10)).is_empty());
    }

    #[test]
    fn what_a_system_does_not_tell_is_said_and_not_judged() {
        let found = judge(WANTED, &Kernel::default());
        assert_eq!((found.len(), found[0].check, found[0].severity), (1, "machine.network", Severity::Note));
    }
}
