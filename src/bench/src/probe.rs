//! The server's process as the system shows it: who it is, its memory, its CPU, and where its data lies.
//!
//! Linux's /proc only; elsewhere, or on another machine, there is nothing to see, and the figures are left out.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::args::Target;

/// A process that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pid: u32,
}

/// What it uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Resident bytes.
    pub resident: u64,
    /// Seconds of CPU since its start.
    pub cpu: f64,
}

impl Probe {
    /// The process that was named, or the one that listens on the target's port here.
    pub fn of(target: &Target) -> Option<Probe> {
        let pid = target.pid.or_else(|| listener(target.address()))?;
        let probe = Probe { pid };
        probe.usage().map(|_| probe)
    }

    /// This process.
    pub fn own() -> Probe {
        Probe { pid: std::process::id() }
    }

    pub fn usage(self) -> Option<Usage> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        Some(Usage { resident: resident(&status)?, cpu: cpu(&stat)? })
    }

    /// Resident bytes alone, which are cheap to ask for.
    pub fn resident(self) -> Option<u64> {
        resident(&fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?)
    }

    fn files(self) -> Vec<PathBuf> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
    }

    /// The folder that holds its data folder: that of the RocksDB files it has open.
    pub fn beside_data(self) -> Option<PathBuf> {
        let files = self.files();
        let lock = files.iter().find(|path| path.file_name().is_some_and(|name| name == "LOCK"))?;
        let store = lock.parent()?;
        // data/store/LOCK: up to where the data folder itself lies.
        store.parent().and_then(Path::parent).or(store.parent()).map(Path::to_owned)
    }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// User and system time: the 14th and 15th words, after a name that may hold anything.
fn cpu(stat: &str) -> Option<f64> {
    /// Linux counts them so for every user program.
    const TICKS: f64 = 100.0;
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((words.get(11)?.parse::<f64>().ok()? + words.get(12)?.parse::<f64>().ok()?) / TICKS)
}

fn listener(address: SocketAddr) -> Option<u32> {
    if !address.ip().is_loopback() {
        return None;
    }
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| inode(&fs::read_to_string(table).ok()?, address))?;
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| Probe { pid: *pid }.files().contains(&wanted))
}

/// The inode of the socket that listens on `address`, or on all addresses with its port.
fn inode(table: &str, address: SocketAddr) -> Option<u64> {
    // Words of four bytes each, in this machine's order.
    let here: String = match address.ip() {
        IpAddr::V4(ip) => format!("{:08X}", u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(ip) => {
            let words = ip.octets();
            words.as_chunks::<4>().0.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
        }
    };
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (ip, port) = words.get(1)?.rsplit_once(':')?;
        let listens = words.get(3) == Some(&"0A") && u16::from_str_radix(port, 16) == Ok(address.port());
        let ours = ip == here || ip.bytes().all(|digit| digit == b'0');
        (listens && ours).then(|| words.get(9)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn this_process_uses_something() {
        let usage = Probe::own().usage().unwrap();
        assert!(usage.resident > 100_000, "{usage:?}");
        assert!(!Probe::own().files().is_empty());
    }

    #[test]
    fn whoever_listens_is_found() {
        for ip in ["127.0.0.1", "[::1]"] {
            let port = TcpListener::bind(format!("{ip}:0")).unwrap();
            assert_eq!(listener(port.local_addr().unwrap()), Some(std::process::id()), "{ip}");
        }
    }

    #[test]
    fn another_address_with_the_port_is_another_server() {
        let table = "  sl local_address rem_address st\n\
            0: 0500007F:1E15 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 5 1\n\
            1: 0100007F:1E15 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1\n\
            2: 00000000:1E16 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 0 1\n";
        let at = |address: &str| inode(table, address.parse().unwrap());
        assert_eq!((at("127.0.0.1:7701"), at("127.0.0.5:7701")), (Some(1), Some(5)));
        assert_eq!((at("127.0.0.9:7702"), at("127.0.0.9:7701")), (Some(0), None));
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(cpu("7"), None);
    }
}
