//! Conversations are filled: each up to its size, some messages unanswered over all of them.
//!
//! A line has one message unanswered and no more, so one that was refused is sent again with its number, and the numbers
//! of a line have no gap, whatever happened. What is large has many lines and is written all the time; of the small only
//! some at once, one after the other. So the rows of a large conversation lie among those of others, in every file of
//! the store.

use std::collections::VecDeque;

use crate::fleet::AGAIN;

/// Unanswered messages over all lines: two batches, so that nothing is taken for overload.
const UNANSWERED: usize = 128;

/// What is still to be written.
pub struct Fill {
    /// Messages that each line has at the end.
    sizes: Vec<u32>,
    /// Lines that nothing was sent on yet.
    waiting: VecDeque<u32>,
    /// Lines on which a message was refused, and when it is sent again.
    put_off: VecDeque<(u64, u32)>,
    /// Messages to write, on all lines.
    all: u64,
}

impl Fill {
    /// `sizes`: messages that each line shall have; `there`: that it has.
    pub fn new(sizes: Vec<u32>, there: &[u32]) -> Fill {
        let left = || sizes.iter().zip(there).map(|(size, there)| size.saturating_sub(*there));
        let waiting = (0..).zip(left()).filter(|(_, left)| *left > 0).map(|(line, _)| line).collect();
        let all = left().map(u64::from).sum();
        Fill { sizes, waiting, put_off: VecDeque::new(), all }
    }

    /// Messages in all.
    pub fn all(&self) -> u64 {
        self.all
    }

    /// Lines to send on at once.
    pub fn begin(&mut self) -> Vec<u32> {
        let count = self.waiting.len().min(UNANSWERED);
        self.waiting.drain(..count).collect()
    }

    /// The line to send on after an answer on `line`, on which so many were `sent`: the same one, or one that waits.
    pub fn next(&mut self, line: u32, sent: u32) -> Option<u32> {
        if sent < self.sizes[line as usize] { Some(line) } else { self.waiting.pop_front() }
    }

    /// A message of this line was refused.
    pub fn put_off(&mut self, line: u32, at: u64) {
        self.put_off.push_back((at + AGAIN, line));
    }

    /// A line on which it is time to try again.
    pub fn again(&mut self, at: u64) -> Option<u32> {
        self.put_off.pop_front_if(|(when, _)| *when <= at).map(|(_, line)| line)
    }

    /// Whether nothing is put off; what waits begins when something ends.
    pub fn is_done(&self) -> bool {
        self.put_off.is_empty()
    }

    /// How far it is, for people.
    pub fn line(&self, written: u64) -> String {
        format!("{written} of {} messages written", self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many messages were sent on each line, every answer coming at once, and every tenth being a refusal.
    fn sent(sizes: &[u32], there: &[u32]) -> Vec<u32> {
        let mut fill = Fill::new(sizes.to_vec(), there);
        let mut under_way: VecDeque<u32> = fill.begin().into();
        let mut sent = there.to_vec();
        for at in 1.. {
            assert!(under_way.len() <= UNANSWERED);
            while let Some(line) = fill.again(at) {
                under_way.push_back(line);
            }
            match under_way.pop_front() {
                Some(line) if at % 10 == 0 => fill.put_off(line, at),
                Some(line) => {
                    sent[line as usize] += 1;
                    under_way.extend(fill.next(line, sent[line as usize]));
                }
                None if fill.is_done() => break,
                None => fill.put_off.iter_mut().for_each(|(when, _)| *when = 0),
            }
        }
        sent
    }

    #[test]
    fn each_line_gets_what_it_shall_have() {
        let sizes: Vec<u32> = [5000].into_iter().chain((0..300).map(|line| line % 7)).collect();
        assert_eq!(sent(&sizes, &[0; 301]), sizes);
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        assert_eq!(sent(&[10, 20, 30], &[10, 15, 40]), [10, 20, 40]);
        assert_eq!(Fill::new(vec![10, 20], &[10, 15]).all(), 5);
    }

    #[test]
    fn nothing_to_do_is_done() {
        assert!(sent(&[], &[]).is_empty());
        assert_eq!(sent(&[0, 3], &[0, 3]), [0, 3]);
    }
}
