//! Loaded before the C library (`LD_PRELOAD`) into the unmodified server, this makes the machine fail from outside: a disk
//! that takes no more, errors of writes and syncs, syncs that take long, files that cannot be opened, a clock that was set,
//! fails, which panics, or takes long, which makes a stage slow; and it keeps account of what a power cut would leave (`durable`).
//!
//! Only files below `TIDEGATE_SHIM_ROOT` are touched. What fails is said by the words of the file
//! `TIDEGATE_SHIM_CONTROL`, which both sides have mapped (`control`). Owns nothing of the server, knows nothing of it.
//!
//! Every function here stands in for the C library's of the same name and is called as that one is. So each is `unsafe`
//! for the same reason: the pointers are the caller's, and are handed on as they came.

#![cfg(target_os = "linux")]
#![expect(clippy::missing_safety_doc, reason = "it is the same for all, and said above")]

mod control;
mod durable;

use std::cell::Cell;
use std::ffi::{CStr, OsStr};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use libc::{c_char, c_int, c_void, mode_t, off_t, size_t, ssize_t, timespec};

use control::{Control, Word};
use durable::Durable;

struct Shim {
    root: PathBuf,
    control: Control,
    durable: Option<Durable>,
}

static SHIM: OnceLock<Shim> = OnceLock::new();

thread_local! {
    /// Whether this thread is in here already: what is called then is our own and goes straight through.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs when the library is loaded. Until it has, everything goes straight through.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

extern "C" fn begin() {
    let path = |name: &str| std::env::var_os(format!("TIDEGATE_SHIM_{name}")).map(PathBuf::from);
    let (Some(root), Some(control)) = (path("ROOT"), path("CONTROL")) else { return };
    let Some(control) = Control::map(&control) else {
        // Without it all faults would be missing, and whoever counts on them would not know.
        eprintln!("the shim cannot use {}: not there, or shorter than its words", control.display());
        std::process::abort();
    };
    let durable = path("DURABLE").map(Durable::new);
    let _ = SHIM.set(Shim { root, control, durable });
}

/// Does something with the shim, unless there is none or this call is our own.
fn inside<T>(work: impl FnOnce(&'static Shim) -> Option<T>) -> Option<T> {
    let shim = SHIM.get()?;
    if INSIDE.try_with(|inside| inside.replace(true)).unwrap_or(true) {
        return None;
    }
    let done = work(shim);
    INSIDE.with(|inside| inside.set(false));
    done
}

impl Shim {
    fn is_ours(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    /// The path of an open file, where it is below the root.
    fn path_of(&self, fd: RawFd) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{fd}")).ok().filter(|path| self.is_ours(path))
    }

    /// What a call that would write into this file is to fail with.
    fn write_error(&self, fd: RawFd) -> Option<c_int> {
        let error = self.control.error(Word::Write)?;
        self.path_of(fd)?;
        Some(self.control.met(error))
    }

    /// The same for a call that would change a folder.
    fn name_error(&self, path: &Path) -> Option<c_int> {
        let error = self.control.error(Word::Write)?;
        self.is_ours(path).then(|| self.control.met(error))
    }

    fn open_error(&self, path: &Path, flags: c_int) -> Option<c_int> {
        if flags & libc::O_CREAT != 0
            && let Some(error) = self.name_error(path)
        {
            return Some(error);
        }
        let error = self.control.error(Word::Open)?;
        let fails = self.is_ours(path) && (error > 0 || path.extension().is_some_and(|extension| extension == "sst"));
        fails.then(|| self.control.met(error.abs()))
    }

    /// Whether this word names this thread.
    fn is_in(&self, word: Word) -> bool {
        let whose = self.control.get(word);
        if whose == 0 {
            return false;
        }
        let mut name = [[0u8; 8]; 2];
        // Safety: the system writes sixteen bytes at most.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        i64::from_ne_bytes(name[0]) == whose
    }

    /// How long this look of this thread at the clock takes.
    fn clock_takes(&self) -> Option<Duration> {
        let us = self.is_in(Word::ClockSlowIn).then(|| self.control.get(Word::ClockSlowUs))?;
        Some(Duration::from_micros(us.unsigned_abs()))
    }

    /// Whether the clock fails this look of this thread.
    fn clock_fails(&self) -> bool {
        let fails = self.is_in(Word::ClockFailsIn) && self.control.is_last(Word::ClockFailsAt);
        if fails {
            self.control.met(0);
        }
        fails
    }
}

fn fail(error: c_int) -> c_int {
    // Safety: the C library's own place for it, of this thread.
    unsafe { *libc::__errno_location() = error };
    -1
}

/// The C library's function that stands behind ours.
macro_rules! real {
    ($name:ident: $type:ty) => {{
        static REAL: OnceLock<usize> = OnceLock::new();
        let real = *REAL.get_or_init(|| {
            let name = concat!(stringify!($name), "\0");
            // Safety: the name ends with a zero.
            unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr().cast()) as usize }
        });
        // Safety: every one of these names is in every C library of Linux, with this type.
        unsafe { std::mem::transmute::<usize, $type>(real) }
    }};
}

unsafe fn path<'a>(path: *const c_char) -> &'a Path {
    // Safety: the caller gives the C library a string, and so us.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
}

// ---- Writes ----

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    if let Some(error) = inside(|shim| shim.write_error(fd)) {
        return fail(error) as ssize_t;
    }
    let real = real!(write: unsafe extern "C" fn(c_int, *const c_void, size_t) -> ssize_t);
    unsafe { real(fd, bytes, count) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, count: size_t, at: off_t) -> ssize_t {
    if let Some(error) = inside(|shim| shim.write_error(fd)) {
        return fail(error) as ssize_t;
    }
    let real = real!(pwrite: unsafe extern "C" fn(c_int, *const c_void, size_t, off_t) -> ssize_t);
    unsafe { real(fd, bytes, count, at) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, count: size_t, at: off_t) -> ssize_t {
    unsafe { pwrite(fd, bytes, count, at) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fallocate(fd: c_int, mode: c_int, at: off_t, length: off_t) -> c_int {
    if let Some(error) = inside(|shim| shim.write_error(fd)) {
        return fail(error);
    }
    let real = real!(fallocate: unsafe extern "C" fn(c_int, c_int, off_t, off_t) -> c_int);
    unsafe { real(fd, mode, at, length) }
}

// ---- Syncs ----

fn sync(fd: c_int, real: unsafe extern "C" fn(c_int) -> c_int) -> c_int {
    let noted = inside(|shim| {
        let path = shim.path_of(fd)?;
        let delay = shim.control.get(Word::SyncDelayMs);
        if delay > 0 {
            shim.control.met(0);
            std::thread::sleep(Duration::from_millis(delay.unsigned_abs()));
        }
        if let Some(error) = shim.control.error(Word::Sync) {
            return Some(Err(shim.control.met(error)));
        }
        Some(Ok(shim.durable.as_ref().and_then(|durable| Some((durable, durable.before(fd, &path)?)))))
    });
    if let Some(Err(error)) = noted {
        return fail(error);
    }
    let done = unsafe { real(fd) };
    if let (0, Some(Ok(Some((durable, noted))))) = (done, noted) {
        inside(|_| {
            durable.after(noted);
            Some(())
        });
    }
    done
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, real!(fsync: unsafe extern "C" fn(c_int) -> c_int))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, real!(fdatasync: unsafe extern "C" fn(c_int) -> c_int))
}

// ---- Names ----

unsafe fn open_error(name: *const c_char, flags: c_int) -> Option<c_int> {
    inside(|shim| shim.open_error(unsafe { path(name) }, flags))
}

// The mode is there only where a file may be made; where it is not, what is handed on is not looked at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    if let Some(error) = unsafe { open_error(name, flags) } {
        return fail(error);
    }
    let real = real!(open: unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int);
    unsafe { real(name, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    if let Some(error) = unsafe { open_error(name, flags) } {
        return fail(error);
    }
    let real = real!(open64: unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int);
    unsafe { real(name, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let error = inside(|shim| {
        let to = unsafe { path(to) };
        let error = shim.name_error(to);
        if error.is_none() && shim.is_ours(to) {
            shim.durable.iter().for_each(|durable| durable.keep(to));
        }
        error
    });
    if let Some(error) = error {
        return fail(error);
    }
    let real = real!(rename: unsafe extern "C" fn(*const c_char, *const c_char) -> c_int);
    unsafe { real(from, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(name: *const c_char) -> c_int {
    inside(|shim| {
        let name = unsafe { path(name) };
        if shim.is_ours(name) {
            shim.durable.iter().for_each(|durable| durable.keep(name));
        }
        None::<()>
    });
    let real = real!(unlink: unsafe extern "C" fn(*const c_char) -> c_int);
    unsafe { real(name) }
}

// ---- The clock ----

#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut timespec) -> c_int {
    if clock == libc::CLOCK_REALTIME
        && let Some(time) = SHIM.get().and_then(Shim::clock_takes)
    {
        std::thread::sleep(time);
    }
    if clock == libc::CLOCK_REALTIME && SHIM.get().is_some_and(Shim::clock_fails) {
        return fail(libc::EINVAL);
    }
    let real = real!(clock_gettime: unsafe extern "C" fn(libc::clockid_t, *mut timespec) -> c_int);
    let done = unsafe { real(clock, time) };
    // Seconds are enough, and nobody need be told.
    if let (0, libc::CLOCK_REALTIME, Some(shim)) = (done, clock, SHIM.get()) {
        unsafe { (*time).tv_sec += shim.control.get(Word::ClockSeconds) };
    }
    done
}
