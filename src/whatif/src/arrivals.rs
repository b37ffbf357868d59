//! What comes from outside, when it did in the recording, whatever becomes of it.

use std::collections::VecDeque;

use tidegate_engine::ARRIVAL_SLOT_NS;
use tidegate_recording::StageTape;

/// The arrivals at one stage, in order.
pub(crate) struct Arrivals<'a> {
    slots: std::slice::Iter<'a, (u32, u32)>,
    /// Times in nanoseconds, ascending.
    next: VecDeque<u64>,
    speed: f64,
    random: fastrand::Rng,
}

impl<'a> Arrivals<'a> {
    /// `speed`: how many times as fast they come.
    pub fn new(of: &'a StageTape, speed: f64, seed: u64) -> Arrivals<'a> {
        let (slots, next, random) = (of.arrivals.iter(), VecDeque::new(), fastrand::Rng::with_seed(seed));
        let mut arrivals = Arrivals { slots, next, speed, random };
        arrivals.fill();
        arrivals
    }

    /// When the next one comes; `None`: no more do.
    pub fn next_at(&self) -> Option<u64> {
        self.next.front().copied()
    }

    /// Takes the next one if it has come by `now`.
    pub fn take(&mut self, now: u64) -> bool {
        let came = self.next_at().is_some_and(|at| at <= now);
        if came {
            self.next.pop_front();
            self.fill();
        }
        came
    }

    /// Where in its slot an arrival was is not known: anywhere.
    fn fill(&mut self) {
        if self.next.is_empty()
            && let Some((slot, count)) = self.slots.next()
        {
            let place =
                |random: &mut fastrand::Rng| (f64::from(*slot) + random.f64()) * ARRIVAL_SLOT_NS as f64 / self.speed;
            self.next.extend((0..*count).map(|_| place(&mut self.random) as u64));
            self.next.make_contiguous().sort_unstable();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_their_slots_in_order_and_faster_when_asked() {
        let tape = StageTape { arrivals: vec![(0, 2), (10, 1)], ..StageTape::default() };
        for (speed, slots) in
            [(1.0, [0..100_000, 0..100_000, 1_000_000..1_100_000]), (2.0, [0..50_000, 0..50_000, 500_000..550_000])]
        {
            let mut arrivals = Arrivals::new(&tape, speed, 7);
            let mut last = 0;
            for slot in slots {
                let at = arrivals.next_at().unwrap();
                assert!(slot.contains(&at) && at >= last, "{at} in {slot:?}");
                assert!(!arrivals.take(at - 1) && arrivals.take(at));
                last = at;
            }
            assert_eq!(arrivals.next_at(), None);
        }
    }
}
