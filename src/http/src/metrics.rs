//! Figures for Prometheus, in the OpenMetrics text form.
//!
//! Owns the text (through `prometheus-client`) and which figures a stage shows. Others hand in their own as plain
//! [`Family`] values. Every name begins with `tidegate_`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::admin::{Percentiles, StageReport};

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One metric with all its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Without the prefix `tidegate_`, and without `_total` for counters; letters, digits and `_`.
    pub name: &'static str,
    /// One sentence, without its full stop.
    pub help: &'static str,
    pub kind: Kind,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the process.
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// For counters and gauges.
    Number(f64),
    /// For histograms. `buckets`: upper bound, and how many fell between the bound before and this one; the last
    /// bound should be `f64::MAX`, which is written as `+Inf`.
    Distribution { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

impl Family {
    pub fn new(name: &'static str, help: &'static str, kind: Kind) -> Self {
        Family { name, help, kind, samples: Vec::new() }
    }

    /// Adds a number under these labels.
    pub fn number(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value: Value::Number(value) });
        self
    }

    fn of_stages(
        name: &'static str,
        help: &'static str,
        kind: Kind,
        stages: &[StageReport],
        value: impl Fn(&StageReport) -> f64,
    ) -> Self {
        let empty = Family::new(name, help, kind);
        stages.iter().fold(empty, |family, stage| family.number(&[("stage", &stage.name)], value(stage)))
    }

    /// Percentiles as gauges: what they are taken over is the last 10 s, so they are no summary since the start.
    fn of_percentiles(
        name: &'static str,
        help: &'static str,
        per: f64,
        stages: &[StageReport],
        value: impl Fn(&StageReport) -> Percentiles,
    ) -> Self {
        stages.iter().fold(Family::new(name, help, Kind::Gauge), |family, stage| {
            let Percentiles { p50, p90, p99, p999, max } = value(stage);
            [("p50", p50), ("p90", p90), ("p99", p99), ("p999", p999), ("max", max)].into_iter().fold(
                family,
                |family, (percentile, value)| {
                    family.number(&[("stage", &stage.name), ("percentile", percentile)], value as f64 / per)
                },
            )
        })
    }
}

/// Nanoseconds of a second.
const NS: f64 = 1e9;

/// What every stage shows of itself.
pub(crate) fn of_stages(stages: &[StageReport]) -> Vec<Family> {
    use Kind::{Counter, Gauge};
    vec![
        Family::of_stages("stage_workers", "Threads that may be inside the stage at once", Gauge, stages, |s| {
            s.workers as f64
        }),
        Family::of_stages("stage_bound", "Events that may wait", Gauge, stages, |s| s.bound as f64),
        Family::of_stages("stage_depth", "Events waiting", Gauge, stages, |s| s.depth as f64),
        Family::of_stages("stage_held", "Events that wait for an outside answer", Gauge, stages, |s| s.held as f64),
        Family::of_stages(
            "stage_utilisation",
            "Share of the workers' time spent at work, last 10 s",
            Gauge,
            stages,
            |s| s.utilisation,
        ),
        Family::of_stages(
            "stage_blocked_share",
            "Share of time with work but no room downstream, last 10 s",
            Gauge,
            stages,
            |s| s.blocked.share,
        ),
        Family::of_stages("stage_rate", "Events finished per second, last 10 s", Gauge, stages, |s| s.rate),
        Family::of_stages("stage_refused", "Events refused", Counter, stages, |s| s.refused as f64),
        Family::of_percentiles("stage_wait_seconds", "Time in the queue, last 10 s", NS, stages, |s| s.wait_ns),
        Family::of_percentiles("stage_service_seconds", "Time of a batch, last 10 s", NS, stages, |s| s.service_ns),
        Family::of_percentiles(
            "stage_held_seconds",
            "Time spent waiting for an outside answer, last 10 s",
            NS,
            stages,
            |s| s.held_ns,
        ),
        Family::of_percentiles("stage_batch_size", "Events of a batch, last 10 s", 1.0, stages, |s| s.batch_size),
    ]
}

/// The page for a scraper. Families of one name are joined: a page that names one twice is refused whole.
pub(crate) fn text(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut joined: Vec<Family> = Vec::new();
    for family in families {
        match joined.iter_mut().find(|known| known.name == family.name) {
            Some(known) => known.samples.extend(family.samples),
            None => joined.push(family),
        }
    }
    let mut registry = Registry::with_prefix("tidegate");
    registry.register_collector(Box::new(Page(joined)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page(Vec<Family>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for family in self.0.iter().filter(|family| !family.samples.is_empty()) {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for Sample { labels, value } in &family.samples {
                if labels.is_empty() {
                    written(&mut metric, family.kind, value)?;
                } else {
                    let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, escaped(value))).collect();
                    written(&mut metric.encode_family(&labels)?, family.kind, value)?;
                }
            }
        }
        Ok(())
    }
}

fn written(at: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (value, kind) {
        (Value::Number(n), Kind::Counter) => at.encode_counter::<NoLabelSet, f64, f64>(n, None),
        (Value::Number(n), _) => at.encode_gauge(n),
        (Value::Distribution { sum, count, buckets }, _) => {
            at.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
        }
    }
}

/// The library writes label values as they are; a quote in an app's id must not break the page.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
