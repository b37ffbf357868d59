//! A page's two ends as a range over (time, message id), lowest first: what both stores read by.
//!
//! The rules are wire.md 3.14: with a message id an end is exact; without one it means all messages of its millisecond.

use std::ops::Bound as Edge;

use tidegate_domain::command::{Bound, Direction};
use tidegate_domain::ids::{MessageId, Millis};

use crate::Page;
use crate::key::Place;

const FIRST: MessageId = MessageId([0; 16]);
const LAST: MessageId = MessageId([0xff; 16]);

impl Page {
    /// The page as a range of places, nothing older than `oldest` in it. `None` where no message could lie in it.
    pub(crate) fn places(&self, oldest: Millis) -> Option<(Edge<Place>, Edge<Place>)> {
        let (low, high) = match self.direction {
            Direction::Old => (self.end, self.start),
            Direction::New => (self.start, self.end),
        };
        let low = low.map_or(Edge::Unbounded, from);
        let high = high.map_or(Edge::Unbounded, up_to);
        let low = match low {
            Edge::Included(place) | Edge::Excluded(place) if place.0 >= oldest => low,
            _ => Edge::Included((oldest, FIRST)),
        };
        holds_something(&low, &high).then_some((low, high))
    }
}

fn from(bound: Bound) -> Edge<Place> {
    match (bound.included, bound.mid) {
        (true, mid) => Edge::Included((bound.timestamp, mid.unwrap_or(FIRST))),
        (false, mid) => Edge::Excluded((bound.timestamp, mid.unwrap_or(LAST))),
    }
}

fn up_to(bound: Bound) -> Edge<Place> {
    match (bound.included, bound.mid) {
        (true, mid) => Edge::Included((bound.timestamp, mid.unwrap_or(LAST))),
        (false, mid) => Edge::Excluded((bound.timestamp, mid.unwrap_or(FIRST))),
    }
}

/// Ends that cross or touch must be told apart before they reach a map or an iterator, which may refuse them loudly.
fn holds_something(low: &Edge<Place>, high: &Edge<Place>) -> bool {
    match (low, high) {
        (Edge::Included(low), Edge::Included(high)) => low <= high,
        (Edge::Included(low) | Edge::Excluded(low), Edge::Included(high) | Edge::Excluded(high)) => low < high,
        _ => true,
    }
}
