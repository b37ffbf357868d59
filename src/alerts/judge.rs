//! Whether one figure is as usual: a state machine that is shown one value after the other.
//!
//! It counts values and knows neither a clock nor what the figure is. Two things keep it from flapping: it is raised and
//! cleared only after some values in a row, with a narrower band for the way back; and where it is raised again soon after
//! it was cleared, it has to be well for twice as long before it is cleared the next time.

use std::collections::VecDeque;

use super::usual::{Band, Sensitivity, Side, Usual};

/// Values that are the recent past.
pub const PAST: usize = 60;
/// With fewer of them nothing is judged.
pub const LEARNED: usize = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Too little past to judge by.
    Learning,
    Ok,
    /// Out, and not yet for long enough.
    Pending,
    Raised,
}

/// All in values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// Out for so many: it is raised. At least 1.
    pub hold: u32,
    /// Well for so many: it is cleared. At least 1.
    pub clear: u32,
    /// The longest that clearing may come to.
    pub most_clear: u32,
    /// Raised again within so many: it takes twice as long to be cleared.
    pub relapse: u32,
    /// Raised for so many: it is what is usual now.
    pub adapt: u32,
}

pub struct Judge {
    how: Sensitivity,
    patience: Patience,
    recent: VecDeque<f64>,
    /// Seen while pending or raised: not of the usual, until it is known what they were.
    aside: VecDeque<f64>,
    state: State,
    side: Side,
    /// Values out, or well, in a row.
    out: u32,
    well: u32,
    /// Values since it was raised.
    raised_for: u32,
    /// What clearing takes, and values since it was cleared last.
    clear: u32,
    cleared_for: Option<u32>,
}

/// What is to be said of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub state: State,
    /// Of what is pending or raised.
    pub side: Option<Side>,
    pub recent: Option<Usual>,
    /// `None` while it learns.
    pub limits: Option<Band>,
    /// It is not raised any more because it has been so for so long.
    pub adapted: bool,
}

impl Judge {
    pub fn new(how: Sensitivity, patience: Patience) -> Judge {
        Judge {
            how,
            patience,
            recent: VecDeque::with_capacity(PAST),
            aside: VecDeque::new(),
            state: State::Learning,
            side: Side::High,
            out: 0,
            well: 0,
            raised_for: 0,
            clear: patience.clear,
            cleared_for: None,
        }
    }

    /// The next value; `None` where there was nothing to measure, which is never odd. `same_hour`: what was usual at this
    /// hour, as far as it is known. Odd is what is out of all of it on the same side.
    pub fn see(&mut self, value: Option<f64>, same_hour: &[Usual]) -> Finding {
        self.cleared_for = self.cleared_for.map(|values| values.saturating_add(1));
        let recent = Usual::of(self.recent.iter().copied()).filter(|_| self.recent.len() >= LEARNED);
        let Some(recent) = recent else {
            push(&mut self.recent, value);
            self.state = State::Learning;
            return Finding { state: self.state, side: None, recent: None, limits: None, adapted: false };
        };
        let band = |of: fn(&Usual, &Sensitivity) -> Band| {
            same_hour.iter().fold(of(&recent, &self.how), |band, usual| band.or(of(usual, &self.how)))
        };
        let (limits, well) = (band(Usual::limits), band(Usual::well));
        let out = value.and_then(|value| limits.out(value));
        let is_well = value.is_none_or(|value| well.out(value).is_none());
        let adapted = match self.state {
            State::Raised => self.stay(value, out, is_well),
            _ => {
                self.rise(value, out);
                false
            }
        };
        let is_odd = matches!(self.state, State::Pending | State::Raised);
        Finding {
            state: self.state,
            side: is_odd.then_some(self.side),
            recent: Some(recent),
            limits: Some(limits),
            adapted,
        }
    }

    fn rise(&mut self, value: Option<f64>, out: Option<Side>) {
        let Some(side) = out else {
            self.out = 0;
            self.state = State::Ok;
            // It was an odd moment: a part of the past as any other.
            let odd = std::mem::take(&mut self.aside);
            odd.into_iter().map(Some).chain([value]).for_each(|value| push(&mut self.recent, value));
            return;
        };
        self.out = if self.state == State::Pending && side == self.side { self.out + 1 } else { 1 };
        self.side = side;
        push(&mut self.aside, value);
        if self.out < self.patience.hold {
            self.state = State::Pending;
            return;
        }
        self.state = State::Raised;
        (self.out, self.well, self.raised_for) = (0, 0, 0);
        let is_relapse = self.cleared_for.is_some_and(|values| values <= self.patience.relapse);
        let longer = self.clear.saturating_mul(2).min(self.patience.most_clear);
        self.clear = if is_relapse { longer.max(self.patience.clear) } else { self.patience.clear };
    }

    /// Whether it ends only because it has been so for so long.
    fn stay(&mut self, value: Option<f64>, out: Option<Side>, is_well: bool) -> bool {
        self.side = out.unwrap_or(self.side);
        self.raised_for = self.raised_for.saturating_add(1);
        self.well = if is_well { self.well + 1 } else { 0 };
        push(&mut self.aside, value);
        let is_cleared = self.well >= self.clear;
        let is_usual = !is_cleared && self.raised_for >= self.patience.adapt;
        if is_cleared {
            let odd = self.aside.len().saturating_sub(self.well as usize);
            self.aside.drain(..odd);
            let since = std::mem::take(&mut self.aside);
            since.into_iter().for_each(|value| push(&mut self.recent, Some(value)));
        }
        if is_usual {
            self.recent = std::mem::take(&mut self.aside);
        }
        if is_cleared || is_usual {
            self.state = State::Ok;
            self.cleared_for = Some(0);
        }
        is_usual
    }
}

/// The oldest gives way.
fn push(past: &mut VecDeque<f64>, value: Option<f64>) {
    let Some(value) = value else { return };
    if past.len() == PAST {
        past.pop_front();
    }
    past.push_back(value);
}

#[cfg(test)]
mod tests;
