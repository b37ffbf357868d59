//! A power cut: what the data folder holds when the machine comes back.
//!
//! Of each file at least what was synced is there, and by chance some or all of what was written since, from the front.
//! Of each folder at least the names are as they were when it was last synced; each name that came, went or was replaced
//! since is so by chance. The shim (`tests/shim/src/durable.rs`) keeps the account; inodes are its names for files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt, MetadataExt};
use std::path::Path;

use fastrand::Rng;

use super::Server;

/// Cuts the power of a server that was launched with `Shim::PowerCuts`; it may then be started again.
pub fn cut(server: &mut Server, random: &mut Rng) {
    server.kill9();
    let data = server.data();
    let durable = server.faults().durable.clone().expect("power cuts are accounted for");
    let found = data.with_extension("found");
    let inode = fs::metadata(&data).unwrap().ino();
    restore(&Cut { durable: &durable }, &data, inode, &found, random);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&found, &data).unwrap();
    // All that the machine finds is durable from here on.
    fs::remove_dir_all(&durable).unwrap();
    fs::create_dir(&durable).unwrap();
    lay_out(&data, &durable);
}

struct Cut<'a> {
    durable: &'a Path,
}

fn restore(cut: &Cut, real: &Path, inode: u64, to: &Path, random: &mut Rng) {
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    let synced = cut.names(inode);
    let now = names(real);
    let all: BTreeSet<_> = synced.keys().chain(now.keys()).collect();
    for name in all {
        let (before, after) = (synced.get(name), now.get(name));
        let chosen = if before == after || random.bool() { after } else { before };
        let Some(&inode) = chosen else { continue };
        let (from, to) = (real.join(name), to.join(name));
        let is_now_here = after == Some(&inode);
        if is_now_here && from.is_dir() {
            restore(cut, &from, inode, &to, random);
        } else {
            let written = if is_now_here { Some(fs::read(&from).unwrap()) } else { cut.content(inode, "kept") };
            fs::write(to, survivor(cut.content(inode, "data").unwrap_or_default(), written, random)).unwrap();
        }
    }
}

/// What is left of a file of which `synced` was synced and `written` was written.
fn survivor(synced: Vec<u8>, written: Option<Vec<u8>>, random: &mut Rng) -> Vec<u8> {
    let Some(written) = written else { return synced };
    match random.u8(0..4) {
        0 | 1 => synced,
        2 => written,
        _ if written.starts_with(&synced) => written[..random.usize(synced.len()..=written.len())].to_vec(),
        _ => synced,
    }
}

impl Cut<'_> {
    fn content(&self, inode: u64, what: &str) -> Option<Vec<u8>> {
        fs::read(self.durable.join(format!("{inode}.{what}"))).ok()
    }

    /// The names that were in a folder when it was last synced.
    fn names(&self, inode: u64) -> BTreeMap<String, u64> {
        let lines = String::from_utf8(self.content(inode, "names").unwrap_or_default()).unwrap();
        let entry = |line: &str| line.split_once(' ').map(|(inode, name)| (name.to_owned(), inode.parse().unwrap()));
        lines.lines().filter_map(entry).collect()
    }
}

fn names(folder: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.ino())).collect()
}

/// The account of a folder of which everything was synced.
fn lay_out(folder: &Path, durable: &Path) {
    let inode = fs::metadata(folder).unwrap().ino();
    let lines: String = names(folder).iter().map(|(name, inode)| format!("{inode} {name}\n")).collect();
    fs::write(durable.join(format!("{inode}.names")), lines).unwrap();
    for (name, inode) in names(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            lay_out(&path, durable);
        } else {
            fs::copy(&path, durable.join(format!("{inode}.data"))).unwrap();
        }
    }
}
