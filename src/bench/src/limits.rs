//! What the system gives one process: open files, and ports on each of its addresses.

use std::net::{IpAddr, Ipv4Addr};

use crate::Failure;

/// Connections from one source address: well inside the range of ports that the system gives out.
const PER_SOURCE: usize = 12_000;
/// Files that are open beside the connections.
const OTHER_FILES: u64 = 64;

/// Each source address has ports of its own; on loopback there are many.
pub fn source(server: IpAddr, connection: usize) -> Option<IpAddr> {
    let number = connection / PER_SOURCE + 1;
    match server {
        IpAddr::V4(ip) if ip.is_loopback() && number > 1 => {
            Some(Ipv4Addr::new(127, 0, (number >> 8) as u8, number as u8).into())
        }
        _ => None,
    }
}

/// Connections that this process can have, with the limit of open files raised as far as it goes; at least one.
pub fn connections() -> Result<u32, Failure> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).map_err(Failure::because)?;
    Ok(u32::try_from(limit.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX).max(1))
}

/// Refuses more than this process can have.
pub fn room_for(wanted: usize) -> Result<(), Failure> {
    let most = connections()?;
    if wanted <= most as usize {
        return Ok(());
    }
    Err(Failure::because(format!(
        "{wanted} connections are as many open files, and a process may have {most} of them here: ask for fewer, raise \
         the hard limit (ulimit -Hn), let clients share connections (--per-connection), or run a second bench beside \
         this one"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_source_address_for_each_twelve_thousand() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(source(loopback, 11_999), None);
        assert_eq!(source(loopback, 12_000), Some(Ipv4Addr::new(127, 0, 0, 2).into()));
        assert_eq!(source(loopback, 255 * PER_SOURCE), Some(Ipv4Addr::new(127, 0, 1, 0).into()));
        assert_eq!(source(Ipv4Addr::new(10, 0, 0, 1).into(), 36_000), None);
    }
}
