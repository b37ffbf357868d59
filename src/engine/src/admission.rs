//! Who is let in when not all can be: by class, and within a class by the place that a user has on a circle.
//!
//! A *level* says how much is refused: up to 1 a share of class 3, up to 2 all of that and a share of class 2, up to 3 of
//! class 1 as well. Class 0 frees resources and is never refused. A user's place on the circle comes from a hash; who
//! stands in the refused part is wholly out. That part moves once round the circle in ten seconds, so nobody is out for
//! long, and few change sides at a time.
//!
//! The door counts what each class offers, by place. So the level that lets in a given amount is read off, not searched
//! for: when a crowd leaves, everybody is back in with the next decision. Between decisions the backlog alone may keep
//! whole classes out.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

/// The circle, and one class of a level.
pub(crate) const WHOLE: u64 = 1 << 16;
/// A hundredth of class 1 always comes in, so that work goes on and its delay is seen.
pub(crate) const HIGHEST: u64 = 3 * WHOLE - WHOLE / 100;
const ROUND_NS: u64 = 10_000_000_000;

/// Places are counted in so many groups.
const GROUPS: usize = 128;
const GROUP: u64 = WHOLE / GROUPS as u64;

pub(crate) struct Admission {
    /// The level in the lower half, where the refused part begins in the upper.
    in_force: AtomicU64,
    /// By class, the first refused first, and by place.
    offered: [[AtomicU64; GROUPS]; 3],
    admitted: AtomicU64,
    /// The lowest class that the present backlog keeps out.
    kept_out: AtomicU8,
    /// Whether the controller has a limit in force.
    late: AtomicBool,
    /// Counts down to the next look at the backlog.
    looks: AtomicU8,
}

/// For every so many events the door looks how much waits.
const LOOK_EVERY: u8 = 16;

impl Admission {
    /// No class is kept out.
    pub const NOBODY: u8 = 4;

    pub fn new() -> Admission {
        Admission {
            in_force: AtomicU64::new(0),
            kept_out: AtomicU8::new(Admission::NOBODY),
            late: AtomicBool::new(false),
            looks: AtomicU8::new(0),
            offered: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            admitted: AtomicU64::new(0),
        }
    }

    /// Whether it is time for another look at the backlog.
    pub fn is_look_due(&self) -> bool {
        self.looks.fetch_add(1, Relaxed).is_multiple_of(LOOK_EVERY)
    }

    /// From now on this class and all that go before it are refused.
    pub fn keep_out(&self, class: u8) {
        self.kept_out.store(class, Relaxed);
    }

    pub fn is_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    pub fn set_late(&self, late: bool) {
        self.late.store(late, Relaxed);
    }

    /// Whether a user of `class` (0 is refused last, 3 first) may come in.
    pub fn admit(&self, class: u8, who: u64) -> bool {
        let Some(order) = 3u8.checked_sub(class.min(3)).filter(|order| *order < 3) else { return true };
        let in_force = self.in_force.load(Relaxed);
        let (level, begin) = (in_force & u32::MAX as u64, in_force >> 32);
        let place = mix(who);
        self.offered[order as usize][(place / GROUP) as usize].fetch_add(1, Relaxed);
        let refused = level.saturating_sub(order as u64 * WHOLE);
        let is_in = (place.wrapping_sub(begin) % WHOLE) >= refused && class < self.kept_out.load(Relaxed);
        if is_in {
            self.admitted.fetch_add(1, Relaxed);
        }
        is_in
    }

    /// Somebody who had been let in found the queue full.
    pub fn turned_back(&self) {
        let _ = self.admitted.fetch_update(Relaxed, Relaxed, |admitted| admitted.checked_sub(1));
    }

    /// Adds what came since the last call to `crowd`.
    pub fn count(&self, crowd: &mut Crowd) {
        for (class, groups) in self.offered.iter().enumerate() {
            let (mut before, mut now) = (0.0, 0.0);
            for (group, count) in groups.iter().enumerate() {
                let (shape, count) = (&mut crowd.shape[class][group], count.swap(0, Relaxed) as f64);
                *shape = *shape * KEEP + count;
                before += *shape;
                now += count;
            }
            crowd.now[class] = now;
            crowd.scale[class] = if before > 0.0 { now / before } else { 0.0 };
        }
        crowd.admitted = self.admitted.swap(0, Relaxed);
    }

    /// From now on: the level, and where the refused part begins.
    fn set(&self, level: u64, begin: u64) {
        self.in_force.store(level | begin << 32, Relaxed);
    }
}

/// What comes to the door.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    /// By class and place, summed over some time, older counts counting less: one interval's would be mostly chance.
    shape: [[f64; GROUPS]; 3],
    /// In the last interval, by class, and what part of the sum that is.
    now: [f64; 3],
    scale: [f64; 3],
    /// Where the refused part begins.
    begin: u64,
    /// How many of them came in.
    pub admitted: u64,
}

/// What is kept of the shape from one interval to the next.
const KEEP: f64 = 0.9;

impl Crowd {
    pub fn new() -> Crowd {
        Crowd { shape: [[0.0; GROUPS]; 3], now: [0.0; 3], scale: [0.0; 3], begin: 0, admitted: 0 }
    }

    /// Lets in what about `wanted` were of the last interval, which was `ns` long; `None`: all. Returns whether anybody is
    /// refused.
    pub fn let_in(&mut self, admission: &Admission, wanted: Option<f64>, ns: u64) -> bool {
        let level = wanted.map_or(0, |wanted| self.level_for(wanted));
        // By what it passes, not by angle: then as many come in as go out, and everybody is in for as long.
        let class = (level / WHOLE).min(2) as usize;
        let passed = self.walk(class, self.now[class] * ns as f64 / ROUND_NS as f64);
        self.begin = (self.begin + passed) % WHOLE;
        admission.set(level, self.begin);
        level > 0
    }

    /// The level at which about `wanted` come in.
    fn level_for(&self, wanted: f64) -> u64 {
        let mut surplus = self.now.iter().sum::<f64>() - wanted;
        if surplus <= 0.0 {
            return 0;
        }
        for (class, now) in self.now.iter().enumerate() {
            if surplus < *now {
                return (class as u64 * WHOLE + self.walk(class, surplus)).min(HIGHEST);
            }
            surplus -= now;
        }
        HIGHEST
    }

    /// How far from where the refused part begins one must go to pass so many of a class.
    fn walk(&self, class: usize, mut count: f64) -> u64 {
        if count <= 0.0 {
            return 0;
        }
        let (first, into) = (self.begin / GROUP, self.begin % GROUP);
        let mut passed = 0;
        // It begins inside a group, whose other half comes last.
        for i in 0..=GROUPS as u64 {
            let width = if i == 0 { GROUP - into } else { GROUP };
            let group = ((first + i) % GROUPS as u64) as usize;
            let here = self.shape[class][group] * self.scale[class] * width as f64 / GROUP as f64;
            if count < here {
                return (passed + (count / here * width as f64) as u64).min(WHOLE - 1);
            }
            count -= here;
            passed += width;
        }
        WHOLE - 1
    }
}

/// Spread, so that neighbouring numbers do not stand together.
fn mix(who: u64) -> u64 {
    (who ^ (who >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: u64 = 10_000;

    fn level(admission: &Admission, crowd: &mut Crowd, wanted: f64) -> u64 {
        admission.count(crowd);
        crowd.let_in(admission, Some(wanted), 0);
        admission.in_force.load(Relaxed) & u32::MAX as u64
    }

    fn who_is_in(admission: &Admission, class: u8) -> Vec<bool> {
        (0..USERS).map(|who| admission.admit(class, who)).collect()
    }

    fn share(of: &[bool]) -> f64 {
        of.iter().filter(|is_in| **is_in).count() as f64 / of.len() as f64
    }

    #[test]
    fn classes_go_in_order_and_the_level_is_read_off() {
        let (admission, mut crowd) = (Admission::new(), Crowd::new());
        for wanted in [2.5, 1.75, 0.2] {
            (1..=3).for_each(|class| drop(who_is_in(&admission, class)));
            level(&admission, &mut crowd, wanted * USERS as f64);
            let shares = [1, 2, 3].map(|class| share(&who_is_in(&admission, class)));
            assert!((shares.iter().sum::<f64>() - wanted).abs() < 0.05, "{wanted}: {shares:?}");
            assert!(shares[2] == 0.0 || shares[1] == 1.0, "{wanted}: {shares:?}");
            assert!(shares[1] == 0.0 || shares[0] == 1.0, "{wanted}: {shares:?}");
            assert_eq!(share(&who_is_in(&admission, 0)), 1.0);
            admission.count(&mut crowd);
            crowd = Crowd::new();
        }
    }

    #[test]
    fn whoever_offers_most_does_not_move_the_level_from_what_is_wanted() {
        let (admission, mut crowd) = (Admission::new(), Crowd::new());
        for _ in 0..USERS {
            admission.admit(1, 77); // as much as all others together
        }
        who_is_in(&admission, 1);
        level(&admission, &mut crowd, USERS as f64 * 0.5);
        let others = share(&who_is_in(&admission, 1));
        let came = others + if admission.admit(1, 77) { 1.0 } else { 0.0 };
        assert!((0.3..=0.7).contains(&came), "{came}");
    }

    #[test]
    fn a_user_is_wholly_in_or_out_and_within_a_round_everybody_was_in_as_long() {
        let (admission, mut crowd) = (Admission::new(), Crowd::new());
        // Half of the users stand in a tenth of the circle.
        let users: Vec<u64> = (0..USERS).filter(|who| mix(*who) < WHOLE / 10 || who % 9 == 0).collect();
        let mut times = vec![0u32; users.len()];
        let mut changes = 0;
        let mut before = vec![true; users.len()];
        for step in 0..400 {
            let now: Vec<bool> = users.iter().map(|who| admission.admit(1, *who)).collect();
            admission.count(&mut crowd);
            crowd.let_in(&admission, Some(users.len() as f64 * 0.1), ROUND_NS / 200);
            if step >= 200 {
                changes += now.iter().zip(&before).filter(|(now, before)| now != before).count();
                times.iter_mut().zip(&now).for_each(|(time, is_in)| *time += *is_in as u32);
            }
            before = now;
        }
        assert!(changes <= users.len() * 3, "each comes in and goes out once: {changes} of {}", users.len());
        let few = times.iter().filter(|time| !(10..=30).contains(*time)).count();
        assert!(few * 20 < users.len(), "{few} of {} were in for far more or less than a tenth", users.len());
    }

    #[test]
    fn a_crowd_that_has_left_is_no_reason_to_refuse_anybody() {
        let (admission, mut crowd) = (Admission::new(), Crowd::new());
        for _ in 0..10 {
            who_is_in(&admission, 1);
            assert!(level(&admission, &mut crowd, 1_000.0) > 0);
        }
        assert!((0..900).filter(|who| admission.admit(1, *who)).count() < 900);
        assert_eq!(level(&admission, &mut crowd, 1_000.0), 0);
    }

    #[test]
    fn a_backlog_keeps_classes_out_but_never_what_frees_resources() {
        let admission = Admission::new();
        admission.keep_out(1);
        assert_eq!([0, 1, 2, 3].map(|class| admission.admit(class, 5)), [true, false, false, false]);
        admission.keep_out(3);
        assert_eq!([0, 1, 2, 3].map(|class| admission.admit(class, 5)), [true, true, true, false]);
    }
}
