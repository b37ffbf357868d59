//! A span as its maker says it, and how spans of one trace come to their ids.
//!
//! The trace is the journey. Its spans' ids are worked out from it and from their number, so that the parts of one trace,
//! which are made at different places, agree without asking each other. Must not know how a span is written down.

use std::sync::Arc;

use tidegate_domain::ids::JourneyId;

/// Something that took time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub journey: JourneyId,
    pub id: SpanId,
    /// `None`: the root, of which each journey has one.
    pub parent: Option<SpanId>,
    pub name: Arc<str>,
    pub kind: SpanKind,
    /// Nanoseconds since the epoch.
    pub begun_ns: u64,
    pub ended_ns: u64,
    pub attributes: Vec<(&'static str, Value)>,
    /// What happened within it, and when, in nanoseconds since the epoch.
    pub events: Vec<(&'static str, u64)>,
    /// Why it came to nothing.
    pub error: Option<String>,
}

/// Eight bytes, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub(super) u64);

/// As OTLP numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    Internal = 1,
    /// Somebody else's question is answered.
    Server = 2,
    /// Somebody else is asked.
    Client = 3,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl SpanId {
    /// The root's.
    pub fn root(journey: JourneyId) -> SpanId {
        SpanId::nth(journey, 0)
    }

    /// That of a journey's span number `nth`, the root being 0. Stages have the numbers from 1, calls those from 2^32.
    pub fn nth(journey: JourneyId, nth: u64) -> SpanId {
        // Multiplied with an odd number and mixed, different numbers stay different.
        let n = (journey.0 as u64).wrapping_add(nth.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let n = (n ^ (n >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        SpanId((n ^ (n >> 32)).max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn spans_of_a_trace_have_ids_of_their_own() {
        let ids = [0, 1, 7, u128::MAX].map(|journey| {
            let numbers = (0..300).chain((1 << 32)..(1 << 32) + 300);
            let ids: HashSet<_> = numbers.map(|nth| SpanId::nth(JourneyId(journey), nth)).collect();
            assert_eq!(ids.len(), 600);
            ids
        });
        assert!(ids.iter().flatten().all(|id| id.0 != 0));
        assert_ne!(SpanId::root(JourneyId(1)), SpanId::root(JourneyId(2)));
    }
}
