//! How a member's marks grow. Both stores apply changes through here, so that they cannot disagree.
//!
//! A read mark only moves forward; delivered ranges are joined by the domain's rule.

use tidegate_domain::marks::deliver;

use crate::{Marks, Range, ReadMark};

impl Marks {
    /// Moves the read mark forward; a mark that is not later changes nothing.
    pub(crate) fn move_read(&mut self, mark: ReadMark) {
        if self.read.is_none_or(|now| mark.message_at > now.message_at) {
            self.read = Some(mark);
        }
    }

    /// Adds what `range` covers and none here does yet.
    pub(crate) fn add_delivered(&mut self, range: Range) {
        deliver(&mut self.delivered, range);
    }

    /// Puts marks that were said later on top of these.
    #[cfg(feature = "rocks")]
    pub(crate) fn apply(&mut self, later: &Marks) {
        if let Some(mark) = later.read {
            self.move_read(mark);
        }
        for range in &later.delivered {
            self.add_delivered(*range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_mark_never_goes_back() {
        let mut marks = Marks::default();
        for message_at in [5, 3, 5, 9, 8] {
            marks.move_read(ReadMark { message_at, read_at: 100 + message_at });
        }
        assert_eq!(marks.read, Some(ReadMark { message_at: 9, read_at: 109 }));
    }
}
