//! The metrics that a stage's report has.

use super::registry::*;
use super::{Counter, Family, Gauge};
use crate::admin::{Percentiles, StageReport};

/// Nanoseconds of a second.
const NS: f64 = 1e9;

/// What every stage shows of itself.
pub(crate) fn of_stages(stages: &[StageReport]) -> Vec<Family> {
    let gauge = |metric: &'static Gauge<1>, value: fn(&StageReport) -> f64| {
        metric.of(stages.iter().map(|stage| ([&stage.name], value(stage))))
    };
    let counter = |metric: &'static Counter<1>, value: fn(&StageReport) -> f64| {
        metric.of(stages.iter().map(|stage| ([&stage.name], value(stage))))
    };
    // Of the last 10 s, so they are no summary since the start.
    let percentiles = |metric: &'static Gauge<2>, per: f64, value: fn(&StageReport) -> Percentiles| {
        metric.of(stages.iter().flat_map(|stage| {
            let Percentiles { p50, p90, p99, p999, max } = value(stage);
            let named = [("p50", p50), ("p90", p90), ("p99", p99), ("p999", p999), ("max", max)];
            named.map(|(percentile, value)| ([&*stage.name, percentile], value as f64 / per))
        }))
    };
    vec![
        gauge(&STAGE_WORKERS, |s| s.workers as f64),
        gauge(&STAGE_BOUND, |s| s.bound as f64),
        gauge(&STAGE_DEPTH, |s| s.depth as f64),
        gauge(&STAGE_HELD, |s| s.held as f64),
        gauge(&STAGE_UTILISATION, |s| s.utilisation),
        gauge(&STAGE_BLOCKED_SHARE, |s| s.blocked.share),
        gauge(&STAGE_RATE, |s| s.rate),
        counter(&STAGE_REFUSED, |s| s.refused as f64),
        percentiles(&STAGE_WAIT_SECONDS, NS, |s| s.wait_ns),
        percentiles(&STAGE_SERVICE_SECONDS, NS, |s| s.service_ns),
        percentiles(&STAGE_HELD_SECONDS, NS, |s| s.held_ns),
        percentiles(&STAGE_BATCH_SIZE, 1.0, |s| s.batch_size),
        gauge(&STAGE_INSIDE, |s| s.law.inside),
        gauge(&STAGE_TOLD, |s| s.law.told),
        gauge(&STAGE_LITTLE_ERROR, |s| s.law.error),
    ]
}
