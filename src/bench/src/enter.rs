//! Before a load begins: everybody logs in, and is asked what has to be asked, some at a time.

use std::collections::VecDeque;

use tidegate_protocol::wire::GenericCommand;

use crate::Failure;
use crate::clock::{SECOND, now};
use crate::fleet::{AGAIN, Fleet, Heard, TOO_MUCH};

/// Nothing moves for this long: the server is stuck.
const STUCK: u64 = 30 * SECOND;
/// Commands that are under way at once.
const AT_ONCE: usize = 256;

impl Fleet {
    /// Logs in all connections of `seats`, `at_once` of them at a time; `on` hears each log-in's nanoseconds.
    pub fn log_in_all(
        &mut self,
        seats: std::ops::Range<usize>,
        at_once: usize,
        mut on: impl FnMut(&Fleet, u64),
    ) -> Result<(), Failure> {
        let (mut next, end) = (seats.start, seats.end);
        let mut moved = now();
        let mut under_way = Vec::new();
        let mut took = Vec::new();
        while next < end || !under_way.is_empty() {
            while next < end && under_way.len() < at_once {
                self.begin(next, now())?;
                under_way.push(next);
                next += 1;
            }
            self.turn(now() + SECOND / 10, |_, heard, at| {
                if let Heard::In { since } = heard {
                    took.push(at.saturating_sub(since));
                }
            })?;
            if self.refused + self.closed > 0 {
                let why = self.why.take().unwrap_or_default();
                let hint = match self.inside {
                    0 => self.is_it_running(),
                    _ if self.closed > 0 => " (does it take no more? [net] max_connections says how many)".to_owned(),
                    _ => String::new(),
                };
                let inside = self.inside;
                return Err(Failure::because(format!("{}: {why}, {inside} clients were in{hint}", self.address())));
            }
            if !took.is_empty() {
                moved = now();
                took.drain(..).for_each(|nanoseconds| on(self, nanoseconds));
                under_way.retain(|seat| !self.is_full(*seat));
            } else if now() - moved > STUCK {
                let inside = self.inside;
                return Err(Failure::because(format!("nobody was let in for 30 s; {inside} clients were in")));
            }
        }
        Ok(())
    }

    /// Asks all of the list, some at a time, and returns the answers' frames in its order. Who is refused because the
    /// server has too much to do asks again.
    pub fn ask_all(&mut self, asks: Vec<(u32, GenericCommand)>) -> Result<Vec<Vec<u8>>, Failure> {
        let mut answers: Vec<Option<Vec<u8>>> = vec![None; asks.len()];
        let mut waiting: VecDeque<usize> = (0..asks.len()).collect();
        let (mut open, mut done, mut moved, mut pause) = (0usize, 0, now(), 0);
        while done < answers.len() {
            while open < AT_ONCE && now() >= pause {
                let Some(at) = waiting.pop_front() else { break };
                let (client, command) = &asks[at];
                self.send(*client, &GenericCommand { i: Some(-1 - at as i32), ..command.clone() });
                open += 1;
            }
            let (before, mut refused) = (done, None);
            self.turn(now() + SECOND / 20, |_, heard, _| {
                let (i, frame) = match heard {
                    Heard::Reply { i, frame } => (i, Some(frame)),
                    Heard::Refused { i, code } if code == TOO_MUCH => (i, None),
                    Heard::Refused { code, .. } => return refused = Some(code),
                    _ => return,
                };
                let at = usize::try_from(-1 - i64::from(i)).unwrap_or(usize::MAX);
                let Some(answer @ None) = answers.get_mut(at) else { return };
                open -= 1;
                match frame {
                    Some(frame) => {
                        *answer = Some(frame.to_vec());
                        done += 1;
                    }
                    None => {
                        waiting.push_back(at);
                        pause = now() + AGAIN;
                    }
                }
            })?;
            if let Some(code) = refused {
                return Err(Failure::because(format!("the server refused with {code} while the run was set up")));
            }
            if self.closed > 0 {
                let why = self.why.take().unwrap_or_default();
                return Err(Failure::because(format!("while the run was set up: {why}")));
            }
            if done > before {
                moved = now();
            } else if now() - moved > STUCK {
                return Err(Failure::because("the server gave no answer for 30 s while the run was set up"));
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }
}
