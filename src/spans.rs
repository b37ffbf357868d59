//! A journey that has ended, as the spans of a trace.
//!
//! The root is the message, from its arrival to the end of all that it caused in the pipeline. Each stop in a stage is a span
//! of its own, from the queue to the batch's end, with an event where the work began: what lies before it is wait. Owns
//! their names and attributes; says no name of a client, no conversation and no content.

use std::time::SystemTime;

use tidegate_domain::ids::JourneyId;
use tidegate_engine::{Mark, Way};
use tidegate_http::{Span, SpanId, SpanKind, Value};
use tidegate_stages::shared::journeys;

/// One moment on two clocks.
#[derive(Clone, Copy)]
pub struct Moment {
    /// The pipeline's, in nanoseconds.
    pub here: u64,
    /// Nanoseconds since the epoch.
    pub unix: u64,
}

impl Moment {
    /// This moment; `here` was read just now.
    pub fn now(here: u64) -> Moment {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Moment { here, unix: unix.as_nanos() as u64 }
    }

    fn unix_of(&self, here: u64) -> u64 {
        self.unix.saturating_sub(self.here.saturating_sub(here))
    }
}

/// None where it has been nowhere: its frame was refused at the door.
pub fn of(way: &Way, moment: Moment) -> Vec<Span> {
    let marks = way.marks();
    let (begun, ended) = (marks.iter().map(|mark| mark.queued_at).min(), marks.iter().map(|mark| mark.ended_at).max());
    let (Some(begun), Some(ended)) = (begun, ended) else { return Vec::new() };
    let journey = JourneyId(way.id());
    let mut spans = Vec::with_capacity(marks.len() + 1);
    spans.push(root(journey, &way.notes(), (moment.unix_of(begun), moment.unix_of(ended))));
    spans.extend((0..marks.len()).map(|nth| stop(journey, &marks, nth, moment)));
    spans
}

fn root(journey: JourneyId, notes: &[(&'static str, String)], (begun_ns, ended_ns): (u64, u64)) -> Span {
    let attribute = |(name, value): &(&'static str, String)| {
        let key = match *name {
            journeys::MESSAGE => "tidegate.message.id",
            journeys::KIND => "tidegate.conversation.kind",
            journeys::CLASS => "tidegate.message.class",
            journeys::OUTCOME => "tidegate.message.outcome",
            journeys::CODE => "tidegate.message.code",
            journeys::SLOW => return Some(("tidegate.slow", Value::Flag(true))),
            _ => return None,
        };
        Some((key, Value::Text(value.clone())))
    };
    Span {
        journey,
        id: SpanId::root(journey),
        parent: None,
        name: "message".into(),
        kind: SpanKind::Server,
        begun_ns,
        ended_ns,
        attributes: notes.iter().filter_map(attribute).collect(),
        events: Vec::new(),
        error: notes.iter().find(|(name, _)| *name == journeys::CODE_NAME).map(|(_, name)| name.clone()),
    }
}

fn stop(journey: JourneyId, marks: &[Mark], nth: usize, moment: Moment) -> Span {
    let mark = &marks[nth];
    // An event that was held keeps its place in the queue: what it waited for since is told of this stop alone.
    let is_earlier = |earlier: &&Mark| earlier.stage == mark.stage && earlier.queued_at == mark.queued_at;
    let held = marks[..nth].iter().rev().find(is_earlier);
    let begun = held.map_or(mark.queued_at, |earlier| earlier.ended_at.min(mark.started_at));
    let us = |ns: u64| Value::Number(i64::try_from(ns / 1_000).unwrap_or(i64::MAX));
    let mut attributes = vec![
        ("tidegate.wait_us", us(mark.started_at.saturating_sub(begun))),
        ("tidegate.service_us", us(mark.ended_at.saturating_sub(mark.started_at))),
        ("tidegate.batch", Value::Number(i64::from(mark.batch))),
    ];
    if held.is_some() {
        attributes.push(("tidegate.held", Value::Flag(true)));
    }
    Span {
        journey,
        id: SpanId::nth(journey, nth as u64 + 1),
        parent: Some(SpanId::root(journey)),
        name: mark.stage.clone(),
        kind: SpanKind::Internal,
        begun_ns: moment.unix_of(begun),
        ended_ns: moment.unix_of(mark.ended_at),
        attributes,
        events: vec![("work begins", moment.unix_of(mark.started_at))],
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(stage: &str, queued_at: u64, started_at: u64, ended_at: u64) -> Mark {
        Mark { stage: stage.into(), queued_at, started_at, ended_at, batch: 3 }
    }

    #[test]
    fn a_stop_after_a_hold_is_told_from_the_hold_on() {
        let way = Way::new(7);
        let marks = [("decode", 10, 20, 30), ("route", 30, 40, 50), ("hook", 50, 60, 70), ("route", 30, 900, 950)];
        marks.into_iter().for_each(|(stage, queued, started, ended)| way.mark(mark(stage, queued, started, ended)));
        way.note(journeys::OUTCOME, "refused");
        way.note(journeys::CODE_NAME, "MESSAGE_REJECTED_BY_APP");
        let spans = of(&way, Moment { here: 1_000, unix: 5_000 });
        let told: Vec<_> = spans.iter().map(|span| (&*span.name, span.begun_ns, span.ended_ns)).collect();
        assert_eq!(
            told,
            [
                ("message", 4_010, 4_950),
                ("decode", 4_010, 4_030),
                ("route", 4_030, 4_050),
                ("hook", 4_050, 4_070),
                ("route", 4_050, 4_950)
            ]
        );
        assert_eq!(spans[4].events, [("work begins", 4_900)]);
        assert!(spans[4].attributes.contains(&("tidegate.held", Value::Flag(true))));
        assert!(!spans[2].attributes.contains(&("tidegate.held", Value::Flag(true))));
        assert_eq!(spans[0].error.as_deref(), Some("MESSAGE_REJECTED_BY_APP"));
        assert!(spans[1..].iter().all(|span| span.parent == Some(spans[0].id)));
    }

    #[test]
    fn who_was_nowhere_has_no_trace() {
        assert!(of(&Way::new(7), Moment { here: 1, unix: 1 }).is_empty());
    }
}
