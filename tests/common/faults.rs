//! The test's side of the shim that makes the machine fail (`tests/shim`): loads it into the server, says what fails.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const EIO: i64 = 5;
pub const EMFILE: i64 = 24;
pub const ENOSPC: i64 = 28;

/// What can be made to fail; the numbers of `Word` in `tests/shim/src/control.rs`.
#[derive(Clone, Copy)]
pub enum What {
    /// Writes and new names fail with this error.
    Write,
    Sync,
    SyncDelayMs,
    ClockSeconds,
    /// Files cannot be opened, nor made; with an error below zero, turned round, RocksDB's tables alone.
    Open,
    ClockFailsIn,
    ClockFailsAt,
    ClockSlowIn = 8,
    ClockSlowUs,
}

const MET: u64 = 7;
const WORDS: u64 = 10;

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

    /// The next thread of this stage that looks at the clock for the `nth` time from now on panics there, once.
    pub fn panic_in(&self, stage: &str, nth: i64) {
        self.set(What::ClockFailsIn, 0);
        self.set(What::ClockFailsAt, nth);
        self.set(What::ClockFailsIn, name(stage));
    }

    /// Each look of a thread of this stage at the clock takes so long from now on: about so much for each event there,
    /// without work for a processor.
    pub fn slow_down(&self, stage: &str, us: u32) {
        self.set(What::ClockSlowUs, us.into());
        self.set(What::ClockSlowIn, name(stage));
    }

    /// How often a fault was met so far.
    pub fn met(&self) -> i64 {
        let mut count = [0; 8];
        self.control.read_exact_at(&mut count, MET * 8).unwrap();
        i64::from_ne_bytes(count)
    }
}

/// A thread's name as a word: its first eight bytes.
fn name(thread: &str) -> i64 {
    let mut name = [0; 8];
    name.iter_mut().zip(thread.bytes()).for_each(|(to, byte)| *to = byte);
    i64::from_ne_bytes(name)
}
