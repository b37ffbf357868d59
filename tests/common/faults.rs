//! The test's side of the shim that makes the machine fail (`tests/shim`): loads it into the server, says what fails.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const EIO: i64 = 5;
pub const ENOSPC: i64 = 28;

/// What can be made to fail; the numbers of `Word` in `tests/shim/src/control.rs`.
#[derive(Clone, Copy)]
pub enum What {
    /// Writes and new names fail with this error.
    Write,
    Sync,
    SyncDelayMs,
    ClockSeconds,
}

const MET: u64 = 4;
const WORDS: u64 = 5;

pub struct Faults {
    path: PathBuf,
    control: File,
    /// Where account is kept of what a power cut would leave.
    pub durable: Option<PathBuf>,
}

impl Faults {
    pub fn begin(folder: &Path, power_cuts: bool) -> Faults {
        let path = folder.join("faults");
        let control = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        control.write_all_at(&[0; 8 * WORDS as usize], 0).unwrap();
        let durable = power_cuts.then(|| folder.join("durable"));
        durable.iter().for_each(|durable| fs::create_dir(durable).unwrap());
        Faults { path, control, durable }
    }

    pub fn load_into(&self, program: &mut Command, data: &Path) {
        let built = Path::new(env!("CARGO_BIN_EXE_tidegate")).with_file_name("deps");
        let library =
            built.join(format!("{}tidegate_shim{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
        assert!(library.is_file(), "cargo builds it with the tests: {}", library.display());
        program.env("LD_PRELOAD", library).env("TIDEGATE_SHIM_CONTROL", &self.path).env("TIDEGATE_SHIM_ROOT", data);
        if let Some(durable) = &self.durable {
            program.env("TIDEGATE_SHIM_DURABLE", durable);
        }
    }

    /// From now on; 0 ends it.
    pub fn set(&self, what: What, value: i64) {
        self.control.write_all_at(&value.to_ne_bytes(), what as u64 * 8).unwrap();
    }

    /// How often a fault was met so far.
    pub fn met(&self) -> i64 {
        let mut count = [0; 8];
        self.control.read_exact_at(&mut count, MET * 8).unwrap();
        i64::from_ne_bytes(count)
    }
}
