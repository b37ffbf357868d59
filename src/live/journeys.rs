//! Sampled messages by the stage, the time and the slowness that somebody asks for.

use tidegate_domain::ids::JourneyId;
use tidegate_engine::Mark;
use tidegate_http::{JourneyReport, JourneysOf, Stop};
use tidegate_stages::shared::World;

/// The most that are told at once.
const MOST: usize = 50;

/// `now`, `now_ms`: this moment on the pipeline's clock, in ns, and since the epoch.
pub fn find(world: &World, now: u64, now_ms: i64, of: &JourneysOf) -> Vec<JourneyReport> {
    let at_ms = |ns: u64| now_ms - (now.saturating_sub(ns) / 1_000_000) as i64;
    let us = |ns: u64| ns as f64 / 1_000.0;
    let wait = |mark: &Mark| us(mark.started_at.saturating_sub(mark.queued_at));
    let service = |mark: &Mark| us(mark.ended_at.saturating_sub(mark.started_at));
    let is_meant = |mark: &Mark| {
        *mark.stage == *of.stage
            && (of.from_ms..=of.to_ms).contains(&at_ms(mark.ended_at))
            && wait(mark) >= of.wait_at_least_us
            && service(mark) >= of.service_at_least_us
    };
    let mut found: Vec<(f64, JourneyReport)> = Vec::new();
    for (mid, way) in world.journeys.all() {
        let marks = way.marks();
        let slowest = marks.iter().filter(|mark| is_meant(mark)).map(|mark| wait(mark) + service(mark));
        let Some(slowest) = slowest.max_by(f64::total_cmp) else { continue };
        let begun = marks.iter().map(|mark| mark.queued_at).min().unwrap_or_default();
        let ended = marks.iter().map(|mark| mark.ended_at).max().unwrap_or_default();
        let stop = |mark: &Mark| Stop {
            stage: mark.stage.to_string(),
            queued_us: us(mark.queued_at.saturating_sub(begun)),
            wait_us: wait(mark),
            service_us: service(mark),
            batch: mark.batch,
        };
        let stages = marks.iter().map(stop).collect();
        let total_us = us(ended.saturating_sub(begun));
        let journey = JourneyId(way.id()).to_string();
        found.push((slowest, JourneyReport { id: mid.to_string(), journey, at_ms: at_ms(begun), total_us, stages }));
    }
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    found.truncate(MOST);
    found.into_iter().map(|(_, report)| report).collect()
}
