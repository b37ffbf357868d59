//! RocksDB's log format, in which its write-ahead logs and its manifests are written: walking through one, and telling
//! damage from a torn end.
//!
//! Blocks of 32 KiB; in them fragments of records, each with checksum (4 bytes, CRC-32C over type and payload, masked),
//! length (2, little-endian) and type (1); the rest of a block too short for that is padding. The length is covered by no
//! checksum, so RocksDB takes a damaged one near the end of a log for a write that was cut off, and silently ignores what
//! follows. Here it is damage if anything whole follows it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

const BLOCK: usize = 32 * 1024;
const HEADER: usize = 7;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// A database's write-ahead logs, the oldest first.
pub(super) fn logs(rocks: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(rocks)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "log") {
            logs.push(path);
        }
    }
    logs.sort();
    Ok(logs)
}

/// Its manifest: which tables belong to it. The error is what is wrong with the file that names it.
pub(super) fn manifest(rocks: &Path) -> io::Result<PathBuf> {
    let named = fs::read_to_string(rocks.join("CURRENT"))?;
    let number = named.strip_prefix("MANIFEST-").and_then(|rest| rest.strip_suffix('\n'));
    if !number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it names no manifest"));
    }
    Ok(rocks.join(named.trim_end()))
}

/// What there is at a place.
enum Found<'a> {
    Fragment {
        kind: u8,
        payload: &'a [u8],
        whole: bool,
    },
    /// The rest of a block is too short for another.
    Padding,
    /// Nothing but zeros: space that was laid out and not written.
    Unwritten,
    /// The end, or what goes past it.
    Nothing,
}

fn look(log: &[u8], at: usize) -> Found<'_> {
    if BLOCK - at % BLOCK < HEADER {
        return Found::Padding;
    }
    let Some(header) = log.get(at..at + HEADER) else { return Found::Nothing };
    let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
    let kind = header[6];
    if header.iter().all(|byte| *byte == 0) {
        return Found::Unwritten;
    }
    let Some(payload) = log.get(at + HEADER..at + HEADER + length) else { return Found::Nothing };
    let checksum = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let fits = at % BLOCK + HEADER + length <= BLOCK;
    Found::Fragment {
        kind,
        payload,
        whole: fits && unmask(checksum) == crc32c::crc32c(&log[at + 6..at + HEADER + length]),
    }
}

/// RocksDB masks the checksums that it stores.
fn unmask(checksum: u32) -> u32 {
    checksum.wrapping_sub(0xa282_ead8).rotate_left(15)
}

fn next_block(at: usize) -> usize {
    (at / BLOCK + 1) * BLOCK
}

/// The records of a log, each with the place where it begins, up to the first thing that is none. Checksums are not looked
/// at: that is RocksDB's, and [`examine`]'s, to judge.
pub(super) fn records(log: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (mut start, mut record) = (at, Vec::new());
        loop {
            match look(log, at) {
                Found::Nothing => return None,
                Found::Padding | Found::Unwritten => at = next_block(at),
                Found::Fragment { kind, payload, .. } => {
                    if kind == FULL || kind == FIRST {
                        (start, record) = (at, Vec::new());
                    }
                    if (FULL..=LAST).contains(&kind) {
                        record.extend_from_slice(payload);
                    }
                    at += HEADER + payload.len();
                    if kind == FULL || kind == LAST {
                        return Some((start, std::mem::take(&mut record)));
                    }
                }
            }
        }
    })
}

/// How far a log can be read: to its end, or to the first thing that is damaged or was cut off.
fn readable(log: &[u8]) -> usize {
    let (mut at, mut end) = (0, 0);
    let mut inside_record = false;
    loop {
        match look(log, at) {
            Found::Padding => at = next_block(at),
            Found::Fragment { kind, payload, whole: true } if follows(kind, inside_record) => {
                inside_record = kind == FIRST || kind == MIDDLE;
                at += HEADER + payload.len();
                end = at;
            }
            _ => return end,
        }
        if at >= log.len() {
            return end;
        }
    }
}

/// How far a log can be read; the error is the bytes that cannot be although something that can follows them. What is
/// damaged at the very end is no more than a write that was cut off, as far as can be told from the log alone.
pub(super) fn examine(log: &[u8]) -> Result<usize, Range<usize>> {
    let from = readable(log);
    (from + 1..log.len()).find(|after| is_whole(log, *after)).map_or(Ok(from), |after| Err(from..after))
}

/// Whether a fragment of this type may come after what came.
fn follows(kind: u8, inside_record: bool) -> bool {
    match kind {
        FULL | FIRST => !inside_record,
        MIDDLE | LAST => inside_record,
        _ => false,
    }
}

fn is_whole(log: &[u8], at: usize) -> bool {
    // A type is looked at first: checksums of whatever could be a length take long.
    log.get(at + 6).is_some_and(|kind| (FULL..=LAST).contains(kind))
        && matches!(look(log, at), Found::Fragment { whole: true, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(log: &[u8]) -> Option<Range<usize>> {
        examine(log).err()
    }

    fn log(sizes: &[usize]) -> Vec<u8> {
        let mut log = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            let payload = vec![n as u8 + 1; *size];
            let mut rest = &payload[..];
            let mut first = true;
            loop {
                let left = BLOCK - log.len() % BLOCK;
                if left < HEADER {
                    log.resize(log.len() + left, 0);
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(left - HEADER));
                let kind = match (first, later.is_empty()) {
                    (true, true) => FULL,
                    (true, false) => FIRST,
                    (false, false) => MIDDLE,
                    (false, true) => LAST,
                };
                let checksum = crc32c::crc32c(&[&[kind], now].concat()).rotate_right(15).wrapping_add(0xa282_ead8);
                log.extend_from_slice(&checksum.to_le_bytes());
                log.extend_from_slice(&(now.len() as u16).to_le_bytes());
                log.push(kind);
                log.extend_from_slice(now);
                (rest, first) = (later, false);
                if rest.is_empty() {
                    break;
                }
            }
        }
        log
    }

    const SIZES: [usize; 6] = [10, 40_000, 1, 100_000, 32_000, 500];

    #[test]
    fn records_are_what_was_written() {
        let lengths: Vec<_> = records(&log(&SIZES)).map(|(_, record)| record.len()).collect();
        assert_eq!(lengths, SIZES);
        assert_eq!(damage(&log(&SIZES)), None);
        assert_eq!(damage(&[]), None);
    }

    #[test]
    fn zeros_before_something_are_damage_and_behind_everything_are_not() {
        let whole = log(&SIZES);
        let mut holed = whole.clone();
        holed[40_000..44_000].fill(0);
        assert!(damage(&holed).is_some());
        assert_eq!(damage(&[whole, vec![0; 100_000]].concat()), None);
    }

    #[test]
    fn an_end_that_was_cut_off_is_no_damage() {
        let whole = log(&SIZES);
        let last = records(&whole).last().unwrap().0;
        for length in (last..whole.len()).chain([100, 20_000, 100_000]) {
            assert_eq!(damage(&whole[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn a_flipped_bit_before_the_last_record_is_damage_and_in_it_is_not() {
        let whole = log(&SIZES);
        let last = records(&whole).last().unwrap().0;
        for at in (0..60).chain((60..whole.len()).step_by(1_009)).chain(last - 20..whole.len()) {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                // What fills up a block means nothing.
                if whole[at] == 0 && BLOCK - at % BLOCK < HEADER {
                    continue;
                }
                let found = damage(&flipped);
                if at < last {
                    assert!(found.is_some_and(|found| found.contains(&at)), "byte {at} bit {bit}");
                } else {
                    assert_eq!(found, None, "byte {at} bit {bit}");
                }
            }
        }
    }
}
