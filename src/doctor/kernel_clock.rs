//! What the kernel knows about its wall clock: Linux's `adjtimex`, asked without changing anything.
//!
//! The one place of this program that is `unsafe`: nobody wraps this call, and `/proc` does not tell it.

/// How far the clock can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelClock {
    /// Whether a time daemon keeps it right.
    pub is_synchronised: bool,
    /// The most that it is off, as the daemon says; the kernel lets it grow while nothing is heard.
    pub most_error_us: u64,
}

#[cfg(target_os = "linux")]
pub fn look() -> Option<KernelClock> {
    // SAFETY: `timex` is plain integers, for which zeros are values. `modes` of zero asks and sets nothing.
    let mut asked: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole `timex` of ours, which outlives the call; the kernel fills it and keeps nothing.
    let state = unsafe { libc::adjtimex(&raw mut asked) };
    let is_synchronised = state != libc::TIME_ERROR && asked.status & libc::STA_UNSYNC == 0;
    (state >= 0).then(|| KernelClock { is_synchronised, most_error_us: u64::try_from(asked.maxerror).unwrap_or(0) })
}

#[cfg(not(target_os = "linux"))]
pub fn look() -> Option<KernelClock> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_kernel_answers_twice_the_same() {
        let (one, two) = (super::look().unwrap(), super::look().unwrap());
        assert_eq!(one.is_synchronised, two.is_synchronised);
    }
}
