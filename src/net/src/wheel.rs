//! A timing wheel: many coarse deadlines, each cheap to set and never taken back.
//!
//! An entry says only when to look; who looks decides by the connection's own state whether it is due and sets it
//! again otherwise. So activity costs nothing here. What lies beyond the wheel's turn is looked at once a turn.

/// Slots of one turn; a power of two.
const SLOTS: usize = 1024;
const WORDS: usize = SLOTS / 64;

/// Time is in ticks; how long one is, the owner knows.
pub(crate) struct Wheel<T> {
    slots: Vec<Vec<T>>,
    /// One bit a slot: it holds something.
    filled: [u64; WORDS],
    /// Everything up to this tick has been handed out.
    now: u64,
}

impl<T> Wheel<T> {
    pub(crate) fn new(now: u64) -> Self {
        Wheel { slots: (0..SLOTS).map(|_| Vec::new()).collect(), filled: [0; WORDS], now }
    }

    /// Hands `entry` out at `tick`, or earlier if that is more than a turn away; never before the next tick.
    pub(crate) fn set(&mut self, tick: u64, entry: T) {
        let tick = tick.clamp(self.now + 1, self.now + SLOTS as u64 - 1);
        let slot = tick as usize % SLOTS;
        self.slots[slot].push(entry);
        self.filled[slot / 64] |= 1 << (slot % 64);
    }

    /// Appends what is due at `now` to `due`.
    pub(crate) fn advance(&mut self, now: u64, due: &mut Vec<T>) {
        // After a long sleep one whole turn covers every slot.
        let end = now.min(self.now + SLOTS as u64);
        for tick in self.now + 1..=end {
            let slot = tick as usize % SLOTS;
            if self.filled[slot / 64] & (1 << (slot % 64)) != 0 {
                self.filled[slot / 64] &= !(1 << (slot % 64));
                let entries = &mut self.slots[slot];
                due.append(entries);
                // A slot that many connections met in keeps no room for them.
                if entries.capacity() > 64 {
                    *entries = Vec::new();
                }
            }
        }
        self.now = self.now.max(now);
    }

    /// The next tick with something in it.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.filled.iter().all(|word| *word == 0) {
            return None;
        }
        (self.now + 1..self.now + SLOTS as u64).find(|tick| {
            let slot = *tick as usize % SLOTS;
            self.filled[slot / 64] & (1 << (slot % 64)) != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due
    }

    #[test]
    fn entries_come_out_at_their_tick_and_once() {
        let mut wheel = Wheel::new(5_000);
        for tick in [5_001, 5_003, 5_003, 6_000] {
            wheel.set(tick, tick);
        }
        assert_eq!(wheel.next(), Some(5_001));
        assert_eq!(due(&mut wheel, 5_002), [5_001]);
        assert_eq!(wheel.next(), Some(5_003));
        assert_eq!(due(&mut wheel, 5_003), [5_003, 5_003]);
        assert_eq!(due(&mut wheel, 5_999), [0u64; 0]);
        assert_eq!(due(&mut wheel, 6_000), [6_000]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn the_past_is_the_next_tick_and_the_far_future_a_turn_away() {
        let mut wheel = Wheel::new(0);
        wheel.set(0, 1);
        wheel.set(1_000_000, 2);
        assert_eq!(due(&mut wheel, 1), [1]);
        assert_eq!(wheel.next(), Some(SLOTS as u64 - 1));
        assert_eq!(due(&mut wheel, 900_000), [2]);
        wheel.set(900_001, 3);
        assert_eq!(due(&mut wheel, 900_001), [3]);
    }
}
