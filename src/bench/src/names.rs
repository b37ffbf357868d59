//! Clients' names: a prefix of the run and a number, so that runs do not hear each other and a number reads back.

use std::time::{SystemTime, UNIX_EPOCH};

/// A prefix that no other run has.
pub fn fresh() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("b{:x}{:x}", std::process::id(), since.as_millis() & 0xff_ffff)
}

pub fn name(prefix: &str, client: u32) -> String {
    format!("{prefix}-{client}")
}

/// The number at the end of a name.
pub fn number(name: &[u8]) -> Option<u32> {
    let at = name.iter().rposition(|byte| *byte == b'-')?;
    std::str::from_utf8(&name[at + 1..]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_back_from_its_name() {
        for client in [0, 7, u32::MAX] {
            assert_eq!(number(name("b-x", client).as_bytes()), Some(client));
        }
        assert_eq!((number(b"tom"), number(b"b-"), number(b"b-1x")), (None, None, None));
    }
}
