//! The page that a scraper reads, in the OpenMetrics text form, through `prometheus-client`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as Suffix};

use super::{Distribution, Family, Kind, Sample, Unit, Value};

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page. Families of one metric are joined: a page that names one twice is refused whole.
pub(crate) fn text(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut joined: Vec<Family> = Vec::new();
    for family in families {
        match joined.iter_mut().find(|known| known.about.name == family.about.name) {
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
        for Family { about, samples } in self.0.iter().filter(|family| !family.samples.is_empty()) {
            let kind = match about.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let (name, unit) = suffixed(about.name, about.unit);
            let mut metric = encoder.encode_descriptor(name, about.help, unit.as_ref(), kind)?;
            for Sample { labels, value } in samples {
                if labels.is_empty() {
                    written(&mut metric, about.kind, value)?;
                } else {
                    let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, escaped(value))).collect();
                    written(&mut metric.encode_family(&labels)?, about.kind, value)?;
                }
            }
        }
        Ok(())
    }
}

/// A unit that the name ends with is said as a unit too, which the library then adds to the name itself.
fn suffixed(name: &'static str, unit: Unit) -> (&'static str, Option<Suffix>) {
    let suffix = match unit {
        Unit::Seconds => Suffix::Seconds,
        Unit::Bytes => Suffix::Bytes,
        _ => return (name, None),
    };
    match name.strip_suffix(unit.name()).and_then(|name| name.strip_suffix('_')) {
        Some(name) => (name, Some(suffix)),
        None => (name, None),
    }
}

fn written(at: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (value, kind) {
        (Value::Number(n), Kind::Counter) => at.encode_counter::<NoLabelSet, f64, f64>(n, None),
        (Value::Number(n), _) => at.encode_gauge(n),
        (Value::Distribution(Distribution { sum, count, buckets }), _) => {
            at.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
        }
    }
}

/// The library writes label values as they are; a quote in an app's id must not break the page.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::super::registry;
    use super::*;

    #[test]
    fn a_page_names_each_metric_once_with_its_unit_and_escapes_labels() {
        let rows = |value| registry::HOOK_PENDING.of([(["a\"b\\", "0"], value)]);
        let families = vec![registry::MEMORY_BYTES.is(7.0), rows(1.0), registry::STORE_BYTES.is(None)];
        let page = text(families).unwrap();
        for line in [
            "# HELP tidegate_memory_bytes Memory that the process has resident",
            "# TYPE tidegate_memory_bytes gauge",
            "# UNIT tidegate_memory_bytes bytes",
            "tidegate_memory_bytes 7.0",
            r#"tidegate_hook_pending{app="a\"b\\",webhook="0"} 1.0"#,
        ] {
            assert!(page.lines().any(|known| known == line), "no {line} in\n{page}");
        }
        assert!(!page.contains("store_bytes"), "what nobody knows is left out:\n{page}");
        let joined = text(vec![rows(1.0), registry::HOOK_PENDING.of([(["c", "1"], 2.0)])]).unwrap();
        assert_eq!(joined.matches("# TYPE").count(), 1, "{joined}");
    }
}
