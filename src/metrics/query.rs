//! PromQL over the registry's metrics, by their handles: a name, a kind or a label that is not there does not pass.

use tidegate_http::metrics::registry::label::STAGE;
use tidegate_http::metrics::{About, Counter, Gauge, Histogram, Label};

/// How metrics are asked for: which servers and stages, and over how long.
pub struct Asking {
    /// Matchers that every metric gets.
    pub everywhere: &'static [&'static str],
    /// Those that a metric of stages gets as well.
    pub of_stages: &'static [&'static str],
    /// The time that a rate is taken over.
    pub over: &'static str,
    /// Labels that the scraper adds, and that sums keep.
    pub keep: &'static [&'static str],
}

/// A label that must have a value, as a regular expression.
pub type Only = (&'static Label, &'static str);

impl Asking {
    /// As it is now.
    pub fn now<const N: usize>(&self, metric: &'static Gauge<N>, only: &[Only]) -> String {
        self.series(metric.about(), "", only)
    }

    /// By how much it grows a second.
    pub fn rate<const N: usize>(&self, metric: &'static Counter<N>, only: &[Only]) -> String {
        format!("rate({}[{}])", self.series(metric.about(), "", only), self.over)
    }

    /// By how much it has grown in a time.
    pub fn grown<const N: usize>(&self, metric: &'static Counter<N>, only: &[Only], time: &str) -> String {
        format!("increase({}[{time}])", self.series(metric.about(), "", only))
    }

    /// By how many a second a distribution grows.
    pub fn count_rate<const N: usize>(&self, metric: &'static Histogram<N>) -> String {
        format!("rate({}[{}])", self.series(metric.about(), "_count", &[]), self.over)
    }

    /// A quantile of what was added, by all labels.
    pub fn quantile<const N: usize>(&self, quantile: f64, metric: &'static Histogram<N>) -> String {
        let about = metric.about();
        let own = about.labels.iter().map(|label| label.name);
        let by = ["le"].into_iter().chain(self.keep.iter().copied()).chain(own).collect::<Vec<_>>().join(", ");
        let series = self.series(about, "_bucket", &[]);
        format!("histogram_quantile({quantile}, sum by ({by}) (rate({series}[{}])))", self.over)
    }

    /// Summed over all labels but those named.
    pub fn sum_by(&self, labels: &[&'static Label], query: &str) -> String {
        let own = labels.iter().map(|label| label.name);
        let by = self.keep.iter().copied().chain(own).collect::<Vec<_>>().join(", ");
        if by.is_empty() { format!("sum({query})") } else { format!("sum by ({by}) ({query})") }
    }

    fn series(&self, about: &'static About, part: &str, only: &[Only]) -> String {
        let has = |label: &Label| about.labels.iter().any(|known| known.name == label.name);
        let stages = if has(&STAGE) { self.of_stages } else { &[] };
        let mut matchers: Vec<String> = self.everywhere.iter().chain(stages).map(|one| (*one).to_owned()).collect();
        for (label, value) in only {
            assert!(has(label), "{} has no label {}", about.name, label.name);
            matchers.push(format!("{}=~\"{value}\"", label.name));
        }
        let matchers = if matchers.is_empty() { String::new() } else { format!("{{{}}}", matchers.join(", ")) };
        format!("{}{part}{matchers}", about.full_name())
    }
}

#[cfg(test)]
mod tests {
    use tidegate_http::metrics::registry::label::{APP, OUTCOME};
    use tidegate_http::metrics::registry::{CONNECTIONS, HOOK_CALLS, STAGE_DEPTH, STAGE_WAITED_SECONDS};

    use super::*;

    const ASKING: Asking =
        Asking { everywhere: &["job=\"tidegate\""], of_stages: &["stage=\"read\""], over: "5m", keep: &["instance"] };

    #[test]
    fn queries_are_as_prometheus_takes_them() {
        assert_eq!(ASKING.now(&CONNECTIONS, &[]), "tidegate_connections{job=\"tidegate\"}");
        assert_eq!(ASKING.now(&STAGE_DEPTH, &[]), "tidegate_stage_depth{job=\"tidegate\", stage=\"read\"}");
        assert_eq!(
            ASKING.sum_by(&[&APP], &ASKING.rate(&HOOK_CALLS, &[(&OUTCOME, "failed")])),
            "sum by (instance, app) (rate(tidegate_hook_calls_total{job=\"tidegate\", outcome=~\"failed\"}[5m]))"
        );
        assert_eq!(
            ASKING.quantile(0.99, &STAGE_WAITED_SECONDS),
            "histogram_quantile(0.99, sum by (le, instance, stage) \
             (rate(tidegate_stage_waited_seconds_bucket{job=\"tidegate\", stage=\"read\"}[5m])))"
        );
    }

    #[test]
    #[should_panic(expected = "connections has no label outcome")]
    fn a_label_that_is_not_there_does_not_pass() {
        ASKING.now(&CONNECTIONS, &[(&OUTCOME, "failed")]);
    }
}
